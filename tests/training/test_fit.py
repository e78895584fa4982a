"""A run learns, repeats, and goes on from where it stopped."""

import keras
import numpy as np
import pytest

from unetpp.bundle import load_model
from unetpp.data.dataset import find_samples
from unetpp.data.synthetic import CLASSES, write_dataset
from unetpp.errors import BundleError
from unetpp.training import fit
from unetpp.training.checkpoints import Progress, is_finite, load_checkpoint, save_checkpoint
from unetpp.training.options import Options
from unetpp.training.plan import make_plan
from unetpp.training.planfile import load_plan, save_plan
from unetpp.training.schedule import Budget

OPTIONS = {
    "filters": (4, 8),
    "patch": 32,
    "batch": 4,
    "long_side": 0,
    "precision": "float32",
    "learning_rate": 1e-2,
}


class Quiet:
    """A report that keeps the rows."""

    def __init__(self):
        self.rows, self.warnings = [], []

    def step(self, budget, loss):
        """Nobody watches."""

    def warn(self, line):
        """Keep it."""
        self.warnings.append(line)

    def epoch(self, row):
        """Keep it."""
        self.rows.append(row)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, 6, size=(64, 64), seed=5)
    return find_samples(folder)


def train(samples, run, *, epochs, resume=False, **options):
    run.mkdir(exist_ok=True)
    plan = make_plan(samples, Options(epochs=epochs, **{**OPTIONS, **options}), CLASSES)
    save_plan(plan, run)
    report = Quiet()
    bundle = fit.train(plan, run, Budget(), report=report, resume=resume)
    return bundle, report.rows


def test_a_plan_is_read_back_as_it_was_saved(samples, tmp_path):
    plan = make_plan(samples, Options(class_weights="balanced", **OPTIONS), CLASSES)
    save_plan(plan, tmp_path)
    assert load_plan(tmp_path) == plan
    assert plan.class_weights[0] < plan.class_weights[2]


def test_the_loss_falls_and_the_best_model_is_kept(samples, tmp_path):
    bundle, rows = train(samples, tmp_path / "run", epochs=6, augmentation=0.0)
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    best = max(rows, key=lambda row: np.mean([row["iou_blood_cell"] or 0, row["iou_bacteria"] or 0]))
    assert bundle.origin["epoch"] == best["epoch"]
    assert load_model(tmp_path / "run")[0] == bundle


def test_deep_supervision_trains_every_head(samples, tmp_path):
    bundle, _ = train(samples, tmp_path / "run", epochs=1, deep_supervision=True, filters=(4, 8, 8))
    _, model = load_model(tmp_path / "run")
    assert bundle.settings["deep_supervision"]
    assert len(model.outputs) == 2


def test_a_resumed_run_goes_on_with_weights_average_and_history(samples, tmp_path):
    train(samples, tmp_path / "run", epochs=2)
    model = fit.build(load_plan(tmp_path / "run"))
    progress = load_checkpoint(tmp_path / "run" / "checkpoints", model)
    assert (progress.epoch, progress.steps) == (2, 20)
    assert int(model.optimizer.iterations) == 20
    assert len(progress.average) == len(model.trainable_variables)
    _, rows = train(samples, tmp_path / "run", epochs=3, resume=True)
    assert [row["epoch"] for row in rows] == [3]


def small_model():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    return model


def test_all_that_a_checkpoint_keeps_must_be_numbers():
    model, average = small_model(), [np.ones(2)]
    assert is_finite(model, Progress(average=average))
    assert not is_finite(model, Progress(average=[np.array([1, np.inf])]))
    for find in (lambda model: model.trainable_variables[0], lambda model: model.optimizer.learning_rate):
        model = small_model()
        find(model).assign(find(model) * np.nan)
        assert not is_finite(model, Progress(average=average))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    for epoch in (1, 2, 3):
        save_checkpoint(tmp_path, small_model(), Progress(epoch=epoch, average=[np.ones(2)]))
    assert len(list(tmp_path.glob("*.npz"))) == 2
    (tmp_path / "epoch-0003.npz").write_bytes(b"half")
    assert load_checkpoint(tmp_path, small_model()).epoch == 2
    (tmp_path / "epoch-0002.npz").unlink()
    with pytest.raises(BundleError, match="no checkpoint can be read"):
        load_checkpoint(tmp_path, small_model())
    assert load_checkpoint(tmp_path / "nowhere", small_model()) is None


def test_checkpoints_are_told_apart_by_number(tmp_path):
    for epoch in (9998, 9999, 10000, 10001):
        save_checkpoint(tmp_path, small_model(), Progress(epoch=epoch, average=[np.ones(2)]))
    assert {path.stem for path in tmp_path.iterdir()} == {"epoch-10000", "epoch-10001"}
    assert load_checkpoint(tmp_path, small_model()).epoch == 10001


def test_what_a_kill_left_of_a_write_is_swept_away(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for path in (folder / ".0123abcd-epoch-0001.npz", tmp_path / ".89ef4567-history.csv", tmp_path / ".mine"):
        path.write_bytes(b"half")
    save_checkpoint(folder, small_model(), Progress(epoch=1))
    assert {path.name for path in folder.iterdir()} == {"epoch-0001.npz", "epoch-0001.json"}
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", ".mine"}
