"""Many images' scores: against loops over images, and what intervals promise."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import ndimage, stats

from unetpp.analysis.boundary import boundaries
from unetpp.analysis.calibration import BINS, expected_calibration_error, reliability
from unetpp.analysis.matching import THRESHOLDS, match
from unetpp.analysis.records import examine
from unetpp.analysis.scores import confusion, scores
from unetpp.analysis.separate import separate
from unetpp.analysis.summary import FEWEST, compare, interval, summarize
from unetpp.app import show
from unetpp.app.terminal import print_table
from unetpp.errors import SettingError

CLASSES = ("background", "cell", "rod")


def drawn(seed, noise=0.5, shape=(60, 70)):
    """A true label image and probabilities that are near it."""
    rng = np.random.default_rng(seed)
    fields = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 3) * 6 for _ in range(3)], -1)
    fields[..., 0] += 0.3
    others = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 2) * 6 for _ in range(3)], -1)
    logits = 4 * (fields + noise * others)
    return fields.argmax(-1).astype(np.uint8), np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def examined(count=6, noise=0.5):
    return [examine(f"image {k}", *drawn(k, noise)) for k in range(count)]


def test_pooled_figures_are_those_of_a_loop_over_images():
    images = [drawn(k) for k in range(5)]
    found = summarize(examined(5), CLASSES)
    labels = [(truth, chances.argmax(-1)) for truth, chances in images]
    pooled = scores(sum(confusion(*pair, 3) for pair in labels), CLASSES, 5)
    assert {key: found[key] for key in pooled} == pooled
    for name, row in pooled["classes"].items():
        for key in ("iou", "dice", "precision", "recall"):
            assert found["figures"][key][name] == row[key]
    for index, name in enumerate(CLASSES[1:], 1):
        for threshold in THRESHOLDS:
            tp = fp = fn = overlap = wrong = 0
            aps = []
            for truth, prediction in labels:
                matched = match(separate(truth == index)[0], separate(prediction == index)[0], threshold)
                tp += len(matched.ious)
                fp += matched.predicted - len(matched.ious)
                fn += matched.true - len(matched.ious)
                overlap += matched.ious.sum()
                wrong += abs(matched.predicted - matched.true)
                aps.append(len(matched.ious) / (matched.true + matched.predicted - len(matched.ious)))
            at = {key: value[name] for key, value in found["figures"].items() if key.startswith("object")}
            at = {key: value[f"{threshold:.2f}"] for key, value in at.items()}
            expected = {
                "precision": tp / (tp + fp),
                "recall": tp / (tp + fn),
                "f1": 2 * tp / (2 * tp + fp + fn),
                "ap": tp / (tp + fp + fn),
                "image_ap": sum(aps) / 5,
                "pq": overlap / (tp + fp / 2 + fn / 2),
            }
            assert at == {f"object_{key}": pytest.approx(value) for key, value in expected.items()}
            assert found["figures"]["count_error"][name] == pytest.approx(wrong / 5)
        assert found["objects"][name] == {"true": tp + fn, "predicted": tp + fp}
    pixels = [np.concatenate(part) for part in zip(*images, strict=True)]
    error = expected_calibration_error(reliability(*pixels))
    assert found["figures"]["overall_calibration_error"] == pytest.approx(error[0])


def test_pooled_boundaries_and_calibration_are_those_of_a_loop_over_images():
    images = [drawn(k) for k in range(4)]
    # One image without the last class: it has no distance, and is left out.
    truth, chances = np.zeros((60, 70), np.uint8), images[0][1].copy()
    truth[10:30, 10:40] = 1
    images.append((truth, chances))
    found = summarize([examine(str(k), *image) for k, image in enumerate(images)], CLASSES)["figures"]
    for index, name in enumerate(CLASSES):
        near = np.zeros(4)
        distances = []
        for truth, chances in images:
            lines = boundaries(truth == index, chances.argmax(-1) == index)
            sides = lines.predicted, lines.true
            near += [count for side in sides for count in (sum(far <= 2 for far in side), len(side))]
            if all(map(len, sides)):
                distances.append(max(np.percentile(side, 95) for side in sides))
        precision, recall = near[0] / near[1], near[2] / near[3]
        if index:
            assert found["boundary_f1"][name] == pytest.approx(2 * precision * recall / (precision + recall))
            assert found["hausdorff95"][name] == pytest.approx(sum(distances) / len(distances))
        assert len(distances) == (4 if name == "rod" else 5)
        chance = np.concatenate([chances[..., index].ravel() for _, chances in images])
        came = np.concatenate([truth.ravel() == index for truth, _ in images])
        error = 0.0
        for k in range(BINS):
            within = (chance >= k / BINS) & (chance < (k + 1) / BINS)
            if within.any():
                error += within.mean() * abs(came[within].mean() - chance[within].mean())
        assert found["calibration_error"][name] == pytest.approx(error)


def test_an_image_alone_scores_as_it_does_among_others():
    records = examined(3)
    alone = summarize(records[1:2], CLASSES)
    among = summarize(records, CLASSES)["per_image"][1]
    assert among == alone["per_image"][0]
    assert among["mean_iou"] == alone["mean_iou"]
    assert among["iou"] == alone["figures"]["iou"]


def test_a_perfect_prediction_has_perfect_figures():
    truth, _ = drawn(0)
    found = summarize([examine("it", truth, np.eye(3)[truth])], CLASSES)["figures"]
    for name, perfect in {"mean_iou": 1, "mean_dice": 1}.items():
        assert found[name] == perfect
    for name, perfect in {
        "boundary_f1": 1,
        "hausdorff95": 0,
        "count_error": 0,
        "calibration_error": 0,
    }.items():
        assert set(found[name].values()) == {perfect}
    for name in (
        "object_precision",
        "object_recall",
        "object_f1",
        "object_ap",
        "object_image_ap",
        "object_pq",
    ):
        assert {value for row in found[name].values() for value in row.values()} == {1}


def test_an_absent_class_is_undefined_and_a_missed_one_scores_nothing():
    truth = np.zeros((8, 8), int)
    truth[2:4, 2:4] = 1
    found = summarize([examine("it", truth, np.eye(3)[np.zeros((8, 8), int)])], CLASSES)
    figures = found["figures"]
    assert figures["boundary_f1"]["rod"] is figures["hausdorff95"]["rod"] is None
    assert figures["hausdorff95"]["cell"] is None
    assert figures["boundary_f1"]["cell"] == figures["object_f1"]["cell"]["0.50"] == 0
    assert figures["object_ap"]["rod"]["0.50"] is None
    assert figures["object_precision"]["cell"]["0.50"] is None
    assert found["intervals"]["object_ap"]["rod"]["0.50"] == [None, None]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_each_image_that_shows_an_object_counts_alike_in_the_mean_of_images():
    def of(true, found):
        """An image of so many cells, of which so many are found."""
        truth = np.zeros((4, 40), int)
        truth[1:3, 1 : 4 * true : 4] = 1
        return truth, np.where(np.arange(40) < 4 * found, truth, 0)

    images = [of(8, 2), of(1, 1), of(0, 0)]
    found = summarize([examine(str(k), t, np.eye(3)[p]) for k, (t, p) in enumerate(images)], CLASSES)[
        "figures"
    ]
    assert found["object_ap"]["cell"]["0.50"] == pytest.approx(3 / 9)
    assert found["object_image_ap"]["cell"]["0.50"] == pytest.approx((2 / 8 + 1) / 2)
    assert found["object_image_ap"]["rod"]["0.50"] is None


def test_intervals_are_seeded_and_hold_the_figure():
    records = examined(12)
    one, same, other = (summarize(records, CLASSES, seed) for seed in (0, 0, 1))
    assert one == same
    assert one["intervals"] != other["intervals"]
    low, high = one["intervals"]["mean_iou"]
    assert low < one["mean_iou"] < high


def test_of_few_images_or_groups_there_is_no_interval():
    few, many = examined(FEWEST - 1), examined(FEWEST)
    assert summarize(few, CLASSES)["intervals"]["mean_iou"] == [None, None]
    assert compare(few, few, CLASSES)["mean_iou"] == {"difference": 0, "interval": [None, None]}
    assert None not in summarize(many, CLASSES)["intervals"]["mean_iou"]
    assert summarize(many, CLASSES, groups=[0, 0, 1, 2, 3])["intervals"]["mean_iou"] == [None, None]


def with_rod(have, *, found=12, stray=0):
    """Twelve images with a cell, of which the first have a rod, too, and the next one predicted where there is none.

    Of the rods some are found; they and cells lack a column in every other image.
    """
    for k in range(12):
        truth = np.zeros((20, 20), int)
        truth[2:8, 2:8] = 1
        truth[12:18, 2:12] = 2 * (k < have)
        prediction = np.where(np.arange(20) > 6 + k % 2, 0, truth)
        prediction[12:18] *= k < found
        prediction[12:18, 2:5] += 2 * (have <= k < have + stray)
        yield examine(str(k), truth, np.eye(3)[prediction])


def ends_of(intervals, name):
    """All ends of a class's intervals."""
    rows = [row[name] for row in intervals.values() if isinstance(row, dict) and name in row]
    pairs = [pair for row in rows for pair in (row.values() if isinstance(row, dict) else [row])]
    return [end for pair in pairs for end in pair]


