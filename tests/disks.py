"""A disk so small that a test can fill it."""

import shutil
import subprocess
from contextlib import contextmanager

import pytest


@contextmanager
def mounted(folder, size):
    """A disk of so many bytes in memory, at a folder."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a disk can be mounted only by root, on Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(path, *, leave=0):
    """Write a file that takes all that its disk has free, but for some bytes."""
    with path.open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(path.parent).free - leave)))
