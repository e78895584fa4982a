"""The plan of a run that goes on."""

from dataclasses import replace

from unetpp.app.options import LENGTH
from unetpp.app.order import Order, option
from unetpp.errors import DatasetError, SettingError

# What may be decided anew.
MAY_CHANGE = {"budget", "epochs", "patience", "devices", "workers"}


def resumed_plan(order: Order):
    """The plan of a run that is there already; only its length, devices and workers may be changed."""
    from unetpp.training.planfile import load_plan, save_plan
    from unetpp.training.start import full_place

    plan, chosen = load_plan(order.run), order.chosen
    if order.names not in (None, plan.classes):
        raise SettingError(
            f"the run's classes are {', '.join(plan.classes)}", mend="leave --classes out, or start anew"
        )
    if chosen.get("start"):
        chosen = {**chosen, "start": full_place(chosen["start"])}
    # What was decided is kept.
    chosen = {name: value for name, value in chosen.items() if (name, value) != ("precision", "auto")}
    fixed = {name: value for name, value in chosen.items() if name not in MAY_CHANGE}
    if other := min((name for name in fixed if fixed[name] != getattr(plan.options, name)), default=""):
        raise SettingError(
            f"{option(other)} cannot change when a run is resumed", mend="leave it out, or start anew"
        )
    chosen = {name: value for name, value in chosen.items() if name in MAY_CHANGE}
    if LENGTH & set(chosen):
        chosen = {"budget": None, "epochs": 0, **chosen}
    changed = replace(plan, options=replace(plan.options, **chosen), **moved(plan, order))
    if changed != plan:
        save_plan(changed, order.run)
    return changed


def moved(plan, order: Order) -> dict:
    """Both sides of a plan as they are now in the data's folder, if none of their images or numbers is where it was.

    Numbers of objects that are still where they were stay, unless it is said where they are now.

    Raises:
        DatasetError: if there is no such folder, or it is not said where the objects are numbered now.
    """
    from unetpp.data.dataset import Sample, find_samples

    if not order.data.is_dir():
        raise DatasetError("there is no such folder", where=order.data, mend="say where the run's images lie")
    sides = {"train": plan.train, "validation": plan.validation}
    samples = [sample for side in sides.values() for sample in side]
    numbers = [sample.instances for sample in samples if sample.instances]
    numbered = not numbers or any(path.exists() for path in numbers)
    if numbered and any(sample.image.exists() for sample in samples):
        return {}
    places = order.places if plan.seams else {**order.places, "instances": None}
    if not numbered and not places.get("instances"):
        what = "the run learns where objects touch, and their numbers are not where they were"
        raise DatasetError(what, where=numbers[0].parent, mend="give the folder of --instances, too")
    now = {sample.stem: sample for sample in find_samples(order.data, **places)}

    def found(old: Sample) -> Sample:
        new = now.get(old.stem, old)
        return new if new.instances else replace(new, instances=old.instances)

    return {name: tuple(map(found, side)) for name, side in sides.items()}
