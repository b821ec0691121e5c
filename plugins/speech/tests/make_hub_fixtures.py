"""Makes tests/fixtures/hub: speech as `datasets` and pyarrow hand it out, with what the libraries read from it.

datasets 5.0.1, pyarrow 26.0.1, torchcodec 0.17.0, soundfile 0.14.0 (libsndfile 1.2.2), numpy 2.3.5

    python plugins/speech/tests/make_hub_fixtures.py

`expected.json` has of every layout its transcripts and the number of samples of its recordings, in order: as the library loads
the layout, and soundfile the bytes or files it names. Of pieces of files it has what NeMo reads (`AudioSegment.from_file`: `seek(int(offset * rate))`,
`read(int(duration * rate))`).
"""

import functools
import io
import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile as sf
from datasets import Audio, Dataset, DatasetDict, load_dataset, load_from_disk

OUT = Path(__file__).parent / "fixtures" / "hub"
CACHE = "/tmp/lopper-hub-fixtures"
RATE = 16000
# A name, a transcript, seconds and a tone.
ROWS = [
    ("a.flac", "ONE TWO", 0.30, 300),
    ("b.wav", "TWO", 0.10, 440),
    ("c.ogg", "THREE", 0.25, 250),
    ("d.flac", "FOUR", 0.20, 600),
    ("e.mp3", "FIVE", 0.25, 350),
]
DEV = [("f.flac", "SIX", 0.15, 500), ("g.wav", "TEN", 0.12, 200)]
VERSIONS = {"datasets": "5.0.1", "pyarrow": "26.0.1", "soundfile": "0.14.0", "numpy": "2.3.5"}


def tone(seconds, pitch):
    time = np.arange(int(round(seconds * RATE))) / RATE
    return np.round(0.3 * np.sin(2 * np.pi * pitch * time) * 32767) / 32768


# Ogg streams have random numbers.
@functools.lru_cache
def encoded(name, seconds, pitch):
    out = io.BytesIO()
    kind = {"flac": "FLAC", "wav": "WAV", "ogg": "OGG", "mp3": "MP3"}[name.rsplit(".", 1)[1]]
    sf.write(out, tone(seconds, pitch), RATE, format=kind)
    return out.getvalue()


def audio(rows):
    return [{"bytes": encoded(name, seconds, pitch), "path": name} for name, _, seconds, pitch in rows]


def made(rows, **more):
    table = {"id": list(range(len(rows))), "audio": audio(rows), "text": [text for _, text, _, _ in rows], **more}
    # As the hub has it; encoding would need torchcodec.
    return Dataset.from_dict(table).cast_column("audio", Audio(decode=False))


def samples(cell, folder=None):
    source = io.BytesIO(cell["bytes"]) if cell["bytes"] is not None else cell["path"]
    return len(sf.read(source)[0])


def told(data, text="text", column="audio"):
    data = data.cast_column(column, Audio(decode=False))
    return {"texts": list(data[text]), "samples": [samples(cell) for cell in data[column]]}


