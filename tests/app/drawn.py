"""Drawn objects, and what is read of their tables."""

import csv

import numpy as np
import pytest
import tifffile
from skimage.draw import disk

CLASSES = "background,cell,rod"


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def drawn_objects():
    """Two discs that touch, a rod, and a disc at the border."""
    labels = np.zeros((80, 120), np.uint8)
    for centre in ((30, 30), (30, 55), (79, 100)):
        labels[disk(centre, 14, shape=labels.shape)] = 1
    labels[60:64, 10:60] = 2
    return labels


def write_probabilities(path, channels=3, shape=(80, 120)):
    """Where two discs that overlap dip in the middle: (channels, H, W) float16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    planes = np.full((channels, *shape), 0.01, np.float16)
    planes[-2 if channels > 2 else -1] = np.where(np.abs(np.arange(shape[1]) - 42) < 3, 0.5, 0.95)
    tifffile.imwrite(path, planes, photometric="minisblack", compression="zlib")


def write_zarr(path, pixels):
    zarr = pytest.importorskip("zarr", reason="the extra [formats] is not installed")
    zarr.open_array(path, mode="w", shape=pixels.shape, dtype=pixels.dtype)[:] = pixels
