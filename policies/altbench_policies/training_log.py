"""The log of a training run, once a second, to TensorBoard and the caller.

It holds loss, throughput, learning rate, and the wait for data.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from altbench.api import FitContext

INTERVAL = 1.0
"""Seconds between reports. Reading the loss waits for a GPU, so it is read this rarely."""


class TrainingLog:
    """A log that averages the loss between reports.

    As a context manager it closes its files. `data_share`: the part of the loop's time
    that was spent waiting for data. It counts from the making of this log, so in a
    resumed run from the start of this process.
    """

    def __init__(self, context: FitContext, first: int, total: int, images_per_step: int) -> None:
        self.context, self.total, self.images_per_step = context, total, images_per_step
        self._reported, self._time = first, time.perf_counter()
        self._began = self._time
        self._sum: Tensor | None = None
        self._writer = _writer(context, first) if first < total else None

    def record(self, step: int, loss: Tensor, learning_rate: float, data_seconds: float) -> None:
        """Note the loss of step number `step` (from 1).

        `data_seconds`: time spent on data since the log was made.
        """
        self._sum = loss.clone() if self._sum is None else self._sum + loss
        elapsed = time.perf_counter() - self._time
        if elapsed < INTERVAL and step < self.total:
            return
        done = step - self._reported
        metrics = {
            "loss": float(self._sum) / done,
            "images_per_second": self.images_per_step * done / max(elapsed, 1e-9),
            "learning_rate": learning_rate,
            "data_share": data_seconds / max(time.perf_counter() - self._began, 1e-9),
        }
        self._report(step, metrics)
        self._reported, self._time, self._sum = step, time.perf_counter(), None

    def _report(self, step: int, metrics: Mapping[str, float]) -> None:
        self.context.progress(step, self.total, metrics)
        if self._writer is not None:
            for name, value in metrics.items():
                self._writer.add_scalar(f"train/{name}", value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()


def _writer(context: FitContext, first: int) -> torch.utils.tensorboard.SummaryWriter | None:
    """Return a TensorBoard writer in the run's folder, or None without a folder.

    Steps past `first`, which a killed run wrote, are hidden.
    """
    if context.folder is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(context.folder / "logs", purge_step=first + 1)
