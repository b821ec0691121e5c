#!/usr/bin/env python3
"""Writes fixtures/tone.{flac,mp3,ogg}: half a second of a tone at 440 Hz, in the formats that no Rust crate of the tests writes.

python plugins/speech/tests/make_audio_fixtures.py   (numpy, soundfile with libsndfile 1.1 or newer)

FLAC at 44,100 Hz in stereo, the right channel half as loud; MP3 at 48,000 Hz and Ogg Vorbis at 22,050 Hz in mono.
"""
from pathlib import Path

import numpy as np
import soundfile

folder = Path(__file__).parent / "fixtures"
folder.mkdir(exist_ok=True)


def tone(rate):
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate)


soundfile.write(folder / "tone.flac", np.stack([tone(44_100), tone(44_100) / 2], axis=1), 44_100, subtype="PCM_16")
soundfile.write(folder / "tone.mp3", tone(48_000), 48_000, format="MP3")
soundfile.write(folder / "tone.ogg", tone(22_050), 22_050, format="OGG", subtype="VORBIS")
for path in sorted(folder.glob("tone.*")):
    print(path.name, path.stat().st_size)
