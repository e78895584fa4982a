"""Many images to files: labels, overlays, probabilities."""

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from unetpp.analysis.legend import with_legend
from unetpp.analysis.overlay import PALETTE, draw_overlay
from unetpp.analysis.uncertainty import uncertainty
from unetpp.data.images import read_image, write_jpeg, write_png
from unetpp.data.planes import write_planes
from unetpp.data.regions import pixel_size_of
from unetpp.errors import ImageError, UnetppError
from unetpp.inference.jobs import Job, check_output, refuse_existing, refuse_images
from unetpp.inference.predict import Ensemble, Predictor, to_labels
from unetpp.inference.slides import Slide, finish, open_store, plan_slide, predict_block
from unetpp.inference.sources import known_source, source_of, source_of_regions

# Pieces of work at a time: one in the network, one that is read, one that is written.
AHEAD = 3

# A piece of work: called with a predictor, by whoever has one.
Piece = Callable[[Predictor | Ensemble], None]
# Does pieces in any order; gives each, and how it failed.
Execute = Callable[[Sequence[Piece]], Iterator[tuple[Piece, Exception | None]]]


class Folder:
    """The work on many images, in pieces that may be done anywhere and in any order.

    Args:
        jobs: images and the names of their outputs.
        predictor: finds the classes; decides on the blocks of slides.
        out: the folder to write into, or a single label image.
        classes: the name of each class.
        identity: of the model; what was begun with another is not gone on with.
        extras: "probabilities" and "uncertainty", written as float16 TIFF of images that are held as a whole.
        existing: what to do about outputs that are there: "refuse", "overwrite", or "skip" if all of a job's are, and
            are not known to be of another image or model.
        pixel_size: micrometres a pixel's side, for a scale bar, if it is not for the images to say.

    Attributes:
        pieces: what is left to do: an image, or a block of a slide, each.
        slides: images that are done by blocks.
        failures: an error for each image that cannot be used.

    Raises:
        OutputError: if an output exists and may not be replaced, as none of the images may, before anything is
            written.
        SettingError: if several images shall go into one file.
    """

    def __init__(
        self,
        jobs: list[Job],
        predictor: Predictor | Ensemble,
        out: Path,
        *,
        classes: Sequence[str] = (),
        identity: str = "",
        extras: Sequence[str] = (),
        existing: str = "refuse",
        pixel_size: float | None = None,
    ):
        check_output(jobs, out)
        outputs = {job: job.outputs(out, extras) for job in jobs}
        images = [job.image for job in jobs]
        refuse_images(images, [path for paths in outputs.values() for path in paths.values()])
        if existing == "refuse":
            refuse_existing(jobs, out, extras)
        if existing == "skip":
            outputs = {job: paths for job, paths in outputs.items() if not is_done(job, paths, identity)}
        self.classes, self.outputs, self.pixel_size = classes, outputs, pixel_size
        self.failures: list[UnetppError] = []
        self.slides: dict[Job, Slide] = {}
        self.pieces: list[Piece] = []
        # Whose piece each is, and how many are left of each job.
        self.owner: dict[int, Job] = {}
        self.left: dict[Job, int] = {}
        for job in outputs:
            if job.kind == "image":
                piece = functools.partial(predict_file, job, outputs[job], classes, pixel_size, identity)
                self._add(job, [piece])
            else:
                self._add_slide(job, predictor, identity)

    def _add(self, job: Job, pieces: Sequence[Piece]) -> None:
        self.pieces += pieces
        self.owner |= {id(piece): job for piece in pieces}
        self.left[job] = len(pieces)

    def _add_slide(self, job, predictor, identity):
        labels = self.outputs[job]["labels"]
        try:
            slide = plan_slide(job.image, begun(labels), predictor, identity)
        except ImageError as error:
            self.failures.append(error)
            return
        open_store(slide, create=True)
        self.slides[job] = slide
        self._add(job, [functools.partial(predict_block, slide, *place) for place in slide.work()])
        if not self.left[job]:
            self._finish(job)

    def run(self, execute: Execute, done: Callable[[Job], None] = lambda job: None) -> list[UnetppError]:
        """Do the work.

        Args:
            execute: does the pieces.
            done: called after each piece with its job.

        Returns:
            an error for each image that could not be predicted; all others are written.

        Raises:
            OutputError: if outputs cannot be written; what was written stays.
        """
        failed: set[Job] = set()
        for piece, error in execute(self.pieces):
            job = self.owner[id(piece)]
            if isinstance(error, ImageError):
                if job not in failed:
                    self.failures.append(error)
                failed.add(job)
            elif error:
                raise error
            self.left[job] -= 1
            if job.kind != "image" and not self.left[job] and job not in failed:
                self._finish(job)
            done(job)
        return sorted(self.failures, key=str)

    def _finish(self, job: Job) -> None:
        paths = self.outputs[job]
        overlay = paths.get("overlays")
        finish(self.slides[job], paths["labels"], overlay, self.classes, pixel_size=self.pixel_size)


