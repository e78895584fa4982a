"""Small runs, and what they leave."""

import keras
import numpy as np

from unetpp.data.synthetic import CLASSES
from unetpp.training import fit
from unetpp.training.checkpoints import load_checkpoint
from unetpp.training.options import Options
from unetpp.training.plan import make_plan
from unetpp.training.planfile import load_plan, save_plan

# With dropout, so that what is random in a network is gone on with, too.
OPTIONS = {
    "dropout": 0.2,
    "filters": (4, 8),
    "patch": 32,
    "batch": 4,
    "precision": "float32",
    "learning_rate": 1e-2,
}


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
