"""A run that starts from a model."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from runs import OPTIONS, Watcher, planned, same

from unetpp import UNetPP
from unetpp.bundle import Bundle, read_bundle, save_bundle
from unetpp.data.dataset import find_samples
from unetpp.data.images import read_image, write_png
from unetpp.data.masks import read_mask
from unetpp.data.normalization import Normalization
from unetpp.data.synthetic import CLASSES, write_dataset
from unetpp.errors import DatasetError, ImageError, SettingError
from unetpp.inference.predict import open_predictor
from unetpp.training import fit
from unetpp.training.options import Options
from unetpp.training.plan import make_plan
from unetpp.training.planfile import load_plan, save_plan
from unetpp.training.schedule import Budget
from unetpp.training.table import rows

pytestmark = pytest.mark.usefixtures("no_graph")


OBJECTS = {"split": ["blood_cell"], "smallest": 9}


def model_of(folder, *, channels=3, classes=CLASSES, level=None, bits=None, **settings):
    """A bundle of a network that learnt nothing."""
    model = UNetPP((None, None, channels), len(classes), **{"filters": (4, 8), **settings})
    settings = {name: value for name, value in model.get_config().items() if name != "name"}
    scale = Normalization((0.3,) * channels, (0.2,) * channels, bits=bits)
    model = model.pruned(level) if level else model
    save_bundle(
        folder, Bundle("UNetPP", settings, tuple(classes), scale, level=level, objects=OBJECTS), model
    )
    return model


def begun(plan):
    """The network that a run of a plan begins with."""
    model = fit.build(plan)
    fit.take_start_weights(model, plan)
    return model


def test_fine_tuning_starts_where_the_other_model_ended(samples, tmp_path):
    former = model_of(tmp_path / "first" / "model", activation="relu")
    options = {"start": str(tmp_path / "first"), "learning_rate": 0.0}
    again = planned(samples, tmp_path / "second", **options)
    assert again.options.learning_rate < OPTIONS["learning_rate"]
    assert again.normalization.mean == (0.3, 0.3, 0.3)
    assert "gentle" in again.reasons["learning rate"]
    model = begun(again)
    assert model.get_config()["activation"] == "relu"
    assert same(former.get_weights(), model.get_weights())
    fit.train(again, tmp_path / "second", Budget(), report=Watcher())
    origin = read_bundle(tmp_path / "second").origin
    assert origin["options"]["start"] == "first/model"
    # It goes on when the other model is gone, and so does a run whose plan has not the other model's settings.
    content = json.loads((tmp_path / "second" / "plan.json").read_text())
    del content["settings"]
    plan = load_plan(tmp_path / "second")
    (tmp_path / "second" / "plan.json").write_text(json.dumps(content))
    assert load_plan(tmp_path / "second") == plan
    save_plan(plan, tmp_path / "second")
    shutil.rmtree(tmp_path / "first")
    plan = load_plan(tmp_path / "second")
    plan = replace(plan, options=replace(plan.options, epochs=4))
    watcher = Watcher()
    fit.train(plan, tmp_path / "second", Budget(), report=watcher, resume=True)
    assert [row["epoch"] for row in watcher.rows] == [4]
    # What its objects are was said of the other.
    assert read_bundle(tmp_path / "second").objects == OBJECTS


def test_fine_tuning_on_other_classes_makes_the_head_anew(samples, tmp_path):
    former = model_of(tmp_path / "first")
    again = make_plan(samples, Options(start=str(tmp_path / "first")), ("soil", "cells", "rods"))
    assert "made anew" in again.reasons["classes"]
    assert again.objects == {}
    model = begun(again)
    for layer in model.layers:
        equal = same(layer.get_weights(), former.get_layer(layer.name).get_weights())
        assert equal or layer.name.startswith("head_")
    assert not same(model.get_layer("head_1").get_weights(), former.get_layer("head_1").get_weights())


def test_a_model_to_start_from_decides_depth_and_widths(samples, tmp_path):
    settings = {"filters": (4, 6, 8), "deep_supervision": True, "inner_filters": "level"}
    model_of(tmp_path / "first", **settings)
    given = {"start": str(tmp_path / "first"), "head_weights": (1.0, 2.0), "patch": 36}
    plan = make_plan(samples, Options(**given), CLASSES)
    assert {name: getattr(plan.options, name) for name in settings} == settings
    assert "level" in fit.build(plan).get_config().values()
    for wrong in ({"head_weights": (1.0,) * 4}, {"patch": 34}):
        with pytest.raises(SettingError, match="cannot be"):
            make_plan(samples, Options(**{**given, **wrong}), CLASSES)


@pytest.mark.parametrize("low_memory", [False, True])
def test_dropout_may_be_other_than_that_of_the_model_to_start_from(low_memory, samples, tmp_path):
    former = model_of(tmp_path / "first", dropout=0.3)
    start = {"start": str(tmp_path / "first"), "low_memory": low_memory}
    for given, dropout in ((None, 0.3), (0.0, 0.0), (0.1, 0.1)):
        plan = make_plan(samples, Options(**start, dropout=given), CLASSES)
        model = begun(plan)
        assert model.get_config()["dropout"] == dropout
        assert all(same(a, b) for a, b in zip(model.get_weights(), former.get_weights(), strict=True))
        shown = {name: value for name, value, _ in rows(plan)}["network"]
        assert shown.endswith(f", dropout {dropout:g}") == (given is not None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "UNet"),
        ("filters", (9, 9)),
        ("deep_supervision", True),
        ("long_side", 96),
        ("normalization", "image"),
    ],
)
def test_what_the_model_to_start_from_decides_cannot_be_given_otherwise(name, value, samples, tmp_path):
    model_of(tmp_path / "first")
    start = {"start": str(tmp_path / "first")}
    with pytest.raises(SettingError, match=f"--{name.replace('_', '-')} is .* in the model to start from"):
        make_plan(samples, Options(**start, **{name: value}), CLASSES)
    same = {"long_side": 0, "normalization": "dataset"}
    assert make_plan(samples, Options(**start, **same), CLASSES).options.long_side == 0


def test_what_the_model_to_start_from_was_trained_on_is_not_held_out(samples, tmp_path):
    model_of(tmp_path / "first" / "model")
    first = planned(samples[:4], tmp_path / "first")
    learnt, held = ({sample.stem for sample in side} for side in (first.train, first.validation))
    start = str(tmp_path / "first")
    for seed in range(4):
        again = make_plan(samples, Options(start=start, seed=seed), CLASSES)
        assert held <= {sample.stem for sample in again.validation}
        assert not learnt & {sample.stem for sample in again.validation}
        assert f"none of the {len(learnt)} held out" in again.reasons["images"]
    # Nor is it by a run that starts from one that started from it.
    model_of(tmp_path / "second" / "model")
    planned(samples[4:], tmp_path / "second", start=start, filters=(4, 8))
    third = make_plan(samples, Options(start=str(tmp_path / "second")), CLASSES)
    assert not learnt & {sample.stem for sample in third.validation}
    with pytest.raises(DatasetError, match=f"{len(learnt)} images would be held out"):
        make_plan(samples, Options(start=start, folds=2), CLASSES)
    (tmp_path / "names.txt").write_text(min(learnt))
    with pytest.raises(DatasetError, match="1 images would be held out"):
        make_plan(samples, Options(start=start, validation=str(tmp_path / "names.txt")), CLASSES)
    # A copy elsewhere knows nothing of it.
    shutil.copytree(tmp_path / "first" / "model", tmp_path / "copy")
    assert make_plan(samples, Options(start=str(tmp_path / "copy"), folds=2), CLASSES)
    (tmp_path / "first" / "split.json").write_text("{")
    with pytest.raises(SettingError, match="cannot be read"):
        make_plan(samples, Options(start=start), CLASSES)
    # Beside a model that is in no run it is somebody else's.
    (tmp_path / "first" / "plan.json").unlink()
    assert make_plan(samples, Options(start=start), CLASSES)


def test_what_it_was_trained_on_is_known_by_name_where_all_images_have_moved(samples, tmp_path):
    model_of(tmp_path / "first" / "model")
    learnt = {sample.stem for sample in planned(samples[:4], tmp_path / "first").train}
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    options = Options(start=str(tmp_path / "first"))
    for seed in range(4):
        again = make_plan(find_samples(tmp_path / "elsewhere"), replace(options, seed=seed), CLASSES)
        assert not learnt & {sample.stem for sample in again.validation}
        assert f"none of the {len(learnt)} held out" in again.reasons["images"]
        assert "by their names" in again.reasons["images"]
    with pytest.raises(DatasetError, match=rf"{len(learnt)} images would be held out .* by their names"):
        make_plan(find_samples(tmp_path / "elsewhere"), replace(options, folds=2), CLASSES)
    # If only some have gone, others of the same names are others.
    (tmp_path / "data" / "images").mkdir(parents=True)
    shutil.copy(
        next((tmp_path / "elsewhere" / "images").glob(f"{min(learnt)}.*")), tmp_path / "data" / "images"
    )
    assert make_plan(find_samples(tmp_path / "elsewhere"), replace(options, folds=2), CLASSES)


def test_a_model_that_is_cut_off_is_no_start(samples, tmp_path):
    model_of(tmp_path / "first", filters=(4, 6, 8), deep_supervision=True, level=1)
    with pytest.raises(SettingError, match="cut off at level 1"):
        make_plan(samples, Options(start=str(tmp_path / "first")), CLASSES)


def test_grey_images_are_repeated_for_a_model_of_colours_and_the_plan_says_so(tmp_path):
    write_dataset(tmp_path / "data", 4, size=(64, 64), seed=5)
    for path in (tmp_path / "data" / "images").iterdir():
        write_png(path, read_image(path)[..., 0])
    model_of(tmp_path / "first")
    plan = make_plan(find_samples(tmp_path / "data"), Options(start=str(tmp_path / "first")), CLASSES)
    told = {name: (value, why) for name, value, why in rows(plan)}
    assert told["channels"][0] == "3"
    assert "grey images are repeated" in told["channels"][1]


def test_images_that_the_model_to_start_from_would_refuse_to_predict_are_refused(samples, tmp_path):
    model_of(tmp_path / "first", bits=8)
    _, predictor = open_predictor(tmp_path / "first", engine="keras")
    options = Options(start=str(tmp_path / "first"))
    assert make_plan(samples, options, CLASSES).normalization == predictor.normalization
    dim = read_image(samples[3].image).astype(np.uint16) * 16
    samples[3] = replace(samples[3], image=tmp_path / "dim.tif")
    tifffile.imwrite(samples[3].image, dim)
    with pytest.raises(ImageError, match="the model has learnt from 8 bits"):
        predictor(dim)
    with pytest.raises(
        ImageError, match=r"the model has learnt from 8 bits.*train without --from"
    ) as refused:
        make_plan(samples, options, CLASSES)
    assert refused.value.where == samples[3].image


def test_masks_of_the_former_values_keep_the_former_classes(samples, tmp_path):
    model_of(tmp_path / "first" / "model")
    options = Options(**{**OPTIONS, "epochs": 1, "start": str(tmp_path / "first")})
    plan = make_plan(samples, options)
    assert plan.classes == CLASSES
    assert "as the model to start from" in plan.reasons["classes"]
    # What shows fewer is not taken for another task.
    for sample in samples:
        mask = read_mask(sample.mask, 3)
        write_png(sample.mask, np.where(mask == 2, 0, mask).astype(np.uint8))
    with pytest.raises(DatasetError, match=f"no image shows the class {CLASSES[2]}"):
        make_plan(samples, options)
    assert make_plan(samples, options, CLASSES[:2]).classes == CLASSES[:2]
