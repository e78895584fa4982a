"""What a command about training was asked for, and its options as words of one."""

import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Order:
    """What was asked for.

    Attributes:
        data: the folder of images and masks.
        places: what `find_samples` is told besides.
        names: of the classes; None for those that the data name.
        chosen: the fields of Options that were given.
        run: the run's folder.
        resume: go on with the run that is there.
        overwrite: replace it.
        trackers: where it is logged besides.
        job: whose process this is, as devices.join takes it.
        started: when its time began to count.
        again: the command that goes on when it is interrupted, if not the usual one.
        former: runs whose place it takes besides.
    """

    data: Path
    places: dict[str, Any]
    names: tuple[str, ...] | None
    chosen: dict[str, Any]
    run: Path = Path()
    resume: bool = False
    overwrite: bool = False
    trackers: tuple[str, ...] = ()
    job: str | None = None
    started: float = field(default_factory=time.monotonic)
    again: str = ""
    former: Iterable[Path] = ()


def command(data: Path, run: Path, *options: str) -> str:
    """The command that goes on with a run."""
    return shlex.join(["unetpp", "train", str(data), "--out", str(run), "--resume", *options])


def repeated(order: Order) -> list[str]:
    """The options of an order as words of a command, for what has not begun when it goes on."""
    from unetpp.training.options import Options

    usual = vars(Options())
    values = {name: value for name, value in order.chosen.items() if value != usual[name]}
    # No option: --instances says so.
    values.pop("seams", None)
    if "budget" in values:
        values["budget"] = f"{values['budget']:.0f}s"
    return given({**values, "classes": order.names, **order.places})


def given(values: dict) -> list[str]:
    """Options as words of a command, but for those without a value."""
    words = []
    for name, value in values.items():
        if value is not None:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [option(name), *([] if value is True else [text])]
    return words


def option(name: str) -> str:
    """The option of `unetpp train` that sets a field of Options."""
    return "--from" if name == "start" else f"--{name.replace('_', '-')}"
