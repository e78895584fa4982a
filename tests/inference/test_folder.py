"""Which images inputs stand for, and what their outputs are called."""

import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unetpp.data.images import read_image, write_png
from unetpp.data.names import unique_names
from unetpp.data.normalization import Normalization
from unetpp.errors import ImageError, InstallError, OutputError, SettingError
from unetpp.inference.folder import predict_folder
from unetpp.inference.jobs import MEASURED, Job, check_extras, find_jobs
from unetpp.inference.predict import Predictor


def halves(images):
    """An engine that calls bright pixels class 1."""
    return np.stack([1 - images[..., 0], images[..., 0]], axis=-1)


PREDICTOR = Predictor(halves, Normalization((0.0,), (1.0,)), multiple=8)


def picture(path, value=255):
    write_png(path, np.full((6, 9), value, np.uint8))
    return path


def test_sub_folders_are_mirrored(tmp_path):
    picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "day 2" / "b.png")
    assert [job.name for job in find_jobs([str(tmp_path / "in")])] == ["a", "day 2/b"]


def test_hidden_files_and_folders_are_left_alone(tmp_path):
    for name in ("a.png", ".b.png", ".cache/c.png", "day/.d/e.png"):
        picture(tmp_path / ".in" / name)
    assert [job.name for job in find_jobs([str(tmp_path / ".in")])] == ["a"]


def test_the_arrays_of_a_zarr_folder_are_no_images_of_their_own_whatever_it_is_called(tmp_path):
    zarr = pytest.importorskip("zarr", reason="the extra [formats] is not installed")
    zarr.create_group(tmp_path / "in" / "scan").create_array("0", data=np.zeros((8, 8), np.uint8))
    picture(tmp_path / "in" / "project.zarr" / "a.png")
    picture(tmp_path / "in" / "scan" / "thumbnail.png")
    assert [job.name for job in find_jobs([str(tmp_path / "in")])] == ["project.zarr/a", "scan"]


def test_a_link_is_called_as_it_is_named(tmp_path):
    (tmp_path / "in").mkdir()
    picture(tmp_path / "blobs" / "8f3a.png").rename(tmp_path / "blobs" / "8f3a01")
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "blobs" / "8f3a01")
    jobs = find_jobs([str(tmp_path / "in")])
    assert [(job.name, job.image.name) for job in jobs] == [("a", "a.png"), ("b", "b.png")]
    assert predict_folder(jobs, PREDICTOR, tmp_path / "out") == []
    assert {path.stem for path in (tmp_path / "out" / "labels").iterdir()} == {"a", "b"}


@pytest.mark.parametrize("compression", ["lzw", "zlib"])
def test_an_ordinary_tiff_needs_no_zarr_and_a_stack_does(compression, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 16, 16), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels[0], compression=compression)
    jobs = find_jobs([str(tmp_path / "a.tif")])
    assert predict_folder(jobs, PREDICTOR, tmp_path / "out") == []
    tifffile.imwrite(tmp_path / "b.tif", pixels, compression=compression, photometric="minisblack")
    jobs = find_jobs([str(tmp_path / "b.tif")])
    assert jobs[0].kind == "stack"
    with pytest.raises(InstallError, match="Zarr is not installed"):
        predict_folder(jobs, PREDICTOR, tmp_path / "out")


def test_outputs_below_the_images_are_no_images(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "out" / "labels" / "a.png")
    assert [job.name for job in find_jobs([str(tmp_path)], tmp_path / "out")] == ["a"]
    # Labels are images where they are asked for.
    assert len(find_jobs([str(tmp_path / "out" / "labels")], tmp_path / "out")) == 1


@pytest.mark.parametrize("given", ["", "*.png", "**/*.png"])
@pytest.mark.parametrize("below", ["", "out"], ids=["beside the images", "below the images"])
def test_a_second_run_finds_what_the_first_found(given, below, tmp_path):
    out = tmp_path / below
    picture(tmp_path / "a.png")
    first = find_jobs([str(tmp_path / given)], out)
    for folder in ("labels", "overlays", "instances"):
        picture(out / folder / "a.png")
    assert find_jobs([str(tmp_path / given)], out) == first
    picture(tmp_path / "labels.png")
    assert find_jobs([str(tmp_path / "*.png")], tmp_path / "labels.png") == first


