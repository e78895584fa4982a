"""Scores as people read them."""

from collections.abc import Sequence

# At which IoU an object counts as found.
AT = "0.50"


def figure(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none.

    >>> figure(0.5), figure(None)
    ('0.500', '–')
    """
    return "–" if value is None else f"{value:.{digits}f}"


def between(ends: Sequence[float | None], digits: int = 3) -> str:
    """An interval, or nothing where there is none.

    >>> between((0.25, 0.5), 2)
    '0.25–0.50'
    """
    return "" if None in ends else f"{ends[0]:.{digits}f}–{ends[1]:.{digits}f}"
