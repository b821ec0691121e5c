#!/usr/bin/env python3
"""Writes the tables in fixtures/ that tests/tables.rs reads, and what pyarrow itself reads of them.

    python make_table_fixtures.py

Made with pyarrow 26.0.1. Every file holds the same 40 rows, but for those that are to be refused (refused_*), in another
encoding or with another type of column; expected.json holds the cells, bytes as lists of numbers.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

assert pa.__version__ == "26.0.1", pa.__version__
FIXTURES = Path(__file__).parent / "fixtures"
ROWS = 40
WORDS = ["", "one", 'He said "no".', "tab\tand\nline", "Größe — 漢字 🦀", "a longer text that no view holds within itself"]


def text(row):
    return None if row % 7 == 3 else WORDS[row % len(WORDS)] + ("" if row % 4 else f" {row}")


def audio(row):
    if row % 11 == 5:
        return None
    return {"bytes": bytes(range(row)) if row % 3 else None, "path": f"{row}.wav" if row % 5 else None}


COLUMNS = {
    "text": [text(row) for row in range(ROWS)],
    "count": [None if row % 9 == 2 else (row - 3) ** 5 for row in range(ROWS)],
    "small": [row * 6 for row in range(ROWS)],
    "single": [row / 8 - 1 if row % 5 else None for row in range(ROWS)],
    "double": [row / 3 for row in range(ROWS)],
    "flag": [None if row % 8 == 7 else row % 3 == 0 for row in range(ROWS)],
    "same": ["always the same"] * ROWS,
    "tags": [[str(row)] * (row % 3) for row in range(ROWS)],
    "audio": [audio(row) for row in range(ROWS)],
}
AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def table(string=pa.string(), small=pa.uint8()):
    kinds = {"text": string, "count": pa.int64(), "small": small, "single": pa.float32(), "double": pa.float64()}
    kinds |= {"flag": pa.bool_(), "same": string, "tags": pa.list_(pa.string()), "audio": AUDIO}
    fields = [pa.field(name, kind) for name, kind in kinds.items()]
    names = {"info": {"features": {"small": {"names": ["no", "yes"], "_type": "ClassLabel"}}}}
    schema = pa.schema(fields, metadata={"huggingface": json.dumps(names)})
    return pa.table([pa.array(COLUMNS[name], kind) for name, kind in kinds.items()], schema=schema)


def parquet(name, of=None, **options):
    pq.write_table(of or table(), FIXTURES / f"{name}.parquet", **options)


def stream(name, of, batch=16, new=ipc.new_stream, **options):
    with new(str(FIXTURES / f"{name}.arrow"), of.schema, options=ipc.IpcWriteOptions(**options)) as out:
        for rows in of.to_batches(batch):
            out.write_batch(rows)


def main():
    FIXTURES.mkdir(exist_ok=True)
    for old in FIXTURES.iterdir():
        old.unlink()
    parquet("snappy")
    parquet("plain", compression="none", use_dictionary=False, store_schema=False)
    parquet("zstd_pages_of_version_2", compression="zstd", data_page_version="2.0", row_group_size=17)
    parquet("gzip_small_pages", compression="gzip", data_page_size=40, write_batch_size=4, write_page_checksum=True)
    deltas = {"text": "DELTA_BYTE_ARRAY", "same": "DELTA_LENGTH_BYTE_ARRAY", "count": "DELTA_BINARY_PACKED"}
    deltas |= {"small": "DELTA_BINARY_PACKED", "single": "BYTE_STREAM_SPLIT", "double": "BYTE_STREAM_SPLIT"}
    parquet("deltas", use_dictionary=False, column_encoding=deltas | {"flag": "RLE"}, data_page_version="2.0")
    parquet("large_text", table(pa.large_string(), pa.int16()), write_page_index=True)
    parquet("dictionaries", table(pa.dictionary(pa.int32(), pa.string()), pa.int32()))
    parquet("lz4", compression="lz4", use_dictionary=False)
    parquet("refused_brotli", compression="brotli", use_dictionary=False)

    stream("stream", table())
    stream("large", table(pa.large_string(), pa.uint32()))
    stream("views", table(pa.string_view(), pa.int16()))
    stream("dictionary", table(pa.dictionary(pa.int8(), pa.string()), pa.int64()), emit_dictionary_deltas=True)
    stream("file", table(), new=ipc.new_file)
    stream("refused_zstd", table(), compression="zstd")

    cells = {name: column for name, column in COLUMNS.items() if name not in ("tags", "audio")}
    cells["audio.bytes"] = [cell and cell["bytes"] and list(cell["bytes"]) for cell in COLUMNS["audio"]]
    cells["audio.bytes"] = [
        [] if cell is not None and cell["bytes"] == b"" else found
        for cell, found in zip(COLUMNS["audio"], cells["audio.bytes"])
    ]
    cells["audio.path"] = [cell and cell["path"] for cell in COLUMNS["audio"]]
    for path in sorted(FIXTURES.glob("[!r]*.*")):
        if path.suffix == ".parquet":
            found = pq.read_table(path)
        else:
            source = pa.memory_map(str(path))
            found = (ipc.open_file(source) if path.stem == "file" else ipc.open_stream(source)).read_all()
        assert {name: found[name].to_pylist() for name in COLUMNS} == COLUMNS, path
    (FIXTURES / "expected.json").write_text(json.dumps(cells))


if __name__ == "__main__":
    main()
