"""A bundle is read back as it was saved, or refused by name."""

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from disks import fill, mounted

from unetpp import UNet, UNetPP
from unetpp.bundle import (
    DESCRIPTION,
    FORMAT,
    WEIGHTS,
    Bundle,
    find_bundle,
    load_model,
    read_bundle,
    save_bundle,
)
from unetpp.data.normalization import Normalization
from unetpp.data.resample import Scaling
from unetpp.errors import BundleError, OutputError, SettingError
from unetpp.inference.predict import open_predictor
from unetpp.model.policy import policy


def saved(folder, network=UNetPP, **settings):
    model = network((None, None, 1), 2, filters=(4, 8), **settings)
    config = {name: value for name, value in model.get_config().items() if name != "name"}
    bundle = Bundle(
        network.__name__, config, ("nothing", "thing"), Normalization((0.25,), (0.5,)), Scaling(64)
    )
    return model, save_bundle(folder, bundle, model)


@pytest.mark.parametrize("network", [UNetPP, UNet])
def test_a_bundle_gives_back_the_model_and_its_description(network, tmp_path):
    model, bundle = saved(tmp_path / "model", network)
    again, rebuilt = load_model(tmp_path / "model")
    assert again.classes == bundle.classes
    assert (again.normalization, again.scaling) == (Normalization((0.25,), (0.5,)), Scaling(64))
    assert type(rebuilt) is network
    image = np.random.default_rng(0).random((1, 16, 32, 1), np.float32)
    np.testing.assert_allclose(rebuilt.predict(image, verbose=0), model.predict(image, verbose=0), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "saying"),
    [
        ({"network": "Mine"}, "a model cannot have such network"),
        ({"normalization": Normalization((0.25,), (0.0,))}, "cannot have such normalization"),
        ({"normalization": Normalization((0.2,) * 3, (0.1,) * 3)}, "sees 1 channels, and 3 are normalised"),
        ({"classes": ("nothing", "thing", "more")}, "tells 2 classes apart, 3 have names"),
        ({"seams": True}, "tells 2 classes apart, 3 have names"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(changes, saying, tmp_path):
    model, bundle = saved(tmp_path / "model")
    before = (tmp_path / "model" / "bundle.json").read_bytes()
    with pytest.raises(SettingError, match=saying):
        save_bundle(tmp_path / "model", replace(bundle, **changes), model)
    assert (tmp_path / "model" / "bundle.json").read_bytes() == before
    one = UNetPP((None, None, 1), 1, filters=(4, 8))
    save_bundle(tmp_path / "model", replace(bundle, settings=one.get_config()), one)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_of_what_the_network_in_training_is_its_arguments_are_kept(precision, tmp_path):
    with policy(precision):
        model = UNetPP((None, None, 1), 2, filters=(4, 8), kernel_regularizer="l2")
    model.get_layer("x_0_0_conv_a").trainable = False
    mean = np.array([0.25], np.float32)
    bundle = Bundle("UNetPP", model.get_config(), ("nothing", "thing"), Normalization(tuple(mean), (0.5,)))
    save_bundle(tmp_path / "model", bundle, model)
    again, rebuilt = load_model(tmp_path / "model")
    assert again.normalization == Normalization((0.25,), (0.5,))
    assert rebuilt.compute_dtype == "float32"
    assert rebuilt.get_layer("x_0_0_conv_a").trainable
    for kept, given in zip(rebuilt.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, given)


def test_the_optimiser_s_state_is_left_out(tmp_path):
    model, _ = saved(tmp_path / "plain")
    model.compile()
    model.fit(np.zeros((1, 8, 8, 1), np.float32), np.zeros((1, 8, 8), np.int32), verbose=0)
    saved_bundle = read_bundle(tmp_path / "plain")
    save_bundle(tmp_path / "trained", saved_bundle, model)
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("plain", "trained")]
    assert sizes[0] == sizes[1]
    assert model.optimizer is not None


def test_a_network_of_a_fixed_size_is_read_back_free(tmp_path):
    model = UNetPP((32, 32, 1), 2, filters=(4, 8))
    scale = Normalization((0.25,), (0.5,))
    save_bundle(tmp_path, Bundle("UNetPP", model.get_config(), ("nothing", "thing"), scale), model)
    _, predictor = open_predictor(str(tmp_path))
    assert predictor(np.zeros((30, 41, 1), np.uint8)).shape == (30, 41, 2)


def test_jax_which_compiles_a_network_for_each_size_sees_few(tmp_path):
    saved(tmp_path)
    seen = set()
    _, predictor = open_predictor(tmp_path, engine="keras")
    watched = replace(
        predictor, engine=lambda image: [seen.add(image.shape[1:3]), predictor.engine(image)][1]
    )
    for size in ((64, 40), (64, 64), (30, 64)):
        image = np.random.default_rng(0).integers(0, 256, (*size, 1), np.uint8)
        assert watched(image).shape == (*size, 2)
    few, all_three = {(128, 128)}, {(64, 64), (32, 64)}
    assert seen == (few if keras.backend.backend() == "jax" else all_three)


def test_a_run_folder_stands_for_its_model(tmp_path):
    saved(tmp_path / "model")
    assert read_bundle(tmp_path) == read_bundle(tmp_path / "model")


def test_saving_again_replaces_the_bundle_and_leaves_nothing_else(tmp_path):
    saved(tmp_path / "model")
    model, _ = saved(tmp_path / "model")
    _, rebuilt = load_model(tmp_path / "model")
    np.testing.assert_array_equal(rebuilt.get_weights()[0], model.get_weights()[0])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@contextmanager
def no_file_larger_than(size):
    """Writing beyond so many bytes fails, as on a full disk."""
    resource = pytest.importorskip("resource", reason="Windows limits no file's size")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("room", [0, 100, 5000])
def test_a_bundle_that_cannot_be_written_leaves_the_old_one(room, tmp_path):
    saved(tmp_path / "model")
    before = read_bundle(tmp_path)
    with no_file_larger_than(room), pytest.raises(OutputError, match="File too large"):
        saved(tmp_path / "model")
    assert load_model(tmp_path)[0] == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_full_disk_leaves_the_old_bundle(beyond, tmp_path):
    with mounted(tmp_path, 2**20):
        model, _ = saved(tmp_path / "model")
        bundle = read_bundle(tmp_path)
        pages = -(-(tmp_path / "model" / WEIGHTS).stat().st_size // 4096)
        # Without room for the weights, and with room for them alone.
        fill(tmp_path / "filler", leave=4096 * pages * beyond)
        with pytest.raises(OutputError, match="No space left"):
            save_bundle(tmp_path / "model", bundle, model)
        assert load_model(tmp_path)[0] == bundle
        (tmp_path / "filler").unlink()
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
        save_bundle(tmp_path / "model", bundle, model)


def test_between_its_two_names_a_bundle_is_found_and_restored(tmp_path):
    model, _ = saved(tmp_path / "model")
    bundle = read_bundle(tmp_path)
    for path in (tmp_path, tmp_path / "model"):
        (tmp_path / "model").rename(tmp_path / ".model.old")
        assert load_model(path)[0] == bundle
        with no_file_larger_than(0), pytest.raises(OutputError):
            save_bundle(tmp_path / "model", bundle, model)
        assert read_bundle(tmp_path / "model") == bundle
        assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_bundle_keeps_its_name_if_the_new_one_cannot_have_it(tmp_path, monkeypatch):
    model, _ = saved(tmp_path / "model")
    bundle, rename = read_bundle(tmp_path), Path.rename

    def refuse(path, target):
        if path.name == ".model.new":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        save_bundle(tmp_path / "model", bundle, model)
    assert load_model(tmp_path / "model")[0] == bundle
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def change(**values):
    def apply(folder):
        path = folder / DESCRIPTION
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return apply


def normalization(**values):
    return {"mean": [0.25], "std": [0.5], "per_image": False, **values}


def truncate(name):
    def apply(folder):
        (folder / name).write_bytes((folder / name).read_bytes()[:100])

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change(format=FORMAT + 1), "update the clone"),
        (change(format=None), "not a model's description"),
        (change(network="os.system"), "damaged at network"),
        (change(classes=[]), "damaged at classes"),
        (change(normalization=normalization(mean=[float("nan")])), "damaged at normalization"),
        (change(normalization=normalization(std=[0.0])), "damaged at normalization"),
        (change(normalization=normalization(std=[1.0, 1.0])), "damaged at normalization"),
        (change(normalization=None), "damaged at normalization"),
        (change(scaling={"long_side": -3, "largest": None, "scale": 1.0}), "damaged at scaling"),
        (change(scaling={"long_side": None, "largest": None, "scale": 0}), "damaged at scaling"),
        (change(scaling={"surprise": 1}), "damaged at scaling"),
        (change(objects=["nucleus"]), "damaged at objects"),
        (change(objects={"split": "nucleus"}), "damaged at objects"),
        (change(objects={"thin": [1]}), "damaged at objects"),
        (change(objects={"smallest": -1}), "damaged at objects"),
        (change(objects={"surprise": 1}), "damaged at objects"),
        (change(settings={"filters": [4]}), "do not fit"),
        (change(settings={"surprise": 1}), "do not fit"),
        (change(sha256={}), "weights.h5 is damaged"),
        (change(sha256="0"), "damaged at sha256"),
        (change(sha256={"../x": "0"}), "damaged at sha256"),
        (truncate(DESCRIPTION), "cannot be read"),
        (truncate(WEIGHTS), "weights.h5 is damaged"),
        (lambda folder: (folder / WEIGHTS).unlink(), "weights.h5 is missing"),
        (lambda folder: (folder / DESCRIPTION).unlink(), "no model is here"),
    ],
)
def test_a_damaged_bundle_is_refused_by_name(damage, message, tmp_path):
    saved(tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(BundleError, match=message):
        load_model(tmp_path / "model")


def test_a_missing_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"no such folder; give a run folder of .* in it$"):
        read_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"no such folder; .*found by name in a clone$"):
        read_bundle(Path("nowhere"))


def test_a_model_that_ships_in_a_clone_is_found_by_its_name(tmp_path, monkeypatch):
    saved(tmp_path / "models" / "mine")
    monkeypatch.chdir(tmp_path)
    assert find_bundle(Path("mine")) == Path("models/mine")
    # A folder of other things does not hide it; a model of one's own, and a run without one, do.
    (tmp_path / "mine").mkdir()
    assert find_bundle("mine") == Path("models/mine")
    (tmp_path / "mine" / "plan.json").write_text("{}")
    for path in ("mine", "other/mine", "yours"):
        with pytest.raises(BundleError):
            find_bundle(Path(path))
    saved(tmp_path / "mine" / "model")
    assert find_bundle("mine") == Path("mine/model")
