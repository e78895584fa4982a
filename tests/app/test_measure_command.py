"""unetpp measure and predict --objects: tables, instances and outlines of what was labelled."""

import csv
import json
import os
import sys

import numpy as np
import pytest
import tifffile
from commands import first, pixels, refuses, run
from PIL import Image
from scipy import ndimage
from skimage.draw import disk, polygon2mask

from unetpp.data.images import write_png
from unetpp.data.pyramids import write_ome_tiff

CLASSES = "background,cell,rod"


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def drawn_objects():
    """Two discs that touch, a rod, and a disc at the border."""
    labels = np.zeros((80, 120), np.uint8)
    for centre in ((30, 30), (30, 55), (79, 100)):
        labels[disk(centre, 14, shape=labels.shape)] = 1
    labels[60:64, 10:60] = 2
    return labels


@pytest.fixture
def labelled(tmp_path):
    """Two label images, of which one is empty, and their images."""
    rng = np.random.default_rng(0)
    for name, labels in (("some", drawn_objects()), ("none", np.zeros((80, 120), np.uint8))):
        write_png(tmp_path / "labels" / f"{name}.png", labels)
        write_png(tmp_path / "images" / f"{name}.png", rng.integers(0, 255, (80, 120, 3), np.uint8))
    return tmp_path


def test_instances_of_a_former_run_are_not_measured(labelled, capsys):
    out = labelled / "labels" / "objects"
    for _ in range(2):
        options = ("--classes", CLASSES, "--also", "instances", "--overwrite")
        assert run("measure", labelled / "labels", "--out", out, *options) == 0
        assert "in 2 images" in capsys.readouterr().out


def test_a_name_that_is_no_text_is_refused_before_anything_is_measured(labelled, capsys):
    odd = os.fsdecode(os.fsencode(labelled / "labels") + b"/Pr\xe4parat.png")
    try:
        write_png(odd, drawn_objects())
    except OSError:
        pytest.skip("this file system has names in Unicode alone")
    given = (labelled / "labels", "--out", labelled / "out", "--classes", CLASSES)
    refuses(capsys, "measure", *given, saying="not valid UTF-8")
    assert not (labelled / "out" / "objects.csv").exists()


def test_objects_and_counts_are_tables(labelled, capsys):
    out = labelled / "out"
    options = [
        "--classes",
        CLASSES,
        "--images",
        labelled / "images",
        "--split",
        "cell",
        "--pixel-size",
        "0.5",
    ]
    assert run("measure", labelled / "labels", "--out", out, *options) == 0
    assert "found 3 cell, 1 rod in 2 images" in capsys.readouterr().out
    found = rows(out / "objects.csv")
    assert [(row["image"], row["class"], row["id"]) for row in found] == [
        ("some", "cell", "1"), ("some", "cell", "2"), ("some", "rod", "3"), ("some", "cell", "4"),
    ]  # fmt: skip
    rod = found[2]
    assert {name: float(rod[name]) for name in ("area", "length", "area_um2", "length_um")} == {
        "area": 200, "length": pytest.approx(50, rel=0.03), "area_um2": 50, "length_um": pytest.approx(25, rel=0.03),
    }  # fmt: skip
    mean = pixels(labelled / "images" / "some.png")[60:64, 10:60, 1].mean()
    assert float(rod["intensity_mean_2"]) == pytest.approx(mean, rel=1e-4)
    assert [row["touches_border"] for row in found] == ["0", "0", "0", "1"]
    counts = {(row["image"], row["class"]): row for row in rows(out / "counts.csv")}
    assert [int(row["count"]) for row in counts.values()] == [0, 0, 3, 1]
    assert float(counts["some", "cell"]["per_mm2"]) == pytest.approx(3 / (80 * 120 * 0.25) * 1e6, rel=1e-4)


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_any_pixel_size_of_a_microscope_or_a_telescope_will_do(size, labelled):
    options = ["--pixel-size", size, "--images", labelled / "images", "--also", "numbered"]
    assert run("measure", labelled / "labels", "--out", labelled / "out", *options) == 0
    for row in rows(labelled / "out" / "objects.csv"):
        assert float(row["area_um2"]) == pytest.approx(int(row["area"]) * size**2, rel=1e-5)


