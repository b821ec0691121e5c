#!/usr/bin/env python3
"""Checks that `lopper prune --sparsity 0` leaves speech checkpoints what they are, by transformers.

    python check_speech_round_trip.py LOPPER [KINDS]

LOPPER is the command; KINDS is a directory of checkpoints with an expected.json each, as make_checkpoint_kinds.py of
plugins/wav2vec2/tests makes them, and by default the committed ones. Each is pruned to nothing into a directory of its own,
and there the logits, their text, how recordings are prepared, the special tokens, and how texts are encoded and ids decoded
must be what expected.json says; transformers must miss no tensor, and find none too many, that it did not before. Then the
tokenizers that Lopper writes for new heads (fixtures/tokenizers) must encode and decode as their heads are meant.

Run it with transformers 4.57.1 and with 5.24.0 (torch 2.11.0, safetensors, numpy). Exit code 0 when all is equal.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[2] / "plugins" / "wav2vec2" / "tests"
sys.path.insert(0, str(TESTS))

import make_checkpoint_kinds as kinds  # noqa: E402
import transformers  # noqa: E402

# A tokenizer of fixtures/tokenizers: a text, its ids, a path of outputs, and what it spells.
NEW = {
    "letters": ("AB A", [5, 6, 4, 5], [0, 5, 5, 0, 6, 4, 4, 0, 5, 4], "AB A"),
    "spaces": ("ab b", [1, 2, 0, 2], [3, 1, 1, 3, 2, 0, 0, 3, 2], "ab b"),
    "phones": ("ts a aː", [4, 5, 6], [0, 4, 4, 0, 5, 6, 0, 4], "ts a aː ts"),
}


def report(at):
    """The tensors that transformers misses, or has no use for."""
    kind = getattr(transformers, json.loads((at / "config.json").read_text())["architectures"][0])
    _, info = kind.from_pretrained(at, output_loading_info=True)
    return {(what, name) for what in ("missing_keys", "unexpected_keys") for name in info[what]}


def differences(before, after):
    expected, found = json.loads((before / "expected.json").read_text()), kinds.said(after)
    if not kinds.close(found.pop("answer"), expected.pop("answer")):
        yield "other logits"
    yield from (f"{key}: {found.get(key)} instead of {value}" for key, value in expected.items() if found.get(key) != value)
    yield from (f"{what} {name}" for what, name in sorted(report(after) - report(before)))


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__)
        return 2
    lopper, directory = sys.argv[1], Path(sys.argv[2]) if len(sys.argv) == 3 else kinds.KINDS
    transformers.logging.set_verbosity_error()
    count = wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        for before in sorted(path.parent for path in directory.glob("*/expected.json")):
            after = Path(temporary) / before.name
            subprocess.run([lopper, "prune", before, "--by", "magnitude", "--sparsity", "0", "--out", after], check=True,
                           stdout=subprocess.DEVNULL)
            found = list(differences(before, after))
            count, wrong = count + 1, wrong + bool(found)
            print(f"{before.name}: {'; '.join(found) or 'equal'}")
            shutil.rmtree(after)
    for name, (text, ids, path, spelled) in NEW.items():
        tokenizer = transformers.AutoTokenizer.from_pretrained(TESTS / "fixtures" / "tokenizers" / name)
        found = tokenizer(text).input_ids, tokenizer.decode(path), len(tokenizer)
        size = len(json.loads((TESTS / "fixtures" / "tokenizers" / name / "vocab.json").read_text()))
        count, wrong = count + 1, wrong + (found != (ids, spelled, size))
        print(f"new {name}: {'equal' if found == (ids, spelled, size) else found}")
    print(f"transformers {transformers.__version__}: {count - wrong} of {count} are equal")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
