"""A plan decides what was left open, and says why."""

import json

import numpy as np
import psutil
import pytest

from unetpp.bundle import Bundle
from unetpp.data.dataset import find_samples
from unetpp.data.images import write_png
from unetpp.data.normalization import Normalization
from unetpp.data.synthetic import CLASSES, write_dataset
from unetpp.errors import SettingError
from unetpp.training import plan as planning
from unetpp.training.options import Options
from unetpp.training.plan import check_channels, make_plan, rows
from unetpp.training.planfile import read_options, write_plan


def discs(folder, sizes, radius):
    """Micrographs of discs: radius(size) pixels in an image of that size."""
    rng = np.random.default_rng(0)
    for k, size in enumerate(sizes):
        mask = np.zeros((size, size), np.uint8)
        y, x = np.indices(mask.shape)
        for row, column in rng.uniform(0.2, 0.8, (4, 2)) * size:
            mask[np.hypot(y - row, x - column) < radius(size)] = 1
        noise = rng.integers(0, 60, (size, size, 3))
        write_png(folder / "images" / f"{k}.png", (noise + 150 * mask[..., None]).astype(np.uint8))
        write_png(folder / "masks" / f"{k}.png", mask)
    return find_samples(folder)


def decided(samples, **options):
    plan = make_plan(samples, Options(**options))
    return plan.options, {name: (value, why) for name, value, why in rows(plan)}


def test_where_objects_grow_with_the_image_its_long_side_is_fixed(tmp_path):
    options, shown = decided(discs(tmp_path, (200, 400, 800, 300, 600, 700), lambda size: size / 16))
    assert options.long_side == planning.LONG_SIDE
    assert "grow with the image" in shown["size"][1]


def test_where_objects_are_alike_in_pixels_images_keep_their_size(tmp_path):
    options, shown = decided(discs(tmp_path, (200, 400, 800, 300, 600, 700), lambda size: 14))
    assert options.long_side == 0
    assert "pixels wide, however large" in shown["size"][1]


def test_images_are_not_shrunk_until_their_objects_cannot_be_seen(tmp_path):
    options, shown = decided(discs(tmp_path, (300, 450, 600, 1200, 1500), lambda size: size / 100))
    assert options.long_side == 0
    assert "only 9 pixels wide" in shown["size"][1]


def test_small_images_keep_their_size_and_crops_fit_them(tmp_path):
    write_dataset(tmp_path, 4, size=(150, 180))
    options, shown = decided(find_samples(tmp_path))
    assert (options.long_side, options.patch) == (0, 144)
    assert "as large as the images" in shown["crops"][1]


def test_a_batch_is_made_to_fit_the_memory(tmp_path, monkeypatch):
    write_dataset(tmp_path, 4, size=(256, 256))
    samples = find_samples(tmp_path)
    wide, _ = decided(samples)
    assert wide.batch == planning.BATCH
    one = planning.step_memory(Options(patch=256, batch=1))
    free = type("Memory", (), {"available": 2 * 3.5 * one})()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    options, shown = decided(samples)
    assert options.batch == 3
    assert "memory" in shown["batch"][1]


def test_every_row_has_a_value_and_what_is_given_is_kept(tmp_path):
    write_dataset(tmp_path, 4, size=(128, 128))
    given = {"long_side": 96, "patch": 64, "batch": 2, "learning_rate": 0.5, "epochs": 3, "focus": 0.25}
    options, shown = decided(find_samples(tmp_path), **given)
    assert {name: getattr(options, name) for name in given} == given
    assert all(value for value, _ in shown.values())
    assert all(shown[name][1] == "as given" for name in ("size", "crops", "batch", "learning rate", "length"))


def test_a_plan_may_be_edited_and_followed(tmp_path):
    write_dataset(tmp_path, 4, size=(64, 64))
    plan = make_plan(find_samples(tmp_path), Options(class_weights=(1.0, 2.0, 3.0)), CLASSES)
    write_plan(plan, tmp_path / "plan.json")
    assert Options(**read_options(tmp_path / "plan.json")) == plan.options
    content = json.loads((tmp_path / "plan.json").read_text())
    content["options"]["batch"] = 5
    (tmp_path / "plan.json").write_text(json.dumps(content))
    assert read_options(tmp_path / "plan.json")["batch"] == 5
    content["options"]["bacth"] = 5
    (tmp_path / "plan.json").write_text(json.dumps(content))
    with pytest.raises(SettingError, match="no option bacth"):
        read_options(tmp_path / "plan.json")
    with pytest.raises(SettingError, match="no plan"):
        read_options(tmp_path / "nowhere.json")


def test_a_fold_is_held_out(tmp_path):
    write_dataset(tmp_path, 9, size=(64, 64))
    samples = find_samples(tmp_path)
    held = [make_plan(samples, Options(folds=3, fold=k), CLASSES).validation for k in (1, 2, 3)]
    assert sorted(sample.stem for side in held for sample in side) == [sample.stem for sample in samples]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"folds": 1}, "folds"),
        ({"folds": 3, "fold": 4}, "fold"),
        ({"focus": 1.5}, "focus"),
        ({"augmentation": -1}, "augmentation"),
        ({"group_by": "("}, "group-by"),
        ({"patch": 100}, "patch"),
        ({"accumulate": 0}, "accumulate"),
        ({"weight_decay": -1}, "weight-decay"),
        ({"patience": 0}, "patience"),
        ({"head_weights": (1.0, 1.0)}, "head-weights"),
    ],
)
def test_options_that_cannot_be_are_named(options, name):
    with pytest.raises(SettingError, match=f"--{name} cannot be"):
        Options(**options)


@pytest.mark.parametrize(
    ("wanted", "have", "fits"), [(3, 3, True), (3, 1, True), (1, 3, False), (3, 4, False)]
)
def test_channels_must_fit_the_model_to_start_from(wanted, have, fits):
    normalization = Normalization((0.0,) * wanted, (1.0,) * wanted)
    start = Bundle("UNetPP", {"filters": (2, 4)}, ("a", "b"), normalization)
    if fits:
        check_channels(start, have)
    else:
        with pytest.raises(SettingError, match="channels"):
            check_channels(start, have)
