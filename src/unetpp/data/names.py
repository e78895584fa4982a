"""What files are called, and which are not meant."""

import unicodedata
from pathlib import Path

from unetpp.errors import ImageError


def full_path(path: Path) -> Path:
    """A path from the root on; its last part keeps its name where it is a link."""
    return path.parent.resolve() / path.name


def composed(name: str) -> str:
    """A name as one text, by which files are paired: a Mac may write an accent as a sign of its own after its letter.

    Example:
        >>> len("Zelle a\u0308"), len(composed("Zelle a\u0308"))
        (8, 7)

    Source: Unicode Standard Annex 15, normalization form C.
    """
    return unicodedata.normalize("NFC", name)


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
