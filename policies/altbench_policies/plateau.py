"""When training ends early: a rule on the mean loss of one stretch of steps and the next."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Plateau:
    """The end of a training run of at most `total` steps, brought forward at a plateau of the loss.

    After every `window` steps their mean loss is compared with that of the `window` steps before.
    If it fell by less than the `share` of that, the loss is on a plateau: over `window` more steps
    the learning rate goes down to 0, which settles the weights, and training ends. The rule reads
    losses alone, so that the same run ends at the same step, also if it was interrupted.
    """

    def __init__(self, share: float, window: int, total: int, device: torch.device) -> None:
        self.share, self.window = share, window
        self._sum = torch.zeros((), dtype=torch.float64, device=device)
        self._before = torch.tensor(math.inf, dtype=torch.float64)
        self._end = torch.tensor(total)
        self._found = torch.tensor(False)

    @property
    def end(self) -> int:
        """The number of steps after which training ends, as far as is known."""
        return int(self._end)

    def record(self, step: int, loss: Tensor) -> None:
        """Count the loss of step number `step` (from 0)."""
        self._sum += loss.detach().double()
        done = step + 1
        # An accelerator is waited for once a window, not at every step.
        if done % self.window or self._found:
            return
        mean = self._sum.cpu() / self.window
        if mean > (1 - self.share) * self._before:
            self._found.fill_(True)
            self._end.fill_(min(self.end, done + self.window))
        self._before.copy_(mean)
        self._sum.zero_()

    def cooling(self, step: int) -> float:
        """Return the factor of the learning rate in step number `step`: 1 until a plateau is found."""
        return max(0.0, min(1.0, (self.end - step) / self.window)) if self._found else 1.0

    def tensors(self) -> dict[str, Tensor]:
        """Return name -> every tensor that `record` changes."""
        return {"sum": self._sum, "before": self._before, "end": self._end, "found": self._found}
