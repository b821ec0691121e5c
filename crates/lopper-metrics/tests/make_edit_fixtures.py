#!/usr/bin/env python3
"""Writes fixtures/edits.json: random pairs of texts with the error rates of jiwer.

python crates/lopper-metrics/tests/make_edit_fixtures.py   (jiwer 4.0.0)

With a number it writes that many pairs to the file named next, for a comparison by hand:
python crates/lopper-metrics/tests/make_edit_fixtures.py 10000 /tmp/edits.json
LOPPER_EDITS=/tmp/edits.json cargo test --test edits
"""
import json
import random
import sys
from pathlib import Path

import jiwer

WORDS = "a be sea deer eager letters übung год 字 o".split()


def text(rng, longest):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, longest)))


def spoilt(rng, truth):
    words = []
    for word in truth.split():
        kind = rng.random()
        if kind < 0.15:
            continue
        if kind < 0.3:
            word = rng.choice(WORDS)
        elif kind < 0.4:
            word = word[::-1]
        words.append(word)
        if kind > 0.85:
            words.append(rng.choice(WORDS))
    return " ".join(words)


def cases(count):
    rng = random.Random(20211)
    for number in range(count):
        truth = text(rng, (3, 12, 40)[number % 3])
        # Some have nothing to do with their reference, some are empty.
        predicted = text(rng, 12) if number % 5 == 0 else "" if number % 50 == 1 else spoilt(rng, truth)
        yield pair(truth, predicted)
    # Nothing was said.
    for predicted in ["", "a", "a be sea"]:
        yield pair("", predicted)


def pair(truth, predicted):
    words, characters = jiwer.process_words(truth, predicted), jiwer.process_characters(truth, predicted)
    return {
        "truth": truth,
        "predicted": predicted,
        "word_errors": words.substitutions + words.deletions + words.insertions,
        "wer": words.wer,
        "character_errors": characters.substitutions + characters.deletions + characters.insertions,
        "cer": characters.cer,
    }


count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "fixtures" / "edits.json"
pairs = list(cases(count))
truths, predictions = [p["truth"] for p in pairs], [p["predicted"] for p in pairs]
corpus = {"wer": jiwer.wer(truths, predictions), "cer": jiwer.cer(truths, predictions)}
rows = ",\n".join(json.dumps(pair, ensure_ascii=False, separators=(",", ":")) for pair in pairs)
path.write_text('{\n"corpus": ' + json.dumps(corpus) + ',\n"pairs": [\n' + rows + "\n]\n}\n", encoding="utf-8")
