"""Whatever happens to a run, nothing that was learnt is lost."""

import os
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from unetpp.bundle import load_model, read_bundle
from unetpp.data.dataset import find_samples
from unetpp.data.synthetic import CLASSES, write_dataset
from unetpp.errors import DatasetError, OutputError, SettingError, TrainingError
from unetpp.model import losses
from unetpp.training import checkpoints, fit
from unetpp.training.average import arrays
from unetpp.training.checkpoints import load_checkpoint
from unetpp.training.options import Options
from unetpp.training.plan import make_plan
from unetpp.training.planfile import load_plan, save_plan
from unetpp.training.schedule import Budget

# All 20 take two minutes: UNETPP_KILLS=20.
KILLS = int(os.environ.get("UNETPP_KILLS", "3"))
OPTIONS = {"filters": (4, 8), "patch": 32, "batch": 4, "precision": "float32", "learning_rate": 1e-2}


class Watcher:
    """A report that remembers, and may act at a step."""

    def __init__(self, at=None, act=None):
        self.rows, self.warnings, self.at, self.act = [], [], at, act

    def step(self, budget, loss):
        """Act when the time has come."""
        if budget.taken == self.at:
            self.act()

    def warn(self, line):
        """Keep it."""
        self.warnings.append(line)

    def epoch(self, row):
        """Keep it."""
        self.rows.append(row)


@pytest.fixture
def samples(tmp_path):
    write_dataset(tmp_path / "data", 6, size=(64, 64), seed=5)
    return find_samples(tmp_path / "data")


@pytest.fixture(autouse=True)
def no_graph(monkeypatch):
    """Making the runtime graph takes longer than these runs, and is tested elsewhere."""
    monkeypatch.setattr(fit, "add_graph", lambda run: None)


def planned(samples, run, **options):
    run.mkdir(exist_ok=True)
    plan = make_plan(samples, Options(**{**OPTIONS, "epochs": 3, **options}), CLASSES)
    save_plan(plan, run)
    return plan


def state(run):
    """All arrays of a run's newest checkpoint."""
    model = fit.build(load_plan(run))
    progress = load_checkpoint(run / "checkpoints", model)
    arrays = [*model.variables, *model.optimizer.variables, *progress.average]
    return progress, [np.array(keras.ops.convert_to_numpy(a)) for a in arrays]


def same(first, second):
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_two_runs_are_equal_bit_for_bit(samples, tmp_path):
    for name in ("one", "two"):
        fit.train(planned(samples, tmp_path / name), tmp_path / name, Budget(), report=Watcher())
    assert same(state(tmp_path / "one")[1], state(tmp_path / "two")[1])


