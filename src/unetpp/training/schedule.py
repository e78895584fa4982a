"""The learning rate over a run, by the share of its budget that is spent."""

import math
import time
from dataclasses import dataclass, field

WARM_UP = 0.03
FLOOR = 0.01


def learning_rate(share: float, peak: float) -> float:
    """Linear warm-up to `peak` over the first 3 %, then a cosine down to 1 % of it.

    Args:
        share: of the budget that is spent, 0 to 1.
        peak: the highest learning rate.

    Example:
        >>> learning_rate(0.03, 1.0), round(learning_rate(1.0, 1.0), 4)
        (1.0, 0.01)

    Source: Loshchilov and Hutter, "SGDR", 2017, equation 5, without restarts.
    """
    if share < WARM_UP:
        return peak * max(share / WARM_UP, FLOOR)
    angle = math.pi * min(1.0, (share - WARM_UP) / (1 - WARM_UP))
    return peak * (FLOOR + (1 - FLOOR) * (1 + math.cos(angle)) / 2)


@dataclass
class Budget:
    """What a run may use: seconds of wall clock, or a number of steps.

    Attributes:
        seconds: of wall clock, or None.
        steps: optimiser steps, or None.
        spent: seconds used in earlier sittings.
        taken: steps taken.
        reserve: seconds kept back for what comes after the last step.
    """

    seconds: float | None = None
    steps: int | None = None
    spent: float = 0.0
    taken: int = 0
    reserve: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds used, over all sittings."""
        return self.spent + time.monotonic() - self.started

    @property
    def share(self) -> float:
        """The share of the budget that is spent, 0 to 1."""
        if self.seconds is not None:
            return min(1.0, self.elapsed / max(self.seconds - self.reserve, 1e-9))
        return min(1.0, self.taken / self.steps) if self.steps else 1.0

    @property
    def left(self) -> float:
        """An estimate of the seconds left."""
        if self.seconds is not None:
            return max(0.0, self.seconds - self.elapsed)
        return self.elapsed * (1 - self.share) / self.share if self.share else math.inf
