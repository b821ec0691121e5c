#!/usr/bin/env python3
"""Compares this crate with transformers at the sizes of the published models, on random weights.

    python check_full_size.py [base|large|xlsr] [--seconds 5 3.1] [--keep DIRECTORY]

Needs torch, transformers 4.57.1 and safetensors, and about 8 GB of memory for base. Writes a checkpoint and what
transformers says of a padded batch, and runs tests/full_size.rs on them: logits, CTC loss, and of every gradient the norm
and the largest entries. Nothing of it is kept unless asked for.
"""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

LARGE = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
SIZES = dict(base={}, large=LARGE, xlsr=dict(
    LARGE, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True))


def plain(name):
    return name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v")


def write(directory, size, seconds):
    torch.manual_seed(0)
    config = Wav2Vec2Config(ctc_zero_infinity=True, **SIZES[size])
    model = Wav2Vec2ForCTC(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # so that no bias is zero and no norm is the identity
            parameter.add_(torch.randn_like(parameter) * 0.02)
    lengths = torch.tensor([int(16000 * one) for one in seconds])
    mask = (torch.arange(int(lengths.max()))[None] < lengths[:, None]).long()
    rows = torch.randn(mask.shape) * mask
    target_lengths = torch.tensor([int(10 * one) + 1 for one in seconds])
    targets = torch.randint(1, config.vocab_size, (int(target_lengths.sum()),))
    labels = torch.nn.utils.rnn.pad_sequence(
        targets.split(target_lengths.tolist()), batch_first=True, padding_value=-100)
    out = model(rows, attention_mask=mask, labels=labels)
    out.loss.backward()
    expected = dict(input_values=rows, lengths=lengths, logits=out.logits.detach().contiguous(), targets=targets,
                    loss=out.loss.detach().reshape(1), target_lengths=target_lengths)
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        gradient = parameter.grad.flatten()
        top = gradient.abs().topk(min(64, gradient.numel())).indices.sort().values
        expected |= {f"norm.{plain(name)}": gradient.double().norm().float().reshape(1),
                     f"index.{plain(name)}": top, f"value.{plain(name)}": gradient[top]}
    model.save_pretrained(directory)
    save_file(expected, Path(directory) / "expected.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", nargs="?", choices=SIZES, default="base")
    parser.add_argument("--seconds", nargs="+", type=float, default=[2.0, 1.3])
    parser.add_argument("--keep", help="where to leave the checkpoint and what was expected")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.keep or scratch
        write(directory, arguments.size, arguments.seconds)
        command = ["cargo", "test", "--workspace", "--locked", "--test", "full_size", "--", "--nocapture"]
        root = Path(__file__).parents[3]
        subprocess.run(command, check=True, cwd=root, env=dict(os.environ, LOPPER_WAV2VEC2=str(Path(directory).absolute())))


if __name__ == "__main__":
    main()
