"""Where commands speak: the terminal's output, and its errors."""

from collections.abc import Sequence

from rich.console import Console

from unetpp.errors import UnetppError

# Names of files and classes are shown as they are.
console = Console(markup=False, emoji=False)
errors = Console(stderr=True, markup=False, emoji=False)


def show_failures(failures: Sequence[UnetppError]) -> None:
    """Name what could not be used, a line each."""
    for failure in failures:
        errors.print(f"unetpp: {failure}", style="red", highlight=False, soft_wrap=True, markup=False)
