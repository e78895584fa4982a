"""unetpp train, plan, lr-find: what they leave, and how they go on."""

import csv
import json
import re
import shlex
import shutil
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import FAST, refuses, run

import unetpp
from unetpp.app import cli
from unetpp.app.order import Order, repeated
from unetpp.app.resuming import resumed_plan
from unetpp.app.training import new_plan
from unetpp.bundle import DESCRIPTION, WEIGHTS, load_model
from unetpp.errors import DatasetError, OutputError, SettingError
from unetpp.training import fit, lr_find, trackers
from unetpp.training.options import Options
from unetpp.training.planfile import load_plan


def test_what_python_trains_is_what_the_command_trains(data, trained, tmp_path):
    options = {"epochs": 1, "filters": [2, 4], "patch": 32, "batch": 4, "long_side": 0}
    unetpp.train(data, tmp_path / "run", **options)
    trained_here, there = (load_model(run)[1].get_weights() for run in (tmp_path / "run", trained))
    for one, other in zip(trained_here, there, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(OutputError, match="not empty"):
        unetpp.train(data, tmp_path / "run", **options)
    with pytest.raises(SettingError, match="whale"):
        unetpp.train(data, tmp_path / "other", loss="whale")
    assert not (tmp_path / "other").exists()


def test_a_run_leaves_model_history_split_events_and_pictures(trained):
    assert json.loads((trained / "model" / DESCRIPTION).read_text())["classes"] == [
        "background",
        "blood_cell",
        "bacteria",
    ]
    with (trained / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1"]
    assert {"loss", "mean_iou", "iou_bacteria", "learning_rate"} < set(rows[0])
    split = json.loads((trained / "split.json").read_text())
    stems = [sample["stem"] for side in split.values() for sample in side]
    assert len(stems) == len(set(stems)) == 5
    assert list((trained / "events").rglob("events*"))
    assert len(list((trained / "validation").glob("*.png"))) == len(split["validation"])


def test_a_run_is_resumed_where_it_stopped(data, tmp_path, capsys):
    assert run("train", data, "--out", tmp_path / "run", *FAST) == 0
    assert run("train", data, "--out", tmp_path / "run", "--resume", "--epochs", "3") == 0
    assert "nothing is left" not in capsys.readouterr().out
    assert run("train", data, "--out", tmp_path / "run", "--resume", "--epochs", "2") == 0
    assert "nothing is left to train" in capsys.readouterr().out
    with (tmp_path / "run" / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_a_run_on_all_images_says_that_nothing_tells_how_good_it_is(data, tmp_path, capsys):
    folder = tmp_path / "run"
    assert run("train", data, "--out", folder, *FAST, "--validation", 0) == 0
    shown = capsys.readouterr().out
    assert "no image was held out" in shown
    assert "IoU" not in shown
    assert not (folder / "validation").exists()
    assert not load_plan(folder).validation
    refuses(capsys, "report", folder, saying="held no image out")
    assert run("report", folder, data, "--out", tmp_path / "page.html") == 0
    new = ("train", data, "--out", tmp_path / "new", *FAST)
    refuses(capsys, *new, "--validation", 0, "--patience", 2, saying="patience")
    assert run(*new, "--validation", "0,15") == 2
    assert "neither a share, such as 0.15, nor a file" in capsys.readouterr().err


def test_a_list_of_images_is_the_same_from_everywhere(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names, folder = tmp_path / "names.txt", tmp_path / "run"
    names.write_text(sorted(path.stem for path in (data / "images").iterdir())[0])
    assert run("train", data, "--out", folder, *FAST, "--validation", "names.txt") == 0
    assert [sample.stem for sample in load_plan(folder).validation] == [names.read_text()]
    again = ("train", data, "--out", folder, "--resume", "--epochs", 1)
    assert run(*again, "--validation", names) == 0
    names.unlink()
    assert run(*again) == 0
    assert "nothing is left to train" in capsys.readouterr().out


def test_a_budget_is_kept(data, tmp_path):
    begun = time.monotonic()
    assert run("train", data, "--out", tmp_path / "run", *FAST[2:], "--budget", "15s") == 0
    assert time.monotonic() - begun < 30
    assert (tmp_path / "run" / "model" / DESCRIPTION).is_file()


def test_overwriting_a_run_removes_only_what_a_run_leaves(data, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert run("train", data, "--out", tmp_path / "run", *FAST, "--overwrite") == 0
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_nothing_is_overwritten_that_no_run_has_left(data, tmp_path, capsys):
    mine = tmp_path / "validation" / "mine.png"
    mine.parent.mkdir()
    mine.write_text("mine")
    for given in ((), ("--folds", 2)):
        refuses(capsys, "train", data, "--out", tmp_path, *FAST, *given, "--overwrite", saying="no run's")
    assert mine.read_text() == "mine"


def test_folds_do_not_mix_with_a_run(trained, data, tmp_path, capsys):
    copy = shutil.copytree(trained, tmp_path / "run")
    refuses(capsys, "train", data, "--out", copy, *FAST, "--folds", 2, saying="a run without folds")
    refuses(
        capsys, "train", data, "--out", copy, *FAST, "--folds", 2, "--resume", saying="a run without folds"
    )
    for fold in ("fold_1", "fold_3"):
        (copy / fold / "events").mkdir(parents=True)
        (copy / fold / "plan.json").write_text("{}")
    assert run("train", data, "--out", copy, *FAST, "--folds", 2, "--overwrite") == 0
    assert {path.name for path in copy.iterdir()} == {"fold_1", "fold_2", "fold_3"}
    assert load_plan(copy / "fold_1").options.fold == 1
    assert not list((copy / "fold_3").iterdir())


def test_a_plan_says_why_and_is_followed_when_edited(data, tmp_path, capsys):
    file = tmp_path / "plan.json"
    assert run("plan", data, "--out", file, "--batch", 3) == 0
    shown = capsys.readouterr().out
    assert all(
        row in shown for row in ("size", "crops", "batch", "as given", "near-duplicates", "learning rate")
    )
    refuses(capsys, "plan", data, "--out", file, saying="--overwrite")
    content = json.loads(file.read_text())
    assert content["options"]["batch"] == 3
    content["options"] |= {"filters": [2, 4], "patch": 32, "epochs": 1, "batch": 2}
    file.write_text(json.dumps(content))
    assert run("train", data, "--out", tmp_path / "run", "--plan", file, "--batch", 4) == 0
    options = json.loads((tmp_path / "run" / "plan.json").read_text())["options"]
    assert (options["filters"], options["patch"], options["batch"]) == ([2, 4], 32, 4)


def test_a_learning_rate_is_found(data, capsys, monkeypatch):
    find, found = lr_find.find_rate, []
    monkeypatch.setattr(
        lr_find, "find_rate", lambda *given, **named: found.append(find(*given, **named)) or found[0]
    )
    assert run("lr-find", data, *FAST) == 0
    shown = capsys.readouterr().out
    rate = float(shown.split("--learning-rate")[1].split()[0].rstrip(":"))
    table = np.array(re.findall(r"(\d\.\de[-+]\d\d)\W+(\d+\.\d{3})\b", shown), float)
    assert len(table) >= 3
    assert table[0, 0] < rate < 1
    # From the step before that rate to the step behind it, the loss falls, if by less than three digits show.
    [(rates, losses, best)] = found
    assert rate == pytest.approx(best, rel=0.05)
    at = int(np.searchsorted(rates, best))
    assert losses[min(at + 1, len(losses) - 1)] < losses[max(at - 1, 0)]


def test_a_plan_of_folds_runs_every_fold(data, tmp_path, capsys):
    plan, out = tmp_path / "plan.json", tmp_path / "cv"
    assert run("plan", data, "--out", plan, *FAST, "--folds", 2) == 0
    assert run("train", data, "--out", out, "--plan", plan) == 0
    shown = capsys.readouterr().out
    assert all(f"fold {k} of 2" in shown for k in (1, 2))
    held = [json.loads((out / f"fold_{k}" / "split.json").read_text())["validation"] for k in (1, 2)]
    assert len(held[0]) + len(held[1]) == 5
    refuses(capsys, "train", data, "--out", tmp_path / "x", *FAST, "--folds", 2, "--fold", 3, saying="--fold")


def options_of(folder):
    return json.loads((folder / "plan.json").read_text())["options"]


def test_a_plan_by_budget_or_epochs_is_followed_and_either_replaces_both(data, tmp_path, capsys):
    timed, counted = tmp_path / "timed.json", tmp_path / "counted.json"
    assert run("plan", data, "--out", timed, *FAST[2:], "--budget", "12s", "--classes", "dark,cell,rod") == 0
    assert run("plan", data, "--out", counted, *FAST) == 0
    assert run("train", data, "--out", tmp_path / "a", "--plan", timed) == 0
    assert (options_of(tmp_path / "a")["budget"], options_of(tmp_path / "a")["epochs"]) == (12, 0)
    assert json.loads((tmp_path / "a" / "plan.json").read_text())["classes"] == ["dark", "cell", "rod"]
    for file, given, expected in ((timed, ("--epochs", 1), (None, 1)), (counted, ("--budget", "1s"), (1, 0))):
        out = tmp_path / f"{file.stem}_other.json"
        assert run("plan", data, "--out", out, "--plan", file, *given) == 0
        options = json.loads(out.read_text())["options"]
        assert (options["budget"], options["epochs"]) == expected
    # A run by budget may go on by epochs; what it is by then is kept.
    assert run("train", data, "--out", tmp_path / "a", "--resume", "--epochs", 1) == 0
    assert (options_of(tmp_path / "a")["budget"], options_of(tmp_path / "a")["epochs"]) == (None, 1)
    both = ("--budget", "9s", "--epochs", 2)
    refuses(capsys, "plan", data, *both, saying="exclude each other")
    refuses(capsys, "train", data, "--out", tmp_path / "a", "--resume", *both, saying="exclude each other")


def test_an_interrupted_cross_validation_names_the_command_that_runs_all_folds(data, tmp_path, capsys):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    out = tmp_path / "cross validation"
    given = [*FAST, "--folds", 2, "--classes", "a,b,c", "--deep-supervision", "--focus", 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "train", interrupt)
        assert run("train", data, "--out", out, *given, "--images", data / "images") == 130
    printed, told = capsys.readouterr()
    assert told.splitlines()[-1] == "unetpp: interrupted; what was written stays"
    words = shlex.split(printed.split("go on with:")[1].splitlines()[0])
    assert words[:2] == ["unetpp", "train"]
    assert run(*words[1:]) == 0
    first, second = (options_of(out / f"fold_{k}") for k in (1, 2))
    assert {name for name in first if first[name] != second[name]} == {"fold"}
    assert (second["focus"], second["deep_supervision"], second["filters"]) == (0, True, [2, 4])
    assert (out / "fold_2" / "model").is_dir()


def test_what_goes_on_with_an_interrupted_order_is_made_of_options_that_there_are():
    chosen = {f.name: True if f.type is bool else 1 for f in fields(Options)}
    words = repeated(
        Order(data=Path("data"), places={"instances": Path("numbers")}, names=None, chosen=chosen)
    )
    known = {option for parameter in cli.train.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    assert "--instances" in words


@pytest.mark.parametrize(
    "wrong",
    [
        ("--loss", "dyce"),
        ("--tracker", "wandb"),
        ("--folds", 2, "--loss", "dyce"),
        ("--network", "UNet", "--deep-supervision"),
    ],
)
def test_what_cannot_be_trained_replaces_no_run(wrong, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    kept = [tmp_path / "run" / "plan.json", tmp_path / "run" / "fold_2" / "plan.json"]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    refuses(capsys, "train", data, "--out", tmp_path / "run", "--overwrite", *wrong, saying=wrong[-1])
    assert all(path.exists() for path in kept)
    refuses(capsys, "train", data, "--out", tmp_path / "new", *wrong, saying=wrong[-1])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tracker_that_cannot_start_replaces_no_run(name, data, tmp_path, capsys, monkeypatch):
    def fail(*given, **named):
        raise RuntimeError("no such server\nand more")

    tracker = SimpleNamespace(MlflowClient=fail, login=fail, start_run=fail, init=fail)
    for module in (name, trackers.TRACKERS[name]):
        monkeypatch.setitem(sys.modules, module, tracker)
    kept = tmp_path / "run" / "plan.json"
    kept.parent.mkdir()
    kept.write_text("{}")
    given = ("--out", kept.parent, "--overwrite", *FAST, "--tracker", name)
    refuses(capsys, "train", data, *given, saying=f"{name} cannot be started: no such server;")
    assert kept.exists()
    # Nor is there a traceback if it fails only then.
    monkeypatch.setattr(fit, "check_trackers", lambda names: None)
    refuses(capsys, "train", data, *given, saying=f"{name} cannot be started")


def test_a_damaged_model_to_start_from_replaces_no_run(trained, data, tmp_path, capsys):
    shutil.copytree(trained / "model", tmp_path / "damaged")
    (tmp_path / "damaged" / WEIGHTS).write_bytes(b"?")
    kept = tmp_path / "run" / "plan.json"
    kept.parent.mkdir()
    kept.write_text("{}")
    given = ("--out", tmp_path / "run", "--from", tmp_path / "damaged", "--overwrite")
    refuses(capsys, "train", data, *given, saying=f"{WEIGHTS} is damaged")
    assert kept.exists()


def order(data, run, chosen=None, **options):
    return Order(data=data, places={}, names=None, chosen=chosen or {}, run=run, **options)


@pytest.fixture
def begun(data, tmp_path):
    """A run that has been planned, and its folder."""
    copy = shutil.copytree(data, tmp_path / "data")
    new_plan(order(copy, tmp_path / "run", {"batch": 2, "filters": (2, 4)}))
    return copy, tmp_path / "run"


def test_a_resumed_run_takes_the_same_options_and_no_others(begun):
    data, folder = begun
    assert resumed_plan(order(data, folder, {"batch": 2, "workers": 1})).options.workers == 1
    again = {"batch": 2, "patience": 9, "precision": "auto"}
    assert resumed_plan(order(data, folder, again)).options.patience == 9
    with pytest.raises(SettingError, match="--filters cannot change"):
        resumed_plan(order(data, folder, {"batch": 2, "filters": (2, 8)}))
    known = load_plan(folder).classes
    assert resumed_plan(replace(order(data, folder), names=known)).classes == known
    with pytest.raises(SettingError, match=f"the run's classes are {', '.join(known)}"):
        resumed_plan(replace(order(data, folder), names=("a", "b", "c")))
    with pytest.raises(DatasetError, match="no such folder"):
        resumed_plan(order(folder / "nowhere", folder))


def test_a_resumed_run_starts_from_the_model_it_started_from(data, tmp_path, trained, monkeypatch):
    folder = tmp_path / "run"
    new_plan(order(data, folder, {"start": str(trained), "epochs": 1}))
    monkeypatch.chdir(trained)
    assert resumed_plan(order(data, folder, {"start": "model"})) == resumed_plan(order(data, folder))
    other = shutil.copytree(trained / "model", tmp_path / "other")
    with pytest.raises(SettingError, match="--from cannot change"):
        resumed_plan(order(data, folder, {"start": str(other)}))


def test_a_new_run_takes_the_place_of_former_folds(begun, tmp_path):
    data, folder = begun
    plan, mine = tmp_path / "fold_2" / "plan.json", tmp_path / "fold_2" / "notes.txt"
    plan.parent.mkdir()
    plan.write_text("{}")
    mine.write_text("mine")
    new_plan(order(data, folder, {"batch": 2}, overwrite=True, former=[plan.parent]))
    assert not plan.exists()
    assert mine.read_text() == "mine"


def test_a_run_goes_on_with_data_that_have_moved(begun, tmp_path):
    data, folder = begun
    before = resumed_plan(order(data, folder))
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="no such folder"):
        resumed_plan(order(data, folder))
    after = resumed_plan(order(tmp_path / "elsewhere", folder))
    assert [sample.stem for sample in after.train] == [sample.stem for sample in before.train]
    assert all(sample.image.exists() for sample in (*after.train, *after.validation))
    assert load_plan(folder).train == after.train


def test_a_run_that_learns_where_objects_touch_needs_them_where_the_data_have_moved(data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "data")
    shutil.copytree(copy / "masks", copy / "instances")
    places = {"instances": copy / "instances"}
    new_plan(replace(order(copy, tmp_path / "run", {"batch": 2, "filters": (2, 4)}), places=places))
    copy.rename(tmp_path / "elsewhere")
    moved = order(tmp_path / "elsewhere", tmp_path / "run")
    with pytest.raises(DatasetError, match="give the folder of --instances"):
        resumed_plan(moved)
    places = {"instances": tmp_path / "elsewhere" / "instances"}
    plan = resumed_plan(replace(moved, places=places))
    assert all(sample.instances.exists() for sample in (*plan.train, *plan.validation))
    # They may move alone, too.
    other = places["instances"].rename(tmp_path / "numbers")
    plan = resumed_plan(replace(moved, places={"instances": other}))
    assert all(sample.instances.exists() for sample in (*plan.train, *plan.validation))


def test_numbers_of_objects_that_have_not_moved_with_the_data_are_not_asked_for(data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "data")
    numbers = shutil.copytree(copy / "masks", tmp_path / "numbers")
    begun = order(copy, tmp_path / "run", {"batch": 2, "filters": (2, 4)})
    new_plan(replace(begun, places={"instances": numbers}))
    moved = copy.rename(tmp_path / "elsewhere")
    plan = resumed_plan(order(moved, tmp_path / "run"))
    for sample in (*plan.train, *plan.validation):
        assert sample.image.is_relative_to(moved)
        assert sample.instances == numbers / f"{sample.stem}.png"


def test_a_run_that_learns_no_seams_does_not_begin_to_when_it_goes_on(begun, tmp_path):
    data, folder = begun
    shutil.copytree(data / "masks", tmp_path / "numbers")
    data.rename(tmp_path / "elsewhere")
    again = replace(order(tmp_path / "elsewhere", folder), places={"instances": tmp_path / "numbers"})
    plan = resumed_plan(again)
    assert not plan.seams
    assert not any(sample.instances for sample in (*plan.train, *plan.validation))


def test_the_folds_of_a_run_are_asked_for(data, tmp_path, capsys):
    (tmp_path / "cv" / "fold_1").mkdir(parents=True)
    refuses(capsys, "train", data, "--out", tmp_path / "cv", "--resume", saying="give --folds")


def test_the_model_to_start_from_is_never_replaced(trained, data, tmp_path, capsys):
    copy = shutil.copytree(trained, tmp_path / "run")
    for start in (copy, copy / "model"):
        given = ("--out", copy, "--from", start, "--overwrite", "--epochs", 1)
        refuses(capsys, "train", data, *given, saying="lies in the run that --overwrite replaces")
    assert (copy / "model" / DESCRIPTION).is_file()


@pytest.mark.parametrize(
    ("given", "saying"),
    [
        (("--group-by", "(?:slide"), "--group-by cannot be"),
        (("--seed", -1), "--seed cannot be -1"),
        (("--learning-rate", "nan"), "--learning-rate cannot be nan"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(data, capsys, given, saying):
    refuses(capsys, "plan", data, *given, saying=saying)


def test_a_run_starts_from_a_model(trained, data, tmp_path, capsys):
    assert run("train", data, "--out", tmp_path / "run", "--epochs", 1, "--from", trained) == 0
    assert "whose weights it starts from" in " ".join(capsys.readouterr().out.split())
    refuses(
        capsys,
        "train",
        data,
        "--out",
        tmp_path / "y",
        "--from",
        tmp_path / "nowhere",
        saying="no such folder",
    )
