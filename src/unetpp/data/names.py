"""What files are called, and which are not meant."""

import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

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


def plain_name(relative: PurePosixPath) -> str:
    """A file's path below a folder, without suffix."""
    return str(relative.with_suffix("")).removesuffix(".ome")


def with_suffix(relative: PurePosixPath) -> str:
    """A file's path below a folder, its suffix as a part of its name."""
    return f"{plain_name(relative)}_{relative.suffix.removeprefix('.')}"


def unique_names(found: Mapping[Path, PurePosixPath]) -> list[str]:
    """A name for each file that no other has, compared without case and `composed`: some systems tell neither apart.

    Where two would share a name, their suffixes are added, then the names of their folders, then numbers.

    Args:
        found: files from the root on, and their paths below the folders that were given.
    """
    names = [plain_name(relative) for relative in found.values()]
    for more in (list(map(with_suffix, found.values())), [_with_folder(*file) for file in found.items()]):
        taken = Counter(map(_key, names))
        names = [longer if taken[_key(name)] > 1 else name for name, longer in zip(names, more, strict=True)]
    used: set[str] = set()
    for k, name in enumerate(names):
        number, unique = 1, name
        while _key(unique) in used:
            number += 1
            unique = f"{name}_{number}"
        used.add(_key(unique))
        names[k] = unique
    return names


def _with_folder(path: Path, relative: PurePosixPath) -> str:
    root = path.parents[len(relative.parts) - 1].name
    return str(PurePosixPath(root or "root") / with_suffix(relative))


def _key(name: str) -> str:
    return composed(name).lower()
