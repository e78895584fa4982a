"""Scores as tables for the terminal."""

from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from unetpp.analysis.figures import AT, between, figure

FIGURES = {"iou": "IoU", "dice": "Dice", "precision": "precision", "recall": "recall"}
# Which figures of objects are shown.
OBJECTS = {
    "object_precision": "preci-\nsion",
    "object_recall": "recall",
    "object_f1": "F1",
    "object_ap": "AP",
    "object_image_ap": "image\nAP",
}


def plain_table(caption: str = "", *, footer: bool = False) -> Table:
    """A table without rules but one below its head."""
    return Table(
        box=box.SIMPLE_HEAD,
        show_footer=footer,
        caption=caption,
        caption_justify="left",
        collapse_padding=True,
        pad_edge=False,
    )


def names(table: Table, *heading: str) -> None:
    """The column of names, which fold where there is no room for all."""
    table.add_column(*heading, overflow="fold")


def right(table: Table, *headings: str, no_wrap: bool = True, **options) -> None:
    """Columns of figures, which stay whole."""
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=no_wrap, **options)


def table(scores: dict) -> Table:
    """`summarize` as a table of pixels: a row a class, then the means."""
    accuracy, images = figure(scores["accuracy"]), scores["images"]
    caption = f"accuracy {accuracy}, {images} image{'' if images == 1 else 's'}, all pixels together"
    result = plain_table(caption, footer=True)
    names(result, "class", "mean")
    right(result, "IoU", footer=figure(scores["mean_iou"]))
    right(result, "95 %", footer=between(scores["intervals"]["mean_iou"]))
    right(result, "Dice", footer=figure(scores["mean_dice"]))
    right(result, "precision", "recall", "boundary\nF1", "HD95")
    more = scores["figures"]
    for name, row in scores["classes"].items():
        iou, *others = (figure(row[key]) for key in FIGURES)
        boundary = figure(more["boundary_f1"].get(name)), figure(more["hausdorff95"].get(name), 1)
        result.add_row(Text(name), iou, between(scores["intervals"]["iou"][name]), *others, *boundary)
    return result


def objects(scores: dict) -> Table:
    """`summarize` as a table of objects: a row a class."""
    result = plain_table(
        "found at IoU 0.5; AP = TP / (TP + FP + FN) of all together, image AP: the mean of each image's, mAP: of AP "
        "over IoU 0.5 to 0.95, PQ: panoptic quality, count error: mean of an image"
    )
    names(result, "objects")
    right(result, "true", "found", *OBJECTS.values(), "mAP", "PQ", "count\nerror")
    found = scores["figures"]
    for name, counts in scores["objects"].items():
        at = [found[key][name][AT] for key in (*OBJECTS, "object_pq")]
        aps = [ap for ap in found["object_ap"][name].values() if ap is not None]
        *first, quality = map(figure, at)
        result.add_row(
            Text(name),
            f"{counts['true']:,}",
            f"{counts['predicted']:,}",
            *first,
            figure(sum(aps) / len(aps) if aps else None),
            quality,
            f"{found['count_error'][name]:.1f}",
        )
    return result


def closing(scores: dict) -> str:
    """How far probabilities can be trusted, in a line."""
    error = scores["figures"]["overall_calibration_error"]
    low_high = between(scores["intervals"]["overall_calibration_error"])
    spread = f" ({low_high})" if low_high else ""
    return f"expected calibration error {figure(error)}{spread}: how far probabilities are off, on average"


def differences(found: dict, model: Path, against: Path) -> Table:
    """`compare` as a table: what one model gains over another."""
    result = plain_table("of equal models, too, 5 to 10 intervals in 100 leave out 0")
    names(result, f"{model}\nover {against}")
    right(result, "difference", "95 %")
    rows = {"mean IoU": found["mean_iou"]}
    rows |= {
        f"IoU {name}": {part: found["iou"][part][name] for part in found["iou"]}
        for name in found["iou"]["difference"]
    }
    rows |= {
        f"object AP {name}": {part: found["object_ap"][part][name][AT] for part in found["object_ap"]}
        for name in found["object_ap"]["difference"]
    }
    for name, row in rows.items():
        ends = row["interval"]
        gain = "–" if row["difference"] is None else f"{row['difference']:+.3f}"
        spread = "" if None in ends else f"{ends[0]:+.3f} to {ends[1]:+.3f}"
        result.add_row(Text(name), gain, spread)
    return result


def comparison(results: dict[str, dict]) -> Table:
    """Several `scores` of the same images: a row each, IoU by class.

    "seconds" (a median image) and "memory" (bytes at most) get a column where a result has them.
    """
    first = next(iter(results.values()))
    costs = {
        "seconds": ("ms", 1e-3, "milliseconds an image"),
        "memory": ("MB", 1e6, "megabytes at most"),
    }
    shown = {key: cost for key, cost in costs.items() if any(found.get(key) for found in results.values())}
    result = plain_table("; ".join(["IoU of all pixels together", *(what for *_, what in shown.values())]))
    names(result, "")
    # Here headings are names.
    right(result, *first["classes"], "mean", no_wrap=False, overflow="fold", min_width=len(figure(0)))
    right(result, *(heading for heading, *_ in shown.values()))
    for name, found in results.items():
        ious = [*(row["iou"] for row in found["classes"].values()), found["mean_iou"]]
        paid = [f"{found[key] / unit:,.0f}" if found.get(key) else "–" for key, (_, unit, _) in shown.items()]
        result.add_row(name, *map(figure, ious), *paid)
    return result
