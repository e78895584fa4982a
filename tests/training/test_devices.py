"""A run is the same on one device and on many, of one process and of several, and goes on with another backend."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from runs import OPTIONS, Watcher, planned

from unetpp.data.dataset import find_samples
from unetpp.data.synthetic import CLASSES, write_dataset
from unetpp.errors import SettingError
from unetpp.training import devices, fit
from unetpp.training.checkpoints import load_checkpoint
from unetpp.training.options import Options
from unetpp.training.plan import make_plan
from unetpp.training.planfile import load_plan
from unetpp.training.schedule import Budget

needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason='needs pip install ".[jax]"')


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, 6, size=(64, 64), seed=5)
    return find_samples(folder)


# Trains, or goes on with, the runs RUN:DEVICES that it is given.
SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
from unetpp.training import fit
from unetpp.training.planfile import load_plan
from unetpp.training.schedule import Budget

fit.add_graph = lambda run: None


class Report:
    def step(self, budget, loss): pass
    def warn(self, line): print(line)
    def epoch(self, row): pass


def told(make):
    def made(plan):
        model = make(plan)
        print("on", len(model.weights[0].value.sharding.device_set))
        return model
    return made
fit.bare, fit.build = told(fit.bare), told(fit.build)

for argument in sys.argv[1:]:
    run, count = argument.rsplit(":", 1)
    plan = load_plan(Path(run))
    plan = replace(plan, options=replace(plan.options, devices=int(count)))
    fit.train(plan, Path(run), Budget(), report=Report(), resume=True)
"""


def begin(*command, virtual=1):
    """Python on JAX with so many virtual devices."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={virtual}"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(process):
    """What it printed, once it has succeeded."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return out


def state(run):
    """A run's progress, and its last network."""
    model = fit.build(load_plan(run))
    return load_checkpoint(run / "checkpoints", model), model


def assert_same_run(first, second):
    """Equal within rounding: the losses, and what the last networks say of an image."""
    (one, network), (other, other_network) = state(first), state(second)
    assert one.steps == other.steps == 20
    for name in ("loss", "mean_iou", "learning_rate"):
        np.testing.assert_allclose(
            [r[name] for r in one.history], [r[name] for r in other.history], rtol=1e-4
        )
    # Not the weights: biases before a normalisation have no gradient but rounding's, which Adam enlarges.
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    np.testing.assert_allclose(network(images), other_network(images), atol=1e-3)


@pytest.fixture(scope="module")
def alone(samples, tmp_path_factory):
    """A run on one device of JAX, and one of this suite's backend that went on there with two."""
    folder = tmp_path_factory.mktemp("alone")
    for name in ("one", "two"):
        planned(samples, folder / name, epochs=2)
    plan = planned(samples, folder / "half", epochs=2)
    begun = replace(plan, options=replace(plan.options, epochs=1))
    fit.train(begun, folder / "half", Budget(), report=Watcher())
    runs = [f"{folder / 'one'}:1", f"{folder / 'two'}:2", f"{folder / 'half'}:2"]
    out = end(begin("-c", SCRIPT, *runs, virtual=2))
    # The twin, which validates on one device, and the network in training.
    assert re.findall(r"on (\d)", out) == ["1", "1", "1", "2", "1", "2"]
    return folder


@needs_jax
def test_two_devices_train_like_one(alone):
    assert_same_run(alone / "one", alone / "two")


@needs_jax
def test_two_processes_that_form_a_job_train_like_one(samples, alone, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = (
        "--filters 4,8 --patch 32 --batch 4 --precision float32 --learning-rate 1e-2 --dropout 0.2 --epochs 2"
    )
    command = [
        "-m",
        "unetpp",
        "train",
        samples[0].image.parents[1],
        "--out",
        tmp_path / "job",
        *options.split(),
    ]
    processes = [begin(*command, "--job", f"127.0.0.1:{port},2,{k}") for k in range(2)]
    told = [end(process) for process in processes]
    assert "2, data-parallel" in told[0]
    # Gloo, which carries their sums, says on its own that it is there.
    assert not [line for line in told[1].splitlines() if not line.startswith("[Gloo]")]
    assert_same_run(alone / "one", tmp_path / "job")


@needs_jax
def test_a_run_goes_on_with_another_backend_and_more_devices_and_back(alone):
    progress, _ = state(alone / "half")
    assert [row["epoch"] for row in progress.history] == [1, 2]
    assert progress.steps == 20
    plan = load_plan(alone / "half")
    plan = replace(plan, options=replace(plan.options, epochs=3))
    watcher = Watcher()
    fit.train(plan, alone / "half", Budget(), report=watcher, resume=True)
    assert [row["epoch"] for row in watcher.rows] == [3]
    assert watcher.rows[0]["loss"] < progress.history[0]["loss"]


def test_devices_share_a_batch_equally(samples):
    with pytest.raises(SettingError, match=r"--batch cannot be 4; give a multiple of 3"):
        Options(batch=4, devices=3)
    plan = make_plan(samples, Options(filters=(4, 8), devices=12), CLASSES)
    assert plan.options.batch == 12
    assert plan.reasons["batch"] == "one a device"


def test_shares_of_a_batch_make_up_the_whole(samples):
    plan = make_plan(samples, Options(**OPTIONS), CLASSES)
    _, pictures = fit.load_pictures(plan.train, plan, print)
    sampler = fit.Sampler(pictures, 32)
    shares = [fit.Batches(sampler, plan.options, 5, share=(k, 2)) for k in range(2)]
    halves, [whole] = [batches.draw(0)[0] for batches in shares], shares[0].whole(1)
    np.testing.assert_array_equal(np.concatenate(halves), whole)


def test_several_devices_need_jax_and_must_be_there():
    if keras.backend.backend() != "jax":
        with pytest.raises(SettingError, match="needs JAX"):
            devices.find(2)
    else:
        with pytest.raises(SettingError, match="this machine has"):
            devices.find(1000)


@pytest.mark.parametrize("job", ["node1", "node1:9000", "node1:9000,2", ""])
def test_a_job_that_cannot_be_read_is_named(job, monkeypatch):
    monkeypatch.setattr(devices, "need_jax", lambda: None)
    with pytest.raises(SettingError, match="--job cannot be"):
        devices.join(job)