def test_an_image_without_objects_has_a_table_with_headers(labelled):
    (labelled / "labels" / "some.png").unlink()
    assert run("measure", labelled / "labels", "--out", labelled / "out") == 0
    text = (labelled / "out" / "objects.csv").read_text()
    assert text.startswith("image,class,id,area,")
    assert text.count("\n") == 1
    assert [row["count"] for row in rows(labelled / "out" / "counts.csv")] == ["0"]


def test_parquet_holds_what_csv_does(labelled):
    parquet = pytest.importorskip("pyarrow.parquet")
    for kind in ("csv", "parquet"):
        assert run("measure", labelled / "labels", "--out", labelled / kind, "--table", kind) == 0
    table = parquet.read_table(labelled / "parquet" / "objects.parquet").to_pydict()
    texts = rows(labelled / "csv" / "objects.csv")
    assert list(table) == list(texts[0])
    for name, column in table.items():
        for value, row in zip(column, texts, strict=True):
            assert str(value) == row[name] or float(value) == pytest.approx(
                float(row[name]), rel=1e-5, abs=1e-9
            )


def test_outlines_and_instances_hold_the_same_objects(labelled):
    roifile = pytest.importorskip("roifile")
    out = labelled / "out"
    options = ["--also", "instances", "--split", "cell", "--classes", CLASSES]
    for name in ("geojson", "roi", "coco"):
        options += ["--also", name]
    assert run("measure", labelled / "labels", "--out", out, *options) == 0
    numbers = pixels(out / "instances" / "some.tif")
    assert numbers.dtype == np.uint16
    assert ((numbers > 0) == (drawn_objects() > 0)).all()
    areas = [int(row["area"]) for row in rows(out / "objects.csv")]
    assert np.bincount(numbers.ravel())[1:].tolist() == areas

    features = json.loads((out / "geojson" / "some.geojson").read_text())["features"]
    coco = json.loads((out / "coco.json").read_text())
    regions = roifile.roiread(out / "roi" / "some.zip")
    assert len(features) == len(coco["annotations"]) == len(regions) == len(areas)
    for k, (feature, note, region) in enumerate(zip(features, coco["annotations"], regions, strict=True), 1):
        [[ring]] = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        flat = np.reshape(note["segmentation"][0], (-1, 2))
        for outline in (np.array(ring), flat, region.coordinates()):
            # Pixel (0, 0) spans 0 to 1, so its middle is at a half.
            inside = polygon2mask(numbers.shape, outline[:, ::-1] - 0.5)
            assert np.mean(inside[numbers == k]) > 0.9
            assert np.mean(numbers[inside] == k) > 0.9
        assert note["area"] == areas[k - 1]
        assert note["category_id"] == {"cell": 1, "rod": 2}[feature["properties"]["classification"]["name"]]
    assert coco["images"] == [
        {"id": k, "file_name": f"{name}.png", "height": 80, "width": 120}
        for k, name in enumerate(("none", "some"), 1)
    ]
    assert json.loads((out / "geojson" / "none.geojson").read_text())["features"] == []


