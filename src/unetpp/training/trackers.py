"""Where a run can be watched: TensorBoard, MLflow, Weights & Biases."""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from unetpp.errors import InstallError, SettingError, TrainingError
from unetpp.training.plan import Plan
from unetpp.training.validation import side_by_side

# The module that a tracker's callback lies in.
TRACKERS = {"mlflow": "mlflow.keras", "wandb": "wandb.integration.keras"}
# Held-out images shown after each validation.
SHOWN = 4


@contextmanager
def tracking(names: Sequence[str], plan: Plan, run: Path) -> Iterator[list[keras.callbacks.Callback]]:
    """The trackers' own callbacks, which log losses and validations, within a run of theirs.

    Args:
        names: of `TRACKERS`.
        plan: its options are logged.
        run: the run folder, whose name the trackers' run gets.

    Raises:
        InstallError: if one is not installed.
        SettingError: if one is not known.
        TrainingError: if one cannot be started.
    """
    packages = imported(names)
    options = {key: str(value) for key, value in asdict(plan.options).items()}
    with ExitStack() as stack:
        if "mlflow" in names:
            mlflow = packages["mlflow"]
            with starting("mlflow"):
                stack.enter_context(mlflow.start_run(run_name=run.name))
                mlflow.log_params(options)
        if "wandb" in names:
            wandb = packages["wandb"]
            with starting("wandb"):
                stack.enter_context(wandb.init(project="unetpp", name=run.name, config=options, dir=run))
        callbacks = {
            "mlflow": lambda: mlflow.keras.MlflowCallback(),
            "wandb": lambda: wandb.integration.keras.WandbMetricsLogger(),
        }
        yield [callbacks[name]() for name in names]


def check_trackers(names: Sequence[str]) -> None:
    """Raise what `tracking` would raise, as far as that can be told without starting a run of theirs."""
    packages = imported(names)
    asks = {
        "mlflow": lambda: packages["mlflow"].MlflowClient().search_experiments(max_results=1),
        "wandb": lambda: packages["wandb"].login(),
    }
    for name in names:
        with starting(name):
            asks[name]()


@contextmanager
def starting(name: str) -> Iterator[None]:
    """Whatever a tracker raises within is a TrainingError of a line."""
    try:
        yield
    except Exception as error:
        said = str(error).strip() or type(error).__name__
        raise TrainingError(
            f"{name} cannot be started: {said.splitlines()[0]}",
            mend=f"set {name} up otherwise, or leave --tracker {name} out",
        ) from error


def imported(names: Sequence[str]) -> dict[str, Any]:
    """The packages of trackers, with the modules that their callbacks lie in.

    Raises:
        InstallError: if one is not installed.
        SettingError: if one is not known.
    """
    packages = {}
    for name in names:
        if name not in TRACKERS:
            raise SettingError(f"there is no tracker {name}", mend=f"choose one of: {', '.join(TRACKERS)}")
        try:
            importlib.import_module(TRACKERS[name])
            packages[name] = importlib.import_module(name)
        except ImportError as error:
            raise InstallError(f"{name} cannot be used ({error})", mend=f"run: pip install {name}") from error
    return packages


def tensorboard(folder: Path, pictures, validate) -> list[keras.callbacks.Callback]:
    """TensorBoard's callback and pictures, where TensorFlow, which writes its events, is installed."""
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        return []
    return [keras.callbacks.TensorBoard(folder, write_graph=False), Pictures(folder, pictures, validate)]


class Pictures(keras.callbacks.Callback):
    """Image, truth and prediction of some held-out images in TensorBoard, after each validation.

    Args:
        folder: of the events.
        pictures: the held-out pictures.
        validate: has their `labels`.
    """

    def __init__(self, folder: Path, pictures, validate):
        super().__init__()
        import tensorflow as tf

        self.pictures, self.validate, self.image = pictures[:SHOWN], validate, tf.summary.image
        self.writer = tf.summary.create_file_writer(str(folder / "pictures"))

    def on_epoch_end(self, epoch, logs=None):
        """Draw and write."""
        with self.writer.as_default(step=epoch):
            for k, (picture, found) in enumerate(zip(self.pictures, self.validate.labels, strict=False)):
                shown = side_by_side(picture, found, self.validate.plan.outputs)
                self.image(f"held_out/{k}", shown[None])
        self.writer.flush()
