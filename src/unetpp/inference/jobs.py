"""Which images are to be predicted, and what their outputs are called."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path, PurePosixPath

from unetpp.data.images import IMAGE_SUFFIXES
from unetpp.data.names import check_name, full_path, is_hidden, unique_names
from unetpp.data.regions import is_zarr
from unetpp.errors import ImageError, OutputError, SettingError
from unetpp.inference.slides import kind

ZARR_SUFFIX = ".zarr"
# The folders of pictures below OUT, of predictions and of objects.
PREDICTED, MEASURED = ("labels", "overlays", "probabilities", "uncertainty"), ("instances", "numbered")


@dataclass(frozen=True)
class Job:
    """An image to predict and the name its outputs get.

    Attributes:
        image: the file.
        name: its outputs' path below OUT/labels and OUT/overlays, without suffix.
        kind: "image", "stack" or "slide", see `kind`.
    """

    image: Path
    name: str
    kind: str = "image"

    def outputs(self, out: Path, extras: Sequence[str] = ()) -> dict[str, Path]:
        """The files this job writes: labels, overlays, and for an image that is held as a whole the `extras`."""
        if is_file(out):
            return {"labels": out}
        labels = ".png" if self.kind == "image" else ".ome.tif"
        overlay = ".tif" if self.kind == "stack" else ".jpg"
        paths = {
            "labels": out / "labels" / (self.name + labels),
            "overlays": out / "overlays" / (self.name + overlay),
        }
        if self.kind == "image":
            paths |= {name: out / name / f"{self.name}.tif" for name in extras}
        return paths


def is_file(out: Path) -> bool:
    """Whether an output is named as one label image, not as a folder for many."""
    return out.suffix.lower() in {ZARR_SUFFIX, ".tif", ".tiff", ".png"}


def find_jobs(
    inputs: list[str], out: Path | None = None, written: Sequence[str] = (*PREDICTED, *MEASURED)
) -> list[Job]:
    """The images that files, folders and globs stand for, each with a name no other has.

    A file below a given folder keeps its sub-folder. Where two inputs would share a name, their suffixes
    are added, then the names of their folders, then numbers.

    Args:
        inputs: paths or glob patterns.
        out: the file or folder of outputs.
        written: folders below `out` whose files are no images of a folder or pattern in which `out` lies, or that it
            is itself.

    Raises:
        ImageError: if an input does not exist or holds no image, or a path is not valid UTF-8.
    """
    found: dict[Path, PurePosixPath] = {}
    for given in inputs:
        outputs = set(_outputs_in(_root(given), out.resolve(), written)) if out else set()
        for image, relative in _expand(given):
            if outputs.isdisjoint((image, *image.parents)):
                check_name(str(relative), image)
                found.setdefault(image, relative)
    if not found:
        raise ImageError("only outputs are here", where=out, mend="give the folder of the images")
    names = unique_names(found)
    return [Job(image, name, kind(image)) for image, name in zip(found, names, strict=True)]


def check_output(jobs: list[Job], out: Path) -> None:
    """Raise `SettingError` if all outputs cannot go where they shall.

    A single label image may be named, instead of a folder for many: PNG for an image that is held as a whole,
    OME-TIFF or OME-Zarr for a stack or a slide.
    """
    if not is_file(out):
        return
    if len(jobs) > 1:
        raise SettingError(f"{len(jobs)} images cannot go into one file", where=out, mend="give a folder")
    plain = jobs[0].kind == "image"
    if plain != (out.suffix.lower() == ".png"):
        mend = (
            "name it .png, or give a folder" if plain else "name it .ome.tif or .ome.zarr, or give a folder"
        )
        raise SettingError(
            f"the labels of this {jobs[0].kind} are no {out.suffix} file", where=out, mend=mend
        )


def check_extras(jobs: list[Job], out: Path, extras: Sequence[str]) -> None:
    """Raise `SettingError` if what is asked for besides labels and overlays would not be written."""
    for job in jobs if extras else ():
        if not set(extras) <= set(job.outputs(out, extras)):
            into = "one label image" if is_file(out) else f"the {job.kind} {job.image.name}"
            raise SettingError(
                f"there is no --{extras[0]} of {into}",
                mend="leave it out, or give a folder and single images",
            )


def refuse_existing(jobs: list[Job], out: Path, extras: Sequence[str] = ()) -> None:
    """Raise `OutputError` if a job's output is there already."""
    if out.exists() and not out.is_dir() and not is_file(out):
        raise OutputError("this is a file, not a folder", where=out, mend="choose another --out")
    for job in jobs:
        for path in job.outputs(out, extras).values():
            if path.exists():
                raise OutputError("the output exists", where=path, mend="give --overwrite or another --out")


def refuse_images(images: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Raise `OutputError` if an output would take the place of an image or mask that is read, or of its folder."""
    places = {place for image in map(Path.resolve, images) for place in (image, *image.parents)}
    for path in outputs:
        if path.resolve() in places:
            raise OutputError("one of the images lies here", where=path, mend="choose another place")


def _expand(given: str) -> Iterator[tuple[Path, PurePosixPath]]:
    """The images of one input, each with its path relative to where the input begins."""
    path = Path(given)
    if is_zarr(path):
        yield full_path(path), PurePosixPath(path.name)
    elif path.is_dir():
        files = [p for p in sorted(path.rglob("*")) if not is_hidden(p.relative_to(path)) and _is_image(p)]
        if not files:
            raise ImageError("no image is in this folder", where=path, mend="give a folder with images")
        for file in files:
            yield full_path(file), PurePosixPath(file.relative_to(path).as_posix())
    elif path.exists() or not has_magic(given):
        if not path.exists():
            raise ImageError("there is no such file or folder", where=path, mend="check the path")
        yield full_path(path), PurePosixPath(path.name)
    else:
        # Path.glob takes no absolute pattern.
        files = [Path(p) for p in sorted(glob(given, recursive=True)) if _is_image(Path(p))]  # noqa: PTH207
        if not files:
            raise ImageError("no image matches", where=given, mend="check the pattern")
        for file in files:
            yield full_path(file), PurePosixPath(file.name)


def _root(given: str) -> Path:
    """The folder in which an input's images are looked for; of a file, itself."""
    path = Path(given)
    while has_magic(str(path)) and not path.exists():
        path = path.parent
    return path.resolve()


def _outputs_in(root: Path, out: Path, written: Sequence[str]) -> list[Path]:
    """Outputs that an input of images would find."""
    if root not in (out, *out.parents):
        return []
    return [out] if is_file(out) else [out / name for name in written]


def _is_image(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    found = is_zarr(path) or (path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    # The arrays of a Zarr folder are no images of their own.
    return found and not any(is_zarr(parent) for parent in path.parents)