def test_a_class_that_few_images_show_has_no_interval_among_however_many_without_it():
    few, enough = (list(with_rod(have)) for have in (FEWEST - 1, FEWEST))
    assert {None} == set(ends_of(summarize(few, CLASSES)["intervals"], "rod"))
    for records, name in ((few, "cell"), (enough, "rod")):
        assert None not in ends_of(summarize(records, CLASSES)["intervals"], name)
    # Nor if it is in many images of few groups.
    slides = [0, 0, 1, 2, 3, *range(4, 11)]
    grouped = summarize(enough, CLASSES, groups=slides)["intervals"]
    assert {None} == set(ends_of(grouped, "rod"))
    assert None not in ends_of(grouped, "cell")


def test_a_figure_that_few_images_have_has_no_interval():
    """A class that is true in five images and found in four has precision and distances in four."""
    intervals = summarize(list(with_rod(FEWEST, found=FEWEST - 1)), CLASSES)["intervals"]
    assert None not in intervals["recall"]["rod"]
    assert intervals["precision"]["rod"] == [None, None]
    assert intervals["hausdorff95"]["rod"] == [None, None]


def test_a_comparison_has_no_interval_of_a_class_that_few_images_show_on_either_side():
    few, enough = (list(with_rod(FEWEST - 1, stray=stray)) for stray in (0, 1))
    for pair in ((few, enough), (enough, few)):
        intervals = {name: row["interval"] for name, row in compare(*pair, CLASSES).items()}
        assert {None} == set(ends_of(intervals, "rod"))
    assert None not in compare(enough, enough, CLASSES)["iou"]["interval"]["rod"]