def test_a_diagonal_line_of_one_pixel_has_one_outline_everywhere(tmp_path):
    roifile = pytest.importorskip("roifile")
    write_png(tmp_path / "line.png", np.eye(40, dtype=np.uint8))
    options = [part for name in ("geojson", "roi", "coco") for part in ("--also", name)]
    assert run("measure", tmp_path / "line.png", "--out", tmp_path, *options) == 0
    [feature] = json.loads((tmp_path / "geojson" / "line.geojson").read_text())["features"]
    [note] = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert len(feature["geometry"]["coordinates"]) == len(note["segmentation"]) == 1
    [region] = roifile.roiread(tmp_path / "roi" / "line.zip")
    rings = [region.coordinates(), np.reshape(note["segmentation"], (-1, 2))]
    rings.append(np.array(feature["geometry"]["coordinates"][0][0]))
    for ring in rings:
        assert polygon2mask((40, 40), ring[:, ::-1] - 0.5)[np.eye(40, dtype=bool)].all()


def test_coco_names_the_images_files(labelled, trained):
    for name in ("images/day/001.webp", "labels/day/001.png"):
        (labelled / name).parent.mkdir()
        Image.fromarray(drawn_objects()).save(labelled / name)
    images = labelled / "images"
    command = [
        "measure",
        labelled / "labels",
        "--images",
        images,
        "--out",
        labelled / "out",
        "--also",
        "coco",
    ]
    assert run(*command) == 0
    assert run("predict", trained, images, "--out", labelled / "found", "--objects", "--also", "coco") == 0
    for out in ("out", "found"):
        entries = json.loads((labelled / out / "coco.json").read_text())["images"]
        assert [entry["file_name"] for entry in entries] == ["day/001.webp", "none.png", "some.png"]


def test_objects_are_drawn_with_their_numbers(labelled):
    options = [
        "--also",
        "numbered",
        "--images",
        labelled / "images",
        "--pixel-size",
        "0.2",
        "--split",
        "cell",
    ]
    assert run("measure", labelled / "labels", "--out", labelled / "out", "--classes", CLASSES, *options) == 0
    drawn = pixels(labelled / "out" / "numbered" / "some.jpg")
    plain = pixels(labelled / "images" / "some.png")
    assert drawn.shape[0] > 80
    assert drawn.shape[1:] == plain.shape[1:]
    shift = (drawn[:80].astype(float) - plain).mean(axis=2)
    outside = ndimage.binary_dilation(drawn_objects() > 0, iterations=9)
    assert np.abs(shift[~outside]).mean() < 12
    assert np.abs(shift[drawn_objects() > 0]).mean() > 24


def test_a_slide_s_objects_are_those_of_the_image(tmp_path, monkeypatch):
    from unetpp.analysis import strips, subjects

    labels = np.tile(drawn_objects(), (6, 4))
    write_png(tmp_path / "whole.png", labels)
    write_ome_tiff(tmp_path / "slide.ome.tif", [labels], "YX")
    assert run("measure", tmp_path / "whole.png", "--out", tmp_path / "whole", "--also", "instances") == 0
    monkeypatch.setattr(subjects, "LARGE", 1000)
    monkeypatch.setattr(strips.whole_objects, "__kwdefaults__", {"pixels": 20_000})
    assert run("measure", tmp_path / "slide.ome.tif", "--out", tmp_path / "slide", "--also", "instances") == 0

    def comparable(folder):
        return sorted(
            tuple(value for name, value in row.items() if name not in ("image", "id"))
            for row in rows(tmp_path / folder / "objects.csv")
        )

    assert comparable("slide") == comparable("whole")
    with tifffile.TiffFile(tmp_path / "slide" / "instances" / "slide.tif") as file:
        assert file.is_ome
        assert file.pages[0].is_tiled
        numbers = file.asarray()
    assert numbers.dtype == np.uint32
    assert ((numbers > 0) == (labels > 0)).all()
    assert len(np.unique(numbers)) - 1 == len(comparable("slide"))


def test_more_objects_than_16_bits_count_are_numbered_in_32(tmp_path):
    labels = np.zeros((512, 514), np.uint8)
    labels[::2, ::2] = 1
    write_png(tmp_path / "dots.png", labels)
    assert run("measure", tmp_path / "dots.png", "--out", tmp_path, "--also", "instances") == 0
    numbers = tifffile.imread(tmp_path / "instances" / "dots.tif")
    assert numbers.dtype == np.uint32
    assert np.array_equal(numbers[::2, ::2].ravel(), np.arange(1, 256 * 257 + 1))
    assert numbers.max() > 2**16


