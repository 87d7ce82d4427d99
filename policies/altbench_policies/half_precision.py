"""Weights held in half precision, in memory and on disk; computing stays in float32."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Network = TypeVar("Network", bound=nn.Module)


class Widened(nn.Module):
    """A half-precision weight as float32, for as long as its layer computes."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight in float32; the shape stays."""
        return weight.float()


def hold_in_half(network: Network) -> Network:
    """Round the weights of convolutions and linear layers to float16, in place.

    Returns `network`. Small tensors (biases, normalisation, ranges) stay as they are.
    The layers compute in float32, because few CPUs multiply float16.
    """
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for layer in layers:
        layer.weight = nn.Parameter(layer.weight.detach().to(torch.float16), requires_grad=False)
        # `unsafe` allows the type to change, which is the purpose here.
        parametrize.register_parametrization(layer, "weight", Widened(), unsafe=True)
    return network
