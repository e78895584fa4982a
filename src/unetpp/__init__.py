"""The nested U-Net (UNet++) in Keras 3: a folder of images and masks in, a model and labels out."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unetpp.app.training import train as train
    from unetpp.bundle import Bundle as Bundle
    from unetpp.bundle import load_model as load_model
    from unetpp.bundle import save_bundle as save_bundle
    from unetpp.errors import UnetppError as UnetppError
    from unetpp.inference.predict import Predictor as Predictor
    from unetpp.inference.predict import open_predictor as open_predictor
    from unetpp.model import losses as losses
    from unetpp.model import metrics as metrics
    from unetpp.model.losses import weighted_loss as weighted_loss
    from unetpp.model.unet import UNet as UNet
    from unetpp.model.unetpp import UNetPP as UNetPP

__version__ = "0.1.0"

# OpenVINO and NNCF tell a server on the internet that they are used, unless they do not find this module.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

# Public names, imported when they are first asked for: `import unetpp` loads no Keras.
_HOMES = {
    "UNetPP": "unetpp.model.unetpp",
    "UNet": "unetpp.model.unet",
    "losses": "unetpp.model",
    "metrics": "unetpp.model",
    "weighted_loss": "unetpp.model.losses",
    "train": "unetpp.app.training",
    "Bundle": "unetpp.bundle",
    "load_model": "unetpp.bundle",
    "save_bundle": "unetpp.bundle",
    "Predictor": "unetpp.inference.predict",
    "open_predictor": "unetpp.inference.predict",
    "UnetppError": "unetpp.errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(_HOMES[name])
    return import_module(f"{home.__name__}.{name}") if name in ("losses", "metrics") else getattr(home, name)


def __dir__():
    return __all__
