"""unetpp measure: labels of every kind and size, and the images that belong to them."""

import json

import numpy as np
import pytest
import tifffile
from commands import pixels, refuses, run
from drawn import drawn_objects, rows, write_probabilities, write_zarr
from PIL import Image
from skimage.measure import regionprops_table

from unetpp.data.images import write_png
from unetpp.inference.jobs import find_jobs


@pytest.fixture(params=[1000, 1_000_000], ids=["large", "small"])
def size(request, monkeypatch):
    """Label images of 12,000 pixels are large, and read by strips of few rows, or they are not."""
    from unetpp.analysis import planes, strips

    monkeypatch.setattr(planes, "LARGE", request.param)
    monkeypatch.setattr(planes, "PIXELS", 600)
    monkeypatch.setattr(strips.whole_objects, "__kwdefaults__", {"pixels": 600})


def stored(kind):
    """A square in a tall label image as programs store it, and what TIFF is told of its colours."""
    mask, first = np.zeros((2, 400, 30), np.uint8)
    mask[380:390, 5:15] = first[2:6, 2:6] = 1
    return {
        "uint8": (mask, {}),
        "uint32": (mask.astype(np.uint32), {}),
        "int32": (mask.astype(np.int32), {}),
        "bool": (mask.astype(bool), {}),
        "floats": (mask.astype(np.float64), {}),
        "0 and 255": (mask * 255, {}),
        "palette": (mask, {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}),
        "equal channels": (np.dstack([mask] * 3), {"photometric": "rgb"}),
        "0, 1 and 255": (mask * 255 + first, {}),
        "negative": (mask.astype(np.int16) * -3, {}),
        "fractions": (mask * np.float32(0.5), {}),
        "NaN": (np.where(mask, np.nan, 0).astype(np.float32), {}),
        "huge": (mask * np.float32(1e30), {}),
        "huge below 0": (mask * -np.float64(2**63), {}),
        "half precision": (mask.astype(np.float16), {}),
        "colours": (np.dstack([mask, first, mask]), {"photometric": "rgb"}),
        "class 2": (mask * 2, {}),
        "stack": (np.stack([mask, mask]), {"photometric": "minisblack"}),
    }[kind]


def store(path, kind):
    pixels, options = stored(kind)
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, pixels, compression="zlib", rowsperstrip=7, **options)


@pytest.mark.parametrize(
    "kind",
    [
        "uint8",
        "uint32",
        "int32",
        "bool",
        "floats",
        "half precision",
        "0 and 255",
        "palette",
        "equal channels",
    ],
)
def test_labels_mean_the_same_however_stored_and_large(kind, size, tmp_path):
    store(tmp_path / "a.tif", kind)
    assert run("measure", tmp_path / "a.tif", "--out", tmp_path / "out", "--classes", "nothing,cell") == 0
    [found] = rows(tmp_path / "out" / "objects.csv")
    assert [found[name] for name in ("class", "area", "top", "left")] == ["cell", "100", "380", "5"]


@pytest.mark.parametrize(
    ("kind", "saying"),
    [
        ("0, 1 and 255", "values 255 (100 pixels) are not among the classes 0 to 1"),
        ("negative", "values -3 (100 pixels)"),
        ("class 2", "values 2 (100 pixels)"),
        ("fractions", "fractions"),
        ("NaN", "fractions"),
        ("huge", "the mask holds 1e+30"),
        ("huge below 0", "the mask holds -9.22337e+18"),
        ("colours", "colour picture"),
    ],
)
def test_no_labels_are_refused_however_large(kind, saying, size, tmp_path, capsys):
    store(tmp_path / "a.tif", kind)
    command = ["measure", tmp_path / "a.tif", "--out", tmp_path / "out", "--classes", "nothing,cell"]
    refuses(capsys, *command, saying=["a.tif", saying])


