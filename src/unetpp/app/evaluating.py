"""What the commands about scores do, with a terminal to show it on."""

import csv
import hashlib
import json
import os
import platform
import shlex
import sys
from pathlib import Path

from unetpp import __version__
from unetpp.analysis.boundary import TOLERANCE
from unetpp.analysis.figures import duration
from unetpp.analysis.rules import Rules
from unetpp.app.backends import open_models
from unetpp.app.objects import settle, told, words
from unetpp.app.progress import counting
from unetpp.app.terminal import console, errors, print_table
from unetpp.bundle import find_bundle, read_bundle
from unetpp.errors import OutputError, SettingError

# How to report on a run whose held-out images are not known, or shall not be taken.
DATA_TOO = "name DATA too: unetpp report RUN DATA"


def run_evaluation(
    model: Path,
    data: Path,
    *,
    against: Path | None = None,
    output: Path | None = None,
    overwrite: bool = False,
    engine: dict | None = None,
    rules: dict | None = None,
    truth: dict | None = None,
    **places,
) -> None:
    """Score a model, print the tables, write the JSON file; with another model, compare them."""
    from unetpp.analysis.summary import compare, summarize
    from unetpp.app import show
    from unetpp.data.images import atomic_path

    refuse_existing(output, overwrite=overwrite)
    if against:
        check_comparable(model, against, rules or {})
    samples, _ = samples_for(model, data, places)
    if against and (note := learnt(against, samples)):
        errors.say(f"{against}: {note}")
    truth = checked(truth or {})
    samples = ready(samples, truth.pop("instances", None), output)
    groups = groups_of(samples, truth.pop("group_by", ""))
    # Both, before one works for hours.
    models = [open_models([path], streams=2, **engine or {}) for path in (model, against) if path]
    rules = settle(rules or {}, models[0][0])
    options = {"rules": Rules(**rules), **truth}
    found, *others = (
        [record for _, record in look_at(bundle, predictor, samples, **options)]
        for bundle, predictor in models
    )
    classes = models[0][0].classes
    result = {"rules": rules, **summarize(found, classes, groups=groups)}
    for other in others:
        result["against"] = compare(other, found, classes, groups=groups)
    # First, for what reads what is printed may have ended.
    if output:
        with atomic_path(output) as path:
            path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for table in (show.table(result), show.objects(result)):
        print_table(table)
    console.say(show.closing(result))
    if against:
        print_table(show.differences(result["against"], model, against))


def check_comparable(model: Path, against: Path, asked: dict) -> None:
    """Raise unless two models know the same classes, and say so if they have other objects.

    Rules find the true objects, too: each model by its own, they would be held against different truths.
    """
    one, other = read_bundle(model), read_bundle(against)
    if other.classes != one.classes:
        what = f"its classes are {', '.join(other.classes)}, not {', '.join(one.classes)}"
        raise SettingError(what, where=against, mend="compare models of the same classes")
    own, common = words(other.objects), words(one.objects)
    if not told(asked) and own != common:
        errors.say(f"{against}: its own objects would be {own}; both are compared by {common}")


def run_report(
    run: Path,
    data: Path | None,
    *,
    output: Path | None,
    overwrite: bool,
    engine: dict,
    rules: dict,
    truth: dict,
    **places,
) -> None:
    """Score a model and write it as a page with pictures."""
    from unetpp.analysis.charts import check_installed
    from unetpp.analysis.pictures import draw_pictures
    from unetpp.analysis.report import Report, write_report

    # That of a model found by its name alone goes to where one works.
    output = output or (run if run.is_dir() else Path()) / "report.html"
    refuse_existing(output, overwrite=overwrite)
    check_installed()
    truth = checked(truth)
    group_by = truth.pop("group_by", "")
    if data:
        samples, note = samples_for(run, data, places)
    else:
        if given := [name for name, value in places.items() if value]:
            what = f"--{given[0].replace('_', '-')} is about DATA"
            raise SettingError(what, mend=DATA_TOO)
        samples, kept = held_out(run)
        group_by = group_by or kept
        note = "these images have chosen the model's best epoch: new ones may score lower"
    samples = ready(samples, truth.pop("instances", None), output)
    groups = groups_of(samples, group_by)

    def draw(found):
        return draw_pictures(found.sample.stem, found.image, found.truth, found.labels)

    bundle, predictor = open_models([run], streams=2, **engine)
    rules = settle(rules, bundle)
    found = look_at(bundle, predictor, samples, draw, rules=Rules(**rules), **truth)
    pictures, records = zip(*found, strict=True)
    title = f"{run.resolve().name} on {data or 'its validation images'}"
    facts = [*facts_of(bundle), ("objects", words(rules)), *facts_of_this(samples)]
    with errors.status("writing the report ..."):
        page = Report(
            title, bundle.classes, records, pictures, read_history(run), facts, note, groups, group_by
        )
        write_report(output, page)
    console.say(f"written: {output}")


