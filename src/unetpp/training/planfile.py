"""Plans as files: plan.json, which may be edited, and split.json."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from unetpp.data import dataset
from unetpp.data.images import atomic_path
from unetpp.data.normalization import Normalization
from unetpp.data.resample import Scaling
from unetpp.errors import SettingError
from unetpp.training.options import Options
from unetpp.training.plan import Plan


def save_plan(plan: Plan, run: Path) -> None:
    """Write plan.json and split.json into a run folder."""
    write_plan(plan, run / "plan.json")
    split = {side: [_row(sample) for sample in getattr(plan, side)] for side in ("train", "validation")}
    write_json(split, run / "split.json")


def write_plan(plan: Plan, path: Path) -> None:
    """Write all of a plan but its samples; `read_options` reads what may be changed by hand."""
    write_json({n: v for n, v in asdict(plan).items() if n not in ("train", "validation")}, path)


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
        return Plan(options, **values)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SettingError(
            "there is no run to resume here", where=run, mend="start it without --resume"
        ) from error


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}


def _row(sample: dataset.Sample) -> dict[str, str]:
    return {"stem": sample.stem, "image": str(sample.image.resolve()), "mask": str(sample.mask.resolve())}


def _sample(row: dict[str, str]) -> dataset.Sample:
    return dataset.Sample(row["stem"], Path(row["image"]), Path(row["mask"]))


def read_options(path: Path) -> dict[str, Any]:
    """The options of a plan.json, which may have been edited by hand.

    Raises:
        SettingError: if there is none, or it names an option that is not.
    """
    try:
        found = _tuples(json.loads(path.read_text(encoding="utf-8"))["options"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SettingError(
            "this is no plan", where=path, mend="make one: unetpp plan DATA --out FILE"
        ) from error
    unknown = sorted(set(found) - {f.name for f in fields(Options)})
    if unknown:
        raise SettingError(f"there is no option {unknown[0]}", where=path, mend="see `unetpp train --help`")
    return found
