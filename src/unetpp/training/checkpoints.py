"""Checkpoints of a training run: atomic, complete, resumable, the same for every backend.

Each is `epoch-0007.npz`, all variables of network and optimiser and the averaged weights, and `epoch-0007.json`,
everything else and the checksum of the first; it counts only when the second, written last, is there.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unetpp.data.files import checksum
from unetpp.data.images import atomic_path
from unetpp.errors import BundleError
from unetpp.training.variables import arrays, assign

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
        finished: seconds, steps and patience, as the run was given when it came to its end; None before.
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
    finished: list | None = None
    silent: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    average: list[np.ndarray] = field(default_factory=list)


def save_checkpoint(folder: Path, model, progress: Progress) -> None:
    """Write a checkpoint, then drop all but the newest `KEEP`.

    Raises:
        OutputError: if it cannot be written; the former checkpoints stay.
    """
    stem = folder / f"epoch-{progress.epoch:04d}"
    values: dict[str, Any] = {f"variable_{k}": array for k, array in enumerate(arrays(variables(model)))}
    values |= {f"average_{k}": array for k, array in enumerate(progress.average)}
    with atomic_path(stem.with_suffix(".npz"), durable=True) as path:
        np.savez(path, **values)
    content = {name: value for name, value in vars(progress).items() if name != "average"}
    content["sha256"] = checksum(stem.with_suffix(".npz"))
    with atomic_path(stem.with_suffix(".json"), durable=True) as path:
        path.write_text(json.dumps(content), encoding="utf-8")
    for old in newest_first(folder)[KEEP:]:
        for suffix in (".json", ".npz"):
            old.with_suffix(suffix).unlink(missing_ok=True)
    # What a kill left half written, here and of the history.
    for left in (*folder.glob(".????????-epoch-*"), *folder.parent.glob(".????????-history.csv")):
        left.unlink(missing_ok=True)


def newest_first(folder: Path) -> list[Path]:
    """The descriptions of a run's checkpoints."""
    found = [path for path in folder.glob("epoch-*.json") if path.stem.removeprefix("epoch-").isdecimal()]
    return sorted(found, key=lambda path: int(path.stem.removeprefix("epoch-")), reverse=True)


def load_checkpoint(folder: Path, model) -> Progress | None:
    """Bring a compiled model to the newest whole checkpoint; None when there is none.

    Raises:
        BundleError: if checkpoints are there and none can be read.
    """
    paths = newest_first(folder)
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("sha256") != checksum(path.with_suffix(".npz")):
                continue
            progress = Progress(**content)
            with np.load(path.with_suffix(".npz")) as found:
                values = {
                    kind: [found[f"{kind}_{k}"] for k in range(sum(n.startswith(kind) for n in found.files))]
                    for kind in ("variable", "average")
                }
            assign(variables(model), values["variable"])
        except (OSError, ValueError, TypeError, KeyError):
            continue
        progress.average = values["average"]
        return progress
    if paths:
        raise BundleError("no checkpoint can be read", where=folder, mend="start anew with --overwrite")
    return None


def variables(model) -> list:
    """All that a compiled model learns by, the random generators of its dropout among them."""
    model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def is_finite(model, progress: Progress) -> bool:
    """Whether all that a checkpoint would keep are numbers."""
    kept = [*arrays(variables(model)), *progress.average]
    return all(np.isfinite(array).all() for array in kept)
