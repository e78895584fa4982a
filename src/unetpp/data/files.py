"""Files and folders that are there whole, whatever happens."""

import hashlib
import os
import shutil
from pathlib import Path


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_durable(path: Path, content: bytes) -> None:
    """Write a file that is on the disk when this returns."""
    path.write_bytes(content)
    sync(path)


def sync(path: Path) -> None:
    """A file that was written is on the disk when this returns."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def former(folder: Path) -> Path:
    """Where a folder lies for the moment in which another takes its name."""
    return folder.with_name(f".{folder.name}.old")


def exchange(folder: Path, fresh: Path, old: Path) -> None:
    """Give a folder's name to a fresh one; the old one is removed, or keeps its name if that fails."""
    if folder.exists():
        folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
