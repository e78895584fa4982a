"""What decides how accurate a model gets: python benchmarks/accuracy.py DATA --out RUNS

Variants of one training run, each over several seeds, with the same images and as many crops. A seventh of the images
is put aside first and chooses nothing: not the epoch, not the threshold. Near-duplicates lie on one side. What is done
is kept in RUNS, so that a run which was interrupted goes on; seeds are finished one after the other.

Runs are as long as they have epochs, so that other work on the machine changes nothing. "Equal time" has as many epochs
more as an epoch takes less.
"""

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetpp.data.dataset import Sample, count_pixels, find_samples
from unetpp.data.groups import find_groups, split

# What all have: the widths of the models that ship, small steps, images whose bacteria are four to five pixels wide.
SHARED = ["--filters", "16,32,64,128,256", "--long-side", "384", "--patch", "192"]
SHARED += ["--batch", "4", "--learning-rate", "2e-3"]


@dataclass(frozen=True)
class Variant:
    """What is trained, and how it is scored.

    Attributes:
        train: what `unetpp train` is given besides what all are given.
        images: how many it is trained on.
        epochs: so many times those of the others; fewer images make shorter ones.
        longer_as: the variant whose time it may take, if its own epochs are shorter.
        of: the variant whose model is scored, if none is trained.
        evaluate: what `unetpp evaluate` is given.
    """

    train: tuple[str, ...] = ()
    images: str = "all"
    epochs: float = 1.0
    longer_as: str = ""
    of: str = ""
    evaluate: tuple[str, ...] = ("--precision", "bfloat16")


FIRST, DEEP, UNET = "UNet++", "deep supervision", "UNet, equal epochs"
VARIANTS = {
    FIRST: Variant(),
    UNET: Variant(("--network", "UNet")),
    "UNet, equal time": Variant(("--network", "UNet"), longer_as=FIRST),
    "UNet, twice the epochs": Variant(("--network", "UNet"), epochs=2.0),
    "class weights 1, 50, 70": Variant(("--class-weights", "1,50,70")),
    "class weights 1, 2, 3: the dictionary's keys, a bug": Variant(("--class-weights", "1,2,3")),
    "crossentropy - log IoU - log Dice": Variant(("--loss", "crossentropy + log_iou + log_dice")),
    "the same, class weights 1, 50, 70": Variant(
        ("--loss", "crossentropy + log_iou + log_dice", "--class-weights", "1,50,70")
    ),
    "crossentropy": Variant(("--loss", "crossentropy")),
    "dice": Variant(("--loss", "dice")),
    "crossentropy + lovasz": Variant(("--loss", "crossentropy + lovasz")),
    "focal + dice": Variant(("--loss", "focal + dice")),
    DEEP: Variant(("--deep-supervision",)),
    **{f"level {level} of it": Variant(of=DEEP, evaluate=("--level", str(level))) for level in (1, 2, 3)},
    "inner widths of the papers": Variant(("--inner-filters", "level")),
    "25 images": Variant(images="25", epochs=5.2),
    "75 images": Variant(images="75", epochs=3.25),
    "trained in float32": Variant(("--precision", "float32")),
    "predicted in float32": Variant(of=FIRST, evaluate=("--precision", "float32")),
    "predicted in int8": Variant(of=FIRST, evaluate=("--precision", "int8")),
    "crops anywhere": Variant(("--focus", "0")),
    "half the augmentation": Variant(("--augmentation", "0.5")),
    "dropout of 0.2": Variant(("--dropout", "0.2")),
}


def put_aside(data: Path, folder: Path, classes: tuple[str, ...]) -> None:
    """Links to the images to train on, all and the first few of them, and to those that score: folder/NAME."""
    samples = find_samples(data)
    train, test = split(samples, count_pixels(samples, len(classes)), groups=find_groups(samples), seed=1)
    order = np.random.default_rng(0).permutation(len(train))
    some = {f"{count}": [train[k] for k in order[:count]] for count in (25, 75)}
    for name, chosen in {"all": train, "test": test, **some}.items():
        fresh = folder / f".{name}"
        shutil.rmtree(fresh, ignore_errors=True)
        for sample in chosen:
            link(sample, fresh)
        fresh.rename(folder / name)


def link(sample: Sample, folder: Path) -> None:
    """A sample's image and mask in the folder's images/ and masks/."""
    for kind, path in (("images", sample.image), ("masks", sample.mask)):
        place = folder / kind / f"{sample.stem}{path.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path.resolve())


