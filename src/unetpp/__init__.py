"""The nested U-Net (UNet++) in Keras 3: a folder of images and masks in, a model and labels out."""

from importlib import import_module

__version__ = "0.1.0"

# Public names, imported when they are first asked for: `import unetpp` loads no Keras.
_HOMES = {
    "UNetPP": "unetpp.model.unetpp",
    "UNet": "unetpp.model.unet",
    "losses": "unetpp.model",
    "metrics": "unetpp.model",
    "weighted_loss": "unetpp.model.losses",
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
