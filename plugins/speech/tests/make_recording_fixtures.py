#!/usr/bin/env python3
"""Writes fixtures/recordings: short recordings of synthetic sound in the formats and with the headers that people bring, and
expected.json, which says what the programs that everybody uses make of them.

python plugins/speech/tests/make_recording_fixtures.py

numpy 2.3, soundfile 0.14.0 (libsndfile 1.2.2, mpg123 1.32), FFmpeg 5.1.9, SoX 14.4.2, opus-tools 0.2 (libopus 1.3.1), LAME 3.100;
on Debian 12: apt-get install ffmpeg sox libsox-fmt-all opus-tools lame. Other versions may write other bytes.

Most recordings are the same 800 samples at 16 kHz, so that what is read can be held against what was written. Values stand at
the recording's own rate, channels averaged, at up to 20 places. `by` is who read them:
  soundfile, ffmpeg, opusdec   the program of that name
  written                      what was written, where no two programs agree
"""
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

FOLDER = Path(__file__).parent / "fixtures" / "recordings"
RATE = 16_000
PCM = bytes.fromhex("0100000000001000800000aa00389b71")  # KSDATAFORMAT_SUBTYPE_PCM
expected, refused = {}, {}


def sound(rate, seconds):
    """A tone that rises from 200 to about 2200 Hz, with a little noise."""
    time = np.arange(round(rate * seconds)) / rate
    noise = np.random.default_rng(5).standard_normal(len(time))
    return 0.6 * np.sin(2 * np.pi * (200 + 1000 / seconds * time) * time) + 0.01 * noise


SAMPLES = sound(RATE, 0.05)
I16 = np.round(SAMPLES * 32767).astype("<i2")
I24 = np.round(SAMPLES * 8388607).astype("<i4")


def run(command):
    subprocess.run(command, shell=True, check=True, cwd=FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def note(name, rate, mono, tolerance, by):
    places = sorted({round(place) for place in np.linspace(0, len(mono) - 1, 20)})
    values = [[place, float(f"{mono[place]:.8g}")] for place in places]
    entry = {"rate": rate, "frames": len(mono), "tolerance": tolerance, "by": by, "values": values}
    expected[name] = entry


def by_soundfile(name, tolerance=1e-7):
    samples, rate = soundfile.read(FOLDER / name, always_2d=True)
    note(name, rate, samples.mean(axis=1), tolerance, "soundfile")


def by_ffmpeg(name, rate, channels=1, tolerance=1e-7):
    command = ["ffmpeg", "-v", "error", "-i", FOLDER / name, "-f", "f64le", "-"]
    samples = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, "<f8")
    note(name, rate, samples.reshape(-1, channels).mean(axis=1), tolerance, "ffmpeg")


def by_opusdec(name, tolerance=2e-6):
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out.wav"
        subprocess.run(["opusdec", "--quiet", "--float", "--rate", "48000", FOLDER / name, out], check=True)
        samples, rate = soundfile.read(out, always_2d=True)
    note(name, rate, samples.mean(axis=1), tolerance, "opusdec")


def refuse(name, part):
    refused[name] = part


def chunk(name, content, padded=True):
    return name + struct.pack("<I", len(content)) + content + (b"\0" if padded and len(content) % 2 else b"")


def fmt(codec, block, bits, extension=b"", channels=1):
    return chunk(b"fmt ", struct.pack("<HHIIHH", codec, channels, RATE, RATE * block, block, bits) + extension)


def extensible(valid):
    return struct.pack("<HHI", 22, valid, 4) + PCM


def data(content, length=None):
    return b"data" + struct.pack("<I", len(content) if length is None else length) + content


def riff(name, body, length=None):
    length = 4 + len(body) if length is None else length
    (FOLDER / name).write_bytes(b"RIFF" + struct.pack("<I", length) + b"WAVE" + body)


