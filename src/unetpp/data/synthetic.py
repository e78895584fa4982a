"""Darkfield micrographs of blood, drawn from known shapes, with exact masks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from unetpp.data.images import atomic_path, write_png
from unetpp.errors import SettingError

CLASSES = ("background", "blood_cell", "bacteria")
COLOURS = ((0, 0, 0), (230, 57, 70), (255, 214, 10))

Size = tuple[int, ...]
Place = Sequence[float] | np.ndarray  # row and column in pixels
Circle = tuple[float, float, float]  # row, column and radius in pixels

REACH = 9  # pixels around a bacterium's centre line that its light can reach


def draw(seed: int, size: tuple[int, int] = (256, 256)) -> tuple[np.ndarray, np.ndarray]:
    """Draw one micrograph and its mask; the same seed and size give the same pixels.

    Red blood cells are bright rims around a dim inside, bacteria bright wriggling filaments 4 to 6 pixels
    wide. Glowing specks of debris and the faint ghosts of burst cells are background. Focus, light, tint
    and noise vary from picture to picture. Shapes keep their size in pixels; a larger picture has more.

    Args:
        seed: 0 or more.
        size: height and width in pixels, each 1 or more.

    Returns:
        image (H, W, 3) uint8, and mask (H, W) uint8 of indices into `CLASSES`. A pixel belongs to a
        shape if its centre lies within the shape; bacteria lie over cells.

    Raises:
        SettingError: the seed is negative or the size is not positive.

    Example:
        >>> image, mask = draw(7, (96, 130))
        >>> image.shape, mask.shape, sorted(set(mask.ravel().tolist()))
        ((96, 130, 3), (96, 130), [0, 1, 2])
    """
    if seed < 0 or min(size) < 1:
        raise SettingError(f"seed {seed} and size {size} cannot be drawn")
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    blue, green = np.zeros(size, np.float32), np.zeros(size, np.float32)
    add_ghosts(blue, rng)
    add_cells(blue, mask, rng)
    add_debris(blue, green, rng)
    add_bacteria(green, mask, rng)
    focus = rng.uniform(0.3, 0.8)
    blue, green = gaussian_filter(blue, focus, truncate=3), gaussian_filter(green, focus, truncate=3)
    return expose(blue, green, rng), mask


def add_ghosts(light: np.ndarray, rng: np.random.Generator) -> None:
    """Faint rims of burst cells, which are background."""
    for _ in range(rng.poisson(light.size / 40_000)):
        place, unmarked = rng.uniform(0, 1, 2) * light.shape, np.zeros(light.shape, np.uint8)
        add_cell(light, unmarked, place, rng.uniform(14, 20), rng, rim=9, inside=2)


def add_cells(light: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> None:
    """Cells over about 8 to 20 % of the picture, the first of them wholly inside if it fits."""
    scale, wanted = rng.uniform(0.85, 1.2), rng.uniform(0.08, 0.2) * mask.size
    brightness, inside = rng.uniform(120, 230), rng.uniform(14, 45)
    crenated = 0.8 if rng.random() < 0.3 else 0.05
    cells: list[Circle] = []
    for _ in range(20 + mask.size // 500):
        radius = scale * rng.uniform(14, 21)
        y, x = propose(cells, radius, mask.shape, rng)
        if not fits(cells, y, x, radius):
            continue
        bumps = rng.uniform(0.04, 0.08) if rng.random() < crenated else 0.0
        rim, core = brightness * rng.uniform(0.75, 1.2), inside * rng.uniform(0.6, 1.4)
        add_cell(light, mask, (y, x), radius, rng, rim=rim, inside=core, bumps=bumps)
        cells.append((y, x, radius))
        wanted -= np.pi * radius**2
        if wanted < 0:
            break


def propose(cells: list[Circle], radius: float, shape: Size, rng: np.random.Generator) -> tuple[float, float]:
    """The centre of a new cell: within the picture if it is the first, touching another, or anywhere."""
    if not cells:
        y, x = (rng.uniform(min(radius, n / 2), n - min(radius, n / 2)) for n in shape)
    elif rng.random() < 0.35:
        y, x, other = cells[rng.integers(len(cells))]
        angle, apart = rng.uniform(0, 2 * np.pi), (radius + other) * rng.uniform(0.86, 1.0)
        y, x = y + apart * np.sin(angle), x + apart * np.cos(angle)
    else:
        y, x = (rng.uniform(-0.4 * radius, n + 0.4 * radius) for n in shape)
    return float(y), float(x)


def fits(cells: list[Circle], y: float, x: float, radius: float) -> bool:
    """Whether a cell overlaps the others no more than a little."""
    return all(np.hypot(y - v, x - u) > 0.85 * (radius + other) for v, u, other in cells)


def add_cell(
    light: np.ndarray,
    mask: np.ndarray,
    place: Place,
    radius: float,
    rng: np.random.Generator,
    *,
    rim: float,
    inside: float,
    bumps: float = 0.0,
) -> None:
    """One cell: a slightly long disc, marked 1 in the mask, and the light it scatters.

    Args:
        light: (H, W) float32, changed in place.
        mask: (H, W) uint8.
        place: row and column of the centre, in pixels.
        radius: half the longest diameter, in pixels.
        rng: decides the rest.
        rim: brightness of the rim.
        inside: brightness within.
        bumps: height of the bumps of a crenated outline, as a share of the radius.
    """
    sharp, glow, core = rng.uniform(1.2, 2.0), rng.uniform(4, 7), rng.random() < 0.25
    squash, waves, (turn, *phases) = rng.uniform(0.9, 1), rng.integers(9, 15), rng.uniform(0, 2 * np.pi, 3)
    corner, window = cut(light.shape, place, 1.2 * radius + 16)
    y, x = offsets(light[window].shape, corner, place)
    distance, angle = polar(y, x, turn, squash)
    if bumps:
        wave = np.cos(waves * angle + phases[0]) + 0.6 * np.cos((waves - 4) * angle + phases[1])
        distance = distance / (1 + bumps * wave.astype(np.float32) / 1.6)
    depth = radius - distance
    mask[window][depth >= 0] = 1
    own = rim * np.exp(-(((depth - 1.3 * sharp) / sharp) ** 2) / 2)
    own += 0.17 * rim * np.exp(-np.abs(depth) / glow)
    own += inside * (0.5 + 0.5 * np.tanh(depth))
    if core:
        own += 0.7 * rim * np.exp(-((distance / (0.25 * radius)) ** 2) / 2)
    # Rims that cross are a little brighter than one, not twice as bright.
    light[window] = np.hypot(light[window], own)


def polar(y: np.ndarray, x: np.ndarray, turn: float, squash: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the centre and angle, in axes turned by an angle; across, lengths count 1 / squash."""
    along = x * np.cos(np.float32(turn)) + y * np.sin(np.float32(turn))
    across = (y * np.cos(np.float32(turn)) - x * np.sin(np.float32(turn))) / squash
    return np.sqrt(along**2 + across**2), np.arctan2(across, along)


