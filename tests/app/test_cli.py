"""The commands as a user meets them: what they write, and how they refuse."""

import csv
import json
import os
import shutil
import struct
import subprocess
import sys
import time
import zlib

import click
import numpy as np
import pytest
import tifffile
from PIL import Image

from unetpp.app.cli import cli, main
from unetpp.app.options import Duration
from unetpp.bundle import DESCRIPTION
from unetpp.data.synthetic import write_dataset

FAST = ["--epochs", "1", "--filters", "2,4", "--patch", "32", "--batch", "4", "--long-side", "0"]


def run(*arguments):
    """Exit status of a command, in this process."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code or 0


def refuses(capsys, *arguments, saying, status=1):
    """A command fails with one line on standard error that says what is wrong, and no traceback."""
    assert run(*arguments) == status
    lines = capsys.readouterr().err.strip().splitlines()
    line = lines[-1]
    assert line.startswith("unetpp: ")
    for part in [saying] if isinstance(saying, str) else saying:
        assert part in line
    assert not any("Traceback" in text for text in lines)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, 5, size=(40, 56), seed=3)
    return folder


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert run("train", data, "--out", folder, *FAST) == 0
    return folder


@pytest.fixture
def copy(data, tmp_path):
    """A data set that a test may spoil."""
    return shutil.copytree(data, tmp_path / "data")


def pixels(path):
    with Image.open(path) as picture:
        return np.array(picture)


def first(folder):
    return sorted(folder.iterdir())[0]


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


def test_scores_are_those_of_the_labels_that_predict_writes(trained, data, tmp_path):
    assert run("evaluate", trained, data, "--json", tmp_path / "scores.json") == 0
    assert run("predict", trained, data / "images", "--out", tmp_path / "out") == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    truth = np.concatenate([pixels(p).ravel() for p in sorted((data / "masks").iterdir())])
    found = np.concatenate([pixels(p).ravel() for p in sorted((tmp_path / "out" / "labels").iterdir())])
    for index, name in enumerate(("background", "blood_cell", "bacteria")):
        both, either = (
            ((truth == index) & (found == index)).sum(),
            ((truth == index) | (found == index)).sum(),
        )
        assert scores["classes"][name]["iou"] == pytest.approx(both / either)
        assert scores["classes"][name]["support"] == (truth == index).sum()
    assert scores["accuracy"] == pytest.approx((truth == found).mean())
    assert scores["images"] == 5
    assert set(scores) == {"classes", "mean_iou", "mean_dice", "accuracy", "confusion", "images", "seconds"}


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


def test_images_of_any_size_and_kind_are_predicted(trained, tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(rng.integers(0, 255, (33, 71, 3), np.uint8)).save(folder / "rgb.jpg")
    Image.fromarray(rng.integers(0, 255, (5, 7), np.uint8)).save(folder / "grey.png")
    Image.fromarray(rng.integers(0, 65535, (50, 20)).astype(np.uint16)).save(folder / "deep.tif")
    Image.fromarray(rng.integers(0, 255, (17, 18, 4), np.uint8)).save(folder / "alpha.webp", lossless=True)
    assert run("predict", trained, folder, "--out", tmp_path / "out", "--probabilities") == 0
    sizes = {path.stem: pixels(path).shape[::-1] for path in (tmp_path / "out" / "labels").iterdir()}
    assert sizes == {"rgb": (71, 33), "grey": (7, 5), "deep": (20, 50), "alpha": (18, 17)}


def test_one_unreadable_image_is_named_and_the_rest_written(trained, data, tmp_path, capsys):
    folder = shutil.copytree(data / "images", tmp_path / "in")
    (folder / "broken.png").write_bytes(first(folder).read_bytes()[:200])
    refuses(capsys, "predict", trained, folder, "--out", tmp_path / "out", saying=["broken.png", "damaged"])
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 5


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


def replace_by(kind, content):
    def spoil(data):
        path = first(data / kind)
        path.write_bytes(content(path) if callable(content) else content)

    return spoil


def huge_header(path):
    """A PNG whose header claims a million pixels a side."""
    header = struct.pack(">IIBBBBB", 1_000_000, 1_000_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    packed = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def nan_image(data):
    import tifffile

    path = first(data / "images")
    shape = pixels(path).shape
    path.unlink()
    tifffile.imwrite(path.with_suffix(".tif"), np.full(shape, np.nan, np.float32), photometric="rgb")


def zero_size(data):
    path = first(data / "images")
    path.unlink()
    # A bitmap of no width and no height.
    header = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, 0, 0, 1, 24, *[0] * 6
    )
    path.with_suffix(".bmp").write_bytes(header)


def folder_for_image(data):
    path = first(data / "images")
    path.unlink()
    path.mkdir()


def stray_values(data):
    path = first(data / "masks")
    mask = pixels(path)
    mask[:2, :3] = 9
    Image.fromarray(mask).save(path)


def other_size(data):
    path = first(data / "masks")
    Image.fromarray(pixels(path)).resize((10, 12)).save(path)


BAD_DATA = {
    "no images": (lambda data: [empty(data / kind) for kind in ("images", "masks")], "no images are here"),
    "image without mask": (lambda data: first(data / "masks").unlink(), "1 image without mask"),
    "mask without image": (lambda data: first(data / "images").unlink(), ["1 mask without image"]),
    "sizes differ": (other_size, ["10 x 12", "56 x 40"]),
    "stray values": (stray_values, ["9 (6 pixels)", "classes 0 to 2"]),
    "truncated": (replace_by("images", lambda path: path.read_bytes()[:300]), "damaged"),
    "corrupt": (replace_by("masks", b"this is no picture"), "damaged"),
    "empty file": (replace_by("images", b""), "the file is empty"),
    "zero size": (zero_size, "unetpp: "),
    "NaN": (nan_image, "NaN or infinite"),
    "folder for a file": (folder_for_image, "without image"),
    "too large": (replace_by("images", huge_header), "GB of memory"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_refused_in_one_line_and_nothing_is_written(case, copy, tmp_path, capsys):
    spoil, saying = BAD_DATA[case]
    spoil(copy)
    refuses(
        capsys,
        "train",
        copy,
        "--out",
        tmp_path / "run",
        *FAST,
        "--classes",
        "background,blood_cell,bacteria",
        saying=saying,
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("case", ["sizes differ", "stray values", "truncated", "NaN", "empty file"])
def test_bad_data_is_refused_in_evaluation(case, trained, copy, tmp_path, capsys):
    spoil, saying = BAD_DATA[case]
    spoil(copy)
    refuses(capsys, "evaluate", trained, copy, "--json", tmp_path / "scores.json", saying=saying)
    assert not (tmp_path / "scores.json").exists()


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (huge_header(None), "memory"),
        (b"\0" * 500, "damaged"),
    ],
)
def test_bad_images_are_refused_in_prediction(content, saying, trained, tmp_path, capsys):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    refuses(capsys, "predict", trained, path, "--out", tmp_path / "out", saying=["image.png", saying])
    assert not (tmp_path / "out").exists()


def test_a_folder_where_a_model_should_be_is_refused(data, tmp_path, capsys):
    refuses(capsys, "predict", data, data / "images", "--out", tmp_path / "out", saying="no model is here")
    refuses(capsys, "evaluate", tmp_path / "nowhere", data, saying="no such folder")


def test_a_model_from_a_newer_version_is_refused(trained, data, tmp_path, capsys):
    model = shutil.copytree(trained / "model", tmp_path / "model")
    text = (model / DESCRIPTION).read_text().replace('"format": 1', '"format": 99')
    (model / DESCRIPTION).write_text(text)
    refuses(
        capsys, "predict", model, data / "images", "--out", tmp_path / "out", saying=["format 99", "update"]
    )


def test_outputs_that_exist_are_kept(trained, data, tmp_path, capsys):
    refuses(capsys, "train", data, "--out", trained, *FAST, saying=["not empty", "--overwrite"])
    assert run("predict", trained, data / "images", "--out", tmp_path / "out") == 0
    refuses(
        capsys,
        "predict",
        trained,
        data / "images",
        "--out",
        tmp_path / "out",
        saying=["exists", "--overwrite"],
    )
    assert run("predict", trained, data / "images", "--out", tmp_path / "out", "--overwrite") == 0
    (tmp_path / "scores.json").write_text("mine")
    refuses(capsys, "evaluate", trained, data, "--json", tmp_path / "scores.json", saying="exists")
    assert (tmp_path / "scores.json").read_text() == "mine"


def test_overwriting_a_run_removes_only_what_a_run_leaves(data, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert run("train", data, "--out", tmp_path / "run", *FAST, "--overwrite") == 0
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "saying"),
    [
        (["--patch", "33"], "--patch cannot be 33"),
        (["--loss", "dyce"], "no loss 'dyce'"),
        (["--class-weights", "1,2"], "2 values for 3 classes"),
        (["--classes", "a,a,b"], "cannot be the classes"),
        (["--budget", "1m", "--epochs", "2"], "exclude each other"),
        (["--resume"], "no run to resume"),
        (["--validation", "1.5"], "--validation cannot be 1.5"),
        (["--filters", "4"], "--filters"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, saying, data, tmp_path, capsys):
    refuses(capsys, "train", data, "--out", tmp_path / "run", *options, saying=saying)


def test_a_budget_is_written_as_people_write_it():
    assert [Duration().convert(text, None, None) for text in ("45m", "90s", "1h30m")] == [2700, 90, 5400]


def test_summary_names_the_classes(trained, capsys):
    assert run("summary", trained) == 0
    printed = capsys.readouterr().out
    assert "background, blood_cell, bacteria" in printed
    assert "Total params" in printed


def test_help_is_quick_and_loads_no_keras():
    code = "import sys\nfrom unetpp.app.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'keras', 'tensorflow', 'torch', 'jax', 'skimage'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip().endswith("[]")


def test_every_command_and_option_has_help():
    for command in cli.commands.values():
        assert command.help
        assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_a_backend_that_is_not_there_is_one_line():
    script = "from unetpp.app.cli import main; main(['summary'])"
    environment = {**os.environ, "KERAS_BACKEND": "abacus"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("unetpp: Keras cannot start with KERAS_BACKEND=abacus")


def test_both_engines_find_the_same(trained, data, tmp_path):
    for engine in ("openvino", "keras"):
        options = ["--engine", engine, "--precision", "float32"]
        assert run("predict", trained, data / "images", "--out", tmp_path / engine, *options) == 0
    pairs = [
        (pixels(path), pixels(tmp_path / "keras" / "labels" / path.name))
        for path in (tmp_path / "openvino" / "labels").iterdir()
    ]
    assert len(pairs) == 5
    assert np.mean([a == b for a, b in pairs]) >= 0.999


def test_predicting_loads_neither_keras_nor_tensorflow(trained, data, tmp_path):
    script = (
        "import sys; from unetpp.app.run import run_prediction; from pathlib import Path\n"
        f"run_prediction([Path({str(trained)!r})], [{str(data / 'images')!r}], Path({str(tmp_path / 'out')!r}))\n"
        "print(sorted({'keras', 'tensorflow', 'jax', 'torch', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_averaging_over_symmetries_is_an_option(trained, data, tmp_path):
    assert run("predict", trained, first(data / "images"), "--out", tmp_path, "--tta") == 0
    assert (tmp_path / "labels").is_dir()


@pytest.mark.parametrize(
    ("options", "saying"),
    [
        (["--level", "4"], ["no level 4", "--deep-supervision"]),
        (["--device", "TPU"], ["no device TPU", "CPU"]),
        (["--precision", "int3"], ["no precision int3", "float32"]),
    ],
)
def test_an_engine_that_cannot_be_is_refused(trained, data, tmp_path, capsys, options, saying):
    refuses(capsys, "predict", trained, data / "images", "--out", tmp_path / "out", *options, saying=saying)
    assert not (tmp_path / "out").exists()


def test_a_model_without_a_graph_is_run_by_keras_and_says_so(trained, data, tmp_path, capsys):
    folder = shutil.copytree(trained / "model", tmp_path / "model")
    description = json.loads((folder / DESCRIPTION).read_text())
    description["sha256"] = {"weights.weights.h5": description["sha256"]["weights.weights.h5"]}
    (folder / DESCRIPTION).write_text(json.dumps(description))
    assert run("predict", folder, first(data / "images"), "--out", tmp_path / "out") == 0
    assert "Keras runs it" in capsys.readouterr().err
    assert run("export", folder) == 0
    assert run("predict", folder, first(data / "images"), "--out", tmp_path / "again") == 0
    assert "Keras runs it" not in capsys.readouterr().err


def test_uncertainty_is_two_planes_from_0_to_1(trained, data, tmp_path):
    out = tmp_path / "out"
    assert run("predict", trained, first(data / "images"), "--out", out, "--uncertainty", "--tta") == 0
    planes = tifffile.imread(first(out / "uncertainty"))
    assert planes.shape == (2, 40, 56)
    assert planes.dtype == np.float16
    assert 0 <= planes.min() <= planes.max() <= 1
    assert planes[1].max() > 0


def test_models_are_averaged_if_their_classes_are_the_same(trained, data, tmp_path, capsys):
    image = first(data / "images")
    assert run("predict", trained, image, "--out", tmp_path / "out", "--ensemble", trained / "model") == 0
    other = shutil.copytree(trained / "model", tmp_path / "other")
    description = json.loads((other / DESCRIPTION).read_text())
    description["classes"] = ["background", "nucleus", "debris"]
    (other / DESCRIPTION).write_text(json.dumps(description))
    arguments = ["predict", trained, image, "--out", tmp_path / "out2", "--ensemble", other]
    refuses(capsys, *arguments, saying=["nucleus, debris", "same classes"])


def test_resuming_leaves_out_what_is_there(trained, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("predict", trained, first(data / "images"), "--out", out) == 0
    made = first(out / "labels").stat().st_mtime_ns
    assert run("predict", trained, data / "images", "--out", out, "--resume") == 0
    assert "4 of 4 images" in capsys.readouterr().out
    assert first(out / "labels").stat().st_mtime_ns == made
    assert len(list((out / "labels").iterdir())) == 5


def test_a_stack_and_a_slide_are_predicted_from_the_command_line(trained, tmp_path, capsys):
    stack = np.random.default_rng(0).integers(0, 255, (3, 60, 70), np.uint8)
    tifffile.imwrite(tmp_path / "stack.ome.tif", stack, metadata={"axes": "ZYX"}, photometric="minisblack")
    assert run("predict", trained, tmp_path / "stack.ome.tif", "--out", tmp_path / "labels.ome.zarr") == 0
    said = capsys.readouterr().err
    assert "3 planes of 70 x 60 pixels, 3 blocks, about" in said
    assert (tmp_path / "labels.ome.zarr" / "zarr.json").is_file()


def test_work_is_spread_over_processes_of_this_machine(trained, data, tmp_path, capsys):
    assert run("predict", trained, data / "images", "--out", tmp_path / "alone") == 0
    assert run("predict", trained, data / "images", "--out", tmp_path / "spread", "--workers", "2") == 0
    assert "2 workers" in capsys.readouterr().err
    for path in (tmp_path / "alone" / "labels").iterdir():
        np.testing.assert_array_equal(pixels(path), pixels(tmp_path / "spread" / "labels" / path.name))


def test_a_cluster_that_does_not_answer_is_one_line(trained, data, tmp_path, capsys):
    arguments = [
        "predict",
        trained,
        data / "images",
        "--out",
        tmp_path / "out",
        "--cluster",
        "tcp://127.0.0.1:9",
    ]
    refuses(capsys, *arguments, saying=["tcp://127.0.0.1:9", "no Dask scheduler answers"])


def test_levels_are_measured_and_one_is_kept(data, tmp_path, capsys):
    deep = tmp_path / "deep"
    assert run("train", data, "--out", deep, *FAST, "--filters", "2,3,4", "--deep-supervision") == 0
    assert run("levels", deep, data) == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in ("level 1", "level 2", "bacteria", "ms", "MB"))
    assert run("prune", deep, "--level", 1, "--out", tmp_path / "small") == 0
    for level, model in (("1", deep), ("1", tmp_path / "small")):
        assert run("predict", model, data / "images", "--out", tmp_path / model.name, "--level", level) == 0
    for path in sorted((tmp_path / "deep" / "labels").iterdir()):
        same = np.array(Image.open(path)) == np.array(Image.open(tmp_path / "small" / "labels" / path.name))
        assert same.mean() > 0.999
    refuses(capsys, "prune", deep, "--level", 9, "--out", tmp_path / "x", saying=("no level 9", "1, 2"))
    refuses(capsys, "prune", deep, "--level", 1, "--out", tmp_path / "small", saying="--overwrite")


def test_a_model_is_quantised_and_says_what_it_costs(trained, data, tmp_path, capsys):
    model = shutil.copytree(trained / "model", tmp_path / "model")
    refuses(capsys, "predict", model, data, "--out", tmp_path / "o", "--precision", "int8", saying="quantize")
    assert run("quantize", model, "--data", data) == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in ("before", "int8", "blood_cell", "ms"))
    assert run("predict", model, data / "images", "--out", tmp_path / "out", "--precision", "int8") == 0
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 5


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
