"""Levels, pruned models and 8-bit graphs of a model that is trained on drawn micrographs."""

import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from unetpp import UNetPP
from unetpp.bundle import GRAPH, INT8, Bundle, read_bundle, save_bundle
from unetpp.data.dataset import Sample, find_samples
from unetpp.data.images import as_float, read_image, write_png
from unetpp.data.masks import read_mask
from unetpp.data.normalization import Normalization
from unetpp.data.synthetic import CLASSES, write_dataset
from unetpp.errors import BundleError, OutputError, SettingError, UnetppError
from unetpp.export import add_graph, save_pruned
from unetpp.inference import quantize as quantizing
from unetpp.inference.engine import openvino_core
from unetpp.inference.levels import measure_levels
from unetpp.inference.predict import open_predictor
from unetpp.inference.quantize import most_lost, quantize, spread_over

NORMALIZATION = Normalization((0.3,) * 3, (0.3,) * 3)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Drawn micrographs."""
    folder = tmp_path_factory.mktemp("drawn")
    write_dataset(folder, 14, seed=3, size=(96, 96))
    return find_samples(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """A bundle whose three levels know background from cells."""
    keras.utils.set_random_seed(0)
    settings = {
        "num_classes": len(CLASSES),
        "filters": (8, 12, 16, 20),
        "deep_supervision": True,
        "normalization": "group",
    }
    model = UNetPP((None, None, 3), **settings)
    images = NORMALIZATION(np.stack([as_float(read_image(sample.image)) for sample in data]))
    masks = np.stack([read_mask(sample.mask, len(CLASSES)) for sample in data])
    truth = np.eye(len(CLASSES), dtype=np.float32)[masks]
    model.compile(keras.optimizers.Adam(0.01), loss="categorical_crossentropy")
    model.fit(images, truth, batch_size=7, epochs=15, verbose=0)
    folder = tmp_path_factory.mktemp("bundle") / "model"
    config = {name: value for name, value in model.get_config().items() if name != "name"}
    save_bundle(folder, Bundle("UNetPP", config, tuple(CLASSES), NORMALIZATION), model)
    add_graph(folder)
    return folder


@pytest.fixture(scope="module")
def quantized(trained, data, tmp_path_factory):
    """A copy with a graph in 8-bit integers, and what `quantize` gave and said; it takes half a minute."""
    copy, said = shutil.copytree(trained, tmp_path_factory.mktemp("quantized") / "model"), []
    with pytest.MonkeyPatch.context() as patch:
        # So few and small images score no finer.
        patch.setattr(quantizing, "MOST_LOST", 0.1)
        return copy, quantize(copy, data, say=said.append), said


@pytest.fixture(scope="module")
def pruned(trained, tmp_path_factory):
    """The bundle of each level that is cut off at it."""
    folder = tmp_path_factory.mktemp("pruned")
    for level in (1, 2, 3):
        save_pruned(trained, level, folder / str(level))
    return {level: folder / str(level) for level in (1, 2, 3)}


@pytest.fixture
def bundle(trained, tmp_path):
    """A copy to work on."""
    return shutil.copytree(trained, tmp_path / "model")


def test_levels_are_scored_each_in_its_own_process(trained, data):
    found = dict(measure_levels(trained, data))
    assert list(found) == [1, 2, 3]
    for level, result in found.items():
        labels = open_predictor(trained, level=level)[1].labels(read_image(data[0].image))
        assert labels.shape == (96, 96)
        assert result["images"] == len(data)
        assert result["seconds"] > 0
        assert result["memory"] > 5e7
    assert found[3]["classes"]["background"]["iou"] > 0.7


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_pruned_model_predicts_as_the_level_it_was_cut_off_at(trained, pruned, data, level):
    image = read_image(data[0].image)
    cut = read_bundle(pruned[level])
    assert (cut.level, cut.levels) == (level, [level])
    for engine in ("keras", "openvino"):
        found = open_predictor(pruned[level], engine=engine, precision="float32")[1](image)
        whole = open_predictor(trained, level=level, engine="keras")[1](image)
        np.testing.assert_allclose(found, whole, atol=5e-3)
    with pytest.raises(SettingError, match="no level"):
        open_predictor(pruned[level], level=4)


def test_a_shallower_model_is_smaller_and_may_be_cut_again(pruned, tmp_path):
    save_pruned(pruned[1], 1, tmp_path / "again")
    cut = [pruned[3], pruned[2], pruned[1], tmp_path / "again"]
    three, two, one, again = (sum(path.stat().st_size for path in folder.iterdir()) for folder in cut)
    assert three > two > one
    assert again == pytest.approx(one, rel=0.01)


def test_pruning_replaces_models_only_and_only_if_told(trained, pruned, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="exists"):
            save_pruned(trained, 1, tmp_path / "mine", overwrite=overwrite)
    shutil.copytree(pruned[2], tmp_path / "cut")
    with pytest.raises(OutputError, match="exists"):
        save_pruned(trained, 1, tmp_path / "cut")
    save_pruned(trained, 1, tmp_path / "cut", overwrite=True)
    assert read_bundle(tmp_path / "cut").level == 1
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_level_that_is_not_there_is_not_cut(trained, tmp_path):
    with pytest.raises(SettingError, match="no level 7"):
        save_pruned(trained, 7, tmp_path / "cut")
    assert not (tmp_path / "cut").exists()


def test_int8_becomes_the_default_where_it_scores_as_well(quantized, data):
    bundle, (before, after, found), said = quantized
    assert most_lost(before, after) <= 0.1
    assert found == read_bundle(bundle)
    assert found.graph == INT8
    assert "u8" in (bundle / INT8).read_text() or "i8" in (bundle / INT8).read_text()
    image = read_image(data[0].image)
    by_default, exact = (
        open_predictor(bundle)[1](image),
        open_predictor(bundle, precision="float32")[1](image),
    )
    np.testing.assert_array_equal(by_default, open_predictor(bundle, precision="int8")[1](image))
    assert not np.array_equal(by_default, exact)
    assert np.mean(by_default.argmax(-1) == exact.argmax(-1)) > 0.97
    assert said
    assert floating(bundle / INT8) == 1


def floating(graph):
    """How many convolutions of a graph have no integers for weights."""
    nodes = quantizing.convolutions(openvino_core().read_model(graph))
    weights = [node.input(1).get_source_output().get_node().get_type_name() for node in nodes]
    # Integers are multiplied by their scale.
    assert set(weights) <= {"Convert", "Constant", "Multiply"}
    return sum(kind != "Multiply" for kind in weights)


def test_images_to_calibrate_on_are_spread_over_all():
    samples = [Sample(str(k), Path(), Path()) for k in range(95)]
    chosen = [int(sample.stem) for sample in spread_over(samples, 48)]
    assert (len(set(chosen)), chosen[0], chosen[-1]) == (48, 0, 94)
    assert max(np.diff(chosen)) == 2
    assert spread_over(samples[:5], 48) == samples[:5]


def test_int8_is_not_the_default_where_a_class_loses_by_it(bundle, data, monkeypatch):
    monkeypatch.setattr(quantizing, "MOST_LOST", -1.0)
    before, _, found = quantize(bundle, data)
    assert found.graph == GRAPH
    image = read_image(data[0].image)
    np.testing.assert_array_equal(
        open_predictor(bundle)[1](image), open_predictor(bundle, precision="auto")[1](image)
    )
    # It is there on request, with all at full resolution in floating point: of 4 levels twice 4 in blocks, 3 that raise
    # and 3 heads.
    assert floating(bundle / INT8) == 8 + 3 + 3
    found = open_predictor(bundle, precision="int8")[1].labels(image)
    assert np.mean(found == open_predictor(bundle)[1].labels(image)) > 0.97
    assert before["mean_iou"] > 0


def test_a_model_is_as_it_was_where_images_to_quantise_with_fail(quantized, data, tmp_path):
    bundle = shutil.copytree(quantized[0], tmp_path / "model")
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    write_png(tmp_path / "wrong.png", np.full((96, 96), 7, np.uint8))
    with pytest.raises(UnetppError):
        quantize(bundle, [*data, replace(data[0], mask=tmp_path / "wrong.png")])
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_a_class_that_vanishes_loses_all():
    before = {"classes": {"a": {"iou": 0.9}, "b": {"iou": None}, "c": {"iou": 0.4}}}
    after = {"classes": {"a": {"iou": 0.95}, "b": {"iou": 0.0}, "c": {"iou": None}}}
    assert most_lost(before, after) == pytest.approx(0.4)


def test_a_model_without_int8_says_how_to_make_it(bundle):
    with pytest.raises(SettingError, match="quantize"):
        open_predictor(bundle, precision="int8")


def test_a_damaged_int8_graph_is_named(quantized, tmp_path):
    bundle = shutil.copytree(quantized[0], tmp_path / "model")
    (bundle / "int8.bin").write_bytes(b"")
    with pytest.raises(BundleError, match=r"int8\.bin is damaged"):
        open_predictor(bundle, precision="int8")
