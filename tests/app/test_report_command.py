"""unetpp report: a page of a run, and how it refuses."""

import json
import re
import shutil

import pytest
from commands import refuses, run


def test_a_run_s_report_is_on_the_images_it_was_validated_on(trained, tmp_path, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    assert run("report", folder, "--split", "blood_cell") == 0
    page = (folder / "report.html").read_text()
    assert "run on its validation images" in page
    assert "Learning curves" in page
    assert "SHA-256" in page
    assert re.search(r"\d+ of \d+ blood_cell", page)
    refuses(capsys, "report", folder, saying="--overwrite")
    assert run("report", folder, "--overwrite") == 0


@pytest.mark.parametrize(
    ("group_by", "table", "told"),
    [
        ("", False, "images, each taken by itself"),
        (".", False, "groups of images, ."),
        ("slides.csv:slide", True, "groups of images, slides.csv:slide"),
        # The table may be gone by then.
        ("slides.csv:slide", False, "images, each taken by itself"),
    ],
)
def test_a_run_s_report_draws_together_what_training_kept_together(
    group_by, table, told, trained, tmp_path, monkeypatch
):
    folder = shutil.copytree(trained, tmp_path / "run")
    plan = json.loads((folder / "plan.json").read_text())
    plan["options"]["group_by"] = group_by
    (folder / "plan.json").write_text(json.dumps(plan))
    monkeypatch.chdir(tmp_path)
    if table:
        stems = [sample["stem"] for sample in json.loads((folder / "split.json").read_text())["validation"]]
        (tmp_path / "slides.csv").write_text("".join(["image,slide\n", *(f"{stem},1\n" for stem in stems)]))
    assert run("report", folder) == 0
    assert told in " ".join((folder / "report.html").read_text().split())


def test_a_model_s_report_is_on_given_data(trained, data, tmp_path, capsys):
    refuses(capsys, "report", trained / "model", saying=["validated on", "DATA"])
    refuses(
        capsys, "report", trained, "--masks", data / "masks", saying=["--masks is about DATA", "RUN DATA"]
    )
    assert run("report", trained / "model", data, "--out", tmp_path / "page.html") == 0
    page = (tmp_path / "page.html").read_text()
    assert "Learning curves" not in page
    assert "of 5 images together" in page
    assert "connected pixels of a class" in page


def test_what_cannot_be_reported_leaves_nothing(trained, data, copy, tmp_path, capsys):
    out = tmp_path / "page.html"
    refuses(capsys, "report", trained, data, "--out", out, "--split", "whale", saying="no class whale")
    refuses(capsys, "report", trained, tmp_path / "nowhere", "--out", out, saying="no such folder")
    (next((copy / "images").iterdir())).write_bytes(b"")
    refuses(capsys, "report", trained, copy, "--out", out, saying="the file is empty")
    assert not out.exists()
