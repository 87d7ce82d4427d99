"""Image encoders: ResNet-18 of any width and two small CNNs from torch.nn, a library's ViT, with three ways to pool."""

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
CHANNELS_PER_GROUP = 16  # as in diffusion policy's replacement of BatchNorm

# (channels, kernel, stride, padding) per layer, before the width multiplier
CNN_LAYERS: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "cnn3": ((32, 8, 4, 0), (64, 4, 2, 0), (64, 3, 1, 0)),
    "cnn4": ((16, 5, 2, 2), (32, 3, 2, 1), (64, 3, 2, 1), (64, 3, 2, 1)),
}
RESNET_WIDTHS = (64, 128, 256, 512)


class VisionSpec(Spec):
    """Settings of an image encoder.

    `width` multiplies every layer's channels. "vit" is kornia's ViT-Tiny of `vit_depth` blocks, with patches of `vit_patch`
    pixels: `pip install 'altbench[vit]'`. `norm` is of convolutions: GroupNorm by default, because averaged weights (EMA)
    and BatchNorm do not go together. `pooling`: `average` (C features), `flat` (C·h·w) or `spatial_softmax` (expected x
    and y of `keypoints` learned maps: 2·keypoints features).
    """

    encoder: Literal["resnet18", "cnn3", "cnn4", "vit"] = "cnn4"
    width: float = Field(default=1.0, gt=0)
    norm: Norm = "group"
    pooling: Literal["average", "flat", "spatial_softmax"] = "flat"
    keypoints: int = Field(default=32, ge=1)
    vit_depth: int = added(4, ge=1)
    vit_patch: int = added(12, ge=1)


def make_encoder(spec: VisionSpec, image_size: tuple[int, int]) -> tuple[nn.Module, int]:
    """An encoder float (B, 3, H, W) -> (B, F) for images of `image_size` (H, W), and its F."""
    convolutions, (channels, height, width) = make_convolutions(spec, image_size)
    if spec.pooling == "average":
        return nn.Sequential(convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels
    if spec.pooling == "flat":
        return nn.Sequential(convolutions, nn.Flatten()), channels * height * width
    return nn.Sequential(convolutions, SpatialSoftmax(channels, spec.keypoints)), 2 * spec.keypoints


def make_convolutions(spec: VisionSpec, image_size: tuple[int, int]) -> tuple[nn.Module, tuple[int, int, int]]:
    """An encoder without its pooling: float (B, 3, H, W) -> (B, C, h, w), and (C, h, w)."""
    if spec.encoder == "vit":
        convolutions: nn.Module = VisionTransformer(image_size, spec.vit_patch, spec.vit_depth, spec.width)
    else:
        convolutions = _resnet18(spec) if spec.encoder == "resnet18" else _cnn(spec)
    return convolutions, _output_shape(convolutions, image_size)


class SpatialSoftmax(nn.Module):
    """Feature maps (B, C, h, w) -> expected image coordinates in [-1, 1] of `keypoints` learned maps, (B, 2·keypoints).

    Source: Finn et al., "Deep spatial autoencoders for visuomotor learning" (2016), section V-A.
    """

    def __init__(self, channels: int, keypoints: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(channels, keypoints, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 2·keypoints): all x, then all y."""
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
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
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
    """(C, h, w) that `convolutions` make of an image; they are put in evaluation mode while it is found out."""
    device = next(convolutions.parameters()).device
    with torch.no_grad():
        shape = convolutions.eval()(torch.zeros(1, 3, *image_size, device=device)).shape
    convolutions.train()
    return int(shape[1]), int(shape[2]), int(shape[3])


def seeded_network(make: Callable[[], Network], seed: int, device: str) -> Network:
    """The network that `make` builds, with the initial weights that `seed` names, on `device`, channels last.

    The weights are drawn on the CPU, alike for every device; the global generator is put back as it was.
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
    """Bytes of all parameters and buffers of `module`."""
    tensors = [*module.parameters(), *module.buffers()]
    return sum(t.numel() * t.element_size() for t in tensors)
