"""What happens in a run can be watched elsewhere."""

import keras
import numpy as np
import pytest

from unetpp.data.dataset import find_samples
from unetpp.data.synthetic import write_dataset
from unetpp.errors import SettingError
from unetpp.training import fit
from unetpp.training.options import Options
from unetpp.training.plan import make_plan
from unetpp.training.schedule import Budget

# What MLflow would refuse.
NAMES = ("background", "blood cell (RBC)", "bacteria, CD4+")
OPTIONS = {"filters": (2, 4), "patch": 32, "batch": 4, "precision": "float32", "epochs": 2}


class Quiet:
    """Nobody watches."""

    def step(self, budget, loss):
        """Nothing."""

    def warn(self, line):
        """Nothing."""

    def epoch(self, row):
        """Nothing."""


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Trains for two epochs with trackers, and gives the run folder."""
    monkeypatch.setattr(fit, "add_graph", lambda run: None)
    write_dataset(tmp_path / "data", 5, size=(48, 48))
    plan = make_plan(find_samples(tmp_path / "data"), Options(**OPTIONS), NAMES)
    run = tmp_path / "run"
    run.mkdir()

    def begin(*trackers):
        fit.train(plan, run, Budget(), report=Quiet(), trackers=trackers)
        return run

    return begin


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow writes TensorBoard's events")
def test_tensorboard_has_scores_and_pictures_of_each_validation(train):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train()
    found = EventAccumulator(str(run / "events" / "pictures"), size_guidance={"tensors": 0})
    found.Reload()
    events = found.Tensors("held_out/0")
    assert [event.step for event in events] == [0, 1]
    scalars = EventAccumulator(str(run / "events" / "validation"), size_guidance={"tensors": 0})
    scalars.Reload()
    assert any("iou_blood cell _RBC_" in tag for tag in scalars.Tags()["tensors"])


def test_a_tracker_that_is_not_known_is_refused(train):
    with pytest.raises(SettingError, match="no tracker paper"):
        train("paper")


# MLflow's own libraries are not ours to mend.
@pytest.mark.filterwarnings("ignore")
def test_mlflow_logs_without_a_server(train, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = pytest.importorskip("mlflow", reason='MLflow comes with pip install ".[test]"')
    # A folder instead of a server; MLflow would rather have a database.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    monkeypatch.chdir(tmp_path)
    run = train("mlflow")
    (logged,) = mlflow.search_runs(output_format="list", search_all_experiments=True)
    assert logged.info.run_name == run.name
    assert logged.data.params["filters"] == "(2, 4)"
    assert np.isfinite(logged.data.metrics["loss"])
    assert {"val_mean_iou", "val_iou_bacteria_ CD4_"} <= set(logged.data.metrics)