def wav_headers():
    plain, bytes16 = fmt(1, 2, 16), I16.tobytes()
    left = (I24 << 8).astype("<i4").tobytes()
    twenty = b"".join(struct.pack("<i", int(sample) & ~15)[:3] for sample in I24)
    odd = b"INFOISFT\x05\0\0\0Lavf5"

    # What programs leave behind that write into a pipe or are interrupted.
    for name, whole, length in [
        ("riff-0.wav", 0, None), ("riff-36.wav", 36, None), ("riff-open.wav", 0xFFFFFFFF, None),
        ("data-open.wav", 0xFFFFFFFF, 0xFFFFFFFF), ("data-sox.wav", 0x7FFFF024, 0x7FFFF000),
        ("data-7fffffff.wav", 0x7FFFFFFF, 0x7FFFFFFF), ("data-80000000.wav", 0x80000024, 0x80000000),
    ]:
        riff(name, plain + data(bytes16, length), whole)
        by_soundfile(name)
    for name, whole in [("data-0.wav", 36), ("data-0-riff-0.wav", 0), ("data-0-riff-right.wav", None)]:
        riff(name, plain + data(bytes16, 0), whole)
        by_ffmpeg(name, RATE)
    # Padding that is there, and padding that is not.
    riff("list-odd-padded.wav", plain + chunk(b"LIST", odd) + data(bytes16))
    by_soundfile("list-odd-padded.wav")
    riff("list-odd.wav", plain + chunk(b"LIST", odd, padded=False) + data(bytes16))
    riff("list-odd-first.wav", chunk(b"LIST", odd, padded=False) + plain + data(bytes16))
    for name in ["list-odd.wav", "list-odd-first.wav"]:
        note(name, RATE, I16 / 32768, 1e-7, "written")
    # Bits in larger containers, at whose upper end they are.
    riff("12-in-2.wav", fmt(1, 2, 12) + data((I16 & ~15).astype("<i2").tobytes()))
    riff("20-in-3.wav", fmt(1, 3, 20) + data(twenty))
    riff("20-in-3-extensible.wav", fmt(0xFFFE, 3, 24, extensible(20)) + data(twenty))
    riff("24-in-4-extensible.wav", fmt(0xFFFE, 4, 32, extensible(24)) + data(left))
    riff("no-block.wav", fmt(1, 0, 16) + data(bytes16))
    for name in ["12-in-2.wav", "20-in-3.wav", "20-in-3-extensible.wav", "24-in-4-extensible.wav", "no-block.wav"]:
        by_soundfile(name)
    # libsndfile reads both in steps of three bytes, and FFmpeg as floating-point numbers.
    riff("24-in-4.wav", fmt(1, 4, 24) + data(left))
    riff("24-in-4-low.wav", fmt(1, 4, 24) + data(I24.tobytes()))
    for name in ["24-in-4.wav", "24-in-4-low.wav"]:
        refuse(name, "samples of 24 bits in blocks of 4 bytes")


