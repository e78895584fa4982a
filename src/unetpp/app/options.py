"""The options that commands share, and how their values are written."""

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click import Choice, IntRange
from click.core import ParameterSource

from unetpp.data.names import composed
from unetpp.errors import SettingError

# How long a run is, by either of them.
LENGTH = {"budget", "epochs"}
PATH = click.Path(path_type=Path)
# An option without a value, of which it is known whether it was given.
SWITCH = {"is_flag": True, "default": None}


class Duration(click.ParamType):
    """A time such as 45m, 90s, 2h or 1h30m, in seconds."""

    name = "duration"

    def convert(self, value, param, ctx):
        """Text to seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", value.strip())
        if not match or not any(match.groups()):
            self.fail(f"{value!r} is no duration; give one such as 90s, 45m or 1h30m", param, ctx)
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        total = 3600.0 * hours + 60 * minutes + seconds
        return total if total > 0 else self.fail("the duration is zero", param, ctx)


class Numbers(click.ParamType):
    """Numbers separated by commas, as a tuple."""

    def __init__(self, kind):
        self.kind, self.name = kind, "numbers"

    def convert(self, value, param, ctx):
        """Text to numbers."""
        if not isinstance(value, str):
            return value
        try:
            return tuple(self.kind(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers such as 1,50,70", param, ctx)


class Share(click.ParamType):
    """A share, or the name of a file."""

    name = "share or file"

    def convert(self, value, param, ctx):
        """Text to a number, unless a file is called so."""
        if not isinstance(value, str):
            return value
        if Path(value).is_file():
            return str(Path(value).resolve())
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a share, such as 0.15, nor a file", param, ctx)


class ClassWeights(Numbers):
    """Numbers separated by commas, or "balanced"."""

    def convert(self, value, param, ctx):
        """Text to numbers, or "balanced"."""
        return value if value == "balanced" else super().convert(value, param, ctx)


def data_options(command):
    """The options that say where images and masks lie."""
    options = [
        click.option("--images", type=PATH, help="Folder of the images, if not DATA/images."),
        click.option("--masks", type=PATH, help="Folder of the masks, if not DATA/masks."),
        click.option("--mask-suffix", help="What a mask's name has beyond its image's, such as _mask."),
    ]
    return with_options(command, options)


def instances_option(command):
    """The option that says where objects are numbered."""
    help_ = "Folder of label images that number objects, by name: also learn where they touch."
    return click.option("--instances", type=PATH, help=help_)(command)


def with_options(command, options):
    """A command with some options, shown in their order."""
    for option in reversed(options):
        command = option(command)
    return command


def refuse_both(overwrite: bool, resume: bool) -> None:
    """Raise where what is there shall be replaced and gone on with."""
    if overwrite and resume:
        raise click.UsageError("--overwrite and --resume exclude each other")


def engine_options(command, *, level=True):
    """The options that say how the network is run, gathered as `engine`; all levels are, where `level` is false."""
    at = "Stop at this level; needs a model with deep supervision."
    options = [
        click.option(
            "--engine",
            type=Choice(["auto", "openvino", "keras"]),
            default="auto",
            help="What runs the network.",
        ),
        click.option(
            "--precision",
            default="auto",
            help="OpenVINO's: float32, bfloat16, float16, int8; auto: the fastest.",
        ),
        click.option("--device", default="CPU", help="OpenVINO's: CPU, GPU, ...  [default: CPU]"),
        *([click.option("--level", type=int, help=at)] if level else []),
        click.option(
            "--tta", is_flag=True, help="Average over flips and rotations: slower, a little better."
        ),
    ]
    names = ("engine", "precision", "device", *(["level"] if level else []), "tta")
    return gather(command, "engine", names, options)


def gather(command, under: str, names, options):
    """A command with some options, whose values it is given as one dictionary."""

    @functools.wraps(command)
    def gathered(*arguments, **values):
        return command(*arguments, **{under: {name: values.pop(name) for name in names}}, **values)

    return with_options(gathered, options)


def rule_options(command):
    """The options that say what an object is, gathered as `rules`."""
    options = [
        click.option(
            "--split",
            multiple=True,
            metavar="CLASS",
            help="Class of round objects: split where they touch, by probabilities where there are some.",
        ),
        click.option(
            "--thin",
            multiple=True,
            metavar="CLASS",
            help="Class of filaments: follow over crossings and gaps.",
        ),
        click.option("--smallest", type=int, help="Leave out objects of fewer pixels."),
    ]
    return gather(command, "rules", ("split", "thin", "smallest"), options)


def truth_options(command):
    """The options that say what predictions are held against, gathered as `truth`."""
    options = [
        click.option(
            "--instances", type=PATH, help="Folder of label images that number true objects, by name."
        ),
        click.option(
            "--tolerance",
            type=float,
            default=2.0,
            show_default=True,
            help="Pixels by which boundaries may be off.",
        ),
        click.option(
            "--group-by",
            default="",
            help="Images that intervals draw together: regular expression on names, or FILE.csv:COLUMN.",
        ),
    ]
    return gather(command, "truth", ("instances", "tolerance", "group_by"), options)


def object_options(command):
    """The options that say how objects are measured and what is written of them, gathered as `objects`."""
    options = [
        click.option("--drop-border", is_flag=True, help="Leave out objects that touch the border."),
        click.option(
            "--pixel-size",
            type=float,
            help="Micrometres per pixel, for columns and a scale bar.  [default: as OME and ImageJ's files say]",
        ),
        click.option(
            "--table", type=Choice(["csv", "parquet"]), default="csv", help="Kind of tables.  [default: csv]"
        ),
        click.option(
            "--also",
            "extras",
            type=Choice(["instances", "numbered", "geojson", "roi", "coco"]),
            multiple=True,
            help="Label images of objects, pictures with numbers, outlines for QuPath, ImageJ, COCO; may be repeated.",
        ),
    ]
    names = ("drop_border", "pixel_size", "table", "extras")
    return gather(command, "objects", names, options)


def refuse_given(names: Iterable[str]) -> None:
    """Raise SettingError if one of some options about objects was given to the command that runs."""
    context = click.get_current_context()
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name in names and source is not ParameterSource.DEFAULT:
            what = f"{option.opts[0]} is about objects, which are not asked for"
            raise SettingError(what, mend=f"give --objects too, or leave out {option.opts[0]}")


def training_options(command):
    """The options of `unetpp.training.options.Options` that were given, gathered as `chosen`."""
    count = IntRange(1)
    rows: list[tuple[str, Any, str]] = [
        ("--budget", Duration(), "Wall-clock limit, such as 45m; the run ends on time."),
        ("--epochs", count, "Epochs, each with a validation, instead of a budget.  [default: 60]"),
        ("--passes", count, "Crops of each image between validations.  [default: 2]"),
        ("--from start", {"metavar": "MODEL"}, "Begin with this model's weights (fine-tuning)."),
        ("--network", Choice(["UNetPP", "UNet"]), "UNet++, or the plain U-Net.  [default: UNetPP]"),
        ("--filters", Numbers(int), "Width of each level.  [default: 16,32,64,128,256]"),
        (
            "--inner-filters",
            Choice(["first", "level"]),
            "Width of inner nodes: the first level's, or each level's own.  [default: first]",
        ),
        ("--dropout", float, "Share of values dropped in each block.  [default: 0, or MODEL's]"),
        ("--deep-supervision", SWITCH, "Train an output at each level, as levels and prune need."),
        (
            "--head-weights",
            Numbers(float),
            "How much the loss of each level counts, shallowest first: 1,1,2,4.",
        ),
        ("--long-side", IntRange(0), "Pixels of the long side that images are brought to; 0: their own."),
        ("--patch", count, "Pixels of a crop's side."),
        ("--batch", count, "Crops per step."),
        ("--accumulate", count, "Steps whose gradients make one change of the weights.  [default: 1]"),
        ("--workers", count, "Threads that draw crops."),
        ("--devices", count, "Devices that share each batch; needs JAX."),
        ("--low-memory", SWITCH, "Take 0.6 of the memory and a third more time; needs TensorFlow."),
        ("--focus", float, "Share of crops centred on a class, background excepted.  [default: 0.67]"),
        ("--augmentation", float, "Strength of augmentation; 0: flips and right angles alone.  [default: 1]"),
        ("--loss", str, "Loss, or a sum such as focal + 0.5 * iou.  [default: crossentropy + dice]"),
        (
            "--class-weights",
            ClassWeights(float),
            "Of the loss, by class index, such as 1,50,70; or balanced.",
        ),
        ("--learning-rate", float, "Highest rate of the schedule.  [default: 0.001, or 0.0002 with --from]"),
        ("--weight-decay", float, "Of AdamW; 0: Adam.  [default: 0.0001]"),
        ("--patience", count, "End after so many validations without gain."),
        (
            "--normalization",
            Choice(["auto", "dataset", "image"]),
            "By mean and deviation of all images, or of each.  [default: auto]",
        ),
        (
            "--precision",
            Choice(["auto", "float32", "mixed_bfloat16"]),
            "Arithmetic of training.  [default: auto]",
        ),
        (
            "--validation",
            Share(),
            "Share of images held out; 0: none; or a file of their names.  [default: 0.15]",
        ),
        (
            "--group-by",
            str,
            "Images to keep on one side of the split: regular expression on names, or FILE.csv:COLUMN.",
        ),
        ("--folds", IntRange(2), "Cross-validate by so many runs, of a --budget each."),
        ("--fold", count, "Run only this fold, from 1."),
        ("--seed", int, "Of split, crops and weights.  [default: 0]"),
        ("--plan plan_file", PATH, "Take options from a file of unetpp plan --out."),
    ]
    options = [
        click.option(*names.split(), help=text, **(kind if isinstance(kind, dict) else {"type": kind}))
        for names, kind, text in rows
    ]

    @functools.wraps(command)
    def gathered(*arguments, plan_file, **values):
        from unetpp.training.options import Options

        names = {name for name in values if name in Options.__dataclass_fields__}
        chosen = {name: value for name in names if (value := values.pop(name)) is not None}
        if plan_file:
            from unetpp.training.planfile import read_choices

            planned, classes = read_choices(plan_file)
            # Either of the two replaces both.
            if LENGTH & set(chosen):
                planned = {name: value for name, value in planned.items() if name not in LENGTH}
            chosen = {**planned, **chosen}
            values["classes"] = values["classes"] or classes
        return command(*arguments, chosen=chosen, **values)

    return with_options(gathered, options)


def class_names(names: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Names separated by commas, or those of a plan."""
    return tuple(name.strip() for name in composed(names).split(",")) if isinstance(names, str) else names
