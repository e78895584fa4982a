"""Predictions and their truth, one by one."""

import numpy as np
import tifffile

from unetpp.data.dataset import Sample, find_samples
from unetpp.data.images import write_png
from unetpp.inference.evaluate import predictions
from unetpp.inference.predict import to_labels


def test_what_is_scored_is_what_would_be_written(tmp_path):
    write_png(tmp_path / "image.png", np.zeros((4, 6), np.uint8))
    write_png(tmp_path / "mask.png", np.ones((4, 6), np.uint8))
    foreground = np.full((4, 6, 1), 0.5, np.float32)
    sample = Sample("image", tmp_path / "image.png", tmp_path / "mask.png")
    [found] = predictions(lambda image: foreground, [sample], ("background", "cell"))
    np.testing.assert_array_equal(found.labels, to_labels(foreground))
    np.testing.assert_array_equal(found.probabilities[..., 1], 0.5)


def test_images_masks_and_objects_may_all_be_ome_tiffs(tmp_path):
    numbers = np.zeros((4, 6), np.uint16)
    numbers[1:3, 1:3], numbers[1:3, 4:] = 7, 9
    for kind, pixels in {"images": numbers, "masks": numbers > 0, "instances": numbers}.items():
        (tmp_path / kind).mkdir()
        tifffile.imwrite(
            tmp_path / kind / "a.ome.tif", pixels.astype(pixels.dtype if kind != "masks" else np.uint8)
        )
    [sample] = find_samples(tmp_path, instances=tmp_path / "instances")
    chances = np.zeros((4, 6, 2), np.float32)
    [found] = predictions(lambda image: chances, [sample], ("background", "cell"))
    np.testing.assert_array_equal(found.instances, np.searchsorted([0, 7, 9], numbers))
