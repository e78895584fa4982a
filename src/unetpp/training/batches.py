"""Crops, batch after batch, drawn while the network works."""

from concurrent.futures import Future, ThreadPoolExecutor

import keras
import numpy as np

from unetpp.training.checkpoints import Progress
from unetpp.training.options import Options
from unetpp.training.patches import Sampler

# Threads that draw crops, and the batches that are ready or drawn.
THREADS, AHEAD = 2, 4


class Batches(keras.utils.PyDataset):
    """Augmented crops, batch after batch, the same for the same seed and step.

    Gives images (batch, patch, patch, C) float32, normalised, and masks (batch, patch, patch) int32.

    Args:
        sampler: draws the crops.
        options: of the run.
        steps: batches an epoch.

    Attributes:
        first: steps that were done before this epoch.
    """

    def __init__(self, sampler: Sampler, options: Options, steps: int):
        super().__init__()
        self.sampler, self.options, self.steps, self.first = sampler, options, steps, 0
        # Threads draw the next batches while the network works; by their steps since the run began.
        self.pool = ThreadPoolExecutor(THREADS)
        self.ahead: dict[int, Future] = {}

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        now = self.first + step
        self.ahead = {k: self.ahead.get(k) or self.pool.submit(self.draw, k) for k in range(now, now + AHEAD)}
        return self.ahead[now].result()

    def draw(self, step: int):
        """The batch of a step, counted since the run began."""
        seeds = [(self.options.seed, step, k) for k in range(self.options.batch)]
        images, masks = zip(*(self.sampler(np.random.default_rng(seed)) for seed in seeds), strict=True)
        return np.stack(images), np.stack(masks).astype(np.int32)


class Continue(keras.callbacks.Callback):
    """Other crops in each epoch, and the same again in a run that is resumed."""

    def __init__(self, batches: Batches, progress: Progress):
        super().__init__()
        self.batches, self.progress = batches, progress

    def on_epoch_begin(self, epoch, logs=None):
        """Before the first crop of the epoch is drawn."""
        self.batches.first = self.progress.steps
