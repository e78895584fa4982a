"""What the commands about training do, with a terminal to show it on."""

import shlex
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unetpp.analysis.figures import duration, figure
from unetpp.app.backends import import_training
from unetpp.app.order import Order, command, given, repeated
from unetpp.app.progress import TrainingProgress, counting, settings_table
from unetpp.app.resuming import resumed_plan
from unetpp.app.terminal import console, errors, print_table
from unetpp.bundle import FOLD, is_cross_validation, read_bundle
from unetpp.errors import OutputError, SettingError, TrainingError, UnetppError

# What a run leaves in its folder, beside others' files; the last, which tells a run, is removed last.
RUN_FILES = ("model", "split.json", "history.csv", "events", "checkpoints", "validation", "plan.json")


def train(
    data: Path | str,
    run: Path | str,
    classes: Sequence[str] | None = None,
    *,
    instances: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **options,
) -> None:
    """Train on a folder of images and masks as `unetpp train` does, and show how it goes.

    Args:
        data: the folder, with images/ and masks/, paired by name.
        run: the run's folder, which `open_predictor` and `load_model` open.
        classes: names by mask value; None for those that the data name.
        instances: a folder of label images that number the objects, to learn where they touch, too.
        resume: go on with the run that is there.
        overwrite: replace it.
        options: fields of `unetpp.training.options.Options`, such as budget (seconds), epochs or loss.

    Raises:
        UnetppError: for what the command would end with: what is wrong, with which file, and how to mend it.
        KeyboardInterrupt: if it was interrupted, once all is saved.

    Example:
        >>> unetpp.train("DATA", "RUN", ("background", "cell"), budget=600, loss="dice")  # doctest: +SKIP
        >>> bundle, predictor = unetpp.open_predictor("RUN")  # doctest: +SKIP
    """
    if resume and overwrite:
        raise SettingError("resume and overwrite exclude each other", mend="give one of them")
    order = Order(
        data=Path(data),
        places={"instances": Path(instances)} if instances else {},
        names=tuple(classes) if classes else None,
        chosen={name: tuple(value) if isinstance(value, list) else value for name, value in options.items()},
        run=Path(run),
        resume=resume,
        overwrite=overwrite,
    )
    start_runs(order)


def start_run(order: Order) -> None:
    """Plan and train, or go on with a run."""
    check_length(order.chosen)
    if order.chosen.get("devices", 1) > 1:
        import_training(several=True).devices.find(order.chosen["devices"])
    run = order.run
    with console.status("looking at the data ..."):
        if order.resume:
            plan = resumed_plan(order)
        elif order.job:
            plan = job_plan(order)
        else:
            plan = new_plan(order)
    show_plan(plan)
    fit = import_training(several=plan.options.devices > 1)
    from unetpp.training.schedule import Budget

    budget = Budget(seconds=plan.options.budget, started=order.started)
    try:
        with TrainingProgress(console, plan.options.batch) as report:
            bundle = fit.train(plan, run, budget, report=report, resume=order.resume, trackers=order.trackers)
    except KeyboardInterrupt:
        again = order.again or command(order.data, run)
        again += "".join(f" --tracker {name}" for name in order.trackers)
        again += f" --job {order.job}" if order.job else ""
        console.say(f"go on with: {again}")
        raise
    best, epoch = bundle.origin["validation_at_working_size"]["mean_iou"], bundle.origin["epoch"]
    if plan.validation:
        console.say(f"best mean IoU {figure(best)}, at epoch {epoch}, on the held-out images")
    else:
        console.say(f"the last weights, of epoch {epoch}: no image was held out to tell how good they are")
    factors = [f"{name} x {factor:g}" for name, factor in bundle.origin["factors"].items() if factor != 1]
    if factors:
        console.say(f"chosen on training images, how readily each is found: {', '.join(factors)}")
    pictures = f"   pictures: {run / 'validation'}" if plan.validation else ""
    console.say(f"model: {run / 'model'}{pictures}   {duration(time.monotonic() - order.started)}")
    words = ["unetpp", "predict", str(run), "IMAGES", "--out", "OUT"]
    console.say(f"next: {shlex.join(words)}")


def check_length(chosen: dict) -> None:
    """Raise unless a run is as long as one of budget and epochs say."""
    if chosen.get("budget") and chosen.get("epochs"):
        raise SettingError("--budget and --epochs exclude each other", mend="give one of them")


def join_job(job: str, chosen: dict) -> dict:
    """The options with all the job's devices; only its first process speaks."""
    import_training(several=True)
    from unetpp.training import devices

    devices.join(job)
    console.quiet = devices.place()[0] > 0
    count = devices.count()
    # A plan's file says 1 where nothing was asked for.
    if chosen.get("devices", 1) not in (1, count):
        raise SettingError(f"--devices {chosen['devices']}: the job has {count}", mend="leave --devices out")
    return {**chosen, "devices": count}


def job_plan(order: Order):
    """The plan that the job's first process makes and saves."""
    from unetpp.training import devices
    from unetpp.training.planfile import load_plan

    first, plan, failure = devices.place()[0] == 0, None, None
    try:
        plan = new_plan(order) if first else None
    except UnetppError as error:
        failure = error
    # The others wait here until the plan lies in the run folder.
    if any(devices.agree(failure is not None)):
        raise failure or TrainingError("the job's first process has ended", mend="see what it says")
    return plan or load_plan(order.run)


