"""Min-max normalisation to [-1, 1].

The ranges are buffers of the network, so they are saved with its weights.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

SMALLEST_RANGE = 1e-4
"""The range below which a dimension counts as constant, in its own unit (m, or 1).

Dividing by a smaller one would turn noise in a constant into large numbers.
"""


class MinMax(nn.Module):
    """A map of each of D dimensions from [low, high] to [-1, 1] and back.

    A constant dimension becomes 0, and on the way back its constant.
    """

    middle: Tensor
    half_range: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(dimensions))
        self.register_buffer("half_range", torch.ones(dimensions))

    def fit(self, values: Tensor) -> Self:
        """Take the range of `values`, float (N, D); return self."""
        low, high = values.min(dim=0).values, values.max(dim=0).values
        constant = high - low < SMALLEST_RANGE
        self.middle.copy_((low + high) / 2)
        self.half_range.copy_(torch.where(constant, 0.0, (high - low) / 2))
        return self

    def normalize(self, values: Tensor) -> Tensor:
        """Map float (..., D) to [-1, 1] inside the fitted range; the shape stays."""
        inverse = torch.where(self.half_range > 0, 1 / self.half_range, 0.0)
        return (values - self.middle) * inverse

    def restore(self, values: Tensor) -> Tensor:
        """Invert `normalize`; a constant dimension returns its constant."""
        return values * self.half_range + self.middle
