#!/usr/bin/env bash
# FFmpeg's checksum of an MP3's LAME tag is right for MPEG-1 in stereo alone.
#
# The tag says how many samples the encoder added in front and behind. Its last two bytes are a CRC-16 of what stands before
# them in the frame, and their place depends on the side information: 190 bytes into the frame for MPEG-1 stereo, 175 for
# MPEG-1 mono and MPEG-2 stereo, 167 for MPEG-2 mono, which is what speech at 16 kHz is. FFmpeg, encoding or copying (`-c copy`),
# writes a sum that fits in the first case only; libmp3lame's own tag fits in each. Who believes a tag only where its checksum fits (symphonia
# 0.6.1 does) keeps the added samples: a recording of 72,000 comes back as 73,728, and every later time stamp is late by the
# encoder's delay. mpg123, libsndfile and FFmpeg do not look at the checksum.
#
# Output seen, 2026-11-28 (FFmpeg 7.0.2 of imageio-ffmpeg 0.6.0; LAME of soundfile 0.14.0):
#   2 channels, 44100 Hz: ffmpeg right, ffmpeg -c copy right, libmp3lame right
#   1 channel, 44100 Hz: ffmpeg wrong, ffmpeg -c copy wrong, libmp3lame right
#   2 channels, 16000 Hz: ffmpeg wrong, ffmpeg -c copy wrong, libmp3lame right
#   1 channel, 16000 Hz: ffmpeg wrong, ffmpeg -c copy wrong, libmp3lame right
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install imageio-ffmpeg==0.6.0 soundfile==0.14.0 numpy==2.3.5
cd "$work"
"$work/venv/bin/python" - <<'PY'
import subprocess

import imageio_ffmpeg
import numpy
import soundfile

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def ffmpeg(*arguments):
    subprocess.run([FFMPEG, "-y", "-v", "error", *arguments], check=True)


def crc16(data):
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return value


def checksum(path, side_information):
    """Whether the tag's checksum is that of the bytes before it, in the first frame."""
    data = open(path, "rb").read()
    if data[:3] == b"ID3":
        size = data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9]
        data = data[10 + size:]
    tag = 4 + side_information
    assert data[tag:tag + 4] in (b"Xing", b"Info"), data[:64]
    at = tag + 120 + 34
    return "right" if int.from_bytes(data[at:at + 2], "big") == crc16(data[:at]) else "wrong"


expected = {(2, 44100): ["right"] * 3}
for channels, rate, side_information in [(2, 44100, 32), (1, 44100, 17), (2, 16000, 17), (1, 16000, 9)]:
    samples = 0.3 * numpy.sin(numpy.arange(2 * rate) * 2 * numpy.pi * 440 / rate)
    samples = numpy.stack([samples] * channels, axis=1)
    soundfile.write("in.wav", samples, rate)
    soundfile.write("lame.mp3", samples, rate, format="MP3")
    ffmpeg("-i", "in.wav", "-c:a", "libmp3lame", "encoded.mp3")
    ffmpeg("-i", "lame.mp3", "-c", "copy", "copied.mp3")
    found = [checksum(f"{name}.mp3", side_information) for name in ["encoded", "copied", "lame"]]
    print(f"{channels} channel{'s' * (channels > 1)}, {rate} Hz: ffmpeg {found[0]}, ffmpeg -c copy {found[1]}, libmp3lame {found[2]}")
    assert found == expected.get((channels, rate), ["wrong", "wrong", "right"]), found
PY
