"""What decides how accurate a model gets: python benchmarks/accuracy.py DATA --out RUNS

Variants of one training run, each over several seeds, with the same time (or epochs) and the same images. A seventh of
the images is put aside first and chooses nothing: not the epoch, not the threshold. Near-duplicates lie on one side.
What is done is kept in RUNS, so that a run which was interrupted goes on; seeds are finished one after the other.
"""

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from unetpp.data.dataset import Sample, count_pixels, find_samples
from unetpp.data.groups import find_groups, split

NARROW = ["--filters", "8,16,32,64,128"]
# Of each variant: what `unetpp train` is given besides what all are given. "epochs" and "images" are read here.
VARIANTS: dict[str, list[str]] = {
    "UNet++": [],
    "UNet, equal time": ["--network", "UNet"],
    "UNet, equal epochs": ["--network", "UNet", "epochs"],
    "deep supervision": ["--deep-supervision"],
    "deep supervision, deep heads first": ["--deep-supervision", "--head-weights", "1,1,2,4"],
    "class weights balanced": ["--class-weights", "balanced"],
    "class weights as dictionary keys (a bug)": ["--class-weights", "0,1,2"],
    "crossentropy": ["--loss", "crossentropy"],
    "dice": ["--loss", "dice"],
    "crossentropy + lovasz": ["--loss", "crossentropy + lovasz"],
    "focal + dice": ["--loss", "focal + dice"],
    "crops anywhere": ["--focus", "0"],
    "half the augmentation": ["--augmentation", "0.5"],
    "inner widths of the papers": ["--inner-filters", "level"],
    "float32": ["--precision", "float32"],
    "25 images": ["images", "25"],
    "75 images": ["images", "75"],
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
        place = (folder / kind / sample.stem).with_suffix(path.suffix)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path.resolve())


def unetpp(*arguments) -> None:
    """A command, which may fail."""
    subprocess.run([sys.executable, "-m", "unetpp", *map(str, arguments)], check=True)


def run(name: str, seed: int, chosen: argparse.Namespace) -> dict:
    """Train and score a variant, unless that is done."""
    folder = chosen.out / slug(name) / f"seed_{seed}"
    done = folder / "test.json"
    if not done.exists():
        options, images, length = list(VARIANTS[name]), "all", ["--budget", chosen.budget]
        if "epochs" in options:
            options.remove("epochs")
            length = ["--epochs", str(len(history(chosen.out / slug("UNet++") / f"seed_{seed}")))]
        if "images" in options:
            images = options.pop()
            options.remove("images")
        given = ["--classes", chosen.classes, *NARROW, *length, "--seed", seed, *options]
        begun = (folder / "plan.json").exists()
        unetpp("train", chosen.out / images, "--out", folder, *(["--resume"] if begun else given))
        unetpp("evaluate", folder, chosen.out / "test", "--precision", "bfloat16", "--json", done)
    return json.loads(done.read_text(encoding="utf-8"))


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
    """Validation of the two networks over time, a line a seed."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, colour in (("UNet++", "#0072b2"), ("UNet, equal time", "#d55e00")):
        for seed in range(chosen.seeds):
            rows = history(chosen.out / slug(name) / f"seed_{seed}")
            minutes = [float(row["seconds"]) / 60 for row in rows]
            axes.plot(
                minutes, [float(row["mean_iou"]) for row in rows], color=colour, label="" if seed else name
            )
    axes.set(xlabel="minutes", ylabel="mean IoU of the images that choose the epoch")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--classes", default="background,blood_cell,bacteria")
    parser.add_argument("--budget", default="8m")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=VARIANTS, nargs="+", default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--curves", type=Path, help="draw the learning curves into this SVG")
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
