"""`unetpp.model.unetpp` and `unetpp.model.unet` under their older name."""

from unetpp.model.unet import UNet
from unetpp.model.unetpp import UNetPP

__all__ = ["UNet", "UNetPP"]
