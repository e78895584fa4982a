"""unetpp predict --objects: what it measures is what unetpp measure does, or it says so before any work."""

import json
import shutil
import sys

import pytest
import tifffile
from commands import first, pixels, refuses, run
from drawn import rows, write_zarr

from unetpp.analysis.tables import read_column
from unetpp.bundle import find_bundle, read_bundle
from unetpp.data.images import read_image


@pytest.mark.parametrize("command", ["measure", "predict"])
def test_images_too_large_to_be_drawn_are_told_before_any_work(
    command, labelled, trained, monkeypatch, capsys
):
    from unetpp.analysis import planes

    monkeypatch.setattr(planes, "LARGE", 9599)
    (labelled / "images" / "broken.png").write_bytes(b"no picture")
    options = ["--out", labelled / "out", "--also", "numbered"]
    options += ["--images", labelled / "images"] if command == "measure" else ["--objects"]
    source = [labelled / "labels"] if command == "measure" else [trained, labelled / "images"]
    refuses(capsys, command, *source, *options, saying=["none.png", "120 x 80", "--also numbered"])
    assert not (labelled / "out").exists()


def test_objects_are_the_same_however_they_are_asked_for(trained, data, tmp_path):
    split = ["--split", "blood_cell"]
    predicted, images, labels = tmp_path / "out", data / "images", tmp_path / "out" / "labels"
    assert run("predict", trained, images, "--out", predicted, "--objects", *split) == 0
    found = rows(predicted / "objects.csv")
    counts = rows(predicted / "counts.csv")
    assert len(counts) == 10
    assert sum(int(row["count"]) for row in counts) == len(found)
    assert all(1 / 3 <= float(row["probability"]) <= 1 for row in found)

    command = ["measure", labels, "--images", images, "--model", trained, *split]
    options = ["--probabilities", predicted / "probabilities"]
    assert run(*command, *options, "--out", tmp_path / "with") == 0
    for name in ("objects.csv", "counts.csv"):
        assert (tmp_path / "with" / name).read_bytes() == (predicted / name).read_bytes()
    assert run("evaluate", trained, data, *split, "--json", tmp_path / "scores.json") == 0
    for name, count in json.loads((tmp_path / "scores.json").read_text())["objects"].items():
        assert count["predicted"] == sum(int(row["count"]) for row in counts if row["class"] == name)
    # The labels alone tell less.
    assert run(*command, "--out", tmp_path / "without") == 0
    assert "probability" in found[0]
    assert "probability" not in rows(tmp_path / "without" / "objects.csv")[0]


@pytest.fixture
def own(trained, tmp_path, capsys):
    """A model that says what its objects are."""
    model = shutil.copytree(find_bundle(trained), tmp_path / "own")
    assert run("objects", model) == 0
    assert capsys.readouterr().out == "connected pixels of a class\n"
    assert run("objects", model, "--split", "blood_cell", "--smallest", 40) == 0
    assert capsys.readouterr().out == "--split blood_cell --smallest 40\n"
    return model


def test_a_model_that_says_what_its_objects_are_needs_not_be_told(own, trained, data, tmp_path, capsys):
    rules = ["--split", "blood_cell", "--smallest", 40]
    images = data / "images"
    assert run("predict", own, images, "--out", tmp_path / "a", "--objects") == 0
    assert "as this model has them: --split blood_cell --smallest 40" in capsys.readouterr().err
    assert run("predict", trained, images, "--out", tmp_path / "b", "--objects", *rules) == 0
    assert run("measure", tmp_path / "a/labels", "--model", own, "--out", tmp_path / "c") == 0
    assert run("measure", tmp_path / "a/labels", "--model", trained, "--out", tmp_path / "d", *rules) == 0
    for first_, second in ("ab", "cd"):
        for name in ("objects.csv", "counts.csv"):
            assert (tmp_path / first_ / name).read_bytes() == (tmp_path / second / name).read_bytes()
    for model, options in ((own, []), (trained, rules)):
        file = tmp_path / f"{model.name}.json"
        assert run("evaluate", model, data, *options, "--json", file) == 0
    assert json.loads((tmp_path / "own.json").read_text()) == json.loads(
        (tmp_path / f"{trained.name}.json").read_text()
    )


