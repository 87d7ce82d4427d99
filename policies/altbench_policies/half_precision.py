"""Holding a network's weights in half precision, in memory and on disk, while it computes in float32."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Network = TypeVar("Network", bound=nn.Module)


class Widened(nn.Module):
    """A half-precision weight as float32, for as long as its layer computes."""

    def forward(self, weight: Tensor) -> Tensor:
        """The same shape, in float32."""
        return weight.float()


def hold_in_half(network: Network) -> Network:
    """`network` with the weights of its convolutions and linear layers rounded to float16 and held so, in place.

    What is small (biases, normalisation, ranges) stays as it is. It computes in float32, since few CPUs multiply float16.
    """
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for layer in layers:
        layer.weight = nn.Parameter(layer.weight.detach().to(torch.float16), requires_grad=False)
        # "unsafe": the type changes, which is what is wanted
        parametrize.register_parametrization(layer, "weight", Widened(), unsafe=True)
    return network
