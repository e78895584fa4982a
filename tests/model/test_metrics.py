"""Metrics against scikit-learn, whole and in batches."""

import keras
import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from unetpp.errors import SettingError
from unetpp.model import losses, metrics

PEERS = {"IoU": jaccard_score, "Dice": f1_score, "Precision": precision_score, "Recall": recall_score}


def draw(seed, classes=3, shape=(4, 7, 9)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, shape), rng.dirichlet(np.ones(classes), shape).astype(np.float32)


@pytest.mark.parametrize("name", PEERS)
def test_each_metric_is_scikit_learn_s_whole_or_in_batches(name):
    y, p = draw(0)
    expected = PEERS[name](y.ravel(), p.argmax(-1).ravel(), average=None)
    for index in (None, 0, 1, 2):
        metric = getattr(metrics, name)(3, class_index=index)
        for batch in (slice(0, 1), slice(1, 4)):
            metric.update_state(np.eye(3)[y[batch]] if index else y[batch], p[batch])
        want = expected.mean() if index is None else expected[index]
        assert float(metric.result()) == pytest.approx(want, abs=1e-6)
        metric.reset_state()
        assert float(metric.result()) == 0


def test_a_class_absent_from_truth_and_prediction_is_left_out_of_the_mean():
    y = np.array([[0, 0, 1, 1]])
    p = np.eye(4, dtype=np.float32)[[[0, 1, 1, 1]]]
    metric = metrics.IoU(4)
    metric.update_state(y, p)
    assert float(metric.result()) == pytest.approx((1 / 2 + 2 / 3) / 2)


@pytest.mark.parametrize("ignore_index", [255, None])
def test_ignored_pixels_and_labels_that_are_no_class_do_not_count(ignore_index):
    y, p = draw(1)
    y[:, 3:] = 255
    metric, cut = metrics.Dice(3, ignore_index=ignore_index), metrics.Dice(3)
    metric.update_state(y, p)
    cut.update_state(y[:, :3], p[:, :3])
    assert float(metric.result()) == pytest.approx(float(cut.result()))


def test_a_single_channel_is_foreground_from_one_half_on():
    metric = metrics.IoU(1)
    metric.update_state(
        np.array([[[1], [1], [0], [0]]]), np.array([[[0.9], [0.2], [0.5], [0.1]]], np.float32)
    )
    assert float(metric.result()) == pytest.approx(1 / 3)


def test_counts_stay_exact_beyond_float32():
    metric = metrics.Recall(2)
    zeros, right = np.zeros((1, 2**20), np.int32), np.eye(2, dtype=np.float32)[np.zeros((1, 2**20), int)]
    for _ in range(20):
        metric.update_state(zeros, right)
    metric.update_state(np.zeros((1, 1), np.int32), right[:, :1])
    counts = np.asarray(keras.ops.convert_to_numpy(metric.counts)).astype(np.int64)
    assert counts[0, 0, 1] * metrics.UNIT + counts[0, 0, 0] == 20 * 2**20 + 1


@pytest.mark.parametrize("name", PEERS)
def test_every_metric_is_serialisable(name):
    metric = getattr(metrics, name)(3, class_index=2, ignore_index=7, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert again.get_config() == metric.get_config()


def test_callbacks_look_for_the_highest_score(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Dense(2, activation="softmax")])
    model.compile(loss=losses.Dice(), metrics=[metrics.IoU(2, name="iou")])
    callbacks = [
        keras.callbacks.EarlyStopping(monitor="val_iou"),
        keras.callbacks.ReduceLROnPlateau(monitor="val_iou"),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_iou", save_best_only=True),
    ]
    x, y = np.zeros((1, 4, 4, 1)), np.zeros((1, 4, 4))
    model.fit(x, y, validation_data=(x, y), callbacks=callbacks, verbose=0)
    assert all(callback.monitor_op(2, 1) for callback in callbacks)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_class_that_is_not_there_is_refused(index):
    with pytest.raises(SettingError, match="from 0 to 2"):
        metrics.IoU(3, class_index=index)


def test_masks_of_another_size_than_the_predictions_are_refused():
    p = np.full((2, 8, 8, 3), 1 / 3, np.float32)
    for y in (np.zeros((2, 4, 4)), np.zeros((2, 8, 8, 2))):
        with pytest.raises(SettingError, match="do not fit predictions of shape"):
            metrics.IoU(3).update_state(y, p)


@pytest.mark.parametrize(("num_classes", "channels"), [(2, 3), (4, 3), (2, 1), (1, 2)])
def test_predictions_of_other_channels_than_classes_are_refused(num_classes, channels):
    p = np.full((2, 8, 8, channels), 1 / channels, np.float32)
    for y in (np.zeros((2, 8, 8)), np.zeros((2, 8, 8, 1)), np.zeros(p.shape)):
        with pytest.raises(SettingError, match=f"num_classes is {num_classes}, .* {channels} channels"):
            metrics.IoU(num_classes).update_state(y, p)


def test_a_foreground_probability_needs_no_axis_for_its_channel():
    y, p = draw(2, classes=2)
    found = []
    for true, predicted in ((y, p[..., 1]), (y, p[..., 1:]), (y, np.round(p[..., 1]))):
        metric = metrics.IoU(1)
        metric.update_state(true, predicted)
        found.append(float(metric.result()))
    assert found == 3 * [pytest.approx(jaccard_score(y.ravel(), p[..., 1].ravel() >= 0.5))]
