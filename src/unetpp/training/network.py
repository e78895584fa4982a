"""The compiled network of a plan."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from unetpp.bundle import load_model
from unetpp.model import losses
from unetpp.model.recompute import recomputing
from unetpp.model.unet import UNet
from unetpp.model.unetpp import UNetPP
from unetpp.training.plan import Plan


def build(plan: Plan) -> UNetPP:
    """The compiled network of a plan, with the weights of the model that it starts from."""
    options = plan.options
    network: Any = {"UNetPP": UNetPP, "UNet": UNet}[options.network]
    settings: dict[str, Any] = {"filters": options.filters, "deep_supervision": options.deep_supervision}
    former: Any = None
    if options.inner_filters == "level":
        settings["inner_filters"] = "level"
    if options.start:
        bundle, former = load_model(Path(options.start))
        settings = {k: v for k, v in bundle.settings.items() if k not in ("input_shape", "num_classes")}
    network = recomputing(network) if options.low_memory else network
    model = network((None, None, len(plan.normalization.mean)), len(plan.classes), **settings)
    if former:
        heads_too = bundle.classes == plan.classes
        copy_weights(former, model, skip="" if heads_too else "head_")
    # Without decay, AdamW is Adam.
    optimizer = keras.optimizers.AdamW(
        options.learning_rate,
        weight_decay=options.weight_decay,
        clipnorm=1.0,
        gradient_accumulation_steps=options.accumulate if options.accumulate > 1 else None,
    )
    loss = losses.get(options.loss, class_weights=plan.class_weights)
    model.compile(optimizer, loss=loss, metrics=[], head_weights=options.head_weights)
    # Within the first step, TensorFlow would trace the making of each variable: seconds, more the deeper the network.
    optimizer.build(model.trainable_variables)
    return model


def copy_weights(source, model, *, skip: str = "") -> None:
    """Give a model's layers the weights of another's of the same names, but for names that begin with `skip`."""
    names = {layer.name for layer in source.layers}
    for layer in model.layers:
        if layer.weights and layer.name in names and not (skip and layer.name.startswith(skip)):
            layer.set_weights(source.get_layer(layer.name).get_weights())


@contextmanager
def precision(name: str):
    """Keras' dtype policy within; "auto" is bfloat16 where the processor has it, else float32."""
    if name == "auto":
        info = Path("/proc/cpuinfo")
        flags = info.read_text(encoding="utf-8") if info.is_file() else ""
        name = "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)
