"""The network: its pinned arithmetic, its options, and that it is a Keras model like any other."""

import json
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from unetpp import UNet, UNetPP
from unetpp.errors import SettingError
from unetpp.model import losses, metrics
from unetpp.model.blocks import Bilinear
from unetpp.model.policy import policy

GOLDEN = Path(__file__).parents[1] / "golden" / "unetpp_logits.npz"
SMALL = {"filters": (4, 8, 16)}
# Tracing a step takes TensorFlow seconds, and running one as it comes less; JAX compiles either way.
EAGER = keras.backend.backend() == "tensorflow"

# (type, output height and width, output channels, parameters): how often, for a 512 x 512 x 512 input.
ENCODER = [(512, 32), (256, 64), (128, 128), (64, 256), (32, 512)]
# (height, width of the node, channels of the concatenation, channels of the node, channels from below)
NESTED = [
    (512, 64, 32, 64), (256, 96, 32, 128), (128, 160, 32, 256), (64, 512, 256, 512),
    (512, 96, 32, 32), (256, 128, 32, 32), (128, 288, 128, 256),
    (512, 128, 32, 32), (256, 192, 64, 128),
    (512, 160, 32, 64),
]  # fmt: skip


def expected_rows():
    """Every row of the default network's summary, from the definition alone."""
    rows = Counter({("InputLayer", 512, 512, 0): 1, ("Conv2D", 512, 3, 32 * 3 + 3): 1})
    inputs = 512
    for level, (side, width) in enumerate(ENCODER):
        add_block(rows, side, inputs, width, dropouts=1 if level == 4 else 2)
        if level < 4:
            rows["MaxPooling2D", side // 2, width, 0] += 1
        inputs = width
    for side, joined, width, below in NESTED:
        rows["Conv2DTranspose", side, width, 4 * below * width + width] += 1
        rows["Concatenate", side, joined, 0] += 1
        add_block(rows, side, joined, width, dropouts=1)
    return rows


def add_block(rows, side, inputs, width, *, dropouts):
    for channels in (inputs, width):
        rows["Conv2D", side, width, 9 * channels * width + width] += 1
    rows["BatchNormalization", side, width, 4 * width] += 2
    rows["LeakyReLU", side, width, 0] += 2
    rows["Dropout", side, width, 0] += dropouts


def test_every_row_of_the_default_summary_is_as_defined():
    unet = UNetPP((512, 512, 512))
    rows = Counter()
    for layer in unet.layers:
        shape = layer.output.shape
        assert shape[1] == shape[2]
        rows[type(layer).__name__, shape[1], shape[3], layer.count_params()] += 1
    assert rows == expected_rows()


@pytest.mark.parametrize(
    ("settings", "total"),
    [
        ({"input_shape": (512, 512, 512)}, 8_340_483),
        ({}, 8_193_891),
        ({"inner_filters": "level"}, 9_056_835),
    ],
)
def test_parameters_are_as_published(settings, total):
    assert UNetPP(**settings).count_params() == total


def test_trainable_and_other_parameters_are_as_defined():
    unet = UNetPP((512, 512, 512))
    assert sum(int(np.prod(v.shape)) for v in unet.trainable_variables) == 8_333_827
    assert sum(int(np.prod(v.shape)) for v in unet.non_trainable_variables if v.dtype == "float32") == 6_656


def test_the_weights_of_heads_are_saved(tmp_path):
    unet = UNetPP((16, 16, 3), 2, filters=(2, 2, 2), deep_supervision=True)
    unet.compile(head_weights=(1, 3))
    unet.optimizer.build(unet.trainable_variables)
    unet.save(tmp_path / "unet.keras")
    assert keras.saving.load_model(tmp_path / "unet.keras")._head_weights == (0.25, 0.75)


def test_u_net_is_the_grid_without_its_inner_nodes():
    nested, plain = UNetPP((32, 32, 3), **SMALL), UNet((32, 32, 3), **SMALL)
    names = {layer.name for layer in plain.layers} - {"image"}
    assert names < {layer.name for layer in nested.layers}
    assert not any(name.startswith("x_0_1") for name in names)
    assert plain.get_layer("x_0_2_concat").output.shape[-1] == 4 + 4


def fixed_weights(model):
    """Weights that no initialiser decides: NumPy's RandomState is frozen for good."""
    for k, variable in enumerate(model.trainable_variables + model.non_trainable_variables):
        if variable.dtype == "float32":
            noise = np.random.RandomState(k).normal(size=variable.shape)
            if len(variable.shape) > 1:
                value = noise * np.sqrt(2 / np.prod(variable.shape[:-1]))
            elif "gamma" in variable.path or "variance" in variable.path:
                value = 1 + 0.1 * np.abs(noise)
            else:
                value = 0.1 * noise
            variable.assign(value.astype(np.float32))
    return model


def fixed_images():
    return np.random.RandomState(99).normal(size=(2, 32, 48, 3)).astype(np.float32)


@pytest.mark.parametrize("network", [UNetPP, UNet])
def test_outputs_of_fixed_weights_are_golden_on_every_backend(network):
    model = fixed_weights(network((32, 48, 3), **SMALL))
    found = np.asarray(model.predict(fixed_images(), verbose=0))
    with np.load(GOLDEN) as golden:
        np.testing.assert_allclose(found, golden[network.__name__], atol=1e-4)


@pytest.fixture
def channels_first():
    """Keras set to take images otherwise than they come."""
    former = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(former)


@pytest.mark.parametrize("network", [UNetPP, UNet])
def test_channels_are_last_however_keras_is_set(network, channels_first):
    test_outputs_of_fixed_weights_are_golden_on_every_backend(network)
    for settings in ({}, {"upsampling": "bilinear", "normalization": "group"}):
        model, images = network((32, 48, 3), **SMALL, **settings), fixed_images()
        model.compile(run_eagerly=EAGER)
        assert np.isfinite(model.train_on_batch(images, np.zeros((2, 32, 48), np.int32))).all()
        assert np.shape(model.predict(images, verbose=0)) == (2, 32, 48, 3)


def test_class_weights_weigh_the_default_loss_and_no_other():
    model = UNetPP((32, 32, 1), 1, filters=(2, 4))
    model.compile(class_weights=[1, 50])
    y = np.eye(32, dtype=np.int32)[None]
    p = np.asarray(model.predict(np.zeros((1, 32, 32, 1)), verbose=0))
    expected = losses.get("crossentropy + log_iou + log_dice", class_weights=[1, 50])(y, p)
    found = model.evaluate(np.zeros((1, 32, 32, 1)), y, verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(float(expected), rel=1e-4)
    with pytest.raises(SettingError, match="the default loss alone"):
        model.compile(loss="dice", class_weights=[1, 50])
    with pytest.raises(SettingError, match="3 values for 2 classes"):
        model.compile(class_weights=[1, 50, 70])


@pytest.mark.parametrize(
    "settings",
    [
        {"num_classes": 1},
        {"inner_filters": "level", **SMALL},
        {"inner_filters": 6, **SMALL},
        {"activation": "gelu"},
        {"dropout": 0.0},
        {"normalization": "group"},
        {"normalization": None},
        {"upsampling": "bilinear"},
        {"filters": (2, 2, 2, 2)},
        {"kernel_regularizer": "l2"},
        {"input_shape": (None, None, 2)},
        {"input_shape": (45, 70, 2)},
        {"deep_supervision": True, **SMALL},
    ],
)
def test_every_option_builds_trains_and_serialises(settings, tmp_path):
    settings = {"input_shape": (32, 64, 2), "filters": (4, 8), **settings}
    model = UNetPP(**settings)
    shape = [side or 64 for side in settings["input_shape"][:2]]
    images = np.random.default_rng(0).normal(size=(2, *shape, 2)).astype(np.float32)
    masks = np.random.default_rng(1).integers(0, max(2, settings.get("num_classes", 3)), (2, *shape))
    model.compile(run_eagerly=EAGER)
    history = model.fit(images, masks, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert {"dice", "iou"} < set(history)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    for a, b in zip(outputs_of(model, images), outputs_of(again, images), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
        assert a.shape[:3] == images.shape[:3]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow traces a graph")
def test_each_optimiser_s_first_step_is_traced_once():
    traced = []

    class Counted(UNetPP):
        def train_step(self, data):
            traced.append(data)
            return super().train_step(data)

    model, images, masks = (
        Counted((32, 32, 3), filters=(2, 4)),
        fixed_images()[:, :, :32],
        np.zeros((2, 32, 32)),
    )
    for optimizer in (None, "sgd"):
        model.compile(optimizer)
        model.fit(images, masks, verbose=0)
    assert len(traced) == 2


def test_numpy_counts_as_python_does():
    masks = np.array([[0, 2]], np.uint8)
    model = UNetPP(
        (32, 32, 3), num_classes=masks.max() + 1, filters=np.array([4, 8]), dropout=np.float32(0.5)
    )
    again = json.loads(json.dumps(model.get_config()))
    assert (again["num_classes"], again["filters"], again["dropout"]) == (3, [4, 8], 0.5)
    assert model.output_shape == (None, 32, 32, 3)


@pytest.mark.parametrize("network", [UNetPP, UNet])
def test_a_built_in_activation_is_saved_by_its_name(network):
    model = network((32, 32, 3), filters=(2, 4), activation=keras.activations.relu)
    assert json.loads(json.dumps(model.get_config()))["activation"] == "relu"
    assert (
        network((32, 32, 3), filters=(2, 4), activation=keras.activations.swish).get_config()["activation"]
        == "silu"
    )


def test_what_does_not_learn_is_saved_with_the_optimiser_and_the_precision(tmp_path):
    with policy("mixed_bfloat16"):
        model = UNetPP((32, 32, 3), **SMALL)
    model.get_layer("x_0_0_conv_a").trainable = False
    model.compile(jit_compile=False, run_eagerly=EAGER)
    images, masks = fixed_images()[:2, :32, :32], np.zeros((2, 32, 32), int)
    model.fit(images, masks, verbose=0)
    model.save(tmp_path / "model.keras")
    with policy("float32"):
        again = keras.saving.load_model(tmp_path / "model.keras")
    assert not again.get_layer("x_0_0_conv_a").trainable
    assert again.get_layer("x_0_0_conv_b").trainable
    assert again.get_layer("x_0_0_conv_a").compute_dtype == "bfloat16"
    assert int(again.optimizer.iterations) == 1
    before = np.array(again.get_layer("x_0_0_conv_a").kernel)
    again.fit(images, masks, verbose=0)
    np.testing.assert_array_equal(again.get_layer("x_0_0_conv_a").kernel, before)
    UNetPP((32, 32, 3), **SMALL).save(tmp_path / "plain.keras")
    with policy("mixed_bfloat16"):
        assert keras.saving.load_model(tmp_path / "plain.keras").compute_dtype == "float32"


def outputs_of(model, images):
    """What each head gives, without the seconds that `predict` traces."""
    outputs = model(images)
    return [ops.convert_to_numpy(output) for output in (outputs if isinstance(outputs, list) else [outputs])]


def test_pruned_levels_share_weights_with_the_whole():
    model = UNetPP((32, 32, 3), **SMALL, deep_supervision=True)
    images = fixed_images()[:, :32, :32]
    heads = model.predict(images, verbose=0)
    for level in (1, 2):
        pruned = model.pruned(level)
        np.testing.assert_allclose(pruned.predict(images, verbose=0), heads[level - 1], atol=1e-6)
    assert model.pruned(1).count_params() < model.pruned(2).count_params() < model.count_params()
    assert model.pruned(1).get_layer("x_0_0_conv_a") is model.get_layer("x_0_0_conv_a")


def test_a_level_without_a_head_is_refused():
    with pytest.raises(SettingError, match="level 1 has no head"):
        UNetPP((32, 32, 3), **SMALL).pruned(1)


def test_probabilities_sum_to_one_in_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = UNetPP((32, 32, 3), **SMALL)
    finally:
        keras.config.set_dtype_policy("float32")
    found = np.asarray(model.predict(fixed_images()[:, :32, :32], verbose=0))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"filters": (4,)}, "filters"),
        ({"filters": (4,) * 7}, "filters"),
        ({"filters": (4, 0, 4)}, "filters"),
        ({"num_classes": 0}, "num_classes"),
        ({"input_shape": (32, 32)}, "input_shape"),
        ({"inner_filters": "wide"}, "inner_filters"),
        ({"activation": lambda x: x}, "activation"),
        ({"activation": keras.activations.leaky_relu}, "slope 0.01"),
        ({"activation": keras.layers.ReLU()}, "activation"),
        ({"activation": "rellu"}, "activation"),
        ({"dropout": 1.0}, "dropout"),
        ({"normalization": "layer"}, "normalization"),
        ({"upsampling": "nearest"}, "upsampling"),
        ({"input_shape": (3, 32, 3)}, "too small"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, named):
    with pytest.raises(SettingError, match=named):
        UNetPP(**{"input_shape": (32, 32, 3), **SMALL, **settings})


def test_the_default_compile_weighs_by_class_index():
    model = UNetPP((32, 32, 3), **SMALL)
    model.compile()
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(5e-4)
    images = fixed_images()[:1, :32, :32]
    p = np.asarray(model.predict(images, verbose=0), np.float64)
    y = np.random.default_rng(3).integers(0, 3, (1, 32, 32))
    weights, hot = np.array([1.0, 50.0, 70.0]), np.eye(3)[y]
    pixel_weights = hot @ weights
    crossentropy = -(pixel_weights * np.log((hot * p).sum(-1))).sum() / pixel_weights.sum()
    tp, total_p, total_y = ((hot * p).sum((0, 1, 2)), p.sum((0, 1, 2)), hot.sum((0, 1, 2)))
    iou = (tp + 1) / (total_p + total_y - tp + 1)
    dice = (2 * tp + 1) / (total_p + total_y + 1)
    expected = crossentropy - (weights * (np.log(iou) + np.log(dice))).sum() / weights.sum()
    found = model.evaluate(images, y, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(expected, rel=1e-4)
    assert set(found) == {"loss", "dice", "iou"}


def test_bilinear_upsampling_is_that_of_keras():
    images = np.random.default_rng(0).random((2, 3, 5, 2), np.float32)
    expected = keras.layers.UpSampling2D(2, interpolation="bilinear")(images)
    found = keras.ops.convert_to_numpy(Bilinear()(images))
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(expected), atol=1e-6)


def test_heads_count_as_much_as_they_are_given():
    x, y = np.random.default_rng(0).random((2, 16, 16, 3), np.float32), np.ones((2, 16, 16), np.int32)

    def loss(head_weights):
        keras.utils.set_random_seed(0)
        model = UNetPP((16, 16, 3), 3, filters=(2, 3, 4), deep_supervision=True, dropout=0)
        model.compile(loss="sparse_categorical_crossentropy", metrics=[], head_weights=head_weights)
        return model.evaluate(x, y, verbose=0)

    first, second = loss((1, 0)), loss((0, 1))
    assert first != pytest.approx(second, rel=1e-3)
    assert loss(None) == pytest.approx((first + second) / 2, rel=1e-5)
    assert loss((3, 1)) == pytest.approx((3 * first + second) / 4, rel=1e-5)
    for wrong in ((1,), (0, 0), (1, -1)):
        with pytest.raises(SettingError, match="head_weights"):
            loss(wrong)


def test_a_loss_function_of_a_single_channel_is_the_loss_of_its_name():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 16, 16, 1), np.float32), rng.integers(0, 2, (2, 16, 16))
    model = UNetPP((16, 16, 1), 1, filters=(2, 4))
    found = []
    for loss in (losses.dice, losses.Dice(), "dice"):
        model.compile(loss=loss, metrics=[])
        found.append(model.evaluate(x, y, verbose=0))
    expected = losses.dice(y, ops.convert_to_tensor(model.predict(x, verbose=0)))
    np.testing.assert_allclose(found, float(ops.mean(expected)), rtol=1e-5)


