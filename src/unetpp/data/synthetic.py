"""Darkfield micrographs of blood, drawn from known shapes, with exact masks."""

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from unetpp.data.images import write_png
from unetpp.errors import SettingError

CLASSES = ("background", "blood_cell", "bacteria")
COLOURS = ((0, 0, 0), (230, 57, 70), (255, 214, 10))

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
    add_cells(blue, mask, rng)
    add_debris(green, rng)
    add_bacteria(green, mask, rng)
    focus = rng.uniform(0.3, 0.9)
    blue, green = gaussian_filter(blue, focus, truncate=3), gaussian_filter(green, focus, truncate=3)
    return expose(blue, green, rng), mask


def add_cells(light: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> None:
    """Cells until they cover 8 to 20 % of the picture, the first of them wholly inside; some ghosts."""
    height, width = mask.shape
    scale = rng.uniform(0.85, 1.2)
    brightness, inside = rng.uniform(120, 230), rng.uniform(14, 45)
    crenated = rng.random() < 0.3
    for _ in range(rng.poisson(mask.size / 40_000)):
        place = rng.uniform(0, 1, 2) * mask.shape
        add_cell(light, np.zeros_like(mask), place, rng.uniform(14, 20), rng, rim=9, inside=2)
    wanted = rng.uniform(0.08, 0.2) * mask.size
    cells: list[tuple[float, float, float]] = []
    for _ in range(20 + mask.size // 500):
        radius = float(scale * rng.uniform(14, 21))
        y, x = propose(cells, radius, height, width, rng)
        if not fits(cells, y, x, radius):
            continue
        bumps = rng.uniform(0.03, 0.06) if crenated and rng.random() < 0.8 else rng.uniform(0, 0.008)
        rim = brightness * rng.uniform(0.75, 1.2)
        add_cell(light, mask, (y, x), radius, rng, rim=rim, inside=inside * rng.uniform(0.6, 1.4), bumps=bumps)
        cells.append((y, x, radius))
        wanted -= np.pi * radius**2
        if wanted < 0:
            break


def propose(cells: list, radius: float, height: int, width: int, rng) -> tuple[float, float]:
    """The centre of a new cell: within the picture, anywhere, or touching another cell."""
    if not cells:
        margin_y, margin_x = min(radius, height / 2), min(radius, width / 2)
        return rng.uniform(margin_y, height - margin_y), rng.uniform(margin_x, width - margin_x)
    if rng.random() < 0.35:
        y, x, other = cells[rng.integers(len(cells))]
        angle, apart = rng.uniform(0, 2 * np.pi), (radius + other) * rng.uniform(0.86, 1.0)
        return y + apart * np.sin(angle), x + apart * np.cos(angle)
    overhang = 0.4 * radius
    return rng.uniform(-overhang, height + overhang), rng.uniform(-overhang, width + overhang)


def fits(cells: list, y: float, x: float, radius: float) -> bool:
    """Whether a cell overlaps the others no more than a little."""
    return all(np.hypot(y - v, x - u) > 0.85 * (radius + other) for v, u, other in cells)


def add_cell(light, mask, place, radius, rng, *, rim, inside, bumps=0.0) -> None:
    """One cell: an ellipse, crenated by bumps (a share of its radius), and its light.

    Args:
        light: (H, W) float32, added to.
        mask: (H, W) uint8, set to 1 within the cell.
        place: row and column of the centre.
        radius: pixels.
        rng: decides the shape.
        rim: brightness of the rim.
        inside: brightness within.
        bumps: height of the bumps.
    """
    stretch, turn = rng.uniform(0.9, 1.0), rng.uniform(0, np.pi)
    waves, phase = rng.integers(9, 15), rng.uniform(0, 2 * np.pi)
    sharp, glow, core = rng.uniform(1.2, 2.0), rng.uniform(4, 7), rng.random() < 0.25
    corner, window = cut(mask.shape, place, 1.2 * radius + 16)
    if 0 in mask[window].shape:
        return
    y, x = offsets(mask[window].shape, corner, place)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    across = across / stretch
    distance = np.sqrt(along**2 + across**2)
    if bumps > 0.01:
        distance = distance / (1 + bumps * np.cos(waves * np.arctan2(across, along) + phase))
    depth = radius - distance  # pixels to the outline, positive within
    mask[window][depth >= 0] = 1
    light[window] += rim * np.exp(-(((depth - 1.3 * sharp) / sharp) ** 2) / 2)
    light[window] += inside / (1 + np.exp(-2 * depth))
    light[window] += 0.22 * rim * np.exp(-np.abs(depth) / glow)
    if core:
        light[window] += 0.7 * rim * np.exp(-((distance / (0.25 * radius)) ** 2) / 2)


def cut(shape: tuple[int, int], place, reach: float):
    """The corner and the slices of the window around a place, clipped to the picture."""
    starts = [min(max(int(p - reach), 0), n) for p, n in zip(place, shape, strict=True)]
    stops = [min(max(int(p + reach) + 1, 0), n) for p, n in zip(place, shape, strict=True)]
    return starts, tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))