@pytest.mark.parametrize("command", ["measure", "predict"])
def test_images_too_large_to_be_drawn_are_told_before_any_work(
    command, labelled, trained, monkeypatch, capsys
):
    from unetpp.analysis import subjects

    monkeypatch.setattr(subjects, "LARGE", 9599)
    (labelled / "images" / "broken.png").write_bytes(b"no picture")
    options = ["--out", labelled / "out", "--also", "numbered"]
    options += ["--images", labelled / "images"] if command == "measure" else ["--objects"]
    source = [labelled / "labels"] if command == "measure" else [trained, labelled / "images"]
    refuses(capsys, command, *source, *options, saying=["none.png", "120 x 80", "--also numbered"])
    assert not (labelled / "out").exists()


@pytest.fixture(params=[1000, 1_000_000], ids=["large", "small"])
def size(request, monkeypatch):
    """Label images of 12,000 pixels are large, and read by strips of few rows, or they are not."""
    from unetpp.analysis import strips, subjects

    monkeypatch.setattr(subjects, "LARGE", request.param)
    monkeypatch.setattr(subjects, "PIXELS", 600)
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
        ("stack", "stack"),
    ],
)
def test_no_labels_are_refused_however_large(kind, saying, size, tmp_path, capsys):
    store(tmp_path / "a.tif", kind)
    command = ["measure", tmp_path / "a.tif", "--out", tmp_path / "out", "--classes", "nothing,cell"]
    refuses(capsys, *command, saying=["a.tif", saying])


def test_a_stack_is_no_image_of_labels(size, tmp_path, capsys):
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


def write_zarr(path, pixels):
    zarr = pytest.importorskip("zarr", reason="the extra [formats] is not installed")
    zarr.open_array(path, mode="w", shape=pixels.shape, dtype=pixels.dtype)[:] = pixels


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


def test_labels_are_not_their_own_image(labelled, capsys):
    command = ["measure", labelled / "labels", "--images", labelled / "labels", "--out", labelled / "out"]
    refuses(capsys, *command, saying="has no image")


def test_objects_are_the_same_however_they_are_asked_for(trained, data, tmp_path):
    split = ["--split", "blood_cell"]
    predicted, images, labels = tmp_path / "out", data / "images", tmp_path / "out" / "labels"
    assert run("predict", trained, images, "--out", predicted, "--objects", *split) == 0
    found = rows(predicted / "objects.csv")
    counts = rows(predicted / "counts.csv")
    assert len(counts) == 10
    assert sum(int(row["count"]) for row in counts) == len(found)
    assert all(1 / 3 <= float(row["probability"]) <= 1 for row in found)

    command = ["measure", labels, "--images", images, "--model", trained, *split]
    options = ["--probabilities", predicted / "probabilities"]
    assert run(*command, *options, "--out", tmp_path / "with") == 0
    for name in ("objects.csv", "counts.csv"):
        assert (tmp_path / "with" / name).read_bytes() == (predicted / name).read_bytes()
    assert run("evaluate", trained, data, *split, "--json", tmp_path / "scores.json") == 0
    for name, count in json.loads((tmp_path / "scores.json").read_text())["objects"].items():
        assert count["predicted"] == sum(int(row["count"]) for row in counts if row["class"] == name)
    # The labels alone tell less.
    assert run(*command, "--out", tmp_path / "without") == 0
    assert len(rows(tmp_path / "without" / "objects.csv")) < len(found)


