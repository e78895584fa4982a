"""`unetpp.model.losses` under its older name."""

from unetpp.model.losses import *  # noqa: F403
from unetpp.model.losses import weighted_loss

__all__ = ["weighted_loss"]