def cut(shape: Size, place: Place, reach: float) -> tuple[list[int], tuple[slice, ...]]:
    """The corner and the slices of the window around a place, clipped to the picture."""
    starts = [min(max(int(p - reach), 0), n) for p, n in zip(place, shape, strict=True)]
    stops = [min(max(int(p + reach) + 1, 0), n) for p, n in zip(place, shape, strict=True)]
    return starts, tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))


def offsets(shape: Size, corner: Place, place: Place) -> tuple[np.ndarray, np.ndarray]:
    """Rows (h, 1) and columns (1, w) of a window's pixel centres, from a place."""
    y = np.arange(shape[0], dtype=np.float32)[:, None] + np.float32(corner[0] - place[0])
    x = np.arange(shape[1], dtype=np.float32)[None, :] + np.float32(corner[1] - place[1])
    return y, x


def add_debris(blue: np.ndarray, green: np.ndarray, rng: np.random.Generator) -> None:
    """Round specks, bright or dim, mostly small; white, which is light of both layers."""
    for _ in range(rng.poisson(blue.size / 65536 * rng.uniform(8, 50))):
        large = rng.random() < 0.05
        place, radius = rng.uniform(0, 1, 2) * blue.shape, rng.uniform(0.7, 1.7) + 1.3 * large
        corner, window = cut(blue.shape, place, 4 * radius + 1)
        y, x = offsets(blue[window].shape, corner, place)
        speck = rng.uniform(12, 110) * np.exp(-(y**2 + x**2) / (2 * radius**2))
        blue[window] += speck
        green[window] += speck