def by_libsndfile():
    """What soundfile writes, and reads again. 24 bits in two channels, the second half as loud."""
    pair = np.stack([SAMPLES, SAMPLES / 2], axis=1)
    for name, kind, subtype, endian in [
        ("8.wav", "WAV", "PCM_U8", "FILE"), ("16.wav", "WAV", "PCM_16", "FILE"), ("24.wav", "WAV", "PCM_24", "FILE"),
        ("32.wav", "WAV", "PCM_32", "FILE"), ("float.wav", "WAV", "FLOAT", "FILE"), ("double.wav", "WAV", "DOUBLE", "FILE"),
        ("ulaw.wav", "WAV", "ULAW", "FILE"), ("alaw.wav", "WAV", "ALAW", "FILE"), ("24-ex.wav", "WAVEX", "PCM_24", "FILE"),
        ("float-ex.wav", "WAVEX", "FLOAT", "FILE"), ("ulaw-ex.wav", "WAVEX", "ULAW", "FILE"),
        ("16.rifx.wav", "WAV", "PCM_16", "BIG"), ("24.rifx.wav", "WAV", "PCM_24", "BIG"),
        ("float.rifx.wav", "WAV", "FLOAT", "BIG"),
        ("16.rf64", "RF64", "PCM_16", "FILE"), ("float.rf64", "RF64", "FLOAT", "FILE"),
        ("s8.aiff", "AIFF", "PCM_S8", "FILE"), ("u8.aiff", "AIFF", "PCM_U8", "FILE"), ("16.aiff", "AIFF", "PCM_16", "FILE"),
        ("24.aiff", "AIFF", "PCM_24", "FILE"), ("32.aiff", "AIFF", "PCM_32", "FILE"), ("sowt.aiff", "AIFF", "PCM_16", "LITTLE"),
        ("float.aiff", "AIFF", "FLOAT", "FILE"), ("double.aiff", "AIFF", "DOUBLE", "FILE"),
        ("ulaw.aiff", "AIFF", "ULAW", "FILE"), ("alaw.aiff", "AIFF", "ALAW", "FILE"),
        ("16.au", "AU", "PCM_16", "FILE"), ("24.au", "AU", "PCM_24", "FILE"), ("ulaw.au", "AU", "ULAW", "FILE"),
        ("alaw.au", "AU", "ALAW", "FILE"), ("float.au", "AU", "FLOAT", "FILE"), ("double.au", "AU", "DOUBLE", "FILE"),
        ("16.caf", "CAF", "PCM_16", "FILE"), ("16le.caf", "CAF", "PCM_16", "LITTLE"), ("24.caf", "CAF", "PCM_24", "FILE"),
        ("s8.caf", "CAF", "PCM_S8", "FILE"), ("float.caf", "CAF", "FLOAT", "FILE"), ("double.caf", "CAF", "DOUBLE", "FILE"),
        ("ulaw.caf", "CAF", "ULAW", "FILE"), ("alaw.caf", "CAF", "ALAW", "FILE"),
        ("16le.sph", "NIST", "PCM_16", "LITTLE"), ("16be.sph", "NIST", "PCM_16", "BIG"), ("s8.sph", "NIST", "PCM_S8", "FILE"),
        ("24.sph", "NIST", "PCM_24", "LITTLE"), ("32be.sph", "NIST", "PCM_32", "BIG"), ("ulaw.sph", "NIST", "ULAW", "FILE"),
        ("alaw.sph", "NIST", "ALAW", "FILE"),
    ]:
        soundfile.write(FOLDER / name, pair if subtype == "PCM_24" else SAMPLES, RATE, format=kind, subtype=subtype, endian=endian)
        by_soundfile(name)
    for name, kind, subtype, part in [
        ("ms-adpcm.wav", "WAV", "MS_ADPCM", "is WAV of Microsoft ADPCM"), ("ima-adpcm.wav", "WAV", "IMA_ADPCM", "is WAV of IMA ADPCM"),
        ("gsm.wav", "WAV", "GSM610", "is WAV of GSM 6.10"), ("ima4.aiff", "AIFF", "IMA_ADPCM", "is AIFF-C of compression `ima4`"),
        ("alac.caf", "CAF", "ALAC_16", "is CAF of codec `alac`"), ("16.w64", "W64", "PCM_16", "is Wave64"),
        ("16.voc", "VOC", "PCM_16", "is VOC"),
    ]:
        soundfile.write(FOLDER / name, SAMPLES, RATE, format=kind, subtype=subtype)
        refuse(name, part)


