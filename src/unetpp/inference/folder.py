"""Many images to files: labels, overlays, probabilities."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path, PurePosixPath

from unetpp.analysis.overlay import PALETTE, draw_overlay
from unetpp.data.images import IMAGE_SUFFIXES, read_image, write_png, write_probabilities
from unetpp.errors import ImageError, OutputError, UnetppError
from unetpp.inference.predict import Predictor, to_labels

# Images in work at a time: one in the network, one that is read, one that is written.
AHEAD = 3


@dataclass(frozen=True)
class Job:
    """An image to predict and the name its outputs get.

    Attributes:
        image: the file.
        name: its outputs' path below OUT/labels and OUT/overlays, without suffix.
    """

    image: Path
    name: str

    def outputs(self, out: Path, *, probabilities: bool) -> dict[str, Path]:
        """The files this job writes, by kind."""
        paths = {kind: out / kind / f"{self.name}.png" for kind in ("labels", "overlays")}
        if probabilities:
            paths["probabilities"] = out / "probabilities" / f"{self.name}.tif"
        return paths


def find_jobs(inputs: list[str]) -> list[Job]:
    """The images that files, folders and globs stand for, each with a name no other has.

    A file below a given folder keeps its sub-folder. Where two inputs would share a name, their suffixes
    are added, then the names of their folders, then numbers.

    Args:
        inputs: paths or glob patterns.

    Raises:
        ImageError: if an input does not exist or holds no image.
    """
    found: dict[Path, PurePosixPath] = {}
    for given in inputs:
        for image, relative in _expand(given):
            found.setdefault(image, relative)
    return [Job(image, name) for image, name in zip(found, _unique_names(found), strict=True)]


def predict_folder(
    jobs: list[Job],
    predictor: Predictor,
    out: Path,
    *,
    probabilities: bool = False,
    overwrite: bool = False,
    done: Callable[[Job], None] = lambda job: None,
) -> list[UnetppError]:
    """Predict images and write what was found.

    Some images are read and written while another one is in the network, so that the processor does hardly
    anything else.

    Args:
        jobs: images and the names of their outputs.
        predictor: finds the classes.
        out: the folder to write into.
        probabilities: write them too, as float16 TIFF.
        overwrite: replace outputs that exist.
        done: called after each image.

    Returns:
        an error for each image that could not be predicted; all others are written.

    Raises:
        OutputError: if an output exists and may not be replaced, before anything is written; or if
            outputs cannot be written.
    """
    if not overwrite:
        refuse_existing(jobs, out, probabilities=probabilities)
    failures: list[UnetppError] = []
    pool = ThreadPoolExecutor(AHEAD)
    try:
        futures = {
            pool.submit(predict_file, job, predictor, job.outputs(out, probabilities=probabilities)): job
            for job in jobs
        }
        for future in as_completed(futures):
            try:
                future.result()
            except ImageError as error:
                failures.append(error)
            done(futures[future])
    finally:
        pool.shutdown(cancel_futures=True)
    return sorted(failures, key=str)


def predict_file(job: Job, predictor: Predictor, outputs: dict[str, Path]) -> None:
    """Predict one image and write its outputs.

    Raises:
        ImageError: if the image cannot be used.
        OutputError: if an output cannot be written.
    """
    try:
        image = read_image(job.image)
        found = predictor(image)
    except MemoryError:
        what = "the image does not fit into memory"
        raise ImageError(what, where=job.image, mend="cut it up") from None
    except ImageError as error:
        raise ImageError(error.what, where=job.image, mend=error.mend) from error
    labels = to_labels(found)
    if "probabilities" in outputs:
        write_probabilities(outputs["probabilities"], found.astype("float16"))
    write_png(outputs["overlays"], draw_overlay(image, labels))
    write_png(outputs["labels"], labels, palette=PALETTE)


def refuse_existing(jobs: list[Job], out: Path, *, probabilities: bool) -> None:
    """Raise `OutputError` if a job's output is there already."""
    if out.exists() and not out.is_dir():
        raise OutputError("this is a file, not a folder", where=out, mend="choose another --out")
    for job in jobs:
        for path in job.outputs(out, probabilities=probabilities).values():
            if path.exists():
                raise OutputError("the output exists", where=path, mend="give --overwrite or another --out")


def _expand(given: str) -> Iterator[tuple[Path, PurePosixPath]]:
    """The images of one input, each with its path relative to where the input begins."""
    path = Path(given)
    if path.is_dir():
        files = [p for p in sorted(path.rglob("*")) if _is_image(p)]
        if not files:
            raise ImageError("no image is in this folder", where=path, mend="give a folder with images")
        for file in files:
            yield file.resolve(), PurePosixPath(file.relative_to(path).as_posix())
    elif path.exists() or not has_magic(given):
        if not path.exists():
            raise ImageError("there is no such file or folder", where=path, mend="check the path")
        yield path.resolve(), PurePosixPath(path.name)
    else:
        # Path.glob takes no absolute pattern.
        files = [Path(p) for p in sorted(glob(given, recursive=True)) if _is_image(Path(p))]  # noqa: PTH207
        if not files:
            raise ImageError("no image matches", where=given, mend="check the pattern")
        for file in files:
            yield file.resolve(), PurePosixPath(file.name)


def _is_image(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _unique_names(found: dict[Path, PurePosixPath]) -> list[str]:
    """Names for outputs; compared without case, since some file systems do not tell it apart."""
    names = [str(relative.with_suffix("")) for relative in found.values()]
    for spell in (_with_suffix, _with_folder):
        taken = Counter(name.lower() for name in names)
        names = [
            spell(path, relative) if taken[name.lower()] > 1 else name
            for name, (path, relative) in zip(names, found.items(), strict=True)
        ]
    used: set[str] = set()
    for k, name in enumerate(names):
        number, unique = 1, name
        while unique.lower() in used:
            number += 1
            unique = f"{name}_{number}"
        used.add(unique.lower())
        names[k] = unique
    return names


def _with_suffix(path: Path, relative: PurePosixPath) -> str:
    return f"{relative.with_suffix('')}_{relative.suffix.removeprefix('.')}"


def _with_folder(path: Path, relative: PurePosixPath) -> str:
    root = path.parents[len(relative.parts) - 1].name
    return str(PurePosixPath(root or "root") / _with_suffix(path, relative))
