"""What the description of a model may say."""

import math
from pathlib import Path
from typing import Any

NETWORKS = ("UNetPP", "UNet")
GRAPH = "graph.xml"
INT8 = "int8.xml"


def faults(content: dict[str, Any]) -> list[str]:
    """The names of a description's parts that are missing, or of which nothing can be made."""
    return [name for name, is_right in CHECKS.items() if not is_right(content.get(name))]


def _scaling(long_side=0, largest=0, scale=0, **others) -> bool:
    sides = all(value is None or (isinstance(value, int) and value > 0) for value in (long_side, largest))
    return sides and _numbers([scale], positive=True) and not others


def _names(value) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _objects(split=None, thin=None, smallest=0, **others) -> bool:
    named = all(names is None or _names(names) for names in (split, thin))
    return named and type(smallest) is int and smallest >= 0 and not others


def _numbers(value, *, positive=False) -> bool:
    finite = isinstance(value, list) and all(isinstance(v, (int, float)) and math.isfinite(v) for v in value)
    return finite and bool(value) and (not positive or min(value) > 0)


CHECKS = {
    "network": lambda value: value in NETWORKS,
    "settings": lambda value: isinstance(value, dict),
    "classes": lambda value: _names(value) and len(value) > 1,
    "normalization": lambda value: (
        isinstance(value, dict)
        and {"mean", "std", "per_image"} <= set(value) <= {"mean", "std", "per_image", "bits"}
        and value.get("bits") in (None, 8, 16, 32)
        and _numbers(value["mean"])
        and _numbers(value["std"], positive=True)
        and len(value["mean"]) == len(value["std"])
    ),
    "scaling": lambda value: isinstance(value, dict) and _scaling(**value),
    "seams": lambda value: value in (None, True, False),
    "level": lambda value: value is None or (isinstance(value, int) and value > 0),
    "graph": lambda value: value in (None, GRAPH, INT8),
    "objects": lambda value: value is None or (isinstance(value, dict) and _objects(**value)),
    "sha256": lambda value: (
        isinstance(value, dict)
        and all(isinstance(text, str) and Path(name).name == name for name, text in value.items())
    ),
}
