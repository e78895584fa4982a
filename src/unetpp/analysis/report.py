"""Scores and pictures as one HTML file that opens from disk."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unetpp.analysis import charts
from unetpp.analysis.figures import AT, between, figure, span
from unetpp.analysis.overlay import colour_of
from unetpp.analysis.pictures import MISTAKES, Pictures
from unetpp.analysis.records import Record
from unetpp.analysis.summary import FEWEST, summarize
from unetpp.data.images import atomic_path

# Images that can be looked at, those with the lowest scores; of more, only the figures are in the file.
MOST = 300
# Images shown at the top, of the best, of the middle and of the worst; and in the list to review.
SHOWN, REVIEW = 3, 8


@dataclass(frozen=True)
class Report:
    """What a report tells.

    Attributes:
        title: of the page.
        classes: names, by index.
        records: of each image.
        pictures: of each image, in the same order.
        history: rows of history.csv; empty if it is not known how the model was trained.
        facts: (name, value) of the model, the data, and how to repeat this.
        note: what must be known beside the scores; "" for nothing.
        groups: of images that are drawn together for intervals, as `summarize` takes them.
        group_by: what makes them.
    """

    title: str
    classes: tuple[str, ...]
    records: Sequence[Record]
    pictures: Sequence[Pictures]
    history: Sequence[Mapping[str, str]]
    facts: Sequence[tuple[str, str]]
    note: str = ""
    groups: Sequence[int] | None = None
    group_by: str = ""


def write_report(path: Path, report: Report) -> None:
    """Write a report, whole or not at all.

    Raises:
        InstallError: if jinja2 or matplotlib is not installed.
        OutputError: if it cannot be written.
    """
    charts.check_installed()
    text = to_html(report)
    with atomic_path(path) as temporary:
        # A path in the command may be no text.
        temporary.write_text(text, encoding="utf-8", errors="replace")


def to_html(report: Report) -> str:
    """The page."""
    import jinja2

    result = summarize(report.records, report.classes, groups=report.groups)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"figure": figure, "between": between, "data": data_url}
    template = environment.from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    rows = result["per_image"]
    # An image without any class that is scored comes last.
    order = sorted(range(len(rows)), key=lambda k: 2 if rows[k]["mean_iou"] is None else rows[k]["mean_iou"])
    unsure = sorted(order, key=lambda k: -rows[k]["entropy"])[:REVIEW]
    visible = set(order[:MOST]) | set(unsure)
    return template.render(
        report=report,
        result=result,
        sentences=sentences(result),
        confusion=shares(np.asarray(result["confusion"])),
        at=AT,
        fewest=FEWEST,
        charts=draw_charts(report, result),
        chosen=chosen(order),
        unsure=unsure,
        visible=visible,
        pictures=report.pictures,
        colours={name: hexadecimal(colour_of(k)) for k, name in enumerate(report.classes) if k},
        mistakes={name: hexadecimal(colour) for name, colour in MISTAKES.items()},
        statistics=statistics(report, result),
        layers=json.dumps({k: layers(report.pictures[k]) for k in sorted(visible)}),
    )


def sentences(result: dict) -> list[str]:
    """What was found, class by class, in words."""
    found = []
    for name, counts in result["objects"].items():
        recall = result["figures"]["object_recall"][name][AT] or 0
        hits = round(recall * counts["true"])
        if counts["true"] or counts["predicted"]:
            alarms = counts["predicted"] - hits
            found.append(
                f"{hits:,} of {counts['true']:,} {name}; {alarms:,} false alarm{'' if alarms == 1 else 's'}"
            )
        else:
            found.append(f"no {name}, and there is none")
    return found


def chosen(order: Sequence[int]) -> dict[str, list[int]]:
    """Which images are shown: the worst, the middle, the best, each once; from lowest score to highest."""
    count = min(SHOWN, -(-len(order) // 3))
    middle = max(0, (len(order) - count) // 2)
    picked = {"Worst": order[:count], "Median": order[middle : middle + count], "Best": order[-count:]}
    seen: set[int] = set()
    result = {}
    for title, images in picked.items():
        result[title] = [k for k in images if k not in seen]
        seen |= set(images)
    return result


def shares(confusion: np.ndarray) -> np.ndarray:
    """Of each true class, the share of its pixels that each class was predicted for; 0 where there are none."""
    return confusion / np.maximum(confusion.sum(1, keepdims=True), 1)


def draw_charts(report: Report, result: dict) -> dict[str, str]:
    """Every chart, by what stands above it."""
    drawn = {}
    if np.isfinite(charts.column(report.history, "mean_iou")).any():
        drawn["Learning curves"] = charts.learning_curves(report.history)
    drawn["Calibration"] = charts.calibration_curves(np.asarray(result["reliability"]), report.classes)
    for k, name in enumerate(report.classes[1:]):
        sides = zip(*(record.sizes[k] for record in report.records), strict=True)
        drawn[f"Sizes of {name}"] = charts.size_distribution(name, *(np.concatenate(side) for side in sides))
        counts = [(r.matchings[k].true, r.matchings[k].predicted) for r in report.records]
        drawn[f"Counts of {name}"] = charts.count_agreement(name, *map(list, zip(*counts, strict=True)))
    return drawn


def statistics(report: Report, result: dict) -> list[tuple[str, str]]:
    """What the data are."""
    heights, widths = zip(*(picture.size for picture in report.pictures), strict=True)
    rows = [
        ("images", f"{len(report.records):,}"),
        ("size", f"{span(widths)} x {span(heights)} pixels"),
    ]
    total = sum(sum(row) for row in result["confusion"])
    for k, (name, figures) in enumerate(result["classes"].items()):
        value = f"{figures['support'] / max(total, 1):.1%} of pixels"
        if k:
            areas = np.concatenate([record.sizes[k - 1][0] for record in report.records])
            images = sum(len(record.sizes[k - 1][0]) > 0 for record in report.records)
            value += f", {len(areas):,} objects in {images} images"
            value += f", {np.median(areas):,.0f} pixels in the middle" if len(areas) else ""
        rows.append((name, value))
    return rows


def layers(pictures: Pictures) -> dict[str, Any]:
    """What the viewer shows of an image."""
    return {
        "name": pictures.name,
        "ratio": pictures.size[1] / pictures.size[0],
        "image": data_url(pictures.image),
        **{name: data_url(layer) for name, layer in pictures.layers.items()},
    }


def data_url(content: bytes) -> str:
    """A JPEG or PNG file as an address that holds it."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def hexadecimal(colour: tuple[int, int, int]) -> str:
    """#rrggbb."""
    return "#" + bytes(colour).hex()
