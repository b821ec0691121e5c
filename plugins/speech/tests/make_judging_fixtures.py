#!/usr/bin/env python3
"""Writes fixtures/judging.json: what is said in recordings and what was heard, with jiwer's error rates of each set.

python plugins/speech/tests/make_judging_fixtures.py   (jiwer 4.0.0)

Each row has seconds of audio, a reference and a hypothesis. Letters are judged by jiwer.wer and jiwer.cer, phones, which
stand between spaces, by jiwer.wer.
"""
import importlib.metadata
import json
from pathlib import Path

import jiwer

assert importlib.metadata.version("jiwer") == "4.0.0"

LETTERS = {
    # Three time steps for twelve symbols; CTC could not be trained on it.
    "more symbols than time steps": [(0.5, "HELLO THERE", "HELLO HERE"), (0.3, "YES", "YES NO"), (0.08, "ABC DEF GHI", "A")],
    "empty references": [(0.5, "HELLO THERE", "HELLO THERE"), (0.5, "", "UM AH"), (0.3, "", ""), (0.3, "NO", "")],
    "nothing but empty references": [(0.5, "", "UM AH"), (0.5, "", "")],
    "nothing was said and nothing heard": [(0.5, "", ""), (0.3, "", "")],
    "symbols that the dictionary does not have": [(0.5, "4 ÖFEN", "FOUR FEN"), (0.5, "TWO", "TWO"), (0.3, "Ö", "O")],
    "shorter than one time step": [(0.5, "HELLO", "HELO"), (0.01, "A B", "")],
}
PHONES = {
    "more phones than time steps": [(0.5, "h ə l oʊ", "h ə l o"), (0.05, "d͡ʒ ɑ n s", "d͡ʒ"), (0.3, "j ɛ s", "j ɛ s s")],
    "no phones": [(0.5, "h ə", "h ə"), (0.5, "", "ə l"), (0.3, "", "")],
}


def sets():
    for unit, all_sets in [("letters", LETTERS), ("phones", PHONES)]:
        for name, rows in all_sets.items():
            references, hypotheses = [row[1] for row in rows], [row[2] for row in rows]
            rates = {"wer": jiwer.wer(references, hypotheses), "cer": jiwer.cer(references, hypotheses)}
            rates = rates if unit == "letters" else {"per": rates["wer"]}
            yield {"unit": unit, "name": name, "rows": [list(row) for row in rows], "rates": rates}


path = Path(__file__).parent / "fixtures" / "judging.json"
rows = ",\n".join(json.dumps(one, ensure_ascii=False) for one in sets())
path.write_text("[\n" + rows + "\n]\n", encoding="utf-8")