KERAS_OWN = keras.losses.SparseCategoricalCrossentropy(ignore_class=255)


@pytest.mark.parametrize(
    "ignoring",
    [
        losses.Tversky(ignore_index=255) + losses.Focal(ignore_index=255),
        KERAS_OWN,
        losses.Dice(ignore_index=255) + KERAS_OWN,
        losses.weighted_loss(KERAS_OWN, [1, 2]),
    ],
)
def test_metrics_leave_out_the_pixels_that_the_loss_ignores(ignoring):
    model = UNetPP((16, 16, 1), 2, filters=(2, 4))
    x = np.random.default_rng(0).random((1, 16, 16, 1), np.float32)
    right = outputs_of(model, x)[0].argmax(-1)
    y = np.where(np.arange(16) < 4, 255, right)
    model.compile(loss=ignoring)
    assert model.evaluate(x, y, verbose=0, return_dict=True)["iou"] == 1


@pytest.mark.parametrize(
    ("given", "saying"),
    [
        ({"loss": ["dice", "dice"]}, "head_weights"),
        ({"loss": {"head_1": "dice", "head_2": "dice"}}, "head_weights"),
        ({"loss": "dice", "loss_weights": [1, 2]}, "head_weights"),
        ({"metrics": {"head_1": "accuracy"}}, "deepest head"),
        ({"metrics": [["accuracy"], ["accuracy"]]}, "deepest head"),
        ({"weighted_metrics": [[], ["accuracy"]]}, "deepest head"),
    ],
)
def test_what_keras_takes_by_head_is_refused(given, saying):
    model = UNetPP((16, 16, 1), 2, filters=(2, 4, 4), deep_supervision=True)
    with pytest.raises(SettingError, match=saying):
        model.compile(**given)


