"""A real scheduler and worker processes; one of them dies."""

import functools
import os
import signal
import time

import numpy as np
import pytest
from PIL import Image

from unetpp import UNetPP
from unetpp.bundle import Bundle, save_bundle
from unetpp.data.normalization import Normalization
from unetpp.data.synthetic import draw
from unetpp.errors import ClusterError, ImageError
from unetpp.export import add_graph
from unetpp.inference.folder import Folder, predict_folder
from unetpp.inference.jobs import find_jobs
from unetpp.inference.predict import open_predictor

pytest.importorskip("distributed", reason="the extra [cluster] is not installed")

from unetpp.inference.cluster import Model, connect, spread


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    network = UNetPP((None, None, 3), 3, filters=(4, 8))
    settings = {name: value for name, value in network.get_config().items() if name != "name"}
    folder = tmp_path_factory.mktemp("models") / "small"
    save_bundle(
        folder, Bundle("UNetPP", settings, tuple("abc"), Normalization((0.1,) * 3, (0.2,) * 3)), network
    )
    add_graph(folder)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for k in range(8):
        Image.fromarray(draw(k, (64, 80))[0]).save(folder / f"{k}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def client():
    with connect(workers=2) as client:
        yield client


def slowly(piece, ready, predictor):
    """A piece of work that takes its time, and says that it has begun."""
    ready.write_text(str(os.getpid()))
    time.sleep(1)
    piece(predictor)


def test_a_worker_that_dies_has_its_work_done_by_another(client, model, images, tmp_path):
    bundle, predictor = open_predictor(model, precision="float32")
    jobs = find_jobs([str(images)])
    alone = predict_folder(jobs, predictor, tmp_path / "alone", classes=bundle.classes)

    folder = Folder(jobs, predictor, tmp_path / "spread", classes=bundle.classes)
    slow = [functools.partial(slowly, piece, tmp_path / f"pid{k}") for k, piece in enumerate(folder.pieces)]
    folder.owner |= {id(new): folder.owner[id(old)] for new, old in zip(slow, folder.pieces, strict=True)}
    folder.pieces = slow
    killed = []

    def execute(pieces):
        for piece, error in spread(client, Model((str(model),), (("precision", "float32"),)))(pieces):
            yield piece, error
            busy = [int(path.read_text()) for path in tmp_path.glob("pid*")]
            if not killed:
                killed.append(busy[-1])
                os.kill(busy[-1], signal.SIGKILL)

    failures = folder.run(execute)
    assert killed
    assert [str(error) for error in failures] == [str(error) for error in alone]
    assert isinstance(failures[0], ImageError)
    names = sorted(path.name for path in (tmp_path / "alone" / "labels").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "spread" / "labels").iterdir())
    assert len(names) == 8
    for name in names:
        one, other = (np.asarray(Image.open(tmp_path / how / "labels" / name)) for how in ("alone", "spread"))
        np.testing.assert_array_equal(one, other)


def test_nobody_at_an_address_is_said_within_ten_seconds():
    begun = time.monotonic()
    with (
        pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers"),
        connect("tcp://127.0.0.1:9"),
    ):
        pass
    assert time.monotonic() - begun < 20
