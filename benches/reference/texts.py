"""CoLA as GLUE has it: source, label, mark and sentence between tabs, without quoting or a header."""

import pathlib


def read(folder):
    """Sentences and labels of the training split."""
    lines = (pathlib.Path(folder) / "train.tsv").read_text(encoding="utf-8").split("\n")
    rows = [line.split("\t") for line in lines if line]
    return [row[3] for row in rows], [int(row[1]) for row in rows]