@pytest.mark.parametrize("step", ["fit", "evaluate"])
@pytest.mark.parametrize("deep", [True, False])
def test_masks_by_head_are_refused(deep, step):
    model = UNetPP((16, 16, 1), 2, filters=(2, 4), deep_supervision=deep)
    # Graphs are made of what evaluates alone: they take longer where there are gradients.
    model.compile(run_eagerly=step == "fit")
    x, y = np.zeros((1, 16, 16, 1), np.float32), np.zeros((1, 16, 16), np.int32)
    for given in ([y, y], (y, y), {"head_1": y, "head_2": y}):
        with pytest.raises(SettingError, match=r"the same masks, and y has 2"):
            getattr(model, step)(x, given, verbose=0)
    # What was refused leaves nothing behind.
    getattr(model, step)(x, y, verbose=0)


@pytest.mark.parametrize("given", ["accuracy", metrics.IoU(2)])
def test_metrics_that_are_no_list_are_refused_by_keras(given):
    with pytest.raises(ValueError, match="list, tuple, or dict"):
        UNetPP((16, 16, 1), 2, filters=(2, 4)).compile(metrics=given)


def test_a_network_for_any_size_says_which_sizes_fit():
    model = UNetPP((None, 16, 1), 2, filters=(2, 4, 4))
    assert model(np.zeros((1, 20, 16, 1), np.float32)).shape == (1, 20, 16, 2)
    with pytest.raises(SettingError, match=r"18 x 16 pixels .* multiples of 4"):
        model(np.zeros((1, 18, 16, 1), np.float32))


