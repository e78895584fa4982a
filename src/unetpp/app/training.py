"""What the commands about training do, with a terminal to show it on."""

import shlex
import shutil
import time
from functools import partial
from pathlib import Path

from unetpp.app.options import LENGTH
from unetpp.app.progress import TrainingProgress, counting, duration, settings_table
from unetpp.app.run import console, errors, import_training
from unetpp.errors import OutputError, SettingError, TrainingError, UnetppError

# What a run leaves in its folder; nothing else there is ever removed.
RUN_FILES = ("model", "plan.json", "split.json", "history.csv", "events", "checkpoints", "validation")
# What may be decided anew when a run is resumed.
MAY_CHANGE = {"budget", "epochs", "devices", "workers"}


def start_run(
    data: Path,
    run: Path,
    chosen: dict,
    *,
    names,
    places,
    resume,
    overwrite,
    started,
    trackers=(),
    job=None,
    again="",
    former=(),
) -> None:
    """Plan and train, or go on with a run.

    `again` is the command that goes on when it is interrupted; a new run also takes the place of the `former` ones.
    """
    check_length(chosen)
    if chosen.get("devices", 1) > 1:
        import_training(several=True).devices.find(chosen["devices"])
    plan_anew = partial(new_plan, data, run, chosen, names, places, overwrite, trackers, former)
    with console.status("looking at the data ..."):
        if resume:
            plan = resumed_plan(data, run, chosen, places)
        elif job:
            plan = job_plan(run, plan_anew)
        else:
            plan = plan_anew()
    show_plan(plan)
    fit = import_training(several=plan.options.devices > 1)
    from unetpp.training.schedule import Budget

    budget = Budget(seconds=plan.options.budget, started=started)
    try:
        with TrainingProgress(console, plan.options.batch) as report:
            bundle = fit.train(plan, run, budget, report=report, resume=resume, trackers=trackers)
    except KeyboardInterrupt:
        again = again or command(data, run)
        again += "".join(f" --tracker {name}" for name in trackers) + (f" --job {job}" if job else "")
        console.print(f"go on with: {again}", highlight=False, markup=False, soft_wrap=True)
        raise
    best = bundle.origin["validation_at_working_size"]
    console.print(
        f"best mean IoU {best['mean_iou']:.3f}, at epoch {bundle.origin['epoch']}, on the held-out images"
    )
    factors = [f"{name} x {factor:g}" for name, factor in bundle.origin["factors"].items() if factor != 1]
    if factors:
        console.print(f"chosen on training images, how readily each is found: {', '.join(factors)}")
    console.print(
        f"model: {run / 'model'}   pictures: {run / 'validation'}   {duration(time.monotonic() - started)}"
    )
    console.print(f"next: unetpp predict {run} IMAGES --out OUT", highlight=False)


def check_length(chosen: dict) -> None:
    """Raise unless a run is as long as one of budget and epochs say."""
    if chosen.get("budget") and chosen.get("epochs"):
        raise SettingError("--budget and --epochs exclude each other", mend="give one of them")


def command(data: Path, run: Path, chosen: dict | None = None, *, names=None, places=None) -> str:
    """The command that goes on with a run, and with options for what of it has not begun."""
    from unetpp.training.options import Options

    usual = vars(Options())
    values = {name: value for name, value in (chosen or {}).items() if value != usual[name]}
    if "budget" in values:
        values["budget"] = f"{values['budget']:.0f}s"
    words = ["unetpp", "train", data, "--out", run, "--resume"]
    return shlex.join([*map(str, words), *_given({**values, "classes": names, **(places or {})})])


def _given(values: dict) -> list[str]:
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


def job_plan(run: Path, plan_anew):
    """The plan that the job's first process makes and saves."""
    from unetpp.training import devices
    from unetpp.training.planfile import load_plan

    first, plan, failure = devices.place()[0] == 0, None, None
    try:
        plan = plan_anew() if first else None
    except UnetppError as error:
        failure = error
    # The others wait here until the plan lies in the run folder.
    if any(devices.agree(failure is not None)):
        raise failure or TrainingError("the job's first process has ended", mend="see what it says")
    return plan or load_plan(run)


def check_start(start: str | None, run: Path) -> None:
    """Raise if the model to start from lies where a run is to be replaced."""
    from unetpp.bundle import find_bundle

    if start and find_bundle(Path(start)).resolve().is_relative_to(run.resolve()):
        raise SettingError(
            "the model to start from lies in the run that --overwrite replaces",
            where=start,
            mend="choose another --out",
        )


def start_runs(data: Path, run: Path, chosen: dict, *, started, **options) -> None:
    """A run; or of a cross-validation all folds, each in a folder of its own, and their scores."""
    if options["job"]:
        chosen = join_job(options["job"], chosen)
    if options["overwrite"]:
        check_start(chosen.get("start"), run)
    if not chosen.get("folds") or chosen.get("fold"):
        if options["resume"] and (run / "fold_1").exists() and not (run / "plan.json").exists():
            raise SettingError("this is a cross-validation", where=run, mend="give --folds, too")
        start_run(data, run, chosen, started=started, **options)
        return
    again = command(data, run, chosen, names=options["names"], places=options["places"])
    from unetpp.app.show import comparison
    from unetpp.bundle import read_bundle

    scores = {}
    for fold in range(1, chosen["folds"] + 1):
        folder = run / f"fold_{fold}"
        console.print(f"fold {fold} of {chosen['folds']}", style="bold")
        # Of an interrupted cross-validation, the folds that were not begun are begun.
        resume = options["resume"] and (folder / "plan.json").exists()
        start_run(
            data,
            folder,
            chosen | {"fold": fold},
            # What is left of former folds would be taken for begun ones.
            former=run.glob("fold_*") if options["overwrite"] and fold == 1 else (),
            started=time.monotonic(),
            **{**options, "resume": resume, "again": again},
        )
        scores[f"fold {fold}"] = read_bundle(folder).origin["validation_at_working_size"]
    console.print(comparison(scores))


