"""Losses against their formulas in plain NumPy loops, and the properties that make them usable."""

import inspect

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from unetpp.errors import SettingError
from unetpp.model import losses
from unetpp.model.composed import Multiple, ignored
from unetpp.model.weights import resolve_class_weights

REGION = ["dice", "f1", "f_beta", "iou", "log_dice", "log_iou", "tversky", "generalised_dice", "lovasz"]
PIXEL = ["crossentropy", "focal"]
SMOOTH = [name for name in REGION if name != "lovasz"]


def reference(name, y, p, weights, ignore=None, smooth=1.0):
    """One image: y (N,) integers, p (N, C) float64; by loops over pixels and classes."""
    keep = [i for i in range(len(y)) if y[i] != ignore]
    classes = range(p.shape[1])
    if name in PIXEL:
        gamma = {"crossentropy": 0, "focal": 2}[name]
        values = [
            (weights[y[i]], -((1 - p[i, y[i]]) ** gamma) * np.log(max(p[i, y[i]], 1e-30))) for i in keep
        ]
        return mean(values)
    counts = []
    for c in classes:
        tp = sum(p[i, c] for i in keep if y[i] == c)
        fp = sum(p[i, c] for i in keep if y[i] != c)
        fn = sum(1 - p[i, c] for i in keep if y[i] == c)
        counts.append((tp, fp, fn, sum(y[i] == c for i in keep)))
    present = [c for c in classes if counts[c][3]]
    if name == "generalised_dice":
        v = {c: weights[c] / (counts[c][3] + smooth) ** 2 for c in present}
        total = sum(v[c] * (2 * counts[c][0] + counts[c][1] + counts[c][2]) for c in present)
        return 1 - sum(v[c] * 2 * counts[c][0] for c in present) / total if total else 0.0
    if name == "lovasz":
        return mean([(weights[c], lovasz_of_class(y[keep], p[keep], c)) for c in present])
    values = {
        "dice": lambda tp, fp, fn: 1 - (2 * tp + smooth) / (2 * tp + fp + fn + smooth),
        "f1": lambda tp, fp, fn: 1 - (2 * tp + smooth) / (2 * tp + fp + fn + smooth),
        "f_beta": lambda tp, fp, fn: 1 - (2 * tp + smooth) / (2 * tp + fp + fn + smooth),
        "iou": lambda tp, fp, fn: 1 - (tp + smooth) / (tp + fp + fn + smooth),
        "log_dice": lambda tp, fp, fn: -np.log((2 * tp + smooth) / (2 * tp + fp + fn + smooth)),
        "log_iou": lambda tp, fp, fn: -np.log((tp + smooth) / (tp + fp + fn + smooth)),
        "tversky": lambda tp, fp, fn: 1 - (tp + smooth) / (tp + 0.3 * fp + 0.7 * fn + smooth),
    }[name]
    return mean([(weights[c], values(*counts[c][:3])) for c in present])


def lovasz_of_class(y, p, c):
    """The extension of the Jaccard loss as its definition says: sets of the i worst pixels."""
    truth = y == c
    errors = np.where(truth, 1 - p[:, c], p[:, c])
    order = np.argsort(-errors, kind="stable")

    def jaccard_loss(wrong):
        wrong = np.isin(np.arange(len(y)), wrong)
        found = truth ^ wrong
        return 1 - (truth & found).sum() / (truth | found).sum()

    values = [jaccard_loss(order[:i]) for i in range(len(y) + 1)]
    return sum(errors[order[i]] * (values[i + 1] - values[i]) for i in range(len(y)))


def mean(weighted):
    total = sum(w for w, _ in weighted)
    return sum(w * v for w, v in weighted) / total if total else 0.0


def draw(seed, classes=3, shape=(2, 4, 5)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, shape), rng.dirichlet(np.ones(classes), shape)


def value(name, y, p, **options):
    return np.asarray(losses.LOSSES[name].function(y, p.astype(np.float32), **options))


