"""The plan as a reader wants it."""

from unetpp.analysis.figures import duration
from unetpp.training.options import Options
from unetpp.training.plan import Plan


def rows(plan: Plan) -> list[tuple[str, str, str]]:
    """Each setting, its value, and why it is so."""
    options, weights = plan.options, plan.class_weights
    filters = ", ".join(map(str, options.filters))
    dropout = "" if options.dropout is None else f", dropout {options.dropout:g}"
    shared = ", data-parallel" if options.devices > 1 else ""
    several = f" x {options.accumulate}" if options.accumulate > 1 else ""
    shown: dict[str, tuple[str, str]] = {
        "classes": (", ".join(plan.classes) + (", and where objects touch" if plan.seams else ""), ""),
        "images": (f"{len(plan.train)} to train on, {len(plan.validation)} held out", ""),
        "channels": (f"{len(plan.normalization.mean)}", "as the images have"),
        "network": (
            f"{options.network}, filters {filters}{dropout}",
            "the usual; --network, --filters, --dropout change it",
        ),
        "size": (f"{options.long_side} pixels" if options.long_side else "as it is", ""),
        "normalisation": ("by each image" if plan.normalization.per_image else "by the data set", ""),
        "crops": (f"{options.patch} x {options.patch} pixels", ""),
        "batch": (f"{options.batch} crops{several}", ""),
        "sampling": (
            f"{100 * options.focus:.0f} % of the crops on a class",
            "each class alike, however rare; the rest anywhere",
        ),
        "augmentation": (
            f"{options.augmentation:g}",
            "zoom, rotation, bending, light, blur, noise; 0: flips and right angles",
        ),
        "loss": (options.loss, "every pixel counts, and every class by its overlap"),
        "class weights": (
            "all alike" if weights is None else ", ".join(f"{weight:g}" for weight in weights),
            "sampling balances the classes",
        ),
        "learning rate": (f"{options.learning_rate:g}, warm-up and cosine", ""),
        "length": (_length(options), ""),
        "devices": (f"{options.devices}{shared}", "one is enough; --devices for more"),
        "workers": (f"{options.workers} threads draw crops", ""),
        "precision": (options.precision, ""),
    }
    return [(name, value, plan.reasons.get(name, reason)) for name, (value, reason) in shown.items()]


def _length(options: Options) -> str:
    long = duration(options.budget) if options.budget else f"{options.epochs} epochs"
    long += f", {options.passes} crops of each image between validations" if options.passes != 2 else ""
    return long + (f", at most {options.patience} validations without gain" if options.patience else "")