def main():
    for name, version in VERSIONS.items():
        module = {"datasets": datasets, "pyarrow": pa, "soundfile": sf, "numpy": np}[name]
        assert module.__version__ == version, f"{name} {module.__version__}, not {version}"
    shutil.rmtree(OUT, ignore_errors=True)
    shutil.rmtree(CACHE, ignore_errors=True)
    OUT.mkdir(parents=True)
    expected = {}

    # Files, which all layouts are held against.
    clips = OUT / "clips"
    clips.mkdir()
    for name, _, seconds, pitch in ROWS + DEV:
        (clips / name).write_bytes(encoded(name, seconds, pitch))

    # The hub's shards.
    train, dev = made(ROWS), made(DEV)
    shards = OUT / "shards" / "data"
    shards.mkdir(parents=True)
    for number in range(3):
        shard = train.shard(3, number, contiguous=True)
        shard.to_parquet(shards / f"train-{number:05}-of-00003.parquet")
    dev.to_parquet(shards / "validation-00000-of-00001.parquet")
    loaded = load_dataset(str(OUT / "shards"), cache_dir=CACHE)
    expected["shards"] = {split: told(loaded[split]) for split in loaded}

    # save_to_disk, of several splits.
    DatasetDict({"train": train, "validation": dev}).save_to_disk(OUT / "saved", num_shards={"train": 2, "validation": 1})
    loaded = load_from_disk(str(OUT / "saved"))
    expected["saved"] = {split: told(loaded[split]) for split in loaded}

    # As older writers wrote them: Snappy, several rows a page, several row groups, another column and two transcripts.
    table = pa.table(
        {
            "speech": pa.array(audio(ROWS), pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            "raw_text": ["One, two.", "Two.", "Three!", "Four?", "Five"],
            "normalized_text": [text.lower() for _, text, _, _ in ROWS],
        }
    )
    pq.write_table(table, OUT / "snappy.parquet", compression="snappy", row_group_size=3)
    loaded = load_dataset("parquet", data_files=str(OUT / "snappy.parquet"), split="train", cache_dir=CACHE)
    loaded = loaded.cast_column("speech", Audio(decode=False))
    expected["snappy"] = told(loaded, "normalized_text", "speech")

    # Bytes that are null, beside the path of a file; and a row with neither.
    cells = [{"bytes": None, "path": "clips/a.flac"}, audio(ROWS)[1], {"bytes": None, "path": "clips/d.flac"}]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    texts = [ROWS[number][1] for number in (0, 1, 3)]
    pq.write_table(pa.table({"audio": pa.array(cells, kind), "text": texts}), OUT / "paths.parquet")
    cells[1] = {"bytes": None, "path": None}
    pq.write_table(pa.table({"audio": pa.array(cells, kind), "text": texts}), OUT / "neither.parquet")

    # AudioFolder, with clips in a sub-folder.
    folder = OUT / "audiofolder"
    (folder / "train" / "some").mkdir(parents=True)
    (folder / "validation").mkdir()
    for name, *_ in ROWS[:3]:
        shutil.copy(clips / name, folder / "train" / "some" / name)
    for name, *_ in DEV:
        shutil.copy(clips / name, folder / "validation" / name)
    lines = [{"file_name": f"some/{name}", "transcription": text} for name, text, _, _ in ROWS[:3]]
    (folder / "train" / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lines = [{"file_name": name, "transcription": text} for name, text, _, _ in DEV]
    (folder / "validation" / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    loaded = load_dataset("audiofolder", data_dir=str(folder), cache_dir=CACHE)
    expected["audiofolder"] = {split: told(loaded[split], "transcription") for split in loaded}
    # The same lists as Parquet and as CSV.
    names = {"file_name": [f"some/{name}" for name, *_ in ROWS[:3]], "transcription": [text for _, text, _, _ in ROWS[:3]]}
    pq.write_table(pa.table(names), OUT / "metadata.parquet")

    # `datasets` as JSON lines.
    paths = [{"bytes": None, "path": str(clips / name)} for name, *_ in ROWS]
    data = Dataset.from_dict({"audio": paths, "sentence": [text for _, text, _, _ in ROWS]})
    data.to_json(OUT / "datasets.jsonl")
    text = (OUT / "datasets.jsonl").read_text().replace(json.dumps(str(clips))[1:-1].replace("/", "\\/"), "clips")
    (OUT / "datasets.jsonl").write_text(text.replace(str(clips), "clips"))

    # Pieces of a file, as NeMo reads them.
    pieces = []
    manifest = ""
    for name, offset, duration in [
        ("a.flac", 0.1, 0.15),
        ("a.flac", 0.0, 0.12345),
        ("b.wav", 0.03, 0.05),
        ("c.ogg", 0.1, 0.1),
        ("a.flac", 0.2, 0.1),
        ("d.flac", 0.0, 0.2),
    ]:
        with sf.SoundFile(clips / name) as file:
            file.seek(int(offset * file.samplerate))
            values = file.read(int(duration * file.samplerate), dtype="float32")
        places = [0, len(values) // 2, len(values) - 1]
        pieces.append({"samples": len(values), "values": [[place, float(values[place])] for place in places]})
        row = {"audio_filepath": f"clips/{name}", "text": "A", "duration": duration, "offset": offset}
        manifest += json.dumps(row) + "\n"
    (OUT / "nemo.jsonl").write_text(manifest)
    expected["nemo"] = pieces

    (OUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    shutil.rmtree(CACHE, ignore_errors=True)


main()
