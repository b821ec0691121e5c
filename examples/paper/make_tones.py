#!/usr/bin/env python3
"""Three languages of tones for small-figure-04.toml: a phone is a tone, and a language has four of the six.

python examples/paper/make_tones.py OUT

Writes OUT/{es,fr,nl}/train.jsonl, dev.jsonl and test.jsonl with their recordings. Needs nothing but Python; the same every time.
"""
import json
import math
import random
import struct
import sys
import wave
from pathlib import Path

RATE = 16_000
# Hertz of each phone.
PHONES = {"a": 400, "i": 700, "s": 1_100, "t": 1_600, "x": 2_300, "ʁ": 3_200}
LANGUAGES = {"es": "aist", "fr": "aisʁ", "nl": "aitx"}
SPLITS = {"train": 64, "dev": 16, "test": 16}


def samples(phones):
    """80 ms of each phone's tone, and 20 ms of silence."""
    for phone in phones:
        for n in range(RATE * 8 // 100):
            yield int(16_000 * math.sin(2 * math.pi * PHONES[phone] * n / RATE))
        yield from [0] * (RATE // 50)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    draw = random.Random(1)
    for language, phones in LANGUAGES.items():
        folder = Path(sys.argv[1]) / language
        folder.mkdir(parents=True, exist_ok=True)
        for split, utterances in SPLITS.items():
            rows = []
            for number in range(utterances):
                said = [draw.choice(phones) for _ in range(draw.randint(6, 12))]
                audio = folder / f"{split}{number}.wav"
                with wave.open(str(audio), "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(RATE)
                    file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples(said)))
                rows.append(json.dumps({"audio": audio.name, "phones": " ".join(said)}, ensure_ascii=False) + "\n")
            (folder / f"{split}.jsonl").write_text("".join(rows), encoding="utf-8")


main()
