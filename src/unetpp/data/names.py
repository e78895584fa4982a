"""What files are called, and which are not meant."""

from pathlib import Path

from unetpp.errors import ImageError


def full_path(path: Path) -> Path:
    """A path from the root on; its last part keeps its name where it is a link."""
    return path.parent.resolve() / path.name


def is_hidden(path: Path) -> bool:
    """Whether a path below a folder is hidden, or lies in a hidden folder."""
    return any(part.startswith(".") for part in path.parts)


def check_name(name: str, path: Path) -> None:
    """Raise `ImageError` if a name of `path` cannot be written as UTF-8; on Linux it may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        mend = "rename the file or its folder"
        raise ImageError("the path is not valid UTF-8", where=path, mend=mend) from None
