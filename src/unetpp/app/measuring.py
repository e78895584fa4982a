"""What the commands about objects do, with a terminal to show it on."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from unetpp.app.objects import settle
from unetpp.app.progress import counting
from unetpp.app.terminal import console, errors, show_failures
from unetpp.errors import DatasetError, ImageError, InstallError, MaskError, OutputError, SettingError


def measure_labels(
    inputs: Sequence[str],
    out: Path,
    *,
    images: Path | None,
    probabilities: Path | None,
    classes: tuple[str, ...] | None,
    model: Path | None,
    overwrite: bool,
    objects: dict,
) -> bool:
    """Measure the objects of label images, and say what failed; True if anything did."""
    from unetpp.analysis.subjects import find_subjects
    from unetpp.bundle import read_bundle
    from unetpp.data.dataset import check_classes
    from unetpp.inference.jobs import MEASURED, find_jobs

    if classes:
        check_classes(classes)
    if classes and model:
        raise SettingError("--model names the classes already", mend="leave out --classes, or --model")
    if "numbered" in objects["extras"] and images is None:
        what = "--also numbered draws on the images the labels were made from"
        raise SettingError(what, mend="give their folder as --images, or leave it out")
    jobs = find_jobs(list(inputs), out, MEASURED)
    folders = [Path(given).resolve() for given in inputs]
    subjects = find_subjects([(job.image, job.name) for job in jobs], images, probabilities, folders=folders)
    check_outputs(jobs, out, overwrite=overwrite, subjects=subjects, **objects)
    bundle = read_bundle(model) if model else None
    names = classes or (bundle.classes if bundle else None)
    if objects["instances"]:
        # What a model's objects are is how they are found.
        names, bundle = one_class(names), None
    names = names or numbered_classes([job.image for job in jobs])
    return prepare_survey(names, out, **{**objects, **settle(objects, bundle)})(subjects)


def check_folder(out: Path) -> None:
    """Raise unless the objects of what is predicted can be measured afterwards."""
    from unetpp.inference.jobs import is_file

    if is_file(out):
        raise OutputError("tables of objects need a folder", where=out, mend="give a folder as --out")


def measure_prediction(jobs, out: Path, extras, write) -> bool:
    """Measure the objects of what was predicted, by its probabilities if these are among its `extras`."""
    from unetpp.analysis.subjects import Subject

    subjects = []
    for job in jobs:
        outputs = job.outputs(out, extras)
        subjects.append(Subject(job.name, outputs["labels"], job.image, outputs.get("probabilities")))
    return bool(subjects) and write(subjects)


def prepare_survey(names: Sequence[str], out: Path, *, table: str, extras, **rules):
    """What measures subjects, says what was found and what failed, and tells whether anything did.

    Raises at once if that cannot be.
    """
    from unetpp.analysis.rules import Rules
    from unetpp.analysis.survey import common_paths, survey

    suffix, checked = f".{table}", Rules(**rules)
    checked.indices(names)

    def write(subjects) -> bool:
        with counting(errors) as bar:
            task = bar.add_task("measuring", total=len(subjects))
            options = {"suffix": suffix, "extras": extras, "done": lambda subject: bar.advance(task)}
            _, counts, failures = survey(subjects, names, checked, out, **options)
        if not counts:
            show_failures(failures)
            return True
        found = [f"{int(counts['count'][counts['class'] == name].sum()):,} {name}" for name in names[1:]]
        measured = len(subjects) - len(failures)
        images = f"{measured} image{'' if measured == 1 else 's'}"
        console.say(f"found {', '.join(found)} in {images}")
        if not checked.pixel_size:
            say_pixel_sizes(counts)
        for name, path in common_paths(out, suffix, ()).items():
            console.say(f"{name}: {path}")
        say_left(subjects, out, extras)
        show_failures(failures)
        return bool(failures)

    return write


def say_pixel_sizes(counts) -> None:
    """Say how large pixels are, by what images say of themselves, and how many do where not all do."""
    if "pixel_size_um" not in counts:
        return
    sizes = dict(zip(counts["image"], counts["pixel_size_um"], strict=True))
    known = sorted(size for size in sizes.values() if size > 0)
    shown = " to ".join(f"{size:g}" for size in dict.fromkeys((known[0], known[-1])))
    all_say = "images say; --pixel-size says otherwise"
    some_say = f"{len(known)} of {len(sizes)} images say; --pixel-size says it of all"
    console.say(f"pixel size: {shown} um, as {all_say if len(known) == len(sizes) else some_say}")


def say_left(subjects, out: Path, extras) -> None:
    """Say what an earlier run wrote that was not asked for now: it may tell of other objects than the tables."""
    from unetpp.analysis.extras import SUFFIXES, own_paths
    from unetpp.analysis.survey import common_paths

    read = {path.resolve() for subject in subjects for path in (subject.labels, subject.image) if path}
    paths = {
        extra: [own_paths(subject.name, out, [extra])[extra] for subject in subjects] for extra in SUFFIXES
    }
    paths["coco"] = [common_paths(out, "", ["coco"])["coco"]]
    for extra in sorted(paths.keys() - {*extras}):
        if any(path.exists() and path.resolve() not in read for path in paths[extra]):
            errors.say(f"{extra} in {out}: as an earlier run left it; --also {extra} writes it anew")


def check_outputs(jobs, out: Path, *, overwrite: bool, table: str, extras, subjects=(), **rules) -> None:
    """Raise unless tables and extras of images may, and can, be written into a folder.

    Neither takes the place of the jobs' files, nor of those beside them, as `subjects`, that are read, too.
    """
    from unetpp.analysis.extras import own_paths
    from unetpp.analysis.subjects import check_drawable, check_stack
    from unetpp.analysis.survey import common_paths
    from unetpp.inference.jobs import refuse_images

    for module, option, wanted in (
        ("pyarrow", "--table parquet", table == "parquet"),
        ("roifile", "--also roi", "roi" in extras),
    ):
        if wanted and importlib.util.find_spec(module) is None:
            mend = f'in the clone, run: pip install ".[objects]", or leave out {option}'
            raise InstallError(f"{module} is not installed", mend=mend)
    if out.exists() and not out.is_dir():
        raise OutputError("this is a file, not a folder", where=out, mend="choose another --out")
    own = [path for job in jobs for path in own_paths(job.name, out, extras).values()]
    beside = [path for subject in subjects for path in (subject.image, subject.probabilities) if path]
    refuse_images([*(job.image for job in jobs), *beside], own)
    for path in [*common_paths(out, f".{table}", extras).values(), *own]:
        if path.exists() and not overwrite:
            raise OutputError("the output exists", where=path, mend="give --overwrite or another --out")
    images = {subject.labels: subject.image for subject in subjects}
    for job in jobs if extras else ():
        if job.kind == "stack":
            check_stack(job.image, extras, images.get(job.image))
        elif "numbered" in extras:
            check_drawable(job.image)


def one_class(names: tuple[str, ...] | None) -> tuple[str, ...]:
    """The background and the class of numbered objects, whose names may be given.

    Raises:
        SettingError: if there are more.
    """
    names = names or ("background", "object")
    if len(names) > 2:
        what = f"--instances numbers objects of one class, and these are {', '.join(names[1:])}"
        raise SettingError(what, mend="give --classes background,NAME alone")
    return names


def check_same_images(jobs, out: Path, table: str) -> None:
    """Raise if the tables in a folder have images that those to come, of these jobs alone, would not have."""
    from unetpp.analysis.survey import common_paths
    from unetpp.analysis.tables import read_column

    counts = common_paths(out, f".{table}", ())["counts"]
    if not counts.exists():
        return
    others = sorted(set(read_column(counts, "image")) - {job.name for job in jobs})
    if others:
        which = f"{others[0]} and {len(others) - 1} more" if len(others) > 1 else others[0]
        what = f"it has {which}, which would be left out"
        raise OutputError(what, where=counts, mend="name those images, too, or give another --out")


def numbered_classes(paths: Sequence[Path]) -> tuple[str, ...]:
    """Names by number, up to the highest that label images show."""
    from unetpp.analysis.planes import count_labels, open_numbers
    from unetpp.data.masks import MOST_CLASSES

    highest = 0
    for path in paths:
        try:
            with open_numbers(path) as numbers:
                values = count_labels(numbers)
        except (ImageError, MaskError):
            # Whoever measures it says so.
            continue
        highest = max(highest, *values)
        if highest >= MOST_CLASSES:
            what = f"a label of {highest} is no class"
            if values.keys() <= {0, 255}:
                raise DatasetError(what, where=path, mend="give --classes background,NAME")
            if len(values.keys() - {0}) == 1:
                raise DatasetError(
                    what, where=path, mend=f"replace {highest} by the index of its class, 1 if alone"
                )
            what += "; these look like numbers of objects"
            mend = (
                f"give --instances, or indices of at most {MOST_CLASSES} classes and their names as --classes"
            )
            raise DatasetError(what, where=path, mend=mend)
    return ("background", *(f"class_{k}" for k in range(1, max(highest, 1) + 1)))
