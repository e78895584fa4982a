"""How far apart pixels are is read where it is said, and nowhere else."""

import numpy as np
import pytest
import tifffile

from unetpp.data.regions import open_regions

PIXELS = np.zeros((2, 3, 9, 8), np.uint8)


def spacing(path):
    with open_regions(path) as regions:
        return regions.spacing


def test_an_ome_tiff_says_it_with_units(tmp_path):
    said = {"PhysicalSizeX": 325.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2}
    said |= {"TimeIncrement": 5, "TimeIncrementUnit": "min", "PhysicalSizeZUnit": "mm"}
    options = {"photometric": "minisblack", "metadata": {"axes": "TZYX", **said}}
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, **options)
    # Micrometres where it names no unit.
    expected = {
        "X": (325, "nanometer"),
        "Y": (0.25, "micrometer"),
        "Z": (2, "millimeter"),
        "T": (5, "minute"),
    }
    assert spacing(tmp_path / "a.ome.tif") == expected


@pytest.mark.parametrize(
    ("key", "value"), [("PhysicalSizeX", -1), ("PhysicalSizeX", "nan"), ("PhysicalSizeXUnit", "pixel")]
)
def test_what_can_be_no_size_is_not_one(key, value, tmp_path):
    said = {"axes": "YX", "PhysicalSizeX": 2.0, "PhysicalSizeY": 2.0} | {key: value}
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS[0, 0], metadata=said)
    assert spacing(tmp_path / "a.ome.tif") == {"Y": (2.0, "micrometer")}


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m"])
def test_imagej_says_it_by_its_unit_and_the_resolution(unit, tmp_path):
    said = {"axes": "TZYX", "unit": unit, "spacing": 0.7, "finterval": 1.5}
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, imagej=True, resolution=(4, 5), metadata=said)
    expected = {
        "X": (0.25, "micrometer"),
        "Y": (0.2, "micrometer"),
        "Z": (0.7, "micrometer"),
        "T": (1.5, "second"),
    }
    assert spacing(tmp_path / "a.tif") == expected


@pytest.mark.parametrize("options", [{"imagej": True}, {"resolutionunit": "INCH"}])
def test_a_resolution_without_a_unit_of_imagej_s_is_none(options, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS[0, 0], resolution=(300, 300), **options)
    assert spacing(tmp_path / "a.tif") == {}


def test_an_ome_zarr_says_it_of_a_level_and_of_all(tmp_path):
    zarr = pytest.importorskip("zarr", reason="the extra [formats] is not installed")
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("0", data=PIXELS[0])
    axes = [{"name": "z", "unit": "micrometer"}, {"name": "y", "unit": "micrometer"}, {"name": "x"}]
    scale, twice = ([{"type": "scale", "scale": values}] for values in ([1, 0.5, 0.5], [2, 2, 2]))
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    image = {"axes": axes, "datasets": datasets, "coordinateTransformations": twice}
    group.attrs.update({"ome": {"multiscales": [image]}})
    expected = {"Z": (2, "micrometer"), "Y": (1, "micrometer"), "X": (1, "")}
    assert spacing(tmp_path / "a.zarr") == expected
