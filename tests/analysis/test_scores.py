"""Pixel scores: properties, and agreement with scikit-learn."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unetpp.analysis import scores as room
from unetpp.analysis.scores import confusion, dice, iou, precision, recall, scores
from unetpp.errors import MaskError, SettingError

CLASSES = ("background", "blood_cell", "bacteria", "platelet")
FIGURES = ("iou", "dice", "precision", "recall")

labels = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16, np.int64]),
    st.just((6, 7)),
    elements=st.integers(0, 3),
)


def score(truth, prediction, classes=CLASSES):
    return scores(confusion(truth, prediction, len(classes)), classes, images=1)


def is_close(ours, theirs):
    return (ours is None and np.isnan(theirs)) or ours == pytest.approx(theirs)


@settings(deadline=None)
@given(labels, labels)
def test_scores_agree_with_scikit_learn(truth, prediction):
    metrics = pytest.importorskip("sklearn.metrics")
    flat = truth.ravel().astype(int), prediction.ravel().astype(int)
    options = {"labels": range(len(CLASSES)), "average": None}
    theirs = {
        "dice": metrics.f1_score(*flat, zero_division=np.nan, **options),
        "precision": metrics.precision_score(*flat, zero_division=np.nan, **options),
        "recall": metrics.recall_score(*flat, zero_division=np.nan, **options),
    }
    absent = [not np.isin(index, flat) for index in range(len(CLASSES))]
    theirs["iou"] = np.where(absent, np.nan, metrics.jaccard_score(*flat, zero_division=0, **options))
    found = score(truth, prediction)
    for index, figures in enumerate(found["classes"].values()):
        for key in FIGURES:
            assert is_close(figures[key], theirs[key][index]), key
    assert found["mean_iou"] == pytest.approx(np.nanmean(theirs["iou"]))
    assert found["mean_dice"] == pytest.approx(np.nanmean(theirs["dice"]))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(*flat))
    assert found["confusion"] == metrics.confusion_matrix(*flat, labels=range(len(CLASSES))).tolist()


@settings(deadline=None)
@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=4))
def test_pooled_images_score_as_one_large_image(pairs):
    pooled = sum(confusion(truth, prediction, 4) for truth, prediction in pairs)
    together = [np.concatenate([pair[side] for pair in pairs]) for side in (0, 1)]
    np.testing.assert_array_equal(pooled, confusion(*together, 4))


@settings(deadline=None)
@given(labels)
def test_perfect_prediction_scores_one(truth):
    found = score(truth, truth)
    assert found["mean_iou"] == found["mean_dice"] == found["accuracy"] == 1
    assert all(figures[key] in (1, None) for figures in found["classes"].values() for key in FIGURES)


@settings(deadline=None)
@given(labels, labels)
def test_rows_of_the_confusion_are_the_truth(truth, prediction):
    counts = confusion(truth, prediction, 4)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(truth.ravel(), minlength=4))
    np.testing.assert_array_equal(counts.sum(axis=0), np.bincount(prediction.ravel(), minlength=4))


def test_rows_are_true_and_columns_predicted():
    assert confusion(np.array([[0, 0]]), np.array([[0, 2]]), 3).tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_many_blocks_count_as_one(monkeypatch):
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 5, (2, 37, 41))
    whole = confusion(truth, prediction, 5)
    monkeypatch.setattr(room, "BLOCK", 100)
    np.testing.assert_array_equal(confusion(truth, prediction, 5), whole)


def test_large_class_indices_do_not_overflow():
    labels = np.full((2, 2), 255, np.uint8)
    assert confusion(labels, labels, 256)[255, 255] == 4


def test_figures_of_known_counts():
    assert precision(6, 2) == 0.75
    assert recall(6, 6) == 0.5
    assert dice(6, 2, 6) == 0.6
    assert iou(6, 2, 4) == 0.5


def test_nothing_divided_by_nothing_is_not_a_number():
    assert np.isnan([precision(0, 0), recall(0, 0), dice(0, 0, 0), iou(0, 0, 0)]).all()


def test_absent_class_is_none_and_left_out_of_the_means():
    truth, prediction = np.array([[0, 0, 1, 1]]), np.array([[0, 0, 1, 0]])
    found = score(truth, prediction, CLASSES[:3])
    assert found["classes"]["bacteria"] == dict.fromkeys(FIGURES) | {"support": 0}
    assert found["mean_iou"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_missed_class_has_no_precision_and_zero_iou():
    figures = score(np.array([[0, 1]]), np.array([[0, 0]]), CLASSES[:2])["classes"]["blood_cell"]
    assert figures == {"iou": 0, "dice": 0, "precision": None, "recall": 0, "support": 1}


def test_invented_class_has_no_recall_and_zero_iou():
    figures = score(np.array([[0, 0]]), np.array([[0, 1]]), CLASSES[:2])["classes"]["blood_cell"]
    assert figures == {"iou": 0, "dice": 0, "precision": 0, "recall": None, "support": 0}


def test_no_pixels_have_no_scores():
    found = score(np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8))
    assert found["mean_iou"] is found["mean_dice"] is found["accuracy"] is None


def test_scores_have_the_documented_keys_and_survive_json():
    truth = np.array([[0, 0, 1, 3]], np.uint8)
    found = score(truth, truth[:, ::-1])
    assert list(found) == ["classes", "mean_iou", "mean_dice", "accuracy", "confusion", "images"]
    assert list(found["classes"]) == list(CLASSES)
    assert all(list(figures) == [*FIGURES, "support"] for figures in found["classes"].values())
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_support_is_the_number_of_true_pixels():
    found = score(np.array([[0, 1, 1, 2]]), np.array([[2, 2, 1, 1]]))
    assert [figures["support"] for figures in found["classes"].values()] == [1, 2, 1, 0]


@pytest.mark.parametrize(
    ("truth", "prediction", "error", "what"),
    [
        ([[0, 1]], [[0]], SettingError, r"\(1, 2\).*\(1, 1\)"),
        ([[0, 3]], [[0, 0]], MaskError, "truth: class 3 is outside 0 to 2"),
        ([[0, 0]], [[0, -1]], MaskError, "prediction: class -1 is outside"),
        ([[0, 0]], [[0, 0.5]], SettingError, "integers, not float64"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(truth, prediction, error, what):
    with pytest.raises(error, match=what):
        confusion(np.array(truth), np.array(prediction), 3)


def test_every_class_needs_a_name_of_its_own():
    with pytest.raises(SettingError, match="do not fit 1 class"):
        scores(np.eye(2, dtype=int), ("background",), images=1)
    with pytest.raises(SettingError, match="one name"):
        scores(np.eye(2, dtype=int), ("cell", "cell"), images=1)
