#!/usr/bin/env python3
"""Phones for the `speech` dataset from the TIMIT sample of NLTK (non-commercial licence).

python examples/speech/make_timit_phones.py TIMIT OUT [--silence drop]

TIMIT is the directory with dr1-fvmh0 and the other 15 speakers. Writes OUT/train.jsonl, OUT/validation.jsonl and
OUT/test.jsonl with rows such as

    {"audio": "…/dr1-fvmh0/si836.wav", "phones": "sil dh ah sil …", "text": "…", "speaker": "dr1-fvmh0"}

The 61 phones are folded to the 39 of Lee and Hon (1989): ao→aa, ax and ax-h→ah, axr→er, hv→hh, ix→ih, ux→uw, el→l, em→m,
en and nx→n, eng→ng, zh→sh; the closures bcl dcl gcl pcl tcl kcl and the pauses h#, pau and epi→sil; the glottal stop q is
left out. A closure beside a pause makes two `sil` in a row, which become one. `--silence drop` leaves `sil` out: 38 phones.

sa1 and sa2, which every speaker reads, are left out; no other sentence is read twice. Splits are by speaker: validation
dr3-falk0 and dr5-mbgt0 (16 utterances), test dr1-mcpm0, dr2-faem0, dr6-mbma1 and dr8-fbcg1 (32), training the other ten
(80). Every region of a test speaker has another speaker in training.
"""
import argparse
import json
import os
from pathlib import Path

FOLD = {
    "ao": "aa", "ax": "ah", "ax-h": "ah", "axr": "er", "hv": "hh", "ix": "ih", "ux": "uw", "el": "l", "em": "m", "en": "n",
    "nx": "n", "eng": "ng", "zh": "sh", "q": None,
    **dict.fromkeys(["bcl", "dcl", "gcl", "pcl", "tcl", "kcl", "h#", "pau", "epi"], "sil"),
}
VALIDATION = ["dr3-falk0", "dr5-mbgt0"]
TEST = ["dr1-mcpm0", "dr2-faem0", "dr6-mbma1", "dr8-fbcg1"]


def phones(path, silence):
    folded = []
    for line in path.read_text(encoding="ascii").splitlines():
        phone = line.split()[2]
        phone = FOLD.get(phone, phone)
        if phone and not (phone == "sil" and (silence == "drop" or folded[-1:] == ["sil"])):
            folded.append(phone)
    return folded


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("timit", type=Path)
    a.add_argument("out", type=Path)
    a.add_argument("--silence", choices=["keep", "drop"], default="keep")
    a = a.parse_args()
    speakers = sorted(path for path in a.timit.resolve().glob("dr*-*") if path.is_dir())
    if not speakers:
        raise SystemExit(f"{a.timit}: no directories such as dr1-fvmh0")
    a.out.mkdir(parents=True, exist_ok=True)
    splits, seen = {"train": [], "validation": [], "test": []}, {"train": set(), "validation": set(), "test": set()}
    for folder in speakers:
        split = "validation" if folder.name in VALIDATION else "test" if folder.name in TEST else "train"
        for path in sorted(folder.glob("*.phn")):
            if path.stem in ("sa1", "sa2"):
                continue
            text = path.with_suffix(".txt").read_text(encoding="ascii").split(maxsplit=2)[2].strip()
            symbols = phones(path, a.silence)
            seen[split].update(symbols)
            splits[split].append({
                "audio": os.path.relpath(path.with_suffix(".wav"), a.out.resolve()),
                "phones": " ".join(symbols), "text": text, "speaker": folder.name,
            })
    for split, rows in splits.items():
        with open(a.out / f"{split}.jsonl", "w", encoding="utf-8") as file:
            for row in rows:
                print(json.dumps(row), file=file)
        new = sorted(seen[split] - seen["train"])
        absent = f", of which training has none: {' '.join(new)}" if new else ""
        print(f"{a.out / split}.jsonl: {len(rows)} utterances, {len(seen[split])} phones{absent}")


main()