def begun(labels: Path) -> Path:
    """The store of the labels of a slide in progress."""
    return labels.with_name(f".{labels.name}.partial")


def is_done(job: Job, outputs: dict[str, Path], identity: str) -> bool:
    """Whether a job's outputs are there, and none of them is about to be replaced, or of another image or model."""
    labels = outputs["labels"]
    if not all(path.exists() for path in outputs.values()) or begun(labels).exists():
        return False
    try:
        # Other programs, in which labels are corrected, leave it away.
        known = known_source(labels)
        find = source_of if job.kind == "image" else source_of_regions
        return known is None or known == find(job.image, identity)
    except (ImageError, OSError):
        return False


def threads(predictor: Predictor | Ensemble) -> Execute:
    """Do pieces of work in this process: some read and write while another one is in the network."""

    def execute(pieces):
        pool = ThreadPoolExecutor(AHEAD)
        try:
            futures = {pool.submit(piece, predictor): piece for piece in pieces}
            for future in as_completed(futures):
                yield futures.pop(future), future.exception()
        finally:
            pool.shutdown(cancel_futures=True)

    return execute


def predict_folder(
    jobs: list[Job], predictor: Predictor | Ensemble, out: Path, **options
) -> list[UnetppError]:
    """Predict images in this process and write what was found; see `Folder`.

    Returns:
        an error for each image that could not be predicted; all others are written.
    """
    return Folder(jobs, predictor, out, **options).run(threads(predictor))


def predict_file(
    job: Job,
    outputs: dict[str, Path],
    classes: Sequence[str],
    pixel_size: float | None,
    identity: str,
    predictor: Predictor | Ensemble,
) -> None:
    """Predict one image and write its outputs.

    Raises:
        ImageError: if the image cannot be used.
        OutputError: if an output cannot be written.
    """
    try:
        image, source = read_image(job.image), source_of(job.image, identity)
        if "uncertainty" in outputs:
            found, unsure = uncertainty(predictor.members(image), predictor.closed)
        else:
            found, unsure = predictor(image), None
    except MemoryError:
        what = "the image does not fit into memory"
        raise ImageError(what, where=job.image, mend="save it as a tiled TIFF") from None
    except ImageError as error:
        raise ImageError(error.what, where=job.image, mend=error.mend) from error
    labels = to_labels(found)
    if unsure is not None:
        write_planes(outputs["uncertainty"], unsure.astype("float16"), ("entropy", "disagreement"))
    if "probabilities" in outputs:
        write_planes(outputs["probabilities"], np.moveaxis(found, -1, 0).astype("float16"))
    if "overlays" in outputs:
        side = pixel_size or pixel_size_of(job.image)
        drawn = with_legend(draw_overlay(image, labels), classes, pixel_size=side)
        write_jpeg(outputs["overlays"], drawn)
    write_png(outputs["labels"], labels, palette=PALETTE, source=source)
