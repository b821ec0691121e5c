#!/usr/bin/env python3
"""Writes rows of MRPC, MNLI and STS-B in fixtures/, in the layouts that people have, and what the libraries read of them.

    python make_hub_fixtures.py

Made with datasets 5.0.1, pyarrow 26.0.1 and pandas 3.1.1. The sentences are made up. GLUE's own files are written here as GLUE
writes them: quotes are characters like any other. expected.json has every row as `datasets` reads it from its own files.
"""

import csv
import json
import shutil
from pathlib import Path

import datasets
import pandas
import pyarrow
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_from_disk

assert (datasets.__version__, pyarrow.__version__, pandas.__version__) == ("5.0.1", "26.0.1", "3.1.1")
FIXTURES = Path(__file__).parent / "fixtures"

PAIRS = [
    ('He said "no", and left.', '"No," he said.'),
    ('"All of it is quoted."', "Nothing is; or is it?"),
    ("Plain words, with a comma", "Größe – 漢字 🦀"),
    ('The 12" pipe', "The 30 cm pipe"),
    ('"The first word is quoted', "the last one is quoted\""),
    ("  spaces around  ", "one, two; three"),
]
CLASSES = {
    "mrpc": ["not_equivalent", "equivalent"],
    "mnli": ["entailment", "neutral", "contradiction"],
}
SPLITS = {
    "mrpc": ["train", "validation"],
    "mnli": ["train", "validation_matched", "validation_mismatched"],
    "stsb": ["train", "validation"],
}
OWN = {"mrpc": ("#1 String", "#2 String"), "mnli": ("sentence1", "sentence2"), "stsb": ("sentence1", "sentence2")}
HUB = {"mrpc": ("sentence1", "sentence2"), "mnli": ("premise", "hypothesis"), "stsb": ("sentence1", "sentence2")}


def label(task, row):
    return [3.8, 0.0, 5.0, 2.6][row % 4] if task == "stsb" else (row * 2 + 1) % len(CLASSES[task])


def rows(task, split):
    """The hub's rows of a split; every split has other ones."""
    shift = SPLITS[task].index(split)
    first, second = HUB[task]
    pairs = [PAIRS[(row + shift) % len(PAIRS)] for row in range(len(PAIRS) + shift)]
    return [
        {first: a, second: f"{b} {shift}", "label": label(task, row), "idx": row} for row, (a, b) in enumerate(pairs)
    ]


def features(task):
    first, second = HUB[task]
    kind = Value("float32") if task == "stsb" else ClassLabel(names=CLASSES[task])
    return Features({first: Value("string"), second: Value("string"), "label": kind, "idx": Value("int32")})


def own_line(task, row, a, b, label):
    """A line of GLUE's own file."""
    if task == "mrpc":
        return [str(label), "7", "8", a, b]
    if task == "stsb":
        return [str(row), "g", "f", "2012", "1", "n", "n", a, b, f"{label:.3f}"]
    return [str(row), "p", "x", a, b, "neutral", CLASSES["mnli"][label]]


HEADERS = {
    "mrpc": ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
    "stsb": ["index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score"],
    "mnli": ["index", "promptID", "pairID", "sentence1", "sentence2", "label1", "gold_label"],
}
OWN_FOLDERS = {"mrpc": "MRPC", "mnli": "MNLI", "stsb": "STS-B"}


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def main():
    shutil.rmtree(FIXTURES, ignore_errors=True)
    expected = {}
    for task, splits in SPLITS.items():
        first, second = HUB[task]
        whole = DatasetDict()
        for split in splits:
            found = rows(task, split)
            data = Dataset.from_list(found, features=features(task))
            whole[split] = data
            shards = 2 if split == "train" else 1
            for shard in range(shards):
                name = f"{split}-{shard:05}-of-{shards:05}.parquet"
                data.shard(shards, shard, contiguous=True).to_parquet(str(put(FIXTURES / "parquet" / task / name)))
            expected[f"{task} {split}"] = [
                [row[first], row[second], row["label"] if task == "stsb" else CLASSES[task][row["label"]]] for row in data
            ]
            data.to_json(str(put(FIXTURES / "lines" / task / f"{split}.jsonl")))
            # The names of classes get lost in these; what is written is what people then have.
            frame = data.to_pandas()
            frame.to_csv(put(FIXTURES / "csv" / task / f"{split}.csv"), index=False)
            frame.to_json(put(FIXTURES / "array" / task / f"{split}.json"), orient="records", indent=1)
            frame.to_csv(put(FIXTURES / "pandas" / task / f"{split}.tsv"), sep="\t", index=False)
            frame.to_parquet(put(FIXTURES / "pandas_parquet" / task / f"{split}.parquet"), index=True, compression="zstd")
            own = "dev" + split.removeprefix("validation") if split != "train" else split
            lines = [HEADERS[task]]
            lines += [own_line(task, row["idx"], row[first], row[second], row["label"]) for row in found]
            text = "".join("\t".join(line) + "\n" for line in lines)
            put(FIXTURES / "own" / OWN_FOLDERS[task] / f"{own}.tsv").write_text(text)
            # GLUE's own file, read right and written again by pandas.
            again = pandas.read_csv(FIXTURES / "own" / OWN_FOLDERS[task] / f"{own}.tsv", sep="\t", quoting=csv.QUOTE_NONE)
            again.to_csv(put(FIXTURES / "own_by_pandas" / OWN_FOLDERS[task] / f"{own}.tsv"), sep="\t", index=False)
        whole.save_to_disk(str(put(FIXTURES / "saved" / task)), num_shards={s: 2 if s == "train" else 1 for s in splits})
        loaded = load_from_disk(str(FIXTURES / "saved" / task))
        for split in splits:
            assert [list(row.values())[:2] for row in loaded[split]] == [
                row[:2] for row in expected[f"{task} {split}"]
            ]
            frame = pandas.read_csv(FIXTURES / "pandas" / task / f"{split}.tsv", sep="\t")
            assert frame[first].tolist() == [row[0] for row in expected[f"{task} {split}"]]
    # Labels that are hidden, as in the hub's test splits.
    hidden = [dict(row, label=-1) for row in rows("mrpc", "validation")]
    Dataset.from_list(hidden, features=features("mrpc")).to_parquet(str(put(FIXTURES / "hidden" / "test-00000-of-00001.parquet")))
    (FIXTURES / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
