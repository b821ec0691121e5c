"""Updates at the pace that `cargo xtask bench` asks for: what benches/lopper/worker.rs does on Lopper's side.

A number n on a line of standard input lets n updates through; the answer is one line, a JSON array of n times in seconds.
Before the first number comes an answer without times: the process is ready. It ends with its input.
"""

import contextlib
import json
import os
import sys
import time

import torch


def add_options(parser):
    """What every script is told."""
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", type=torch.device, required=True)
    parser.add_argument("--precision", choices=["float32", "bf16"], required=True)


def autocast(options):
    """The surroundings of a forward pass and its loss."""
    if options.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(options.device.type, torch.bfloat16)


def one_gpu(options):
    """Refuses what would compute on another GPU than Lopper, or on several."""
    if options.device.type == "cuda" and (options.device.index or torch.cuda.device_count() > 1):
        sys.exit("give it one GPU, by CUDA_VISIBLE_DEVICES, and --device=cuda:0")


def finish(device):
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Pace:
    def __init__(self, device):
        self.device = device
        self.asked = 0
        self.seconds = []
        self.since = None

    def next_update(self):
        """To be called at the start of every update."""
        finish(self.device)
        if self.since is not None:
            self.seconds.append(time.perf_counter() - self.since)
        if len(self.seconds) == self.asked:
            print(json.dumps(self.seconds), flush=True)
            line = sys.stdin.readline()
            if not line:
                os._exit(0)
            self.asked = int(line)
            self.seconds = []
        self.since = time.perf_counter()