def test_images_that_are_alike_are_drawn_together():
    records = examined(8)
    once = summarize(records, CLASSES)["intervals"]["iou"]
    twice = summarize([*records, *records], CLASSES, groups=[*range(8), *range(8)])["intervals"]["iou"]
    apart = summarize([*records, *records], CLASSES)["intervals"]["iou"]
    for name in CLASSES:
        assert twice[name] == pytest.approx(once[name])
        assert np.ptp(apart[name]) < 0.85 * np.ptp(once[name])


def test_a_class_that_few_images_show_does_not_widen_the_mean_s_interval():
    """Drawn without it, images have no mean of all classes."""
    truth = np.zeros((12, 20, 20), int)
    truth[:, 5:15, 5:15] = 1
    found = truth.copy()
    found[:, 5:15, 14] = 0
    truth[:2, 2, 2:4], found[:2, 2, 3:5] = 2, 2
    records = [examine(str(k), truth[k], np.eye(3)[found[k]]) for k in range(12)]
    result = summarize(records, CLASSES)
    low, high = result["intervals"]["mean_iou"]
    assert low == pytest.approx(result["mean_iou"], abs=0.01)
    assert high == pytest.approx(result["mean_iou"], abs=0.01)
    # Nor does a stray pixel of a class that is nowhere true make a model worse on average.
    stray = found[2:].copy()
    stray[0, 0, 0] = 2
    better = np.where(truth[2:] == 1, 1, stray)
    one, other = (
        [examine(str(k), truth[2 + k], np.eye(3)[side[k]]) for k in range(10)] for side in (found[2:], better)
    )
    gain = compare(one, other, CLASSES)
    assert gain["mean_iou"]["difference"] > 0
    assert gain["mean_iou"]["interval"][0] > 0


