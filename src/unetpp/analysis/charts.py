"""Charts as SVG that takes its ink from the page, so that it suits light and dark."""

import html
import importlib.util
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from unetpp.analysis.calibration import BINS
from unetpp.analysis.scores import ratio
from unetpp.errors import InstallError

# Those of Okabe and Ito, 2008, that have a contrast of 3 on a light and a dark page, purple by a shade darker; the page
# replaces INK by that of its text.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#c2739f")
# Of lines, a round of colours each.
DASHES = ("-", "--", ":", "-.", (0, (8, 2, 1, 2, 1, 2)), (0, (12, 3)), (0, (1, 4)), (0, (3, 6)))
INK = "#123456"
# Epochs from which on curves go without marks.
FEW = 20
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


def check_installed() -> None:
    """Raise InstallError unless what draws charts and pages is installed."""
    for name in ("matplotlib", "jinja2"):
        if importlib.util.find_spec(name) is None:
            raise InstallError(f"{name} is not installed", mend='in the clone, run: pip install ".[report]"')


@contextmanager
def chart(title: str, x: str, y: str, *, wide: float = 4.6, high: float = 3.2):
    """A pair of axes to draw on, and a list that holds the SVG afterwards."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # The salt makes the same chart the same text, and different charts' marks differ.
    with rc_context({**STYLE, "svg.hashsalt": title}):
        figure = Figure((wide, high), layout="constrained")
        axes = figure.add_subplot(xlabel=x, ylabel=y)
        result: list[str] = []
        yield axes, result
        add_legend(figure, axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    result.append(in_page(file.getvalue(), title))


def add_legend(figure, axes) -> None:
    """What lines are, if any has a name; many below the axes, where they hide nothing."""
    names = axes.get_legend_handles_labels()[1]
    if len(names) > len(COLOURS):
        wide, high = figure.get_size_inches()
        # Inches: a line's sample and the space around it, and a letter; and a row.
        columns = max(1, min(3, int(wide / (0.7 + 0.075 * max(map(len, names))))))
        figure.set_size_inches(wide, high + 0.18 * -(-len(names) // columns))
        figure.legend(fontsize=9, loc="outside lower center", ncols=columns)
    elif names:
        axes.legend(fontsize=9)


def in_page(svg: str, title: str) -> str:
    """An SVG file as part of a page: named, as wide as there is room, in the page's ink."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Names of parts need to be unique in the page.
    part = re.sub(r"\W+", "-", title)
    svg = re.sub(r'(id="|url\(#|xlink:href="#)', rf"\g<1>{part}-", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)


def learning_curves(history: Sequence[Mapping[str, str]]) -> str:
    """The IoU of each class on the validation images, and their mean, by epoch.

    Args:
        history: rows of history.csv.
    """
    with chart("Learning curves", "epoch", "IoU, validation") as (axes, svg):
        epochs = [int(row["epoch"]) for row in history]
        # A line needs two points, and its bends are hard to see where there are few.
        mark = {"marker": "o", "ms": 4} if len(epochs) < FEW else {}
        names = [name for name in history[0] if name.startswith("iou_")]
        for name, line in zip(names, lines(len(names)), strict=True):
            label = literal(name.removeprefix("iou_"))
            axes.plot(epochs, column(history, name), label=label, lw=1.4, **line, **mark)
        axes.plot(epochs, column(history, "mean_iou"), label="mean", color=INK, lw=2, **mark)
        axes.set_ylim(0, 1)
        whole(axes.xaxis)
    return svg[0]


def column(history: Sequence[Mapping[str, str]], name: str) -> list[float]:
    """A column of numbers; NaN where it is empty."""
    return [float(row[name] or "nan") for row in history]


def size_distribution(name: str, true: np.ndarray, predicted: np.ndarray) -> str:
    """How large the true and the predicted objects of a class are."""
    from matplotlib.ticker import MaxNLocator

    with chart(f"Sizes of {name}", "area, pixels", "objects") as (axes, svg):
        both = np.concatenate([true, predicted])
        if len(both):
            # Between whole numbers of pixels, so that rounding leaves none out.
            low, high = np.log10([both.min() - 0.5, both.max() + 0.5])
            edges = np.logspace(low, max(high, low + 0.1), 24)
            axes.hist(predicted, edges, color=COLOURS[0], label="predicted")
            axes.hist(true, edges, histtype="step", color=INK, lw=2, label="true")
            axes.set_xscale("log")
            if high - low < 1:
                axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.xaxis.set_minor_formatter("")
        whole(axes.yaxis)
    return svg[0]


def count_agreement(name: str, true: Sequence[int], predicted: Sequence[int]) -> str:
    """How many objects of a class each image has, and how many were predicted: a point an image."""
    with chart(f"Counts of {name}", "true, an image", "predicted") as (axes, svg):
        most = max([1, *true, *predicted])
        axes.plot([0, most], [0, most], color=INK, lw=1, ls=":")
        # Rings tell where points lie over one another.
        axes.scatter(true, predicted, s=24, facecolors="none", edgecolors=COLOURS[0], linewidths=1.5)
        whole(axes.xaxis, axes.yaxis)
    return svg[0]


def calibration_curves(counts: np.ndarray, names: Sequence[str]) -> str:
    """How often probabilities come true, by probability.

    Args:
        counts: (1 + C, BINS, 3), of `reliability`.
        names: of the C classes.
    """
    with chart("Calibration", "probability", "how often it came true") as (axes, svg):
        axes.plot([0, 1], [0, 1], color=INK, lw=1, ls=":")
        labels = ("most probable class", *names)
        for of, label, line in zip(counts, labels, ({"color": INK}, *lines(len(names))), strict=True):
            pixels, chance, came = np.moveaxis(np.asarray(of), -1, 0)
            # Bins of few pixels are chance.
            enough = pixels >= max(1, pixels.sum() / BINS / 1000)
            axes.plot(
                ratio(chance, pixels)[enough],
                ratio(came, pixels)[enough],
                marker="o",
                ms=3,
                lw=1.4,
                label=literal(label),
                **line,
            )
        axes.set(xlim=(0, 1), ylim=(0, 1))
    return svg[0]


def whole(*axes) -> None:
    """Ticks at whole numbers alone."""
    for axis in axes:
        axis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def literal(name: str) -> str:
    """A name that Matplotlib shows as it is: no formula, and not left out of legends for its underscore."""
    return (
        name.replace("$", r"\$").replace("_", " _", 1) if name.startswith("_") else name.replace("$", r"\$")
    )


def lines(count: int) -> list[dict[str, Any]]:
    """So many lines' colours and dashes, each its own: after the last colour the next dashes."""
    rounds = len(COLOURS)
    return [{"color": COLOURS[k % rounds], "ls": DASHES[k // rounds % len(DASHES)]} for k in range(count)]
