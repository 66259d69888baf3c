"""Adds a reader of ``.gct`` tables: two lines on version and size, then features as rows."""

import pandas as pd

from codenoise import hookimpl


def read_gct(path):
    """Features as rows, patients as columns; the column of descriptions is left out."""
    with path.open() as lines:
        version = lines.readline().strip()
    if version != "#1.2":
        raise ValueError(f"its first line should be '#1.2', not {version!r}")
    table = pd.read_csv(path, sep="\t", skiprows=2, index_col=0)
    return table.drop(columns="Description")


@hookimpl
def codenoise_readers():
    """The reader by the ending of the files that it reads."""
    return {".gct": read_gct}
