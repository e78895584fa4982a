"""Crops, batch after batch, drawn while the network works."""

import keras
import numpy as np

from unetpp.training.checkpoints import Progress
from unetpp.training.options import THREADS, Options
from unetpp.training.patches import Sampler

# Batches that are ready, beside those that are being drawn.
READY = 2


class Batches(keras.utils.PyDataset):
    """Augmented crops, batch after batch, the same for the same seed and step.

    Gives images (batch, patch, patch, C) float32, normalised, and masks (batch, patch, patch) int32.

    Args:
        sampler: draws the crops.
        options: of the run.
        steps: batches an epoch.
        share: which of so many equal shares of each batch to give: (0, 2) for its first half.

    Attributes:
        first: steps that were done before this epoch.
    """

    def __init__(self, sampler: Sampler, options: Options, steps: int, *, share: tuple[int, int] = (0, 1)):
        # Keras' threads draw ahead. Without them TensorFlow would, whose iterators take many seconds to let go of.
        workers = options.workers or THREADS
        super().__init__(workers=workers, max_queue_size=workers + READY)
        each = options.batch // share[1]
        self.own = range(share[0] * each, (share[0] + 1) * each)
        self.sampler, self.options, self.steps, self.first = sampler, options, steps, 0

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        return self.draw(self.first + step)

    def release(self) -> None:
        """Let go of the pictures: Keras keeps this object, and threads that draw ahead, until the process ends."""
        del self.sampler

    def whole(self, steps: int) -> list[np.ndarray]:
        """The images of the run's first batches, all shares together."""
        everything = range(self.options.batch)
        return [self.draw(step, everything)[0] for step in range(min(steps, self.steps))]

    def draw(self, step: int, own: range | None = None):
        """The batch of a step, counted since the run began; of its crops those that are `own`."""
        seeds = [(self.options.seed, step, k) for k in own or self.own]
        images, masks = zip(*(self.sampler(np.random.default_rng(seed)) for seed in seeds), strict=True)
        return np.stack(images), np.stack(masks).astype(np.int32)


class Continue(keras.callbacks.Callback):
    """Other crops and dropout in each step, and the same again in a run that is resumed."""

    def __init__(self, batches: Batches, progress: Progress):
        super().__init__()
        self.batches, self.progress = batches, progress

    def on_epoch_begin(self, epoch, logs=None):
        """Before the first crop of the epoch is drawn."""
        self.batches.first = self.progress.steps

    def on_train_batch_begin(self, batch, logs=None):
        """On PyTorch, dropout draws from a generator of the process, which is in no checkpoint."""
        if keras.backend.backend() == "torch":
            import torch

            seed = np.random.SeedSequence((self.batches.options.seed, self.progress.steps))
            torch.manual_seed(int(seed.generate_state(1)[0]))
