"""unetpp train, plan, lr-find: what they leave, and how they go on."""

import csv
import json
import shutil
import time

from commands import FAST, refuses, run

from unetpp.bundle import DESCRIPTION


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


def test_a_run_is_resumed_where_it_stopped(data, tmp_path):
    assert run("train", data, "--out", tmp_path / "run", *FAST) == 0
    assert run("train", data, "--out", tmp_path / "run", "--resume", "--epochs", "3") == 0
    with (tmp_path / "run" / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


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


def test_a_learning_rate_is_found(data, capsys):
    assert run("lr-find", data, *FAST) == 0
    shown = capsys.readouterr().out
    rate = float(shown.split("--learning-rate")[1].split()[0].rstrip(":"))
    assert 1e-6 <= rate <= 1


def test_a_cross_validation_runs_every_fold_and_goes_on(data, tmp_path, capsys):
    out = tmp_path / "cv"
    assert run("train", data, "--out", out, *FAST, "--folds", 2) == 0
    assert all(f"fold {k}" in capsys.readouterr().out for k in [1])
    held = [json.loads((out / f"fold_{k}" / "split.json").read_text())["validation"] for k in (1, 2)]
    assert len(held[0]) + len(held[1]) == 5
    shutil.rmtree(out / "fold_2")
    assert run("train", data, "--out", out, *FAST, "--folds", 2, "--resume") == 0
    assert (out / "fold_2" / "model").is_dir()
    refuses(capsys, "train", data, "--out", tmp_path / "x", *FAST, "--folds", 2, "--fold", 3, saying="--fold")


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