def check_start(start: str | None, run: Path) -> None:
    """Raise if the model to start from lies where a run is to be replaced."""
    from unetpp.training.start import full_place

    if start and Path(full_place(start)).is_relative_to(run.resolve()):
        raise SettingError(
            "the model to start from lies in the run that --overwrite replaces",
            where=start,
            mend="choose another --out",
        )


def start_runs(order: Order) -> None:
    """A run; or of a cross-validation all folds, each in a folder of its own, and their scores."""
    if order.job:
        order = replace(order, chosen=join_job(order.job, order.chosen))
    run, chosen = order.run, order.chosen
    if order.overwrite:
        check_start(chosen.get("start"), run)
    if not chosen.get("folds") or chosen.get("fold"):
        if order.resume and is_cross_validation(run):
            raise SettingError("this is a cross-validation", where=run, mend="give --folds, too")
        start_run(order)
        return
    if (run / "plan.json").exists() and not order.overwrite:
        raise OutputError("a run without folds lies here", where=run, mend="choose another --out")
    again = command(order.data, run, *repeated(order))
    from unetpp.app.show import comparison

    scores = {}
    for fold in range(1, chosen["folds"] + 1):
        folder = run / FOLD.format(fold)
        console.say(f"fold {fold} of {chosen['folds']}", style="bold")
        one = replace(
            order,
            run=folder,
            chosen=chosen | {"fold": fold},
            # Of an interrupted cross-validation, the folds that were not begun are begun.
            resume=order.resume and (folder / "plan.json").exists(),
            started=time.monotonic(),
            again=again,
            # What is left of former folds would be taken for begun ones.
            former=(run, *run.glob(FOLD.format("*"))) if order.overwrite and fold == 1 else (),
        )
        start_run(one)
        scores[f"fold {fold}"] = read_bundle(folder).origin["validation_at_working_size"]
    print_table(comparison(scores))


def find_learning_rate(order: Order) -> None:
    """Measure the loss at ever higher learning rates, and say which to take."""
    import_training()
    from unetpp.training.lr_find import STEPS, find_rate

    with console.status("looking at the data ..."):
        plan = decide(order)
    with counting(errors) as bar:
        task = bar.add_task("measuring", total=STEPS)
        rates, losses, best = find_rate(plan, step=lambda: bar.advance(task), warn=console.say)
    rows = [(f"{rate:.1e}", f"{loss:.3f}") for rate, loss in zip(rates[::10], losses[::10], strict=True)]
    print_table(settings_table([("rate", "loss"), *rows]))
    console.say(f"take --learning-rate {best:.1e}: the loss falls fastest there")


def decide(order: Order):
    """Look at the data, and decide on all that was not chosen."""
    from unetpp.data.dataset import find_samples, read_class_names
    from unetpp.training.options import Options
    from unetpp.training.plan import make_plan

    check_length(order.chosen)
    names = order.names or read_class_names(order.data)
    return make_plan(find_samples(order.data, **order.places), Options(**order.chosen), names)


def files_of(run: Path) -> list[Path]:
    """What a run has left in a folder.

    Raises:
        OutputError: if files of such names are there, but no run's.
    """
    found = [path for path in (run / name for name in RUN_FILES) if path.exists()]
    if found and not (run / "plan.json").is_file():
        raise OutputError(
            "this is no run's, and shall not be replaced", where=found[0], mend="choose another --out"
        )
    return found


def new_plan(order: Order):
    """The plan of a new run, saved in its cleared folder."""
    from unetpp.training.planfile import save_plan

    run = order.run
    if run.exists() and not run.is_dir():
        raise OutputError("this is a file, not a folder", where=run, mend="choose another --out")
    if run.is_dir() and any(run.iterdir()) and not order.overwrite:
        raise OutputError(
            "the folder is not empty", where=run, mend="give --resume, --overwrite or another --out"
        )
    former = [path for folder in dict.fromkeys((run, *order.former)) for path in files_of(folder)]
    plan = decide(order)
    # What would end the run at once shall replace none.
    import_training(several=plan.options.devices > 1).check(plan, order.trackers)
    for path in former:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run.mkdir(parents=True, exist_ok=True)
    save_plan(plan, run)
    return plan


def show_plan(plan) -> None:
    """What the run is decided by, and why."""
    from unetpp.training.table import rows

    print_table(settings_table(rows(plan)))
    if plan.classes[-1].startswith("class_"):
        console.say("the classes have no names: give --classes, or a file classes.txt in DATA, one a line")


def plan_run(order: Order, output: Path | None) -> None:
    """Show a plan, and write it to a file, without training."""
    from unetpp.inference.jobs import refuse_images
    from unetpp.training.planfile import write_plan

    if output and output.exists() and not order.overwrite:
        raise OutputError("the output exists", where=output, mend="give --overwrite or another file")
    with console.status("looking at the data ..."):
        plan = decide(order)
    if output:
        refuse_images([path for sample in plan.train + plan.validation for path in sample.files], [output])
    show_plan(plan)
    if output:
        write_plan(plan, output)
        words = ["unetpp", "train", str(order.data), "--out", "RUN", "--plan", str(output)]
        words += given(order.places)
        console.say(f"next: {shlex.join(words)}")
