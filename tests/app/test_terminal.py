"""What is printed where nobody reads any more."""

import io
import os
import sys

import pytest
from commands import run
from rich.progress import Progress

from unetpp.app import terminal
from unetpp.app.progress import settings_table


@pytest.fixture
def closed():
    """A pipe that nobody reads, as of `unetpp ... | true`; pytest itself sets sys.stdout before each test."""
    end, start = os.pipe()
    os.close(end)
    with open(start, "w") as stream:  # noqa: PTH123 (a number of a file is no path)
        yield stream


def test_a_pipe_that_is_closed_ends_no_work(closed, monkeypatch):
    monkeypatch.setattr(sys, "stdout", closed)
    for line in range(3):
        terminal.console.print(line)
    with Progress(console=terminal.console) as bar:
        bar.add_task("work", total=1)
    closed.flush()


def test_errors_into_a_closed_pipe_leave_the_output_alone(closed, monkeypatch, capfd):
    monkeypatch.setattr(sys, "stderr", closed)
    terminal.errors.print("lost")
    terminal.errors.print("lost")
    terminal.console.print("read")
    assert capfd.readouterr().out == "read\n"


def test_what_is_predicted_is_measured_where_nobody_reads(trained, data, tmp_path, closed, monkeypatch):
    monkeypatch.setattr(sys, "stdout", closed)
    assert run("predict", trained, data / "images", "--out", tmp_path / "out", "--objects") == 0
    assert (tmp_path / "out" / "objects.csv").exists()


@pytest.mark.parametrize("width", [40, 80, None])
def test_a_table_of_settings_loses_no_letter(width, monkeypatch):
    rows = [
        ("classes", ", ".join(f"a_class_of_a_rather_long_name_{k}" for k in range(5)), ""),
        (
            "training_images",
            "/data/of/a/laboratory/" * 6,
            "as given, and for a reason that takes a whole line to say",
        ),
    ]
    file = io.StringIO()
    options = {"width": width, "force_terminal": True, "color_system": None} if width else {}
    monkeypatch.setattr(
        terminal, "console", terminal.Unheard(file=file, markup=False, emoji=False, **options)
    )
    terminal.print_table(settings_table(rows))
    letters = ["".join(text.split()) for text in (file.getvalue(), *map("".join, rows))]
    assert sorted(letters[0]) == sorted("".join(letters[1:]))
    if not width:
        assert len(file.getvalue().splitlines()) == len(rows)