def by_programs():
    """What FFmpeg and SoX write, into files and into pipes."""
    shutil.copy(FOLDER / "16.wav", FOLDER / "in.wav")
    for name, command in [
        ("ffmpeg-pipe.wav", "ffmpeg -y -i in.wav -f wav - | cat > ffmpeg-pipe.wav"),
        ("ffmpeg.rf64", "ffmpeg -y -i in.wav -rf64 always -f wav ffmpeg.rf64"),
        ("ffmpeg-auto.wav", "ffmpeg -y -i in.wav -rf64 auto ffmpeg-auto.wav"),
        ("ffmpeg-24.wav", "ffmpeg -y -i in.wav -c:a pcm_s24le ffmpeg-24.wav"),
        ("ffmpeg-pipe.aiff", "ffmpeg -y -i in.wav -f aiff - | cat > ffmpeg-pipe.aiff"),
        ("ffmpeg-pipe.au", "ffmpeg -y -i in.wav -f au - | cat > ffmpeg-pipe.au"),
        ("sox-pipe.wav", "cat in.wav | sox -t raw -r 16000 -e signed -b 16 -c 1 - -t wav - | cat > sox-pipe.wav"),
        ("sox-pipe.aiff", "sox in.wav -t aiff - | cat > sox-pipe.aiff"),
        ("sox-pipe.au", "cat in.wav | sox -t raw -r 16000 -e signed -b 16 -c 1 - -t au - | cat > sox-pipe.au"),
        ("sox-pipe.sph", "cat in.wav | sox -t raw -r 16000 -e signed -b 16 -c 1 - -t sph - | cat > sox-pipe.sph"),
        ("sox-20.wav", "sox in.wav -b 20 sox-20.wav"),
        ("sox.sph", "sox in.wav sox.sph"),
        ("sox-ulaw.sph", "sox in.wav -e u-law sox-ulaw.sph"),
        ("sox-rifx.wav", "sox in.wav -B -t wav sox-rifx.wav"),
        ("sox-double.wav", "sox in.wav -e float -b 64 sox-double.wav"),
        ("sox.aifc", "sox in.wav -t aifc sox.aifc"),
    ]:
        run(command)
        by_soundfile(name)
    run("ffmpeg -y -i in.wav -f caf - | cat > ffmpeg-pipe.caf")
    by_ffmpeg("ffmpeg-pipe.caf", RATE)
    sphere = (FOLDER / "sox.sph").read_bytes()
    # TIMIT's headers name neither their coding nor their end of the samples in other words, and its files are called .WAV.
    (FOLDER / "TIMIT.WAV").write_bytes(sphere.replace(b"sample_coding -s3 pcm\n", b"").replace(b"end_head\n", b"end_head\n" + b" " * 22))
    (FOLDER / "no-byte-order.sph").write_bytes(sphere.replace(b"sample_byte_format -s2 01\n", b"speaking_mode      -s2 01\n"))
    (FOLDER / "no-count.sph").write_bytes(sphere.replace(b"sample_count", b"session_numb"))
    for name in ["TIMIT.WAV", "no-byte-order.sph", "no-count.sph"]:
        by_soundfile(name)
    shorten = b"sample_coding -s26 pcm,embedded-shorten-v2.00\n"
    header = sphere[:1024].replace(b"sample_coding -s3 pcm\n", shorten)[:1024]
    (FOLDER / "shorten.sph").write_bytes(header + b"ajkg\x02" + bytes(range(64)))
    refuse("shorten.sph", "is NIST SPHERE compressed by shorten (`pcm,embedded-shorten-v2.00`)")

    for name, options, part in [
        ("aac.m4a", "", "is M4A"), ("alac.m4a", "-c:a alac", "is M4A"), ("aac.mp4", "", "is MP4"),
        ("aac.mov", "", "is a QuickTime movie"), ("opus.webm", "-c:a libopus", "is WebM or Matroska"),
        ("flac.mka", "-c:a flac", "is WebM or Matroska"), ("aac.aac", "-f adts", "is AAC (ADTS)"), ("a.mp2", "-c:a mp2", "is MPEG audio layer 2"),
        ("speex.spx", "-c:a libspeex", "is Ogg Speex"), ("a.wma", "-c:a wmav2", "is Windows Media Audio"),
        ("a.wv", "-c:a wavpack", "is WavPack"), ("a.tta", "-c:a tta", "is True Audio"), ("mp3.avi", "-c:a mp3", "is AVI"),
        ("mp3.wav", "-c:a mp3", "is WAV of MP3"),
    ]:
        run(f"ffmpeg -y -bitexact -i in.wav {options} {name}")
        refuse(name, part)
    (FOLDER / "pointer.wav").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 1644\n")
    refuse("pointer.wav", "`git lfs pull` fetches the recording")


