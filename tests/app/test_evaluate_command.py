"""unetpp evaluate, levels, quantize: scores of models."""

import json
import shutil

import numpy as np
import pytest
import tifffile
from commands import FAST, first, pixels, refuses, run
from PIL import Image
from scipy import ndimage

from unetpp.app import show
from unetpp.app.evaluating import groups_of
from unetpp.bundle import DESCRIPTION, GRAPH
from unetpp.data.dataset import find_samples
from unetpp.data.images import write_png
from unetpp.errors import InstallError


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
    assert [row["name"] for row in scores["per_image"]] == [
        p.stem for p in sorted((data / "images").iterdir())
    ]


def test_levels_are_measured_and_one_is_kept(data, tmp_path, capsys):
    deep = tmp_path / "a deep one"
    assert run("train", data, "--out", deep, *FAST, "--filters", "2,3,4", "--deep-supervision") == 0
    assert f"next: unetpp predict '{deep}' IMAGES --out OUT" in capsys.readouterr().out
    assert run("levels", deep, data) == 0
    shown = capsys.readouterr().out
    assert f"keep one: unetpp prune '{deep}' --level LEVEL --out FOLDER" in shown
    assert all(part in shown for part in ("level 1", "level 2", "bacteria", "ms", "MB"))
    assert run("prune", deep, "--level", 1, "--out", tmp_path / "small") == 0
    for level, model in (("1", deep), ("1", tmp_path / "small")):
        assert run("predict", model, data / "images", "--out", tmp_path / model.name, "--level", level) == 0
    for path in sorted((tmp_path / deep.name / "labels").iterdir()):
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


def test_a_model_is_compared_with_another_on_the_same_images(trained, data, tmp_path, capsys):
    options = ["--against", trained, "--json", tmp_path / "scores.json", "--split", "blood_cell"]
    assert run("evaluate", trained, data, *options) == 0
    shown = capsys.readouterr().out
    assert "+0.000 to +0.000" in shown
    against = json.loads((tmp_path / "scores.json").read_text())["against"]
    assert against["iou"]["difference"] == {"background": 0, "blood_cell": 0, "bacteria": 0}


def test_both_models_are_compared_by_the_objects_of_the_first(trained, data, tmp_path, capsys):
    other, scores = shutil.copytree(trained / "model", tmp_path / "other"), tmp_path / "scores.json"
    assert run("objects", other, "--thin", "bacteria", "--smallest", 9) == 0
    own = "--thin bacteria --smallest 9"
    for model, against, options, told, rules in (
        (
            trained,
            other,
            (),
            f"its own objects would be {own}; both are compared by connected pixels",
            [[], 0],
        ),
        (
            other,
            trained,
            (),
            f"would be connected pixels of a class; both are compared by {own}",
            [["bacteria"], 9],
        ),
        (trained, other, ("--smallest", 4), "", [[], 4]),
    ):
        assert (
            run("evaluate", model, data, "--against", against, *options, "--json", scores, "--overwrite") == 0
        )
        said = " ".join(capsys.readouterr().err.split())
        assert told in said if told else "compared by" not in said
        found = json.loads(scores.read_text())
        assert [found["rules"]["thin"], found["rules"]["smallest"]] == rules
        # The network is the same.
        gains = found["against"]["object_ap"]["difference"].values()
        assert {gain for by_iou in gains for gain in by_iou.values()} <= {0, None}


