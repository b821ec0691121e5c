"""torch's global magnitude pruning of BERT-base's encoder matrices: 84,934,656 entries in 72 tensors, at 70 %.

Prints one JSON object: the seconds of every repetition of `torch.nn.utils.prune.global_unstructured`, and of
`torch.kthvalue` over the magnitudes, which finds the threshold alone; and by how many bytes the first of them raised the
peak of resident memory.
"""

import argparse
import json
import resource
import time

import torch
from pace import add_options, finish
from torch.nn.utils import prune

# Rows and columns of the six matrices of one layer: four of attention, two of the feed-forward network.
LAYER = [(768, 768)] * 4 + [(3072, 768), (768, 3072)]
SPARSITY = 0.7


def weights(device):
    """Bell-shaped, of standard deviation 0.04, as pre-trained encoders have them."""
    torch.manual_seed(1)
    return [((torch.rand(4, *shape) - 0.5).sum(0) * 0.07).to(device) for _ in range(12) for shape in LAYER]


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def modules(device):
    made = []
    for weight in weights(device):
        module = torch.nn.Module()
        module.weight = torch.nn.Parameter(weight)
        made.append((module, "weight"))
    return made


def timed(device, work):
    finish(device)
    start = time.perf_counter()
    work()
    finish(device)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    add_options(parser)
    parser.add_argument("--repetitions", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    unstructured, extra = [], None
    # The first on a GPU loads its kernels and fetches its memory, which Lopper does before it is timed.
    warm_up = 1 if options.device.type == "cuda" else 0
    for _ in range(warm_up + options.repetitions):
        # Pruning changes the modules, so every repetition has its own.
        made, before = modules(options.device), peak()
        select = lambda: prune.global_unstructured(made, prune.L1Unstructured, amount=SPARSITY)
        unstructured.append(timed(options.device, select))
        extra = extra or peak() - before
    flat = torch.cat([weight.flatten() for weight in weights(options.device)]).abs()
    pruned = round(SPARSITY * flat.numel())
    kthvalue = [timed(options.device, lambda: flat.kthvalue(pruned)) for _ in range(warm_up + options.repetitions)]
    print(json.dumps({"global_unstructured": unstructured[warm_up:], "kthvalue": kthvalue[warm_up:], "extra_bytes": extra}))


if __name__ == "__main__":
    main()
