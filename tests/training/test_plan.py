"""A plan decides what was left open, and says why."""

import json
import shutil

import numpy as np
import psutil
import pytest

from unetpp.bundle import Bundle
from unetpp.data.dataset import find_samples
from unetpp.data.images import write_png
from unetpp.data.masks import read_mask
from unetpp.data.normalization import Normalization
from unetpp.data.synthetic import CLASSES, write_dataset
from unetpp.errors import DatasetError, SettingError
from unetpp.training import plan as planning
from unetpp.training import steps
from unetpp.training.network import bare
from unetpp.training.options import THREADS, Options
from unetpp.training.plan import make_plan
from unetpp.training.planfile import load_plan, read_choices, save_plan, write_plan
from unetpp.training.start import check_channels
from unetpp.training.table import _length, rows


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


@pytest.mark.parametrize(("radius", "long_side"), [(40, planning.LONG_SIDE), (8, 0)])
def test_of_images_alike_in_size_objects_decide_by_how_large_they_are(tmp_path, radius, long_side):
    samples = discs(tmp_path, (1000,) * 5, lambda size: radius)
    for some in (samples, samples[1:], samples[:-1]):
        options, shown = decided(some)
        assert options.long_side == long_side
        assert ("can still be seen" if long_side else "only 7 pixels wide") in shown["size"][1]


def test_images_that_the_memory_does_not_hold_are_refused(tmp_path, monkeypatch):
    write_dataset(tmp_path, 4, size=(64, 64))
    memory = type("Memory", (), {"available": 4 * 64 * 64 * 13 - 1})()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(DatasetError, match=r"take 0\.0 GB of memory, 0\.0 GB are free"):
        decided(find_samples(tmp_path))


def test_small_images_keep_their_size_and_crops_fit_them(tmp_path):
    write_dataset(tmp_path, 4, size=(150, 180))
    options, shown = decided(find_samples(tmp_path))
    assert (options.long_side, options.patch) == (0, 144)
    assert "as large as the images" in shown["crops"][1]


def test_every_row_says_what_and_why_and_what_is_given_is_kept(tmp_path):
    write_dataset(tmp_path, 4, size=(128, 128))
    samples = find_samples(tmp_path)
    given = {
        "network": "UNet",
        "long_side": 96,
        "normalization": "image",
        "patch": 64,
        "batch": 2,
        "focus": 0.25,
        "augmentation": 0.5,
        "loss": "dice",
        "class_weights": "balanced",
        "learning_rate": 0.5,
        "epochs": 3,
        "passes": 4,
        "devices": 2,
        "workers": 3,
        "precision": "float32",
    }
    options, shown = decided(samples, **given)
    assert {name: getattr(options, name) for name in given} == given
    _, usual = decided(samples)
    assert list(usual) == list(shown)
    for row in (usual, shown):
        assert all(value and why for value, why in row.values())
    as_given = {name for name, (_, why) in shown.items() if why == "as given"}
    assert as_given == set(shown) - {"classes", "images", "channels"}
    assert not any(why == "as given" for _, why in usual.values())
    assert usual["workers"] == (f"{THREADS} threads draw crops", usual["workers"][1])


@pytest.mark.parametrize(("images", "passes", "steps"), [(248, 2, 62), (248, 40, 1240), (3, 2, 10)])
def test_an_epoch_shows_each_image_so_often_and_is_never_too_short(images, passes, steps):
    assert Options(batch=8, passes=passes).steps(images) == steps


