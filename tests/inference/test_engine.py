"""The engine's settings, its cache, and what it refuses."""

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import openvino
import psutil
import pytest
from openvino import opset13 as ops

from unetpp.errors import SettingError
from unetpp.inference.engine import KEPT, check_device, openvino_core, openvino_engine

NUCLEI = Path(__file__).parents[2] / "models" / "nuclei" / "int8.xml"


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A graph that averages 3 x 3 pixels."""
    images = ops.parameter([-1, -1, -1, 1], np.float32)
    planes = ops.transpose(images, np.array([0, 3, 1, 2]))
    mean = ops.convolution(planes, np.full((1, 1, 3, 3), 1 / 9, np.float32), [1, 1], [1, 1], [1, 1], [1, 1])
    path = tmp_path_factory.mktemp("graph") / "mean.xml"
    openvino.save_model(openvino.Model([ops.transpose(mean, np.array([0, 2, 3, 1]))], [images]), path)
    return path


def mean_of(image):
    padded = np.pad(image[0, ..., 0], 1)
    return sum(padded[r : r + image.shape[1], c : c + image.shape[2]] for r in range(3) for c in range(3)) / 9


IMAGE = np.random.default_rng(0).random((1, 20, 30, 1), np.float32)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("auto", 1e-2)])
def test_the_graph_is_run(graph, precision, tolerance):
    found = openvino_engine(graph, precision=precision)(IMAGE)
    np.testing.assert_allclose(found[0, ..., 0], mean_of(IMAGE), atol=tolerance)


def test_threads_share_an_engine(graph):
    run, found = openvino_engine(graph, precision="float32", threads=2), {}

    def work(k):
        image = np.full((1, 16, 16 + 16 * k, 1), k, np.float32)
        for _ in range(20):
            found[k] = run(image)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        assert found[k].shape == (1, 16, 16 + 16 * k, 1)
        np.testing.assert_allclose(found[k][0, 1:-1, 1:-1], k, rtol=1e-3)


def test_images_of_ever_new_sizes_take_no_more_memory():
    run, sizes = openvino_engine(NUCLEI, threads=1), itertools.product(range(16, 81, 16), range(16, 97, 16))
    taken = []
    for height, width in sizes:
        run(np.zeros((1, height, width, 3), np.float32))
        taken.append(psutil.Process().memory_info().rss)
    # 10 to 20 MB a size if all were kept.
    assert taken[-1] - taken[9] < 1e8


def test_a_result_stays_when_the_next_image_is_run(graph):
    run = openvino_engine(graph, precision="float32")
    first = run(IMAGE)
    kept = first.copy()
    run(np.zeros_like(IMAGE))
    np.testing.assert_array_equal(first, kept)


def test_a_cache_is_filled_and_used(graph, tmp_path):
    openvino_engine(graph, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir())
    np.testing.assert_allclose(
        openvino_engine(graph, cache=tmp_path / "cache")(IMAGE)[0, ..., 0], mean_of(IMAGE), atol=0.01
    )


def test_a_damaged_cache_is_made_again(graph, tmp_path):
    openvino_engine(graph, cache=tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(b"not a graph")
    np.testing.assert_allclose(
        openvino_engine(graph, cache=tmp_path)(IMAGE)[0, ..., 0], mean_of(IMAGE), atol=0.01
    )


def test_a_cache_keeps_the_newest_graphs_alone(graph, tmp_path):
    for age in range(40):
        old = tmp_path / f"{age}.blob"
        old.touch()
        os.utime(old, (1e9 - age, 1e9 - age))
    openvino_engine(graph, cache=tmp_path)
    left = {path.name for path in tmp_path.glob("*.blob")}
    assert len(left) == KEPT
    assert {f"{age}.blob" for age in range(KEPT - 1)} < left


def test_a_cache_that_cannot_be_made_is_done_without(graph, tmp_path):
    (tmp_path / "file").write_text("in the way")
    np.testing.assert_allclose(
        openvino_engine(graph, cache=tmp_path / "file" / "cache")(IMAGE)[0, ..., 0], mean_of(IMAGE), atol=0.01
    )


def test_what_the_device_does_not_have_is_refused_by_name():
    core = openvino_core()
    with pytest.raises(SettingError, match=r"no device TPU.*CPU"):
        check_device(core, "TPU", "auto")
    with pytest.raises(SettingError, match=r"no precision int4.*bfloat16"):
        check_device(core, "CPU", "int4")


class OldProcessor:
    """What OpenVINO says of a processor without bfloat16."""

    available_devices = ("CPU",)

    def get_property(self, device, name):
        return ["FP32", "INT8"]


def test_a_processor_without_bfloat16_says_so():
    check_device(OldProcessor(), "CPU", "float32")
    with pytest.raises(SettingError, match=r"does not compute in bfloat16.*--precision float32"):
        check_device(OldProcessor(), "CPU", "bfloat16")


def test_nothing_is_told_to_the_internet(tmp_path):
    code = "import sys; from unetpp.inference.engine import openvino_core; openvino_core();"
    code += "print(sys.modules['openvino_telemetry'])"
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "None"
    # Where OpenVINO's own module keeps the number by which it knows who reports.
    assert not (tmp_path / "intel").exists()