def test_true_objects_are_taken_from_a_folder(trained, data, tmp_path, capsys):
    folder = tmp_path / "instances"
    folder.mkdir()
    total = 0
    for path in (data / "masks").iterdir():
        numbers, count = ndimage.label(pixels(path) == 1)
        total += count
        Image.fromarray(numbers.astype(np.uint16)).save(folder / path.name)
    assert run("evaluate", trained, data, "--instances", folder, "--json", tmp_path / "scores.json") == 0
    found = json.loads((tmp_path / "scores.json").read_text())["objects"]
    assert found["blood_cell"]["true"] == total
    # Of the class that nobody numbered, objects are found by the rules.
    assert run("evaluate", trained, data, "--json", tmp_path / "by_rules.json") == 0
    by_rules = json.loads((tmp_path / "by_rules.json").read_text())["objects"]
    assert found["bacteria"] == by_rules["bacteria"]
    assert found["bacteria"]["true"] > 0
    sorted(folder.iterdir())[0].unlink()
    refuses(
        capsys,
        "evaluate",
        trained,
        data,
        "--instances",
        folder,
        saying="1 image without label image of objects",
    )


@pytest.mark.parametrize(
    ("options", "saying"),
    [
        (["--tolerance", "-1"], "--tolerance"),
        (["--split", "whale"], ["no class whale", "bacteria"]),
        (["--smallest", "-1"], "--smallest"),
        (["--instances", "nowhere"], "nowhere: there is no such folder"),
        (["--against", "nowhere"], "no such folder"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, saying, trained, data, capsys):
    refuses(capsys, "evaluate", trained, data, *options, saying=saying)


def truth_of(folder, data, change=lambda numbers: numbers):
    """A folder of numbered objects of the masks' blood cells."""
    folder.mkdir()
    for path in (data / "masks").iterdir():
        numbers = change(ndimage.label(pixels(path) == 1)[0].astype(np.int32))
        tifffile.imwrite(folder / f"{path.stem}.tif", numbers)
    return folder


def objects_of(result):
    return json.loads(result.read_text())["objects"]


def test_how_objects_are_numbered_does_not_matter(trained, data, tmp_path):
    for name, change in (("plain", lambda n: n), ("large", lambda n: n * 400_000_000 // max(1, n.max()))):
        folder, out = truth_of(tmp_path / name, data, change), tmp_path / f"{name}.json"
        assert run("evaluate", trained, data, "--instances", folder, "--json", out) == 0
    assert objects_of(tmp_path / "plain.json") == objects_of(tmp_path / "large.json")


def test_small_true_objects_are_left_out_too(trained, data, tmp_path):
    folder, out = truth_of(tmp_path / "instances", data), tmp_path / "scores.json"
    assert run("evaluate", trained, data, "--instances", folder, "--smallest", 10**6, "--json", out) == 0
    assert all(counts["true"] == 0 for counts in objects_of(out).values())


def test_the_true_objects_of_another_image_are_not_taken(trained, data, tmp_path):
    folder, out = truth_of(tmp_path / "instances", data), tmp_path / "scores.json"
    first = sorted(folder.iterdir())[0]
    tifffile.imwrite(folder / f"{first.stem}.1.tif", np.zeros((3, 3), np.uint16))
    assert run("evaluate", trained, data, "--instances", folder, "--json", out) == 0


def test_numbers_below_zero_are_refused(trained, data, tmp_path, capsys):
    folder = truth_of(tmp_path / "instances", data, lambda numbers: numbers - 1)
    refuses(capsys, "evaluate", trained, data, "--instances", folder, saying=["-1", "number objects from 1"])


def test_models_of_other_classes_are_refused_before_any_work(trained, data, tmp_path, capsys):
    other = shutil.copytree(trained / "model", tmp_path / "other")
    description = json.loads((other / DESCRIPTION).read_text())
    description["classes"] = ["background", "cells", "rods"]
    (other / DESCRIPTION).write_text(json.dumps(description))
    refuses(capsys, "evaluate", trained, data, "--against", other, saying=["cells", "same classes"])
    assert "evaluating" not in capsys.readouterr().err


def test_a_model_to_compare_with_that_cannot_be_opened_is_refused_before_any_work(
    trained, data, tmp_path, monkeypatch, capsys
):
    broken = shutil.copytree(trained / "model", tmp_path / "broken")
    (broken / GRAPH).write_text("<net/>")
    monkeypatch.setattr("unetpp.inference.evaluate.predictions", None)
    refuses(capsys, "evaluate", trained, data, "--against", broken, saying=str(broken / GRAPH))


def test_names_are_printed_as_they_are(trained, data, tmp_path, capsys):
    out = tmp_path / "[red]scores.json"
    assert run("report", trained, data, "--out", out.with_suffix(".html")) == 0
    assert "[red]scores.html" in capsys.readouterr().out


def test_data_without_any_object_has_scores_and_a_page(trained, copy, tmp_path):
    for mask in (copy / "masks").iterdir():
        Image.fromarray(0 * pixels(mask)).save(mask)
    # Nothing is true, and of so many pixels nothing is predicted either.
    nothing = ["--smallest", 10**6]
    assert run("evaluate", trained, copy, "--json", tmp_path / "scores.json", *nothing) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    for name in ("blood_cell", "bacteria"):
        assert scores["objects"][name] == {"true": 0, "predicted": 0}
        assert scores["figures"]["object_f1"][name] == dict.fromkeys(scores["figures"]["object_f1"][name])
        assert scores["intervals"]["object_pq"][name]["0.50"] == [None, None]
        assert scores["classes"][name]["recall"] is None
        assert scores["classes"][name]["support"] == 0
    assert run("report", trained, copy, "--out", tmp_path / "page.html", *nothing) == 0
    page = (tmp_path / "page.html").read_text()
    assert "no blood_cell, and there is none" in page
    assert "0 objects in 0 images" in page


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_masks_of_other_classes_are_refused_with_what_can_be_done_about_it(command, trained, copy, capsys):
    mask = first(copy / "masks")
    Image.fromarray(pixels(mask) + np.uint8(2)).save(mask)
    refuses(capsys, command, trained, copy, saying=[mask.name, "values", "a model that has them"])


@pytest.mark.parametrize("command", ["evaluate", "report", "levels", "quantize"])
def test_data_that_name_other_classes_are_refused(command, trained, copy, capsys):
    where = ("--data",) if command == "quantize" else ()
    (copy / "classes.txt").write_text("background\nbacteria\nblood_cell\n")
    saying = ["classes.txt", "background, bacteria, blood_cell, the model's background, blood_cell, bacteria"]
    refuses(capsys, command, trained, *where, copy, saying=saying)


def test_images_that_the_model_was_trained_on_are_told(trained, data, tmp_path, capsys):
    split = json.loads((trained / "split.json").read_text())
    told = f"{len(split['train'])} of 5 images are those it was trained on"
    assert run("evaluate", trained, data) == 0
    assert told in capsys.readouterr().err
    assert run("report", trained, data, "--out", tmp_path / "all.html") == 0
    assert told in (tmp_path / "all.html").read_text()
    assert run("report", trained, "--out", tmp_path / "held_out.html") == 0
    assert "These images have chosen the model&#39;s best epoch" in (tmp_path / "held_out.html").read_text()


def test_intervals_draw_together_what_a_pattern_groups(trained, copy, tmp_path):
    for k, path in enumerate(sorted((copy / "images").iterdir())):
        path.rename(path.with_stem(f"slide{k % 2}_{k}"))
        (copy / "masks" / path.name).rename(copy / "masks" / f"slide{k % 2}_{k}.png")
    grouped = ["--group-by", r"^slide\d"]
    assert run("evaluate", trained, copy, "--json", tmp_path / "apart.json") == 0
    assert run("evaluate", trained, copy, "--json", tmp_path / "grouped.json", *grouped) == 0
    apart, together = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("apart", "grouped"))
    assert apart["figures"] == together["figures"]
    assert None not in apart["intervals"]["mean_iou"]
    assert together["intervals"]["mean_iou"] == [None, None]
    assert run("report", trained, copy, "--out", tmp_path / "page.html", *grouped) == 0
    assert r"groups of images, ^slide\d" in (tmp_path / "page.html").read_text()


def test_slides_with_an_empty_field_each_are_drawn_apart(tmp_path):
    names = [f"slide{slide}_{field}" for slide in range(6) for field in range(2)]
    for k, name in enumerate(names):
        image = np.random.default_rng(k).integers(0, 255, (20, 20, 3), np.uint8) * np.uint8(k % 2)
        write_png(tmp_path / "images" / f"{name}.png", image)
        write_png(tmp_path / "masks" / f"{name}.png", np.zeros((20, 20), np.uint8))
    samples = find_samples(tmp_path)
    assert groups_of(samples, r"^slide\d") == [int(sample.stem[5]) for sample in samples]
    assert groups_of(samples, "") is None


def test_scores_are_saved_though_what_reads_them_has_ended(trained, data, tmp_path, monkeypatch):
    def ended(result):
        raise BrokenPipeError

    monkeypatch.setattr(show, "table", ended)
    assert run("evaluate", trained, data, "--json", tmp_path / "scores.json") == 1
    assert json.loads((tmp_path / "scores.json").read_text())["images"] == 5


def test_scores_that_cannot_be_saved_are_not_measured_first(trained, data, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("unetpp.inference.evaluate.predictions", None)
    place = tmp_path / "file" / "below" / "scores.json"
    refuses(capsys, "evaluate", trained, data, "--json", place, saying="nothing can be written here")
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("folder", ["images", "masks", "instances"])
@pytest.mark.parametrize("command", ["evaluate --json", "report --out", "plan --out"])
def test_no_output_takes_the_place_of_a_file_of_the_data(command, folder, trained, copy, capsys):
    name, option = command.split()
    truth = truth_of(copy / "instances", copy)
    path = first(copy / folder)
    before = path.read_bytes()
    given = [] if name == "plan" else [trained]
    options = ["--instances", truth, option, path, "--overwrite"]
    refuses(capsys, name, *given, copy, *options, saying=[path.name, "one of the images lies here"])
    assert path.read_bytes() == before


@pytest.mark.parametrize("folder", ["masks", "instances"])
def test_truth_of_another_size_is_refused_before_any_work(folder, trained, copy, monkeypatch, capsys):
    truth = truth_of(copy / "instances", copy)
    last = sorted((copy / folder).iterdir())[-1]
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(last)
    monkeypatch.setattr("unetpp.inference.evaluate.predictions", None)
    saying = [last.name, "4 x 3 pixels, the image 56 x 40"]
    refuses(capsys, "evaluate", trained, copy, "--instances", truth, saying=saying)


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_stack_is_refused_before_any_work(folder, trained, copy, monkeypatch, capsys):
    last = sorted((copy / folder).iterdir())[-1]
    last.unlink()
    tifffile.imwrite(last.with_suffix(".tif"), np.zeros((3, 40, 56), np.uint8), photometric="minisblack")
    monkeypatch.setattr("unetpp.inference.evaluate.predictions", None)
    refuses(capsys, "evaluate", trained, copy, saying=[f"{last.stem}.tif", "a stack of 3 planes"])


def test_it_is_told_of_both_models_what_they_were_trained_on(trained, data, tmp_path, capsys):
    shutil.copytree(trained / "model", tmp_path / "stranger")
    assert run("evaluate", tmp_path / "stranger", data, "--against", trained) == 0
    told = capsys.readouterr().err.replace("\n", " ")
    count = len(json.loads((trained / "split.json").read_text())["train"])
    assert f"{trained}: {count} of 5 images are those it was trained on" in told


def test_levels_choose_a_backend_as_prediction_does(trained, data, monkeypatch, capsys):
    def refuse():
        raise InstallError("there is no backend")

    monkeypatch.setattr("unetpp.app.backends.choose_backend", refuse)
    refuses(capsys, "levels", trained, data, "--engine", "keras", saying="there is no backend")
