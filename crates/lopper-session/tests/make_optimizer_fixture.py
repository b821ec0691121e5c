"""Writes fixtures/optimizer.json: what torch.optim and clip_grad_norm_ do to small float32 tensors (torch 2.11.0)."""

import json
import pathlib

import torch

SHAPES = {"weight": [3, 7], "bias": [5], "unused": [2]}
RATES = [0.1, 0.05, 0.02, 0.2, 0.01, 0.1]
OPTIMIZERS = {
    "adam": (
        {"adam": {"beta1": 0.9, "beta2": 0.98, "epsilon": 1e-8, "weight_decay": 0.1}},
        lambda p: torch.optim.Adam(p, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.1),
    ),
    "adamw": (
        {"adamw": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-6, "weight_decay": 0.05}},
        lambda p: torch.optim.AdamW(p, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.05),
    ),
    "sgd": (
        {"sgd": {"momentum": 0.9, "weight_decay": 0.05}},
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.05),
    ),
    "sgd_plain": (
        {"sgd": {"momentum": 0.0, "weight_decay": 0.0}},
        lambda p: torch.optim.SGD(p, lr=0.1),
    ),
}
# `bias` has no gradient in the third update; `unused` never has one.
SKIPPED = {("bias", 2)} | {("unused", i) for i in range(len(RATES))}


def flat(tensor):
    return tensor.detach().flatten().tolist()


def main():
    generator = torch.Generator().manual_seed(1)
    start = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    gradients = [
        {n: torch.randn(s, generator=generator) * 10**-i for n, s in SHAPES.items() if (n, i) not in SKIPPED}
        for i in range(len(RATES))
    ]
    runs = []
    for name, (optimizer, make) in OPTIMIZERS.items():
        params = {n: t.clone().requires_grad_() for n, t in start.items()}
        torch_optimizer = make(params.values())
        for rate, gradient in zip(RATES, gradients):
            for group in torch_optimizer.param_groups:
                group["lr"] = rate
            for n, p in params.items():
                p.grad = gradient[n].clone() if n in gradient else None
            torch_optimizer.step()
        state = {}
        for n, p in params.items():
            for key, value in torch_optimizer.state.get(p, {}).items():
                if value is not None and key != "step":
                    state[f"{key.removesuffix('_buffer')}.{n}"] = flat(value)
        runs.append({"name": name, "optimizer": optimizer, "params": {n: flat(p) for n, p in params.items()}, "state": state})

    clips = []
    for max_norm in [0.5, 5.0, 1e9]:
        params = {n: t.clone().requires_grad_() for n, t in start.items()}
        for n, p in params.items():
            p.grad = gradients[0][n].clone() if n in gradients[0] else None
        norm = torch.nn.utils.clip_grad_norm_(params.values(), max_norm)
        clipped = {n: flat(p.grad) for n, p in params.items() if p.grad is not None}
        clips.append({"max_norm": max_norm, "norm": norm.item(), "clipped": clipped})

    fixture = {
        "torch": torch.__version__.split("+")[0],
        "shapes": SHAPES,
        "rates": RATES,
        "start": {n: flat(t) for n, t in start.items()},
        "gradients": [{n: flat(t) for n, t in g.items()} for g in gradients],
        "runs": runs,
        "clips": clips,
    }
    path = pathlib.Path(__file__).parent / "fixtures" / "optimizer.json"
    path.write_text(json.dumps(fixture, indent=1) + "\n")


main()
