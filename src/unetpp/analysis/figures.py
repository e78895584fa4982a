"""Scores and times as people read them."""

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


def duration(seconds: float) -> str:
    """Seconds for a reader.

    >>> duration(75), duration(3700)
    ('1m15s', '1h01m')
    """
    if seconds == float("inf"):
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"


def span(numbers: Sequence[int]) -> str:
    """The least and the most of some numbers, once if they are one.

    >>> span([90, 90]), span([120, 90])
    ('90', '90–120')
    """
    return "–".join(map(str, sorted({min(numbers), max(numbers)})))