INTERRUPTED = """
import os, sys
from pathlib import Path
from unetpp.training import fit
from unetpp.training.planfile import load_plan
from unetpp.training.schedule import Budget


class Report:
    def step(self, budget, loss):
        if budget.taken == 14 and not resumed:
            os.kill(os.getpid(), int(sys.argv[2]))

    def warn(self, line): pass
    def epoch(self, row): pass


run = Path(sys.argv[1])
for resumed in (False, True):
    try:
        fit.train(load_plan(run), run, Budget(), report=Report(), resume=resumed)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_usable_and_goes_on_to_the_same_weights(samples, tmp_path, number):
    for name in ("whole", "cut"):
        planned(samples, tmp_path / name)
    fit.train(load_plan(tmp_path / "whole"), tmp_path / "whole", Budget(), report=Watcher())
    command = [sys.executable, "-c", INTERRUPTED, tmp_path / "cut", str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "interrupted\n"
    progress, arrays = state(tmp_path / "cut")
    assert [row["epoch"] for row in progress.history] == [1, 2, 3, 4]
    assert same(state(tmp_path / "whole")[1], arrays)


def test_a_run_that_diverges_goes_back_and_on_with_half_the_rate(samples, tmp_path, monkeypatch):
    plan, poisoned = planned(samples, tmp_path / "run"), []

    class Poison(fit.Batches):
        """Gives one batch of nothing, once, in the second epoch."""

        def draw(self, step, *own):
            images, masks = super().draw(step, *own)
            if step == 15 and not poisoned:
                poisoned.append(step)
                images = images * np.nan
            return images, masks

    monkeypatch.setattr(fit, "Batches", Poison)
    watcher = Watcher()
    fit.train(plan, tmp_path / "run", Budget(), report=watcher)
    assert len(watcher.warnings) == 1
    assert "not a number at step 15" in watcher.warnings[0]
    progress, arrays = state(tmp_path / "run")
    assert progress.rollbacks == 1
    assert [row["epoch"] for row in watcher.rows] == [1, 2, 3]
    assert watcher.rows[1]["learning_rate"] < 0.6 * watcher.rows[0]["learning_rate"]
    assert all(np.isfinite(array).all() for array in arrays)


def test_a_run_that_always_diverges_is_given_up(samples, tmp_path, monkeypatch):
    plan = planned(samples, tmp_path / "run")
    monkeypatch.setattr(losses, "get", lambda *a, **k: lambda y_true, y_pred: keras.ops.sum(y_pred) * np.nan)
    watcher = Watcher()
    with pytest.raises(TrainingError, match="not a number 4 times"):
        fit.train(plan, tmp_path / "run", Budget(), report=watcher)
    assert len(watcher.warnings) == 4


def test_one_image_that_turned_corrupt_is_named_and_left_out(samples, tmp_path, monkeypatch):
    plan = planned(samples, tmp_path / "run", epochs=1)
    plan.train[1].image.write_bytes(b"no image")
    with pytest.raises(DatasetError, match="1 of"):
        fit.train(plan, tmp_path / "run", Budget(), report=Watcher())
    monkeypatch.setattr(fit, "UNREADABLE", 0.5)
    watcher = Watcher()
    fit.train(plan, tmp_path / "run", Budget(), report=watcher)
    assert plan.train[1].image.name in watcher.warnings[0]
    assert read_bundle(tmp_path / "run").origin["training_images"] == len(plan.train) - 1


def test_data_may_vanish_once_it_is_read(samples, tmp_path):
    plan = planned(samples, tmp_path / "run", epochs=2)
    watcher = Watcher(at=3, act=lambda: shutil.move(tmp_path / "data" / "masks", tmp_path / "gone"))
    fit.train(plan, tmp_path / "run", Budget(), report=watcher)
    assert len(watcher.rows) == 2


def test_a_full_disk_stops_a_run_that_then_goes_on(samples, tmp_path, monkeypatch):
    plan = planned(samples, tmp_path / "run")
    planned(samples, tmp_path / "whole")
    fit.train(plan, tmp_path / "whole", Budget(), report=Watcher())

    def full(path, **arrays):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        act = lambda: patch.setattr(checkpoints.np, "savez", full)  # noqa: E731
        with pytest.raises(OutputError, match="No space left"):
            fit.train(plan, tmp_path / "run", Budget(), report=Watcher(at=15, act=act))
    assert state(tmp_path / "run")[0].epoch == 1
    fit.train(plan, tmp_path / "run", Budget(), report=Watcher(), resume=True)
    assert same(state(tmp_path / "whole")[1], state(tmp_path / "run")[1])


def test_a_class_that_is_never_predicted_is_warned_of_once(samples, tmp_path):
    watcher = Watcher()
    plan = planned(samples, tmp_path / "run", epochs=5, learning_rate=1e-9, class_weights=(1.0, 0.0, 0.0))
    fit.train(plan, tmp_path / "run", Budget(), report=watcher)
    told = [line for line in watcher.warnings if "was not predicted in 3 validations" in line]
    names = {line.split()[0] for line in told}
    assert len(told) == len(names)
    assert names <= set(CLASSES)
    progress, _ = state(tmp_path / "run")
    assert names == {name for name, count in progress.silent.items() if count >= 3}


def test_a_run_without_gain_ends_early(samples, tmp_path):
    plan = planned(samples, tmp_path / "run", epochs=30, learning_rate=1e-9, patience=2)
    watcher = Watcher()
    fit.train(plan, tmp_path / "run", Budget(), report=watcher)
    assert len(watcher.rows) < 10
    assert "no gain in 2 validations" in watcher.warnings[-1]


def test_gradients_may_be_gathered_over_steps(samples, tmp_path):
    for name, accumulate in (("each", 1), ("gathered", 5)):
        plan = planned(samples, tmp_path / name, epochs=1, accumulate=accumulate)
        fit.train(plan, tmp_path / name, Budget(), report=Watcher())
    each, gathered = (load_model(tmp_path / name)[1].get_weights() for name in ("each", "gathered"))
    assert not same(each, gathered)


def test_low_memory_learns_the_same(samples, tmp_path):
    if keras.backend.backend() != "tensorflow":
        with pytest.raises(SettingError, match="needs TensorFlow"):
            fit.build(planned(samples, tmp_path / "run", low_memory=True))
        return
    x, y = np.random.default_rng(0).random((2, 32, 32, 3), np.float32), np.ones((2, 32, 32), np.int32)
    trained = []
    for low in (False, True):
        options = {"filters": (3, 4), "deep_supervision": True}
        plan = planned(samples, tmp_path / f"{low}", low_memory=low, **options)
        keras.utils.set_random_seed(0)
        model = fit.build(plan)
        trained.append([[model.train_on_batch(x, y) for _ in range(3)], *arrays(model.trainable_variables)])
        path = tmp_path / f"{low}.weights.h5"
        model.save_weights(path)
        fit.build(planned(samples, tmp_path / "plain", **options)).load_weights(path)
    for keeps, computes in zip(*trained, strict=True):
        np.testing.assert_allclose(keeps, computes, atol=3e-3)


def test_fine_tuning_starts_where_the_other_model_ended(samples, tmp_path):
    plan = planned(samples, tmp_path / "first")
    fit.train(plan, tmp_path / "first", Budget(), report=Watcher())
    _, former = load_model(tmp_path / "first")
    again = planned(
        samples, tmp_path / "second", start=str(tmp_path / "first"), learning_rate=0.0, filters=(9, 9)
    )
    assert again.options.filters == (4, 8)
    assert again.options.learning_rate < OPTIONS["learning_rate"]
    assert again.normalization == plan.normalization
    model = fit.build(again)
    assert same(former.get_weights(), model.get_weights())
    fit.train(again, tmp_path / "second", Budget(), report=Watcher())
    assert read_bundle(tmp_path / "second").origin["options"]["start"] == str(tmp_path / "first")


def test_fine_tuning_on_other_classes_makes_the_head_anew(samples, tmp_path):
    plan = planned(samples, tmp_path / "first", epochs=1)
    fit.train(plan, tmp_path / "first", Budget(), report=Watcher())
    _, former = load_model(tmp_path / "first")
    again = make_plan(samples, Options(start=str(tmp_path / "first")), ("soil", "cells", "rods"))
    assert "made anew" in again.reasons["classes"]
    model = fit.build(again)
    for layer in model.layers:
        equal = same(layer.get_weights(), former.get_layer(layer.name).get_weights())
        assert equal or layer.name.startswith("head_")
    assert not same(model.get_layer("head_1").get_weights(), former.get_layer("head_1").get_weights())


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from unetpp.training import fit
from unetpp.training.planfile import load_plan
from unetpp.training.schedule import Budget


class Silent:
    def step(self, budget, loss): pass
    def warn(self, line): pass
    def epoch(self, row): pass


def begin(run):
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        fit.train(load_plan(run), run, Budget(), report=Silent(), resume=True)
        os._exit(0)
    return pid


whole, killed = Path(sys.argv[1]), Path(sys.argv[2])
begun = time.monotonic()
assert os.waitpid(begin(whole), 0)[1] == 0
length, random = time.monotonic() - begun, random.Random(0)
for _ in range(int(sys.argv[3])):
    pid = begin(killed)
    time.sleep(random.uniform(0.3 * length, 0.9 * length))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
assert os.waitpid(begin(killed), 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks")
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(samples, tmp_path):
    for name in ("whole", "killed"):
        planned(samples, tmp_path / name, epochs=10)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "whole", tmp_path / "killed", str(KILLS)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    whole, killed = state(tmp_path / "whole"), state(tmp_path / "killed")
    assert whole[0].steps == killed[0].steps == 100
    assert same(whole[1], killed[1])
    assert same(
        load_model(tmp_path / "whole")[1].get_weights(), load_model(tmp_path / "killed")[1].get_weights()
    )
