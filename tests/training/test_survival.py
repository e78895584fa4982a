"""Whatever happens to a run, nothing that was learnt is lost."""

import os
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from disks import fill, mounted
from runs import Watcher, planned, same, state

from unetpp.bundle import load_model, read_bundle
from unetpp.data.dataset import find_samples
from unetpp.data.synthetic import write_dataset
from unetpp.errors import DatasetError, OutputError, TrainingError
from unetpp.model import losses
from unetpp.training import fit
from unetpp.training.schedule import Budget

pytestmark = pytest.mark.usefixtures("no_graph")

# Kills at any moment, and as a bundle and a checkpoint are written: before every second of 12 calls that change files,
# or, with UNETPP_KILLS=20, which takes minutes, before each.
KILLS = int(os.environ.get("UNETPP_KILLS", "1"))
AIMED = range(0, 12, 1 if KILLS > 1 else 2)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a run ends with to which nothing happened."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_dataset(folder / "data", 6, size=(64, 64), seed=5)
    plan = planned(find_samples(folder / "data"), folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "add_graph", lambda run: None)
        fit.train(plan, folder / "run", Budget(), report=Watcher())
    return state(folder / "run")[1]


def test_two_runs_are_equal_bit_for_bit(undisturbed, samples, tmp_path):
    fit.train(planned(samples, tmp_path / "run"), tmp_path / "run", Budget(), report=Watcher())
    assert same(undisturbed, state(tmp_path / "run")[1])


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from unetpp.training import fit
from unetpp.training.planfile import load_plan
from unetpp.training.schedule import Budget


fit.add_graph = lambda run: None
stops = {}


class Report:
    def step(self, budget, loss):
        if budget.taken in stops:
            os.kill(os.getpid(), stops.pop(budget.taken))

    def warn(self, line): pass
    def epoch(self, row): pass


def train(run):
    for sitting in range(1 + len(stops)):
        try:
            fit.train(load_plan(run), run, Budget(), report=Report(), resume=sitting > 0)
        except KeyboardInterrupt:
            print("interrupted", flush=True)


whole, cut = map(Path, sys.argv[1:3])
train(whole)
stops |= {int(step): signal.Signals(int(number)) for step, number in zip(sys.argv[3::2], sys.argv[4::2])}
train(cut)
"""


STOPS = {14: signal.SIGINT, 25: signal.SIGTERM}


def test_an_interrupted_run_is_usable_and_goes_on_to_the_same_weights_on_every_backend(samples, tmp_path):
    for name in ("whole", "cut"):
        planned(samples, tmp_path / name, epochs=1 + len(STOPS))
    when = [str(int(each)) for stop in STOPS.items() for each in stop]
    command = [sys.executable, "-c", INTERRUPTED, tmp_path / "whole", tmp_path / "cut", *when]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == len(STOPS) * "interrupted\n"
    progress, arrays = state(tmp_path / "cut")
    assert [row["epoch"] for row in progress.history] == [*range(1, 2 + 2 * len(STOPS))]
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


def nothing(*arguments, **options):
    """A loss that is never a number."""
    return lambda y_true, y_pred: keras.ops.sum(y_pred) * np.nan


def test_a_run_that_always_diverges_is_given_up(samples, tmp_path, monkeypatch):
    plan = planned(samples, tmp_path / "run")
    monkeypatch.setattr(losses, "get", nothing)
    watcher = Watcher()
    with pytest.raises(TrainingError, match="not a number 4 times"):
        fit.train(plan, tmp_path / "run", Budget(), report=watcher)
    assert len(watcher.warnings) == 3


def test_weights_that_are_no_numbers_are_not_saved(samples, tmp_path, monkeypatch):
    plan, poisoned = planned(samples, tmp_path / "run"), []

    class Poison(fit.Average):
        """Spoils a weight once, when the second epoch's last step is done, whose loss is still a number."""

        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if self.progress.steps == 20 and not poisoned:
                variable = self.model.trainable_variables[0]
                variable.assign(variable * np.nan)
                poisoned.append(variable)

    monkeypatch.setattr(fit, "Average", Poison)
    watcher = Watcher()
    fit.train(plan, tmp_path / "run", Budget(), report=watcher)
    assert poisoned
    assert len(watcher.warnings) == 1
    progress, arrays = state(tmp_path / "run")
    assert progress.rollbacks == 1
    assert [row["epoch"] for row in watcher.rows] == [1, 2, 3]
    assert all(np.isfinite(array).all() for array in arrays)
    assert all(np.isfinite(array).all() for array in load_model(tmp_path / "run")[1].get_weights())


def test_how_often_a_run_went_back_is_counted_over_all_sittings(samples, tmp_path, monkeypatch):
    plan = planned(samples, tmp_path / "run")
    with monkeypatch.context() as patch:

        def give_up(*arguments):
            raise KeyboardInterrupt

        # This sitting ends as soon as it has gone back.
        patch.setattr(losses, "get", nothing)
        patch.setattr(Watcher, "warn", give_up)
        with pytest.raises(KeyboardInterrupt):
            fit.train(plan, tmp_path / "run", Budget(), report=Watcher())
    monkeypatch.setattr(losses, "get", nothing)
    for left in (2, 0):
        watcher = Watcher()
        with pytest.raises(TrainingError, match="not a number 4 times"):
            fit.train(plan, tmp_path / "run", Budget(), report=watcher, resume=True)
        assert len(watcher.warnings) == left


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