def test_what_is_named_is_measured_where_outputs_lie_beside_it(tmp_path):
    for name in ("one", "two"):
        picture(tmp_path / name / "labels" / f"{name}.png")
    found = find_jobs([str(tmp_path / "*" / "labels" / "*.png")], tmp_path / "one", MEASURED)
    assert [job.name for job in found] == ["one", "two"]


def test_labels_beside_tables_are_measured_though_outputs_lie_there(tmp_path):
    picture(tmp_path / "labels" / "a.png")
    picture(tmp_path / "instances" / "a.png")
    assert [job.name for job in find_jobs([str(tmp_path / "labels")], tmp_path, MEASURED)] == ["a"]
    assert [job.name for job in find_jobs([str(tmp_path)], tmp_path, MEASURED)] == ["labels/a"]


def test_extras_that_would_not_be_written_are_refused(tmp_path):
    job = Job(tmp_path / "a.tif", "a", "stack")
    check_extras([job], tmp_path, [])
    check_extras([Job(tmp_path / "a.tif", "a")], tmp_path, ["probabilities"])
    for jobs, out in (([job], tmp_path), ([Job(tmp_path / "a.png", "a")], tmp_path / "labels.png")):
        with pytest.raises(SettingError, match="no --probabilities of"):
            check_extras(jobs, out, ["probabilities"])


def test_a_file_named_twice_is_one_job(tmp_path):
    path = picture(tmp_path / "a.png")
    assert len(find_jobs([str(path), str(tmp_path), str(tmp_path / "*.png")])) == 1


def test_names_that_some_disks_take_for_one_get_outputs_of_their_own(tmp_path):
    for folder, name in (("a", "Zo\u00eb"), ("b", "Zoe\u0308"), ("c", "ZO\u00cb")):
        picture(tmp_path / folder / f"{name}.png")
    names = {job.name for job in find_jobs([str(tmp_path / folder) for folder in "abc"])}
    assert len({unicodedata.normalize("NFC", name).lower() for name in names}) == 3


def test_inputs_of_the_same_name_get_outputs_of_their_own(tmp_path):
    for name in ("x/a.png", "x/a.bmp", "y/a.png", "z/y/a.png"):
        picture(tmp_path / name)
    jobs = find_jobs([str(tmp_path / "x"), str(tmp_path / "y"), str(tmp_path / "z" / "y")])
    assert predict_folder(jobs, PREDICTOR, tmp_path / "out") == []
    assert len(list((tmp_path / "out" / "labels").rglob("*.png"))) == 4


@given(
    st.lists(
        st.tuples(st.sampled_from("abA"), st.sampled_from([".png", ".jpg", ".PNG"]), st.sampled_from("xy")),
        min_size=1,
        max_size=12,
    )
)
def test_names_never_collide_whatever_the_inputs(parts):
    found = {
        Path("/") / str(k) / folder / f"{stem}{suffix}": Path(folder) / f"{stem}{suffix}"
        for k, (stem, suffix, folder) in enumerate(parts)
    }
    names = [name.lower() for name in unique_names(found)]
    assert len(set(names)) == len(names) == len(parts)


def test_one_bad_image_does_not_stop_the_rest(tmp_path):
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    picture(tmp_path / "in" / "c.png", 0)
    failures = predict_folder(
        find_jobs([str(tmp_path / "in")]), PREDICTOR, tmp_path / "out", extras=["probabilities"]
    )
    assert [error.where.name for error in failures] == ["b.png"]
    written = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()
    )
    kinds = [f"{kind}/{stem}" for kind in ("labels", "overlays", "probabilities") for stem in ("a", "c")]
    assert [name.rsplit(".", 1)[0] for name in written] == kinds


def test_labels_are_class_indices_with_a_palette_at_the_image_s_own_size(tmp_path):
    picture(tmp_path / "a.png")
    predict_folder(find_jobs([str(tmp_path / "a.png")]), PREDICTOR, tmp_path / "out")
    with Image.open(tmp_path / "out" / "labels" / "a.png") as labels:
        assert labels.mode == "P"
        np.testing.assert_array_equal(np.asarray(labels), np.ones((6, 9)))
        assert labels.getpalette()[3:6] != [1, 1, 1]