def test_what_is_asked_for_takes_the_place_of_what_a_model_says(own, trained, data, tmp_path, capsys):
    for asked in (["--smallest", 0], ["--smallest", 7], ["--thin", "bacteria"]):
        for model, out in ((own, "a"), (trained, "b")):
            options = ["--objects", *asked, "--overwrite"]
            assert run("predict", model, data / "images", "--out", tmp_path / out, *options) == 0
        assert "as this model has them" not in capsys.readouterr().err
        found = [(tmp_path / out / "objects.csv").read_bytes() for out in "ab"]
        assert found[0] == found[1]
        assert not (tmp_path / "a" / "probabilities").exists()


def test_objects_of_a_model_are_of_its_classes_and_may_be_taken_back(own, capsys):
    refuses(capsys, "objects", own, "--split", "platelet", saying=["no class platelet", "blood_cell"])
    refuses(capsys, "objects", own, "--smallest", -1, saying="--smallest cannot be -1")
    assert read_bundle(own).objects == {"split": ["blood_cell"], "smallest": 40}
    assert run("objects", own, "--smallest", 0) == 0
    assert read_bundle(own).objects == {}


def test_nothing_but_labels_is_written_where_nothing_is_split(trained, data, tmp_path):
    assert run("predict", trained, data / "images", "--out", tmp_path / "out", "--objects") == 0
    assert not (tmp_path / "out" / "probabilities").exists()
    assert run("measure", tmp_path / "out" / "labels", "--model", trained, "--out", tmp_path / "again") == 0
    assert {row["class"] for row in rows(tmp_path / "again" / "counts.csv")} == {"blood_cell", "bacteria"}


def test_an_image_that_says_how_large_its_pixels_are_has_micrometres_and_a_scale_bar(trained, data, tmp_path):
    image = read_image(first(data / "images"))
    metadata = {"PhysicalSizeX": 0.3, "PhysicalSizeY": 0.3, "axes": "YXS"}
    tifffile.imwrite(tmp_path / "said.ome.tif", image, photometric="rgb", metadata=metadata)
    tifffile.imwrite(tmp_path / "unsaid.tif", image, photometric="rgb")
    for name, options in (("said.ome.tif", []), ("unsaid.tif", ["--pixel-size", "0.3"]), ("unsaid.tif", [])):
        out = tmp_path / f"{name}{len(options)}"
        assert run("predict", trained, tmp_path / name, "--out", out, "--objects", *options) == 0
    said, given, plain = (
        (first(tmp_path / folder / "overlays").read_bytes(), rows(tmp_path / folder / "objects.csv")[0])
        for folder in ("said.ome.tif0", "unsaid.tif2", "unsaid.tif0")
    )
    assert said[0] == given[0] != plain[0]
    assert said[1]["area_um2"] == given[1]["area_um2"]
    assert "area_um2" not in plain[1]


def test_what_cannot_be_measured_is_not_predicted_either(trained, data, tmp_path, capsys):
    image = sorted((data / "images").iterdir())[0]
    for source, out, options, saying in (
        (image, tmp_path / "labels.png", [], "need a folder"),
        (image, tmp_path / "out", ["--split", "whale"], "no class whale"),
        (image, tmp_path / "out", ["--pixel-size", "0"], "--pixel-size"),
        (image, tmp_path / "out", ["--split", "bacteria", "--thin", "bacteria"], "bacteria"),
    ):
        refuses(capsys, "predict", trained, source, "--out", out, "--objects", *options, saying=saying)
        assert not out.exists()


