"""The commands; no logic."""

import functools
import os
import signal
import sys
import threading
import time
from io import TextIOWrapper
from pathlib import Path

import click

from unetpp import __version__
from unetpp.app.options import (
    PATH,
    Duration,
    class_names,
    data_options,
    engine_options,
    instances_option,
    object_options,
    refuse_both,
    refuse_given,
    rule_options,
    training_options,
    truth_options,
)
from unetpp.app.order import Order
from unetpp.app.terminal import InOrder
from unetpp.errors import UnetppError


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="unetpp")
def cli():
    """Train UNet++ on a folder of images and masks, and find the same things in new images.

    Begin with `unetpp demo`.
    """


@cli.command()
@click.option("--out", type=PATH, default=Path("demo"), show_default=True, help="Folder to make.")
@click.option("--budget", type=Duration(), default=100.0, help="Time to train.  [default: 100s]")
@click.option("--overwrite", is_flag=True, help="Replace a former demo.")
def demo(out, budget, overwrite):
    """Draw darkfield micrographs, train on them, score and predict. It takes about two minutes."""
    from unetpp.app.demo import run_demo

    run_demo(out, budget, overwrite=overwrite)


@cli.command()
@click.argument("data", type=PATH)
@click.option("--out", "run", type=PATH, required=True, help="Run folder to make.")
@click.option("--classes", help="Names by mask value, such as background,blood_cell,bacteria.")
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@click.option("--overwrite", is_flag=True, help="Replace a former run in the same folder.")
@click.option(
    "--tracker",
    "trackers",
    type=click.Choice(["mlflow", "wandb"]),
    multiple=True,
    help="Log to it, too; may be repeated.",
)
@click.option(
    "--job", metavar="JOB", help="Be one process of a job: auto (SLURM), or HOST:PORT,PROCESSES,PROCESS."
)
@training_options
@data_options
@instances_option
def train(data, run, classes, resume, overwrite, trackers, job, chosen, **places):
    """Train on images and masks. DATA has images/ and masks/, paired by name, or both side by side."""
    started = time.monotonic()
    from unetpp.app import training

    refuse_both(overwrite, resume)
    order = Order(
        data=data,
        places=places,
        names=class_names(classes),
        chosen=chosen,
        run=run,
        resume=resume,
        overwrite=overwrite,
        trackers=trackers,
        job=job,
        started=started,
    )
    training.start_runs(order)


@cli.command()
@click.argument("data", type=PATH)
@click.option("--out", "output", type=PATH, help="Write the plan to this file, to edit and train by.")
@click.option("--classes", help="Names by mask value, such as background,blood_cell,bacteria.")
@click.option("--overwrite", is_flag=True, help="Replace the file of --out.")
@training_options
@data_options
@instances_option
def plan(data, output, classes, overwrite, chosen, **places):
    """Show how train would train on DATA, and why."""
    from unetpp.app import training

    order = Order(data=data, places=places, names=class_names(classes), chosen=chosen, overwrite=overwrite)
    training.plan_run(order, output)


@cli.command("lr-find")
@click.argument("data", type=PATH)
@click.option("--classes", help="Names by mask value, such as background,blood_cell,bacteria.")
@training_options
@data_options
@instances_option
def lr_find(data, classes, chosen, **places):
    """Measure a good --learning-rate for DATA. It trains for some minutes at ever higher rates."""
    from unetpp.app import training

    order = Order(data=data, places=places, names=class_names(classes), chosen=chosen)
    training.find_learning_rate(order)


@cli.command()
@click.argument("model", type=PATH)
@click.argument("data", type=PATH)
@click.option("--against", type=PATH, metavar="MODEL", help="Compare with this model on the same images.")
@click.option("--json", "output", type=PATH, help="Write the scores to this file.")
@click.option("--overwrite", is_flag=True, help="Replace the file of --json.")
@truth_options
@rule_options
@engine_options
@data_options
def evaluate(model, data, **options):
    """Score MODEL on DATA, whose masks are the truth. MODEL is a model or run folder."""
    from unetpp.app import evaluating

    evaluating.run_evaluation(model, data, **options)


@cli.command()
@click.argument("run", type=PATH)
@click.argument("data", type=PATH, required=False)
@click.option("--out", "output", type=PATH, help="File to write.  [default: report.html in RUN]")
@click.option("--overwrite", is_flag=True, help="Replace the report that is there.")
@truth_options
@rule_options
@engine_options
@data_options
def report(run, data, **options):
    """Write scores and pictures of RUN as a page. They are of DATA, or of the images that RUN was validated on."""
    from unetpp.app import evaluating

    evaluating.run_report(run, data, **options)