def test_weights_of_a_network_with_other_heads_are_refused(tmp_path):
    settings = {"input_shape": (16, 16, 1), "num_classes": 2, "filters": (2, 4, 4)}
    deep, plain = UNetPP(**settings, deep_supervision=True), UNetPP(**settings)
    deep.save_weights(tmp_path / "deep.weights.h5")
    with pytest.raises(SettingError, match=r"deep\.weights\.h5: these are weights of .* layers"):
        plain.load_weights(tmp_path / "deep.weights.h5")
    again = UNetPP(**settings, deep_supervision=True)
    again.load_weights(tmp_path / "deep.weights.h5")
    image = np.random.default_rng(0).random((1, 16, 16, 1), np.float32)
    np.testing.assert_allclose(outputs_of(again.pruned(2), image)[0], outputs_of(deep, image)[1], atol=1e-6)


def test_a_clone_of_a_compiled_network_gives_the_same_with_its_weights():
    model = UNetPP((16, 16, 1), 2, filters=(2, 4))
    model.compile()
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    image = np.random.default_rng(0).random((1, 16, 16, 1), np.float32)
    np.testing.assert_allclose(outputs_of(clone, image)[0], outputs_of(model, image)[0], atol=1e-6)


def test_a_clone_weighs_its_heads_as_the_network_does():
    model = UNetPP((16, 16, 1), 2, filters=(2, 2, 2), dropout=0.0, deep_supervision=True)
    model.compile("sgd", "dice", metrics=[], head_weights=(1, 3))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x, y = np.random.default_rng(0).random((2, 16, 16, 1), np.float32), np.ones((2, 16, 16), int)
    # Of a plain model Keras wants a truth for each head, and tells the loss of each.
    expected = model.evaluate(x, y, verbose=0)
    assert clone.evaluate(x, [y, y], verbose=0)[0] == pytest.approx(expected, rel=1e-5)


