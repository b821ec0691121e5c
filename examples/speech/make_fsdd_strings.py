#!/usr/bin/env python3
"""Strings of spoken digits for the `speech` dataset, from the Free Spoken Digit Dataset (CC BY-SA 4.0).

python examples/speech/make_fsdd_strings.py FSDD OUT [--held-out theo,lucas] [--digits 2 6] [--train 1000] [--validation 100] [--test 100]

FSDD is the directory with {digit}_{speaker}_{index}.wav, or the one above it. Writes OUT/train.jsonl, OUT/validation.jsonl
and OUT/test.jsonl, whose rows name the clips of one speaker to be joined, and spell the digits:

    {"audio": ["…/7_jackson_32.wav", "…/3_jackson_9.wav"], "text": "SEVEN THREE", "speaker": "jackson"}

Without --held-out every speaker is in every split, and the clips are apart: index 0-4 test (as the corpus has it), 5-9
validation, the rest training. With it, the named speakers are heard in validation and test alone (validation has their
indices 5-49, test 0-4), and training has the others' 5-49. The same arguments give the same files.
"""
import argparse
import json
import os
import random
import re
from pathlib import Path

DIGITS = "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE".split()


def clips_of(folder):
    """{speaker: {digit: [(index, path), …]}}"""
    speakers = {}
    for path in sorted(folder.glob("*.wav")):
        match = re.fullmatch(r"(\d)_([a-z]+)_(\d+)", path.stem)
        if match:
            digit, speaker, index = int(match[1]), match[2], int(match[3])
            speakers.setdefault(speaker, {}).setdefault(digit, []).append((index, path))
    return speakers


def rows(rng, speakers, names, indices, count, shortest, longest, out):
    for _ in range(count):
        speaker = rng.choice(names)
        audio, words = [], []
        for _ in range(rng.randint(shortest, longest)):
            digit = rng.randrange(10)
            audio.append(rng.choice([path for index, path in speakers[speaker][digit] if index in indices]))
            words.append(DIGITS[digit])
        yield {"audio": [os.path.relpath(path, out) for path in audio], "text": " ".join(words), "speaker": speaker}


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("fsdd", type=Path)
    a.add_argument("out", type=Path)
    a.add_argument("--held-out", default="", help="speakers that are not trained on, between commas")
    a.add_argument("--digits", type=int, nargs=2, default=(2, 6), metavar=("FEWEST", "MOST"))
    a.add_argument("--train", type=int, default=1000)
    a.add_argument("--validation", type=int, default=100)
    a.add_argument("--test", type=int, default=100)
    a.add_argument("--seed", type=int, default=0)
    a = a.parse_args()
    folder = a.fsdd / "recordings" if (a.fsdd / "recordings").is_dir() else a.fsdd
    speakers = clips_of(folder.resolve())
    if not speakers:
        raise SystemExit(f"{folder}: no files such as 7_jackson_32.wav")
    held = [name for name in a.held_out.split(",") if name]
    unknown = sorted(set(held) - set(speakers))
    if unknown or set(held) == set(speakers):
        raise SystemExit(f"--held-out {a.held_out}: name some of {', '.join(sorted(speakers))}, not all")
    everyone, seen = sorted(speakers), [name for name in sorted(speakers) if name not in held]
    splits = {
        "train": (seen, range(5, 50) if held else range(10, 50), a.train),
        "validation": (held or everyone, range(5, 50) if held else range(5, 10), a.validation),
        "test": (held or everyone, range(0, 5), a.test),
    }
    a.out.mkdir(parents=True, exist_ok=True)
    for split, (names, indices, count) in splits.items():
        rng = random.Random(f"{a.seed} {split}")
        with open(a.out / f"{split}.jsonl", "w", encoding="utf-8") as file:
            for row in rows(rng, speakers, names, indices, count, *a.digits, a.out.resolve()):
                print(json.dumps(row), file=file)
        print(f"{a.out / split}.jsonl: {count} strings of {', '.join(names)}, clips {indices[0]} to {indices[-1]}")


main()
