"""The commands as a user meets them: what they write, and how they refuse."""

import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib

import click
import numpy as np
import pytest
import tifffile
from commands import FAST, first, pixels, refuses, run
from PIL import Image

from unetpp.app import run as app_run
from unetpp.app import terminal
from unetpp.app.cli import cli
from unetpp.app.options import Duration
from unetpp.bundle import DESCRIPTION
from unetpp.data.synthetic import write_dataset


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


@pytest.mark.parametrize(
    ("options", "saying"),
    [
        (["--patch", "33"], "--patch cannot be 33"),
        (["--loss", "dyce"], "no loss 'dyce'"),
        (["--class-weights", "1,2"], "2 values for 3 classes"),
        (["--classes", "a,a,b"], "cannot be the classes"),
        (["--classes", "cell"], "background first, separated by commas"),
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


def test_a_summary_that_nobody_reads_to_its_end_is_no_error(trained, monkeypatch, capsys):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody:
        for module in (terminal, app_run):
            monkeypatch.setattr(module, "console", terminal.Unheard(file=nobody))
        assert run("summary", trained) == 0
    # Nor does Keras print past it, which would end the process.
    assert capsys.readouterr() == ("", "")


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


@pytest.mark.parametrize("wrong", [("--precision", "int8"), ("--precision", "nonsense"), ("--device", "GPU")])
def test_what_keras_cannot_do_is_refused(wrong, trained, data, tmp_path, capsys):
    options = ("--out", tmp_path / "out", "--engine", "keras", *wrong)
    refuses(capsys, "predict", trained, data / "images", *options, saying=wrong[1])


def test_a_scale_bar_where_there_is_no_overlay_is_refused(trained, data, tmp_path, capsys):
    options = ("--out", tmp_path / "labels.png", "--pixel-size", "0.1")
    refuses(capsys, "predict", trained, first(data / "images"), *options, saying="no scale bar")


def test_one_label_image_of_a_stack_says_how_large_its_pixels_are(trained, tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (3, 40, 56, 3), np.uint8)
    tifffile.imwrite(tmp_path / "stack.ome.tif", stack, photometric="rgb", metadata={"axes": "ZYXS"})
    options = ("--out", tmp_path / "labels.ome.tif", "--pixel-size", "0.25")
    assert run("predict", trained, tmp_path / "stack.ome.tif", *options) == 0
    with tifffile.TiffFile(tmp_path / "labels.ome.tif") as file:
        assert 'PhysicalSizeX="0.25"' in file.ome_metadata


def test_a_cluster_with_workers_of_its_own_is_refused(trained, data, tmp_path, capsys):
    options = ("--out", tmp_path / "out", "--cluster", "tcp://127.0.0.1:1", "--workers", 2)
    refuses(capsys, "predict", trained, data / "images", *options, saying="leave out --workers")


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
    assert run("predict", trained, data / "images", "--out", out, "--resume") == 0
    assert f"nothing is left to do: all 5 images are in {out} already" in capsys.readouterr().out


@pytest.mark.parametrize("which", ["SIGINT", "SIGTERM"])
def test_prediction_that_is_ended_leaves_whole_outputs_and_is_gone_on_with(which, trained, tmp_path):
    write_dataset(tmp_path, 1, size=(400, 400), seed=1)
    image = first(tmp_path / "images")
    for k in range(300):
        (tmp_path / "many" / f"{k}.png").parent.mkdir(exist_ok=True)
        (tmp_path / "many" / f"{k}.png").hardlink_to(image)
    command = [
        sys.executable,
        "-m",
        "unetpp",
        "predict",
        trained,
        tmp_path / "many",
        "--out",
        tmp_path / "out",
    ]
    # What begins in the background of a shell takes no notice of SIGINT, nor do its children, unless they are told to.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, former)
    while process.poll() is None and len(list((tmp_path / "out").glob("*/*.png"))) < 5:
        time.sleep(0.01)
    process.send_signal(getattr(signal, which))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.strip().splitlines()[-1] == "unetpp: interrupted; what was written stays"
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert 5 <= len(written) < 600
    assert not [path for path in written if path.name.startswith(".")]
    for path in written:
        with Image.open(path) as picture:
            picture.load()
    shutil.rmtree(tmp_path / "many")
    (tmp_path / "many").mkdir()
    for k in range(8):
        (tmp_path / "many" / f"{k}.png").hardlink_to(image)
    assert run(*command[3:], "--resume") == 0
    assert {path.name for path in (tmp_path / "out" / "labels").iterdir()} >= {f"{k}.png" for k in range(8)}


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


def test_a_cluster_that_does_not_answer_is_one_line(trained, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("unetpp.inference.cluster.ANSWER_SECONDS", 1)
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


def test_signs_that_a_terminal_does_not_know_end_no_command(monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="cp932")
    monkeypatch.setattr(sys, "stdout", narrow)
    assert run("--version") == 0
    narrow.write("0.5\u20130.7")
    narrow.flush()
    assert narrow.buffer.getvalue().endswith(b"0.5?0.7")


@pytest.mark.parametrize("command", ["train", "predict"])
def test_what_is_gone_on_with_is_not_replaced(command, tmp_path, capsys):
    arguments = (command, tmp_path, *[tmp_path] * (command == "predict"), "--out", tmp_path / "out")
    assert run(*arguments, "--resume", "--overwrite") == 2
    assert "--overwrite and --resume exclude each other" in capsys.readouterr().err


def test_a_cross_validation_stands_for_none_of_its_folds(trained, data, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "run" / "fold_1")
    saying = ["this is a cross-validation", f"give one of its folds, such as {tmp_path / 'run' / 'fold_1'}"]
    for command in (
        ("report", tmp_path / "run"),
        ("report", tmp_path / "run", data),
        ("predict", tmp_path / "run", data / "images", "--out", tmp_path / "out"),
        ("summary", tmp_path / "run"),
    ):
        refuses(capsys, *command, saying=saying)
