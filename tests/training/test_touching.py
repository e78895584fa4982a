"""Runs that learn where objects touch."""

import json
import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from runs import Watcher, planned, same
from test_fine_tuning import begun, model_of

from unetpp.bundle import DESCRIPTION, load_model, read_bundle, save_bundle
from unetpp.data.dataset import find_samples
from unetpp.data.masks import read_mask
from unetpp.data.normalization import Normalization
from unetpp.data.resample import Scaling
from unetpp.data.synthetic import CLASSES, write_dataset
from unetpp.errors import DatasetError, ImageError, MaskError, SettingError
from unetpp.inference.predict import open_predictor
from unetpp.training import fit
from unetpp.training.options import Options
from unetpp.training.patches import load_picture
from unetpp.training.plan import make_plan
from unetpp.training.planfile import load_plan
from unetpp.training.schedule import Budget
from unetpp.training.table import rows

AS_IT_IS = {
    "normalization": Normalization((0.0,) * 3, (1.0,) * 3),
    "num_classes": len(CLASSES),
    "scaling": Scaling(),
}

pytestmark = pytest.mark.usefixtures("no_graph")


@pytest.fixture
def numbered(tmp_path):
    """Drawn images whose cells are cut in halves, numbered apart, so that they touch."""
    write_dataset(tmp_path / "data", 6, size=(64, 64), seed=5)
    (tmp_path / "data" / "instances").mkdir()
    for path in (tmp_path / "data" / "masks").iterdir():
        numbers = (read_mask(path, len(CLASSES)) == 1) * (1 + np.arange(64) // 8).astype(np.uint16)
        Image.fromarray(numbers.astype(np.uint16)).save(tmp_path / "data" / "instances" / path.name)
    return find_samples(tmp_path / "data", instances=tmp_path / "data" / "instances")


def test_a_run_learns_seams_and_its_model_gives_classes(numbered, tmp_path):
    plan = planned(numbered, tmp_path / "run", epochs=2)
    assert plan.outputs == (*CLASSES, "seam")
    assert "where objects touch" in {name: value for name, value, _ in rows(plan)}["classes"]
    assert load_plan(tmp_path / "run") == plan
    watcher = Watcher()
    fit.train(plan, tmp_path / "run", Budget(), report=watcher)
    assert set(watcher.rows[0]) >= {"iou_seam", "iou_blood_cell"}
    bundle, network = load_model(tmp_path / "run")
    assert bundle.seams
    assert bundle.classes == tuple(CLASSES)
    assert set(bundle.origin["factors"]) == {*CLASSES, "seam"}
    assert bundle.origin["factors"]["seam"] == 1
    assert network.output_shape[-1] == len(CLASSES) + 1
    _, predictor = open_predictor(tmp_path / "run", engine="keras")
    found = predictor(np.zeros((32, 32, 3), np.uint8))
    assert found.shape == (32, 32, len(CLASSES))
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def test_a_crop_shows_seams_where_numbers_meet(numbered):
    picture = load_picture(numbered[0], **AS_IT_IS)
    assert len(picture.centres) == len(CLASSES)
    cells = read_mask(numbered[0].mask, len(CLASSES)) == 1
    seam = picture.mask == len(CLASSES)
    assert seam.any()
    assert (cells[seam]).all()


def test_a_model_that_knows_no_seams_predicts_the_same_when_it_begins_to_learn_them(numbered, tmp_path):
    former = model_of(tmp_path / "first")
    again = planned(numbered, tmp_path / "second", start=str(tmp_path / "first"))
    model = begun(again)
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    before, after = (np.asarray(network.predict_on_batch(image)) for network in (former, model))
    assert after[..., -1].mean() < 0.5
    shares = after[..., :-1] / after[..., :-1].sum(-1, keepdims=True)
    np.testing.assert_allclose(shares, before, atol=1e-3)
    # And with seams on both sides, heads are taken as they are.
    bundle = read_bundle(tmp_path / "first")
    settings = {**bundle.settings, "num_classes": len(CLASSES) + 1}
    save_bundle(tmp_path / "third", replace(bundle, settings=settings, seams=True), model)
    third = planned(numbered, tmp_path / "fourth", start=str(tmp_path / "third"))
    assert same(begun(third).get_weights(), model.get_weights())
    # Without them, what it knows of the classes is kept.
    plain = planned(
        [replace(s, instances=None) for s in numbered], tmp_path / "fifth", start=third.options.start
    )
    assert same(begun(plain).get_weights(), former.get_weights())


def test_numbers_that_do_not_fit_their_mask_are_named(numbered, tmp_path):
    Image.fromarray(np.ones((8, 8), np.uint16)).save(numbered[0].instances)
    with pytest.raises(MaskError, match="has shape"):
        load_picture(numbered[0], **AS_IT_IS)
    numbered[1].instances.unlink()
    with pytest.raises(DatasetError, match="1 image without label image of objects"):
        find_samples(tmp_path / "data", instances=tmp_path / "data" / "instances")


def test_a_run_says_so_if_nothing_touches(numbered, tmp_path):
    for sample in numbered:
        Image.fromarray((read_mask(sample.mask, len(CLASSES)) == 1).astype(np.uint16)).save(sample.instances)
    watcher = Watcher()
    fit.train(planned(numbered, tmp_path / "run", epochs=1), tmp_path / "run", Budget(), report=watcher)
    assert "no two objects touch: there are no seams to learn from" in watcher.warnings


def test_what_has_no_numbers_or_another_seam_is_refused_before_training(numbered):
    with pytest.raises(SettingError, match="the plan has seams"):
        make_plan([replace(sample, instances=None) for sample in numbered], Options(seams=True), CLASSES)
    with pytest.raises(SettingError, match="a class is called seam"):
        make_plan(numbered, Options(), ("background", "seam", "bacteria"))
    Image.fromarray(np.ones((8, 8), np.uint16)).save(numbered[0].instances)
    with pytest.raises(DatasetError, match="is 8 x 8 pixels"):
        make_plan(numbered, Options(), CLASSES)


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are Unicode there")
def test_numbers_in_a_folder_whose_name_is_no_text_are_refused(numbered, tmp_path):
    folder = tmp_path / os.fsdecode(b"numbers\xff")
    (tmp_path / "data" / "instances").rename(folder)
    with pytest.raises(ImageError, match="not valid UTF-8"):
        find_samples(tmp_path / "data", instances=folder)


def test_an_older_version_refuses_a_model_with_seams(numbered, tmp_path):
    model_of(tmp_path / "plain")
    assert json.loads((tmp_path / "plain" / DESCRIPTION).read_text())["format"] == 1
    bundle, network = load_model(tmp_path / "plain")
    save_bundle(tmp_path / "seams", replace(bundle, classes=bundle.classes[:2], seams=True), network)
    assert json.loads((tmp_path / "seams" / DESCRIPTION).read_text())["format"] == 2
    assert read_bundle(tmp_path / "seams").seams
    assert read_bundle(tmp_path / "seams").format == 2