def flac_and_mp3():
    run("ffmpeg -y -i in.wav -c:a flac -f flac - | cat > ffmpeg-pipe.flac")
    run("ffmpeg -y -i in.wav -c:a flac -f ogg flac.ogg")
    soundfile.write(FOLDER / "plain.flac", SAMPLES, RATE, subtype="PCM_16")
    plain = (FOLDER / "plain.flac").read_bytes()
    id3v1 = b"TAG" + b"title".ljust(30, b"\0") + bytes(94) + b"\xff"
    frame = b"TIT2" + struct.pack(">I", 7) + b"\0\0\x03title\0"
    id3v2 = b"ID3\x04\0\0" + bytes([0, 0, 0, len(frame) + 20]) + frame + bytes(20)
    item = struct.pack("<II", 5, 0) + b"Title\0title"
    footer = b"APETAGEX" + struct.pack("<IIII", 2000, len(item) + 32, 1, 0) + bytes(8)
    for name, content in [
        ("id3v1.flac", plain + id3v1), ("id3v2.flac", id3v2 + plain), ("id3-both.flac", id3v2 + plain + id3v1),
        ("ape.flac", plain + item + footer), ("ape-id3v1.flac", plain + item + footer + id3v1),
    ]:
        (FOLDER / name).write_bytes(content)
    for name in ["plain.flac", "id3v1.flac", "id3v2.flac", "id3-both.flac", "ape.flac", "ape-id3v1.flac", "ffmpeg-pipe.flac", "flac.ogg"]:
        # FFmpeg's are the samples as they are; libsndfile fails at tags behind the end.
        by_ffmpeg(name, RATE)

    # 72,000 samples: what an encoder adds to them, and how programs write it down.
    long = sound(RATE, 4.5)
    soundfile.write(FOLDER / "long.wav", long, RATE, subtype="PCM_16")
    soundfile.write(FOLDER / "short.wav", long[:32_000], RATE, subtype="PCM_16")
    soundfile.write(FOLDER / "long8.wav", sound(8000, 2), 8000, subtype="PCM_16")
    soundfile.write(FOLDER / "long44.wav", np.stack([sound(44_100, 0.5)] * 2, axis=1), 44_100, subtype="PCM_16")
    for name, command in [
        ("lame.mp3", "lame -V9 --resample 16 long.wav lame.mp3"),
        ("lame-copied.mp3", "ffmpeg -y -i lame.mp3 -c copy lame-copied.mp3"),
        ("lame-2s.mp3", "lame -V9 --resample 16 short.wav lame-2s.mp3"),
        ("lame-copied-tags.mp3", "ffmpeg -y -i lame-2s.mp3 -c copy -id3v2_version 3 -write_id3v1 1 -metadata title=x lame-copied-tags.mp3"),
        ("lame-copied-pipe.mp3", "ffmpeg -y -i lame-2s.mp3 -c copy -f mp3 - | cat > lame-copied-pipe.mp3"),
        ("lame-cut.mp3", "ffmpeg -y -ss 0.5 -t 1 -i lame-2s.mp3 -c copy lame-cut.mp3"),
        ("lame-8k.mp3", "lame -b 8 long8.wav lame-8k.mp3"),
        ("lame-8k-copied.mp3", "ffmpeg -y -i lame-8k.mp3 -c copy lame-8k-copied.mp3"),
        ("lame-44k-stereo-copied.mp3", "lame -V9 --resample 44.1 long44.wav - | ffmpeg -y -i - -c copy lame-44k-stereo-copied.mp3"),
        ("ffmpeg.mp3", "ffmpeg -y -i long.wav -b:a 8k ffmpeg.mp3"),
        ("ffmpeg-copied.mp3", "ffmpeg -y -i ffmpeg.mp3 -c copy ffmpeg-copied.mp3"),
        ("no-tag.mp3", "ffmpeg -y -i lame-8k.mp3 -c copy -write_xing 0 no-tag.mp3"),
    ]:
        run(command)
        # Decoders of MP3 differ by rounding. Where a tag does not count frames, libsndfile stops at mpg123's estimate.
        if name == "lame-copied-pipe.mp3":
            by_ffmpeg(name, RATE, tolerance=2e-4)
        else:
            by_soundfile(name, 2e-4)
    soundfile.write(FOLDER / "vorbis.ogg", SAMPLES, RATE, format="OGG", subtype="VORBIS")
    by_soundfile("vorbis.ogg", 1e-4)


