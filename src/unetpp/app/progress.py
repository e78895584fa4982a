"""What a terminal shows while work goes on."""

import time
from collections.abc import Sequence

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from unetpp.analysis.figures import duration, figure
from unetpp.app.terminal import Unheard


def counting(console: Unheard) -> Progress:
    """A bar for work that is counted in images."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=console)


class TrainingProgress:
    """Shows a run: the loss, images a second and time left on a bar, and a line for each validation.

    Args:
        console: where to.
        batch: images a step.
    """

    def __init__(self, console: Unheard, batch: int):
        self.console, self.batch = console, batch
        columns = (
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.description}"),
        )
        self.bar = Progress(*columns, console=console)
        self.task = self.bar.add_task("the first step takes a while", total=1.0)
        self.before: tuple[float, int] | None = None

    def __enter__(self):
        self.bar.start()
        return self

    def __exit__(self, *error):
        self.bar.stop()

    def step(self, budget, loss: float) -> None:
        """Move the bar."""
        if self.before is None:
            self.before = (time.monotonic(), budget.taken)
        seconds, steps = time.monotonic() - self.before[0], budget.taken - self.before[1]
        speed = f"{self.batch * steps / seconds:.1f} images/s" if steps else ""
        left = f"{duration(budget.left)} left"
        self.bar.update(self.task, completed=budget.share, description=f"loss {loss:.3f}  {speed}  {left}")

    def warn(self, line: str) -> None:
        """A line that stands out."""
        self.console.say(line, style="yellow")

    def epoch(self, row: dict) -> None:
        """A line for the validation; its time does not count as training."""
        self.before = None
        line = f"epoch {row['epoch']:>3}  {duration(row['seconds']):>7}  loss {row['loss']:.3f}"
        if row["mean_iou"] is not None:
            ious = {name.removeprefix("iou_"): iou for name, iou in row.items() if name.startswith("iou_")}
            line += "  IoU  " + "  ".join(f"{name} {figure(iou)}" for name, iou in ious.items())
            line += f"  mean {figure(row['mean_iou'])}"
        self.console.say(line)


def settings_table(rows: Sequence[tuple[str, ...]]) -> Table:
    """Names and values side by side, and what more there is; what is too long is folded."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    for _ in max(rows, key=len):
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