def test_probabilities_are_float16_one_plane_a_class(tmp_path):
    import tifffile

    picture(tmp_path / "a.png")
    predict_folder(
        find_jobs([str(tmp_path / "a.png")]), PREDICTOR, tmp_path / "out", extras=["probabilities"]
    )
    found = tifffile.imread(tmp_path / "out" / "probabilities" / "a.tif")
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, np.stack([np.zeros((6, 9)), np.ones((6, 9))]))


def test_an_output_that_exists_is_kept_unless_overwriting(tmp_path):
    jobs = [Job(picture(tmp_path / "a.png"), "a")]
    kept = picture(tmp_path / "out" / "labels" / "a.png", 7)
    with pytest.raises(OutputError, match="exists"):
        predict_folder(jobs, PREDICTOR, tmp_path / "out")
    assert read_image(kept).max() == 7
    assert predict_folder(jobs, PREDICTOR, tmp_path / "out", existing="overwrite") == []
    assert read_image(kept).max() != 7


@pytest.mark.parametrize("existing", ["refuse", "overwrite", "skip"])
@pytest.mark.parametrize("folder", ["labels", "overlays", "probabilities"])
def test_an_image_is_never_written_over(folder, existing, tmp_path):
    suffix = {"labels": ".png", "overlays": ".jpg", "probabilities": ".tif"}[folder]
    image = tmp_path / folder / f"a{suffix}"
    image.parent.mkdir()
    Image.fromarray(np.full((6, 9), 7, np.uint8)).save(image)
    before = image.read_bytes()
    jobs = find_jobs([str(image.parent)], tmp_path)
    with pytest.raises(OutputError, match="one of the images lies here"):
        predict_folder(jobs, PREDICTOR, tmp_path, existing=existing, extras=["probabilities"])
    assert image.read_bytes() == before


def test_an_image_is_not_written_over_by_way_of_a_link(tmp_path):
    real = picture(tmp_path / "real.png", 7)
    (tmp_path / "link.png").symlink_to(real)
    for image, out in (("link.png", "real.png"), ("real.png", "link.png")):
        with pytest.raises(OutputError, match="one of the images lies here"):
            predict_folder(
                find_jobs([str(tmp_path / image)]), PREDICTOR, tmp_path / out, existing="overwrite"
            )
    assert read_image(real).max() == 7


def test_a_zarr_folder_that_holds_an_image_is_not_replaced(tmp_path):
    zarr = pytest.importorskip("zarr", reason="the extra [formats] is not installed")
    zarr.create_group(tmp_path / "real.zarr").create_array("0", data=np.full((8, 8), 7, np.uint8))
    (tmp_path / "link.zarr").symlink_to(tmp_path / "real.zarr")
    for image in ("real.zarr", "link.zarr/0"):
        with pytest.raises(OutputError, match="one of the images lies here"):
            predict_folder(
                find_jobs([str(tmp_path / image)]), PREDICTOR, tmp_path / "real.zarr", existing="overwrite"
            )
    assert zarr.open_array(tmp_path / "real.zarr" / "0")[:].max() == 7


@pytest.mark.parametrize("given_input", ["missing.png", "missing", "no*thing", "."])
def test_an_input_without_images_is_refused(given_input, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError):
        find_jobs([given_input])


def test_what_is_gone_on_with_is_of_the_same_image_and_model(tmp_path):
    def again(folder, value=255, identity="a model"):
        picture(tmp_path / folder / "a.png", value)
        jobs = find_jobs([str(tmp_path / folder)])
        predict_folder(jobs, PREDICTOR, tmp_path / "out", identity=identity, existing="skip")
        return labels.stat().st_mtime_ns, read_image(labels).max()

    labels = tmp_path / "out" / "labels" / "a.png"
    first = again("monday")
    # The same image is done, wherever it lies.
    assert again("copy") == first
    assert again("tuesday", value=0)[1] == 0
    before = again("tuesday", value=0)
    assert again("tuesday", value=0, identity="another model")[0] > before[0]
    # What was corrected elsewhere says nothing of where it came from.
    write_png(labels, np.ones((6, 9), np.uint8))
    assert again("monday", value=0)[1] == 1
