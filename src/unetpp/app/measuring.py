"""What the commands about objects do, with a terminal to show it on."""

from collections.abc import Sequence
from pathlib import Path

from unetpp.app.progress import counting
from unetpp.app.run import console, errors
from unetpp.errors import DatasetError, OutputError, SettingError


def measure_labels(
    inputs: Sequence[str],
    out: Path,
    *,
    images: Path | None,
    classes: tuple[str, ...] | None,
    model: Path | None,
    overwrite: bool,
    objects: dict,
) -> None:
    """Measure the objects of label images."""
    from unetpp.analysis.subjects import find_subjects
    from unetpp.inference.jobs import find_jobs

    jobs = find_jobs(list(inputs))
    names = classes or class_names_of(model) or numbered_classes([job.image for job in jobs])
    write = prepare_survey(names, out, overwrite=overwrite, **objects)
    write(find_subjects([(job.image, job.name) for job in jobs], images))


def check_jobs(jobs, out: Path) -> None:
    """Raise unless what is predicted can be measured afterwards."""
    from unetpp.inference.jobs import is_file

    if is_file(out):
        raise OutputError("tables of objects need a folder", where=out, mend="give a folder as --out")
    for job in jobs:
        if job.kind == "stack":
            what = "the objects of a stack cannot be measured"
            raise SettingError(
                what, where=job.image, mend="give its planes as images, or leave out --objects"
            )


def measure_prediction(jobs, out: Path, write) -> None:
    """Measure the objects of what was predicted, by its probabilities if they were written."""
    from unetpp.analysis.subjects import Subject

    subjects = []
    for job in jobs:
        outputs = job.outputs(out, ("probabilities",))
        chances = outputs.get("probabilities")
        if outputs["labels"].exists():
            known = chances if chances and chances.exists() else None
            subjects.append(Subject(job.name, outputs["labels"], job.image, known))
    write(subjects)


def prepare_survey(names: Sequence[str], out: Path, *, overwrite: bool, table: str, extras, **rules):
    """What measures subjects and says what was found; raises at once if that cannot be."""
    from unetpp.analysis.rules import Rules
    from unetpp.analysis.survey import survey

    suffix, checked = f".{table}", Rules(**rules)
    checked.indices(names)
    refuse_existing(out, suffix, overwrite=overwrite)

    def write(subjects) -> None:
        with counting(errors) as bar:
            task = bar.add_task("measuring", total=len(subjects))
            options = {"suffix": suffix, "extras": extras, "done": lambda subject: bar.advance(task)}
            _, counts = survey(subjects, names, checked, out, **options)
        found = [f"{int(counts['count'][counts['class'] == name].sum()):,} {name}" for name in names[1:]]
        images = f"{len(subjects)} image{'' if len(subjects) == 1 else 's'}"
        console.print(f"found {', '.join(found)} in {images}", highlight=False, soft_wrap=True)
        for name in ("objects", "counts"):
            console.print(f"{name}: {out / (name + suffix)}", highlight=False, soft_wrap=True)

    return write


def refuse_existing(out: Path, suffix: str, *, overwrite: bool) -> None:
    """Raise unless tables may be written into a folder."""
    if out.exists() and not out.is_dir():
        raise OutputError("this is a file, not a folder", where=out, mend="choose another --out")
    for name in ("objects", "counts"):
        path = out / (name + suffix)
        if path.exists() and not overwrite:
            raise OutputError("the output exists", where=path, mend="give --overwrite or another --out")


def class_names_of(model: Path | None) -> tuple[str, ...] | None:
    """The classes of a model."""
    from unetpp.bundle import read_bundle

    return read_bundle(model).classes if model else None


def numbered_classes(paths: Sequence[Path]) -> tuple[str, ...]:
    """Names by number, up to the highest that label images show."""
    from unetpp.data.masks import mask_values

    highest = max(max(mask_values(path)) for path in paths)
    if highest > 254:
        raise DatasetError(
            f"a label of {highest} is no class",
            where=paths[0],
            mend="give class indices from 0 on, or --classes",
        )
    return ("background", *(f"class_{k}" for k in range(1, max(highest, 1) + 1)))
