"""Tests of learning whose outcome no last bit decides: a few seeds are tried, and one must learn.

Rounding differs from processor to processor, and training amplifies it. So a single
training run may end anywhere in the spread of its seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

TRIALS = 8
"""Seeds that are tried at most.

In 60 seeds each, every trial of the suite learned. So with 99.9 % confidence one trial
fails with a probability below 1 - 0.001 ** (1 / 60) = 0.11, and all eight, whose
initial weights are independent, with one below 0.11 ** 8 = 2e-8.
"""


def assert_learns(trial: Callable[[int], float], below: float) -> None:
    """Assert that `trial(seed)`, an error after training, ends below `below` for some seed.

    The first that does ends the test, so a test costs one training run as a rule.
    """
    errors: list[float] = []
    while not errors or errors[-1] >= below:
        if len(errors) == TRIALS:
            pytest.fail(f"expected an error below {below} from one of {TRIALS} seeds, got {errors}")
        errors.append(float(trial(len(errors))))


def descend(parameters: Iterable[Tensor], loss: Callable[[], Tensor], steps: int, learning_rate: float) -> list[float]:
    """Take `steps` of Adam down `loss`; return its value before each of them."""
    optimizer = torch.optim.Adam(parameters, learning_rate)
    losses = []
    for _ in range(steps):
        value = loss()
        losses.append(value.item())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return losses
