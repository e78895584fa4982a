"""unetpp measure: tables, instances and outlines of what was labelled."""

import json

import numpy as np
import pytest
import tifffile
from commands import pixels, refuses, run
from disks import mounted
from drawn import CLASSES, drawn_objects, rows, write_probabilities
from PIL import Image
from scipy import ndimage
from skimage.draw import disk, polygon2mask

from unetpp.analysis import outlines, planes, strips
from unetpp.data.images import write_png
from unetpp.data.pyramids import write_ome_tiff
from unetpp.data.regions import pixel_size_of


def test_instances_of_a_former_run_are_not_measured(labelled, capsys):
    out = labelled / "labels" / "objects"
    for _ in range(2):
        options = ("--classes", CLASSES, "--also", "instances", "--overwrite")
        assert run("measure", labelled / "labels", "--out", out, *options) == 0
        assert "in 2 images" in capsys.readouterr().out


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


def test_a_hole_stays_a_hole_everywhere(tmp_path):
    roifile = pytest.importorskip("roifile")
    y, x = np.indices((60, 60)) - 30
    ring = np.abs(np.hypot(y, x) - 20) <= 3
    write_png(tmp_path / "ring.png", (ring | (np.hypot(y, x) <= 5)).astype(np.uint8))
    options = [part for name in ("geojson", "roi", "coco") for part in ("--also", name)]
    assert run("measure", tmp_path / "ring.png", "--out", tmp_path, *options) == 0
    features = json.loads((tmp_path / "geojson" / "ring.geojson").read_text())["features"]
    assert [len(part) for f in features for part in f["geometry"]["coordinates"]] == [2, 1]
    outer, hole = (
        polygon2mask((60, 60), np.array(one)[:, ::-1] - 0.5)
        for one in features[0]["geometry"]["coordinates"][0]
    )
    notes = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert notes[0]["area"] == ring.sum()
    region = roifile.roiread(tmp_path / "roi" / "ring.zip")[0]
    whole = [
        polygon2mask((60, 60), one[:, ::-1] - 0.5)
        for one in (region.coordinates(), np.reshape(notes[0]["segmentation"][0], (-1, 2)))
    ]
    for found in (outer & ~hole, *whole):
        assert (found != ring).mean() < 0.005


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


def save_imagej(path, pixels, unit):
    """As ImageJ saves a picture of four pixels a unit."""
    tifffile.imwrite(path, pixels, imagej=True, resolution=(4, 4), metadata={"unit": unit})


def test_images_say_how_large_their_pixels_are(labelled, capsys):
    folder = labelled / "said"
    folder.mkdir()
    save_imagej(folder / "label.tif", drawn_objects(), "micron")
    write_png(folder / "photo.png", drawn_objects())
    save_imagej(labelled / "images" / "photo.tif", drawn_objects(), "nm")
    write_png(labelled / "images" / "label.png", drawn_objects())
    write_png(folder / "plain.png", drawn_objects())
    write_png(labelled / "images" / "plain.png", drawn_objects())
    options = ["--images", labelled / "images", "--also", "instances"]
    assert run("measure", folder, "--out", labelled / "out", *options) == 0
    said = "pixel size: 0.00025 to 0.25 um, as 2 of 3 images say; --pixel-size says it of all"
    assert said in capsys.readouterr().out
    found = {row["image"]: row for row in rows(labelled / "out" / "objects.csv")}
    sides = {"label": 0.25, "photo": 0.25e-3}
    for name, row in found.items():
        expected = float(row["area"]) * sides.get(name, np.nan) ** 2
        assert float(row["area_um2"] or "nan") == pytest.approx(expected, rel=1e-4, nan_ok=True)
    counts = {row["image"]: row for row in rows(labelled / "out" / "counts.csv")}
    assert {name: row["pixel_size_um"] for name, row in counts.items()} == {
        "label": "0.25", "photo": "0.00025", "plain": "",
    }  # fmt: skip
    assert [bool(counts["plain"][name]) for name in ("per_mm2", "per_megapixel")] == [False, True]
    assert run("measure", folder, "--out", labelled / "other", *options, "--pixel-size", "0.5") == 0
    assert "as images say" not in capsys.readouterr().out
    assert {row["pixel_size_um"] for row in rows(labelled / "other" / "counts.csv")} == {"0.5"}
    # Label images of numbers say it, too.
    for name, side in {**sides, "plain": None}.items():
        assert pixel_size_of(labelled / "out" / "instances" / f"{name}.tif") == (side and pytest.approx(side))
    assert run("measure", labelled / "out" / "instances", "--instances", "--out", labelled / "again") == 0
    again = rows(labelled / "again" / "objects.csv")
    assert sorted(row["area_um2"] for row in again) == sorted(
        row["area_um2"] for row in rows(labelled / "out" / "objects.csv")
    )
    capsys.readouterr()
    # A stack is one image.
    tifffile.imwrite(
        folder / "series.tif", np.stack([drawn_objects()] * 2), imagej=True, resolution=(4, 4),
        metadata={"unit": "micron", "axes": "TYX"},
    )  # fmt: skip
    assert run("measure", folder, "--out", labelled / "many") == 0
    assert "pixel size: 0.25 um, as 2 of 4 images say" in capsys.readouterr().out
    assert run("measure", folder / "label.tif", folder / "series.tif", "--out", labelled / "all") == 0
    assert "pixel size: 0.25 um, as images say; --pixel-size says otherwise" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("unit", "resolution"), [("inch", (4, 4)), ("pixel", (4, 4)), ("micron", (4, 5)), ("cm", (1e-9, 1e-9))]
)
def test_what_is_no_size_of_square_pixels_is_not_taken_for_one(unit, resolution, tmp_path, capsys):
    labels = tmp_path / "label.tif"
    tifffile.imwrite(labels, drawn_objects(), imagej=True, resolution=resolution, metadata={"unit": unit})
    assert run("measure", labels, "--out", tmp_path / "out") == 0
    assert "pixel size" not in capsys.readouterr().out
    assert "area_um2" not in rows(tmp_path / "out" / "objects.csv")[0]


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
    labels = np.tile(drawn_objects(), (6, 4))
    write_png(tmp_path / "whole.png", labels)
    write_ome_tiff(tmp_path / "slide.ome.tif", [labels], "YX")
    options = ("--also", "instances", "--pixel-size", "0.5")
    assert run("measure", tmp_path / "whole.png", "--out", tmp_path / "whole", *options) == 0
    monkeypatch.setattr(planes, "LARGE", 1000)
    monkeypatch.setattr(strips.whole_objects, "__kwdefaults__", {"pixels": 20_000})
    assert run("measure", tmp_path / "slide.ome.tif", "--out", tmp_path / "slide", *options) == 0

    def comparable(folder):
        return sorted(
            tuple(value for name, value in row.items() if name not in ("image", "id"))
            for row in rows(tmp_path / folder / "objects.csv")
        )

    assert comparable("slide") == comparable("whole")
    with tifffile.TiffFile(tmp_path / "slide" / "instances" / "slide.tif") as file:
        assert file.is_ome
        assert 'PhysicalSizeX="0.5" PhysicalSizeXUnit="µm"' in file.ome_metadata
        assert file.pages[0].is_tiled
        numbers = file.asarray()
    assert numbers.dtype == np.uint32
    assert ((numbers > 0) == (labels > 0)).all()
    assert len(np.unique(numbers)) - 1 == len(comparable("slide"))


