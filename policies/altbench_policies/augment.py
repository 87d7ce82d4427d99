"""Batched image augmentation from an explicit generator.

Shift, crop, resized crop, colour jitter, overlay and erasing. Shift and crop are one
gather of uint8 rows from a padded bank through a strided view. Colour jitter is one 3×3
matrix per image. So all of it takes a small part of a training step.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from altbench.api import Spec, added

SMALLEST_ERASED = 0.02
"""The smallest part of the area that a rectangle covers (Zhong et al. 2020)."""
ASPECTS = (0.3, 1 / 0.3)
"""Range of the aspect of rectangles (Zhong et al. 2020)."""
GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey image (luma of ITU-R BT.601)."""


class AugmentSpec(Spec):
    """Config of augmentation; the defaults of this base change nothing.

    `shift`: largest shift along each axis, in pixels; the border is repeated. `crop`:
    the part of each side that a random crop keeps in training (1: whole image); acting
    takes the central crop. `crop_scale`: smallest fraction of the area that a random
    resized crop keeps. `brightness`, `contrast`, `saturation`: s; the factor is drawn
    from [1 − s, 1 + s]. `hue`: largest rotation, as a fraction of a full turn, either
    way.

    `disturbed`: the share of the samples that are recoloured, overlaid and erased at
    all. `overlay`: every other image is blended with a field of random colours, with a
    weight of at most this (after Hansen & Wang 2021, arXiv 2011.13389, who blend with
    photographs). `erase`: number of rectangles; each is painted over every other image,
    in a colour of its own (random erasing, Zhong et al. 2020, arXiv 1708.04896).
    `erase_area`: the largest part of the area that one rectangle covers.
    """

    shift: int = Field(default=0, ge=0)
    crop: float = Field(default=1.0, gt=0, le=1)
    crop_scale: float = Field(default=1.0, gt=0, le=1)
    brightness: float = Field(default=0.0, ge=0, le=1)
    contrast: float = Field(default=0.0, ge=0, le=1)
    saturation: float = Field(default=0.0, ge=0, le=1)
    hue: float = Field(default=0.0, ge=0, le=0.5)
    disturbed: float = added(1.0, gt=0, le=1)
    overlay: float = added(0.0, ge=0, le=1)
    erase: int = added(0, ge=0)
    erase_area: float = added(0.15, ge=SMALLEST_ERASED, le=1)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (H, W) of what the network sees of images of `height` × `width`."""
        return max(1, round(self.crop * height)), max(1, round(self.crop * width))


class ImageBank:
    """Training images of one camera, from which augmented batches are cut.

    `images`: uint8 (N, H, W, 3). They are kept padded by `spec.shift` pixels, on their
    device.
    """

    def __init__(self, images: Tensor, spec: AugmentSpec) -> None:
        self.spec = spec
        self.size = spec.output_size(int(images.shape[1]), int(images.shape[2]))
        self._padded = _pad(images, spec.shift)

    def augmented(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return augmented images of frames `rows`, int64 (B,) or (B, To).

        float (B·To, 3, h, w) in [-1, 1], channels last. The To frames of one sample
        share one augmentation, so that the motion between them is kept.
        """
        samples, frames = rows.shape[0], rows.numel() // max(1, rows.shape[0])
        tops, lefts = (self._offsets(axis, samples, generator) for axis in (0, 1))
        spread = [t.repeat_interleave(frames).to(self._padded.device) for t in (tops, lefts)]
        pixels = self._cut(rows.reshape(-1).to(self._padded.device), *spread)
        return distort(pixels, self.spec, samples, generator)

    def _offsets(self, axis: int, samples: int, generator: torch.Generator) -> Tensor:
        room = int(self._padded.shape[1 + axis]) - self.size[axis]
        return torch.randint(0, room + 1, (samples,), generator=generator)

    def _cut(self, rows: Tensor, tops: Tensor, lefts: Tensor) -> Tensor:
        """Cut uint8 (B, h, w, 3) by one indexing of a view of all windows."""
        count, height, width, _ = self._padded.shape
        h, w = self.size
        image, row, column, _ = self._padded.stride()
        shape = (count, height - h + 1, width - w + 1, h, w * 3)
        windows = self._padded.as_strided(shape, (image, row, column, row, 1))
        return windows[rows, tops, lefts].view(-1, h, w, 3)


def plain(images: Tensor, spec: AugmentSpec) -> Tensor:
    """Return images without augmentation, centre-cropped.

    uint8 (B, H, W, 3) -> float (B, 3, h, w) in [-1, 1].
    """
    height, width = int(images.shape[1]), int(images.shape[2])
    h, w = spec.output_size(height, width)
    top, left = (height - h) // 2, (width - w) // 2
    return _to_unit(images[:, top : top + h, left : left + w].permute(0, 3, 1, 2).float())


