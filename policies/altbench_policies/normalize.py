"""Min-max normalisation to [-1, 1], kept as buffers of the network so that it is saved with its weights."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

SMALLEST_RANGE = 1e-4  # a dimension that varies less is constant: normalised to 0, restored to its value


class MinMax(nn.Module):
    """Maps each of D dimensions from [low, high] to [-1, 1] and back; a constant one to 0 and back to itself."""

    middle: Tensor
    half_range: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(dimensions))
        self.register_buffer("half_range", torch.ones(dimensions))

    def fit(self, values: Tensor) -> Self:
        """Take the range of `values`, float (N, D)."""
        low, high = values.min(dim=0).values, values.max(dim=0).values
        constant = high - low < SMALLEST_RANGE
        self.middle.copy_((low + high) / 2)
        self.half_range.copy_(torch.where(constant, 0.0, (high - low) / 2))
        return self

    def normalize(self, values: Tensor) -> Tensor:
        """float (..., D) -> the same shape, [-1, 1] inside the range that was fitted."""
        inverse = torch.where(self.half_range > 0, 1 / self.half_range, 0.0)
        return (values - self.middle) * inverse

    def restore(self, values: Tensor) -> Tensor:
        """The inverse of `normalize` (a constant dimension returns its constant)."""
        return values * self.half_range + self.middle
