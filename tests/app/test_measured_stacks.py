"""unetpp measure: each plane of a stack is an image of its own."""

import json

import numpy as np
import pytest
import tifffile
from commands import first, pixels, refuses, run
from drawn import CLASSES, drawn_objects, rows
from scipy import ndimage

from unetpp.analysis import planes, strips
from unetpp.data.images import write_png
from unetpp.data.pyramids import write_ome_zarr_metadata
from unetpp.data.regions import spacing_of

RADIUS = 7
# Pixels within so far of a pixel.
AREA = sum(2 * int(np.sqrt(RADIUS**2 - x**2)) + 1 for x in range(-RADIUS, RADIUS + 1))
RNG = np.random.default_rng(0)


def discs(times=2, depth=3):
    """Discs (T, Z, H, W), of which there are 1 + t + 2 z in a plane, each above that of another plane."""
    y, x = np.indices((40, 160))
    disc = (y - 20) ** 2 + (x % 20 - 10) ** 2 <= RADIUS**2
    return np.array(
        [[disc & (x < 20 * (1 + t + 2 * z)) for z in range(depth)] for t in range(times)], np.uint8
    )


def store(path, stack, axes, **options):
    """A stack as OME-TIFF or, by its name, as OME-Zarr."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zarr":
        zarr = pytest.importorskip("zarr", reason="the extra [formats] is not installed")
        array = zarr.create_group(path).create_array("0", data=stack)
        write_ome_zarr_metadata(path, path.name, [array], axes, [("background", (0, 0, 0))])
        return
    tifffile.imwrite(path, stack, metadata={"axes": axes}, **{"photometric": "minisblack", **options})


def several():
    """Planes that differ, (T, Z, H, W), of objects that touch one another and the border; one is empty."""
    plane = drawn_objects()
    found = [[plane, plane[::-1], np.roll(plane, 15, 1)], [plane[:, ::-1], np.zeros_like(plane), plane]]
    return np.array(found)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", ["a.ome.tif", "a.zarr"])
def test_discs_are_counted_plane_by_plane(name, large, tmp_path, monkeypatch):
    if large:
        monkeypatch.setattr(planes, "LARGE", 1000)
        monkeypatch.setattr(planes, "PIXELS", 600)
        monkeypatch.setattr(strips.whole_objects, "__kwdefaults__", {"pixels": 600})
    store(tmp_path / name, discs(), "TZYX", compression="zlib")
    assert run("measure", tmp_path / name, "--out", tmp_path / "out") == 0
    counts = rows(tmp_path / "out" / "counts.csv")
    expected = [(t, z, 1 + t + 2 * z) for t in range(2) for z in range(3)]
    assert [tuple(int(row[n]) for n in ("t", "z", "count")) for row in counts] == expected
    assert all(int(row["area"]) == AREA * int(row["count"]) for row in counts)
    found = rows(tmp_path / "out" / "objects.csv")
    assert list(found[0])[:5] == ["image", "t", "z", "class", "id"]
    assert [row["id"] for row in found] == [str(k) for k in range(1, 1 + sum(n for *_, n in expected))]
    assert {row["area"] for row in found} == {str(AREA)}
    for t, z, n in expected:
        place = sorted(float(row["centroid_x"]) for row in found if (row["t"], row["z"]) == (str(t), str(z)))
        assert place == [10 + 20 * k for k in range(n)]


@pytest.mark.parametrize(
    "options",
    [
        ["--split", "cell", "--pixel-size", "0.5"],
        ["--thin", "rod", "--drop-border", "--smallest", "250"],
        ["--instances", "--classes", "background,cell"],
    ],
)
def test_planes_are_measured_as_images_are(options, tmp_path):
    labels, images = several(), RNG.integers(0, 255, (2, 3, 80, 120, 3), np.uint8)
    store(tmp_path / "stack" / "a.ome.tif", labels, "TZYX")
    # However an image is stored, its planes are told by their axes.
    store(tmp_path / "images" / "a.ome.tif", images.swapaxes(0, 1), "ZTYXS", photometric="rgb")
    for t, z in np.ndindex(2, 3):
        write_png(tmp_path / "planes" / f"{t}{z}.png", labels[t, z])
        write_png(tmp_path / "pictures" / f"{t}{z}.png", images[t, z])
    options = options if "--instances" in options else [*options, "--classes", CLASSES]
    for source, beside in (("stack", "images"), ("planes", "pictures")):
        command = ["measure", tmp_path / source, "--images", tmp_path / beside, *options]
        assert run(*command, "--out", tmp_path / f"out_{source}") == 0
    for name in ("objects.csv", "counts.csv"):
        found, expected = (rows(tmp_path / f"out_{source}" / name) for source in ("stack", "planes"))
        assert [row.pop("t") + row.pop("z") for row in found] == [row["image"] for row in expected]
        own = ("image",) if "--instances" in options else ("image", "id")
        for row in [*found, *expected]:
            assert all(row.pop(column, None) != "" for column in own)
        assert found == expected != []


def test_images_of_one_plane_have_no_place_in_tables_of_stacks(tmp_path):
    store(tmp_path / "in" / "b.ome.tif", discs(3)[:, 0], "TYX")
    write_png(tmp_path / "in" / "a.png", discs()[0, 0])
    assert run("measure", tmp_path / "in", "--out", tmp_path / "out") == 0
    for name in ("objects.csv", "counts.csv"):
        found = [(row["image"], row["t"]) for row in rows(tmp_path / "out" / name)]
        assert list(dict.fromkeys(found)) == [("a", ""), ("b", "0"), ("b", "1"), ("b", "2")]
        assert "z" not in rows(tmp_path / "out" / name)[0]
    assert run("measure", tmp_path / "in" / "a.png", "--out", tmp_path / "alone") == 0
    assert (tmp_path / "alone" / "counts.csv").read_text().startswith("image,class,count")


def test_an_empty_stack_has_a_table_with_headers(tmp_path):
    store(tmp_path / "a.ome.tif", np.zeros((2, 40, 50), np.uint8), "ZYX")
    assert run("measure", tmp_path / "a.ome.tif", "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "objects.csv").read_text().startswith("image,z,class,id,area")
    assert [row["count"] for row in rows(tmp_path / "out" / "counts.csv")] == ["0", "0"]


def test_what_255_means_the_whole_stack_says(tmp_path, capsys):
    stack = 255 * discs()[:, 0]
    store(tmp_path / "a.ome.tif", stack, "TYX")
    command = ["measure", tmp_path / "a.ome.tif", "--classes", "background,cell", "--out", tmp_path / "out"]
    assert run(*command) == 0
    assert [row["count"] for row in rows(tmp_path / "out" / "counts.csv")] == ["1", "2"]
    stack[0] //= 255
    store(tmp_path / "a.ome.tif", stack, "TYX")
    refuses(capsys, *command, "--overwrite", saying=["a.ome.tif", "values 255", "not among the classes"])


def test_a_stack_with_a_plane_that_is_no_label_image_is_named_and_the_rest_is_measured(tmp_path, capsys):
    bad = several().astype(np.float32)
    bad[1, 2, 0, 0] = 0.5
    store(tmp_path / "in" / "bad.ome.tif", bad, "TZYX")
    store(tmp_path / "in" / "good.ome.tif", several(), "TZYX")
    command = ["measure", tmp_path / "in", "--classes", CLASSES, "--out", tmp_path / "out"]
    refuses(capsys, *command, saying=["bad.ome.tif", "fractions"])
    counts = rows(tmp_path / "out" / "counts.csv")
    assert [row["image"] for row in counts] == ["good"] * 12
    refuses(capsys, *command, saying=["objects.csv", "exists"])
    assert rows(tmp_path / "out" / "counts.csv") == counts


def test_numbers_are_a_stack_that_measures_alike(tmp_path):
    store(tmp_path / "a.ome.tif", several(), "TZYX")
    also = ["--also", "instances", "--pixel-size", "0.5"]
    assert run("measure", tmp_path / "a.ome.tif", "--out", tmp_path / "out", *also) == 0
    numbers = tmp_path / "out" / "instances" / "a.tif"
    with tifffile.TiffFile(numbers) as file:
        assert (file.series[0].axes, file.series[0].shape) == ("TZYX", (2, 3, 80, 120))
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata
        stack = file.asarray()
    assert np.array_equal(stack > 0, several() > 0)
    found = rows(tmp_path / "out" / "objects.csv")
    assert sorted(np.unique(stack)) == sorted([0, *(int(row["id"]) for row in found)])
    for row in found:
        assert np.sum(stack[int(row["t"]), int(row["z"])] == int(row["id"])) == int(row["area"])
    assert run("measure", numbers, "--instances", "--out", tmp_path / "again", *also) == 0
    kept = ("t", "z", "id", "area", "perimeter", "length")
    again = rows(tmp_path / "again" / "objects.csv")
    assert sorted([r[k] for k in kept] for r in again) == sorted([r[k] for k in kept] for r in found)
    assert np.array_equal(tifffile.imread(tmp_path / "again" / "instances" / "a.tif"), stack)


@pytest.mark.parametrize("who", ["labels", "images"])
def test_numbers_of_a_stack_keep_its_spacing(who, tmp_path):
    for name in ("labels", "images"):
        said = {"unit": "um", "spacing": 1.5, "finterval": 30.0} if name == who else {}
        options = {"imagej": True, "resolution": (4, 4)} if said else {}
        (tmp_path / name).mkdir()
        options |= {"metadata": {"axes": "TZYX", **said}, "photometric": "minisblack"}
        tifffile.imwrite(tmp_path / name / "a.tif", discs(), **options)
    command = ["measure", tmp_path / "labels", "--images", tmp_path / "images", "--also", "instances"]
    for given, side in (([], 0.25), (["--pixel-size", "0.5"], 0.5)):
        out = tmp_path / f"out{side}"
        assert run(*command, "--out", out, *given) == 0
        assert spacing_of(out / "instances" / "a.tif") == {
            "X": (side, "micrometer"), "Y": (side, "micrometer"), "Z": (1.5, "micrometer"), "T": (30, "second"),
        }  # fmt: skip


def test_a_number_that_is_in_several_planes_stays_that(tmp_path):
    roifile = pytest.importorskip("roifile", reason="the extra [objects] is not installed")
    tracked = 7 * discs(3)[:, 0].astype(np.uint16)
    store(tmp_path / "a.ome.tif", tracked, "TYX")
    command = ["measure", tmp_path / "a.ome.tif", "--instances", "--out", tmp_path / "out", "--also", "roi"]
    assert run(*command) == 0
    found = rows(tmp_path / "out" / "objects.csv")
    assert [(row["t"], row["id"], int(row["area"]) / AREA) for row in found] == [
        ("0", "7", 1), ("1", "7", 2), ("2", "7", 3),
    ]  # fmt: skip
    regions = roifile.roiread(tmp_path / "out" / "roi" / "a.zip")
    assert {region.name.split("-")[1] for region in regions} == {"7"}


@pytest.mark.parametrize("axis", ["T", "Z"])
@pytest.mark.parametrize("image", [None, "", "S", "C"])
def test_rois_are_in_the_planes_that_imagej_counts(image, axis, tmp_path):
    roifile = pytest.importorskip("roifile", reason="the extra [objects] is not installed")
    store(tmp_path / "labels" / "a.tif", discs(3)[:, 0], f"{axis}YX")
    command = ["measure", tmp_path / "labels", "--out", tmp_path / "out", "--also", "roi"]
    if image is not None:
        axes = {"": f"{axis}YX", "S": f"{axis}YXS", "C": f"{axis}CYX"}[image]
        shape = [{axis: 3, "Y": 40, "X": 160}.get(letter, 3) for letter in axes]
        options = {"photometric": "rgb"} if image == "S" else {}
        store(tmp_path / "images" / "a.tif", np.zeros(shape, np.uint8), axes, **options)
        command += ["--images", tmp_path / "images"]
    assert run(*command) == 0
    regions = roifile.roiread(tmp_path / "out" / "roi" / "a.zip")
    found = [(region.position, region.t_position, region.z_position) for region in regions]
    # ImageJ shows what has a t or z alone in all planes of a stack of one axis, and by an index not when it is in a
    # series of channels.
    place = {"T": (0, 1, 0), "Z": (0, 0, 1)}[axis] if image == "C" else (1, 0, 0)
    assert found == [tuple(n * k for k in place) for n in (1, 2, 2, 3, 3, 3)]


def test_outlines_say_in_which_plane_they_are(tmp_path):
    roifile = pytest.importorskip("roifile", reason="the extra [objects] is not installed")
    store(tmp_path / "a.ome.tif", discs(), "TZYX")
    also = ["--also", "roi", "--also", "geojson"]
    assert run("measure", tmp_path / "a.ome.tif", "--out", tmp_path / "out", *also) == 0
    expected = [(row["t"], row["z"], row["id"]) for row in rows(tmp_path / "out" / "objects.csv")]
    # ImageJ counts from 1.
    regions = roifile.roiread(tmp_path / "out" / "roi" / "a.zip")
    said = [(str(r.t_position - 1), str(r.z_position - 1), r.name.split("-")[1]) for r in regions]
    assert sorted(said) == sorted(expected)
    features = json.loads((tmp_path / "out" / "geojson" / "a.geojson").read_text())["features"]
    where = [(f["geometry"]["plane"], f["properties"]["name"]) for f in features]
    assert [(str(plane["t"]), str(plane["z"]), name) for plane, name in where] == expected


@pytest.mark.parametrize(
    ("axes", "also", "saying"),
    [
        ("TYX", "coco", "there is no --also coco of a stack"),
        ("TYX", "numbered", "there is no --also numbered of a stack"),
        ("QYX", "roi", ["--also roi knows planes of t and z", "these are of q"]),
        ("QYX", "geojson", ["a.tif", "--also geojson knows planes of t and z"]),
    ],
)
def test_what_cannot_be_of_a_stack_is_refused_before_any_work(axes, also, saying, trained, tmp_path, capsys):
    pytest.importorskip("roifile", reason="the extra [objects] is not installed")
    for folder in ("in", "images"):
        store(tmp_path / folder / "a.tif", discs(3)[:, 0], axes)
    options = ["--also", also, "--out", tmp_path / "out"]
    images = ["--images", tmp_path / "images"] if also == "numbered" else []
    refuses(capsys, "measure", tmp_path / "in", *images, *options, saying=saying)
    refuses(capsys, "predict", trained, tmp_path / "in", "--objects", *options, saying=saying)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("shape", "axes", "saying"),
    [
        ((3, 40, 160), "ZYX", "it is a stack of 3 planes (z), its labels are a stack of 3 planes (t)"),
        ((2, 40, 160), "TYX", "it is a stack of 2 planes (t)"),
        ((40, 160), "YX", "it is one plane"),
        ((3, 40, 161), "TYX", "it has 161 x 40 pixels, its labels 160 x 40"),
    ],
)
def test_images_of_other_planes_are_refused(shape, axes, saying, tmp_path, capsys):
    store(tmp_path / "labels" / "a.ome.tif", discs(3)[:, 0], "TYX")
    store(tmp_path / "images" / "a.ome.tif", np.zeros(shape, np.uint8), axes)
    command = ["measure", tmp_path / "labels", "--images", tmp_path / "images", "--out", tmp_path / "out"]
    refuses(capsys, *command, saying=["images/a.ome.tif", saying])


def unnamed(path, stack, how):
    """A stack of planes without names, as tifffile writes an array, or pages."""
    path.parent.mkdir(exist_ok=True)
    if how == "array":
        tifffile.imwrite(path, stack, photometric="minisblack")
        return
    with tifffile.TiffWriter(path) as file:
        for page in stack.reshape(-1, *stack.shape[-2:]):
            file.write(page, photometric="minisblack", metadata=None)


@pytest.mark.parametrize(
    ("how", "image", "shape", "axes"),
    [
        ("array", "TYX", (3,), "t"),
        ("pages", "TYX", (3,), "t"),
        ("array", "ZCYX", (3,), "z"),
        ("array", "ZTYX", (3, 2), "zt"),
        ("array", "TZYX", (2, 2), "tz"),
        ("array", "pages", (3,), "z"),
        ("pages", "array", (3,), "q"),
        ("array", "array", (1, 3), "q"),
    ],
)
def test_axes_that_nobody_named_are_those_of_the_image(how, image, shape, axes, tmp_path):
    values = np.arange(1, 1 + np.prod(shape), dtype=np.uint8).reshape(shape)
    unnamed(tmp_path / "labels" / "a.tif", discs()[0, 0] * np.ones_like(values)[..., None, None], how)
    planes = np.tile(values.squeeze()[..., None, None], (40, 160))
    if image in ("array", "pages"):
        unnamed(tmp_path / "images" / "a.tif", planes, image)
    else:
        planes = np.stack([planes, planes], image.index("C")) if "C" in image else planes
        store(tmp_path / "images" / "a.tif", planes, image)
    also = ["--also", "geojson"] if axes != "q" else []
    command = ["measure", tmp_path / "labels", "--out", tmp_path / "out"]
    for options in ([], ["--instances", "--overwrite"]):
        assert run(*command, "--images", tmp_path / "images", *also, *options) == 0
        found = rows(tmp_path / "out" / "objects.csv")
        assert {axis for axis in "qtz" if axis in found[0]} == {*axes}
        seen = {tuple(int(row[axis]) for axis in axes): float(row["intensity_mean_1"]) for row in found}
        assert seen == dict(np.ndenumerate(values.squeeze()))


def test_probabilities_of_one_plane_are_none_of_a_stack(tmp_path, capsys):
    store(tmp_path / "labels" / "a.ome.tif", discs(3)[:, 0], "TYX")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 160), np.float16))
    command = ["measure", tmp_path / "labels", "--probabilities", tmp_path, "--out", tmp_path / "out"]
    refuses(capsys, *command, saying=["a.tif", "it is one plane"])


def test_what_has_no_probabilities_is_measured_beside_what_has(trained, data, tmp_path, capsys):
    image = pixels(first(data / "images"))
    write_png(tmp_path / "images" / "a.png", image)
    store(tmp_path / "images" / "b.tif", np.stack([image, image[::-1]]), "ZYXS", photometric="rgb")
    store(tmp_path / "images" / "c.zarr", image.transpose(2, 0, 1), "CYX")
    rules, out = ["--split", "blood_cell"], tmp_path / "out"
    for name in "abc":
        [path] = (tmp_path / "images").glob(f"{name}.*")
        chances = ["--probabilities"] if name == "a" else []
        assert run("predict", trained, path, "--out", out, *chances) == 0
    command = ["measure", out / "labels", "--model", trained, *rules, "--out", tmp_path / "measured"]
    assert run(*command, "--probabilities", out / "probabilities") == 0
    found = rows(tmp_path / "measured" / "objects.csv")
    assert {(row["image"], bool(row["probability"])) for row in found} == {
        ("a", True), ("b", False), ("c", False),
    }  # fmt: skip
    # Labels that were stacked afterwards have none either; a label PNG does.
    unnamed(out / "labels" / "d.tif", pixels(out / "labels" / "a.png")[None].repeat(2, 0), "pages")
    assert run(*command, "--probabilities", out / "probabilities", "--overwrite") == 0
    write_png(out / "labels" / "e.png", pixels(out / "labels" / "a.png"))
    refuses(capsys, *command, "--probabilities", out / "probabilities", saying="e has no probabilities")


@pytest.mark.parametrize("axes", ["TZYXS", "ZTYXS", "QYXS", "QQYXS", "IYXS"])
def test_what_is_predicted_of_a_stack_is_measured(axes, trained, data, tmp_path):
    image = pixels(first(data / "images"))
    series = np.array([[np.roll(image, 5 * t + 9 * z, 1) for z in range(3)] for t in range(2)])
    series = series[:, 0] if len(axes) == 4 else series
    (tmp_path / "images").mkdir()
    named = {} if axes[0] in "QI" else {"metadata": {"axes": axes}}
    if axes[0] == "I":
        with tifffile.TiffWriter(tmp_path / "images" / "a.tif") as file:
            for page in series:
                file.write(page, photometric="rgb", metadata=None)
    else:
        tifffile.imwrite(tmp_path / "images" / "a.tif", series, photometric="rgb", **named)
    out, also = tmp_path / "out", ["--split", "blood_cell", "--also", "instances"]
    command = ["predict", trained, tmp_path / "images", "--out", out, "--objects", *also]
    assert run(*command) == 0
    with tifffile.TiffFile(out / "labels" / "a.ome.tif") as file:
        labels, letters = file.asarray(), file.series[0].axes.lower()[:-2]
    counts = rows(out / "counts.csv")
    assert list(counts[0])[: len(letters) + 2] == ["image", *sorted(letters), "class"]
    for row in counts:
        plane = labels[tuple(int(row[axis]) for axis in letters)]
        index = ("background", "blood_cell", "bacteria").index(row["class"])
        assert int(row["area"]) == np.sum(plane == index)
        if row["class"] == "bacteria":
            assert int(row["count"]) == ndimage.label(plane == index, np.ones((3, 3)))[1]
    assert np.array_equal(tifffile.imread(out / "instances" / "a.tif") > 0, labels > 0)

    again = ["measure", out / "labels", "--images", tmp_path / "images", "--model", trained, *also]
    assert run(*again, "--out", tmp_path / "again") == 0
    before = {name: (out / name).read_bytes() for name in ("objects.csv", "counts.csv")}
    (out / "objects.csv").unlink()
    assert run(*command, "--resume") == 0
    for name, content in before.items():
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes() == content
