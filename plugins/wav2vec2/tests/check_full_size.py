#!/usr/bin/env python3
"""Compares this crate with transformers and torchaudio at the sizes of the published models, on random weights.

    python check_full_size.py [base|large|xlsr|base-bias|base-layer] [--seconds 5 3.1] [--keep DIRECTORY]

Needs torch, torchaudio, transformers 4.57.1 and safetensors, and about 8 GB of memory for base. Writes a checkpoint and what
transformers says of a padded batch, checks that torchaudio says the same, and runs tests/full_size.rs on them: logits, CTC
loss, and of every gradient the norm and the largest entries. Nothing of it is kept unless asked for. base-bias and
base-layer are the two combinations of norm and bias that no published model has.
"""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import torch
import torchaudio_side
from safetensors.torch import save_file
from torchaudio_side import plain
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

LARGE = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
SIZES = {
    "base": {},
    "large": LARGE,
    "xlsr": dict(LARGE, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True),
    "base-bias": dict(conv_bias=True, do_stable_layer_norm=True),
    "base-layer": dict(feat_extract_norm="layer"),
}


def torchaudio_agrees(model, rows, lengths, targets, out):
    """Logits, loss and gradients of torchaudio are those of transformers."""
    _, logits, steps, loss, gradients = torchaudio_side.answers(model, rows, lengths, targets)
    errors = {"loss": ((loss - out.loss) / out.loss).abs().item()}
    errors["logits"] = max(
        ((ours[:n] - theirs[:n]).abs().max() / theirs[:n].abs().max()).item()
        for ours, theirs, n in zip(logits, out.logits.detach(), steps.tolist()))
    theirs = {plain(name): parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    name, errors["gradients"] = torchaudio_side.furthest(gradients, {name: theirs[name] for name in gradients})
    print("torchaudio beside transformers:", ", ".join(f"{what} {error:.1e}" for what, error in errors.items()), f"({name})")
    assert max(errors.values()) < 1e-4, errors


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
    torchaudio_agrees(model, rows, lengths, targets.split(target_lengths.tolist()), out)
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
