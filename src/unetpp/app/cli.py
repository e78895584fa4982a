"""The commands; no logic."""

import functools
import os
import re
import sys
import time
from pathlib import Path

import click

from unetpp import __version__
from unetpp.errors import UnetppError

EXISTING = click.Path(path_type=Path)


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


class ClassWeights(Numbers):
    """Numbers separated by commas, or "balanced"."""

    def convert(self, value, param, ctx):
        """Text to numbers, or "balanced"."""
        return value if value == "balanced" else super().convert(value, param, ctx)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="unetpp")
def cli():
    """Train UNet++ on a folder of images and masks, and find the same things in new images.

    Begin with `unetpp demo`.
    """


def data_options(command):
    """The options that say where images and masks lie."""
    options = [
        click.option("--images", type=EXISTING, help="Folder of the images, if not DATA/images."),
        click.option("--masks", type=EXISTING, help="Folder of the masks, if not DATA/masks."),
        click.option("--mask-suffix", help="What a mask's name has beyond its image's, such as _mask."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def engine_options(command):
    """The options that say how the network is run, gathered as `engine`."""
    options = [
        click.option(
            "--engine", type=click.Choice(["auto", "openvino", "keras"]), default="auto", help="What runs it."
        ),
        click.option(
            "--precision",
            default="auto",
            help="OpenVINO's: float32, bfloat16, float16, int8; auto: the fastest.",
        ),
        click.option("--device", default="CPU", help="OpenVINO's: CPU, GPU, ...  [default: CPU]"),
        click.option("--level", type=int, help="Stop at this level; needs a model with deep supervision."),
        click.option(
            "--tta", is_flag=True, help="Average over flips and rotations: slower, a little better."
        ),
    ]
    names = ("engine", "precision", "device", "level", "tta")

    @functools.wraps(command)
    def gathered(*arguments, **values):
        return command(*arguments, engine={name: values.pop(name) for name in names}, **values)

    for option in reversed(options):
        gathered = option(gathered)
    return gathered


def training_options(command):
    """The options of `unetpp.training.options.Options` that were given, gathered as `chosen`."""
    options = [
        click.option(
            "--budget", type=Duration(), help="Wall-clock limit, such as 45m; the run ends on time."
        ),
        click.option("--epochs", type=click.IntRange(1), help="Passes instead of a budget.  [default: 60]"),
        click.option(
            "--from", "start", metavar="MODEL", help="Begin with this model's weights (fine-tuning)."
        ),
        click.option("--network", type=click.Choice(["UNetPP", "UNet"]), help="[default: UNetPP]"),
        click.option(
            "--filters", type=Numbers(int), help="Width of each level.  [default: 16,32,64,128,256]"
        ),
        click.option("--deep-supervision", is_flag=True, default=None, help="Train a head on every X[0, j]."),
        click.option(
            "--head-weights", type=Numbers(float), help="Of the heads' losses, shallowest first: 1,1,2,4."
        ),
        click.option("--long-side", type=click.IntRange(0), help="Pixels of the long side; 0: as it is."),
        click.option("--patch", type=click.IntRange(1), help="Pixels of a crop's side."),
        click.option("--batch", type=click.IntRange(1), help="Crops a step."),
        click.option("--accumulate", type=click.IntRange(1), help="Steps a change of weights.  [default: 1]"),
        click.option("--low-memory", is_flag=True, default=None, help="Compute twice instead of keeping."),
        click.option("--focus", type=float, help="Share of crops on a class.  [default: 0.67]"),
        click.option("--augmentation", type=float, help="Strength; 0: flips alone.  [default: 1]"),
        click.option("--loss", help="Sum of losses.  [default: crossentropy + dice]"),
        click.option(
            "--class-weights", type=ClassWeights(float), help="By class index, such as 1,50,70; or balanced."
        ),
        click.option("--learning-rate", type=float, help="Highest of the schedule."),
        click.option("--weight-decay", type=float, help="Of AdamW; 0: Adam.  [default: 0.0001]"),
        click.option(
            "--patience", type=click.IntRange(1), help="End after so many validations without gain."
        ),
        click.option(
            "--normalization",
            type=click.Choice(["auto", "dataset", "image"]),
            help="Whose mean counts.  [default: auto]",
        ),
        click.option(
            "--precision", type=click.Choice(["auto", "float32", "mixed_bfloat16"]), help="[default: auto]"
        ),
        click.option("--validation", type=float, help="Share of images held out.  [default: 0.15]"),
        click.option("--group-by", help="Regular expression, or FILE.csv:COLUMN: what stays on one side."),
        click.option("--folds", type=click.IntRange(2), help="Cross-validate: so many runs."),
        click.option("--fold", type=click.IntRange(1), help="Run only this fold, from 1."),
        click.option("--seed", type=int, help="Of split, crops and weights.  [default: 0]"),
        click.option("--plan", "plan_file", type=EXISTING, help="Options from a file of unetpp plan."),
    ]

    @functools.wraps(command)
    def gathered(*arguments, plan_file, **values):
        from unetpp.training.options import Options

        names = {name for name in values if name in Options.__dataclass_fields__}
        chosen = {name: value for name in names if (value := values.pop(name)) is not None}
        if plan_file:
            from unetpp.training.plan import read_options

            chosen = {**read_options(plan_file), **chosen}
        return command(*arguments, chosen=chosen, **values)

    for option in reversed(options):
        gathered = option(gathered)
    return gathered


def class_names(text: str | None) -> tuple[str, ...] | None:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(",")) if text else None


@cli.command()
@click.argument("data", type=EXISTING)
@click.option("--out", "run", type=EXISTING, required=True, help="Run folder to make.")
@click.option("--classes", help="Names by mask value, such as background,blood_cell,bacteria.")
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@click.option("--overwrite", is_flag=True, help="Replace a former run in the same folder.")
@click.option(
    "--tracker",
    "trackers",
    type=click.Choice(["mlflow", "wandb"]),
    multiple=True,
    help="Log there too; may be repeated.",
)
@training_options
@data_options
def train(data, run, classes, resume, overwrite, trackers, chosen, **places):
    """Train on DATA: a folder with images/ and masks/ paired by name, or both side by side."""
    started = time.monotonic()
    from unetpp.app import run as running

    options = {"places": places, "resume": resume, "overwrite": overwrite, "trackers": trackers}
    running.start_runs(data, run, chosen, names=class_names(classes), started=started, **options)


@cli.command()
@click.argument("data", type=EXISTING)
@click.option("--out", "output", type=EXISTING, help="Write the plan to this file, to edit and train by.")
@click.option("--classes", help="Names by mask value, such as background,blood_cell,bacteria.")
@click.option("--overwrite", is_flag=True, help="Replace the file of --out.")
@training_options
@data_options
def plan(data, output, classes, overwrite, chosen, **places):
    """Show how train would train on DATA, and why."""
    from unetpp.app import run as running

    running.plan_run(data, chosen, output, names=class_names(classes), places=places, overwrite=overwrite)


@cli.command("lr-find")
@click.argument("data", type=EXISTING)
@click.option("--classes", help="Names by mask value, such as background,blood_cell,bacteria.")
@training_options
@data_options
def lr_find(data, classes, chosen, **places):
    """Measure a good --learning-rate for DATA: some minutes of training at ever higher rates."""
    from unetpp.app import run as running

    running.find_learning_rate(data, chosen, names=class_names(classes), places=places)


@cli.command()
@click.argument("model", type=EXISTING)
@click.argument("data", type=EXISTING)
@click.option("--json", "output", type=EXISTING, help="Write the scores to this file.")
@click.option("--overwrite", is_flag=True, help="Replace the file of --json.")
@engine_options
@data_options
def evaluate(model, data, output, overwrite, engine, **places):
    """Score MODEL on DATA, whose masks are the truth. MODEL is a model or run folder."""
    from unetpp.app import run as running

    running.run_evaluation(model, data, output, overwrite=overwrite, places=places, engine=engine)


@cli.command()
@click.argument("model", type=EXISTING)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--out", type=EXISTING, required=True, help="Folder for labels/ and overlays/, or one label image."
)
@click.option("--probabilities", is_flag=True, help="Also write class probabilities, float16 TIFF.")
@click.option("--uncertainty", is_flag=True, help="Also write entropy and disagreement, float16 TIFF.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--resume", is_flag=True, help="Leave out images whose outputs exist.")
@click.option(
    "--ensemble", type=EXISTING, multiple=True, help="Another model to average with; may be repeated."
)
@click.option("--cluster", metavar="ADDRESS", help="Spread over a Dask cluster, such as tcp://host:8786.")
@click.option("--workers", type=click.IntRange(1), help="Spread over so many processes on this machine.")
@engine_options
def predict(model, inputs, out, probabilities, uncertainty, overwrite, resume, ensemble, **options):
    """Find MODEL's classes in images: files, folders or globs. Stacks and slides of any size are read by region."""
    from unetpp.app import run as running

    if overwrite and resume:
        raise click.UsageError("--overwrite and --resume exclude each other")
    extras = [
        name for name, wanted in (("probabilities", probabilities), ("uncertainty", uncertainty)) if wanted
    ]
    existing = "overwrite" if overwrite else "skip" if resume else "refuse"
    if running.run_prediction([model, *ensemble], inputs, out, extras=extras, existing=existing, **options):
        sys.exit(1)


