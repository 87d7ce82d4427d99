"""Policies with an MLP as their head: its config for two cores, and its hidden layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pydantic import Field
from torch import nn

from altbench.api import added, changed
from altbench_policies.chunk_policy import ChunkSpec


class MlpSpec(ChunkSpec):
    """Config of a policy with an MLP head. `hidden`: widths of its hidden layers.

    The chunk is the `pred_horizon` actions from the present frame on.
    """

    hidden: tuple[int, ...] = (512, 512)

    # The defaults of the base, changed to a size that two cores can train.
    pred_horizon: int = Field(default=8, ge=1)
    shift: int = Field(default=4, ge=0)
    train_steps: int | None = changed(None, formerly=1500, ge=0)
    epochs: float = Field(default=300, ge=0)
    min_steps: int = added(1500, formerly=0, ge=0)
    max_steps: int = added(20_000, formerly=0, ge=0)
    warmup_steps: int = Field(default=50, ge=0)


def hidden_layers(inputs: int, widths: Sequence[int]) -> tuple[nn.Sequential, int]:
    """Return linear layers of `widths`, each followed by a ReLU, and F.

    They map (B, inputs) -> (B, F).
    """
    sizes = [inputs, *widths]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers), sizes[-1]
