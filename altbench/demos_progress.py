"""The progress bar of the commands over demonstrations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from altbench.api import Progress


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """A bar that counts to the total with the time left, and shows failed attempts."""
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
        bar.start()  # with the first report, so that an error before it stands alone
        bar.update(task, completed=done, total=total, failed=metrics.get("failed", 0))

    try:
        yield report
    finally:
        if bar.live.is_started:
            bar.stop()