def look_at(
    bundle,
    predictor,
    samples,
    also=lambda prediction: None,
    *,
    rules: Rules,
    tolerance: float = TOLERANCE,
):
    """Predict samples and hold them against their truth, with a bar.

    Args:
        bundle, predictor: of `open_models`, of two streams: two images at a time keep two cores busier than two cores
            at one image.
        samples: images with masks.
        also: what else to make of each prediction.
        rules: what an object is; checked by the model's classes before it is run.
        tolerance: of boundaries, in pixels.

    Returns:
        what `also` returned and the record of each sample.
    """
    from unetpp.data.threads import ahead
    from unetpp.inference.evaluate import predictions, to_record

    rules.indices(bundle.classes)

    def work(sample):
        [made] = predictions(predictor, [sample], bundle.classes)
        return also(made), to_record(made, bundle.classes, rules, tolerance)

    found = []
    with counting(errors) as bar:
        task = bar.add_task("evaluating", total=len(samples))
        # A third works while one of two waits for the lock of Python's interpreter.
        for result in ahead(work, samples, threads=3):
            found.append(result)
            bar.advance(task)
    return found


def refuse_existing(output: Path | None, *, overwrite: bool) -> None:
    """Raise unless a file may, and can, be written: it is known before work that takes long."""
    if output and output.exists() and (output.is_dir() or not overwrite):
        raise OutputError("the output exists", where=output, mend="give --overwrite or another file")
    for folder in output.absolute().parents if output else ():
        if folder.exists():
            if not folder.is_dir() or not os.access(folder, os.W_OK):
                raise OutputError("nothing can be written here", where=folder, mend="give another folder")
            break


def checked(truth: dict) -> dict:
    """A copy of the options about truth, if they can be meant."""
    tolerance = truth.get("tolerance", TOLERANCE)
    if not tolerance >= 0:
        raise SettingError(f"--tolerance cannot be {tolerance:g}", mend="give pixels from 0 on")
    return dict(truth)


def ready(samples, folder: Path | None, output: Path | None):
    """Samples with the true objects in a folder, if one is given.

    Raises, before work that takes long, if sizes differ or an output would take the place of a sample's file.
    """
    from unetpp.data.dataset import check_sizes, with_instances
    from unetpp.data.threads import parallel
    from unetpp.inference.jobs import refuse_images

    samples = with_instances(samples, folder) if folder else samples
    refuse_images([path for sample in samples for path in sample.files], [output] if output else [])
    parallel(check_sizes, samples)
    return samples


def samples_for(model: Path, data: Path, places: dict):
    """The samples of DATA, whose masks mean what a model's classes do, as far as DATA says; and what `learnt` says."""
    from unetpp.data.dataset import check_class_names, find_samples

    check_class_names(data, read_bundle(model).classes)
    samples = find_samples(data, **places)
    if note := learnt(model, samples):
        errors.say(note)
    return samples, note


def learnt(model: Path, samples) -> str:
    """A sentence about those samples that a model was trained on, as far as its run's folder tells; "" without any."""
    from unetpp.training.start import former_sides

    try:
        known, moved = former_sides(str(model), samples)
    except SettingError:
        return ""
    count = [known.get(sample.image.resolve()) for sample in samples].count(False)
    which = "have the names of" if moved else "are"
    return (
        f"{count} of {len(samples)} images {which} those it was trained on: new ones will score lower"
        if count
        else ""
    )


def groups_of(samples, group_by: str) -> list[int] | None:
    """A number for each sample, alike for those that are drawn together; None if each is drawn by itself.

    By their names alone: near-duplicates, such as one empty field of each slide, would make one group of all slides.
    """
    from unetpp.data.groups import group_keys

    if not group_by:
        return None
    numbers: dict = {}
    return [numbers.setdefault(key, len(numbers)) for key in group_keys(samples, group_by)]


def held_out(run: Path):
    """The validation images of a run, and what kept groups of images on one side, unless that was a table now gone.

    Raises:
        SettingError: if it is not known which they are, or there are none.
        BundleError: if no model is there.
    """
    from unetpp.data.groups import table_of
    from unetpp.training.planfile import load_plan

    find_bundle(run)
    try:
        plan = load_plan(run)
    except SettingError as error:
        what = "it is not known which images this model was validated on"
        raise SettingError(what, where=run, mend=DATA_TOO) from error
    if not plan.validation:
        raise SettingError("this run held no image out", where=run, mend=DATA_TOO)
    table = table_of(plan.options.group_by)
    return plan.validation, "" if table and not table.is_file() else plan.options.group_by


def read_history(run: Path) -> list[dict[str, str]]:
    """The rows of a run's history.csv, if it has one."""
    path = run / "history.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def facts_of(bundle) -> list[tuple[str, str]]:
    """What is known of a model's making."""
    origin, facts = bundle.origin, []
    if "seconds" in origin:
        images = origin.get("training_images")
        facts.append(
            ("trained", f"{duration(origin['seconds'])} on {images} images, to epoch {origin.get('epoch')}")
        )
    if "options" in origin:
        facts.append(("training options", json.dumps(origin["options"])))
    facts.append(
        ("trained with", ", ".join(f"{k} {origin[k]}" for k in ("unetpp", "keras", "backend") if k in origin))
    )
    facts += [(f"SHA-256 of {name}", digest) for name, digest in sorted(bundle.sha256.items())]
    return facts


def facts_of_this(samples) -> list[tuple[str, str]]:
    """How this report was made, and of what."""
    digest = hashlib.sha256()
    for sample in samples:
        for path in (sample.image, sample.mask):
            digest.update(Path(path).read_bytes())
    system = f"{platform.system()} {platform.machine()}"
    return [
        ("command", shlex.join(["unetpp", *sys.argv[1:]])),
        (
            "made with",
            f"unetpp {__version__}, Python {platform.python_version()}, {system}",
        ),
        ("seed of the bootstrap", "0"),
        ("SHA-256 of all images and masks", digest.hexdigest()),
    ]
