"""Outlines for other programs: whole files, in little memory."""

import json
import tracemalloc

import numpy as np
import pytest

from unetpp.analysis.outlines import outlines, write_geojson, write_rois
from unetpp.errors import OutputError

NAMES = ("background", "cell")


def discs(count):
    """Outlines of so many discs of a radius of 15 pixels."""
    y, x = np.indices((40, 40)) - 20
    numbers = np.concatenate([(k + 1) * (np.hypot(y, x) <= 15) for k in range(count)], 1)
    return list(outlines(numbers, np.append(0, np.ones(count, np.uint8))))


def test_geojson_of_many_objects_takes_the_memory_of_one(tmp_path):
    found = discs(3) * 100
    tracemalloc.start()
    try:
        write_geojson(tmp_path / "many.geojson", found, NAMES)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 300_000 < (tmp_path / "many.geojson").stat().st_size
    features = json.loads((tmp_path / "many.geojson").read_text())["features"]
    assert [feature["properties"]["name"] for feature in features] == ["1", "2", "3"] * 100


def test_rois_that_cannot_be_written_leave_no_file(tmp_path, monkeypatch):
    roifile = pytest.importorskip("roifile")

    def full(roi):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(roifile.ImagejRoi, "tobytes", full)
    with pytest.raises(OutputError, match="No space left"):
        write_rois(tmp_path / "rois.zip", discs(2), NAMES)
    assert list(tmp_path.iterdir()) == []