def distort(pixels: Tensor, spec: AugmentSpec, samples: int, generator: torch.Generator) -> Tensor:
    """Apply all of `spec` but shift and crop to uint8 (B, h, w, 3).

    Returns what `ImageBank.augmented` returns. B is a multiple of `samples`;
    consecutive images of one sample share the draw.
    """
    channels_first = pixels.permute(0, 3, 1, 2)
    perturbs = _recolours(spec) or bool(spec.overlay or spec.erase)
    if not perturbs and spec.crop_scale == 1:
        return _to_unit(channels_first.float())
    x = channels_first.to(torch.float32, memory_format=torch.contiguous_format)  # converted in one pass
    if spec.crop_scale < 1:
        x = _resized_crop(x, spec.crop_scale, samples, generator)
    if perturbs:
        x = _perturb_some(x, spec, samples, generator)
    return _channels_last(_to_unit(x))


def _recolours(spec: AugmentSpec) -> bool:
    return bool(spec.brightness or spec.contrast or spec.saturation or spec.hue)


def _perturb_some(x: Tensor, spec: AugmentSpec, samples: int, generator: torch.Generator) -> Tensor:
    """Perturb the share `disturbed` of the samples of x (B, 3, h, w)."""
    if spec.disturbed == 1:
        return _perturb(x, spec, samples, generator)
    chosen = torch.randperm(samples, generator=generator)[: round(spec.disturbed * samples)].to(x.device)
    by_sample = x.view(samples, -1, *x.shape[1:])
    some = _perturb(by_sample[chosen].flatten(0, 1), spec, len(chosen), generator)
    by_sample[chosen] = some.view(len(chosen), *by_sample.shape[1:])
    return x


def _perturb(x: Tensor, spec: AugmentSpec, samples: int, generator: torch.Generator) -> Tensor:
    """Apply colour jitter, overlay and erasing to x (B, 3, h, w)."""
    if _recolours(spec):
        x = _jitter(x, spec, samples, generator)
    if spec.overlay:
        _overlay(x, spec.overlay, samples, generator)
    for _ in range(spec.erase):
        _erase(x, spec.erase_area, samples, generator)
    return x


def _to_unit(x: Tensor) -> Tensor:
    return x.mul_(1 / 127.5).sub_(1.0)


def _channels_last(x: Tensor) -> Tensor:
    """Return `x.contiguous(memory_format=torch.channels_last)`, copied by channel.

    On a CPU this takes two thirds of the time.
    """
    made = torch.empty_like(x, memory_format=torch.channels_last)
    for channel in range(x.shape[1]):
        made[:, channel] = x[:, channel]
    return made


def _pad(images: Tensor, pixels: int) -> Tensor:
    """Repeat the border of uint8 (N, H, W, 3) `pixels` times on each side."""
    if pixels == 0:
        return images.contiguous()
    _, height, width, _ = images.shape
    ys = torch.arange(-pixels, height + pixels, device=images.device).clamp_(0, height - 1)
    xs = torch.arange(-pixels, width + pixels, device=images.device).clamp_(0, width - 1)
    return images[:, ys][:, :, xs].contiguous()


def _uniform(low: float, high: float, samples: int, generator: torch.Generator) -> Tensor:
    return torch.rand(samples, generator=generator).mul_(high - low).add_(low)


def _resized_crop(x: Tensor, smallest: float, samples: int, generator: torch.Generator) -> Tensor:
    """Crop, and stretch the crop back bilinearly.

    A crop has `smallest` to 1 of the area, and any aspect that fits inside.
    """
    area = _uniform(smallest, 1.0, samples, generator)
    aspect = torch.exp(_uniform(-1.0, 1.0, samples, generator) * -torch.log(area))
    sides = torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], 1)  # x, y; each at most 1
    centres = (1 - sides) * (2 * torch.rand(samples, 2, generator=generator) - 1)
    repeat = x.shape[0] // samples
    sides, centres = (t.repeat_interleave(repeat, 0).to(x.device) for t in (sides, centres))
    return F.grid_sample(x, _grid(x, sides, centres), padding_mode="border", align_corners=False)


def _grid(x: Tensor, sides: Tensor, centres: Tensor) -> Tensor:
    """Return the sampling grid (B, h, w, 2) for axis-aligned boxes.

    It is cheaper than the matrix product of affine_grid.
    """
    batch, _, height, width = x.shape
    xs = (torch.arange(width, device=x.device) * 2 + 1) / width - 1
    ys = (torch.arange(height, device=x.device) * 2 + 1) / height - 1
    grid = torch.empty(batch, height, width, 2, device=x.device)
    grid[..., 0] = (xs * sides[:, :1] + centres[:, :1])[:, None, :]
    grid[..., 1] = (ys * sides[:, 1:] + centres[:, 1:])[:, :, None]
    return grid


