"""The saved model: one folder that explains itself, data and never code.

    MODEL/
      bundle.json          the network's settings, classes, normalisation, origin; all that is not weights
      weights.weights.h5   the weights (Keras)
      graph.xml, graph.bin the same network for prediction without Keras (OpenVINO, weights in float16)
      int8.xml, int8.bin   the same in 8-bit integers, if it was quantised

The network is built again from the checked settings, and only weights are loaded.
"""

import json
import shutil
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from unetpp.data.files import checksum, exchange, former, sync, write_durable
from unetpp.data.images import atomic_path
from unetpp.data.normalization import Normalization
from unetpp.data.resample import Scaling
from unetpp.description import GRAPH, INT8, faults
from unetpp.errors import BundleError, InstallError, OutputError, SettingError
from unetpp.model.saving import STATE, weights_of

# The newest version of a description that is read.
FORMAT = 2
DESCRIPTION = "bundle.json"
WEIGHTS = "weights.weights.h5"
# The run of each fold of a cross-validation, from 1, in its folder.
FOLD = "fold_{}"


@dataclass(frozen=True)
class Bundle:
    """All that is known of a model but its weights.

    Attributes:
        network: "UNetPP" or "UNet".
        settings: the network's arguments, as from its `get_config`, of which `save_bundle` leaves out what is none.
        classes: the name of each class, by index.
        normalization: of the images.
        scaling: of the images.
        seams: whether the network has one output more than classes: where objects touch.
        level: at which the network was cut off, as `UNetPP.pruned` counts; None for the whole network.
        graph: the graph that prediction takes by default.
        objects: what counts as one, unless a command says otherwise: "split", "thin" and "smallest" of `Rules`.
        sha256: of each file beside the description, by its name.
        origin: how the model came to be: data, options, versions, scores.
    """

    network: str
    settings: dict[str, Any]
    classes: tuple[str, ...]
    normalization: Normalization
    scaling: Scaling = field(default_factory=Scaling)
    seams: bool = False
    level: int | None = None
    graph: str = GRAPH
    objects: dict[str, Any] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def format(self) -> int:
        """The version of this description: models without seams have that which older versions read, too."""
        return 2 if self.seams else 1

    @property
    def levels(self) -> list[int]:
        """The levels that have a head, as `UNetPP.pruned` counts them; the last is the whole network."""
        if self.level:
            return [self.level]
        deepest = len(self.settings.get("filters", ())) - 1
        return list(range(1, deepest + 1)) if self.settings.get("deep_supervision") else [deepest]


def save_bundle(folder: Path, bundle: Bundle, model) -> Bundle:
    """Write a model's bundle: the whole folder, or nothing of it.

    Args:
        folder: is made, or replaced if it holds a bundle.
        bundle: the description; `sha256` is filled in. What predicts is in float32 and has no frozen layers, whatever
            the network in training has.
        model: a `UNetPP` or `UNet`, whose weights are saved.

    Returns:
        the description as written.

    Raises:
        SettingError: if the description could not be read again, or is not of such a network.
        OutputError: if it cannot be written.
    """
    folder = Path(folder)
    settings = {name: value for name, value in bundle.settings.items() if name not in ("name", *STATE)}
    bundle = replace(bundle, settings=settings)
    check_description(bundle)
    fresh, old = folder.with_name(f".{folder.name}.new"), former(folder)
    try:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh.mkdir(parents=True)
        write_durable(fresh / WEIGHTS, weights_of(model))
        bundle = replace(bundle, sha256={WEIGHTS: checksum(fresh / WEIGHTS)})
        write_durable(fresh / DESCRIPTION, description(bundle))
        exchange(folder, fresh, old)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise OutputError(
            f"the model cannot be written ({error.strerror or error})",
            where=folder,
            mend="make room or choose another folder",
        ) from error
    return bundle


def check_description(bundle: Bundle) -> None:
    """Raise `SettingError` unless a description can be read, and its classes and channels are those of its network."""
    if wrong := faults(json.loads(description(bundle))):
        what = f"a model cannot have such {', '.join(wrong)}"
        raise SettingError(what, mend="give what the docstring of unetpp.Bundle says")
    named, told = len(bundle.classes) + bundle.seams, bundle.settings.get("num_classes")
    # One channel tells two classes apart.
    if told and named != max(2, told):
        what = f"the network tells {max(2, told)} classes apart, {named} have names"
        raise SettingError(what, mend="name each class, background first")
    scaled, seen = len(bundle.normalization.mean), bundle.settings.get("input_shape", (0,))[-1]
    if seen and scaled != seen:
        what = f"the network sees {seen} channels, and {scaled} are normalised"
        raise SettingError(what, mend="give each channel's mean and std")


def find_bundle(path: Path | str) -> Path:
    """The folder of a bundle: `path` itself, `path/model` of a run, or by its name alone one that ships in a clone.

    Raises:
        BundleError: if there is none.
    """
    path = Path(path)
    # The folder `models` of a clone: the one that is worked in, and the one that this package is run from.
    # A run that has no model yet is not stood for by another.
    named = path.name == str(path) and not (path / "plan.json").exists()
    clones = [Path(), Path(__file__).parents[2]] if named else []
    places = [path, path / "model"]
    # What a kill left between its two names counts, too.
    places += [former(place) for place in places if place.name]
    for folder in (*places, *(clone / "models" / path for clone in clones)):
        if (folder / DESCRIPTION).is_file():
            return folder
    if is_cross_validation(path):
        mend = f"give one of its folds, such as {path / FOLD.format(1)}"
        raise BundleError("this is a cross-validation", where=path, mend=mend)
    what = "there is no such folder" if not path.exists() else f"no model is here ({DESCRIPTION} is missing)"
    mend = "give a run folder of `unetpp train`, or the model folder in it"
    mend += "; models that ship are found by name in a clone" if clones else ""
    raise BundleError(what, where=path, mend=mend)


