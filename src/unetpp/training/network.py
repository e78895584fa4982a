"""The compiled network of a plan."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from unetpp.bundle import load_model
from unetpp.model import losses
from unetpp.model.fast import AdamW
from unetpp.model.policy import policy
from unetpp.model.recompute import recomputing
from unetpp.model.unet import UNet
from unetpp.model.unetpp import UNetPP
from unetpp.training.options import Options
from unetpp.training.plan import Plan
from unetpp.training.steps import fastest_precision

# How much less likely a seam is than the foreground before it is learnt, as a difference of logits.
RARE = 1.0


def bare(plan: Plan) -> UNetPP:
    """The network of a plan, not compiled."""
    options = plan.options
    network: Any = {"UNetPP": UNetPP, "UNet": UNet}[options.network]
    network = recomputing(network) if options.low_memory else network
    settings = {**(plan.settings or settings_of(options))}
    if options.dropout is not None:
        settings["dropout"] = options.dropout
    return network((None, None, len(plan.normalization.mean)), len(plan.outputs), **settings)


def build(plan: Plan) -> UNetPP:
    """The network of a plan, compiled to learn."""
    options, model = plan.options, bare(plan)
    # Keras' own moves all variables at once on PyTorch, which no subclass of it does.
    kind: Any = keras.optimizers.AdamW if keras.backend.backend() == "torch" else AdamW
    # Without decay, AdamW is Adam.
    optimizer = kind(
        options.learning_rate,
        weight_decay=options.weight_decay,
        clipnorm=1.0,
        gradient_accumulation_steps=options.accumulate if options.accumulate > 1 else None,
    )
    weights = plan.class_weights
    if weights and plan.seams:
        weights = (*weights, max(weights[1:]))
    loss = losses.get(options.loss, class_weights=weights)
    model.compile(optimizer, loss=loss, metrics=[], head_weights=options.head_weights)
    # A checkpoint has its variables, too.
    optimizer.build(model.trainable_variables)
    return model


def settings_of(options: Options) -> dict[str, Any]:
    """The network's arguments that options give."""
    settings = {"filters": options.filters, "deep_supervision": options.deep_supervision}
    return settings | ({"inner_filters": "level"} if options.inner_filters == "level" else {})


def take_start_weights(model, plan: Plan) -> None:
    """Give a new network the weights of the model that its plan starts from, if any."""
    if plan.options.start:
        bundle, former = load_model(Path(plan.options.start))
        alike = bundle.classes == plan.classes
        copy_weights(former, model, skip="" if alike and bundle.seams == plan.seams else "head_")
        if alike and bundle.seams != plan.seams:
            copy_heads(former, model, len(plan.classes))


def copy_weights(source, model, *, skip: str = "") -> None:
    """Give a model's layers the weights of another's of the same names, but for names that begin with `skip`."""
    names = {layer.name for layer in source.layers}
    for layer in model.layers:
        if layer.weights and layer.name in names and not (skip and layer.name.startswith(skip)):
            layer.set_weights(source.get_layer(layer.name).get_weights())


def copy_heads(source, model, classes: int) -> None:
    """Give a model's heads those of another for the same classes, where one of both knows seams.

    A seam begins as a share of the foreground, in a direction of its own: were it that of the foreground, what lies
    below would get no gradient that tells them apart.
    """
    for layer in source.layers:
        if layer.name.startswith("head_"):
            kernel, bias = (weights[..., :classes] for weights in layer.get_weights())
            head = model.get_layer(layer.name)
            seam = head.get_weights()[0][..., classes:] + kernel[..., 1:].mean(-1, keepdims=True)
            rare = np.full(seam.shape[-1], bias[1:].mean() - RARE)
            head.set_weights([np.append(kernel, seam, -1), np.append(bias, rare)])


def precision(name: str):
    """Keras' dtype policy within; "auto" is the fastest."""
    return policy(fastest_precision() if name == "auto" else name)