def test_a_stack_is_no_image_of_one_label_image(size, tmp_path, capsys):
    store(tmp_path / "labels" / "a.tif", "uint8")
    store(tmp_path / "images" / "a.tif", "stack")
    options = ["--images", tmp_path / "images", "--out", tmp_path / "out"]
    refuses(capsys, "measure", tmp_path / "labels", *options, saying=["images/a.tif", "stack"])


def test_as_many_classes_are_numbered_as_there_can_be(tmp_path):
    write_png(tmp_path / "a.png", np.arange(32, dtype=np.uint8)[None])
    assert run("measure", tmp_path / "a.png", "--out", tmp_path / "out") == 0
    assert [row["class"] for row in rows(tmp_path / "out" / "counts.csv")] == [
        f"class_{k}" for k in range(1, 32)
    ]


def test_classes_are_numbered_however_large_the_labels(size, tmp_path):
    store(tmp_path / "a.tif", "class 2")
    assert run("measure", tmp_path / "a.tif", "--out", tmp_path / "out") == 0
    assert [row["count"] for row in rows(tmp_path / "out" / "counts.csv")] == ["0", "1"]


def test_zarr_is_measured_as_files_are(labelled):
    write_zarr(labelled / "zarr" / "some.zarr", drawn_objects())
    write_zarr(labelled / "pictures" / "some.zarr", pixels(labelled / "images" / "some.png"))
    for labels, images in (("labels/some.png", "images"), ("zarr", "pictures")):
        out = labelled / f"out_{images}"
        options = ["--images", labelled / images, "--also", "numbered", "--also", "instances"]
        assert run("measure", labelled / labels, "--out", out, *options) == 0
    for name in ("objects.csv", "counts.csv", "numbered/some.jpg", "instances/some.tif"):
        assert (labelled / "out_images" / name).read_bytes() == (
            labelled / "out_pictures" / name
        ).read_bytes()


def test_labels_of_one_name_have_the_images_of_their_folders(labelled):
    for k, folder in enumerate(("day1", "day2")):
        write_png(labelled / folder / "x.png", drawn_objects())
        write_png(labelled / "days" / folder / "x.png", np.full((80, 120), k, np.uint8))
    command = ["measure", labelled / "day1", labelled / "day2", "--out"]
    assert run(*command, labelled / "out", "--images", labelled / "days") == 0
    found = {(row["image"], row["intensity_mean_1"]) for row in rows(labelled / "out" / "objects.csv")}
    assert found == {("day1/x_png", "0"), ("day2/x_png", "1")}


def test_labels_of_one_name_may_share_an_image(labelled):
    write_png(labelled / "other" / "some.png", drawn_objects())
    command = ["measure", labelled / "labels", labelled / "other", "--out", labelled / "out"]
    assert run(*command, "--images", labelled / "images") == 0
    found = {row["image"] for row in rows(labelled / "out" / "objects.csv")}
    assert found == {"labels/some_png", "other/some_png"}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["pair"], ["cell.png", "cell.webp", "sub/x.png", "sub/x.bmp", "sub/x_png.png"]),
        (["pair/day1", "pair/day2"], ["day1/x.png", "day2/x.png"]),
    ],
    ids=["one folder", "two"],
)
def test_images_are_found_by_the_names_that_predict_gives(given, names, tmp_path):
    images, out = tmp_path / "pair", tmp_path / "found"
    for k, name in enumerate(names):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 24), k, np.uint8)).save(images / name, lossless=True)
    jobs = find_jobs([str(tmp_path / one) for one in given])
    for job in jobs:
        write_png(job.outputs(out)["labels"], np.ones((20, 24), np.uint8))
        write_probabilities(out / "probabilities" / f"{job.name}.tif", 2, (20, 24))
    beside = ("--images", images, "--probabilities", out / "probabilities")
    assert run("measure", out / "labels", "--out", tmp_path / "out", *beside) == 0
    found = {row["image"]: row["intensity_mean_1"] for row in rows(tmp_path / "out" / "objects.csv")}
    assert found == {job.name: str(names.index(job.image.relative_to(images).as_posix())) for job in jobs}


