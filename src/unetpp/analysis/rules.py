"""What counts as an object."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unetpp.data.names import composed
from unetpp.data.spacing import LARGEST, SMALLEST
from unetpp.errors import SettingError


@dataclass(frozen=True)
class Rules:
    """What counts as an object; see `separate`.

    Attributes:
        split, thin: names of classes.
        smallest: pixels.
        drop_border: leave out what touches the border.
        pixel_size: micrometres a pixel's side, 1e-6 to 1e6; None if it is for each image to say.
        instances: labels are the numbers of objects of one class, each of them an object as it is.
    """

    split: tuple[str, ...] = ()
    thin: tuple[str, ...] = ()
    smallest: int = 0
    drop_border: bool = False
    pixel_size: float | None = None
    instances: bool = False

    def __post_init__(self):
        check_pixel_size(self.pixel_size)
        for name in self.split:
            if name in self.thin:
                what = f"--split and --thin both name {name}: a class is either round, to be split, or thin"
                raise SettingError(what, mend="name it once")
        for option, given in (("--split", self.split), ("--thin", self.thin)):
            if self.instances and given:
                what = f"{option} finds objects, and with --instances each number is one as it is"
                raise SettingError(what, mend=f"leave out {option}, or --instances")
        if self.smallest < 0:
            raise SettingError(f"--smallest cannot be {self.smallest}", mend="give pixels from 0 on")

    def indices(self, names: Sequence[str]) -> dict[str, Any]:
        """What `separate` takes: `split` and `thin` by index, and `smallest`.

        Raises:
            SettingError: for a name that is no class's.
        """
        names = [composed(name) for name in names]
        by_index: dict[str, list[int]] = {"split": [], "thin": []}
        for option, found in by_index.items():
            for name in map(composed, getattr(self, option)):
                if name not in names[1:]:
                    raise SettingError(
                        f"--{option}: there is no class {name}", mend=f"choose of: {', '.join(names[1:])}"
                    )
                found.append(names.index(name))
        return {**by_index, "smallest": self.smallest}


def check_pixel_size(size: float | None) -> None:
    """Raise SettingError unless it is not known, or from 1e-6 to 1e6 micrometres."""
    if size is not None and not SMALLEST <= size <= LARGEST:
        mend = f"give micrometres from {SMALLEST:g} to {LARGEST:g}"
        raise SettingError(f"--pixel-size cannot be {size:g}", mend=mend)
