"""Image encoders, with three ways to pool their feature maps.

ResNet-18 of any width and two small CNNs are made from torch.nn; the ViT is kornia's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from altbench.api import Spec, added
from altbench_policies.vit import VisionTransformer

Norm = Literal["group", "batch", "none"]
Network = TypeVar("Network", bound=nn.Module)
CHANNELS_PER_GROUP = 16
"""Channels per group of GroupNorm, as where diffusion policy's code replaces BatchNorm."""
CNN_LAYERS: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "cnn3": ((32, 8, 4, 0), (64, 4, 2, 0), (64, 3, 1, 0)),
    "cnn4": ((16, 5, 2, 2), (32, 3, 2, 1), (64, 3, 2, 1), (64, 3, 2, 1)),
}
"""Each layer's (channels, kernel, stride, padding), before the width multiplier."""
RESNET_WIDTHS = (64, 128, 256, 512)
"""Channels of the four stages of a ResNet-18 (He et al. 2016, table 1)."""


class VisionSpec(Spec):
    """Config of an image encoder.

    `encoder`: a ResNet-18, a CNN of three or four layers, or a vision transformer.
    `width` multiplies every layer's channels. "vit" is kornia's ViT-Tiny of `vit_depth`
    blocks, with patches of `vit_patch` pixels: `pip install 'altbench[vit]'`. `norm`:
    normalisation of convolutions; GroupNorm by default, because averaged weights (EMA)
    and BatchNorm do not work together. `pooling`: `average` (C features), `flat`
    (C·h·w), or `spatial_softmax` (expected x and y of `keypoints` learned maps:
    2·keypoints features).
    """

    encoder: Literal["resnet18", "cnn3", "cnn4", "vit"] = "cnn4"
    width: float = Field(default=1.0, gt=0)
    norm: Norm = "group"
    pooling: Literal["average", "flat", "spatial_softmax"] = "flat"
    keypoints: int = Field(default=32, ge=1)
    vit_depth: int = added(4, ge=1)
    vit_patch: int = added(12, ge=1)


def make_encoder(spec: VisionSpec, image_size: tuple[int, int]) -> tuple[nn.Module, int]:
    """Make an encoder for images of `image_size` (H, W); return it and its F.

    It maps float (B, 3, H, W) to (B, F).
    """
    convolutions, (channels, height, width) = make_convolutions(spec, image_size)
    if spec.pooling == "average":
        return nn.Sequential(convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels
    if spec.pooling == "flat":
        return nn.Sequential(convolutions, nn.Flatten()), channels * height * width
    return nn.Sequential(convolutions, SpatialSoftmax(channels, spec.keypoints)), 2 * spec.keypoints


def make_convolutions(spec: VisionSpec, image_size: tuple[int, int]) -> tuple[nn.Module, tuple[int, int, int]]:
    """Make an encoder without its pooling; return it and its output's (C, h, w).

    It maps float (B, 3, H, W) to (B, C, h, w).
    """
    if spec.encoder == "vit":
        convolutions: nn.Module = VisionTransformer(image_size, spec.vit_patch, spec.vit_depth, spec.width)
    else:
        convolutions = _resnet18(spec) if spec.encoder == "resnet18" else _cnn(spec)
    return convolutions, _output_shape(convolutions, image_size)


class SpatialSoftmax(nn.Module):
    """The expected image coordinates, in [-1, 1], of `keypoints` learned maps.

    Feature maps (B, C, h, w) -> (B, 2·keypoints). Source: Finn et al., "Deep spatial
    autoencoders for visuomotor learning" (2016), section V-A.
    """

    def __init__(self, channels: int, keypoints: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(channels, keypoints, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, 2·keypoints): all x, then all y."""
        maps = self.maps(features).float()
        weights = maps.flatten(2).softmax(dim=2).view_as(maps)
        ys = torch.linspace(-1, 1, maps.shape[2], device=maps.device)
        xs = torch.linspace(-1, 1, maps.shape[3], device=maps.device)
        return torch.cat([(weights.sum(2) * xs).sum(2), (weights.sum(3) * ys).sum(2)], dim=1)  # autocast would round @


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.first = nn.Sequential(_conv(inputs, outputs, 3, stride, 1, norm), nn.ReLU(inplace=True))
        self.second = _conv(outputs, outputs, 3, 1, 1, norm)
        plain = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if plain else _conv(inputs, outputs, 1, stride, 0, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride)."""
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


def _resnet18(spec: VisionSpec) -> nn.Sequential:
    widths = [_scaled(c, spec.width) for c in RESNET_WIDTHS]
    stem = nn.Sequential(
        _conv(3, widths[0], 7, 2, 3, spec.norm), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
    )
    blocks: list[nn.Module] = []
    inputs = widths[0]
    for stage, outputs in enumerate(widths):
        blocks += [ResidualBlock(inputs, outputs, 1 if stage == 0 else 2, spec.norm)]
        blocks += [ResidualBlock(outputs, outputs, 1, spec.norm)]
        inputs = outputs
    return nn.Sequential(stem, *blocks)


def _cnn(spec: VisionSpec) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 3
    for channels, kernel, stride, padding in CNN_LAYERS[spec.encoder]:
        outputs = _scaled(channels, spec.width)
        layers += [_conv(inputs, outputs, kernel, stride, padding, spec.norm), nn.ReLU(inplace=True)]
        inputs = outputs
    return nn.Sequential(*layers)


def _conv(inputs: int, outputs: int, kernel: int, stride: int, padding: int, norm: Norm) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=norm == "none")
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, *_norm_layer(outputs, norm))


def _norm_layer(channels: int, norm: Norm) -> list[nn.Module]:
    if norm == "none":
        return []
    if norm == "batch":
        return [nn.BatchNorm2d(channels)]
    groups = max(1, channels // CHANNELS_PER_GROUP)
    return [nn.GroupNorm(groups if channels % groups == 0 else 1, channels)]


def _scaled(channels: int, width: float) -> int:
    return max(4, round(channels * width))


def _output_shape(convolutions: nn.Module, image_size: tuple[int, int]) -> tuple[int, int, int]:
    """Return the (C, h, w) that `convolutions` make of an image.

    They run once in evaluation mode, so that BatchNorm's statistics stay as they are.
    """
    device = next(convolutions.parameters()).device
    with torch.no_grad():
        shape = convolutions.eval()(torch.zeros(1, 3, *image_size, device=device)).shape
    convolutions.train()
    return int(shape[1]), int(shape[2]), int(shape[3])


def seeded_network(make: Callable[[], Network], seed: int, device: str) -> Network:
    """Build a network with `make`, with initial weights that `seed` names.

    It is on `device`, channels last. The weights are drawn on the CPU, so they are the
    same for every device. The global generator is restored afterwards.
    """
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        network = make()
    finally:
        torch.default_generator.set_state(before)
    placed: Network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def count_bytes(module: nn.Module) -> int:
    """Return the bytes of all parameters and buffers of `module`."""
    tensors = [*module.parameters(), *module.buffers()]
    return sum(t.numel() * t.element_size() for t in tensors)
