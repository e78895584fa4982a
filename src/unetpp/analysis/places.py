"""Where a mask is true."""

import numpy as np


def places(mask: np.ndarray) -> np.ndarray:
    """`np.argwhere` of a mask, (H, W) bool: (n, 2) rows and columns; of few pixels in many, several times as fast.

    >>> places(np.array([[False, True], [True, False]])).tolist()
    [[0, 1], [1, 0]]
    """
    return np.stack(np.divmod(np.flatnonzero(mask), mask.shape[1]), 1)