@cli.command()
@click.argument("model", type=PATH)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--out", type=PATH, required=True, help="Folder for labels/ and overlays/, or one label image.")
@click.option("--probabilities", is_flag=True, help="Also write class probabilities, float16 TIFF.")
@click.option("--uncertainty", is_flag=True, help="Also write entropy and disagreement, float16 TIFF.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--resume", is_flag=True, help="Leave out images whose outputs exist, by this model.")
@click.option("--ensemble", type=PATH, multiple=True, help="Another model to average with; may be repeated.")
@click.option("--cluster", metavar="ADDRESS", help="Spread over a Dask cluster, such as tcp://host:8786.")
@click.option("--workers", type=click.IntRange(1), help="Spread over so many processes on this machine.")
@click.option(
    "--objects",
    "measured",
    is_flag=True,
    help="Also measure objects, as unetpp measure; --split writes probabilities.",
)
@rule_options
@object_options
@engine_options
def predict(
    model, inputs, out, probabilities, uncertainty, overwrite, resume, measured, rules, objects, **options
):
    """Find MODEL's classes in files, folders or globs of images. Stacks and slides of any size are read by region."""
    from unetpp.app import run as running

    refuse_both(overwrite, resume)
    if not measured:
        # A scale bar needs no objects.
        refuse_given({*rules, *objects} - {"pixel_size"})
    asked = {"probabilities": probabilities, "uncertainty": uncertainty}
    extras = [name for name, given in asked.items() if given]
    existing = "overwrite" if overwrite else "skip" if resume else "refuse"
    options |= {"extras": extras, "existing": existing, "pixel_size": objects["pixel_size"]}
    options["objects"] = {**rules, **objects} if measured else None
    if running.run_prediction([model, *options.pop("ensemble")], inputs, out, **options):
        sys.exit(1)


@cli.command()
@click.argument("labels", nargs=-1, required=True, metavar="LABELS...")
@click.option("--out", type=PATH, required=True, help="Folder for objects.csv and counts.csv.")
@click.option("--images", type=PATH, help="Folder of the images, by name and planes, for intensities.")
@click.option(
    "--probabilities",
    type=PATH,
    help="Folder of what predict --probabilities wrote, by name, to split by.",
)
@click.option("--classes", help="Names by label, such as background,blood_cell,bacteria.")
@click.option("--model", type=PATH, help="The model whose class names and rules to take.")
@click.option(
    "--instances",
    is_flag=True,
    help="Labels number objects of one class, as Cellpose's do; each is an object as it is.",
)
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@rule_options
@object_options
def measure(labels, out, classes, instances, rules, objects, **options):
    """Count and measure the objects of label images. Tables have a row per object, and per image and class. Each plane
    of a stack is measured as an image of its own, with columns t and z: nothing is tracked or joined in depth.
    """
    from unetpp.app import measuring

    measured = {**objects, **rules, "instances": instances}
    if measuring.measure_labels(labels, out, classes=class_names(classes), objects=measured, **options):
        sys.exit(1)


@cli.command()
@click.argument("model", type=PATH)
def export(model):
    """Add the graph that OpenVINO runs to MODEL. Training does so by itself."""
    from unetpp.app import run as running

    running.export_model(model)


@cli.command()
@click.argument("model", type=PATH)
@click.option("--data", type=PATH, required=True, help="Images and masks to calibrate on and to score.")
@data_options
def quantize(model, data, **places):
    """Add a graph in 8-bit integers to MODEL. Your images calibrate it; it is the default if it scores as well."""
    from unetpp.app import run as running

    running.run_quantization(model, data, places=places)


@cli.command()
@click.argument("model", type=PATH)
@click.argument("data", type=PATH)
@functools.partial(engine_options, level=False)
@data_options
def levels(model, data, engine, **places):
    """Show each level's scores on DATA, time and memory. MODEL must be trained with deep supervision."""
    from unetpp.app import run as running

    running.run_levels(model, data, places=places, engine=engine)


@cli.command()
@click.argument("model", type=PATH)
@click.option("--level", type=int, required=True, help="Where the network is cut off.")
@click.option("--out", type=PATH, required=True, help="Folder to make.")
@click.option("--overwrite", is_flag=True, help="Replace a model that is there.")
def prune(model, level, out, overwrite):
    """Save MODEL cut off at a level: smaller and faster."""
    from unetpp.app import run as running

    running.prune_model(model, level, out, overwrite=overwrite)


@cli.command()
@click.argument("model", type=PATH)
@rule_options
def objects(model, rules):
    """Store in MODEL what counts as an object, or show it. Other commands take it unless told otherwise."""
    from unetpp.app import objects as own

    own.keep_or_show(model, rules)


@cli.command()
@click.argument("model", type=PATH, required=False)
def summary(model):
    """Show MODEL's layers, classes and origin. Without MODEL, the default network."""
    from unetpp.app import run as running

    running.show_summary(model)


def main(arguments=None) -> None:
    """Run a command; every error a user can mend is one line and a non-zero exit."""
    # A job's time may be over, or a machine be shut down: what was begun is cleared away as after Ctrl-C.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    # TensorFlow's start-up messages are not for users.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for stream in (sys.stdout, sys.stderr):
        # A file or a terminal may know fewer signs than are printed.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        sys.exit(cli.main(arguments, standalone_mode=False) or 0)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _fail("interrupted; what was written stays", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UnetppError as error:
        _fail(str(error))
    except MemoryError:
        _fail("the memory is full; close other programs, or in training give a smaller --batch or --patch")
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}")


def _fail(line: str, status: int = 1) -> None:
    click.echo(f"unetpp: {' '.join(line.split())}", err=True)
    sys.exit(status)
