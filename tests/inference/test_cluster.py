"""A real scheduler and worker processes; one of them dies."""

import functools
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unetpp import UNetPP
from unetpp.app.run import run_prediction
from unetpp.bundle import Bundle, save_bundle
from unetpp.data.normalization import Normalization
from unetpp.data.synthetic import draw
from unetpp.errors import ClusterError, ImageError
from unetpp.export import add_graph
from unetpp.inference import cluster
from unetpp.inference.folder import Folder, predict_folder
from unetpp.inference.jobs import find_jobs
from unetpp.inference.predict import open_predictor

pytest.importorskip("distributed", reason="the extra [cluster] is not installed")

from unetpp.inference.cluster import Model, _run, connect, spread


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
    time.sleep(0.4)
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


def test_workers_elsewhere_find_the_model_and_write_where_the_command_was_given(
    client, model, images, tmp_path, monkeypatch
):
    shutil.copytree(model, tmp_path / "models" / "by_name")
    (tmp_path / "images").mkdir()
    shutil.copy(images / "0.png", tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    # The workers' own folder is another.
    options = {"engine": {"engine": "auto"}, "cluster": client.scheduler.address}
    assert not run_prediction([Path("by_name")], ["images"], Path("out"), **options)
    assert (tmp_path / "out" / "labels" / "0.png").is_file()


def test_a_scheduler_that_is_gone_is_named(model, images, tmp_path):
    bundle, predictor = open_predictor(model)
    folder = Folder(find_jobs([str(images)]), predictor, tmp_path / "out", classes=bundle.classes)
    with connect(workers=1) as client:
        done = spread(client, Model((str(model),)))(folder.pieces)
        next(done)
        client.cluster.close()
        with pytest.raises(ClusterError, match="the Dask scheduler is gone"):
            list(done)


def test_another_model_in_the_place_of_one_is_opened_anew_and_by_threads_once(monkeypatch):
    opened, used = [], []

    def open_slowly(paths, **options):
        time.sleep(0.05)
        opened.append(paths)
        return [], f"predictor {len(opened)}"

    monkeypatch.setattr("unetpp.inference.cluster.open_predictors", open_slowly)
    for identity in ("first", "second"):
        model = Model(("here",), identity=identity)
        workers = [threading.Thread(target=_run, args=(used.append, model)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert used == 4 * ["predictor 1"] + 4 * ["predictor 2"]


def test_nobody_at_an_address_is_said_in_time(monkeypatch):
    begun = time.monotonic()
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 2)
    with (
        pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers"),
        connect("tcp://127.0.0.1:9"),
    ):
        pass
    assert time.monotonic() - begun < 10
