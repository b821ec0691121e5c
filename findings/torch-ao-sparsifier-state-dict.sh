#!/usr/bin/env bash
# A model under a torch.ao.pruning sparsifier computes with a mask, and its state_dict() holds none.
#
# Seen with torch 2.11.0: `FakeSparsity`, the parametrization that multiplies a weight with its mask, hands out an empty
# state_dict. The checkpoint of such a model therefore has the dense weights under another name
# (`0.parametrizations.weight.original`), not one zero, and no mask beside them. Loading it into a model that was prepared alike
# is refused, because that one does ask for the mask it never saved; with strict=False the mask stays all ones, so the model is
# dense and nothing is said. The masks are in the sparsifier's own state_dict(), which must be saved too, or
# `squash_mask()` called first. `torch.nn.utils.prune`, the older way, saves NAME_orig and NAME_mask.
#
# Output seen, 2026-11-28:
#   torch 2.11.0
#   computed with: 32 of 64 zero
#   saved: ['0.parametrizations.weight.original'], 0 of 64 zero
#   strict load: Missing key(s) in state_dict: "0.parametrizations.weight.0.mask".
#   load with strict=False: 0 of 64 zero
#   in the sparsifier's state: 32 of 64 zero
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install torch==2.11.0 numpy==2.3.5
"$work/venv/bin/python" - <<'PY'
import warnings

import torch
from torch import nn
from torch.ao.pruning import WeightNormSparsifier

warnings.simplefilter("ignore")


def prepared(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 8, bias=False))
    sparsifier = WeightNormSparsifier(sparsity_level=0.5, sparse_block_shape=(1, 1), zeros_per_block=1)
    sparsifier.prepare(model, [{"tensor_fqn": "0.weight"}])
    return model, sparsifier


def zeros(tensor):
    return int((tensor == 0).sum())


print("torch", torch.__version__.split("+")[0])
model, sparsifier = prepared(0)
sparsifier.step()
saved = model.state_dict()
stored = saved["0.parametrizations.weight.original"]
print("computed with:", zeros(model[0].weight), "of 64 zero")
print(f"saved: {sorted(saved)}, {zeros(stored)} of 64 zero")

other, _ = prepared(1)
try:
    other.load_state_dict(saved)
    said = "accepted"
except RuntimeError as error:
    said = str(error).splitlines()[-1].strip()
print("strict load:", said)
other.load_state_dict(saved, strict=False)
print("load with strict=False:", zeros(other[0].weight), "of 64 zero")
mask = sparsifier.state_dict()["state"]["0.weight"]["mask"]
print("in the sparsifier's state:", zeros(mask), "of 64 zero")

assert zeros(model[0].weight) == zeros(mask) == 32
assert list(saved) == ["0.parametrizations.weight.original"] and zeros(stored) == 0
assert "Missing key(s)" in said and zeros(other[0].weight) == 0
PY
