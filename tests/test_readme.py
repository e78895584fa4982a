"""What the README says is so."""

import json
import re
import shlex
from pathlib import Path

import pytest

from unetpp.app.cli import cli, main
from unetpp.data.synthetic import write_dataset

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo as README has it, with a shorter training."""
    folder = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises(SystemExit) as stop:
            main(["demo", "--budget", "5s"])
    assert not stop.value.code
    return folder


def test_the_five_lines_run(capsys):
    exec(PYTHON[0], {})
    assert "8,193,891" in capsys.readouterr().out


@pytest.mark.parametrize("example", PYTHON[1:], ids=range(1, len(PYTHON)))
def test_every_python_example_runs(example, demo, monkeypatch):
    monkeypatch.chdir(demo)
    names = {}
    exec(example, names)
    if "labels" in names:
        assert names["labels"].shape == names["image"].shape[:2]
        assert names["probabilities"].shape[2] == len(names["bundle"].classes)


def test_every_command_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "DATA", 4, size=(32, 32))
    (tmp_path / "IMAGES").symlink_to(tmp_path / "DATA" / "images")
    write_dataset(tmp_path / "TEST", 2, size=(32, 32), seed=9)
    (tmp_path / "models").symlink_to(ROOT / "models")
    ran = set()
    for line in COMMANDS:
        words = shlex.split(line, comments=True)
        if words[:1] != ["unetpp"]:
            continue
        if "--budget" in words:
            budget = words.index("--budget")
            del words[budget : budget + 2]
        if words[1] in ("train", "lr-find"):
            words += shlex.split("--epochs 1 --filters 2,3,4 --patch 32 --long-side 0")
        with pytest.raises(SystemExit) as stop:
            main(words[1:])
        assert not stop.value.code, line
        ran.add(words[1])
    assert ran == set(cli.commands) - {"demo"}
    assert (tmp_path / "scores.json").is_file()
    assert len(list((tmp_path / "OUT" / "labels").iterdir())) == 4


def test_the_demo_leaves_what_it_says(demo):
    for name in (
        "data",
        "run/model",
        "run/validation",
        "prediction/labels",
        "prediction/overlays",
        "scores.json",
    ):
        assert (demo / "demo" / name).exists()
    scores = json.loads((demo / "demo" / "scores.json").read_text())
    # Cells that touch and specks of a few pixels: counted as the model says.
    assert scores["objects"]["blood_cell"]["true"] == 114


def test_every_command_and_every_option_named_is_known():
    options = {name for command in cli.commands.values() for option in command.params for name in option.opts}
    assert set(re.findall(r"`(--[a-z-]+)`", README)) <= options
    assert all(f"unetpp {name}" in README for name in cli.commands)


def test_what_is_linked_is_there():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists()
