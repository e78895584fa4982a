"""UNet: the blocks of UNet++ without the nest, for comparison."""

import keras

from unetpp.errors import SettingError
from unetpp.model.unetpp import UNetPP


@keras.saving.register_keras_serializable(package="unetpp")
class UNet(UNetPP):
    """The U-Net: the grid of `UNetPP` with its encoder and outermost nodes alone.

    X[i, j] = block(concat(up(X[i+1, j-1]), X[i, 0])) at j = depth - 1 - i.

    Takes the arguments of `UNetPP`; `inner_filters` has no effect, and `deep_supervision` is refused,
    since only X[0, depth - 1] lies at full resolution.

    Example:
        >>> UNet((64, 64, 1), num_classes=1, filters=(4, 8, 16)).output_shape
        (None, 64, 64, 1)

    Source: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015.
    """

    def __init__(self, input_shape=(512, 512, 3), num_classes=3, *, deep_supervision=False, **settings):
        if deep_supervision:
            raise SettingError("UNet has no inner heads to supervise", mend="use UNetPP, or leave it off")
        super().__init__(input_shape, num_classes, **settings)

    @staticmethod
    def nodes(depth):
        """The outermost node of each level, deepest first."""
        return [(i, depth - 1 - i) for i in reversed(range(depth - 1))]
