#!/usr/bin/env python3
"""Checks that a checkpoint saved again with nothing pruned is the same checkpoint to transformers.

    python round_trip.py --lopper target/debug/lopper CHECKPOINT…

For each directory `lopper prune --sparsity 0` saves a copy; the class that `architectures` names loads both. Equal must be: every
output for some texts, what AutoTokenizer makes of them (tokens, segments, and back to text), its special tokens and its
settings, and what from_pretrained reports as missing or unexpected. Directories that transformers itself cannot load (a
trainer's file, a prefix before all names) are compared through Lopper's copy alone: it must load whole. A directory without
weights, as those in plugins/bert/tests/fixtures/door, gets a small model drawn for it.

Needs torch 2.11.0, and transformers 4.57.1 or 5.24.0: run it with each. Exit code 0 when all are equal.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import AutoTokenizer

TEXTS = ["the cat sat on the mat", "The CAT [E1] sat [/E1], and a dog.", "un affable 1 / e1 [MASK] x"]
SETTINGS = ["truncation_side", "padding_side", "model_input_names", "model_max_length", "all_special_tokens",
            "all_special_ids", "cls_token", "sep_token", "pad_token", "unk_token", "mask_token"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lopper", type=Path, required=True)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    return parser.parse_args()


def load(where):
    config = json.loads((where / "config.json").read_text())
    kind = getattr(transformers, config.get("architectures", ["BertModel"])[0])
    model, report = kind.from_pretrained(where, output_loading_info=True, torch_dtype=torch.float32)
    return model.eval(), {key: sorted(map(str, names)) for key, names in report.items()}


def tokens(where):
    if not any((where / name).is_file() for name in ("vocab.txt", "tokenizer.json")):
        return None
    try:
        tokenizer = AutoTokenizer.from_pretrained(where)
    except (ValueError, AttributeError) as error:
        return f"refused by this version: {type(error).__name__}"
    encoded = [dict(tokenizer(text, truncation=True, max_length=12)) for text in TEXTS]
    texts = [tokenizer.decode(one["input_ids"]) for one in encoded]
    return encoded, texts, {key: getattr(tokenizer, key) for key in SETTINGS}


def outputs(model):
    """Every tensor among the outputs, for ids that any vocabulary has."""
    ids = torch.tensor([[2, 5, 6, 7, 8, 5, 9, 3], [2, 9, 8, 7, 5, 6, 5, 3]]) % model.config.vocab_size
    if type(model).__name__.endswith("MultipleChoice"):
        ids = ids[None]
    with torch.no_grad():
        answer = model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return {key: value for key, value in answer.items() if isinstance(value, torch.Tensor)}


def completed(where, scratch):
    """The directory, or a copy of it with a small model."""
    if any(where.glob("*.safetensors")) or any(where.glob("*.bin")) or any(where.glob("*.ckpt")):
        return where
    whole = Path(scratch) / "with_model" / where.name
    shutil.copytree(where, whole)
    described = json.loads((where / "config.json").read_text())
    config = transformers.BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=12,
                                     max_position_embeddings=32, vocab_size=described["vocab_size"])
    torch.manual_seed(5)
    transformers.BertForSequenceClassification(config).save_pretrained(whole)
    return whole


def check(lopper, where, scratch):
    where, copy = completed(where, scratch), Path(scratch) / "copies" / where.name
    command = [lopper, "prune", where, "--by", "magnitude", "--sparsity", "0", "--out", copy]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return [f"lopper prune: {done.stderr.strip()}"]
    problems = []
    model, report = load(copy)
    after, files = outputs(model), tokens(copy)
    source = None
    if (where / "model.safetensors").is_file():
        try:
            source, expected_report = load(where)
        except ValueError:
            pass  # A prefix before all names: 4.57.1 refuses what 5.24.0 loads without a weight.
    if source is not None:
        before = outputs(source)
        if report != expected_report:
            problems.append(f"loading reports {report}, before {expected_report}")
        for key in sorted(before.keys() | after.keys()):
            if key not in before or key not in after or not torch.equal(before[key], after[key]):
                problems.append(f"{key} differs")
    elif any(report.values()):
        problems.append(f"loading the copy reports {report}")
    if files != tokens(where):
        problems.append(f"tokens or settings differ: {files} and {tokens(where)}")
    return problems


def main():
    given = arguments()
    failed = 0
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as scratch:
        for where in given.checkpoints:
            problems = check(given.lopper.resolve(), where, scratch)
            failed += bool(problems)
            print(f"{'FAIL' if problems else 'PASS'} {where.name}")
            for problem in problems:
                print(f"  - {problem}")
    print(f"{len(given.checkpoints) - failed} of {len(given.checkpoints)} equal by transformers {transformers.__version__}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