def test_nothing_but_labels_is_written_where_nothing_is_split(trained, data, tmp_path):
    assert run("predict", trained, data / "images", "--out", tmp_path / "out", "--objects") == 0
    assert not (tmp_path / "out" / "probabilities").exists()
    assert run("measure", tmp_path / "out" / "labels", "--model", trained, "--out", tmp_path / "again") == 0
    assert {row["class"] for row in rows(tmp_path / "again" / "counts.csv")} == {"blood_cell", "bacteria"}


def write_probabilities(path, channels=3, shape=(80, 120)):
    """Where two discs that overlap dip in the middle: (channels, H, W) float16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    planes = np.full((channels, *shape), 0.01, np.float16)
    planes[-2 if channels > 2 else -1] = np.where(np.abs(np.arange(shape[1]) - 42) < 3, 0.5, 0.95)
    tifffile.imwrite(path, planes, photometric="minisblack", compression="zlib")


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_probabilities_part_what_labels_alone_do_not(channels, tmp_path):
    labels = np.zeros((80, 120), np.uint8)
    labels[disk((40, 35), 20)] = labels[disk((40, 50), 20)] = 1
    write_png(tmp_path / "labels" / "day" / "a.png", labels)
    write_probabilities(tmp_path / "chances" / "day" / "a.tif", channels)
    names = ["background", "cell", "rod"][: max(2, channels)]
    command = ["measure", tmp_path / "labels", "--split", "cell", "--classes", ",".join(names)]
    assert run(*command, "--out", tmp_path / "without") == 0
    assert run(*command, "--out", tmp_path / "with", "--probabilities", tmp_path / "chances") == 0
    assert len(rows(tmp_path / "without" / "objects.csv")) == 1
    found = rows(tmp_path / "with" / "objects.csv")
    assert len(found) == 2
    assert all(0.5 < float(row["probability"]) < 0.95 for row in found)


@pytest.mark.parametrize(
    ("planes", "saying"),
    [
        (None, "some has no probabilities"),
        (np.zeros((2, 80, 120), np.float16), "2 x 80 x 120"),
        (np.zeros((3, 80, 120), np.uint8), "uint8"),
        (np.zeros((3, 80, 121), np.float16), "121 x 80"),
        (np.full((3, 80, 120), 1.5, np.float16), "0 to 1"),
        (np.full((3, 80, 120), np.nan, np.float16), "0 to 1"),
        (b"no picture", "no TIFF"),
    ],
)
def test_what_are_no_probabilities_is_refused(planes, saying, labelled, capsys):
    for name in ("none", "some"):
        write_probabilities(labelled / "chances" / f"{name}.tif")
    path = labelled / "chances" / "some.tif"
    path.unlink()
    if isinstance(planes, bytes):
        path.write_bytes(planes)
    elif planes is not None:
        tifffile.imwrite(path, planes, photometric="minisblack")
    command = ["measure", labelled / "labels", "--classes", CLASSES, "--out", labelled / "out"]
    refuses(capsys, *command, "--probabilities", labelled / "chances", saying=["some", saying])
    assert not (labelled / "out" / "objects.csv").exists()


def test_what_cannot_be_measured_is_not_predicted_either(trained, data, tmp_path, capsys):
    stack = np.random.default_rng(0).integers(0, 255, (2, 20, 30), np.uint8)
    tifffile.imwrite(tmp_path / "stack.ome.tif", stack, metadata={"axes": "TYX"})
    image = sorted((data / "images").iterdir())[0]
    for source, out, options, saying in (
        (tmp_path / "stack.ome.tif", tmp_path / "out", [], "objects of a stack"),
        (image, tmp_path / "labels.png", [], "need a folder"),
        (image, tmp_path / "out", ["--split", "whale"], "no class whale"),
        (image, tmp_path / "out", ["--pixel-size", "0"], "--pixel-size"),
        (image, tmp_path / "out", ["--split", "bacteria", "--thin", "bacteria"], "bacteria"),
    ):
        refuses(capsys, "predict", trained, source, "--out", out, "--objects", *options, saying=saying)
        assert not out.exists()


@pytest.mark.parametrize(
    "option",
    ["--split whale", "--thin bacteria", "--smallest 3", "--drop-border", "--table csv", "--also coco"],
)
def test_options_about_objects_need_objects(option, trained, data, tmp_path, capsys):
    command = ["predict", trained, data / "images", "--out", tmp_path / "out", "--pixel-size", "0.5"]
    refuses(capsys, *command, *option.split(), saying=[option.split()[0], "--objects"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("module", "options"), [("pyarrow", ["--table", "parquet"]), ("roifile", ["--also", "roi"])]
)
def test_what_cannot_be_written_is_not_predicted_either(
    module, options, trained, data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, module, None)
    command = ["predict", trained, data / "images", "--out", tmp_path / "out", "--objects"]
    refuses(capsys, *command, *options, saying=[f"{module} is not installed", "pip install"])
    assert not (tmp_path / "out").exists()


def test_where_nothing_was_predicted_nothing_is_measured(trained, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "broken.png").write_bytes(b"no picture")
    command = ["predict", trained, tmp_path / "images", "--out", tmp_path / "out", "--objects"]
    refuses(capsys, *command, saying="broken.png")
    assert not list(tmp_path.glob("out/*.csv"))


def test_what_could_not_be_predicted_again_is_not_measured(trained, data, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / f"{name}.png").write_bytes(first(data / "images").read_bytes())
    command = ["predict", trained, tmp_path / "images", "--out", tmp_path / "out", "--objects"]
    assert run(*command) == 0
    (tmp_path / "images" / "a.png").write_bytes(b"no picture")
    assert run(*command, "--overwrite") == 1
    assert "a.png: the image is damaged" in capsys.readouterr().err
    assert {row["image"] for row in rows(tmp_path / "out" / "counts.csv")} == {"b"}


def test_probabilities_of_a_former_prediction_are_not_used(trained, data, tmp_path):
    command = ["predict", trained, first(data / "images"), "--out", tmp_path / "out", "--objects"]
    header = tmp_path / "out" / "objects.csv"
    assert run(*command, "--probabilities") == 0
    assert ",probability" in header.read_text()
    assert run(*command, "--overwrite") == 0
    assert ",probability" not in header.read_text()


def test_zarr_is_predicted_and_its_objects_are_drawn(trained, data, tmp_path):
    write_zarr(tmp_path / "a.zarr", pixels(first(data / "images")))
    options = ["--objects", "--also", "numbered", "--out", tmp_path / "out"]
    assert run("predict", trained, tmp_path / "a.zarr", *options) == 0
    assert (tmp_path / "out" / "numbered" / "a.jpg").exists()
    assert "intensity_mean_1" in (tmp_path / "out" / "objects.csv").read_text()


def spoilt(labelled, what):
    path = labelled / "labels" / "some.png"
    if what == "no image":
        (labelled / "images" / "some.png").unlink()
    elif what == "two images":
        Image.fromarray(np.zeros((80, 120), np.uint8)).save(labelled / "images" / "some.bmp")
    elif what == "other size":
        write_png(labelled / "images" / "some.png", np.zeros((80, 121, 3), np.uint8))
    elif what == "fractions":
        path.unlink()
        tifffile.imwrite(path.with_suffix(".tif"), np.full((80, 120), 0.5, np.float32))
    elif what == "many values":
        path.unlink()
        tifffile.imwrite(path.with_suffix(".tif"), np.arange(9600, dtype=np.uint16).reshape(80, 120))
    elif what == "instances":
        write_png(path, np.arange(9600).reshape(80, 120).astype(np.uint8) % 33)
    elif what == "0 and 255":
        write_png(path, (drawn_objects() == 1) * np.uint8(255))
    elif what == "colours":
        Image.fromarray(np.random.default_rng(0).integers(0, 9, (80, 120, 3), np.uint8)).save(path)


@pytest.mark.parametrize(
    ("what", "options", "saying"),
    [
        ("no image", ["--images", "IMAGES"], ["some has no image", "some.png"]),
        ("two images", ["--images", "IMAGES"], ["some.bmp and some.png have the same stem", "images"]),
        ("other size", ["--images", "IMAGES"], ["121 x 80", "120 x 80"]),
        ("fractions", ["--classes", CLASSES], ["some.tif", "fractions"]),
        ("many values", ["--classes", CLASSES], ["some.tif", "not among the classes 0 to 2"]),
        ("many values", [], ["some.tif", "9599 is no class", "numbers of objects", "--classes"]),
        ("instances", [], ["some.png", "32 is no class", "numbers of objects", "--classes"]),
        ("0 and 255", [], ["some.png", "255 is no class", "--classes background,NAME"]),
        ("colours", [], "colour picture"),
        ("", ["--classes", "background,cell"], "values 2"),
        ("", ["--split", "whale"], ["no class whale", "class_1, class_2"]),
        ("", ["--split", "class_1", "--thin", "class_1"], "round"),
        ("", ["--pixel-size", "0"], "--pixel-size cannot be 0"),
        ("", ["--pixel-size", "nan"], "--pixel-size"),
        ("", ["--pixel-size", "1e300"], "--pixel-size cannot be 1e+300"),
        ("", ["--pixel-size", "1e-300"], "--pixel-size cannot be 1e-300"),
        ("", ["--smallest", "-3"], "--smallest"),
        ("", ["--images", "nowhere"], "no image"),
        ("", ["--also", "numbered"], ["numbered", "--images"]),
        ("", ["--classes", "background,cell,cell"], "different names"),
        ("", ["--classes", "background,,cell"], "different names"),
        ("", ["--classes", "background"], "2 to 32"),
        ("", ["--classes", ",".join(map(str, range(300)))], "2 to 32"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(what, options, saying, labelled, capsys):
    spoilt(labelled, what)
    options = [labelled / "images" if option == "IMAGES" else option for option in options]
    refuses(capsys, "measure", labelled / "labels", "--out", labelled / "out", *options, saying=saying)
    assert not (labelled / "out").exists() or not list((labelled / "out").iterdir())


def test_tables_that_exist_are_kept(labelled, capsys):
    assert run("measure", labelled / "labels", "--out", labelled / "out") == 0
    refuses(capsys, "measure", labelled / "labels", "--out", labelled / "out", saying="--overwrite")
    assert run("measure", labelled / "labels", "--out", labelled / "out", "--overwrite") == 0
    refuses(
        capsys, "measure", labelled / "labels", "--out", labelled / "labels" / "some.png", saying="a file"
    )


@pytest.mark.parametrize(
    "name",
    [
        "instances/some.tif",
        "numbered/some.jpg",
        "geojson/some.geojson",
        "roi/some.zip",
        "coco.json",
        "counts.csv",
    ],
)
def test_what_exists_is_kept(name, labelled, capsys):
    also = name.partition("/")[0].partition(".")[0]
    path = labelled / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("made by hand")
    options = ["--images", labelled / "images", *(["--also", also] if also != "counts" else [])]
    if also == "roi":
        pytest.importorskip("roifile")
    command = ["measure", labelled / "labels", "--out", labelled / "out", *options]
    refuses(capsys, *command, saying=[name, "exists", "--overwrite"])
    assert [file for file in (labelled / "out").rglob("*") if file.is_file()] == [path]
    assert path.read_text() == "made by hand"
    assert run(*command, "--overwrite") == 0
    assert path.read_bytes() != b"made by hand"


def test_what_exists_is_not_predicted_over(trained, data, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "coco.json").write_text("made by hand")
    command = ["predict", trained, data / "images", "--out", tmp_path / "out", "--objects", "--also", "coco"]
    refuses(capsys, *command, saying=["coco.json", "exists"])
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["coco.json"]