def offsets(shape: tuple[int, int], corner, place) -> tuple[np.ndarray, np.ndarray]:
    """Rows (h, 1) and columns (1, w) of a window's pixel centres, from a place."""
    y = np.arange(shape[0], dtype=np.float32)[:, None] + np.float32(corner[0] - place[0])
    x = np.arange(shape[1], dtype=np.float32)[None, :] + np.float32(corner[1] - place[1])
    return y, x


def add_debris(light: np.ndarray, rng: np.random.Generator) -> None:
    """Small round specks, bright or dim."""
    for _ in range(rng.poisson(light.size / 65536 * rng.uniform(8, 50))):
        place, radius = rng.uniform(0, 1, 2) * light.shape, rng.uniform(0.7, 1.7)
        corner, window = cut(light.shape, place, 4 * radius + 1)
        y, x = offsets(light[window].shape, corner, place)
        light[window] += rng.uniform(25, 200) * np.exp(-(y**2 + x**2) / (2 * radius**2))


def add_bacteria(light: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> None:
    """Filaments until they cover 1.5 to 3.5 % of the picture; the first one begins at its middle."""
    wanted, brightness = rng.uniform(0.015, 0.035) * mask.size, rng.uniform(120, 210)
    first = True
    while wanted > 0:
        width, length = rng.uniform(4.2, 6.0), rng.uniform(35, 105)
        length = min(length, max(wanted / width, 20))
        low, high = (0.3, 0.7) if first else (0.04, 0.96)
        line = centre_line(rng.uniform(low, high, 2) * mask.shape, length, rng)
        add_filament(light, mask, line, width / 2, brightness * rng.uniform(0.85, 1.2))
        wanted -= width * length
        first = False


def centre_line(middle: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """(n, 2) points half a pixel apart along a bent and waving curve around its middle."""
    steps = np.arange(int(2 * length)) / 2
    bend = rng.normal(0, 0.012) + np.cumsum(rng.normal(0, 0.0022, len(steps)))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(bend) / 2
    wave = rng.uniform(0.2, 0.9) * np.cos(2 * np.pi * steps / rng.uniform(11, 20) + rng.uniform(0, 6.3))
    heading = heading + wave
    line = np.cumsum(np.stack([np.sin(heading), np.cos(heading)], axis=1), axis=0) / 2
    return line - line.mean(axis=0) + middle


def add_filament(light: np.ndarray, mask: np.ndarray, line: np.ndarray, radius: float, brightness: float) -> None:
    """All pixels within a radius of a centre line, and their light."""
    low, high = np.floor(line.min(axis=0)) - REACH, np.ceil(line.max(axis=0)) + REACH + 1
    shape = tuple((high - low).astype(int))
    depth = radius - distances(line - low, shape)
    (y0, x0), (h, w) = low.astype(int), mask.shape
    rows, columns = slice(max(y0, 0), min(y0 + shape[0], h)), slice(max(x0, 0), min(x0 + shape[1], w))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    depth = depth[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
    mask[rows, columns][depth >= 0] = 2
    glow = 0.15 * np.exp(-np.maximum(-depth, 0) / 2) * (depth > -REACH)
    light[rows, columns] += brightness * (1 / (1 + np.exp(-3 * np.clip(depth, -10, 10))) + glow)


def distances(line: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels from each pixel centre to the nearest point of a line, where it is within reach."""
    around = np.arange(-REACH, REACH + 1)
    nearest = np.rint(line).astype(int)
    rows, columns = nearest[:, :1] + around, nearest[:, 1:] + around
    squares = ((rows - line[:, :1]) ** 2)[:, :, None] + ((columns - line[:, 1:]) ** 2)[:, None, :]
    result = np.full(shape[0] * shape[1], 400.0, np.float32)
    places = rows[:, :, None] * shape[1] + columns[:, None, :]
    np.minimum.at(result, places.ravel(), squares.astype(np.float32).ravel())
    return np.sqrt(result).reshape(shape)


def expose(blue: np.ndarray, green: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The camera's picture of the light of cells and of filaments: tint, shade, shot noise, read noise."""
    height, width = blue.shape
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    tilt = rng.normal(0, 0.12, 2)
    shade = 1 + np.float32(tilt[0]) * y + np.float32(tilt[1]) * x - np.float32(rng.uniform(0, 0.2)) * (y**2 + x**2)
    image = np.empty((height, width, 3), np.float32)
    base = rng.uniform(8, 20) * np.array([0.6, 0.8, 1.5])
    cell = np.array([0.72, 0.88, 1.1]) * rng.uniform(0.9, 1.1, 3)
    filament = np.array([0.92, 1.05, 0.8]) * rng.uniform(0.9, 1.1, 3)
    for channel in range(3):
        layers = np.float32(base[channel]) + np.float32(cell[channel]) * blue
        image[..., channel] = (layers + np.float32(filament[channel]) * green) * shade
    # Shot noise by its normal approximation: variance in proportion to the light.
    variance = np.float32(rng.uniform(0.1, 0.4)) * image + np.float32(rng.uniform(1, 3) ** 2)
    image += np.sqrt(np.maximum(variance, 0)) * rng.standard_normal(image.shape, np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


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
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(seed, seed + count):
        image, mask = draw(number, size)
        write_png(folder / "images" / f"{number:04d}.png", image)
        write_png(folder / "masks" / f"{number:04d}.png", mask, palette=COLOURS)
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
