"""One image to class probabilities and labels."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from unetpp.bundle import GRAPH, INT8, Bundle, check_level, find_bundle, load_model, read_bundle, verified
from unetpp.data.images import as_float, to_channels
from unetpp.data.normalization import Normalization, check_range
from unetpp.data.resample import Scaling, resize_image
from unetpp.data.symmetry import SYMMETRIES, turn, turn_back
from unetpp.errors import ImageError, SettingError
from unetpp.inference.engine import Engine, keras_engine, openvino_engine
from unetpp.inference.padding import crop_middle, pad_by_reflection
from unetpp.inference.seams import close_seams, with_seam
from unetpp.inference.tiles import round_up, tiles

# A tile's side, and how wide a network's first level may be for it to take about 1.5 GB at most.
TILES = {1024: 16, 768: 32, 512: sys.maxsize}
ENGINES = ("auto", "openvino", "keras")


@dataclass(frozen=True)
class Predictor:
    """A network with all that its images must go through: `predictor(image) -> probabilities`.

    Attributes:
        engine: runs the network on a batch.
        normalization: of the images.
        scaling: of the images.
        symmetries: how many of the eight symmetries of the square are averaged (test-time augmentation).
        multiple: what the network's height and width must be a multiple of.
        tile: pixels of a tile's side at most; a multiple of `multiple`.
        overlap: pixels that neighbouring tiles share at least.
        checked: whether the range of the image's numbers is known to fit; so for regions, as the whole image has been
            checked.
        seams: whether the network's last output is where objects touch; see `close_seams`.
    """

    engine: Engine
    normalization: Normalization
    scaling: Scaling = field(default_factory=Scaling)
    symmetries: int = 1
    multiple: int = 32
    tile: int = 512
    overlap: int = 128
    checked: bool = False
    seams: bool = False

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Class probabilities at the image's own size.

        Args:
            image: (H, W, C) uint8, uint16, or real numbers in the scale of the training images; see `check_range`.

        Returns:
            (H, W, classes) float32.

        Raises:
            ImageError: if the axes, channels or numbers do not fit the model.
        """
        return self.closed(self.outputs(image))

    def outputs(self, image: np.ndarray) -> np.ndarray:
        """What the network gives at the image's own size: as `__call__`, with a plane more if it knows seams."""
        image = np.asarray(image)
        return resize_image(mean(self._views(image)), image.shape[:2])

    def members(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """What `outputs` averages, one by one."""
        image = np.asarray(image)
        return (resize_image(view, image.shape[:2]) for view in self._views(image))

    def closed(self, outputs: np.ndarray) -> np.ndarray:
        """Of a mean of outputs the class probabilities: (H, W, classes) float32."""
        return close_seams(outputs) if self.seams else outputs

    def labels(self, image: np.ndarray) -> np.ndarray:
        """The class of each pixel: (H, W, C) -> (H, W) uint8."""
        return to_labels(self(image))

    def scale(self, size: tuple[int, int]) -> float:
        """Pixels that the network sees a pixel of an image of `size` (height, width)."""
        return self.scaling.factor(size)

    @property
    def per_image(self) -> bool:
        """Whether each image is normalised by itself."""
        return self.normalization.per_image

    def for_regions(self, size: tuple[int, int], sample: np.ndarray, *, check: bool = True) -> "Predictor":
        """The same for regions of one image: all at one scale, and normalised alike.

        Args:
            size: (height, width) of the whole image.
            sample: (n, h, w, C) regions from all over the image, of its dtype.
            check: whether the sample's numbers must fit the model; a plane of a stack may be blank.

        Raises:
            ImageError: if the channels or numbers do not fit the model.
        """
        scaling = Scaling(scale=self.scale(size))
        seen = replace(self, scaling=scaling)
        pixels = np.stack([seen.resized(region) for region in sample])
        if check:
            check_range(sample, pixels, self.normalization)
        return replace(seen, normalization=self.normalization.of(pixels), checked=True)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Bring to working size and normalise: (H, W, C) -> (h, w, channels) float32."""
        pixels = self.resized(image)
        if not self.checked:
            check_range(image, pixels, self.normalization)
        return self.normalization.of(pixels)(pixels)

    def resized(self, image: np.ndarray) -> np.ndarray:
        """Bring to working size: (H, W, C) -> (h, w, channels) float32."""
        if image.ndim != 3 or not image.size:
            shape = " x ".join(map(str, image.shape))
            mend = "give an image with pixels" if image.ndim == 3 else "add the axis"
            raise ImageError(f"the image is {shape}, not height x width x channels", mend=mend)
        pixels = as_float(to_channels(image, len(self.normalization.mean)))
        return resize_image(pixels, self.scaling.size(image.shape[:2]))

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Tile, run and blend: normalised (h, w, channels) -> (h, w, outputs) float32."""
        size = pixels.shape[:2]
        full = round_up(size, self.multiple)
        padded = pad_by_reflection(pixels, full)
        pieces = tiles(full, self.tile, self.overlap, self.multiple)
        if len(pieces) == 1:
            return crop_middle(self.engine(padded[None])[0], size)
        total = None
        for piece in pieces:
            found = self.engine(padded[piece.place][None])[0]
            if total is None:
                total = np.zeros((*full, found.shape[-1]), np.float32)
            total[piece.place] += piece.weight * found
        assert total is not None
        return crop_middle(total, size)

    def _views(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """Probabilities at working size, by each symmetry in turn."""
        pixels = self.prepare(image)
        for symmetry in range(self.symmetries):
            yield turn_back(self.probabilities(turn(pixels, symmetry)), symmetry)


@dataclass(frozen=True)
class Ensemble:
    """Several predictors of the same classes, whose probabilities are averaged."""

    predictors: tuple[Predictor, ...]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Class probabilities at the image's own size: (H, W, C) -> (H, W, classes) float32."""
        return self.closed(mean(self._with_seam(p, p.outputs(image)) for p in self.predictors))

    def members(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """What is averaged, one by one: `Predictor.members` of each, with a plane of seams if any knows them."""
        return (self._with_seam(p, member) for p in self.predictors for member in p.members(image))

    def closed(self, outputs: np.ndarray) -> np.ndarray:
        """As `Predictor.closed`."""
        return close_seams(outputs) if self.seams else outputs

    @property
    def seams(self) -> bool:
        """Whether any of them knows seams."""
        return any(predictor.seams for predictor in self.predictors)

    def _with_seam(self, predictor: Predictor, outputs: np.ndarray) -> np.ndarray:
        return with_seam(outputs, known=predictor.seams) if self.seams else outputs

    def labels(self, image: np.ndarray) -> np.ndarray:
        """The class of each pixel: (H, W, C) -> (H, W) uint8."""
        return to_labels(self(image))

    @property
    def tile(self) -> int:
        """As `Predictor.tile`, of the first."""
        return self.predictors[0].tile

    def scale(self, size: tuple[int, int]) -> float:
        """As `Predictor.scale`, of the first."""
        return self.predictors[0].scale(size)

    @property
    def per_image(self) -> bool:
        """Whether any of them normalises each image by itself."""
        return any(predictor.per_image for predictor in self.predictors)

    def for_regions(self, size: tuple[int, int], sample: np.ndarray, *, check: bool = True) -> "Ensemble":
        """The same for regions of one image, as `Predictor.for_regions`."""
        return Ensemble(tuple(p.for_regions(size, sample, check=check) for p in self.predictors))


def open_predictor(
    path: Path | str,
    *,
    engine: str = "auto",
    precision: str = "auto",
    level: int | None = None,
    device: str = "CPU",
    tta: bool = False,
    threads: int | None = None,
    streams: int = 1,
) -> tuple[Bundle, Predictor]:
    """A bundle and what predicts with it.

    Args:
        path: a bundle's folder, or the run folder that holds one.
        engine: "openvino", "keras", or "auto" for OpenVINO where the bundle has a graph.
        precision: of OpenVINO's arithmetic: "auto", "float32", "bfloat16", "float16", or "int8" of a
            bundle that was quantised; "auto" is the fastest that keeps the scores.
        level: of a network trained with deep supervision: 1, the shallowest, to the deepest, the default.
        device: of OpenVINO: "CPU", "GPU", ...
        tta: average over the eight symmetries of the square (test-time augmentation).
        threads: how many OpenVINO uses; None for all cores.
        streams: how many images OpenVINO runs at a time.

    Raises:
        BundleError: if the bundle is missing, damaged, or from a newer version.
        InstallError: if what the engine needs is not installed.
        SettingError: for an engine, level, device or precision that is not there.
    """
    if engine not in ENGINES:
        raise SettingError(f"there is no engine {engine}", mend=f"choose one of: {', '.join(ENGINES)}")
    bundle, folder = read_bundle(path), find_bundle(path)
    if engine == "auto":
        engine = "openvino" if GRAPH in bundle.sha256 else "keras"
    levels, multiple = bundle.levels, Predictor.multiple
    if level is not None:
        check_level(bundle, level, folder)
    if engine == "openvino":
        graph = {"auto": bundle.graph, "int8": INT8}.get(precision, GRAPH)
        if graph not in bundle.sha256:
            command = "quantize" if graph == INT8 else "export"
            raise SettingError(f"the model has no {graph}", where=folder, mend=f"make it: unetpp {command}")
        index = -1 if level is None else levels.index(level)
        settings: dict[str, Any] = {
            "device": device,
            "precision": "auto" if graph == INT8 else precision,
            "output": index,
            "threads": threads,
            "streams": streams,
        }
        run = openvino_engine(verified(folder, bundle, graph), cache=cache_folder(), **settings)
    else:
        if precision not in ("auto", "float32") or device != "CPU":
            other = device if precision in ("auto", "float32") else precision
            what = f"Keras predicts in float32 on a device of its own choice, not with {other}"
            mend = "leave --precision and --device out, or run unetpp export for OpenVINO"
            raise SettingError(what, where=folder, mend=mend)
        _, model = load_model(path)
        run = keras_engine(model if level in (None, levels[-1]) else model.pruned(level))
        from unetpp.model import sizes

        multiple = sizes.best_multiple()
    width = bundle.settings["filters"][0]
    tile = next(tile for tile, widest in TILES.items() if width <= widest)
    options: dict[str, Any] = {"symmetries": SYMMETRIES if tta else 1, "tile": tile, "seams": bundle.seams}
    return bundle, Predictor(run, bundle.normalization, bundle.scaling, multiple=multiple, **options)


def open_predictors(paths: Sequence[Path], **options) -> tuple[Bundle, Predictor | Ensemble]:
    """`open_predictor` of one bundle, or of several whose probabilities are averaged.

    Returns:
        the first bundle's description, and what predicts.

    Raises:
        SettingError: if the bundles' classes differ.
    """
    opened = [open_predictor(path, **options) for path in paths]
    for path, (bundle, _) in zip(paths, opened, strict=True):
        if bundle.classes != opened[0][0].classes:
            what = f"the classes {', '.join(bundle.classes)} are not those of {paths[0]}"
            raise SettingError(what, where=path, mend="average models of the same classes")
    predictors = tuple(predictor for _, predictor in opened)
    return opened[0][0], predictors[0] if len(predictors) == 1 else Ensemble(predictors)


def cache_folder() -> Path:
    """Where compiled graphs are kept for this user."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("unetpp", appauthor=False))


def mean(arrays) -> np.ndarray:
    """The mean of arrays that are given one by one."""
    total, count = None, 0
    for count, array in enumerate(arrays, start=1):
        total = array if total is None else np.add(total, array, out=total if count > 2 else None)
    assert total is not None
    return total if count == 1 else total / np.float32(count)


def to_labels(probabilities: np.ndarray) -> np.ndarray:
    """The most probable class, or foreground from one half on: (H, W, C) -> (H, W) uint8."""
    if probabilities.shape[-1] == 1:
        return (probabilities[..., 0] >= 0.5).astype(np.uint8)
    # A plane at a time is faster than `argmax` over few classes; of equal ones the first counts, too.
    best, labels = probabilities[..., 0], np.zeros(probabilities.shape[:2], np.uint8)
    for index in range(1, probabilities.shape[-1]):
        labels[probabilities[..., index] > best] = index
        best = np.maximum(best, probabilities[..., index])
    return labels
