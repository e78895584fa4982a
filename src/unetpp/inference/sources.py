"""What labels were made from: the image and the model, told from others by their content."""

import hashlib
import json
from pathlib import Path

from unetpp.data.files import checksum
from unetpp.data.images import decoding, open_picture
from unetpp.data.regions import import_zarr, is_zarr, open_regions

# So many bytes are read at so many places, from first to last.
PIECE, PIECES = 2**18, 64
# Before it in a TIFF's tag Software, in which programs that save corrected labels put their own name.
SOFTWARE = "unetpp "


def source_of(image: Path, identity: str) -> str:
    """What tells an image and the model that predicts it from others, whatever they are called, wherever they lie."""
    return hashlib.sha256(image.read_bytes() + identity.encode()).hexdigest()


def source_of_regions(image: Path, identity: str) -> str:
    """As `source_of`, of an image that is not read as a whole: by its `fingerprint`.

    Of an OME-TIFF set it sees the first file alone, of an OME-Zarr the largest level.

    Raises:
        ImageError: if it cannot be opened.
    """
    with open_regions(image) as regions:
        pixels = image / regions.pixels.path if is_zarr(image) else image
    return hashlib.sha256((fingerprint(pixels) + identity).encode()).hexdigest()


def fingerprint(path: Path) -> str:
    """What tells a file, or a folder of files, from others in a moment, however large it is.

    That is how long its files are, what they are called in a folder, and what lies at about `PIECES` places: of a file
    of up to 16 MB all of it. A change between these places that leaves all lengths as they were is not seen.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    lengths = [(file.relative_to(path).as_posix(), file.stat().st_size) for file in files]
    digest = hashlib.sha256(json.dumps(lengths).encode())
    some = files[:: -(-len(files) // PIECES) or 1]
    for file in some:
        step = max(PIECE, file.stat().st_size * len(some) // PIECES)
        with file.open("rb") as content:
            for place in range(0, file.stat().st_size, step):
                content.seek(place)
                digest.update(content.read(PIECE))
    return digest.hexdigest()


def mark_zarr(group: Path, source: str) -> None:
    """Write into a Zarr group of labels what they were made from."""
    marks = {"source": source, "labels": labels_sum(group)}
    import_zarr().open_group(group, mode="r+").attrs.update({"unetpp": marks})


def known_source(labels: Path) -> str | None:
    """What labels say that they were made from; None where another program has written them, or into them.

    Raises:
        ImageError, OSError: if they cannot be read.
    """
    if labels.is_dir():
        # They are corrected where they are, and what was said of them stays.
        marks = zarr_attribute(labels, "unetpp") or {}
        return marks["source"] if marks.get("labels") == labels_sum(labels) else None
    with decoding(labels):
        if labels.suffix.lower() == ".png":
            with open_picture(labels) as picture:
                return picture.info.get("Source")
        import tifffile

        with tifffile.TiffFile(labels) as file:
            software = str(file.pages.first.tags.valueof("Software", ""))
    return software.removeprefix(SOFTWARE) if software.startswith(SOFTWARE) else None


def zarr_attribute(group: Path, name: str):
    """An attribute of a Zarr group; None if it has none, or cannot be read."""
    try:
        return json.loads((group / "zarr.json").read_text(encoding="utf-8"))["attributes"].get(name)
    except (OSError, ValueError, KeyError):
        return None


def labels_sum(group: Path) -> str:
    """The checksum of the largest level of a Zarr group of labels."""
    files = sorted(file for file in (group / "0").rglob("*") if file.is_file())
    sums = [(file.relative_to(group).as_posix(), checksum(file)) for file in files]
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()
