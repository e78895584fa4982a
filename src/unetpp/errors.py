"""Errors a user can act on: what happened, to which file, how to mend it."""

from pathlib import Path


class UnetppError(Exception):
    """An error the user can mend; the command line prints it as one line, without a traceback.

    Args:
        what: what happened, as a clause without a full stop ("the image is truncated").
        where: the file or setting it happened to.
        mend: what the user can do about it, as an imperative clause ("export it again").
    """

    def __init__(self, what: str, *, where: Path | str | None = None, mend: str | None = None):
        self.what, self.where, self.mend = what, where, mend
        super().__init__(what, where, mend)

    def __reduce__(self):
        return _again, (type(self), self.what, self.where, self.mend)

    def __str__(self) -> str:
        line = self.what if self.where is None else f"{self.where}: {self.what}"
        line = line if self.mend is None else f"{line}; {self.mend}"
        # Bytes of a path that are no text cannot be printed everywhere.
        return line.encode(errors="replace").decode()


class SettingError(UnetppError, ValueError):
    """An argument or option that cannot be meant."""


class ImageError(UnetppError, ValueError):
    """An image that cannot be read or used."""


class MaskError(UnetppError, ValueError):
    """A mask that does not say which class each pixel has."""


class DatasetError(UnetppError, ValueError):
    """A folder that does not hold images with their masks."""


class BundleError(UnetppError, ValueError):
    """A saved model that is damaged, missing or from a newer version."""


class OutputError(UnetppError, OSError):
    """An output that cannot be written, or exists already."""

    def __str__(self) -> str:
        return UnetppError.__str__(self)


class InstallError(UnetppError, ImportError):
    """A part of the package that was not installed."""

    def __str__(self) -> str:
        return UnetppError.__str__(self)


class TrainingError(UnetppError, RuntimeError):
    """A run that does not learn."""


class ClusterError(UnetppError, RuntimeError):
    """Other machines that do not answer, or give up."""


def _again(kind, what, where, mend):
    """An error that comes from another process."""
    return kind(what, where=where, mend=mend)