def test_weights_go_by_class_index_not_by_dict_key():
    y, p = draw(0)
    by_index = value("crossentropy", y, p, class_weights={0: 1, 1: 50, 2: 70})
    np.testing.assert_allclose(by_index, value("crossentropy", y, p, class_weights=[1, 50, 70]), rtol=1e-6)
    keys = value("crossentropy", y, p, class_weights=[1, 2, 3])
    assert np.abs(by_index - keys).min() > 1e-3
    assert losses.weighted_loss("dice", {2: 70, 0: 1, 1: 50}).options["class_weights"] == (1, 50, 70)


@pytest.mark.parametrize("name", PIXEL + REGION)
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    weights=st.lists(st.sampled_from([0.0, 0.5, 1.0, 70.0]), min_size=3, max_size=3),
    ignore=st.sampled_from([None, 0, 2]),
)
def test_each_loss_is_its_formula(name, seed, weights, ignore):
    weights = weights if any(weights) else [1.0, 50.0, 70.0]
    y, p = draw(seed)
    expected = [reference(name, y[b].ravel(), p[b].reshape(-1, 3), weights, ignore) for b in range(2)]
    found = value(name, y, p, class_weights=weights, ignore_index=ignore)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)
    one_hot = value(name, np.eye(3)[y], p, class_weights=weights, ignore_index=ignore)
    np.testing.assert_allclose(one_hot, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", PIXEL + REGION)
def test_perfect_overlap_is_zero(name):
    y, _ = draw(1)
    np.testing.assert_allclose(value(name, y, np.eye(3)[y]), 0, atol=1e-5)


@pytest.mark.parametrize("name", ["dice", "f1", "f_beta", "iou", "tversky", "generalised_dice", "lovasz"])
def test_disjoint_overlap_is_one(name):
    y, _ = draw(2)
    options = {"smooth": 1e-6} if name in SMOOTH else {}
    np.testing.assert_allclose(value(name, y, np.eye(3)[(y + 1) % 3], **options), 1, atol=1e-4)


@pytest.mark.parametrize("name", PIXEL + REGION)
def test_absent_class_neither_helps_nor_harms(name):
    rng = np.random.default_rng(3)
    y, p = rng.integers(0, 2, (1, 6, 6)), rng.dirichlet(np.ones(2), (1, 6, 6))
    with_third = np.concatenate([p, np.zeros((1, 6, 6, 1))], -1)
    found = value(name, y, with_third, class_weights=[1, 50, 70])
    np.testing.assert_allclose(found, value(name, y, p, class_weights=[1, 50]), rtol=1e-5)


@pytest.mark.parametrize("name", PIXEL + REGION)
def test_ignored_pixels_are_as_if_cut_out(name):
    y, p = draw(4, shape=(1, 40))
    marked = y.copy()
    marked[:, 25:] = 255
    cut = value(name, y[:, :25], p[:, :25])
    np.testing.assert_allclose(value(name, marked, p, ignore_index=255), cut, rtol=1e-5)


@pytest.mark.parametrize("name", PIXEL + REGION)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("label", [-1, 3, 255])
def test_labels_that_are_no_class_are_as_if_cut_out(name, channels, label):
    y, p = draw(4, shape=(1, 40))
    y, p = (np.minimum(y, 1), p[..., :1]) if channels == 1 else (y, p)
    marked = np.where(np.arange(40) < 25, y, label)
    cut = value(name, y[:, :25], p[:, :25])
    np.testing.assert_allclose(value(name, marked, p), cut, rtol=1e-5)
    np.testing.assert_allclose(value(name, marked[..., None], p), cut, rtol=1e-5)


@pytest.mark.parametrize("name", PIXEL + REGION)
def test_one_image_s_loss_does_not_depend_on_its_batch(name):
    y, p = draw(5, shape=(3, 4, 4))
    alone = [value(name, y[b : b + 1], p[b : b + 1])[0] for b in range(3)]
    np.testing.assert_allclose(value(name, y, p), alone, rtol=1e-5)


@pytest.mark.parametrize("name", [n for n in REGION if n != "generalised_dice"] + PIXEL)
def test_a_foreground_probability_is_the_second_of_two_classes(name):
    rng = np.random.default_rng(6)
    y, p = rng.integers(0, 2, (2, 5, 5, 1)), rng.random((2, 5, 5, 1))
    both = np.concatenate([1 - p, p], -1)
    weights = {} if name in PIXEL else {"class_weights": [0, 1]}
    np.testing.assert_allclose(value(name, y, p), value(name, y[..., 0], both, **weights), rtol=1e-5)


@pytest.mark.parametrize("name", PIXEL + REGION)
@pytest.mark.parametrize("truth", [0, 1, "all"])
@pytest.mark.parametrize("predicted", [0, 1, 2])
def test_values_and_gradients_are_finite_at_the_extremes(name, truth, predicted):
    y = np.zeros((1, 8, 8), np.int32) + truth if truth != "all" else np.arange(64).reshape(1, 8, 8) % 3
    p = np.eye(3, dtype=np.float32)[np.full((1, 8, 8), predicted)]
    found, slope = value_and_gradient(losses.LOSSES[name].function, y, p)
    assert np.isfinite(found).all()
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_has_a_slope_where_the_network_is_sure(gamma):
    y, p = np.array([[[0, 1]]]), np.array([[[[1.0, 0.0], [1.0, 0.0]]]], np.float32)
    _, slope = value_and_gradient(lambda y, p: losses.focal(y, p, gamma=gamma), y, p)
    assert np.isfinite(slope).all()


def value_and_gradient(function, y, p):
    """The summed loss and its derivative by p, on whichever backend runs."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tensor = tf.Variable(p)
        with tf.GradientTape() as tape:
            found = ops.sum(function(y, tensor))
        return found.numpy(), tape.gradient(found, tensor).numpy()
    if backend == "jax":
        import jax

        found, slope = jax.value_and_grad(lambda q: ops.sum(function(y, q)))(p)
        return np.asarray(found), np.asarray(slope)
    import torch

    tensor = torch.tensor(p, requires_grad=True)
    found = ops.sum(function(y, tensor))
    found.backward()
    return found.detach().numpy(), tensor.grad.numpy()


@pytest.mark.parametrize("name", SMOOTH)
def test_without_smoothing_an_absent_class_has_no_say_and_no_slope_that_is_no_number(name):
    y, p = np.array([[0, 2]]), np.array([[[0.9, 0.0, 0.1], [0.3, 0.0, 0.7]]], np.float32)
    found, slope = value_and_gradient(losses.get(name, smooth=0.0), y, p)
    without, _ = value_and_gradient(losses.get(name, smooth=0.0), y // 2, p[..., ::2])
    np.testing.assert_allclose(found, without, rtol=1e-5)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", PIXEL + REGION)
def test_half_precision_is_computed_in_float32(name, dtype):
    y, p = draw(7)
    half = ops.cast(p.astype(np.float32), dtype)
    found = losses.LOSSES[name].function(y, half)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    whole = value(name, y, np.asarray(ops.convert_to_numpy(ops.cast(half, "float32"))))
    np.testing.assert_allclose(np.asarray(ops.convert_to_numpy(found)), whole, rtol=1e-5)


@pytest.mark.parametrize("name", PIXEL + REGION)
def test_every_loss_is_serialisable(name):
    loss = losses.get(name, class_weights=[1, 50, 70], ignore_index=255)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    y, p = draw(8)
    assert type(again) is type(loss)
    assert float(again(y, p)) == pytest.approx(float(loss(y, p)))


@pytest.mark.parametrize("gap", [1.0, 20.0, 60.0])
@pytest.mark.parametrize("loss", [losses.crossentropy, losses.focal])
def test_the_surer_a_wrong_pixel_the_higher_its_loss(loss, gap):
    """Else there is a slope of 0 where there is most to learn; -log p of a logit behind by the gap is that gap."""
    p = ops.softmax(ops.convert_to_tensor([[[gap, 0.0, -99.0]]]))
    [found] = np.array(loss(np.array([[1]]), p))
    missed = 1 - 1 / (1 + np.exp(gap))
    expected = gap + np.log1p(np.exp(-gap))
    assert found == pytest.approx(expected * (missed**2 if loss is losses.focal else 1), rel=1e-5)


def test_a_sum_is_the_sum_of_its_terms_and_serialisable():
    y, p = draw(9)
    total = losses.get("crossentropy + dice") + losses.LogIoU(class_weights=[1, 2, 3])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(total))
    expected = (
        value("crossentropy", y, p) + value("dice", y, p) + value("log_iou", y, p, class_weights=[1, 2, 3])
    )
    assert float(total(y, p)) == pytest.approx(expected.mean(), rel=1e-5)
    assert float(again(y, p)) == pytest.approx(expected.mean(), rel=1e-5)


def test_balanced_weights_make_every_class_count_alike():
    y, p = draw(10, shape=(1, 50))
    counts = np.bincount(y.ravel(), minlength=3)
    expected = value("crossentropy", y, p, class_weights=resolve_class_weights("balanced", 3, counts=counts))
    np.testing.assert_allclose(value("crossentropy", y, p, class_weights="balanced"), expected, rtol=1e-5)


def test_any_pixel_loss_is_weighted_by_the_true_class():
    y, p = draw(11)
    keras_own = losses.weighted_loss(keras.losses.categorical_crossentropy, [1, 50, 70])
    found = keras_own(np.eye(3, dtype=np.float32)[y], p.astype(np.float32))
    assert float(found) == pytest.approx(
        value("crossentropy", y, p, class_weights=[1, 50, 70]).mean(), rel=1e-4
    )


@pytest.mark.parametrize("name", [*PIXEL, *REGION])
def test_a_single_channel_takes_the_weights_of_background_and_foreground(name):
    y, p = draw(14, classes=2)
    weighed = value(name, y, p[..., 1:], class_weights=[1, 50])
    if name in PIXEL:
        np.testing.assert_allclose(weighed, value(name, y, p, class_weights=[1, 50]), rtol=1e-5)
    else:
        # There is one region, and nothing to weigh it against.
        np.testing.assert_allclose(weighed, value(name, y, p[..., 1:]), rtol=1e-5)
    with pytest.raises(SettingError, match="1 values for 2 classes"):
        value(name, y, p[..., 1:], class_weights=[50])


def test_any_pixel_loss_of_a_single_channel_is_weighted_by_background_and_foreground():
    y, p = draw(15, classes=2)
    own = losses.weighted_loss(keras.losses.binary_crossentropy, [1, 50])
    found = own(y[..., None].astype(np.float32), p[..., 1:].astype(np.float32))
    assert float(found) == pytest.approx(value("crossentropy", y, p, class_weights=[1, 50]).mean(), rel=1e-4)


def test_a_dict_of_weights_that_lacks_a_class_says_which():
    with pytest.raises(SettingError, match="lacks class 0"):
        losses.Dice(class_weights={1: 50, 2: 70})
    with pytest.raises(SettingError, match="lacks class 'cell'"):
        losses.Dice(class_weights={"soil": 1}, class_names=["soil", "cell"])


def test_a_loss_of_keras_is_saved_with_its_weights():
    y, p = draw(13)
    loss = losses.weighted_loss(keras.losses.CategoricalCrossentropy(label_smoothing=0.1), [1, 50, 70])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    values = [float(each(np.eye(3, dtype=np.float32)[y], p.astype(np.float32))) for each in (loss, again)]
    assert values[0] == values[1] > 0


def test_any_region_loss_is_weighted_by_class():
    y, p = draw(12)

    def volume_error(y_true, y_pred):
        return ops.abs(ops.sum(ops.cast(y_true, "float32")) - ops.sum(y_pred))

    errors = np.abs(np.eye(3)[y].sum((0, 1, 2)) - p.sum((0, 1, 2)))
    found = losses.weighted_loss(volume_error, {"a": 1, "b": 0, "c": 3}, class_names=["a", "b", "c"])(
        y, p.astype("f4")
    )
    assert float(found) == pytest.approx((errors[0] + 3 * errors[2]) / 4, rel=1e-4)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "2 values for 3 classes"),
        ([1, -2, 3], "class 1 is -2"),
        ([1, float("nan"), 3], "class 1 is nan"),
        ([0, 0, 0], "all class weights are zero"),
        ({0: 1, 1: 2}, "lacks class 2"),
        ({0: 1, 1: 2, 5: 3}, "unknown class 5"),
        ({"cell": 1, 1: 2, 2: 3}, "unknown class 'cell'"),
        ("even", "cannot be 'even'"),
        ("balanced", "needs pixel counts"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused_by_name(weights, message):
    with pytest.raises(SettingError, match=message):
        resolve_class_weights(weights, 3)


def test_unknown_losses_and_options_are_refused_by_name():
    with pytest.raises(SettingError, match=r"no loss 'dyce'.*dice"):
        losses.get("crossentropy + dyce")
    with pytest.raises(SettingError, match="no option 'gamma'"):
        losses.Dice(gamma=2)


def test_every_function_has_its_class_and_its_docstring():
    for name, cls in losses.LOSSES.items():
        assert getattr(losses, name) is cls.function
        assert getattr(losses, cls.__name__) is cls
        assert len(inspect.getdoc(cls)) > 20


def test_losses_of_keras_add_up_with_ours_in_any_order():
    y, p = np.array([[[0, 1]], [[1, 1]]]), np.full((2, 1, 2, 2), 0.5, np.float32)
    theirs, ours = keras.losses.SparseCategoricalCrossentropy(), losses.Dice()
    weighted = losses.weighted_loss(keras.losses.sparse_categorical_crossentropy, [1, 2])
    for a, b in ((theirs, ours), (weighted, ours), (theirs, ours + ours)):
        expected = float(a(y, p)) + float(b(y, p))
        for total in (a + b, b + a):
            np.testing.assert_allclose(float(total(y, p)), expected, rtol=1e-5)


def test_a_loss_with_one_value_for_the_whole_batch_adds_up_with_others():
    y, p = draw(23)
    y, p = ops.convert_to_tensor(np.eye(3)[y], "float32"), ops.convert_to_tensor(p, "float32")
    theirs = [keras.losses.Dice(), keras.losses.Tversky()]
    total = sum(theirs, losses.Crossentropy())
    expected = sum(float(loss(y, p)) for loss in (losses.Crossentropy(), *theirs))
    assert float(total(y, p)) == pytest.approx(expected, rel=1e-5)
    assert losses.Sum(theirs).call(y, p).shape == (2,)


def test_a_sum_reduces_as_its_terms_do():
    y, p = draw(24, shape=(3, 4, 4))
    each = value("dice", y, p) + value("focal", y, p)
    for reduction, expected in (("sum", each.sum()), ("none", each), ("sum_over_batch_size", each.mean())):
        terms = losses.Dice(reduction=reduction), losses.Focal(reduction=reduction)
        by_name = losses.get("dice + focal", reduction=reduction)
        for total in (
            terms[0] + terms[1],
            losses.Sum(terms),
            by_name,
            losses.Sum.from_config(by_name.get_config()),
        ):
            found = ops.convert_to_numpy(total(y, p))
            np.testing.assert_allclose(found, expected, rtol=1e-5)
    theirs = losses.weighted_loss(keras.losses.SparseCategoricalCrossentropy(reduction="sum"), [1, 2, 3])
    assert (theirs + losses.Dice(reduction="sum")).reduction == "sum"
    with pytest.raises(SettingError, match="reductions are 'sum' and 'sum_over_batch_size'"):
        losses.Dice(reduction="sum") + losses.Focal()
    with pytest.raises(SettingError, match="reductions are"):
        losses.Sum([losses.Dice(reduction="sum")], reduction="none") + losses.Dice(reduction="sum")


def test_options_of_a_loss_that_is_made_already_are_refused():
    with pytest.raises(SettingError, match="class_weights"):
        losses.get(losses.Dice(), class_weights=[1, 50])
    with pytest.raises(SettingError, match="'balance'"):
        losses.Dice(class_weights="balance")


def test_weights_of_a_sum_reach_every_term_and_leave_the_rest():
    theirs = losses.weighted_loss(keras.losses.sparse_categorical_crossentropy, [1, 2])
    found = losses.weighted_loss(losses.Sum([losses.Dice(), theirs], name="mine", reduction="sum"), [1, 3])
    assert (found.name, found.reduction) == ("mine", "sum")
    assert found.losses[0].options["class_weights"] == found.losses[1].class_weights == (1.0, 3.0)


@pytest.mark.parametrize("kind", [keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy])
def test_masks_of_one_channel_need_no_axis_for_it(kind):
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, (2, 8, 8)), rng.random((2, 8, 8, 1)).astype(np.float32)
    loss = losses.weighted_loss(kind(), [1, 50])
    assert float(loss(y, p)) == pytest.approx(float(loss(y[..., None], p)))
    assert float(loss(y, p)) != pytest.approx(float(losses.weighted_loss(kind(), [1, 1])(y, p)), rel=0.01)


def test_options_that_a_loss_of_keras_cannot_take_are_refused():
    with pytest.raises(SettingError, match="ignore_index is for losses of this package"):
        losses.weighted_loss(keras.losses.sparse_categorical_crossentropy, [1, 2], ignore_index=1)


def test_losses_are_summed_by_sum_and_what_is_none_is_refused():
    y, p = np.array([[0, 1]]), np.array([[[0.5, 0.5], [0.25, 0.75]]], np.float32)
    both = sum([losses.Dice(), losses.Crossentropy()])
    assert float(both(y, p)) == pytest.approx(float(losses.Dice()(y, p)) + float(losses.Crossentropy()(y, p)))
    for other in (1, "dice", keras.losses.sparse_categorical_crossentropy):
        with pytest.raises(SettingError, match="is no loss to add"):
            losses.Dice() + other


def test_a_weighted_loss_is_read_twice_from_one_config():
    config = losses.weighted_loss(keras.losses.sparse_categorical_crossentropy, [1, 2]).get_config()
    assert [type(losses.Weighted.from_config(config)) for _ in range(2)] == 2 * [losses.Weighted]


def test_balanced_weights_need_no_number_of_classes():
    assert resolve_class_weights("balanced", None, counts=[75, 25]) == (2 / 3, 2.0)


@pytest.mark.parametrize("shape", [(2,), (2, 1, 1), (2, 4, 4), (2, 8, 8, 2), (2, 8, 8, 1, 1)])
def test_masks_of_another_size_than_the_predictions_are_refused(shape):
    with pytest.raises(
        SettingError, match=r"masks of shape .* do not fit predictions of shape \(2, 8, 8, 3\)"
    ):
        losses.dice(np.zeros(shape, np.int32), np.full((2, 8, 8, 3), 1 / 3, np.float32))


def test_a_weight_a_pixel_is_refused_by_a_loss_itself_and_one_for_all_is_each_image_s():
    y, p = draw(21, shape=(8, 8, 8))
    for images in (slice(0, 1), slice(0, 8)):
        with pytest.raises(SettingError, match="one an image, not 8 x 8"):
            losses.Crossentropy()(y[images], p[images], sample_weight=np.ones((8, 8, 8))[images])
    weights = np.arange(8.0)
    half = float(losses.Crossentropy()(y, p, sample_weight=0.5))
    assert half == pytest.approx(0.5 * value("crossentropy", y, p).mean(), rel=1e-5)
    expected = (weights * value("crossentropy", y, p)).mean()
    assert float(losses.Crossentropy()(y, p, sample_weight=weights[:, None])) == pytest.approx(
        expected, rel=1e-5
    )


def test_what_keras_ignores_in_a_sum_counts_no_more_than_alone():
    y, p = draw(22)
    y[:, :3] = 255
    own, theirs = losses.Dice(ignore_index=255), keras.losses.SparseCategoricalCrossentropy(ignore_class=255)
    p = ops.convert_to_tensor(p, "float32")
    assert float((own + theirs)(y, p)) == pytest.approx(float(own(y, p)) + float(theirs(y, p)), rel=1e-5)


def test_weights_of_images_are_refused_where_all_share_a_value():
    y, p = draw(25)
    y, weights = np.eye(3, dtype=np.float32)[y], np.array([1.0, 0.0])
    shared = [keras.losses.dice, keras.losses.Dice(), keras.losses.Tversky(axis=None)]
    for loss in (losses.weighted_loss(each, [1, 2, 3]) for each in shared):
        for total in (loss, loss + losses.Dice(), keras.losses.Dice() + losses.Dice()):
            assert np.isfinite(float(total(y, p.astype(np.float32))))
            with pytest.raises(SettingError, match="one value for the whole batch"):
                total(y, p, sample_weight=weights)


@pytest.mark.parametrize("axis", [(1, 2, 3), (1, 2)])
def test_a_region_loss_of_keras_by_image_is_weighted_by_the_classes_of_each(axis):
    y, p = draw(26)
    y[1] = np.minimum(y[1], 1)
    loss = losses.weighted_loss(keras.losses.Dice(axis=axis), [1, 50, 70])
    hot = np.eye(3, dtype=np.float32)[y]
    expected = value("dice", y, p, class_weights=[1, 50, 70], smooth=0.0)
    np.testing.assert_allclose(
        np.asarray(loss.call(hot, ops.convert_to_tensor(p, "float32"))), expected, rtol=1e-5
    )
    for weights in ([0.0, 1.0], [2.0, 0.5]):
        for total, times in ((loss, 1), (loss + losses.Dice(smooth=0.0, class_weights=[1, 50, 70]), 2)):
            found = total(hot, p.astype(np.float32), sample_weight=np.array(weights))
            assert float(found) == pytest.approx(times * (np.array(weights) * expected).mean(), rel=1e-5)


def test_a_multiple_counts_so_many_times_in_a_sum():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 3, (2, 5, 6)), rng.dirichlet(np.ones(3), (2, 5, 6)).astype(np.float32)
    options = {"class_weights": [1, 2, 3], "ignore_index": 2}
    entropy, dice = losses.Crossentropy(**options), losses.Dice(**options)
    truth = float(entropy(y, p)) + 0.5 * float(dice(y, p))
    found = [
        entropy + 0.5 * dice,
        dice * 0.5 + entropy,
        0.25 * (4 * entropy + 2 * dice),
        losses.get("crossentropy + 0.5 * dice", **options),
        losses.get("1.*crossentropy+.5*dice", **options),
    ]
    for loss in found:
        assert float(loss(y, p)) == pytest.approx(truth, rel=1e-6)
        assert float(loss(y, p, [2, 0])) == pytest.approx(float((2 * loss)(y[:1], p[:1])) / 2, rel=1e-5)
        assert ignored(loss) == 2
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
        assert float(again(y, p)) == pytest.approx(truth, rel=1e-6)
    # Of a loss of Keras with one value for the whole batch.
    one_hot = np.eye(3, dtype=np.float32)[y]
    sum_of_both = losses.Dice() + 3 * Multiple(keras.losses.Dice(), 0.5)
    apart = float(losses.Dice()(one_hot, p)) + 1.5 * float(keras.losses.Dice()(one_hot, p))
    assert float(sum_of_both(one_hot, p)) == pytest.approx(apart, rel=1e-6)


@pytest.mark.parametrize(
    "name", ["2 * foci", "x * dice", "-1 * dice", "dice * 2", "* dice", "0 * dice", "dice *"]
)
def test_what_no_loss_can_be_multiplied_by_is_refused(name):
    with pytest.raises(SettingError, match=r"there is no loss|cannot be multiplied by 0"):
        losses.get(f"crossentropy + {name}")
