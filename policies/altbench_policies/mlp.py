"""What the policies whose head is an MLP share: its settings and the size for two cores, and its hidden layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pydantic import Field
from torch import nn

from altbench_policies.chunk_policy import ChunkSpec


class MlpSpec(ChunkSpec):
    """`hidden`: widths of the MLP's hidden layers. The chunk is the `pred_horizon` actions from the present frame on."""

    hidden: tuple[int, ...] = (512, 512)

    # the size for two cores
    pred_horizon: int = Field(default=8, ge=1)
    shift: int = Field(default=4, ge=0)
    train_steps: int | None = Field(default=1500, ge=0)
    warmup_steps: int = Field(default=50, ge=0)


def hidden_layers(inputs: int, widths: Sequence[int]) -> tuple[nn.Sequential, int]:
    """Linear layers of `widths`, each with a ReLU behind it: (B, inputs) -> (B, F), and F."""
    sizes = [inputs, *widths]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers), sizes[-1]
