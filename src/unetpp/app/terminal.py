"""Where commands speak: the terminal's output, and its errors."""

import os
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table

from unetpp.errors import UnetppError


class Unheard(Console):
    """A console that goes on where nobody reads any more, as of `unetpp train ... | head`."""

    def on_broken_pipe(self) -> None:
        """Write to nowhere from now on."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)

    def say(self, text: str, style: str | None = None) -> None:
        """Print lines as they are, however wide the terminal is."""
        self.print(text, style=style, soft_wrap=True)


class InOrder(click.Group):
    """Commands that are listed in the order of their use."""

    def list_commands(self, ctx):
        """As they are defined."""
        return list(self.commands)


# Names of files and classes are shown as they are.
console = Unheard(markup=False, emoji=False, highlight=False)
errors = Unheard(stderr=True, markup=False, emoji=False, highlight=False)


def print_table(table: Table) -> None:
    """Print a table; into a file or another program as wide as it is, for nothing there is 80 columns wide."""
    if not console.is_terminal:
        table.width = console.measure(table, options=console.options.update(width=10_000)).maximum
    console.print(table, crop=False)


def show_failures(failures: Sequence[UnetppError]) -> None:
    """Name what could not be used, a line each."""
    for failure in failures:
        errors.say(f"unetpp: {failure}", style="red")
