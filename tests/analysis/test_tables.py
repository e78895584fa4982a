"""Tables keep what numbers are, whichever images have objects."""

import numpy as np
import pytest

from unetpp.analysis.objects import measure
from unetpp.analysis.separate import separate
from unetpp.analysis.tables import stack, write_table


def objects(labels):
    return measure(*separate(labels), ("background", "cell"))


def test_pixels_stay_whole_numbers_beside_an_image_without_objects(tmp_path):
    large, empty = np.ones((1100, 1123), np.uint8), np.zeros((4, 4), np.uint8)
    table = stack([objects(empty), objects(large), objects(empty)])
    assert table["area"].dtype.kind == "i"
    write_table(tmp_path / "objects.csv", table)
    header, row = (line.split(",") for line in (tmp_path / "objects.csv").read_text().splitlines())
    assert row[header.index("area")] == str(1100 * 1123)
    assert row[header.index("right")] == "1123"


def test_columns_of_an_empty_table_have_the_types_of_a_full_one(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")
    for name, labels in (("empty", np.zeros((4, 4), np.uint8)), ("full", np.ones((4, 4), np.uint8))):
        write_table(tmp_path / f"{name}.parquet", stack([objects(labels)]))
    empty, full = (parquet.read_schema(tmp_path / f"{name}.parquet") for name in ("empty", "full"))
    assert empty == full
