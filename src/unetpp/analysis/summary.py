"""Many images' records to scores with intervals, and two models' to a comparison."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtr, stdtrit

from unetpp.analysis.calibration import expected_calibration_error
from unetpp.analysis.matching import THRESHOLDS, counts_at
from unetpp.analysis.records import Record
from unetpp.analysis.scores import dice, iou, mean, pixel_figures, plain, precision, ratio, recall, scores
from unetpp.errors import SettingError

RESAMPLES = 2000
# What an interval leaves out at either end.
TAIL = 0.025
# Of fewer images, or groups of them, resampling says too little: the intervals of four would hold the truth in 8 of 10.
# So it does of a class that is in fewer, however many there are without it.
FEWEST = 5
PER_IMAGE = ("iou", "dice", "precision", "recall", "boundary_f1", "hausdorff95")

Counts = dict[str, np.ndarray]


def counts(records: Sequence[Record]) -> Counts:
    """All records as arrays, an image a row: sums over rows pool images."""
    objects = [[counts_at(m) for m in record.matchings] for record in records]
    totals = [[(m.true, m.predicted) for m in record.matchings] for record in records]
    distances = np.stack([record.hausdorff for record in records])
    known = ~np.isnan(distances)
    of_images = np.asarray(totals)
    errors = np.abs(of_images[..., 1] - of_images[..., 0])
    matches = np.asarray(objects, np.float64)
    either = of_images.sum(-1)[..., None] - matches[..., 0]
    return {
        "confusion": np.stack([record.confusion for record in records]),
        "boundary": np.stack([record.boundary for record in records]),
        "hausdorff": np.stack([np.where(known, distances, 0), known], -1),
        "matches": matches,
        "image_ap": np.stack([np.nan_to_num(ratio(matches[..., 0], either)), either > 0], -1),
        "objects": of_images,
        "count_errors": np.stack([errors, np.ones_like(errors)], -1),
        "reliability": np.stack([record.reliability for record in records]),
    }


def figures(pooled: Mapping[str, np.ndarray], counted: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Every figure of pooled counts, which may have any number of leading axes.

    Args:
        pooled: of `counts`, summed over images.
        counted: (C,) bool, the classes that means are of, which are NaN where one of these is; None for all that are
            not NaN.

    With C classes and T thresholds, of the shape after the leading axes:

    - iou, dice, precision, recall (C,); mean_iou, mean_dice (): of pixels. What is 0/0 is NaN, and means leave it out.
    - boundary_f1 (C - 1,): of boundary pixels within the tolerance; hausdorff95 (C - 1,): pixels, the mean over the
      images where both sides have the class.
    - objects' precision, recall, F1, average precision TP / (TP + FP + FN), and panoptic quality, each as object_NAME
      (C - 1, T); object_image_ap (C - 1, T): the mean of each image's average precision, over those where either side
      has an object; their count error (C - 1,): the mean over images of |found - true|.
    - overall_calibration_error (): of the most probable class; calibration_error (C,): of each.

    Source: panoptic quality by Kirillov et al., 2019, equation 1; average precision as in StarDist and the 2018 Data
    Science Bowl; boundary F1 by Csurka et al., "What is a good evaluation measure for semantic segmentation?", 2013.
    """
    found = pixel_figures(pooled["confusion"])
    for name in ("iou", "dice"):
        of = found[name]
        found[f"mean_{name}"] = mean(of) if counted is None else of[..., counted].mean(-1)
    near, predicted, near_true, true = np.moveaxis(pooled["boundary"], -1, 0)
    # The image's frame is most of what the background has as a boundary.
    found["boundary_f1"] = harmonic(ratio(near, predicted), ratio(near_true, true))[..., 1:]
    found["hausdorff95"] = ratio(*np.moveaxis(pooled["hausdorff"], -1, 0))[..., 1:]
    tp, overlap = np.moveaxis(pooled["matches"], -1, 0)
    all_true, all_found = (side[..., None] for side in np.moveaxis(pooled["objects"], -1, 0))
    fp, fn = all_found - tp, all_true - tp
    found["object_precision"], found["object_recall"] = precision(tp, fp), recall(tp, fn)
    found["object_f1"], found["object_ap"] = dice(tp, fp, fn), iou(tp, fp, fn)
    found["object_image_ap"] = ratio(*np.moveaxis(pooled["image_ap"], -1, 0))
    found["object_pq"] = ratio(overlap, tp + fp / 2 + fn / 2)
    found["count_error"] = ratio(*np.moveaxis(pooled["count_errors"], -1, 0))
    error = expected_calibration_error(pooled["reliability"])
    found["overall_calibration_error"], found["calibration_error"] = error[..., 0], error[..., 1:]
    return found