@pytest.mark.parametrize("n", [5, 8, 200])
def test_of_a_mean_an_interval_is_student_s(n):
    values = np.random.default_rng(n).normal(3, 2, n)
    # Where many draws lie: normally around the mean.
    draws = stats.norm(values.mean(), values.std() / math.sqrt(n)).ppf((np.arange(40_000) + 0.5) / 40_000)
    expected = stats.t(n - 1, values.mean(), values.std(ddof=1) / math.sqrt(n)).interval(0.95)
    assert interval(draws, np.array(n)) == pytest.approx(expected, abs=0.01)


def test_an_interval_of_few_images_holds_the_truth_in_nineteen_of_twenty():
    # A thousand times eight values: percentiles at 2.5 and 97.5 would hold it in 89 of 100.
    rng = np.random.default_rng(0)
    draws = rng.multinomial(8, np.full(8, 1 / 8), 2000) @ rng.normal(size=(8, 1000)) / 8
    low, high = interval(draws, np.full(1000, 8))
    assert ((low < 0) & (high > 0)).mean() == pytest.approx(0.95, abs=0.015)


def test_a_comparison_is_paired():
    good, bad = examined(10, 0.2), examined(10, 0.8)
    found = compare(bad, good, CLASSES)
    gain = summarize(good, CLASSES)["mean_iou"] - summarize(bad, CLASSES)["mean_iou"]
    assert found["mean_iou"]["difference"] == pytest.approx(gain)
    low, high = found["mean_iou"]["interval"]
    assert 0 < low < gain < high
    same = compare(good, good, CLASSES)
    assert same["mean_iou"] == {"difference": 0, "interval": [0, 0]}
    with pytest.raises(SettingError, match="same images"):
        compare(good, bad[1:], CLASSES)


def test_true_objects_may_be_given():
    truth = np.zeros((10, 20), int)
    truth[2:8, 2:8] = truth[2:8, 8:14] = 1
    numbers = np.where(truth, np.where(np.arange(20) < 8, 1, 2), 0)
    chances = np.eye(3)[truth]
    assert summarize([examine("it", truth, chances)], CLASSES)["objects"]["cell"]["true"] == 1
    [record] = [examine("it", truth, chances, instances=numbers)]
    found = summarize([record], CLASSES)
    assert found["objects"]["cell"] == {"true": 2, "predicted": 1}
    assert sorted(record.sizes[0][0].tolist()) == [36, 36]


