"""Thin objects, followed along their skeletons through crossings and gaps."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.segmentation import watershed

from unetpp.analysis.places import places
from unetpp.analysis.thinning import EIGHT, depths, thinned

# A filament goes on where it turns by less than so much; its direction is that of its last pixels, so many more than
# it is wide.
TURN, REACH = np.deg2rad(50), 8
# A gap is bridged up to so many times the width of the ends.
GAP = 2.0


@dataclass(frozen=True)
class End:
    """Where a piece of skeleton ends.

    Attributes:
        piece: its number.
        place: row and column.
        direction: away from the piece, of length 1.
        knot: the crossing that it ends at, or 0.
        width: of the mask there.
    """

    piece: int
    place: np.ndarray
    direction: np.ndarray
    knot: int
    width: float


def follow(mask: np.ndarray) -> np.ndarray:
    """Number filaments: through a crossing each goes straight on, over a short gap it goes on too.

    Filaments that cross at less than about 35 degrees share so long a stretch that one takes it, and the other's arms
    stay apart.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) int32, 0 outside the mask. Parts of a filament on both sides of a gap share their number.
    """
    skeleton = thinned(mask)
    distance = np.zeros(mask.shape)
    distance[skeleton] = depths(mask, places(skeleton))
    pieces, knots = skeleton_pieces(mask, skeleton, distance)
    ends = find_ends(pieces, knots, distance)
    parent = np.arange(pieces.max() + 1)
    used: set[int] = set()
    for i, j in joints(ends):
        if i not in used and j not in used:
            used |= {i, j}
            a, b = parent[ends[i].piece], parent[ends[j].piece]
            parent[parent == max(a, b)] = min(a, b)
    # Every pixel belongs to the piece that it is nearest to within the mask.
    grown = watershed(np.zeros(mask.shape, np.uint8), pieces, mask=mask, connectivity=2)
    return parent[grown].astype(np.int32)


def surroundings(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The values of the pixels at places (n, 2), and of their eight neighbours: (9, n); beyond the image 0."""
    padded = np.pad(image, 1)
    first = places @ [padded.shape[1], 1]
    steps = [row * padded.shape[1] + column for row in range(3) for column in range(3)]
    return padded.ravel()[first + np.array(steps)[:, None]]


def skeleton_pieces(
    mask: np.ndarray, skeleton: np.ndarray, distance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The skeleton cut at its crossings: numbered pieces, and numbered crossings, (H, W) each.

    The short bridge between the two forks of a shallow crossing belongs to it; short spurs are left out.
    """
    forks = skeleton.copy()
    forks[skeleton] = surroundings(skeleton, places(skeleton)).sum(0) > 3
    pieces, _ = ndimage.label(skeleton & ~forks, EIGHT)
    knots, _ = ndimage.label(forks, EIGHT)
    touching = touched_knots(pieces, knots)
    lengths = np.bincount(pieces.ravel())
    widths = np.zeros(knots.max() + 1)
    np.maximum.at(widths, knots[forks], distance[forks])
    count = np.array([len(around) for around in touching])
    width = np.array([max((widths[k] for k in around), default=0) for around in touching])
    bridge, spur = (count > 1) & (lengths <= 3 * width), (count == 1) & (lengths <= width)
    bridge[0] = spur[0] = False
    own = pieces[skeleton]
    forks[skeleton] |= bridge[own]
    kept = np.zeros(mask.shape, bool)
    kept[skeleton] = (own > 0) & ~spur[own] & ~forks[skeleton]
    pieces, _ = ndimage.label(kept, EIGHT)
    knots, _ = ndimage.label(forks, EIGHT)
    return keep_seen(mask, pieces, skeleton), knots


def keep_seen(mask, pieces, skeleton) -> np.ndarray:
    """Give each region of the mask that has lost all its pieces its whole skeleton back, as one piece."""
    regions, count = ndimage.label(mask, EIGHT)
    own, region = pieces[skeleton], regions[skeleton]
    lost = np.ones(count + 1, bool)
    lost[region[own > 0]] = False
    found = pieces.copy()
    found[skeleton] = np.where(lost[region], region + pieces.max(), own)
    return found


def touched_knots(pieces: np.ndarray, knots: np.ndarray) -> list[set[int]]:
    """The crossings next to each piece."""
    touched: list[set[int]] = [set() for _ in range(pieces.max() + 1)]
    near = surroundings(knots, places(pieces > 0)).max(0)
    for piece, knot in zip(pieces[pieces > 0][near > 0].tolist(), near[near > 0].tolist(), strict=True):
        touched[piece].add(knot)
    return touched


def find_ends(pieces: np.ndarray, knots: np.ndarray, distance: np.ndarray) -> list[End]:
    """The ends of all pieces."""
    pixels = places(pieces > 0)
    if not len(pixels):
        return []
    numbers = pieces[pieces > 0]
    crowd, near = (surroundings(pieces, pixels) > 0).sum(0), surroundings(knots, pixels).max(0)
    tree = cKDTree(pixels)
    ends = []
    for last in np.flatnonzero(crowd <= 2):
        place, piece = pixels[last], numbers[last]
        reach = REACH + 2 * distance[tuple(place)]
        around = [k for k in tree.query_ball_point(place, reach) if numbers[k] == piece]
        width = 2 * distance[tuple(pixels[around].T)].max()
        away = place - pixels[around].mean(0)
        norm = np.hypot(*away)
        if norm > 0:
            ends.append(End(int(piece), place, away / norm, int(near[last]), float(width)))
    return ends


def joints(ends: list[End]) -> list[tuple[int, int]]:
    """Pairs of ends that may belong together, by their places in the list, the straightest first."""
    if not ends:
        return []
    place, direction = np.array([end.place for end in ends]), np.array([end.direction for end in ends])
    width, knot = np.array([end.width for end in ends]), np.array([end.knot for end in ends])
    piece, crossing = np.array([end.piece for end in ends]), knot > 0
    # As far as the widest end at the same crossing reaches.
    widest = np.zeros(knot.max() + 1)
    np.maximum.at(widest, knot, width)
    i, j = near_pairs(place, np.where(crossing, 2 * REACH + GAP * widest[knot], GAP * width))
    fitting = (piece[i] != piece[j]) & (knot[i] == knot[j])
    i, j = i[fitting], j[fitting]
    turn, across = angle(direction[i], -direction[j]), place[j] - place[i]
    length = np.hypot(*across.T)
    straight = across / length[:, None]
    bend = np.maximum(angle(direction[i], straight), angle(-direction[j], straight))
    only_two = np.bincount(knot)[knot[i]] == 2
    through = crossing[i] & ((turn < TURN) | only_two)
    over = ~crossing[i] & (length <= GAP * np.minimum(width[i], width[j])) & (np.maximum(turn, bend) < TURN)
    against = np.where(through, turn, turn + bend)
    kept = np.flatnonzero(through | over)
    best = kept[np.lexsort((j[kept], i[kept], against[kept]))]
    return list(zip(i[best].tolist(), j[best].tolist(), strict=True))


def near_pairs(places: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs i < j of places (n, 2) of which one is within the other's reach (n,)."""
    near = cKDTree(places).query_ball_point(places, reach)
    first = np.repeat(np.arange(len(places)), [len(others) for others in near])
    second = np.concatenate([np.array(others, int) for others in near])
    pairs = np.sort(np.stack([first, second], 1)[first != second], 1)
    i, j = np.unique(pairs, axis=0).T
    return i, j


def angle(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Between directions of length 1, (n, 2) each, in radians."""
    return np.arccos(np.clip((one * other).sum(-1), -1, 1))