def page_checksum(page):
    """RFC 3533, section 6: the polynomial 0x04c11db7, over the page with zeros in place of the checksum."""
    value = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        value &= 0xFFFFFFFF
    return struct.pack("<I", value)


def opus():
    speech = sound(48_000, 0.4)
    speech[:9600] *= 0.001
    soundfile.write(FOLDER / "in48.wav", speech, 48_000, subtype="PCM_16")
    soundfile.write(FOLDER / "in48-2.wav", np.stack([speech, speech[::-1]], axis=1), 48_000, subtype="PCM_16")
    soundfile.write(FOLDER / "in48-6.wav", np.stack([speech / (n + 1) for n in range(6)], axis=1), 48_000, subtype="PCM_16")
    for name, command in [
        ("opusenc-16k.opus", "opusenc --bitrate 16 in.wav opusenc-16k.opus"),
        ("opusenc.opus", "opusenc --bitrate 24 in48.wav opusenc.opus"),
        ("opusenc-music.opus", "opusenc --music --bitrate 64 --framesize 5 in48.wav opusenc-music.opus"),
        ("opusenc-stereo.opus", "opusenc --bitrate 20 in48-2.wav opusenc-stereo.opus"),
        ("opusenc-6.opus", "opusenc --bitrate 48 in48-6.wav opusenc-6.opus"),
        ("opusenc-60ms.opus", "opusenc --bitrate 9 --framesize 60 in48.wav opusenc-60ms.opus"),
        ("ffmpeg.opus", "ffmpeg -y -i in48.wav -c:a libopus -b:a 16k ffmpeg.opus"),
        ("ffmpeg-dtx.opus", "ffmpeg -y -i in48.wav -c:a libopus -application voip -dtx 1 -b:a 12k ffmpeg-dtx.opus"),
        ("ffmpeg-pipe.opus", "ffmpeg -y -i in48.wav -c:a libopus -b:a 16k -f ogg - | cat > ffmpeg-pipe.opus"),
        ("copied.opus", "ffmpeg -y -i opusenc.opus -c copy copied.opus"),
        ("cut.opus", "ffmpeg -y -ss 0.1 -t 0.2 -i opusenc.opus -c copy cut.opus"),
        ("tail.opus", "ffmpeg -y -ss 0.2 -i opusenc.opus -c copy tail.opus"),
    ]:
        run(command)
        by_opusdec(name)
    # 6 dB less, in the header of the first page.
    content = bytearray((FOLDER / "opusenc.opus").read_bytes())
    content[28 + 16 : 28 + 18] = struct.pack("<h", -6 * 256)
    content[22:26] = page_checksum(bytes(content[: 28 + 19]))
    (FOLDER / "gain.opus").write_bytes(content)
    by_opusdec("gain.opus")
    pieces = [(FOLDER / name).read_bytes() for name in ("opusenc-16k.opus", "opusenc-stereo.opus")]
    (FOLDER / "chained.opus").write_bytes(b"".join(pieces))
    refuse("chained.opus", "holds several Ogg streams, one after the other")
    run("ffmpeg -y -bitexact -i in48-6.wav -c:a libopus -mapping_family 255 -b:a 60k -t 0.1 discrete.opus")
    refuse("discrete.opus", "is Opus of 6 channels in mapping family 255")


shutil.rmtree(FOLDER, ignore_errors=True)
FOLDER.mkdir(parents=True)
wav_headers()
by_libsndfile()
by_programs()
flac_and_mp3()
opus()
for name in ["in.wav", "long.wav", "short.wav", "long8.wav", "long44.wav", "in48.wav", "in48-2.wav", "in48-6.wav"]:
    (FOLDER / name).unlink()
lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(expected.items())]
sentences = [f"{json.dumps(name)}: {json.dumps(part)}" for name, part in sorted(refused.items())]
text = '{"read": {\n' + ",\n".join(lines) + '\n},\n"refused": {\n' + ",\n".join(sentences) + "\n}}\n"
json.loads(text)
(FOLDER / "expected.json").write_text(text)
print(len(expected), "read,", len(refused), "refused,", sum(f.stat().st_size for f in FOLDER.iterdir()), "bytes", file=sys.stderr)
