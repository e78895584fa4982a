"""Where commands speak: the terminal's output, and its errors."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from unetpp.errors import UnetppError

# Names of files and classes are shown as they are.
console = Console(markup=False, emoji=False)
errors = Console(stderr=True, markup=False, emoji=False)


def print_table(table: Table) -> None:
    """Print a table; into a file or another program as wide as it is, for nothing there is 80 columns wide."""
    if not console.is_terminal:
        table.width = console.measure(table, options=console.options.update(width=10_000)).maximum
    console.print(table, crop=False, highlight=False)


def show_failures(failures: Sequence[UnetppError]) -> None:
    """Name what could not be used, a line each."""
    for failure in failures:
        errors.print(f"unetpp: {failure}", style="red", highlight=False, soft_wrap=True, markup=False)