def add_bacteria(light: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> None:
    """Filaments until they cover 1.5 to 3.5 % of the picture; the first one begins at its middle."""
    wanted, brightness = rng.uniform(0.015, 0.035) * mask.size, rng.uniform(120, 210)
    first = True
    while wanted > 0:
        width, length = rng.uniform(4.4, 6.0), rng.uniform(35, 105)
        length = min(length, max(wanted / width, 20))
        low, high = (0.3, 0.7) if first else (0.04, 0.96)
        line = centre_line(rng.uniform(low, high, 2) * mask.shape, length, rng)
        add_filament(light, mask, line, width / 2, brightness * rng.uniform(0.85, 1.2))
        wanted -= width * length
        first = False


def centre_line(middle: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """(n, 2) rows and columns half a pixel apart, along a bent and waving curve around its middle."""
    steps = np.arange(int(2 * length)) / 2
    bend = rng.normal(0, 0.012) + np.cumsum(rng.normal(0, 0.0022, len(steps)))
    wave = rng.uniform(0.2, 0.9) * np.cos(2 * np.pi * (steps / rng.uniform(11, 20) + rng.uniform()))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(bend) / 2 + wave
    line = np.cumsum(np.stack([np.sin(heading), np.cos(heading)], axis=1), axis=0) / 2
    return line - line[len(line) // 2] + middle


def add_filament(
    light: np.ndarray, mask: np.ndarray, line: np.ndarray, radius: float, brightness: float
) -> None:
    """One bacterium: all pixels within a radius of a line, marked 2 in the mask, and its light."""
    corner = np.floor(line.min(axis=0)).astype(int) - REACH
    end = np.ceil(line.max(axis=0)).astype(int) + REACH + 1
    depth = radius - distances(line - corner, tuple(end - corner))
    first, last = np.clip(corner, 0, mask.shape), np.clip(end, 0, mask.shape)
    window = tuple(map(slice, first, last))
    depth = depth[tuple(map(slice, first - corner, last - corner))]
    mask[window][depth >= 0] = 2
    glow = 0.12 * np.exp(np.minimum(depth, 0) / 2)
    light[window] += brightness * (0.5 + 0.5 * np.tanh(1.5 * depth) + glow) * (depth > radius - REACH)


def distances(line: np.ndarray, shape: Size) -> np.ndarray:
    """Pixels from each pixel centre to the nearest point of a line; REACH where it is further."""
    around = np.arange(-REACH, REACH + 1)
    nearest = np.rint(line).astype(int)
    rows, columns = nearest[:, :1] + around, nearest[:, 1:] + around
    squares = ((rows - line[:, :1]) ** 2)[:, :, None] + ((columns - line[:, 1:]) ** 2)[:, None, :]
    result = np.full(shape, REACH**2, np.float32)
    places = rows[:, :, None] * shape[1] + columns[:, None, :]
    np.minimum.at(result.ravel(), places.ravel(), squares.astype(np.float32).ravel())
    return np.sqrt(result)


def expose(blue: np.ndarray, green: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The camera's picture: the light of cells and of filaments, each in its tint, haze, shade and noise.

    Args:
        blue: (H, W) float32, the light of cells.
        green: (H, W) float32, the light of bacteria and debris.
        rng: decides the tints and the rest.

    Returns:
        (H, W, 3) uint8.
    """
    tints = np.array([[0.72, 0.88, 1.1], [0.92, 1.05, 0.8], [0.6, 0.8, 1.5]]) * rng.uniform(0.9, 1.1, (3, 3))
    cell, filament, dark = tints.astype(np.float32)
    shade, haze = uneven(blue.shape, rng)
    image = blue[..., None] * cell + green[..., None] * filament + haze[..., None] * dark
    image *= shade[..., None]
    # Shot noise by its normal approximation: variance in proportion to the light.
    variance = image * np.float32(rng.uniform(0.1, 0.4)) + np.float32(rng.uniform(1, 3) ** 2)
    image += np.sqrt(variance) * rng.standard_normal(image.shape, np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def uneven(shape: Size, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two (H, W) float32: the lamp's share of full light at each pixel, and the background's haze."""
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    y = y[:, None]
    (top, left), fall = np.clip(rng.normal(0, 0.12, 2), -0.25, 0.25), rng.uniform(0, 0.2)
    shade = 1 + float(top) * y + float(left) * x - fall * (y**2 + x**2)
    rate, phase = rng.uniform(1, 4, 2).tolist(), rng.uniform(0, 2 * np.pi, 2).tolist()
    clouds = 1 + 0.4 * np.sin(rate[0] * y + phase[0]) * np.sin(rate[1] * x + phase[1])
    return shade, rng.uniform(8, 20) * clouds


def write_dataset(folder: Path, count: int, *, size: tuple[int, int] = (256, 256), seed: int = 0) -> None:
    """Write drawn micrographs as a data set: images/NAME.png, masks/NAME.png and classes.txt.

    Args:
        folder: made if it is not there; files of the same names are replaced.
        count: how many images, drawn with the seeds seed, seed + 1, ...; each is named by its seed.
        size: height and width in pixels.
        seed: the first seed.

    Raises:
        SettingError: the count is below 1, the seed negative or the size not positive.
        OutputError: a file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_dataset(Path(folder), 2, size=(32, 32))
        ...     sorted(path.name for path in Path(folder).glob("*/*.png"))
        ['0000.png', '0000.png', '0001.png', '0001.png']
    """
    if count < 1:
        raise SettingError(f"{count} images cannot be drawn", mend="give 1 or more")
    folder = Path(folder)
    for number in range(seed, seed + count):
        image, mask = draw(number, size)
        write_png(folder / "images" / f"{number:04d}.png", image)
        write_png(folder / "masks" / f"{number:04d}.png", mask, palette=COLOURS)
    with atomic_path(folder / "classes.txt") as path:
        path.write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