@cli.command()
@click.argument("model", type=EXISTING)
def export(model):
    """Add the graph that OpenVINO runs to MODEL; training does so by itself."""
    from unetpp.app import run as running

    running.export_model(model)


@cli.command()
@click.argument("model", type=EXISTING)
@click.option("--data", type=EXISTING, required=True, help="Images and masks to calibrate on and to score.")
@data_options
def quantize(model, data, **places):
    """Add a graph in 8-bit integers to MODEL, calibrated on your images; the default if it scores as well."""
    from unetpp.app import run as running

    running.run_quantization(model, data, places=places)


@cli.command()
@click.argument("model", type=EXISTING)
@click.argument("data", type=EXISTING)
@engine_options
@data_options
def levels(model, data, engine, **places):
    """Score, time and memory on DATA of each level of MODEL, trained with deep supervision."""
    from unetpp.app import run as running

    running.run_levels(model, data, places=places, engine=engine)


@cli.command()
@click.argument("model", type=EXISTING)
@click.option("--level", type=int, required=True, help="Where the network is cut off.")
@click.option("--out", type=EXISTING, required=True, help="Folder to make.")
@click.option("--overwrite", is_flag=True, help="Replace a model that is there.")
def prune(model, level, out, overwrite):
    """Save MODEL cut off at a level: smaller and faster."""
    from unetpp.app import run as running

    running.prune_model(model, level, out, overwrite=overwrite)


@cli.command()
@click.argument("model", type=EXISTING, required=False)
def summary(model):
    """Show MODEL's layers, classes and origin; without MODEL, the default network."""
    from unetpp.app import run as running

    running.show_summary(model)


@cli.command()
@click.option("--out", type=EXISTING, default=Path("demo"), show_default=True, help="Folder to make.")
@click.option("--budget", type=Duration(), default=100.0, help="Time to train.  [default: 100s]")
@click.option("--overwrite", is_flag=True, help="Replace a former demo.")
def demo(out, budget, overwrite):
    """Draw darkfield micrographs, train on them, evaluate and predict: all in 3 minutes."""
    from unetpp.app.demo import run_demo

    run_demo(out, budget, overwrite=overwrite)


def main(arguments=None) -> None:
    """Run a command; every error a user can mend is one line and a non-zero exit."""
    # TensorFlow's start-up messages are not for users.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        sys.exit(cli.main(arguments, standalone_mode=False) or 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UnetppError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted; what was written stays", 130)
    except MemoryError:
        _fail("the memory is full; give a smaller --batch or --patch, or close other programs")
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}")


def _fail(line: str, status: int = 1) -> None:
    click.echo(f"unetpp: {' '.join(line.split())}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