@pytest.mark.parametrize(("large", "size"), [(True, 2**18), (False, 2**18 + 2**16)])
def test_a_disk_too_small_for_the_numbers_of_a_slide_is_no_crash(large, size, tmp_path, capsys, monkeypatch):
    labels = np.zeros((256, 300), np.uint8)
    labels[4:40, 4:40] = 1
    write_png(tmp_path / "some.png", labels)
    out = tmp_path / "out"
    out.mkdir()
    if large:
        monkeypatch.setattr(planes, "LARGE", 1000)
    with mounted(out, size):
        command = ("measure", tmp_path / "some.png", "--out", out, "--also", "instances")
        if large:
            refuses(capsys, *command, saying="there is no room for 0.0 GB of numbers")
            assert not list(out.rglob("*.tif"))
        else:
            # Of an image, they are held in memory.
            assert run(*command) == 0
            assert tifffile.imread(out / "instances" / "some.tif").max() == 1


def test_what_is_gathered_for_coco_is_gathered_for_coco_alone(labelled, monkeypatch):
    gathered = []
    monkeypatch.setattr(outlines.Coco, "add", lambda self, file, size, found: gathered.append(file))
    for extra, files in (("geojson", []), ("coco", ["none.png", "some.png"])):
        out = labelled / extra
        assert run("measure", labelled / "labels", "--out", out, "--also", extra) == 0
        assert gathered == files


def test_more_objects_than_16_bits_count_are_numbered_in_32(tmp_path):
    labels = np.zeros((512, 514), np.uint8)
    labels[::2, ::2] = 1
    write_png(tmp_path / "dots.png", labels)
    assert run("measure", tmp_path / "dots.png", "--out", tmp_path, "--also", "instances") == 0
    numbers = tifffile.imread(tmp_path / "instances" / "dots.tif")
    assert numbers.dtype == np.uint32
    assert np.array_equal(numbers[::2, ::2].ravel(), np.arange(1, 256 * 257 + 1))
    assert numbers.max() > 2**16


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_probabilities_part_what_labels_alone_do_not(channels, tmp_path):
    labels = np.zeros((80, 120), np.uint8)
    labels[disk((40, 35), 20)] = labels[disk((40, 50), 20)] = 1
    # A Mac may write an accent as a sign of its own.
    write_png(tmp_path / "labels" / "d\u00e4y" / "a.png", labels)
    write_probabilities(tmp_path / "chances" / "da\u0308y" / "a.tif", channels)
    names = ["background", "cell", "rod"][: max(2, channels)]
    command = ["measure", tmp_path / "labels", "--split", "cell", "--classes", ",".join(names)]
    assert run(*command, "--out", tmp_path / "without") == 0
    assert run(*command, "--out", tmp_path / "with", "--probabilities", tmp_path / "chances") == 0
    assert len(rows(tmp_path / "without" / "objects.csv")) == 1
    found = rows(tmp_path / "with" / "objects.csv")
    assert len(found) == 2
    assert all(0.5 < float(row["probability"]) < 0.95 for row in found)