@pytest.mark.parametrize(
    "option",
    ["--split whale", "--thin bacteria", "--smallest 3", "--drop-border", "--table csv", "--also coco"],
)
def test_options_about_objects_need_objects(option, trained, data, tmp_path, capsys):
    command = ["predict", trained, data / "images", "--out", tmp_path / "out", "--pixel-size", "0.5"]
    refuses(capsys, *command, *option.split(), saying=[option.split()[0], "--objects"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("module", "options"), [("pyarrow", ["--table", "parquet"]), ("roifile", ["--also", "roi"])]
)
def test_what_cannot_be_written_is_not_predicted_either(
    module, options, trained, data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, module, None)
    command = ["predict", trained, data / "images", "--out", tmp_path / "out", "--objects"]
    refuses(capsys, *command, *options, saying=[f"{module} is not installed", "pip install"])
    assert not (tmp_path / "out").exists()


def test_where_nothing_was_predicted_nothing_is_measured(trained, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "broken.png").write_bytes(b"no picture")
    command = ["predict", trained, tmp_path / "images", "--out", tmp_path / "out", "--objects"]
    refuses(capsys, *command, saying="broken.png")
    assert not list(tmp_path.glob("out/*.csv"))


def test_what_could_not_be_predicted_again_is_not_measured(trained, data, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / f"{name}.png").write_bytes(first(data / "images").read_bytes())
    command = ["predict", trained, tmp_path / "images", "--out", tmp_path / "out", "--objects"]
    assert run(*command) == 0
    (tmp_path / "images" / "a.png").write_bytes(b"no picture")
    assert run(*command, "--overwrite") == 1
    assert "a.png: the image is damaged" in capsys.readouterr().err
    assert {row["image"] for row in rows(tmp_path / "out" / "counts.csv")} == {"b"}


def test_probabilities_of_a_former_prediction_are_not_used(trained, data, tmp_path):
    command = ["predict", trained, first(data / "images"), "--out", tmp_path / "out", "--objects"]
    header = tmp_path / "out" / "objects.csv"
    assert run(*command, "--probabilities") == 0
    assert ",probability" in header.read_text()
    assert run(*command, "--overwrite") == 0
    assert ",probability" not in header.read_text()


def test_zarr_is_predicted_and_its_objects_are_drawn(trained, data, tmp_path):
    write_zarr(tmp_path / "a.zarr", pixels(first(data / "images")))
    options = ["--objects", "--also", "numbered", "--out", tmp_path / "out"]
    assert run("predict", trained, tmp_path / "a.zarr", *options) == 0
    assert (tmp_path / "out" / "numbered" / "a.jpg").exists()
    assert "intensity_mean_1" in (tmp_path / "out" / "objects.csv").read_text()


def test_what_exists_is_not_predicted_over(trained, data, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "coco.json").write_text("made by hand")
    command = ["predict", trained, data / "images", "--out", tmp_path / "out", "--objects", "--also", "coco"]
    refuses(capsys, *command, saying=["coco.json", "exists"])
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["coco.json"]


@pytest.mark.parametrize("table", ["csv", "parquet"])
def test_tables_that_have_other_images_are_not_replaced_on_resuming(trained, data, tmp_path, capsys, table):
    images, counts = sorted((data / "images").iterdir()), tmp_path / "out" / f"counts.{table}"
    options = ["--out", tmp_path / "out", "--objects", "--table", table]
    assert run("predict", trained, *images[:2], *options) == 0
    before = counts.read_bytes()
    assert run("predict", trained, *images[:2], *options, "--resume") == 0
    assert counts.read_bytes() == before
    others = ["predict", trained, *images[1:3], *options, "--resume"]
    refuses(capsys, *others, saying=[str(counts), images[0].stem, "left out"])
    assert counts.read_bytes() == before
    assert run("predict", trained, *images[:3], *options, "--resume") == 0
    assert len(set(read_column(counts, "image"))) == 3
    counts.write_bytes(b"\xff")
    refuses(capsys, *others, saying=[str(counts), "another kind"])


def test_what_an_earlier_run_left_beside_the_tables_is_told(trained, data, tmp_path, capsys):
    out, also = tmp_path / "out", ["--also", "coco", "--also", "instances"]
    command = ["predict", trained, first(data / "images"), "--out", out, "--objects"]
    assert run(*command, *also) == 0
    assert "earlier run" not in capsys.readouterr().err
    before = (out / "coco.json").read_bytes()
    assert run(*command, "--resume", "--smallest", 30, "--also", "instances") == 0
    said = capsys.readouterr().err
    assert f"coco in {out}: as an earlier run left it; --also coco writes it anew" in said
    assert "instances in" not in said
    assert (out / "coco.json").read_bytes() == before
    # Nor is what was measured an earlier run's.
    command = ["measure", out / "instances", "--instances", "--out", out, "--overwrite"]
    assert run(*command) == 0
    assert "instances in" not in capsys.readouterr().err