def test_objects_of_a_class_without_numbers_are_found_by_the_rules():
    truth = np.zeros((10, 20), int)
    truth[2:8, 2:8] = truth[2:8, 8:14] = 1
    truth[2:8, 16], truth[9, 2:9], truth[9, 15] = 2, 2, 2
    numbers = np.where(truth == 1, np.where(np.arange(20) < 8, 1, 2), 0)
    chances = np.eye(3)[truth]
    [record] = [examine("it", truth, chances, instances=numbers, smallest=2)]
    found = summarize([record], CLASSES)["objects"]
    assert found["cell"] == {"true": 2, "predicted": 1}
    assert found["rod"] == {"true": 2, "predicted": 2}
    # A hand that numbers may slip.
    numbers[2:4, 16] = 2
    [record] = [examine("it", truth, chances, instances=numbers, smallest=2)]
    assert summarize([record], CLASSES)["objects"]["rod"] == {"true": 2, "predicted": 2}
    none = examine("it", truth, chances, instances=0 * numbers, smallest=2)
    by_rules = examine("it", truth, chances, smallest=2)
    assert summarize([none], CLASSES)["figures"] == summarize([by_rules], CLASSES)["figures"]


def test_no_images_cannot_be_summarized():
    with pytest.raises(SettingError, match="no image"):
        summarize([], CLASSES)


def shown(*tables, width=80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    for table in tables:
        console.print(table, crop=False)
    return console.export_text()


def test_tables_show_every_class_and_dashes():
    truth = np.array([[0, 0, 1, 1]])
    found = summarize([examine("it", truth, np.eye(3)[[[0, 0, 1, 0]]])], CLASSES)
    text = shown(show.table(found), show.objects(found))
    rows = {}
    for line in text.splitlines():
        if line.strip():
            rows.setdefault(line.split()[0], line.split()[1:])
    assert rows["background"] == ["0.667", "0.800", "0.667", "1.000", "–", "–"]
    assert rows["rod"] == ["–"] * 6
    assert rows["mean"] == ["0.583", "0.733"]
    assert "accuracy 0.750, 1 image," in text
    assert "…" not in text


def test_tables_take_class_names_literally():
    found = summarize([examine("it", np.zeros((1, 1), int), np.ones((1, 1, 2)) / 2)], ("[red]cell", "[b]"))
    assert "[red]cell" in shown(show.table(found), width=120)
    assert "[b]" in shown(show.objects(found), width=120)


def long_names():
    """Scores of 12,345 objects of classes with long names."""
    classes = ("background", "white_blood_cell_of_a_long_name", "Staphylococcus aureus (cluster)")
    records = examined(6, 0)
    found = summarize(records, classes)
    found["objects"] = {name: {"true": 12345, "predicted": 12345} for name in classes[1:]}
    return found, compare(records, records, classes)


def test_tables_of_long_names_keep_their_figures_whole():
    found, differences = long_names()
    text = shown(show.table(found), show.objects(found), width=80)
    assert "…" not in text
    for part in ("1.000–1.000", "precision", "recall"):
        assert part in text
    assert text.count("12,345") == 4
    text = shown(show.differences(differences, Path("a" * 50), Path("b" * 50)), width=80)
    assert "…" not in text
    assert text.count("+0.000 to +0.000") == 6
    many = {f"class {k}": row for k, row in enumerate(list(found["classes"].values()) * 4)}
    text = shown(show.comparison({"before": {**found, "classes": many}}), width=80)
    assert "…" not in text
    assert text.count("1.000") == 13


def test_a_comparison_names_the_units_of_what_it_shows():
    found, _ = long_names()
    for costs, units in (({}, ()), ({"seconds": 1.0}, ("milliseconds",)), ({"memory": 1e9}, ("megabytes",))):
        text = shown(show.comparison({"one": {**found, **costs}}), width=120)
        assert [unit for unit in ("milliseconds", "megabytes") if unit in text] == list(units)


def test_tables_in_a_file_are_as_wide_as_their_names_are_long(capsys):
    found, _ = long_names()
    print_table(show.objects(found))
    [line] = [line for line in capsys.readouterr().out.splitlines() if "Staphylococcus" in line]
    assert "Staphylococcus aureus (cluster)" in line
    assert len(line) > 80