def find_learning_rate(data: Path, chosen: dict, *, names, places) -> None:
    """Measure the loss at ever higher learning rates, and say which to take."""
    import_training()
    from unetpp.training.lr_find import STEPS, find_rate

    with console.status("looking at the data ..."):
        plan = decide(data, chosen, names, places)
    with counting(errors) as bar:
        task = bar.add_task("measuring", total=STEPS)
        rates, losses, best = find_rate(plan, step=lambda: bar.advance(task), warn=console.print)
    rows = [(f"{rate:.1e}", f"{loss:.3f}") for rate, loss in zip(rates[::10], losses[::10], strict=True)]
    console.print(settings_table([("rate", "loss"), *rows]))
    console.print(f"take --learning-rate {best:.1e}: the loss falls fastest there", highlight=False)


def decide(data: Path, chosen: dict, names, places):
    """Look at the data, and decide on all that was not chosen."""
    from unetpp.data.dataset import find_samples, read_class_names
    from unetpp.training.options import Options
    from unetpp.training.plan import make_plan

    check_length(chosen)
    return make_plan(find_samples(data, **places), Options(**chosen), names or read_class_names(data))


def clear(run: Path) -> None:
    """Remove a former run from its folder."""
    for name in RUN_FILES if run.is_dir() else ():
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def new_plan(data, run, chosen, names, places, overwrite, trackers, former=()):
    """The plan of a new run, saved in its cleared folder."""
    from unetpp.training.planfile import save_plan

    if run.exists() and not run.is_dir():
        raise OutputError("this is a file, not a folder", where=run, mend="choose another --out")
    if run.is_dir() and any(run.iterdir()) and not overwrite:
        raise OutputError(
            "the folder is not empty", where=run, mend="give --resume, --overwrite or another --out"
        )
    plan = decide(data, chosen, names, places)
    # What would end the run at once shall replace none.
    import_training(several=plan.options.devices > 1).check(plan, trackers)
    for folder in (run, *former):
        clear(folder)
    run.mkdir(parents=True, exist_ok=True)
    save_plan(plan, run)
    return plan


def resumed_plan(data, run, chosen, places):
    """The plan of a run that is there already; only its length, devices and workers may be changed."""
    from dataclasses import replace

    from unetpp.training.planfile import load_plan, save_plan
    from unetpp.training.start import full_place

    plan = load_plan(run)
    if chosen.get("start"):
        chosen = {**chosen, "start": full_place(chosen["start"])}
    fixed = {name: value for name, value in chosen.items() if name not in MAY_CHANGE}
    if other := min((name for name in fixed if fixed[name] != getattr(plan.options, name)), default=""):
        raise SettingError(
            f"{option(other)} cannot change when a run is resumed", mend="leave it out, or start anew"
        )
    chosen = {name: value for name, value in chosen.items() if name in MAY_CHANGE}
    if LENGTH & set(chosen):
        chosen = {"budget": None, "epochs": 0, **chosen}
    changed = replace(plan, options=replace(plan.options, **chosen), **moved(plan, data, places))
    if changed != plan:
        save_plan(changed, run)
    return changed


def moved(plan, data, places) -> dict:
    """Both sides of a plan as they are now in DATA, if none of their images is where it was."""
    from unetpp.data.dataset import find_samples

    sides = {"train": plan.train, "validation": plan.validation}
    if any(sample.image.exists() for side in sides.values() for sample in side):
        return {}
    now = {sample.stem: sample for sample in find_samples(data, **places)}
    return {name: tuple(now.get(old.stem, old) for old in side) for name, side in sides.items()}


def show_plan(plan) -> None:
    """What the run is decided by, and why."""
    from unetpp.training.table import rows

    console.print(settings_table(rows(plan)))
    if plan.classes[-1].startswith("class_"):
        console.print("the classes have no names: give --classes, or a file classes.txt in DATA, one a line")


def plan_run(data: Path, chosen: dict, output: Path | None, *, names, places, overwrite: bool) -> None:
    """Show a plan, and write it to a file, without training."""
    from unetpp.training.planfile import write_plan

    if output and output.exists() and not overwrite:
        raise OutputError("the output exists", where=output, mend="give --overwrite or another file")
    with console.status("looking at the data ..."):
        plan = decide(data, chosen, names, places)
    show_plan(plan)
    if output:
        write_plan(plan, output)
        words = ["unetpp", "train", str(data), "--out", "RUN", "--plan", str(output), *_given(places)]
        console.print(f"next: {shlex.join(words)}", highlight=False, soft_wrap=True)
