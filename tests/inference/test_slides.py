"""Stacks and slides: block by block is as in one go, and an interruption costs nothing."""

import pickle
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from disks import mounted

from unetpp.data.images import as_float
from unetpp.data.normalization import Normalization
from unetpp.data.pyramids import add_levels, write_ome_zarr_metadata
from unetpp.data.regions import open_regions
from unetpp.errors import ImageError, OutputError, SettingError
from unetpp.inference import sampling, slides, sources
from unetpp.inference.folder import Folder, predict_folder, threads
from unetpp.inference.jobs import find_jobs
from unetpp.inference.predict import Ensemble, Predictor
from unetpp.inference.slides import kind, plan_slide

zarr = pytest.importorskip("zarr", reason="the extra [formats] is not installed")

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (230, 310, 3), np.uint8)
GREY = (RNG.random((50, 60)) ** 2 * 255).astype(np.uint8)
CLASSES = ("dark", "bright")


def smooth(images):
    """An engine that looks at 3 x 3 pixels."""
    padded = np.pad(images[..., :1], ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = images.shape[1:3]
    mean = sum(padded[:, r : r + height, c : c + width] for r in range(3) for c in range(3)) / 9
    return np.concatenate([1 - mean, mean], axis=-1).astype(np.float32)


PREDICTOR = Predictor(smooth, Normalization((0.0,) * 3, (1.0,) * 3), tile=128)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks and limits of a size for tests."""
    for name, value in {"HALO": 32, "LARGE": 40_000}.items():
        monkeypatch.setattr(slides, name, value)


@pytest.fixture
def slide(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", RGB, tile=(64, 64), compression="zlib", photometric="rgb")
    return tmp_path / "in.tif"


def labels_of(path):
    with open_regions(path) as regions:
        return regions.read((), slice(0, regions.size[0]), slice(0, regions.size[1]))[..., 0]


@pytest.mark.parametrize("name", ["out.ome.tif", "out.ome.zarr"])
def test_block_by_block_is_as_in_one_go(slide, tmp_path, name):
    assert predict_folder(find_jobs([str(slide)]), PREDICTOR, tmp_path / name, classes=CLASSES) == []
    np.testing.assert_array_equal(labels_of(tmp_path / name), PREDICTOR.labels(RGB))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tif", name]


def test_a_folder_gets_labels_and_an_overlay_to_look_at(slide, tmp_path):
    assert predict_folder(find_jobs([str(slide)]), PREDICTOR, tmp_path / "out", classes=CLASSES) == []
    names = [str(path.relative_to(tmp_path / "out")) for path in sorted((tmp_path / "out").rglob("*.*"))]
    assert names == ["labels/in.ome.tif", "overlays/in.jpg"]


def test_labels_have_a_pyramid(slide, tmp_path, monkeypatch):
    monkeypatch.setattr("unetpp.data.pyramids.SMALLEST", 100)
    predict_folder(find_jobs([str(slide)]), PREDICTOR, tmp_path / "out.ome.tif", classes=CLASSES)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        levels = [level.asarray() for level in file.series[0].levels]
    assert [level.shape for level in levels] == [(230, 310), (115, 155), (58, 78)]
    for k, level in enumerate(levels):
        np.testing.assert_array_equal(level, levels[0][:: 2**k, :: 2**k])


def test_ome_zarr_says_what_its_labels_are(slide, tmp_path):
    predict_folder(find_jobs([str(slide)]), PREDICTOR, tmp_path / "out.zarr", classes=CLASSES)
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert group["0"].metadata.dimension_names == ("y", "x")
    said = dict(group.attrs)
    assert set(said) == {"ome", "unetpp"}
    assert said["ome"]["version"] == "0.5"
    assert said["ome"]["multiscales"][0]["name"] == "out.zarr"
    assert [axis["name"] for axis in said["ome"]["multiscales"][0]["axes"]] == ["y", "x"]
    assert [entry["class"] for entry in said["ome"]["image-label"]["properties"]] == list(CLASSES)


@pytest.mark.parametrize(
    ("name", "axes", "written"),
    [
        ("in.ome.tif", "ZTYX", "tzyx"),
        ("in.ome.tif", "TZYX", "tzyx"),
        ("in.ome.tif", "ZQYX", "qzyx"),
        ("in.tif", None, "qzyx"),
    ],
)
def test_an_ome_zarr_is_one_to_its_specification(name, axes, written, tmp_path):
    stack = RNG.integers(0, 256, (2, 3, 50, 70), np.uint8)
    named = {"axes": axes} if axes else {}
    tifffile.imwrite(tmp_path / name, stack, metadata=named, photometric="minisblack")
    predict_folder(find_jobs([str(tmp_path / name)]), PREDICTOR, tmp_path / "out.zarr", classes=CLASSES)
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    said = group.attrs["ome"]["multiscales"][0]
    names, kinds = ([axis[key] for axis in said["axes"]] for key in ("name", "type"))
    assert "".join(names) == written
    # Of version 0.5: each array names its dimensions as the axes; a time comes first, then at most one axis of another
    # kind, then two or three of space.
    for level in said["datasets"]:
        assert list(group[level["path"]].metadata.dimension_names) == names
    assert re.fullmatch("(time )?(other )?(space ){2,3}", " ".join(kinds) + " ")
    found = zarr.open_array(tmp_path / "out.zarr" / "0", mode="r")[:]
    # Time comes first, z last.
    ordered = stack.swapaxes(0, 1) if axes in ("ZTYX", "ZQYX") else stack
    planes = ordered.reshape(-1, 50, 70, 1)
    np.testing.assert_array_equal(found.reshape(-1, 50, 70), [PREDICTOR.labels(plane) for plane in planes])


SPACING = {
    "T": (1.5, "second"),
    "Z": (2.0, "micrometer"),
    "Y": (250.0, "nanometer"),
    "X": (300.0, "nanometer"),
}


@pytest.fixture
def spaced(tmp_path):
    """A stack that says how far apart its pixels are."""
    group = zarr.create_group(tmp_path / "in.zarr")
    group.create_array("0", data=RNG.integers(0, 256, (2, 3, 50, 70), np.uint8))
    axes = [{"name": axis.lower(), "unit": unit} for axis, (_, unit) in SPACING.items()]
    scale = [{"type": "scale", "scale": [step for step, _ in SPACING.values()]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs.update({"ome": {"multiscales": [{"axes": axes, "datasets": datasets}]}})
    return tmp_path / "in.zarr"


@pytest.mark.parametrize("name", ["out.ome.tif", "out.ome.zarr"])
def test_labels_are_as_far_apart_as_the_pixels(name, spaced, tmp_path):
    predict_folder(find_jobs([str(spaced)]), PREDICTOR, tmp_path / name, classes=CLASSES)
    with open_regions(tmp_path / name) as regions:
        assert regions.spacing == SPACING
    other = {"existing": "overwrite", "pixel_size": 0.5}
    predict_folder(find_jobs([str(spaced)]), PREDICTOR, tmp_path / name, classes=CLASSES, **other)
    with open_regions(tmp_path / name) as regions:
        given = dict.fromkeys("YX", (0.5, "micrometer"))
        assert regions.spacing == SPACING | given


def test_an_ome_tiff_says_how_far_apart_its_labels_are(spaced, tmp_path):
    predict_folder(find_jobs([str(spaced)]), PREDICTOR, tmp_path / "out.ome.tif", classes=CLASSES)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        said = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert {"PhysicalSizeX": 300, "PhysicalSizeXUnit": "nm", "PhysicalSizeZ": 2}.items() <= said.items()
    assert {"PhysicalSizeZUnit": "µm", "TimeIncrement": 1.5, "TimeIncrementUnit": "s"}.items() <= said.items()


def test_every_level_of_an_ome_zarr_says_how_far_apart_its_labels_are(spaced, tmp_path, monkeypatch):
    monkeypatch.setattr("unetpp.data.pyramids.SMALLEST", 40)
    predict_folder(find_jobs([str(spaced)]), PREDICTOR, tmp_path / "out.zarr", classes=CLASSES)
    said = dict(zarr.open_group(tmp_path / "out.zarr", mode="r").attrs)["ome"]["multiscales"][0]
    assert [axis["unit"] for axis in said["axes"]] == [unit for _, unit in SPACING.values()]
    scales = [level["coordinateTransformations"][0]["scale"] for level in said["datasets"]]
    assert scales == [[1.5, 2, 250, 300], [1.5, 2, 500, 600]]


def test_every_level_of_an_ome_zarr_lies_where_the_labels_are(tmp_path):
    labels = np.zeros((2, 2205, 777), np.uint8)
    labels[:, 2048, 768] = 1
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("0", data=labels, chunks=(1, 512, 512))
    levels = add_levels(tmp_path / "a.zarr")
    write_ome_zarr_metadata(tmp_path / "a.zarr", "a", levels, "ZYX", [("background", (0, 0, 0))])
    said = dict(zarr.open_group(tmp_path / "a.zarr", mode="r").attrs)["ome"]["multiscales"][0]["datasets"]
    assert len(said) == len(levels) > 2
    for level, entry in zip(levels, said, strict=True):
        [[_, *place], _] = np.argwhere(level[:] == 1)
        z, *scale = entry["coordinateTransformations"][0]["scale"]
        assert (z, *np.multiply(place, scale)) == (1, 2048, 768)


def test_planes_are_predicted_one_by_one(tmp_path):
    stack = RNG.integers(0, 256, (2, 3, 50, 70), np.uint8)
    tifffile.imwrite(tmp_path / "in.ome.tif", stack, metadata={"axes": "TZYX"}, photometric="minisblack")
    assert kind(tmp_path / "in.ome.tif") == "stack"
    predict_folder(find_jobs([str(tmp_path / "in.ome.tif")]), PREDICTOR, tmp_path / "out", classes=CLASSES)
    with tifffile.TiffFile(tmp_path / "out" / "labels" / "in.ome.tif") as file:
        found, axes = file.series[0].asarray(), file.series[0].axes
    assert axes == "TZYX"
    for t, z in np.ndindex(2, 3):
        np.testing.assert_array_equal(found[t, z], PREDICTOR.labels(stack[t, z, ..., None]))
    with tifffile.TiffFile(tmp_path / "out" / "overlays" / "in.tif") as file:
        # The planes, each above a legend.
        assert [page.shape[1:] for page in file.pages] == [(70, 3)] * 6
        assert min(page.shape[0] for page in file.pages) > 50


def test_plain_pages_are_a_stack_like_any_other(tmp_path):
    stack = RNG.integers(0, 256, (3, 50, 70), np.uint8)
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        for page in stack:
            file.write(page, contiguous=False, metadata=None)
    predict_folder(find_jobs([str(tmp_path / "in.tif")]), PREDICTOR, tmp_path / "out", classes=CLASSES)
    found = tifffile.imread(tmp_path / "out" / "labels" / "in.ome.tif")
    np.testing.assert_array_equal(found, [PREDICTOR.labels(page[..., None]) for page in stack])


def test_axes_without_names_are_planes_of_their_own(tmp_path):
    stack = RNG.integers(0, 256, (2, 5, 50, 70), np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", stack, photometric="minisblack")
    for name in ("out.ome.tif", "out.ome.zarr"):
        predict_folder(find_jobs([str(tmp_path / "in.tif")]), PREDICTOR, tmp_path / name, classes=CLASSES)
        with open_regions(tmp_path / name) as regions:
            assert regions.plane_shape == (2, 5)
            for plane in np.ndindex(2, 5):
                found = regions.read(plane, slice(0, 50), slice(0, 70))[..., 0]
                np.testing.assert_array_equal(found, PREDICTOR.labels(stack[plane][..., None]))


class StopError(Exception):
    """Somebody presses Ctrl-C."""


def run_until(folder, predictor, count):
    """Do some pieces of work, then stop."""

    def execute(pieces):
        for k, piece in enumerate(pieces):
            if k == count:
                raise StopError
            piece(predictor)
            yield piece, None

    with pytest.raises(StopError):
        folder.run(execute)


def test_an_interrupted_slide_goes_on_where_it_stopped(slide, tmp_path):
    jobs, out = find_jobs([str(slide)]), tmp_path / "out"
    first = Folder(jobs, PREDICTOR, out, classes=CLASSES)
    run_until(first, PREDICTOR, 7)
    assert not list(out.rglob("*.ome.tif"))
    again = Folder(jobs, PREDICTOR, out, classes=CLASSES)
    assert len(again.pieces) == len(first.pieces) - 7
    assert again.run(threads(PREDICTOR)) == []
    np.testing.assert_array_equal(labels_of(out / "labels" / "in.ome.tif"), PREDICTOR.labels(RGB))


def test_another_model_starts_anew(slide, tmp_path):
    jobs = find_jobs([str(slide)])
    first = Folder(jobs, PREDICTOR, tmp_path / "out", identity="a model")
    run_until(first, PREDICTOR, 7)
    again = Folder(jobs, PREDICTOR, tmp_path / "out", identity="another model")
    assert len(again.pieces) == len(first.pieces)


@pytest.mark.parametrize("name", ["out", "out.ome.zarr"])
def test_labels_that_were_about_to_be_replaced_are(name, slide, tmp_path):
    jobs, out = find_jobs([str(slide)]), tmp_path / name
    assert predict_folder(jobs, PREDICTOR, out, classes=CLASSES) == []
    other = {"classes": CLASSES, "identity": "another"}
    inverted = Predictor(lambda images: smooth(images)[..., ::-1], PREDICTOR.normalization, tile=128)
    run_until(Folder(jobs, inverted, out, existing="overwrite", **other), inverted, 7)
    again = Folder(jobs, inverted, out, existing="skip", **other)
    assert again.pieces
    assert again.run(threads(inverted)) == []
    [labels] = [out] if name != "out" else out.rglob("in.ome.tif")
    np.testing.assert_array_equal(labels_of(labels), inverted.labels(RGB))
    assert not Folder(jobs, inverted, out, existing="skip", **other).pieces


def correct(labels):
    """Labels as another program leaves them behind that has changed some."""
    if labels.suffix == ".zarr":
        zarr.open_array(labels / "0", mode="r+")[:5, :5] = 1
    else:
        tifffile.imwrite(labels, np.ones_like(tifffile.imread(labels)), metadata={"axes": "YX"})


@pytest.mark.parametrize("name", ["out", "out.ome.zarr"])
@pytest.mark.parametrize("source", ["in.tif", "in.zarr"])
def test_labels_of_a_slide_are_left_out_if_they_are_of_the_same_image_and_model(source, name, tmp_path):
    def write(pixels, folder):
        if source == "in.zarr":
            group = zarr.create_group(tmp_path / folder / source, overwrite=True)
            group.create_array("0", data=pixels, chunks=(64, 64, 3))
            scales = [{"axes": list("yxc"), "datasets": [{"path": "0"}]}]
            group.attrs.update({"ome": {"multiscales": scales}})
        else:
            (tmp_path / folder).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / folder / source, pixels, photometric="rgb")
        return find_jobs([str(tmp_path / folder / source)])

    def is_left_out(jobs, identity="a model"):
        return not Folder(jobs, PREDICTOR, out, identity=identity, existing="skip").outputs

    out, jobs = tmp_path / name, write(RGB, "monday")
    [labels] = [job.outputs(out)["labels"] for job in jobs]
    assert predict_folder(jobs, PREDICTOR, out, classes=CLASSES, identity="a model") == []
    before = labels_of(labels)
    assert is_left_out(jobs)
    # Wherever the image lies.
    assert is_left_out(write(RGB, "copy"))
    others = [(write(RGB[::-1].copy(), "tuesday"), "a model"), (jobs, "another model")]
    assert not any(is_left_out(*other) for other in others)
    for partial in tmp_path.rglob(".*.partial"):
        shutil.rmtree(partial)
    correct(labels)
    assert (labels_of(labels) != before).any()
    assert all(is_left_out(*other) for other in others)


def test_what_is_said_of_labels_is_of_no_matter_to_other_programs(slide, tmp_path):
    for name in ("out.ome.tif", "out.ome.zarr"):
        predict_folder(find_jobs([str(slide)]), PREDICTOR, tmp_path / name, classes=CLASSES)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        assert file.is_ome
        assert file.pages.first.software.startswith("unetpp ")
        np.testing.assert_array_equal(file.asarray(), PREDICTOR.labels(RGB))
    found = zarr.open_group(tmp_path / "out.ome.zarr", mode="r")["0"][:]
    np.testing.assert_array_equal(found, PREDICTOR.labels(RGB))


def test_a_large_file_is_told_from_others_by_its_length_and_pieces_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PIECE", 16)
    monkeypatch.setattr(sources, "PIECES", 4)
    content = RNG.integers(0, 256, 1000, np.uint8)
    (tmp_path / "a").write_bytes(content.tobytes())
    first = sources.fingerprint(tmp_path / "a")
    (tmp_path / "b").write_bytes(content.tobytes())
    assert sources.fingerprint(tmp_path / "b") == first
    for place in (0, 15, 255, 510, 750):
        (tmp_path / "b").write_bytes((content ^ (np.arange(1000) == place)).tobytes())
        assert sources.fingerprint(tmp_path / "b") != first
    (tmp_path / "b").write_bytes(content[:-1].tobytes())
    assert sources.fingerprint(tmp_path / "b") != first
    # What few bytes there are count all.
    for k in range(3):
        (tmp_path / "folder" / str(k)).mkdir(parents=True)
        (tmp_path / "folder" / str(k) / "c").write_bytes(bytes(20))
    before = {sources.fingerprint(tmp_path / "folder")}
    for k in range(3):
        (tmp_path / "folder" / str(k) / "c").write_bytes(bytes(19) + b"1")
        before.add(sources.fingerprint(tmp_path / "folder"))
    assert len(before) == 4


def test_an_ome_zarr_that_is_replaced_is_there_whole_at_any_moment(slide, tmp_path, monkeypatch):
    jobs, out = find_jobs([str(slide)]), tmp_path / "out.ome.zarr"
    predict_folder(jobs, PREDICTOR, out, classes=CLASSES)

    def interrupted(*_):
        raise StopError

    again = Folder(jobs, PREDICTOR, out, classes=CLASSES, existing="overwrite")
    with monkeypatch.context() as patch:
        patch.setattr(slides, "exchange", interrupted)
        with pytest.raises(StopError):
            again.run(threads(PREDICTOR))
    np.testing.assert_array_equal(labels_of(out), PREDICTOR.labels(RGB))
    # All is predicted: what is left is to give it its name.
    assert not Folder(jobs, PREDICTOR, out, classes=CLASSES, existing="skip").pieces
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tif", "out.ome.zarr"]
    np.testing.assert_array_equal(labels_of(out), PREDICTOR.labels(RGB))


def test_a_slide_of_nothing_but_background_is_finished(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((230, 310), np.uint8), tile=(64, 64))
    folder = Folder(find_jobs([str(tmp_path / "in.tif")]), PREDICTOR, tmp_path / "out", classes=CLASSES)
    run_until(folder, PREDICTOR, 3)
    assert len(folder.slides[folder.owner[id(folder.pieces[0])]].work()) == len(folder.pieces) - 3


def test_a_full_disk_keeps_what_is_written(slide, tmp_path, monkeypatch):
    folder = Folder(find_jobs([str(slide)]), PREDICTOR, tmp_path / "out", classes=CLASSES)
    run_until(folder, PREDICTOR, 5)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "__setitem__", full)
        with pytest.raises(OutputError, match=r"No space left.*goes on where it stopped"):
            Folder(find_jobs([str(slide)]), PREDICTOR, tmp_path / "out").run(threads(PREDICTOR))
    again = Folder(find_jobs([str(slide)]), PREDICTOR, tmp_path / "out", classes=CLASSES)
    assert len(again.pieces) == len(folder.pieces) - 5
    assert again.run(threads(PREDICTOR)) == []


@pytest.mark.parametrize(("size", "name"), [(150_000, "in.jpg"), (240_000, "in.ome.tif")])
def test_on_a_full_disk_the_file_that_does_not_fit_is_named(size, name, slide, tmp_path):
    (tmp_path / "out").mkdir()
    with mounted(tmp_path / "out", size) as out:
        with pytest.raises(OutputError) as caught:
            predict_folder(find_jobs([str(slide)]), PREDICTOR, out, classes=CLASSES)
        assert caught.value.where.name == name
        assert "No space left" in str(caught.value)


def test_a_slide_that_is_damaged_midway_is_named_and_the_rest_is_written(slide, tmp_path):
    content = bytearray(slide.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    (tmp_path / "broken.tif").write_bytes(content)
    jobs = find_jobs([str(slide), str(tmp_path / "broken.tif")])
    failures = predict_folder(jobs, PREDICTOR, tmp_path / "out", classes=CLASSES)
    assert [error.where.name for error in failures] == ["broken.tif"]
    assert [path.name for path in (tmp_path / "out" / "labels").glob("*.tif")] == ["in.ome.tif"]


def test_a_stack_that_does_not_fit_the_model_is_named_at_once_and_leaves_nothing(tmp_path):
    stack = RNG.integers(0, 256, (5, 2, 50, 70), np.uint8)
    options = {"metadata": {"axes": "ZCYX"}, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "in.ome.tif", stack, **options)
    [error] = predict_folder(
        find_jobs([str(tmp_path / "in.ome.tif")]), PREDICTOR, tmp_path / "out", classes=CLASSES
    )
    assert "2 channels" in str(error)
    assert error.where == tmp_path / "in.ome.tif"
    assert not list(tmp_path.rglob("*.partial"))


def test_a_block_s_work_is_told_in_a_few_bytes(slide, tmp_path):
    planned = plan_slide(slide, tmp_path / "s", PREDICTOR, "")
    assert len(pickle.dumps(planned)) < 2000


def test_all_blocks_are_normalised_alike(tmp_path):
    shaded = np.linspace(0, 65535, 310 * 230).reshape(230, 310).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", shaded, tile=(64, 64))
    predictor = Predictor(smooth, Normalization((0.5,), (0.25,), per_image=True), tile=128)
    slide = plan_slide(tmp_path / "in.tif", tmp_path / "s", predictor, "")
    fixed = slides.fitted(predictor, slide, ((),)).normalization
    assert not fixed.per_image
    whole = as_float(shaded)
    assert fixed.mean[0] == pytest.approx(whole.mean(), abs=0.01)
    assert fixed.std[0] == pytest.approx(whole.std(), rel=0.1)


def labels_of_all_planes(path):
    with open_regions(path) as regions:
        planes = [regions.read(plane, slice(None), slice(None)) for plane in np.ndindex(regions.plane_shape)]
    return np.stack(planes)[..., 0]


BY_ITSELF = Predictor(
    lambda images: smooth(images / 6 + 0.5), Normalization((0.5,), (0.1,), per_image=True), tile=128
)


@pytest.mark.parametrize("axes", ["TYX", "QYX", "QQYX", "IYX"])
def test_a_plane_of_a_time_series_is_predicted_as_the_same_image(axes, tmp_path):
    bleaching = [(GREY * share).astype(np.uint8) for share in (1, 0.5, 0.25, 0.1)]
    stack = np.reshape(bleaching, (2, 2, 50, 60)) if axes == "QQYX" else np.stack(bleaching)
    if axes == "IYX":
        with tifffile.TiffWriter(tmp_path / "in.tif") as file:
            for page in stack:
                file.write(page, contiguous=False, metadata=None)
    else:
        named = {} if axes == "QQYX" else {"metadata": {"axes": axes}}
        tifffile.imwrite(tmp_path / "in.tif", stack, photometric="minisblack", **named)
    assert kind(tmp_path / "in.tif") == "stack"
    predict_folder(find_jobs([str(tmp_path / "in.tif")]), BY_ITSELF, tmp_path / "out.zarr", classes=CLASSES)
    expected = [BY_ITSELF.labels(plane[..., None]) for plane in bleaching]
    np.testing.assert_array_equal(labels_of_all_planes(tmp_path / "out.zarr"), expected)


def test_planes_above_one_another_are_normalised_together(tmp_path):
    image = GREY[:25]
    empty = RNG.integers(0, 3, image.shape, np.uint8)
    stack = np.stack([(empty, image), (empty, image // 3)])
    options = {"metadata": {"axes": "TZYX"}, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "in.ome.tif", stack, **options)
    slide = plan_slide(tmp_path / "in.ome.tif", tmp_path / "s", BY_ITSELF, "")
    for t, planes in enumerate(stack):
        assert slide.alike((t, 0)) == slide.alike((t, 1)) == ((t, 0), (t, 1))
        found = slides.fitted(BY_ITSELF, slide, slide.alike((t, 1))).normalization
        assert found.mean[0] == pytest.approx(as_float(planes).mean(), abs=1e-6)


def test_an_image_of_one_block_is_predicted_as_a_whole(tmp_path):
    group = zarr.create_group(tmp_path / "in.zarr")
    group.create_array("0", data=GREY)
    axes = [{"name": name} for name in "yx"]
    group.attrs.update({"ome": {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}})
    predict_folder(find_jobs([str(tmp_path / "in.zarr")]), BY_ITSELF, tmp_path / "out.zarr", classes=CLASSES)
    np.testing.assert_array_equal(labels_of(tmp_path / "out.zarr"), BY_ITSELF.labels(GREY[..., None]))


def test_a_long_series_is_not_opened_for_each_of_its_planes(tmp_path, monkeypatch):
    stack = RNG.integers(0, 256, (40, 20, 30), np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", stack, metadata={"axes": "TYX"}, photometric="minisblack")
    opened, opening = [], tifffile.TiffFile.__init__

    def watched(*arguments, **options):
        opened.append(arguments)
        opening(*arguments, **options)

    monkeypatch.setattr(tifffile.TiffFile, "__init__", watched)
    predict_folder(find_jobs([str(tmp_path / "in.tif")]), BY_ITSELF, tmp_path / "out", classes=CLASSES)
    assert len(opened) < 10


def with_palette(path, pixels):
    colours = np.arange(256, dtype=np.uint16) * 257
    tifffile.imwrite(path, pixels, photometric="palette", colormap=np.stack([colours] * 3), metadata={})


def test_a_stack_with_a_palette_is_refused_for_its_palette(tmp_path):
    with_palette(tmp_path / "in.tif", RNG.integers(0, 256, (2, 50, 60), np.uint8))
    assert kind(tmp_path / "in.tif") == "stack"
    [error] = predict_folder(find_jobs([str(tmp_path / "in.tif")]), PREDICTOR, tmp_path / "out")
    assert "a stack cannot have a palette" in str(error)


def test_an_image_with_a_palette_is_held_as_a_whole(tmp_path):
    for name, side in (("small", 50), ("large", 250)):
        with_palette(tmp_path / f"{name}.tif", RNG.integers(0, 256, (side, side), np.uint8))
        assert kind(tmp_path / f"{name}.tif") == "image"


def test_a_blank_plane_of_a_series_is_taken(tmp_path):
    twelve_bits = np.stack([GREY.astype(np.uint16) * 16, np.zeros(GREY.shape, np.uint16)])
    options = {"metadata": {"axes": "TYX"}, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "in.ome.tif", twelve_bits, **options)
    eight_bits = replace(BY_ITSELF, normalization=Normalization((0.1,), (0.1,), per_image=True, bits=8))
    assert predict_folder(find_jobs([str(tmp_path / "in.ome.tif")]), eight_bits, tmp_path / "out") == []


@pytest.mark.parametrize("count", [1, 3, 8, 64, 200])
def test_a_stack_is_normalised_by_planes_from_first_to_last(count):
    seen = {}

    class Planes:
        size = (400, 600)

        def read(self, plane, rows, columns):
            seen.setdefault(plane[0], set()).add(columns.start)
            return np.zeros((1, 1, 1))

    sampling.sample_pixels(Planes(), [(k,) for k in range(count)], few=0)
    assert len(seen) == min(count, sampling.PATCHES)
    assert max(seen) >= count - count / sampling.PATCHES - 1
    # Few planes: each from left to right.
    if count <= 8:
        assert all(len(columns) > 4 for columns in seen.values())


def test_models_are_averaged_on_slides_too(slide, tmp_path):
    def inverted(images):
        return smooth(images)[..., ::-1]

    other = Predictor(inverted, PREDICTOR.normalization, tile=128)
    both = Ensemble((PREDICTOR, PREDICTOR, other))
    predict_folder(find_jobs([str(slide)]), both, tmp_path / "out.ome.tif", classes=CLASSES)
    np.testing.assert_array_equal(labels_of(tmp_path / "out.ome.tif"), PREDICTOR.labels(RGB))


def test_an_output_of_the_wrong_kind_is_refused(slide, tmp_path):
    with pytest.raises(SettingError, match=r"no \.png file.*ome\.zarr"):
        Folder(find_jobs([str(slide)]), PREDICTOR, tmp_path / "out.png")
    shutil.copy(slide, tmp_path / "in2.tif")
    with pytest.raises(SettingError, match="2 images cannot go into one file"):
        Folder(find_jobs([str(slide), str(tmp_path / "in2.tif")]), PREDICTOR, tmp_path / "out.ome.tif")


def test_channels_that_do_not_fit_are_named_with_the_file(tmp_path):
    tifffile.imwrite(
        tmp_path / "in.tif",
        np.zeros((5, 230, 310), np.uint8),
        photometric="minisblack",
        metadata={"axes": "CYX"},
    )
    (error,) = predict_folder(find_jobs([str(tmp_path / "in.tif")]), PREDICTOR, tmp_path / "out")
    assert isinstance(error, ImageError)
    assert "in.tif" in str(error)
