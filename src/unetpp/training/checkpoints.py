"""Checkpoints of a training run: atomic, complete, resumable.

Each is `epoch-0007.keras` (network and optimiser), `epoch-0007.npz` (averaged weights) and `epoch-0007.json`
(everything else), and counts only when the last, written last, is there.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unetpp.data.images import atomic_path
from unetpp.errors import BundleError

KEEP = 2


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: validations done; one ends each epoch, and one each sitting.
        steps: steps done.
        spent: seconds of training behind it, over all sittings.
        best: the best validation score so far, and -1 before the first.
        best_epoch: when it was reached.
        rollbacks: how often the loss was not a number.
        silent: for how many validations in a row each class was there and not predicted.
        history: a row a validation, as in history.csv.
        average: the moving average of the trainable weights.
    """

    epoch: int = 0
    steps: int = 0
    spent: float = 0.0
    best: float = -1.0
    best_epoch: int = 0
    rollbacks: int = 0
    silent: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    average: list[np.ndarray] = field(default_factory=list)


def save_checkpoint(folder: Path, model, progress: Progress) -> None:
    """Write a checkpoint, then drop all but the newest `KEEP`.

    Raises:
        OutputError: if it cannot be written; the former checkpoints stay.
    """
    stem = folder / f"epoch-{progress.epoch:04d}"
    with atomic_path(stem.with_suffix(".keras")) as path:
        model.save(path)
    with atomic_path(stem.with_suffix(".npz")) as path:
        np.savez(path, *progress.average)
    content = {name: value for name, value in vars(progress).items() if name != "average"}
    with atomic_path(stem.with_suffix(".json")) as path:
        path.write_text(json.dumps(content), encoding="utf-8")
    for old in sorted(folder.glob("epoch-*.json"))[:-KEEP]:
        for suffix in (".json", ".npz", ".keras"):
            old.with_suffix(suffix).unlink(missing_ok=True)


def load_checkpoint(folder: Path):
    """The newest whole checkpoint: (model, progress), or None when there is none.

    Raises:
        BundleError: if checkpoints are there and none can be read.
    """
    import keras

    stems = sorted(folder.glob("epoch-*.json"), reverse=True)
    for path in stems:
        try:
            progress = Progress(**json.loads(path.read_text(encoding="utf-8")))
            with np.load(path.with_suffix(".npz")) as arrays:
                progress.average = [arrays[name] for name in arrays.files]
            return keras.saving.load_model(path.with_suffix(".keras")), progress
        except (OSError, ValueError, TypeError):
            continue
    if stems:
        raise BundleError("no checkpoint can be read", where=folder, mend="start anew with --overwrite")
    return None
