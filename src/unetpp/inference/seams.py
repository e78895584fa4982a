"""What a network that has learnt where objects touch says of the classes."""

import numpy as np

# The share of a seam that a pixel can be at most: it stays of the class that it is of.
MOST = 0.98


def close_seams(probabilities: np.ndarray) -> np.ndarray:
    """Give the seams to the likeliest class beside the background, which is less sure there.

    This is the last step of prediction, after means over views and models. Be q the probabilities, those of the seam
    added to the likeliest class k, and s the seam's share of q_k. Half of s times the lead of q_k over the background
    goes from one to the other. So the most probable class is that of q, all add up to 1, and the probability dips where
    objects touch, which takes them apart; see `split_touching`.

    Args:
        probabilities: (h, w, C + 1) float32, the last of seams.

    Returns:
        (h, w, C) float32.

    Example:
        >>> close_seams(np.array([[[0.1, 0.3, 0.6]]], np.float32)).round(3).tolist()
        [[[0.367, 0.633]]]
    """
    seam = probabilities[..., -1:]
    found = probabilities[..., :-1].copy()
    likeliest = 1 + found[..., 1:].argmax(-1, keepdims=True)
    whole = np.take_along_axis(found, likeliest, -1) + seam
    share = np.minimum(seam / np.maximum(whole, 1e-6), MOST)
    cut = share * np.maximum(whole - found[..., :1], 0) / 2
    np.put_along_axis(found, likeliest, whole - cut, -1)
    found[..., :1] += cut
    return found


def with_seam(outputs: np.ndarray, *, known: bool) -> np.ndarray:
    """What a network gives, (h, w, n), with a plane of no seams, (h, w, n + 1), unless seams are known to it."""
    return outputs if known else np.pad(outputs, ((0, 0), (0, 0), (0, 1)))


def label_seams(probabilities: np.ndarray) -> np.ndarray:
    """Class indices, or C where the class of `close_seams` is less likely than its seam: (..., C + 1) -> (...) ints."""
    seam, classes = probabilities[..., -1], probabilities[..., :-1]
    likeliest, own = 1 + classes[..., 1:].argmax(-1), classes[..., 1:].max(-1)
    return np.where(own + seam > classes[..., 0], np.where(seam > own, classes.shape[-1], likeliest), 0)
