"""How much each class counts."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from unetpp.errors import SettingError

BALANCED = "balanced"
ClassWeights = Sequence[float] | Mapping | str | None


def resolve_class_weights(
    class_weights: ClassWeights,
    num_classes: int | None,
    *,
    class_names: Sequence[str] | None = None,
    counts: Sequence[int] | None = None,
) -> tuple[float, ...] | None:
    """Weights by class index, however they were given.

    Args:
        class_weights: a sequence by index; a dict by index or by name, which must give every class;
            "balanced", w_c = N / (C n_c) from `counts`, 0 for a class without pixels; or None.
        num_classes: C; None for as many as the weights speak of.
        class_names: for a dict by name.
        counts: pixels of each class n_c, for "balanced".

    Returns:
        C floats, or None for None.

    Raises:
        SettingError: for a wrong length, an unknown or missing class, weights that are negative, not
            finite or all zero, or "balanced" without counts.

    Example:
        >>> resolve_class_weights({2: 70, 0: 1, 1: 50}, 3)
        (1.0, 50.0, 70.0)
        >>> resolve_class_weights("balanced", 2, counts=[75, 25])
        (0.6666666666666666, 2.0)
    """
    if class_weights is None:
        return None
    if isinstance(class_weights, str):
        num_classes = len(counts or ()) if num_classes is None else num_classes
    elif num_classes is None:
        indices = (
            [key for key in class_weights if isinstance(key, int)]
            if isinstance(class_weights, Mapping)
            else []
        )
        num_classes = max(len(class_weights), len(class_names or ()), *(index + 1 for index in indices))
    if isinstance(class_weights, str):
        weights = _balanced(class_weights, num_classes, counts)
    elif isinstance(class_weights, Mapping):
        weights = _from_mapping(class_weights, num_classes, class_names)
    else:
        weights = list(class_weights)
    if len(weights) != num_classes:
        raise SettingError(
            f"class_weights has {len(weights)} values for {num_classes} classes",
            mend="give one a class, background first",
        )
    for index, weight in enumerate(weights):
        if not isinstance(weight, (int, float, np.number)) or not math.isfinite(weight) or weight < 0:
            raise SettingError(
                f"the class weight of class {index} is {weight!r}", mend="give a number from 0 on"
            )
    if not any(weights):
        raise SettingError("all class weights are zero", mend="give at least one class a weight above zero")
    return tuple(float(weight) for weight in weights)


def _balanced(word, num_classes, counts):
    if word != BALANCED:
        raise SettingError(f"class_weights cannot be {word!r}", mend='give numbers or "balanced"')
    if counts is None:
        raise SettingError(
            'class_weights="balanced" needs pixel counts', mend="give counts=[...], or numbers"
        )
    total = sum(counts)
    return [total / (num_classes * count) if count else 0.0 for count in counts]


def _from_mapping(mapping, num_classes, class_names):
    names = list(class_names or [])
    by_index = {}
    for key, weight in mapping.items():
        index = names.index(key) if key in names else key
        if (
            isinstance(index, bool)
            or not isinstance(index, (int, np.integer))
            or not 0 <= index < num_classes
        ):
            known = ", ".join(map(repr, names)) if names else f"0 to {num_classes - 1}"
            raise SettingError(
                f"class_weights names the unknown class {key!r}", mend=f"the classes are {known}"
            )
        by_index[int(index)] = weight
    missing = [names[index] if names else index for index in range(num_classes) if index not in by_index]
    if missing:
        raise SettingError(f"class_weights lacks class {missing[0]!r}", mend="give every class a weight")
    return [by_index[index] for index in range(num_classes)]
