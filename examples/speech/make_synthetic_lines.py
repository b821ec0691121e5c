#!/usr/bin/env python3
"""JSON lines for the `speech` dataset from a manifest of synthetic speech.

python examples/speech/make_synthetic_lines.py MANIFEST OUT

MANIFEST is a TSV with the columns utt, lang, split (train, dev or test), voice, text and phones, and a recording
{utt}.wav or {utt}.flac beside it. Writes OUT/{lang}/train.jsonl, OUT/{lang}/dev.jsonl and OUT/{lang}/test.jsonl; a joint
run reads them with `path = "OUT/{language}"` and `languages = ["es", "fr"]`. Results on such voices are "synthetic".
"""
import argparse
import json
import os
from pathlib import Path


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("manifest", type=Path)
    a.add_argument("out", type=Path)
    a = a.parse_args()
    folder = a.manifest.resolve().parent
    header, *lines = a.manifest.read_text(encoding="utf-8").splitlines()
    names, files = header.split("\t"), {}
    for line in lines:
        row = dict(zip(names, line.split("\t")))
        audio = next(path for ending in ("wav", "flac") if (path := folder / f"{row['utt']}.{ending}").is_file())
        out = (a.out / row["lang"]).resolve()
        files.setdefault(out / f"{row['split']}.jsonl", []).append({
            "audio": os.path.relpath(audio, out), "phones": row["phones"], "text": row["text"],
            "speaker": row["voice"], "language": row["lang"],
        })
    for path, rows in sorted(files.items()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        print(f"{path}: {len(rows)} utterances")


main()
