"""Stacks, and images larger than memory: predicted block by block, interrupted and resumed at will.

The labels gather in a Zarr store beside the output, a chunk a block, which is written whole or not at all. When
all are there, the store becomes the output: an OME-Zarr folder by another name, or a pyramidal OME-TIFF.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np

from unetpp.analysis.legend import with_legend
from unetpp.analysis.overlay import PALETTE, draw_overlay, shrink_labels
from unetpp.data.files import exchange, former
from unetpp.data.images import TIFF_SUFFIXES, as_float, atomic_path, check_file, open_picture, write_jpeg
from unetpp.data.pyramids import add_levels, write_ome_tiff, write_ome_zarr_metadata, zarr_axes
from unetpp.data.regions import LARGE, import_zarr, is_zarr, kept_open, open_regions
from unetpp.data.spacing import Spacing, side_of, square
from unetpp.errors import ImageError, InstallError, OutputError, UnetppError
from unetpp.inference.predict import Ensemble, Predictor, to_labels
from unetpp.inference.sampling import sample_pixels
from unetpp.inference.sources import SOFTWARE, mark_zarr, source_of_regions, zarr_attribute
from unetpp.inference.tiles import Block, blocks

# Pixels of a preview's long side at most.
PREVIEW = 2048
# Working pixels that the network sees around a block.
HALO = 64


@dataclass(frozen=True)
class Slide:
    """An image that is predicted by blocks, and where its labels gather.

    Attributes:
        image: the file or Zarr folder.
        store: the Zarr store of the labels in progress.
        size: (height, width) of a plane.
        plane_axes: what its planes are, such as "TZ"; "" for one plane.
        plane_shape: how many there are along each.
        channels: of a plane.
        core: pixels of a block's side in the image, and of the store's chunks.
        halo: pixels around a block that the network sees.
        identity: of model, image and settings; labels of another identity are not gone on with.
        source: what tells model and image from others, kept with the labels when all are there.
        spacing: of its pixels, planes and time points, where it is known.
    """

    image: Path
    store: Path
    size: tuple[int, int]
    plane_axes: str
    plane_shape: tuple[int, ...]
    channels: int
    core: int
    halo: int
    identity: str
    source: str
    spacing: Spacing = field(hash=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the labels: planes, height, width."""
        return (*self.plane_shape, *self.size)

    @property
    def count(self) -> int:
        """How many blocks there are in all planes."""
        return int(np.prod(self.plane_shape, dtype=int)) * len(blocks(self.size, self.core, self.halo))

    @property
    def planes(self) -> list[tuple[int, ...]]:
        """The index of each plane along `plane_axes`."""
        return list(np.ndindex(self.plane_shape))

    def alike(self, plane: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """The planes that are normalised together with one: those above and below it, some of which may be empty."""
        axes = zip(self.plane_axes, self.plane_shape, plane, strict=True)
        return tuple(product(*(range(n) if axis == "Z" else (k,) for axis, n, k in axes)))

    def work(self) -> list[tuple[tuple[int, ...], Block]]:
        """The (plane, block) pairs whose labels are not in the store yet."""
        pieces = blocks(self.size, self.core, self.halo)
        return [
            (plane, block)
            for plane in self.planes
            for block in pieces
            if not self._chunk(plane, block).exists()
        ]

    def _chunk(self, plane, block) -> Path:
        return self.store.joinpath("0", "c", *map(str, (*plane, *block.index)))


def kind(path: Path) -> str:
    """How an image is predicted: as an "image" that is held as a whole, a "stack" of planes, or a "slide".

    A damaged file is an "image", and a damaged Zarr folder a "slide", whose readers say what is wrong.
    """
    try:
        if not is_zarr(path) and path.suffix.lower() not in TIFF_SUFFIXES:
            check_file(path)
            with open_picture(path) as picture:
                return "slide" if picture.width * picture.height > LARGE else "image"
        # With a palette, too, so that a stack that has one is told for what it is.
        with open_regions(path, indices=True) as regions:
            if regions.plane_shape:
                return "stack"
            height, width = regions.size
            if not is_zarr(path) and height * width <= LARGE:
                return "image"
        # Not with a palette, which is read as a whole.
        with open_regions(path):
            return "slide"
    except InstallError:
        raise
    except (UnetppError, OSError):
        return "slide" if is_zarr(path) else "image"


def plan_slide(image: Path, store: Path, predictor: Predictor | Ensemble, identity: str) -> Slide:
    """Look at an image and decide on its blocks; see `Slide`.

    Raises:
        ImageError: if its channels or numbers do not fit the model, or it cannot be read.
    """
    with open_regions(image) as regions:
        scale = predictor.scale(regions.size)
        # Rounded down, so that a region is one tile at working scale.
        core, halo = (max(1, int(side / scale)) for side in (predictor.tile - 2 * HALO, HALO))
        sample = sample_pixels(regions, list(np.ndindex(regions.plane_shape)), core**2)
        stat = image.stat()
        settings = [identity, image.name, stat.st_size, stat.st_mtime_ns]
        slide = Slide(
            image,
            store,
            regions.size,
            regions.plane_axes,
            regions.plane_shape,
            sample.shape[-1],
            core,
            halo,
            json.dumps([*settings, regions.plane_shape, regions.size, core, halo]),
            source_of_regions(image, identity),
            regions.spacing,
        )
    try:
        predictor.for_regions(slide.size, sample)
    except ImageError as error:
        raise ImageError(error.what, where=image, mend=error.mend) from error
    return slide


# The pieces at work are of a few neighbouring planes.
@lru_cache(maxsize=8)
def fitted(
    predictor: Predictor | Ensemble, slide: Slide, planes: tuple[tuple[int, ...], ...]
) -> Predictor | Ensemble:
    """What predicts regions of a slide's planes that are normalised together.

    Raises:
        ImageError: if they cannot be read.
    """
    sample = sample_pixels(kept_open(slide.image), planes, slide.core**2)
    return predictor.for_regions(slide.size, sample, check=False)


def open_store(slide: Slide, *, create: bool = False):
    """The Zarr array of a slide's labels; with `create`, emptied unless it is this slide's."""
    zarr = import_zarr()
    if create:
        if slide.store.exists() and zarr_attribute(slide.store, "identity") != slide.identity:
            shutil.rmtree(slide.store)
        if not slide.store.exists():
            group = zarr.create_group(slide.store, attributes={"identity": slide.identity})
            group.create_array(
                "0",
                shape=slide.shape,
                chunks=(*(1 for _ in slide.plane_shape), *(min(slide.core, side) for side in slide.size)),
                dtype="uint8",
                dimension_names=zarr_axes(slide.plane_axes + "YX"),
                # An empty block must be told from one that is still to do.
                config={"write_empty_chunks": True},
            )
    array = zarr.open_array(slide.store / "0", mode="r+")
    return array.with_config({"write_empty_chunks": True})


def predict_block(
    slide: Slide, plane: tuple[int, ...], block: Block, predictor: Predictor | Ensemble
) -> None:
    """Predict one block and write its labels into the store.

    Raises:
        ImageError: if the region cannot be read or used.
        OutputError: if the labels cannot be written.
    """
    region = kept_open(slide.image).read(plane, *block.region)
    # A model that normalises all images alike needs no sample of this one.
    planes = slide.alike(plane if predictor.per_image else (0,) * len(plane))
    found = fitted(predictor, slide, planes)(region)
    try:
        open_store(slide)[(*plane, *block.core)] = to_labels(found[block.inner])
    except OSError as error:
        raise disk_error(slide.store, error) from error


def memory(slide: Slide, predictor: Predictor | Ensemble, filters: Sequence[int]) -> int:
    """About how many bytes predicting a slide takes, whatever its size.

    Args:
        slide: what is predicted.
        predictor: with what.
        filters: of the network.
    """
    # The interpreter and its libraries; the first row of the network's nodes and their concatenation, in
    # bfloat16; regions that are read and written beside.
    network = 2 * predictor.tile**2 * 5 * len(filters) * filters[0]
    regions = 3 * 8 * (slide.core + 2 * slide.halo) ** 2 * slide.channels
    return 450_000_000 + network + regions


def disk_error(path: Path, error: OSError) -> UnetppError:
    """What is said when labels in progress cannot be written."""
    what = f"the labels cannot be written ({error.strerror or error})"
    mend = "make room, and give the same command with --resume: it goes on where it stopped"
    return OutputError(what, where=path, mend=mend)


def finish(
    slide: Slide,
    output: Path,
    overlay: Path | None,
    classes: Sequence[str],
    *,
    pixel_size: float | None = None,
) -> None:
    """Make the output of a store whose labels are all there, and remove the store.

    Args:
        slide: what was predicted.
        output: the file: OME-Zarr by its suffix .zarr, else OME-TIFF.
        overlay: the picture to draw as well: JPEG for one plane, else TIFF; small enough to look at.
        classes: the name of each label.
        pixel_size: micrometres a pixel's side, if it is not for the image to say; for a scale bar, too.

    Raises:
        OutputError: if it cannot be written.
    """
    axes = slide.plane_axes + "YX"
    spacing = slide.spacing | square(pixel_size)
    try:
        levels = add_levels(slide.store)
        if overlay:
            draw_previews(slide, levels[0], overlay, classes, side_of(spacing))
        if output.suffix == ".zarr":
            colours = list(zip(classes, PALETTE, strict=False))
            write_ome_zarr_metadata(slide.store, output.name, levels, axes, colours, spacing)
            mark_zarr(slide.store, slide.source)
            exchange(output, slide.store, former(output))
            # Not before: until then, the store must be known for what it is.
            del import_zarr().open_group(output, mode="r+").attrs["identity"]
        else:
            write_ome_tiff(output, levels, axes, spacing, software=SOFTWARE + slide.source)
            shutil.rmtree(slide.store)
    except UnetppError:
        raise
    except OSError as error:
        raise disk_error(output, error) from error


def draw_previews(slide: Slide, labels, path: Path, classes, pixel_size: float | None) -> None:
    """Draw the labels on the image, small enough to look at: JPEG for one plane, else a page a plane."""
    step = -(-max(slide.size) // PREVIEW)
    shown = pixel_size * step if pixel_size else None
    pages = (
        with_legend(draw_overlay(image, found), classes, pixel_size=shown)
        for image, found in previews(slide, labels, step)
    )
    if path.suffix == ".jpg":
        write_jpeg(path, next(pages))
        return
    import tifffile

    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=True) as file:
        for page in pages:
            file.write(page, photometric="rgb", compression="zlib", contiguous=False)


def previews(slide: Slide, labels, step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image and labels of each plane, scaled down by a whole number: (h, w, C) float32, (h, w) uint8."""
    band = step * max(1, slide.core // step)
    with open_regions(slide.image) as regions:
        for plane in slide.planes:
            images, found = [], []
            for top in range(0, slide.size[0], band):
                rows = slice(top, min(top + band, slide.size[0]))
                region = regions.read(plane, rows, slice(0, slide.size[1]))
                images.append(as_float(region[::step, ::step]))
                found.append(shrink_labels(labels[(*plane, rows, slice(None))], step))
            yield np.concatenate(images), np.concatenate(found)
