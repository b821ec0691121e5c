#!/usr/bin/env python3
"""Checks that transformers reads a model saved by Lopper and computes the same logits.

    lopper predict MODEL --file INPUTS --json > predictions.json
    python check_saved_model.py MODEL --file INPUTS --predictions predictions.json [--max-length 128]
    python check_saved_model.py MODEL --text A [--pair B] --predictions predictions.json

INPUTS holds one input a line: a text, or two texts separated by a tab. The predictions are a JSON object with `logits`,
an array of them, an object whose `predictions` is such an array, or one object a line; each `logits` is a list of
numbers. Without --predictions, Lopper's own answer is not compared: only that the model loads whole and answers.

Exit code 0 when max |a - b| / max |b| over all logits is at most --tolerance and every prunable tensor came through
with its zeros, 1 otherwise. Needs torch, transformers 4.57.1 and safetensors.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="directory saved by Lopper")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--file", type=Path, help="one input a line, a pair separated by a tab")
    source.add_argument("--text", help="one text")
    parser.add_argument("--pair", help="the second text")
    parser.add_argument("--predictions", type=Path, help="JSON of `lopper predict --json`; - for standard input")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    return parser.parse_args()


def read_inputs(arguments):
    if arguments.text is not None:
        return [(arguments.text, arguments.pair)]
    lines = arguments.file.read_text(encoding="utf-8").split("\n")
    parts = [line.rstrip("\r").split("\t") for line in lines if line.rstrip("\r")]
    return [(part[0], part[1] if len(part) > 1 else None) for part in parts]


def read_logits(path):
    text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(found, dict):
        found = found.get("predictions", found)
    if isinstance(found, dict):
        logits = found["logits"]
        return logits if logits and isinstance(logits[0], list) else [logits]
    return [one["logits"] for one in found]


def compute(arguments, inputs):
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model, report = AutoModelForSequenceClassification.from_pretrained(arguments.model, output_loading_info=True)
    problems = [f"{kind}: {', '.join(map(str, names))}" for kind, names in report.items() if names]
    saved = load_file(arguments.model / "model.safetensors")
    held = model.state_dict()
    for name, tensor in saved.items():
        if name in held and not torch.equal(held[name], tensor.to(held[name].dtype)):
            problems.append(f"{name} is not what the file holds")
    logits = []
    model.eval()
    with torch.no_grad():
        for first, second in inputs:
            texts = ([first],) if second is None else ([first], [second])
            encoded = tokenizer(*texts, truncation="longest_first", max_length=arguments.max_length, return_tensors="pt")
            logits.append(model(**encoded).logits[0].tolist())
    zeros = sum(int((tensor == 0).sum()) for tensor in saved.values())
    return logits, zeros, problems


def main():
    arguments = parse_arguments()
    inputs = read_inputs(arguments)
    expected, zeros, problems = compute(arguments, inputs)
    error = None
    if arguments.predictions is not None:
        found = read_logits(arguments.predictions)
        if [len(row) for row in found] != [len(row) for row in expected]:
            problems.append(f"{len(found)} rows of logits against {len(expected)}, or rows of another length")
        elif expected:
            a, b = (torch.tensor(rows, dtype=torch.float64) for rows in (found, expected))
            error = float((a - b).abs().max() / b.abs().max())
            if not error <= arguments.tolerance:
                problems.append(f"relative error {error:.2e} of the logits is above {arguments.tolerance:.0e}")
    for problem in problems:
        print(f"  - {problem}")
    compared = "not compared" if error is None else f"relative error {error:.2e}"
    print(f"{'FAIL' if problems else 'PASS'}: {len(expected)} inputs, logits {compared}, {zeros} zeros in the weights")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
