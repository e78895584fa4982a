"""What a network is compiled by: its loss, its metrics, and how much each head counts."""

import keras

from unetpp.errors import SettingError
from unetpp.model import losses, metrics
from unetpp.model.weights import resolve_class_weights

CLASS_WEIGHTS = (1.0, 50.0, 70.0)


def head_shares(head_weights, heads):
    """Each head's share of the loss, by weights of which only the ratios matter; all alike for None.

    Raises:
        SettingError: for weights that cannot be meant.
    """
    weights = [1.0] * heads if head_weights is None else list(head_weights)
    if len(weights) != heads or min(weights) < 0 or not sum(weights):
        raise SettingError(
            f"head_weights cannot be {head_weights!r}", mend=f"give {heads} numbers from 0 on, not all 0"
        )
    return tuple(weight / sum(weights) for weight in weights)


def check_shared(loss, loss_weights, *measured):
    """Refuse what Keras takes one a head: all heads learn by one loss, and metrics are of the deepest.

    Raises:
        SettingError: for lists or dictionaries of losses, and of metrics by head.
    """
    for given in (loss, loss_weights):
        if isinstance(given, (list, tuple, dict)):
            raise SettingError(
                f"all heads learn by one loss, not by {given!r}",
                mend="give one, and head_weights to weigh heads",
            )
    for given in measured:
        # What is no list, Keras refuses.
        each = given if isinstance(given, (list, tuple)) else ()
        if isinstance(given, dict) or any(isinstance(metric, (list, tuple, dict)) for metric in each):
            raise SettingError(
                f"metrics are of the deepest head, not by head as {given!r}",
                mend="give a list of metrics; those of other heads are those of unet.pruned(level)",
            )


def check_truth(y):
    """Refuse masks one a head: all heads learn by the same.

    Raises:
        SettingError: for a list, tuple or dictionary of several.
    """
    if isinstance(y, (list, tuple, dict)) and len(y) > 1:
        raise SettingError(
            f"all heads learn by the same masks, and y has {len(y)}", mend="give y as one array, (B, H, W)"
        )


def find_loss(loss, num_classes, class_weights):
    """The loss to compile by: of this package or of Keras, or for None the default.

    Raises:
        SettingError: for an unknown name, and class weights beside a loss.
    """
    if loss is not None and class_weights is not None:
        raise SettingError(
            "class_weights weigh the default loss alone",
            mend="give loss=unetpp.losses.get(NAME, class_weights=...) instead",
        )
    if loss is not None:
        # A function of ours, too: Keras' wrapper would take a single channel for none.
        return named_loss(loss) if isinstance(loss, str) else losses.get(loss)
    if class_weights is None and num_classes == len(CLASS_WEIGHTS):
        class_weights = CLASS_WEIGHTS
    if not isinstance(class_weights, str):
        class_weights = resolve_class_weights(class_weights, max(2, num_classes))
    return losses.get("crossentropy + log_iou + log_dice", class_weights=class_weights)


def named_loss(name):
    """A loss of this package by its name, else of Keras by its name."""
    try:
        return losses.get(name)
    except SettingError:
        try:
            return keras.losses.get(name)
        except ValueError:
            pass
        raise


def default_metrics(num_classes, ignore_index=None):
    """Mean Dice and IoU over the classes, of the pixels that count."""
    kinds = {"dice": metrics.Dice, "iou": metrics.IoU}
    return [kind(num_classes, name=name, ignore_index=ignore_index) for name, kind in kinds.items()]