def _jitter(x: Tensor, spec: AugmentSpec, samples: int, generator: torch.Generator) -> Tensor:
    """Apply colour jitter as one affine map of RGB, then clip.

    Brightness, contrast, saturation and hue change. Contrast is about the image's mean
    grey. Hue is a rotation about the grey axis, which is linear; HSV's hue is not.
    """
    repeat = x.shape[0] // samples
    strengths = (spec.brightness, spec.contrast, spec.saturation)
    factors = [_uniform(1 - s, 1 + s, samples, generator).view(-1, 1, 1) for s in strengths]
    matrix = factors[0] * _hue(_uniform(-spec.hue, spec.hue, samples, generator)) @ _saturate(factors[2])
    matrix, contrast = (t.repeat_interleave(repeat, 0).to(x.device) for t in (matrix, factors[1]))
    flat = x.view(x.shape[0], 3, -1)
    mean_grey = torch.tensor(GREY, device=x.device) @ (matrix @ flat.mean(2, keepdim=True))
    offset = ((1 - contrast) * mean_grey[:, None]).expand(-1, 3, 1)
    return torch.baddbmm(offset, contrast * matrix, flat).clamp_(0, 255).view_as(x)


def _overlay(x: Tensor, most: float, samples: int, generator: torch.Generator) -> None:
    """Blend a field of random colours into half of the samples of x, in place.

    x: (B, 3, h, w). The weight is at most `most`. The field has one colour per cell and
    is smooth between them. The number of cells, from 2 by 2 to one per pixel, is drawn
    for the whole batch, evenly in the logarithm: the field is between haze and noise.
    """
    height, width = x.shape[2:]
    finest = math.log2(min(height, width))
    cells = round(2 ** (1 + (finest - 1) * float(torch.rand((), generator=generator))))
    field = F.interpolate(
        255 * torch.rand(samples, 3, cells, cells, generator=generator), (height, width), mode="bilinear"
    )
    weight = _uniform(0, most, samples, generator) * (torch.rand(samples, generator=generator) < 0.5)
    repeat = x.shape[0] // samples
    field, weight = (t.repeat_interleave(repeat, 0).to(x.device) for t in (field, weight))
    x.lerp_(field, weight.view(-1, 1, 1, 1))


def _erase(x: Tensor, largest: float, samples: int, generator: torch.Generator) -> None:
    """Paint one rectangle over half of the samples of x (B, 3, h, w), in place.

    It may reach over the border.
    """
    height, width = x.shape[2:]
    area = _uniform(SMALLEST_ERASED, largest, samples, generator)
    aspect = torch.exp(_uniform(math.log(ASPECTS[0]), math.log(ASPECTS[1]), samples, generator))
    area = area * (torch.rand(samples, generator=generator) < 0.5)
    repeat = x.shape[0] // samples
    rows = _inside((area * aspect).sqrt() * height, height, generator)
    columns = _inside((area / aspect).sqrt() * width, width, generator)
    colours = 255 * torch.rand(samples, 3, generator=generator)
    rows, columns, colours = (t.repeat_interleave(repeat, 0).to(x.device) for t in (rows, columns, colours))
    covered = (rows[:, :, None] & columns[:, None, :])[:, None]
    torch.where(covered, colours[:, :, None, None], x, out=x)


def _inside(lengths: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return which of `size` pixels lie in a random stretch, bool (B, size).

    A stretch has `lengths` (B,) pixels about a random centre.
    """
    centres = size * torch.rand(lengths.shape[0], generator=generator)
    distances = (torch.arange(size) + 0.5 - centres[:, None]).abs()
    return distances < lengths[:, None] / 2


def _saturate(factor: Tensor) -> Tensor:
    """Return matrices (B, 3, 3) that blend colours with their grey; factor: (B, 1, 1)."""
    grey = torch.tensor(GREY).expand(3, 3)
    return factor * torch.eye(3) + (1 - factor) * grey


def _hue(turns: Tensor) -> Tensor:
    """Return rotations (B, 3, 3) about (1, 1, 1) by `turns` (B,) (Rodrigues' formula)."""
    angle = (2 * math.pi * turns).view(-1, 1, 1)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    return torch.cos(angle) * torch.eye(3) + torch.sin(angle) * cross + (1 - torch.cos(angle)) / 3
