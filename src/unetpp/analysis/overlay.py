"""Labels drawn on the image, for people to look at."""

from collections.abc import Sequence

import numpy as np

from unetpp.analysis.display import row_blocks, to_display
from unetpp.errors import SettingError

# Black for the background, then colours chosen one by one to differ most from black and from all before
# them, in CIELAB and for eyes without the red or the green cones.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 0, 0), (230, 57, 70), (255, 214, 10), (86, 180, 233), (0, 158, 115), (204, 121, 167), (109, 0, 255),
    (182, 255, 146), (36, 109, 219), (255, 219, 219), (255, 73, 0), (109, 73, 146), (36, 219, 146),
    (73, 109, 109), (255, 182, 73), (219, 219, 255), (36, 73, 219), (182, 36, 0), (146, 146, 255),
    (255, 109, 73), (182, 0, 73), (146, 36, 182), (182, 255, 182), (182, 182, 182), (0, 219, 109),
    (182, 109, 182), (146, 255, 109), (109, 182, 109), (255, 109, 219), (73, 109, 36), (36, 109, 255),
    (255, 146, 0),
)  # fmt: skip

FILL, SOLID = 90, 256  # opacity of a region's inside and of its contour, in 256ths


def colour_of(index: int) -> tuple[int, int, int]:
    """A class's colour; beyond the palette's end again from the second on."""
    return PALETTE[(index - 1) % (len(PALETTE) - 1) + 1]


def draw_overlay(
    image: np.ndarray,
    labels: np.ndarray,
    palette: Sequence[tuple[int, int, int]] = PALETTE,
    *,
    outlined: np.ndarray | None = None,
) -> np.ndarray:
    """Draw labels on an image: a translucent fill and an opaque contour, one pixel wide, in each colour.

    The contour lies within its region, so the thinnest line is drawn in full.

    Args:
        image: (H, W) or (H, W, C), any dtype; drawn as `to_display` shows it.
        labels: (H, W) integers, 0 = background, which is left as it is.
        palette: a colour a label; labels beyond its end start again at the second colour.
        outlined: (H, W) integers whose regions get the contours, such as objects' numbers; None for the labels.

    Returns:
        (H, W, 3) uint8, a new array.

    Raises:
        SettingError: image and labels differ in size, labels are no integers or negative, or the
            palette is shorter than two colours.

    Example:
        >>> draw_overlay(np.full((1, 3), 99, np.uint8), np.array([[0, 1, 0]])).tolist()
        [[[99, 99, 99], [230, 57, 70], [99, 99, 99]]]
    """
    labels = np.asarray(labels)
    result = np.array(to_display(image))
    if labels.shape != result.shape[:2]:
        raise SettingError(f"labels of shape {labels.shape} do not fit an image of shape {result.shape}")
    if labels.dtype.kind not in "biu" or (labels.size and labels.min() < 0):
        raise SettingError("labels must be integers from 0 on")
    if len(palette) < 2:
        raise SettingError("a palette needs a colour besides the background's")
    if outlined is not None and outlined.shape != labels.shape:
        raise SettingError(f"regions of shape {outlined.shape} do not fit labels of shape {labels.shape}")
    colours = np.asarray(palette, np.uint16)
    for rows in row_blocks(labels.shape):
        above, below = max(rows.start - 1, 0), min(rows.stop + 1, labels.shape[0])
        edges = contours((labels if outlined is None else outlined)[above:below])[
            rows.start - above : rows.stop - above
        ]
        paint(result[rows], labels[rows], edges, colours)
    return result


def shrink_labels(labels: np.ndarray, step: int) -> np.ndarray:
    """Labels scaled down for viewing, in which thin objects stay.

    A pixel of the result stands for a square of `step` pixels and has the rarest label, of those but the background,
    that fill half of what a line one pixel wide fills of such a square; so a filament is never broken.

    Args:
        labels: (H, W) unsigned integers, 0 = background.
        step: pixels of a square's side.

    Returns:
        (ceil(H / step), ceil(W / step)), of the same dtype.

    Example:
        >>> shrink_labels(np.array([[0, 0, 1, 1], [1, 0, 1, 2]], np.uint8), 2).tolist()
        [[1, 2]]
    """
    labels = np.pad(labels, [(0, -side % step) for side in labels.shape])
    found, counts = np.unique(labels[labels > 0], return_counts=True)
    # The same place of every square: (step², h, w).
    parts = [labels[row::step, column::step] for row in range(step) for column in range(step)]
    result = np.zeros(parts[0].shape, labels.dtype)
    for label in found[np.argsort(-counts, kind="stable")]:
        shown = np.zeros(result.shape, np.int32)
        for part in parts:
            shown += part == label
        result[2 * shown >= step] = label
    return result


def contours(labels: np.ndarray) -> np.ndarray:
    """True where one of the four neighbours has another label; the picture's border is no contour.

    >>> contours(np.array([[1, 1, 1, 0]])).tolist()
    [[False, False, True, True]]
    """
    edges = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= right
    edges[:, :-1] |= right
    return edges


def paint(image: np.ndarray, labels: np.ndarray, edges: np.ndarray, colours: np.ndarray) -> None:
    """Blend the labels' colours into a block of the image, in place; label 0 leaves it as it is."""
    shown = labels > 0
    index = (labels[shown].astype(np.int64) - 1) % (len(colours) - 1) + 1
    opacity = np.where(edges[shown], SOLID, FILL).astype(np.uint16)[:, None]
    image[shown] = (image[shown] * (SOLID - opacity) + colours[index] * opacity) // SOLID
