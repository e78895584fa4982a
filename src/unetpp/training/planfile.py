"""Plans as files: plan.json, which may be edited, and split.json."""

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from unetpp.bundle import read_bundle
from unetpp.data import dataset
from unetpp.data.images import atomic_path
from unetpp.data.names import composed, full_path
from unetpp.data.normalization import Normalization
from unetpp.data.resample import Scaling
from unetpp.errors import SettingError
from unetpp.training.options import Options
from unetpp.training.plan import Plan
from unetpp.training.start import network_settings

# Rows of plan.json that follow from the data and the options.
MEASURED = ("class_weights", "normalization", "scaling", "settings")
# Of a sample.
FILES = ("image", "mask", "instances")


def save_plan(plan: Plan, run: Path) -> None:
    """Write plan.json and split.json into a run folder."""
    write_plan(plan, run / "plan.json")
    split = {side: [_row(sample) for sample in getattr(plan, side)] for side in ("train", "validation")}
    write_json(split, run / "split.json")


def write_plan(plan: Plan, path: Path) -> None:
    """Write all of a plan but its samples; `read_choices` reads what may be changed by hand."""
    content = {n: v for n, v in asdict(plan).items() if n not in ("train", "validation")}
    write_json({**content, "measured": digest(content)}, path)


def digest(content: dict[str, Any]) -> str:
    """A number that tells whether what is `MEASURED` has been changed by hand."""
    text = json.dumps([content.get(name) for name in MEASURED], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(content: Any, path: Path) -> None:
    """Write JSON for people, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_plan(run: Path) -> Plan:
    """Read what `save_plan` wrote.

    Raises:
        SettingError: if there is nothing to resume, or it is damaged.
    """
    try:
        settings = json.loads((run / "plan.json").read_text(encoding="utf-8"))
        split = json.loads((run / "split.json").read_text(encoding="utf-8"))
        options = Options(**_tuples(settings.pop("options")))
        known = {f.name for f in fields(Plan)}
        values = {name: value for name, value in _tuples(settings).items() if name in known}
        for side in ("train", "validation"):
            values[side] = tuple(_sample(row) for row in split[side])
        values["scaling"] = Scaling(**values["scaling"])
        values["normalization"] = Normalization(**_tuples(values["normalization"]))
        if options.start and "settings" not in values:
            values["settings"] = network_settings(read_bundle(Path(options.start)))
        return Plan(options, **values)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SettingError(
            "there is no run to resume here", where=run, mend="start it without --resume"
        ) from error


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}


def _row(sample: dataset.Sample) -> dict[str, str]:
    files = {name: getattr(sample, name) for name in FILES}
    return {"stem": sample.stem} | {name: str(full_path(path)) for name, path in files.items() if path}


def _sample(row: dict[str, str]) -> dataset.Sample:
    files = {name: Path(row[name]) for name in FILES if name in row}
    return dataset.Sample(composed(row["stem"]), **files)


def read_choices(path: Path) -> tuple[dict[str, Any], tuple[str, ...] | None]:
    """The options and classes of a plan.json, which may have been edited by hand.

    Raises:
        SettingError: if there is none, or it has been edited where it cannot be followed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found, names = _tuples(content["options"]), content.get("classes")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingError(
            "this is no plan", where=path, mend="make one: unetpp plan DATA --out FILE"
        ) from error
    unknown = sorted(set(found) - {f.name for f in fields(Options)})
    if unknown:
        mend = "take it out; unetpp plan DATA --out FILE writes those that there are"
        raise SettingError(f"there is no option {unknown[0]}", where=path, mend=mend)
    if not (names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names))):
        raise SettingError(f"classes cannot be {names!r}", where=path, mend="give a list of names")
    if content.get("measured", digest(content)) != digest(content):
        raise SettingError(
            f"{', '.join(MEASURED)} are measured anew, and cannot be edited",
            where=path,
            mend="edit options: class_weights, normalization, long_side; or make the plan again",
        )
    try:
        Options(**found)
    except SettingError as error:
        raise SettingError(error.what, where=path, mend=error.mend) from error
    if not found.get("folds"):
        found.pop("fold", None)
    return found, tuple(names) if names else None
