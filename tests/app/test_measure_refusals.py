"""unetpp measure: what it refuses, and what it keeps."""

import os

import numpy as np
import pandas
import pytest
import tifffile
from commands import refuses, run
from drawn import CLASSES, drawn_objects, rows, write_probabilities
from PIL import Image

from unetpp.data.images import write_png


def test_a_name_that_is_no_text_is_refused_before_anything_is_measured(labelled, capsys):
    odd = os.fsdecode(os.fsencode(labelled / "labels") + b"/Pr\xe4parat.png")
    try:
        write_png(odd, drawn_objects())
    except OSError:
        pytest.skip("this file system has names in Unicode alone")
    given = (labelled / "labels", "--out", labelled / "out", "--classes", CLASSES)
    refuses(capsys, "measure", *given, saying="not valid UTF-8")
    assert not (labelled / "out" / "objects.csv").exists()


def measured(out):
    """The images that a table tells of."""
    table = out / "counts.csv"
    return set(pandas.read_csv(table)["image"]) if table.exists() else set()


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
    # What lacks a file altogether is told before anything is measured.
    assert measured(labelled / "out") == ({"none"} if planes is not None else set())


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
    elif what == "few numbers":
        write_png(path, np.arange(9600).reshape(80, 120).astype(np.uint8) % 9)
    elif what == "0 and 255":
        write_png(path, (drawn_objects() == 1) * np.uint8(255))
    elif what == "0 and 128":
        write_png(path, (drawn_objects() == 1) * np.uint8(128))
    elif what == "colours":
        Image.fromarray(np.random.default_rng(0).integers(0, 9, (80, 120, 3), np.uint8)).save(path)


@pytest.mark.parametrize(
    ("what", "options", "saying"),
    [
        ("no image", ["--images", "IMAGES"], ["some has no image", "some.png"]),
        ("two images", ["--images", "IMAGES"], ["some.bmp and some.png have the same stem", "images"]),
        (
            "many values",
            [],
            ["some.tif", "9599 is no class", "numbers of objects", "--instances", "--classes"],
        ),
        ("instances", [], ["some.png", "32 is no class", "numbers of objects", "--classes"]),
        ("0 and 255", [], ["some.png", "255 is no class", "--classes background,NAME"]),
        ("0 and 128", [], ["some.png", "128 is no class", "replace 128 by the index of its class"]),
        ("", ["--split", "whale"], ["no class whale", "class_1, class_2"]),
        ("", ["--split", "class_1", "--thin", "class_1"], "round"),
        ("", ["--instances", "--split", "object"], ["leave out --split", "--instances"]),
        ("", ["--instances", "--thin", "object"], ["leave out --thin", "--instances"]),
        ("", ["--instances", "--classes", CLASSES], ["objects of one class", "cell, rod"]),
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


@pytest.mark.parametrize(
    ("what", "options", "saying"),
    [
        ("other size", ["--images", "IMAGES"], ["121 x 80", "120 x 80"]),
        ("fractions", ["--classes", CLASSES], ["some.tif", "fractions"]),
        ("many values", ["--classes", CLASSES], ["some.tif", "not among the classes 0 to 2", "--instances"]),
        ("few numbers", ["--classes", CLASSES], ["some.png", "values 3 (", "--classes", "--instances"]),
        ("", ["--classes", "background,cell"], "values 2"),
        ("colours", [], "colour picture"),
    ],
)
def test_what_cannot_be_measured_is_named_and_the_rest_is_measured(what, options, saying, labelled, capsys):
    spoilt(labelled, what)
    options = [labelled / "images" if option == "IMAGES" else option for option in options]
    refuses(capsys, "measure", labelled / "labels", "--out", labelled / "out", *options, saying=saying)
    assert measured(labelled / "out") == {"none"}
    # Alone it is refused, and nothing is written.
    [bad] = (labelled / "labels").glob("some.*")
    refuses(capsys, "measure", bad, "--out", labelled / "alone", *options, saying=saying)
    assert not list((labelled / "alone").iterdir())


def test_all_that_cannot_be_measured_are_named_where_nothing_can(labelled, capsys):
    for name in ("none", "some"):
        write_png(labelled / "labels" / f"{name}.png", np.full((80, 120), 7, np.uint8))
    command = ["measure", labelled / "labels", "--out", labelled / "out", "--classes", CLASSES]
    assert run(*command) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("unetpp: ")]
    assert [name in line for name, line in zip(("none.png", "some.png"), lines, strict=True)] == [True, True]
    assert measured(labelled / "out") == set()


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


def test_label_images_of_jpeg_are_named_and_not_measured(labelled, tmp_path, capsys):
    Image.fromarray(drawn_objects()).save(labelled / "labels" / "other.jpg")
    refuses(
        capsys,
        "measure",
        labelled / "labels",
        "--out",
        tmp_path / "out",
        saying=["other.jpg", "JPEG changes"],
    )
    assert {row["image"] for row in rows(tmp_path / "out" / "counts.csv")} == {"none", "some"}


@pytest.mark.parametrize("also", ["instances", "numbered"])
def test_no_image_that_is_read_is_written_over(also, labelled, capsys):
    folder = {"instances": labelled / "labels", "numbered": labelled / "images"}[also].rename(labelled / also)
    for path in list(folder.iterdir()):
        with Image.open(path) as picture:
            picture.save(path.with_suffix({"instances": ".tif", "numbered": ".jpg"}[also]))
        path.unlink()
    before = {path: path.read_bytes() for path in folder.iterdir()}
    labels, images = (labelled / name for name in ("labels", "images"))
    labels, images = (folder, images) if also == "instances" else (labels, folder)
    command = ["measure", labels, "--images", images, "--classes", CLASSES, "--out", labelled, "--also", also]
    refuses(capsys, *command, "--overwrite", saying="one of the images lies here")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