def harmonic(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The harmonic mean; 0 where one is undefined and the other is not, NaN where both are."""
    both = np.isnan(one) & np.isnan(other)
    one, other = np.nan_to_num(one), np.nan_to_num(other)
    return np.where(both, np.nan, np.nan_to_num(ratio(2 * one * other, one + other)))


def by_group(all_counts: Counts, groups: Sequence[int] | None = None) -> Counts:
    """Counts of whole groups of images, a group a row; without groups each image is one."""
    if groups is None:
        return all_counts
    group = np.unique(groups, return_inverse=True)[1]
    members = np.arange(group.max() + 1)[:, None] == group
    return {name: np.tensordot(members.astype(np.float64), values, 1) for name, values in all_counts.items()}


def resampled(rows: Counts, seed: int = 0) -> Counts:
    """Pool rows drawn with replacement, again and again: a first axis of RESAMPLES.

    Source: the bootstrap, Efron and Tibshirani, "An Introduction to the Bootstrap", 1993.
    """
    size = len(rows["confusion"])
    draws = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), RESAMPLES)
    return {name: np.tensordot(draws.astype(np.float64), values, 1) for name, values in rows.items()}


def occurring(pooled: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which classes are true or predicted anywhere: (..., C) bool."""
    return pooled["confusion"].sum(-1) + pooled["confusion"].sum(-2) > 0


def showing(rows: Counts) -> dict[str, np.ndarray]:
    """How many rows tell something of each figure, of its shape: those that have it, and its class if it is of one."""
    occurs, found = occurring(rows).T, {}
    for name, value in figures(rows).items():
        # A class a row, after thresholds; of objects and boundaries without the background.
        known = ~np.isnan(value).T
        found[name] = (known & occurs[-known.shape[-2] :] if known.ndim > 1 else known).sum(-1).T
    return found


def interval(values: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """The 95 % interval of resampled figures: percentiles, further out the fewer images there are.

    Those at 2.5 % and 97.5 % are as near to the mean of n values as if its standard error, sqrt((n - 1) / n) of what it
    should be, were known; so they are taken where Student's t with n - 1 degrees of freedom puts the ends.

    Args:
        values: (RESAMPLES, ...).
        shown: (...) n, how many of the images or groups that were drawn from tell something of the figure; of fewer
            than `FEWEST` there is no interval.

    Returns:
        (2, ...), NaN where there is none.

    Source: expanded percentiles, Hesterberg, "What Teachers Should Know About the Bootstrap", 2015.
    """
    known = np.where(np.isnan(values).all(0), 0, shown)
    ends = np.full((2, *known.shape), np.nan)
    for n in np.unique(known[known >= FEWEST]):
        low = ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, TAIL))
        ends[:, known == n] = np.nanquantile(values[:, known == n], (low, 1 - low), axis=0)
    return ends


