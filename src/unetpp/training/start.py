"""The model that a run starts from (`--from`): what it decides, what it has learnt, and whether the data suit it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unetpp.bundle import Bundle, find_bundle, read_bundle
from unetpp.data.dataset import Sample
from unetpp.data.images import as_float, read_image, to_channels
from unetpp.data.names import composed
from unetpp.data.normalization import check_range
from unetpp.data.resample import resize_image
from unetpp.data.threads import parallel
from unetpp.errors import ImageError, SettingError
from unetpp.training.options import Options

# The highest learning rate of a run that starts from a model.
GENTLE = 2e-4


def full_place(start: str) -> str:
    """The model's folder, whatever the working folder and whether its run or its name was given.

    Raises:
        BundleError: if there is none.
    """
    return str(find_bundle(Path(start)).resolve())


def read_start(options: Options) -> Bundle:
    """The description of the model to start from.

    Raises:
        BundleError: if it cannot be read.
        SettingError: if it is cut off, so that most of the network has no weights.
    """
    start = read_bundle(Path(options.start))
    if start.level:
        raise SettingError(
            f"the model to start from is cut off at level {start.level}",
            where=options.start,
            mend="start from the whole model that it was cut from",
        )
    return start


def former_sides(start: str, samples: Sequence[Sample]) -> tuple[dict[Path, bool], bool]:
    """Whether images were held out by the run of a model, if it lies in its run's folder, or False: trained on.

    What the run itself started from has learnt counts, too, as long as that is there. Where none of a run's images is
    where it was, they have moved, and samples of the same stems are taken for them.

    Returns:
        (sides, moved): by an image's place; whether any was known by its stem alone.

    Raises:
        SettingError: if the run's list of them is damaged.
    """
    run = Path(full_place(start)).parent
    if not (run / "plan.json").is_file() or not (run / "split.json").is_file():
        return {}, False
    now = {sample.stem: sample.image for sample in samples}
    try:
        rows = json.loads((run / "split.json").read_text(encoding="utf-8"))
        earlier = json.loads((run / "plan.json").read_text(encoding="utf-8"))["options"].get("start", "")
        moved = not any(Path(row["image"]).exists() for side in ("train", "validation") for row in rows[side])
        sides = {
            Path(now.get(composed(row["stem"]), row["image"]) if moved else row["image"]).resolve(): side
            == "validation"
            for side in ("train", "validation")
            for row in rows[side]
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingError(
            "what the model was trained on cannot be read",
            where=run / "split.json",
            mend="mend it, or move the model to a folder of its own",
        ) from error
    found = earlier and Path(earlier).is_dir()
    before, moved_before = former_sides(earlier, samples) if found else ({}, False)
    learnt = {image: False for image, held in before.items() if not held}
    return {**before, **sides, **learnt}, moved or moved_before


def options_of(start: Bundle, options: Options, names: tuple[str, ...], why: dict[str, str]) -> Options:
    """The options, with the network of the model to start from and a gentler rate.

    Raises:
        SettingError: if it decides what is given otherwise.
    """
    settings = start.settings
    place = full_place(options.start)
    decided: dict[str, Any] = {
        "network": start.network,
        "filters": tuple(settings["filters"]),
        "inner_filters": "level" if settings.get("inner_filters") == "level" else "first",
        "deep_supervision": bool(settings.get("deep_supervision")),
        "long_side": start.scaling.long_side or 0,
    }
    per_image = "image" if start.normalization.per_image else "dataset"
    usual = Options()
    for name, value in {**decided, "normalization": per_image}.items():
        if getattr(options, name) not in (getattr(usual, name), value):
            raise SettingError(
                f"--{name.replace('_', '-')} is {value} in the model to start from",
                where=options.start,
                mend="leave it out, or train without --from",
            )
    why["network"] = why["normalisation"] = f"as {place}, whose weights it starts from"
    why.setdefault("learning rate", "gentle, as it starts from a model")
    if start.classes != names:
        why["classes"] = f"the heads are made anew: the model to start from knows {', '.join(start.classes)}"
    options = replace(
        options,
        start=place,
        **decided,
        learning_rate=options.learning_rate or GENTLE,
    )
    options.check_depth()
    return options


def network_settings(start: Bundle) -> dict[str, Any]:
    """What a network is built by to take the weights of a model, but for its channels and classes."""
    return {name: v for name, v in start.settings.items() if name not in ("input_shape", "num_classes")}


def check_channels(start: Bundle, channels: int) -> None:
    """Raise unless images of so many channels fit a model: grey is repeated for RGB."""
    wanted = len(start.normalization.mean)
    if channels != wanted and (channels, wanted) != (1, 3):
        raise SettingError(
            f"the model to start from takes {wanted} channels, the images have {channels}",
            mend="train without --from",
        )


def check_images(samples: Sequence[Sample], start: Bundle) -> None:
    """Raise `ImageError` for an image that a model would refuse to predict, as it would go on to after training."""

    def check(sample: Sample) -> None:
        image = read_image(sample.image)
        pixels = as_float(to_channels(image, len(start.normalization.mean)))
        pixels = resize_image(pixels, start.scaling.size(image.shape[:2]))
        try:
            check_range(image, pixels, start.normalization)
        except ImageError as error:
            mend = f"{error.mend}, or train without --from"
            raise ImageError(error.what, where=sample.image, mend=mend) from error

    parallel(check, samples)