def edited(path, **changes):
    """A plan.json with other rows."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


def test_a_plan_may_be_edited_and_followed(tmp_path):
    write_dataset(tmp_path, 4, size=(64, 64))
    plan = make_plan(find_samples(tmp_path), Options(class_weights=(1.0, 2.0, 3.0)), CLASSES)
    path = tmp_path / "plan.json"
    write_plan(plan, path)
    options, classes = read_choices(path)
    assert Options(**options) == plan.options
    assert classes == tuple(CLASSES)
    options = json.loads(path.read_text())["options"]
    found, classes = read_choices(edited(path, options={**options, "batch": 5}, classes=["a", "b, c", "d"]))
    assert found["batch"] == 5
    assert classes == ("a", "b, c", "d")


@pytest.mark.parametrize(
    ("row", "value", "saying"),
    [
        ("options", {"bacth": 5}, "there is no option bacth"),
        ("options", {"batch": "8"}, "--batch cannot be '8'"),
        ("options", {"filters": 8}, "--filters cannot be 8"),
        ("options", {"filters": ["a", "b"]}, "--filters cannot be"),
        ("options", {"budget": True}, "--budget cannot be True"),
        ("options", {"deep_supervision": 1}, "--deep-supervision cannot be 1"),
        ("options", [1], "this is no plan"),
        ("classes", "background", "classes cannot be"),
        (
            "normalization",
            {"mean": [0], "std": [1], "per_image": False},
            "measured anew, and cannot be edited",
        ),
        ("scaling", None, "measured anew"),
        ("class_weights", [1, 2, 3], "measured anew"),
    ],
)
def test_an_edit_that_cannot_be_followed_is_refused(row, value, saying, tmp_path):
    write_dataset(tmp_path, 4, size=(64, 64))
    write_plan(make_plan(find_samples(tmp_path), Options(), CLASSES), tmp_path / "plan.json")
    with pytest.raises(SettingError, match=saying) as refusal:
        read_choices(edited(tmp_path / "plan.json", **{row: value}))
    assert refusal.value.where == tmp_path / "plan.json"


def test_a_file_that_is_no_plan_is_refused(tmp_path):
    with pytest.raises(SettingError, match="no plan"):
        read_choices(tmp_path / "nowhere.json")


def test_a_plan_says_how_long_by_one_of_budget_and_epochs(tmp_path):
    write_dataset(tmp_path, 4, size=(64, 64))
    lengths = [decided(find_samples(tmp_path), **given) for given in ({"budget": 20.0}, {"epochs": 3}, {})]
    assert [(o.budget, o.epochs) for o, _ in lengths] == [(20.0, 0), (None, 3), (None, steps.EPOCHS)]
    assert [shown["length"][1][:9] for _, shown in lengths] == ["as given", "as given", "the usual"]


def test_the_precision_is_decided_so_that_a_run_keeps_it_elsewhere(tmp_path, monkeypatch):
    write_dataset(tmp_path, 4, size=(64, 64))
    for name, says in (("mixed_bfloat16", "has arithmetic"), ("float32", "has no")):
        monkeypatch.setattr(steps, "fastest_precision", lambda name=name: name)
        options, shown = decided(find_samples(tmp_path))
        assert options.precision == shown["precision"][0] == name
        assert says in shown["precision"][1]
    assert decided(find_samples(tmp_path), precision="mixed_bfloat16")[1]["precision"][1] == "as given"


@pytest.mark.parametrize(("found", "there"), [(9, True), (7, False)])
def test_on_a_gpu_the_gpu_says_whether_bfloat16_is_fastest(monkeypatch, tmp_path, found, there):
    driver = tmp_path / "nvidia-smi"
    driver.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("unetpp.training.devices.architecture", lambda: found)
    assert steps.computes_bfloat16() == there


def test_a_driver_without_a_gpu_leaves_bfloat16_to_the_processor(monkeypatch, tmp_path):
    without = steps.computes_bfloat16()
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert steps.computes_bfloat16() == without


@pytest.mark.parametrize(
    ("free", "devices", "batch", "why"),
    [
        (99, 1, 8, "the usual"),
        (99, 3, 6, "the usual, as many on each device"),
        (3.5, 1, 3, "all that the memory holds"),
        (3.5, 2, 2, "one a device"),
    ],
)
def test_a_batch_says_what_bounds_it(tmp_path, monkeypatch, free, devices, batch, why):
    write_dataset(tmp_path, 4, size=(64, 64))
    one = steps.step_memory(Options(patch=64, batch=1))
    memory = type("Memory", (), {"available": 2 * free * one})()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    options, shown = decided(find_samples(tmp_path), devices=devices)
    assert (options.batch, shown["batch"][1]) == (batch, why)


def test_images_too_long_to_draw_crops_from_are_refused_before_training(tmp_path):
    rng = np.random.default_rng(0)
    for k, width in enumerate((32_767, 64, 64)):
        for folder, values in (("images", 256), ("masks", 2)):
            pixels = rng.integers(0, values, (16, width), np.uint8)
            write_png(tmp_path / folder / f"{k}.png", pixels)
    samples = find_samples(tmp_path)
    with pytest.raises(DatasetError, match="32767 x 16 pixels at working size"):
        make_plan(samples, Options(long_side=0, filters=(2, 4)))
    assert make_plan(samples, Options(long_side=2048, filters=(2, 4))).scaling.long_side == 2048


def test_a_run_goes_on_with_images_that_are_links(tmp_path):
    write_dataset(tmp_path, 4, size=(64, 64))
    for path in (*(tmp_path / "images").iterdir(), *(tmp_path / "masks").iterdir()):
        blob = tmp_path / f"{path.parent.name}_{path.stem}"
        path.symlink_to(path.rename(blob))
    plan = make_plan(find_samples(tmp_path), Options(), CLASSES)
    save_plan(plan, tmp_path / "run")
    assert load_plan(tmp_path / "run").train == plan.train


def test_a_plan_without_what_newer_ones_have_is_read(tmp_path):
    write_dataset(tmp_path, 4, size=(64, 64))
    plan = make_plan(find_samples(tmp_path), Options(), CLASSES)
    save_plan(plan, tmp_path)
    content = json.loads((tmp_path / "plan.json").read_text())
    del content["measured"], content["settings"], content["options"]["workers"]
    content["options"] |= {"fold": 1, "precision": "auto", "budget": 20.0, "epochs": 60}
    (tmp_path / "plan.json").write_text(json.dumps(content))
    old = load_plan(tmp_path)
    assert old.normalization == plan.normalization
    assert (old.options.workers, old.options.precision, old.settings) == (0, "auto", {})
    assert "fold" not in read_choices(tmp_path / "plan.json")[0]


def test_a_fold_is_held_out(tmp_path):
    write_dataset(tmp_path, 9, size=(64, 64))
    samples = find_samples(tmp_path)
    assert "fold 2 of 3" in decided(samples, folds=3, fold=2)[1]["images"][1]
    held = [make_plan(samples, Options(folds=3, fold=k), CLASSES).validation for k in (1, 2, 3)]
    assert sorted(sample.stem for side in held for sample in side) == [sample.stem for sample in samples]


def test_a_class_that_one_image_shows_is_trained_on_and_no_fold_begins_without_it(tmp_path):
    write_dataset(tmp_path, 8, size=(64, 64))
    first, *_ = paths = sorted((tmp_path / "masks").iterdir())
    for path in paths:
        mask = np.minimum(read_mask(path, 3), 1)
        mask[:4, :4] = 2 * (path == first)
        write_png(path, mask)
    samples = find_samples(tmp_path)
    for seed in range(5):
        plan = make_plan(samples, Options(seed=seed), CLASSES)
        assert first.stem in [sample.stem for sample in plan.train]
        assert f"no held-out image shows {CLASSES[2]}" in plan.reasons["images"]
    for fold in (1, 2, 3):
        with pytest.raises(DatasetError, match=f"only images of one fold show the class {CLASSES[2]}"):
            make_plan(samples, Options(folds=3, fold=fold), CLASSES)


def test_images_that_a_file_names_are_held_out(tmp_path):
    write_dataset(tmp_path, 6, size=(64, 64))
    samples = find_samples(tmp_path)
    stems, names = [sample.stem for sample in samples], tmp_path / "names.txt"
    names.write_text(f"{stems[4]}\n\n{stems[1]}.png\n")
    plan = make_plan(samples, Options(validation=str(names)), CLASSES)
    assert [sample.stem for sample in plan.validation] == [stems[1], stems[4]]
    assert [sample.stem for sample in plan.train] == [stems[k] for k in (0, 2, 3, 5)]
    assert plan.reasons["images"] == f"as {names} says"
    # Parted from near-duplicates against better knowledge.
    for part in ("images", "masks"):
        shutil.copy(tmp_path / part / f"{stems[1]}.png", tmp_path / part / "twice.png")
    plan = make_plan(find_samples(tmp_path), Options(validation=str(names)), CLASSES)
    assert "1 held out should not be parted from others" in plan.reasons["images"]


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        (None, "there is no such list"),
        ("\n", "no image is named"),
        ("0000\nnone\n", "1 of the names are of no image, such as none"),
        ("0000\n0001\n0002\n0003\n", "all images are named"),
        ("0000\n0001\n", f"only held-out images show the class {CLASSES[2]}"),
    ],
)
def test_a_list_of_images_that_cannot_be_held_out_is_refused(names, wrong, tmp_path):
    write_dataset(tmp_path, 4, size=(64, 64))
    paths = sorted((tmp_path / "masks").iterdir())
    assert [path.stem for path in paths] == ["0000", "0001", "0002", "0003"]
    for path in paths:
        mask = np.minimum(read_mask(path, 3), 1)
        mask[:4, :4] = 2 * (path == paths[0])
        write_png(path, mask)
    if names:
        (tmp_path / "names.txt").write_text(names)
    with pytest.raises(DatasetError, match=wrong):
        make_plan(find_samples(tmp_path), Options(validation=str(tmp_path / "names.txt")), CLASSES)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"fold": 1}, "--fold 1 is one of --folds"),
        ({"folds": 2, "validation": 0.3}, "--validation 0.3 and --folds exclude each other"),
        ({"folds": 2, "validation": 0}, "--validation 0 and --folds exclude each other"),
    ],
)
def test_what_folds_do_not_heed_is_refused(options, wrong, tmp_path):
    write_dataset(tmp_path, 4, size=(64, 64))
    with pytest.raises(SettingError, match=wrong):
        make_plan(find_samples(tmp_path), Options(**options), CLASSES)


def test_folds_have_images_to_be_patient_with():
    assert Options(folds=2, validation=0, patience=3).patience == 3


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"folds": 3, "validation": "names.txt"}, "validation"),
        ({"folds": 1}, "folds"),
        ({"folds": 3, "fold": 4}, "fold"),
        ({"focus": 1.5}, "focus"),
        ({"augmentation": -1}, "augmentation"),
        ({"group_by": "("}, "group-by"),
        ({"group_by": "(?:slide"}, "group-by"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"learning_rate": float("nan")}, "learning-rate"),
        ({"batch": 2.0}, "batch"),
        ({"workers": -1}, "workers"),
        ({"passes": 0}, "passes"),
        ({"patch": 100}, "patch"),
        ({"accumulate": 0}, "accumulate"),
        ({"weight_decay": -1}, "weight-decay"),
        ({"patience": 0}, "patience"),
        ({"patience": 3, "validation": 0}, "patience"),
        ({"validation": 1.0}, "validation"),
        ({"head_weights": (1.0, 1.0)}, "head-weights"),
        ({"network": "UNet", "deep_supervision": True}, "deep-supervision"),
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


def test_a_budget_is_shown_as_a_time():
    for seconds, long in ((100, "1m40s"), (2700, "45m00s"), (5400, "1h30m")):
        assert _length(Options(budget=seconds)).startswith(long)


def test_dropout_is_left_out_unless_it_is_given(samples):
    for given, dropout in ((None, 0.0), (0.3, 0.3)):
        plan = make_plan(samples, Options(filters=(2, 4), dropout=given), CLASSES)
        assert plan.options.dropout == bare(plan).get_config()["dropout"] == dropout
        assert {name: value for name, value, _ in rows(plan)}["network"].endswith(f"dropout {dropout:g}")