def summarize(
    records: Sequence[Record],
    classes: Sequence[str],
    seed: int = 0,
    groups: Sequence[int] | None = None,
) -> dict:
    """Score many images together and each by itself.

    Args:
        records: of `examine`, one at least.
        classes: the name of each class, by index.
        seed: of the bootstrap over images.
        groups: a number for each image that is shared by those which are alike, such as fields of a slide: they are
            drawn together. None: each on its own.

    Returns:
        what `scores` returns of all pixels together, and, ready for JSON:

        - "figures": {name: value}, of `figures` by class name, and by threshold for objects.
        - "intervals": the same with [low, high], 95 % by bootstrap; of None where fewer than `FEWEST` images or groups
          show it: those of a class are the ones where it is true or predicted, and the figure is not 0/0.
        - "objects": {class: {"true", "predicted"}} how many there are.
        - "reliability": counts, of `reliability`.
        - "per_image": [{"name", "mean_iou", "entropy", "objects": {class: [true, predicted]}} and {class: value} for
          each of `PER_IMAGE`].

    Raises:
        SettingError: without a record.
    """
    if not records:
        raise SettingError("no image to score")
    every = counts(records)
    pooled = {name: values.sum(0) for name, values in every.items()}
    found = {name: np.asarray(value) for name, value in figures(pooled).items()}
    rows = by_group(every, groups)
    shown = showing(rows)
    drawn = figures(resampled(rows, seed), occurring(pooled))
    spread = {name: interval(value, shown[name]) for name, value in drawn.items()}
    totals = pooled["objects"].astype(int).tolist()
    return {
        **scores(pooled["confusion"], classes, len(records)),
        "figures": {name: by_class(value, classes, plain) for name, value in found.items()},
        "intervals": {name: ends_by_class(value, classes) for name, value in spread.items()},
        "objects": {
            name: {"true": true, "predicted": predicted}
            for name, (true, predicted) in zip(classes[1:], totals, strict=True)
        },
        "reliability": pooled["reliability"].tolist(),
        "per_image": per_image(records, every, classes),
    }


def per_image(records: Sequence[Record], every: Counts, classes: Sequence[str]) -> list[dict]:
    """The figures of each image by itself."""
    alone = figures(every)
    return [
        {
            "name": record.name,
            "mean_iou": plain(alone["mean_iou"][k]),
            "entropy": record.entropy,
            **{key: by_class(alone[key][k], classes, plain) for key in PER_IMAGE},
            "objects": {
                name: [m.true, m.predicted] for name, m in zip(classes[1:], record.matchings, strict=True)
            },
        }
        for k, record in enumerate(records)
    ]


def by_class(value: np.ndarray, classes: Sequence[str], form, depth: int = 0):
    """A figure of `figures` as a value, or as {class: value}, or as {class: {threshold: value}}.

    Args:
        value: of the figure's shape, with `depth` more axes at its end.
        classes: names, by index.
        form: makes a value ready for JSON.
        depth: how many axes `form` takes.
    """
    if value.ndim == depth:
        return form(value)
    names = classes[len(classes) - len(value) :]
    if value.ndim == depth + 1:
        return {name: form(part) for name, part in zip(names, value, strict=True)}
    return {
        name: {f"{threshold:.2f}": form(part) for threshold, part in zip(THRESHOLDS, parts, strict=True)}
        for name, parts in zip(names, value, strict=True)
    }


def ends_by_class(ends: np.ndarray, classes: Sequence[str]):
    """Intervals, (2, ...) low and high, as `by_class` has figures: [low, high] in place of each value."""
    return by_class(np.moveaxis(ends, 0, -1), classes, lambda pair: [plain(end) for end in pair], depth=1)


def compare(
    first: Sequence[Record],
    second: Sequence[Record],
    classes: Sequence[str],
    seed: int = 0,
    groups: Sequence[int] | None = None,
) -> dict:
    """How much better the second of two models is on the same images.

    Both are resampled together, so what makes an image hard for both does not widen the interval. Means are of the
    classes that occur on both sides: one stray pixel of a class shall not decide.

    Args:
        first, second: of `examine`, of the same images in the same order.
        classes: the name of each class, by index.
        seed: of the bootstrap over images.
        groups: as `summarize` takes them.

    Returns:
        {name: {"difference", "interval"}} of the figures, by class; second minus first. Intervals are of None where on
        either side fewer than `FEWEST` images or groups show it, as for `summarize`.

    Raises:
        SettingError: if the images differ.
    """
    if [record.name for record in first] != [record.name for record in second]:
        raise SettingError("two models can be compared on the same images only")
    sides = [counts(records) for records in (first, second)]
    pooled = [{name: values.sum(0) for name, values in side.items()} for side in sides]
    counted = np.logical_and(*map(occurring, pooled))
    one, other = (figures(side, counted) for side in pooled)
    rows = [by_group(side, groups) for side in sides]
    many, more = (figures(resampled(side, seed), counted) for side in rows)
    shown, also = map(showing, rows)
    spread = {name: interval(more[name] - many[name], np.minimum(shown[name], also[name])) for name in many}
    return {
        name: {
            "difference": by_class(np.asarray(other[name] - one[name]), classes, plain),
            "interval": ends_by_class(spread[name], classes),
        }
        for name in one
    }
