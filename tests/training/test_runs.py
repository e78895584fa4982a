"""How long a run is, what it says, and what its options change of it."""

import json
import shutil
import time
from dataclasses import replace

import keras
import numpy as np
import pytest
from runs import OPTIONS, Watcher, planned, same, state

from unetpp.bundle import load_model, write_description
from unetpp.errors import SettingError
from unetpp.training import callbacks, fit
from unetpp.training.options import LEAST_STEPS
from unetpp.training.schedule import Budget
from unetpp.training.variables import arrays

pytestmark = pytest.mark.usefixtures("no_graph")


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
    monkeypatch.setattr(fit, "best_offsets", lambda logits, truth, seams: np.array([0, 0.5, -1], np.float32))
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


def test_with_nothing_held_out_all_images_are_learnt_and_the_last_weights_kept(samples, tmp_path):
    plan = planned(samples, tmp_path / "run", epochs=3, validation=0)
    assert (set(plan.train), plan.validation) == (set(samples), ())
    watcher = Watcher()
    found = fit.train(plan, tmp_path / "run", Budget(), report=watcher)
    assert (found.origin["epoch"], found.origin["training_images"]) == (3, len(samples))
    assert found.origin["validation_at_working_size"]["mean_iou"] is None
    assert [row["mean_iou"] for row in watcher.rows] == [None] * 3
    assert not watcher.warnings
    # But for how readily each class is found, they are the averaged ones.
    kept, averaged = load_model(tmp_path / "run")[1], state(tmp_path / "run")[0].average
    assert same(arrays(kept.trainable_variables)[:-1], averaged[: len(kept.trainable_variables) - 1])
    # What was said of its objects meanwhile stays when it goes on.
    write_description(tmp_path / "run" / "model", replace(found, objects={"split": ["blood_cell"]}))
    longer = replace(plan, options=replace(plan.options, epochs=4))
    again = fit.train(longer, tmp_path / "run", Budget(), report=Watcher(), resume=True)
    assert (again.origin["epoch"], again.objects) == (4, {"split": ["blood_cell"]})


def test_gathered_gradients_are_those_of_a_larger_batch(samples, tmp_path):
    """Without what differs by batch or by chance: batch normalisation and dropout."""
    rng = np.random.default_rng(0)
    x, y = rng.random((8, 32, 32, 3), np.float32), rng.integers(0, 3, (8, 32, 32), np.int32)
    found = []
    for parts in (1, 4):
        plan = planned(samples, tmp_path / f"{parts}", accumulate=parts, loss="crossentropy", dropout=0.0)
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


def test_a_first_validation_that_compiles_cuts_no_run_short(samples, tmp_path, monkeypatch, interrupt):
    waits, kept, predict, run = iter([1.0]), [], callbacks.predict, tmp_path / "run"

    def slow_at_first(*given):
        time.sleep(next(waits, 0))
        return predict(*given)

    class Watch(Watcher):
        def step(self, budget, loss):
            super().step(budget, loss)
            kept.append(budget.reserve)

    monkeypatch.setattr(callbacks, "predict", slow_at_first)
    monkeypatch.setattr(callbacks, "FIRST", 0.001)
    plan, budget = planned(samples, run, budget=3000.0, epochs=0), Budget(seconds=3000.0)
    watcher = Watch(at=LEAST_STEPS + 1, act=interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit.train(plan, run, budget, report=watcher)
    # Only JAX takes so long to compile.
    known = kept[LEAST_STEPS]
    assert known == pytest.approx(0.001 * 3000) if keras.backend.backend() == "jax" else known > 10


@pytest.mark.parametrize("end", ["budget", "signal"])
def test_what_comes_to_its_end_in_a_validation_ends_after_it(end, samples, tmp_path, monkeypatch, interrupt):
    begun, predict, validated = Budget(seconds=400.0), callbacks.predict, []

    def late(*given):
        if not validated and end == "budget":
            begun.spent += 400
        elif not validated:
            interrupt()
        validated.append(begun.taken)
        return predict(*given)

    monkeypatch.setattr(callbacks, "predict", late)
    run = tmp_path / "run"
    plan = planned(samples, run, epochs=0, budget=400.0)
    watcher = Watcher()
    if end == "budget":
        fit.train(plan, run, begun, report=watcher)
    else:
        with pytest.raises(KeyboardInterrupt):
            fit.train(plan, run, begun, report=watcher)
    assert validated == [LEAST_STEPS]
    assert [row["epoch"] for row in watcher.rows] == [1]
    progress, _ = state(run)
    assert (progress.steps, progress.finished is None) == (LEAST_STEPS, end == "signal")


def test_a_run_by_budget_goes_on_with_what_it_has_left(samples, tmp_path, interrupt):
    run = tmp_path / "run"
    plan = planned(samples, run, epochs=0, budget=400.0)
    stop = Watcher(at=3, act=interrupt)
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