def test_a_weight_a_pixel_is_refused_and_one_an_image_counts():
    model = UNetPP((16, 16, 1), 2, filters=(2, 4))
    model.compile(loss="dice", metrics=[])
    x, y = np.random.default_rng(0).random((2, 16, 16, 1), np.float32), np.zeros((2, 16, 16), int)
    y[1] = 1
    each = [model.evaluate(x[k : k + 1], y[k : k + 1], verbose=0) for k in range(2)]
    both = model.evaluate(x, y, sample_weight=np.array([1.0, 3.0]), verbose=0)
    np.testing.assert_allclose(both, (each[0] + 3 * each[1]) / 2, rtol=1e-5)
    # TensorFlow knows of the shape within the step alone.
    with pytest.raises(Exception, match=r"ignore_index|reshape"):
        model.evaluate(x, y, sample_weight=np.ones((2, 16, 16)), verbose=0)
    predicted = ops.full((2, 16, 16, 2), 0.5)
    with pytest.raises(SettingError, match="ignore_index"):
        model.compute_loss(x, ops.convert_to_tensor(y), predicted, ops.ones((2, 16, 16)))


def test_what_is_not_compiled_on_tensorflow_is_where_another_backend_loads_it(tmp_path):
    model = UNetPP((16, 16, 1), 2, filters=(2, 4))
    model.compile("sgd")
    assert model.jit_compile == (keras.backend.backend() == "jax")
    assert model.get_compile_config()["jit_compile"] in ("auto", True)
    model.save(tmp_path / "a.keras")
    assert keras.models.load_model(tmp_path / "a.keras").jit_compile == model.jit_compile
