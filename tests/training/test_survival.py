"""Whatever happens to a run, nothing that was learnt is lost."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import keras
import numpy as np
import pytest
from disks import fill, mounted

from unetpp import UNetPP
from unetpp.bundle import Bundle, load_model, read_bundle, save_bundle
from unetpp.data.dataset import find_samples
from unetpp.data.images import read_image, write_png
from unetpp.data.normalization import Normalization
from unetpp.data.synthetic import CLASSES, write_dataset
from unetpp.errors import DatasetError, OutputError, SettingError, TrainingError
from unetpp.model import losses
from unetpp.training import fit
from unetpp.training.average import arrays
from unetpp.training.checkpoints import load_checkpoint
from unetpp.training.options import Options
from unetpp.training.plan import make_plan
from unetpp.training.planfile import load_plan, save_plan
from unetpp.training.schedule import Budget
from unetpp.training.table import rows

# Kills as a bundle and a checkpoint are written, and at any moment: all in a minute; UNETPP_KILLS=20 takes longer.
AIMED = 12
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


TWICE, ONCE = {14: signal.SIGINT, 25: signal.SIGTERM}, {14: signal.SIGINT}


@pytest.mark.parametrize(("backend", "stops"), [("tensorflow", TWICE), ("jax", ONCE), ("torch", ONCE)])
def test_an_interrupted_run_is_usable_and_goes_on_to_the_same_weights(backend, stops, samples, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    for name in ("whole", "cut"):
        planned(samples, tmp_path / name, epochs=1 + len(stops))
    when = [str(int(each)) for stop in stops.items() for each in stop]
    command = [sys.executable, "-c", INTERRUPTED, tmp_path / "whole", tmp_path / "cut", *when]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": backend}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == len(stops) * "interrupted\n"
    progress, arrays = state(tmp_path / "cut")
    assert [row["epoch"] for row in progress.history] == [*range(1, 2 + 2 * len(stops))]
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


@pytest.mark.parametrize("leave", [0, 20_000])
def test_a_full_disk_stops_a_run_that_then_goes_on(samples, tmp_path, leave):
    planned(samples, tmp_path / "whole")
    fit.train(load_plan(tmp_path / "whole"), tmp_path / "whole", Budget(), report=Watcher())
    (tmp_path / "run").mkdir()
    with mounted(tmp_path / "run", 2**21) as run:
        plan = planned(samples, run)
        watcher = Watcher(at=15, act=lambda: fill(run / "filler", leave=leave))
        with pytest.raises(OutputError, match="No space left"):
            fit.train(plan, run, Budget(), report=watcher)
        (run / "filler").unlink()
        assert state(run)[0].epoch == 1
        fit.train(plan, run, Budget(), report=Watcher(), resume=True)
        assert same(state(tmp_path / "whole")[1], state(run)[1])


def test_a_class_that_is_never_predicted_is_warned_of_once(samples, tmp_path):
    # A class that does not count is not learnt.
    plan = planned(samples, tmp_path / "run", epochs=5, loss="crossentropy", class_weights=(1.0, 0.1, 0.0))
    watcher = Watcher()
    fit.train(plan, tmp_path / "run", Budget(), report=watcher)
    told = [line for line in watcher.warnings if "bacteria was not predicted in 3 validations" in line]
    assert len(told) == 1
    assert "--class-weights balanced" in told[0]
    assert state(tmp_path / "run")[0].silent["bacteria"] >= 3


def test_a_finished_run_that_is_resumed_stays_as_it_is(samples, tmp_path, monkeypatch):
    # Offsets that are not zero.
    monkeypatch.setattr(fit, "best_offsets", lambda logits, truth: np.array([0, 0.5, -1], np.float32))
    plan = planned(samples, tmp_path / "run", epochs=1)
    first = fit.train(plan, tmp_path / "run", Budget(), report=Watcher())
    weights = load_model(tmp_path / "run")[1].get_weights()
    assert first.origin["factors"] == {"background": 1.0, "blood_cell": 1.65, "bacteria": 0.37}
    shutil.rmtree(tmp_path / "run" / "validation")
    again = fit.train(plan, tmp_path / "run", Budget(), report=Watcher(), resume=True)
    assert again == first
    assert same(load_model(tmp_path / "run")[1].get_weights(), weights)
    assert list((tmp_path / "run" / "validation").iterdir())


def test_a_run_without_gain_ends_early(samples, tmp_path):
    plan = planned(samples, tmp_path / "run", epochs=30, learning_rate=1e-9, patience=2)
    watcher = Watcher()
    fit.train(plan, tmp_path / "run", Budget(), report=watcher)
    assert len(watcher.rows) < 10
    assert "no gain in 2 validations" in watcher.warnings[-1]
    # Neither does it go on when it is resumed, unless it is given more patience.
    for patience, more in ((2, 0), (3, 1)):
        longer, again = replace(plan, options=replace(plan.options, patience=patience)), Watcher()
        fit.train(longer, tmp_path / "run", Budget(), report=again, resume=True)
        assert len(again.rows) == more


def test_gathered_gradients_are_those_of_a_larger_batch(samples, tmp_path):
    """Without what differs by batch or by chance: batch normalisation and dropout."""
    rng = np.random.default_rng(0)
    x, y = rng.random((8, 32, 32, 3), np.float32), rng.integers(0, 3, (8, 32, 32), np.int32)
    found = []
    for parts in (1, 4):
        plan = planned(samples, tmp_path / f"{parts}", accumulate=parts, loss="crossentropy")
        plan = replace(plan, settings={"filters": (4, 8), "normalization": None, "dropout": 0.0})
        keras.utils.set_random_seed(0)
        model = fit.build(plan)
        before = arrays(model.trainable_variables)
        for part in range(parts):
            assert same(arrays(model.trainable_variables), before)
            model.train_on_batch(x[part::parts], y[part::parts])
        # Of AdamW's first step, the first moment is a tenth of the gradient.
        moments = [v for v in model.optimizer.variables if "momentum" in v.path]
        assert len(moments) == len(model.trainable_variables)
        found.append([*arrays(moments), *arrays(model.trainable_variables)])
        assert not same(arrays(model.trainable_variables), before)
    for whole, gathered in zip(*found, strict=True):
        np.testing.assert_allclose(whole, gathered, rtol=1e-3, atol=1e-6)


def test_a_budget_that_is_spent_before_the_first_step_gives_a_model(samples, tmp_path):
    run = tmp_path / "run"
    budget = Budget(seconds=1.0, started=time.monotonic() - 5)
    fit.train(planned(samples, run, epochs=0, budget=1.0), run, budget, report=Watcher())
    assert budget.taken == 1
    assert (run / "model").is_dir()


def test_a_run_by_budget_goes_on_with_what_it_has_left(samples, tmp_path):
    run = tmp_path / "run"
    plan = planned(samples, run, epochs=0, budget=400.0)
    stop = Watcher(at=3, act=lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        # After the warm-up, and far from the end however slow the machine is.
        fit.train(plan, run, Budget(seconds=400.0, started=time.monotonic() - 15), report=stop)
    (path,) = (run / "checkpoints").glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "spent": 363.0}))
    begun, watcher = time.monotonic(), Watcher()
    budget = Budget(seconds=400.0)
    fit.train(plan, run, budget, report=watcher, resume=True)
    # 30 s are kept for what comes after the last step.
    assert time.monotonic() - begun < 50
    progress, _ = state(run)
    assert progress.steps == budget.taken > 3
    assert progress.spent > 363
    # The schedule is where the budget is.
    assert stop.rows[-1]["learning_rate"] > 0.9 * OPTIONS["learning_rate"]
    assert watcher.rows[0]["learning_rate"] < 0.1 * OPTIONS["learning_rate"]


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


def model_of(folder, *, channels=3, classes=CLASSES, level=None, **settings):
    """A bundle of a network that learnt nothing."""
    model = UNetPP((None, None, channels), len(classes), **{"filters": (4, 8), **settings})
    settings = {name: value for name, value in model.get_config().items() if name != "name"}
    scale = Normalization((0.3,) * channels, (0.2,) * channels)
    model = model.pruned(level) if level else model
    save_bundle(folder, Bundle("UNetPP", settings, tuple(classes), scale, level=level), model)
    return model


def begun(plan):
    """The network that a run of a plan begins with."""
    model = fit.build(plan)
    fit.begin(model, plan)
    return model


def test_fine_tuning_starts_where_the_other_model_ended(samples, tmp_path):
    former = model_of(tmp_path / "first" / "model", activation="relu")
    options = {"start": str(tmp_path / "first"), "learning_rate": 0.0, "filters": (9, 9)}
    again = planned(samples, tmp_path / "second", **options)
    assert again.options.filters == (4, 8)
    assert again.options.learning_rate < OPTIONS["learning_rate"]
    assert again.normalization.mean == (0.3, 0.3, 0.3)
    assert "gentle" in again.reasons["learning rate"]
    model = begun(again)
    assert model.get_config()["activation"] == "relu"
    assert same(former.get_weights(), model.get_weights())
    fit.train(again, tmp_path / "second", Budget(), report=Watcher())
    origin = read_bundle(tmp_path / "second").origin
    assert origin["options"]["start"] == str((tmp_path / "first" / "model").resolve())
    # It goes on when the other model is gone, and so does a run whose plan has not the other model's settings.
    content = json.loads((tmp_path / "second" / "plan.json").read_text())
    del content["settings"]
    plan = load_plan(tmp_path / "second")
    (tmp_path / "second" / "plan.json").write_text(json.dumps(content))
    assert load_plan(tmp_path / "second") == plan
    save_plan(plan, tmp_path / "second")
    shutil.rmtree(tmp_path / "first")
    plan = load_plan(tmp_path / "second")
    plan = replace(plan, options=replace(plan.options, epochs=4))
    watcher = Watcher()
    fit.train(plan, tmp_path / "second", Budget(), report=watcher, resume=True)
    assert [row["epoch"] for row in watcher.rows] == [4]


def test_fine_tuning_on_other_classes_makes_the_head_anew(samples, tmp_path):
    former = model_of(tmp_path / "first")
    again = make_plan(samples, Options(start=str(tmp_path / "first")), ("soil", "cells", "rods"))
    assert "made anew" in again.reasons["classes"]
    model = begun(again)
    for layer in model.layers:
        equal = same(layer.get_weights(), former.get_layer(layer.name).get_weights())
        assert equal or layer.name.startswith("head_")
    assert not same(model.get_layer("head_1").get_weights(), former.get_layer("head_1").get_weights())


def test_a_model_to_start_from_decides_depth_and_widths(samples, tmp_path):
    settings = {"filters": (4, 6, 8), "deep_supervision": True, "inner_filters": "level"}
    model_of(tmp_path / "first", **settings)
    given = {"start": str(tmp_path / "first"), "head_weights": (1.0, 2.0), "patch": 36}
    plan = make_plan(samples, Options(**given), CLASSES)
    assert {name: getattr(plan.options, name) for name in settings} == settings
    assert "level" in fit.build(plan).get_config().values()
    for wrong in ({"head_weights": (1.0,) * 4}, {"patch": 34}):
        with pytest.raises(SettingError, match="cannot be"):
            make_plan(samples, Options(**{**given, **wrong}), CLASSES)


def test_a_model_that_is_cut_off_is_no_start(samples, tmp_path):
    model_of(tmp_path / "first", filters=(4, 6, 8), deep_supervision=True, level=1)
    with pytest.raises(SettingError, match="cut off at level 1"):
        make_plan(samples, Options(start=str(tmp_path / "first")), CLASSES)


def test_grey_images_are_repeated_for_a_model_of_colours_and_the_plan_says_so(tmp_path):
    write_dataset(tmp_path / "data", 4, size=(64, 64), seed=5)
    for path in (tmp_path / "data" / "images").iterdir():
        write_png(path, read_image(path)[..., 0])
    model_of(tmp_path / "first")
    plan = make_plan(find_samples(tmp_path / "data"), Options(start=str(tmp_path / "first")), CLASSES)
    told = {name: (value, why) for name, value, why in rows(plan)}
    assert told["channels"][0] == "3"
    assert "grey images are repeated" in told["channels"][1]


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
for moment in reversed(range(int(sys.argv[3]))):
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
    counts = (str(AIMED), str(KILLS))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "whole", tmp_path / "killed", *counts],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) >= AIMED
    whole, killed = state(tmp_path / "whole"), state(tmp_path / "killed")
    assert whole[0].steps == killed[0].steps == 60
    assert same(whole[1], killed[1])
    assert same(
        load_model(tmp_path / "whole")[1].get_weights(), load_model(tmp_path / "killed")[1].get_weights()
    )
    left = {path.name for path in (tmp_path / "killed").rglob("*") if path.name.startswith(".")}
    assert not left