def numbered():
    """More objects than 8 bits count, side by side, with numbers left out, and one of them in two pieces."""
    y, x = np.indices((400, 30)) // 5
    numbers = (11 * (6 * y + x + 1) * ((x + y) % 3 > 0)).astype(np.uint16)
    numbers[380:384, 12:15] = numbers[7, 7]
    return numbers


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_numbers_are_objects_as_they_are(suffix, size, tmp_path):
    numbers = numbered()
    path = tmp_path / f"a{suffix}"
    tifffile.imwrite(path, numbers) if suffix == ".tif" else Image.fromarray(numbers).save(path)
    also = [part for name in ("instances", "geojson", "coco") for part in ("--also", name)]
    command = ["measure", path, "--instances", *also, "--classes", "background,cell"]
    assert run(*command, "--out", tmp_path / "out") == 0
    found = {int(row["id"]): row for row in rows(tmp_path / "out" / "objects.csv")}
    expected = regionprops_table(numbers, properties=["label", "area", "bbox", "perimeter"])
    assert len(found) == len(expected["label"]) > 255
    for k, number in enumerate(expected["label"]):
        row, own = found[number], {name: column[k] for name, column in expected.items()}
        assert [row["class"], int(row["area"]), int(row["bottom"])] == ["cell", own["area"], own["bbox-2"]]
        assert float(row["perimeter"]) == pytest.approx(own["perimeter"], rel=1e-5)
        at_edge = own["bbox-0"] == 0 or own["bbox-1"] == 0 or own["bbox-2"] == 400 or own["bbox-3"] == 30
        assert row["touches_border"] == str(int(at_edge))
    assert np.array_equal(tifffile.imread(tmp_path / "out" / "instances" / "a.tif"), numbers)
    features = json.loads((tmp_path / "out" / "geojson" / "a.geojson").read_text())["features"]
    parts = {int(f["properties"]["name"]): len(f["geometry"]["coordinates"]) for f in features}
    assert parts == {number: 1 + (number == numbers[7, 7]) for number in found}
    notes = json.loads((tmp_path / "out" / "coco.json").read_text())["annotations"]
    assert sorted(note["area"] for note in notes) == sorted(expected["area"])
    # Those within that have all their pixels.
    assert run(*command, "--out", tmp_path / "few", "--drop-border", "--smallest", 20) == 0
    kept = {int(row["id"]) for row in rows(tmp_path / "few" / "objects.csv")}
    within = {k for k, row in found.items() if row["touches_border"] == "0" and int(row["area"]) >= 20}
    assert kept == within
    assert set(np.unique(tifffile.imread(tmp_path / "few" / "instances" / "a.tif"))) == {0, *within}


def test_numbers_are_drawn_beside_their_objects(labelled):
    numbers = np.where(drawn_objects() > 0, 70_000, 0).astype(np.uint32)
    numbers[:, 43:] //= 1000
    (labelled / "labels" / "some.png").unlink()
    tifffile.imwrite(labelled / "labels" / "some.tif", numbers)
    options = ("--images", labelled / "images", "--also", "numbered", "--also", "instances")
    assert run("measure", labelled / "labels", "--instances", "--out", labelled / "out", *options) == 0
    found = rows(labelled / "out" / "objects.csv")
    assert [(row["class"], row["id"]) for row in found] == [("object", "70"), ("object", "70000")]
    assert np.array_equal(tifffile.imread(labelled / "out" / "instances" / "some.tif"), numbers)
    shift = np.abs(
        pixels(labelled / "out" / "numbered" / "some.jpg")[:80].astype(float)
        - pixels(labelled / "images" / "some.png")
    )
    assert shift[numbers > 0].mean() > 2 * shift[numbers == 0].mean()


def test_labels_are_not_their_own_image(labelled, capsys):
    command = ["measure", labelled / "labels", "--images", labelled / "labels", "--out", labelled / "out"]
    refuses(capsys, *command, saying="has no image")
