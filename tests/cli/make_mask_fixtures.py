#!/usr/bin/env python3
"""Writes the masks of torch in fixtures/ that tests/cli/masks.rs converts.

    python make_mask_fixtures.py

Made with torch 2.11.0. torch.nn.utils.prune prunes the 13 tensors that Lopper prunes of the tiny BERT in fixture.rs, and
torch.save writes:

    prune_state_dict.pt         a state dict: NAME_orig and NAME_mask for each of them, biases whole
    lottery_masks.pt            NAME_mask alone, as the published lottery-ticket scripts for BERT save masks
    lottery_masks_module.pt     the same as a model within DataParallel names them, each with `module.` before its name
    masks.json                  of each tensor the positions that are kept
"""

import json
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import prune

WIDTH, WIDE, LAYERS = 16, 32, 2
FIXTURES = Path(__file__).parent / "fixtures"


def linear_names():
    for layer in range(LAYERS):
        at = f"bert.encoder.layer.{layer}"
        for name in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]:
            yield f"{at}.{name}", WIDTH, WIDTH
        yield f"{at}.intermediate.dense", WIDTH, WIDE
        yield f"{at}.output.dense", WIDE, WIDTH
    yield "bert.pooler.dense", WIDTH, WIDTH


def place(root, path, module):
    """Puts a module where its dotted path says."""
    *parents, last = path.split(".")
    for name in parents:
        if not hasattr(root, name):
            root.add_module(name, nn.Module())
        root = getattr(root, name)
    root.add_module(last, module)


def main():
    torch.manual_seed(0)
    model = nn.Module()
    layers = []
    for name, inputs, outputs in linear_names():
        layer = nn.Linear(inputs, outputs)
        place(model, name, layer)
        layers.append(layer)
    prune.global_unstructured([(layer, "weight") for layer in layers], prune.L1Unstructured, amount=0.6)
    state = model.state_dict()
    masks = {name: tensor for name, tensor in state.items() if name.endswith("_mask")}
    FIXTURES.mkdir(exist_ok=True)
    torch.save(state, FIXTURES / "prune_state_dict.pt")
    torch.save(masks, FIXTURES / "lottery_masks.pt")
    torch.save({f"module.{name}": mask for name, mask in masks.items()}, FIXTURES / "lottery_masks_module.pt")
    kept = {name.removesuffix("_mask"): mask.flatten().nonzero().flatten().tolist() for name, mask in masks.items()}
    (FIXTURES / "masks.json").write_text(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
