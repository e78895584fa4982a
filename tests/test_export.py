"""The runtime graph is the network."""

import json
import shutil

import keras
import numpy as np
import pytest
from disks import fill, mounted

from unetpp import UNet, UNetPP
from unetpp.bundle import DESCRIPTION, GRAPH, Bundle, read_bundle, save_bundle, verified
from unetpp.data.normalization import Normalization
from unetpp.errors import BundleError, OutputError
from unetpp.export import add_graph
from unetpp.inference.engine import keras_engine, openvino_engine

IMAGES = np.random.default_rng(0).normal(0, 1, (2, 32, 48, 3)).astype(np.float32)


def bundle_of(model, folder):
    settings = {name: value for name, value in model.get_config().items() if name != "name"}
    classes = tuple("abc"[: max(2, model.get_config()["num_classes"])])
    description = Bundle(type(model).__name__, settings, classes, Normalization((0.5,) * 3, (0.2,) * 3))
    save_bundle(folder, description, model)
    add_graph(folder)
    return folder


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A network with a head on every level, and its bundle."""
    keras.utils.set_random_seed(1)
    model = UNetPP((None, None, 3), 3, filters=(4, 6, 8), deep_supervision=True)
    return model, bundle_of(model, tmp_path_factory.mktemp("bundles") / "deep")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"inner_filters": "level", "normalization": "group", "upsampling": "bilinear"},
        {"activation": "relu", "normalization": None, "num_classes": 1},
    ],
)
def test_the_graph_computes_what_keras_computes(settings, tmp_path):
    model = UNetPP((None, None, 3), **{"num_classes": 3, "filters": (4, 8, 16), **settings})
    graph = verified(bundle_of(model, tmp_path / "m"), read_bundle(tmp_path / "m"), GRAPH)
    found = openvino_engine(graph, precision="float32")(IMAGES)
    assert found.dtype == np.float32
    # The graph keeps its weights in float16.
    np.testing.assert_allclose(found, keras_engine(model)(IMAGES), atol=5e-3)


def test_unet_has_a_graph_too(tmp_path):
    model = UNet((None, None, 3), 2, filters=(4, 8))
    found = openvino_engine(bundle_of(model, tmp_path / "m") / GRAPH, precision="float32")(IMAGES)
    np.testing.assert_allclose(found, keras_engine(model)(IMAGES), atol=5e-3)


def test_any_height_and_width_of_whole_cells_fits(deep):
    run = openvino_engine(deep[1] / GRAPH)
    for size in ((4, 4), (64, 12), (8, 100)):
        assert run(np.zeros((1, *size, 3), np.float32)).shape == (1, *size, 3)


def test_every_level_is_an_output(deep):
    model, folder = deep
    for level in (1, 2):
        found = openvino_engine(folder / GRAPH, precision="float32", output=level - 1)(IMAGES)
        np.testing.assert_allclose(found, keras_engine(model.pruned(level))(IMAGES), atol=5e-3)


def test_a_shallow_level_computes_less(deep):
    import openvino

    from unetpp.inference.engine import _only

    graph = openvino.Core().read_model(deep[1] / GRAPH)
    sizes = [len(_only(graph.clone(), output).get_ops()) for output in (0, 1)]
    assert sizes[0] < 0.7 * sizes[1]


def test_the_weights_take_half_the_room(deep):
    model, folder = deep
    assert (folder / "graph.bin").stat().st_size < 3 * model.count_params()


def test_a_damaged_graph_is_refused_by_name(deep, tmp_path):
    folder = shutil.copytree(deep[1], tmp_path / "copy")
    graph = folder / "graph.bin"
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"graph.bin is damaged"):
        verified(folder, read_bundle(folder), GRAPH)


def test_a_graph_that_is_none_is_refused(tmp_path):
    graph = tmp_path / GRAPH
    graph.write_text("<net/>")
    with pytest.raises(BundleError, match="cannot be compiled"):
        openvino_engine(graph)


def test_making_it_again_changes_nothing_else(deep):
    before = json.loads((deep[1] / DESCRIPTION).read_text())
    add_graph(deep[1])
    after = json.loads((deep[1] / DESCRIPTION).read_text())
    assert {k: v for k, v in before.items() if k != "sha256"} == {
        k: v for k, v in after.items() if k != "sha256"
    }
    assert sorted(path.name for path in deep[1].iterdir()) == [
        "bundle.json",
        "graph.bin",
        "graph.xml",
        "weights.weights.h5",
    ]


def test_a_full_disk_leaves_the_model_and_says_so(deep, tmp_path):
    with mounted(tmp_path, 1 << 20) as disk:
        folder = shutil.copytree(deep[1], disk / "m")
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        fill(disk / "full")
        with pytest.raises(OutputError, match="the graph cannot be written"):
            add_graph(folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