def test_images_that_turned_corrupt_are_counted_over_both_sides(samples, tmp_path, monkeypatch):
    plan, told = planned(samples, tmp_path / "run"), []
    monkeypatch.setattr(fit, "UNREADABLE", 0.34)
    for sample in (plan.train[1], plan.train[3]):
        sample.image.write_bytes(b"no image")
    kept, pictures, held_out = fit.load_sides(plan, told.append)
    assert kept.train == (plan.train[0], plan.train[2], *plan.train[4:])
    assert (len(pictures), len(held_out), len(told)) == (len(kept.train), len(plan.validation), 2)
    plan.validation[0].image.write_bytes(b"no image")
    with pytest.raises(DatasetError, match="3 of 6 images"):
        fit.load_sides(plan, told.append)
    monkeypatch.setattr(fit, "UNREADABLE", 1)
    for sample in plan.validation:
        sample.image.write_bytes(b"no image")
    with pytest.raises(DatasetError, match="none of the images held out"):
        fit.load_sides(plan, told.append)


def test_data_may_vanish_once_it_is_read(samples, tmp_path):
    plan = planned(samples, tmp_path / "run", epochs=2)
    watcher = Watcher(at=3, act=lambda: shutil.move(tmp_path / "data", tmp_path / "gone"))
    fit.train(plan, tmp_path / "run", Budget(), report=watcher)
    assert not (tmp_path / "data").exists()
    assert len(watcher.rows) == 2
    drawn = sorted(path.stem for path in (tmp_path / "run" / "validation").iterdir())
    assert drawn == sorted(sample.stem for sample in plan.validation)


def test_a_run_whose_graph_cannot_be_made_has_a_model_and_says_so(samples, tmp_path, monkeypatch):
    def full(run):
        raise OutputError("the graph cannot be written", where=run)

    monkeypatch.setattr(fit, "add_graph", full)
    watcher = Watcher()
    bundle = fit.train(
        planned(samples, tmp_path / "run", epochs=1), tmp_path / "run", Budget(), report=watcher
    )
    assert bundle == read_bundle(tmp_path / "run")
    assert any("the graph cannot be written" in line for line in watcher.warnings)


@pytest.mark.parametrize("leave", [0, 20_000])
def test_a_full_disk_stops_a_run_that_then_goes_on(undisturbed, samples, tmp_path, leave):
    (tmp_path / "run").mkdir()
    with mounted(tmp_path / "run", 2**21) as run:
        plan = planned(samples, run)
        watcher = Watcher(at=15, act=lambda: fill(run / "filler", leave=leave))
        with pytest.raises(OutputError, match="No space left"):
            fit.train(plan, run, Budget(), report=watcher)
        (run / "filler").unlink()
        assert state(run)[0].epoch == 1
        fit.train(plan, run, Budget(), report=Watcher(), resume=True)
        assert same(undisturbed, state(run)[1])


KILLED = """
import os, random, shutil, signal, sys, time
from pathlib import Path
from unetpp.data import files
from unetpp.training import checkpoints, fit
from unetpp.training.planfile import load_plan
from unetpp.training.schedule import Budget

fit.add_graph = lambda run: None


class Silent:
    def step(self, budget, loss): pass
    def warn(self, line): pass
    def epoch(self, row): pass


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def aim(moment):
    # Die before the so manieth of all calls that change files; or 0, amid the arrays of a checkpoint.
    left = [moment]

    def deadly(real):
        def call(*arguments, **options):
            left[0] -= 1
            if not left[0]:
                die()
            return real(*arguments, **options)

        return call

    def half(path, **arrays):
        savez(path, **arrays)
        os.truncate(path, os.path.getsize(path) // 2)
        die()

    if moment == 0:
        savez, checkpoints.np.savez = checkpoints.np.savez, half
    for owner, name in ((os, "fsync"), (os, "replace"), (Path, "rename"), (shutil, "rmtree")):
        setattr(owner, name, deadly(getattr(owner, name)))


def begin(run, moment=None):
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        if moment is not None:
            aim(moment)
        fit.train(load_plan(run), run, Budget(), report=Silent(), resume=True)
        os._exit(0)
    return pid


def killed(pid):
    return os.waitpid(pid, 0)[1] == signal.SIGKILL


whole, run = Path(sys.argv[1]), Path(sys.argv[2])
begun = time.monotonic()
assert os.waitpid(begin(whole), 0)[1] == 0
length, random, dead = time.monotonic() - begun, random.Random(0), 0
# The last first: without a checkpoint each begins anew, and all but the first of them replace a bundle.
for moment in reversed(range(*map(int, sys.argv[3].split(",")))):
    dead += killed(begin(run, moment))
for _ in range(int(sys.argv[4])):
    pid = begin(run)
    time.sleep(random.uniform(0.2 * length, 0.6 * length))
    os.kill(pid, signal.SIGKILL)
    dead += killed(pid)
assert os.waitpid(begin(run), 0)[1] == 0
print(dead)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks")
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(samples, tmp_path):
    for name in ("whole", "killed"):
        planned(samples, tmp_path / name, epochs=6)
    counts = (f"{AIMED.start},{AIMED.stop},{AIMED.step}", str(KILLS))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "whole", tmp_path / "killed", *counts],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) >= len(AIMED)
    whole, killed = state(tmp_path / "whole"), state(tmp_path / "killed")
    assert whole[0].steps == killed[0].steps == 60
    assert same(whole[1], killed[1])
    assert same(
        load_model(tmp_path / "whole")[1].get_weights(), load_model(tmp_path / "killed")[1].get_weights()
    )
    left = {path.name for path in (tmp_path / "killed").rglob("*") if path.name.startswith(".")}
    assert not left