def is_cross_validation(run: Path) -> bool:
    """Whether a folder holds the runs of folds and is no run itself."""
    return (run / FOLD.format(1)).exists() and not (run / "plan.json").exists()


def read_bundle(path: Path | str) -> Bundle:
    """Read and check a bundle's description; no Keras is needed.

    Args:
        path: a bundle's folder, or the run folder that holds one.

    Raises:
        BundleError: if it is missing, damaged, or from a newer version.
    """
    where = find_bundle(path) / DESCRIPTION
    damaged: dict[str, Any] = {"where": where, "mend": "copy the model again, or train it again"}
    try:
        content = json.loads(where.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError("the model's description cannot be read", **damaged) from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise BundleError("this is not a model's description", **damaged)
    if content["format"] > FORMAT:
        raise BundleError(
            f"the model has format {content['format']}, this version reads up to {FORMAT}",
            where=where,
            mend="update the clone, and run: pip install .",
        )
    if wrong := faults(content):
        raise BundleError(f"the model's description is damaged at {', '.join(wrong)}", **damaged)
    known = {f.name for f in fields(Bundle)}
    values = {name: value for name, value in content.items() if name in known and value is not None}
    scale = values["normalization"]
    normalization = Normalization(
        tuple(scale["mean"]), tuple(scale["std"]), bool(scale["per_image"]), scale.get("bits")
    )
    return Bundle(
        **{
            **values,
            "classes": tuple(values["classes"]),
            "normalization": normalization,
            "scaling": Scaling(**values["scaling"]),
        }
    )


def load_model(path: Path | str):
    """Build a bundle's network and load its weights.

    Args:
        path: a bundle's folder, or the run folder that holds one.

    Returns:
        (description, network): a `Bundle` and a `UNetPP` or `UNet` of free height and width.

    Raises:
        BundleError: if the bundle is missing, damaged, or from a newer version.
        InstallError: if Keras is not installed.
    """
    folder, bundle = find_bundle(path), read_bundle(path)
    weights = verified(folder, bundle, WEIGHTS)
    try:
        from unetpp.model.unet import UNet
        from unetpp.model.unetpp import UNetPP
    except ImportError as error:
        raise InstallError(
            "Keras is not installed", mend='in the clone, run: pip install ".[train]"'
        ) from error
    try:
        settings = {**bundle.settings, "input_shape": (None, None, len(bundle.normalization.mean))}
        model = {"UNetPP": UNetPP, "UNet": UNet}[bundle.network](**settings)
        model = model.pruned(bundle.level) if bundle.level else model
        model.load_weights(weights)
    except (SettingError, TypeError, ValueError, KeyError, OSError) as error:
        raise BundleError(
            f"the weights do not fit the description ({str(error).splitlines()[0]})",
            where=folder,
            mend="copy the model again, or train it again",
        ) from error
    return bundle, model


def add_files(folder: Path, files: dict[str, Path], **changes) -> Bundle:
    """Move files into a bundle and into its description.

    A kill between the two leaves files that are not those of the description: its weights still predict, and what
    added the files adds them again.

    Args:
        folder: of the bundle.
        files: by the name that each gets.
        changes: of the description.
    """
    bundle = read_bundle(folder)
    sums = {name: checksum(path) for name, path in files.items()}
    for name, path in files.items():
        # Not in the description before it is on the disk.
        sync(path)
        path.replace(folder / name)
    bundle = replace(bundle, sha256={**bundle.sha256, **sums}, **changes)
    write_description(folder, bundle)
    return bundle


def check_level(bundle: Bundle, level: int, where: Path) -> None:
    """Raise `SettingError` unless the model predicts at a level."""
    if level not in bundle.levels:
        mend = f"choose one of: {', '.join(map(str, bundle.levels))}; train with --deep-supervision for all levels"
        raise SettingError(f"the model has no level {level}", where=where, mend=mend)


def write_description(folder: Path, bundle: Bundle) -> None:
    """Write bundle.json."""
    with atomic_path(folder / DESCRIPTION, durable=True) as path:
        path.write_bytes(description(bundle))


def description(bundle: Bundle) -> bytes:
    """The content of bundle.json."""
    content = {**asdict(bundle), "format": bundle.format}
    # NumPy's numbers, such as the mean of some images, as Python's.
    text = json.dumps(content, indent=2, ensure_ascii=False, default=lambda number: number.item())
    return f"{text}\n".encode()


def verified(folder: Path, bundle: Bundle, name: str) -> Path:
    """A file of a bundle, and of a graph both its files, as they were written.

    Raises:
        BundleError: if one is missing or has changed.
    """
    stem = Path(name).stem
    for other in (name, f"{stem}.bin") if name.endswith(".xml") else (name,):
        path = folder / other
        if not path.is_file() or checksum(path) != bundle.sha256.get(other):
            what = "damaged" if path.is_file() else "missing"
            again = {WEIGHTS: "train it again", INT8: "run unetpp quantize"}.get(name, "run unetpp export")
            raise BundleError(f"{other} is {what}", where=path, mend=f"copy the model again, or {again}")
    return folder / name
