"""The terminal of the commands, and the progress bar of those over demonstrations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from altbench.core.types import Progress

PIPE_WIDTH = 110
"""Columns of what is written into a file or pipe; the widest tables fit."""


def make_console() -> Console:
    """Make the console on standard output; into a file or pipe, `PIPE_WIDTH` wide."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """Show a bar with count, failed attempts and time left; yield its `Progress`."""
    from rich import progress as bars

    columns = (
        bars.TextColumn(what),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[failed]:.0f} failed attempts"),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    bar = bars.Progress(*columns)
    task = bar.add_task(what, total=None, failed=0)

    def report(done: int, total: int, metrics: Mapping[str, float]) -> None:
        # Started by the first report, so that an earlier error appears without a bar.
        bar.start()
        bar.update(task, completed=done, total=total, failed=metrics.get("failed", 0))

    try:
        yield report
    finally:
        if bar.live.is_started:
            bar.stop()