def unetpp(*arguments) -> None:
    """A command, which may fail."""
    subprocess.run([sys.executable, "-m", "unetpp", *map(str, arguments)], check=True)


def run(name: str, seed: int, chosen: argparse.Namespace) -> dict:
    """Train and score a variant, unless that is done."""
    variant = VARIANTS[name]
    folder = place(variant.of or name, seed, chosen)
    done = folder / f"{slug(name)}.json"
    if not done.exists():
        if variant.of:
            run(variant.of, seed, chosen)
        else:
            train(variant, folder, seed, chosen)
        if "int8" in variant.evaluate:
            unetpp("quantize", folder, "--data", chosen.out / "all")
        unetpp("evaluate", folder, chosen.out / "test", *variant.evaluate, "--json", done)
    return json.loads(done.read_text(encoding="utf-8"))


def train(variant: Variant, folder: Path, seed: int, chosen: argparse.Namespace) -> None:
    """Train a variant, or go on with it."""
    epochs = chosen.epochs * variant.epochs
    if variant.longer_as:
        epochs *= seconds(variant.longer_as, chosen) / seconds(UNET, chosen)
    given = ["--classes", chosen.classes, *SHARED, "--epochs", round(epochs), "--seed", seed, *variant.train]
    begun = (folder / "plan.json").exists()
    unetpp("train", chosen.out / variant.images, "--out", folder, *(["--resume"] if begun else given))


def place(name: str, seed: int, chosen: argparse.Namespace) -> Path:
    """The run folder of a variant and seed."""
    return chosen.out / slug(name) / f"seed_{seed}"


def seconds(name: str, chosen: argparse.Namespace) -> float:
    """What an epoch takes: the least of the first seed's, which other work disturbed least."""
    run(name, 0, chosen)
    ends = [float(row["seconds"]) for row in history(place(name, 0, chosen))]
    return min(np.diff(ends))


def history(folder: Path) -> list[dict[str, str]]:
    """A run's epochs."""
    with (folder / "history.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def slug(name: str) -> str:
    """A variant's folder."""
    return "".join(letter if letter.isalnum() else "_" for letter in name.replace("+", "p")).strip("_")


def table(scores: dict[str, list[dict]], classes: tuple[str, ...]) -> str:
    """Mean IoU of each variant and its spread, the difference to the first on the same seeds, and each class' IoU."""
    first = [result["mean_iou"] for result in next(iter(scores.values()))]
    lines = [
        f"| | seeds | mean IoU | against the first | {' | '.join(classes)} |",
        "|---" * (4 + len(classes)) + "|",
    ]
    for name, results in scores.items():
        values = [result["mean_iou"] for result in results]
        gains = [value - base for value, base in zip(values, first, strict=False)]
        each = [statistics.mean(result["classes"][c]["iou"] or 0 for result in results) for c in classes]
        cells = [name, str(len(values)), spread(values), spread(gains, "+"), *(f"{iou:.3f}" for iou in each)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float], sign: str = "") -> str:
    """Mean and, of several, standard deviation."""
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.3f}{deviation}"


def draw_curves(chosen: argparse.Namespace, path: Path) -> None:
    """Validation of the two networks over epochs, a line a seed."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, colour in ((FIRST, "#0072b2"), (UNET, "#d55e00")):
        for seed in range(chosen.seeds) if name in chosen.only else ():
            values = [float(row["mean_iou"]) for row in history(place(name, seed, chosen))]
            # A run that was interrupted has one validation more.
            epochs = np.linspace(chosen.epochs / len(values), chosen.epochs, len(values))
            axes.plot(epochs, values, color=colour, label="" if seed else name)
    axes.set(xlabel="epochs", ylabel="mean IoU of the images that choose the epoch")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--classes", default="background,blood_cell,bacteria")
    parser.add_argument("--epochs", type=int, default=10, help="2 at least: the first begins with the images")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=VARIANTS, nargs="+", default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--curves", type=Path, help="draw the two networks' learning curves into this SVG")
    chosen = parser.parse_args()
    classes = tuple(chosen.classes.split(","))
    if not (chosen.out / "test").exists():
        put_aside(chosen.data, chosen.out, classes)
    scores: dict[str, list[dict]] = {name: [] for name in chosen.only}
    for seed in range(chosen.seeds):
        for name in chosen.only:
            scores[name].append(run(name, seed, chosen))
            print(
                f"\n{table({name: found for name, found in scores.items() if found}, classes)}\n", flush=True
            )
    if chosen.curves:
        draw_curves(chosen, chosen.curves)


if __name__ == "__main__":
    main()
