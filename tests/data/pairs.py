"""Images and masks that tests of data sets are made of."""

import numpy as np

from unetpp.data.images import write_png


def put(folder, *names, value=0, size=(6, 8)):
    for name in names:
        write_png(folder / name, np.full(size, value, np.uint8))
