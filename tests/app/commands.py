"""Commands run in this process, and what the tests of several read."""

import numpy as np
import pytest
from PIL import Image

from unetpp.app.cli import main

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


def pixels(path):
    with Image.open(path) as picture:
        return np.array(picture)


def first(folder):
    return sorted(folder.iterdir())[0]
