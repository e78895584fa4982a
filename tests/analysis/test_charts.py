"""Charts are read as they are meant: marks that are seen, and ticks that tell numbers apart."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from test_report import luminance, made

from unetpp.analysis import charts
from unetpp.analysis.report import draw_charts
from unetpp.analysis.summary import summarize


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn."""
    seen, savefig = [], Figure.savefig

    def spied(self, *args, **options):
        seen.append(self)
        return savefig(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", spied)
    return seen


def history(epochs, iou="0.5"):
    return [{"epoch": str(k + 1), "mean_iou": iou, "iou_cell": iou} for k in range(epochs)]


def texts(axis):
    """What stands at the ticks within an axis."""
    axis.axes.figure.draw_without_rendering()
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [t.label1.get_text() for t in ticks if low <= t.get_loc() <= high and t.label1.get_text()]


@pytest.mark.parametrize("epochs", [1, 2, 3, 40])
def test_the_curves_of_few_epochs_have_marks_at_whole_epochs(epochs, figures):
    charts.learning_curves(history(epochs))
    [axes] = figures[0].axes
    for line in axes.lines:
        assert (line.get_marker() in ("None", None)) == (epochs == 40)
    shown = texts(axes.xaxis)
    assert shown
    assert all(float(text).is_integer() for text in shown)
    assert len(set(shown)) == len(shown)


def test_a_history_without_figures_has_no_curves():
    for rows, drawn in ((history(3, ""), False), ([], False), (history(3), True)):
        report = made(1, rows)
        found = draw_charts(report, summarize(report.records, report.classes))
        assert ("Learning curves" in found) == drawn


@pytest.mark.parametrize("sizes", [[5], [1], [1, 2], [5, 30], [1200, 1260], [1000, 9000], [3, 40_000]])
def test_sizes_and_counts_have_distinct_whole_numbers_at_their_ticks(sizes, figures):
    charts.size_distribution("cell", np.array(sizes), np.array(sizes))
    charts.count_agreement("cell", [0, 1], [1, 1])
    (sized,), (counted,) = (figure.axes for figure in figures)
    for axis in (sized.xaxis, sized.yaxis, counted.xaxis, counted.yaxis):
        shown = texts(axis)
        assert shown
        assert len(set(shown)) == len(shown)
        assert all(re.fullmatch(r"\d{1,3}(,?\d{3})*", text) for text in shown)


def contrast(one, other):
    """Of two colours, after WCAG 2."""
    low, high = sorted(luminance(255 * np.array(to_rgb(colour))) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_lines_points_and_bars_are_seen_on_white_and_on_light_and_dark_cards():
    page = Path(charts.__file__).with_name("report.html").read_text(encoding="utf-8")
    cards, inks = (re.findall(rf"--{name}: (#\w+)", page) for name in ("card", "ink"))
    assert len(cards) == len(inks) == 2
    for colour in charts.COLOURS:
        assert min(contrast(colour, card) for card in (*cards, "#ffffff")) >= 3
    drawn = charts.size_distribution("cell", np.array([4]), np.array([5]))
    drawn += charts.count_agreement("cell", [1], [2])
    assert "opacity" not in drawn
    assert drawn.count(charts.COLOURS[0]) >= 2
    # True sizes are a line over the bars of predicted ones.
    assert not any(colour in drawn for colour in charts.COLOURS[1:])
    assert min(contrast(charts.COLOURS[0], ink) for ink in inks) >= 3
