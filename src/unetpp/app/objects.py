"""What the objects of a model are, unless a command says otherwise."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from unetpp.analysis.rules import Rules
from unetpp.app.terminal import console, errors
from unetpp.bundle import Bundle, find_bundle, read_bundle, write_description

# Connected pixels of a class.
NONE: dict[str, Any] = {"split": (), "thin": (), "smallest": 0}


def settle(asked: dict[str, Any], bundle: Bundle | None) -> dict[str, Any]:
    """The rules that are asked for; if none is, those of a model, which is said.

    Args:
        asked: values of `rule_options`; others are left out.
        bundle: of the model, if there is one.
    """
    if rules := told(asked):
        return NONE | rules
    if not bundle or not bundle.objects:
        return NONE
    errors.say(f"objects, as this model has them: {words(bundle.objects)}")
    return NONE | bundle.objects


def told(asked: dict[str, Any]) -> dict[str, Any]:
    """The rules among some values that were given; `--smallest 0` is one, too."""
    return {name: asked[name] for name in NONE if asked.get(name) not in ((), None)}


def words(rules: dict[str, Any]) -> str:
    """Rules as options of a command."""
    named = [(f"--{name}", one) for name in ("split", "thin") for one in rules.get(name, ())]
    smallest = [("--smallest", str(rules["smallest"]))] if rules.get("smallest") else []
    return shlex.join(word for pair in named + smallest for word in pair) or "connected pixels of a class"


def keep(model: Path, rules: dict[str, Any]) -> None:
    """Say in a model what its objects are."""
    bundle = read_bundle(model)
    Rules(**rules).indices(bundle.classes)
    objects = {name: value for name, value in rules.items() if value}
    write_description(find_bundle(model), replace(bundle, objects=objects))


def keep_or_show(model: Path, asked: dict[str, Any]) -> None:
    """Say in a model what its objects are, if anything is asked for; then show it."""
    if rules := told(asked):
        keep(model, rules)
    console.say(words(read_bundle(model).objects))
