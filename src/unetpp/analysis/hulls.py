"""The convex hulls of many objects at once, and how long they are."""

import numpy as np

# Directions that objects are measured in: between two of them a chord is at most a 400th too short.
DIRECTIONS = 22
# By how much the two outermost pixels' middles lie within the ends of what was drawn, both together, on average.
ENDS = 0.75


def chords(row: np.ndarray, first: np.ndarray, last: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The longest chord of each object: its largest extent in any direction, also known as the Feret diameter.

    Args:
        row: of each run of pixels, object by object.
        first, last: its columns.
        starts: where each object's runs begin.

    Returns:
        a length an object, in pixels.

    Example:
        >>> chords(np.array([0]), np.array([3]), np.array([12]), np.array([0])).tolist()
        [9.75]
    """
    longest = np.zeros(len(starts))
    # The half circle in which columns count forwards.
    for angle in np.linspace(-np.pi / 2, np.pi / 2, DIRECTIONS, endpoint=False):
        down, right = row * np.sin(angle), np.cos(angle)
        farthest = np.maximum.reduceat(last * right + down, starts)
        nearest = np.minimum.reduceat(first * right + down, starts)
        np.maximum(longest, farthest - nearest, out=longest)
    return longest + ENDS


def hull_areas(number: np.ndarray, row: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The area of the convex hull of each object, its pixels taken as squares.

    Args:
        number: of each run's object, sorted.
        row: of each run, sorted within an object.
        first, last: its columns.

    Returns:
        an area an object, in pixels.

    Example:
        >>> one = np.array([1, 1])
        >>> hull_areas(one, np.array([0, 1]), np.array([0, 1]), np.array([0, 1])).tolist()
        [3.0]
    """
    starts = np.flatnonzero((np.diff(number, prepend=-1) != 0) | (np.diff(row, prepend=-1) != 0))
    number, row = number[starts], row[starts]
    left, right = np.minimum.reduceat(first, starts), np.maximum.reduceat(last, starts) + 1
    # Each row's squares have corners on the lines above and below it.
    number, line = np.repeat(number, 2), np.stack([row, row + 1], 1).ravel()
    left, right = np.repeat(left, 2).astype(np.float64), np.repeat(right, 2).astype(np.float64)
    return chain_areas(number, line, right) - chain_areas(number, line, left, outward=-1)


def chain_areas(number: np.ndarray, line: np.ndarray, column: np.ndarray, outward: int = 1) -> np.ndarray:
    """The area between column 0 and the convex chain around points that lie line by line.

    A point on the inner side of the way between its neighbours is on no hull; they are taken away, all at once, until
    there are none.

    Args:
        number: of each point's object, sorted.
        line: of each point, sorted within an object.
        column: of each point.
        outward: 1 if the chain bulges to the right, -1 to the left.
    """
    while True:
        before, after = slice(0, -2), slice(2, None)
        same = (number[before] == number[1:-1]) & (number[after] == number[1:-1])
        down, up = line[1:-1] - line[before], line[after] - line[1:-1]
        bulge = (column[1:-1] - column[before]) * up - (column[after] - column[1:-1]) * down
        keep = np.ones(len(number), bool)
        # Of two points on one line the outer one counts.
        level = np.flatnonzero((number[1:] == number[:-1]) & (line[1:] == line[:-1]))
        inner_first = outward * column[level] <= outward * column[level + 1]
        keep[np.where(inner_first, level, level + 1)] = False
        if keep.all():
            keep[1:-1] = ~(same & (outward * bulge <= 0))
        if keep.all():
            break
        number, line, column = number[keep], line[keep], column[keep]
    heights = np.where(number[1:] == number[:-1], line[1:] - line[:-1], 0)
    areas = heights * (column[1:] + column[:-1]) / 2
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    return np.add.reduceat(np.append(areas, 0.0), starts)
