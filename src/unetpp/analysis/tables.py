"""Tables of named columns to CSV and Parquet."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unetpp.data.images import atomic_path
from unetpp.errors import InstallError, OutputError

Table = dict[str, np.ndarray]
# Rows that are made text at a time.
ROWS = 100_000


def stack(tables: Sequence[Table]) -> Table:
    """Tables one below the other; a column that one lacks is NaN there, unless it has no rows.

    Example:
        >>> stack([{"a": np.array([1])}, {"a": np.array([2])}])
        {'a': array([1, 2])}
    """
    # Without rows, the type of a column means nothing.
    tables = [table for table in tables if len(next(iter(table.values())))] or tables
    names = list(dict.fromkeys(name for table in tables for name in table))
    lengths = [len(next(iter(table.values()))) for table in tables]
    return {
        name: np.concatenate(
            [table.get(name, np.full(length, np.nan)) for table, length in zip(tables, lengths, strict=True)]
        )
        for name in names
    }


def write_table(path: Path, table: Table) -> None:
    """Write a table, whole or not at all: Parquet by its suffix .parquet, else CSV.

    Numbers of CSV have six digits; what is not known is empty.

    Raises:
        OutputError: if it cannot be written.
        InstallError: for Parquet, if pyarrow is not installed.
    """
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            try:
                import pyarrow
                import pyarrow.parquet
            except ImportError as error:
                mend = 'in the clone, run: pip install ".[objects]", or write CSV'
                raise InstallError("pyarrow is not installed; it writes Parquet", mend=mend) from error
            text = pyarrow.string()
            arrays = {
                name: pyarrow.array(column, text if column.dtype.kind == "O" else None)
                for name, column in table.items()
            }
            pyarrow.parquet.write_table(pyarrow.table(arrays), temporary)
            return
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(",".join(table) + "\n")
            for start in range(0, len(next(iter(table.values()))), ROWS):
                columns = [_texts(column[start : start + ROWS]) for column in table.values()]
                file.writelines(map(_line, zip(*columns, strict=True)))


def read_column(path: Path, name: str) -> list[str]:
    """A column of a table that `write_table` wrote.

    Raises:
        OutputError: if it is no such table.
    """
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            return pyarrow.parquet.read_table(path, columns=[name])[name].to_pylist()
        with path.open(encoding="utf-8", newline="") as file:
            return [row[name] for row in csv.DictReader(file)]
    # Damaged Parquet and what is no UTF-8 are ValueErrors.
    except (OSError, KeyError, ValueError, csv.Error) as error:
        what = "a file of another kind has a table's name"
        raise OutputError(what, where=path, mend="take it away, or give another --out") from error


def _line(values: tuple[str, ...]) -> str:
    return ",".join(values) + "\n"


def _texts(column: np.ndarray) -> list[str]:
    if column.dtype.kind == "f":
        return ["" if value != value else f"{value:.6g}" for value in column.tolist()]
    if column.dtype.kind == "O":
        return [_quoted(str(value)) for value in column]
    return [str(int(value)) for value in column.tolist()]


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text
