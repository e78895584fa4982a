"""What the commands about scores do, with a terminal to show it on."""

import json
from functools import partial
from pathlib import Path

from unetpp.app.progress import counting
from unetpp.app.run import console, errors, open_models
from unetpp.errors import OutputError, SettingError


def run_evaluation(
    model: Path,
    data: Path,
    *,
    against: Path | None = None,
    output: Path | None = None,
    overwrite: bool = False,
    engine: dict | None = None,
    rules: dict | None = None,
    instances: Path | None = None,
    tolerance: float = 2.0,
    **places,
) -> None:
    """Score a model, print the tables, write the JSON file; with another model, compare them."""
    from unetpp.analysis.rules import Rules
    from unetpp.analysis.summary import compare, summarize
    from unetpp.app import show
    from unetpp.data.dataset import find_samples
    from unetpp.data.images import atomic_path

    if output and output.exists() and (output.is_dir() or not overwrite):
        raise OutputError("the output exists", where=output, mend="give --overwrite or another file")
    if not tolerance >= 0:
        raise SettingError(f"--tolerance cannot be {tolerance:g}", mend="give pixels from 0 on")
    samples = find_samples(data, **places)
    examine = partial(
        examine_all,
        samples=samples,
        engine=engine or {},
        rules=Rules(**rules or {}),
        instances=instances,
        tolerance=tolerance,
    )
    classes, found = examine(model)
    result = summarize(found, classes)
    console.print(show.table(result))
    console.print(show.objects(result))
    console.print(show.closing(result), highlight=False)
    if against:
        names, others = examine(against)
        if names != classes:
            what = f"its classes are {', '.join(names)}, not {', '.join(classes)}"
            raise SettingError(what, where=against, mend="compare models of the same classes")
        result["against"] = compare(others, found, classes)
        console.print(show.differences(result["against"], model, against))
    if output:
        with atomic_path(output) as path:
            path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def examine_all(model: Path, *, samples, engine: dict, rules, **options):
    """A model's classes, and its records of all samples."""
    from unetpp.inference.evaluate import records

    bundle, predictor = open_models([model], **engine)
    found = []
    with counting(errors) as bar:
        task = bar.add_task("evaluating", total=len(samples))
        for _, record, _ in records(predictor, samples, bundle.classes, rules, **options):
            found.append(record)
            bar.advance(task)
    return bundle.classes, found
