"""Images in a policy's conventions, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from altbench.adapters.spec import Images
from altbench.core.types import UInt8

Image = NDArray[Any]


def to_policy(images: UInt8, as_it_is: Images) -> Image:
    """Return our images, uint8 (..., H, W, 3), as the policy takes them."""
    found: Image = images
    if as_it_is.size is not None and images.shape[-3:-1] != as_it_is.size:
        found = resized(found, as_it_is.size)
    found = _mirrored(found, as_it_is)
    if as_it_is.range == "0..1":
        found = found.astype(np.float32) / np.float32(255.0)
    elif as_it_is.range == "-1..1":
        found = found.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    if as_it_is.layout == "chw":
        found = np.moveaxis(found, -1, -3)
    return np.ascontiguousarray(found)


def from_policy(images: Image, as_it_is: Images, size: tuple[int, int] | None = None) -> UInt8:
    """Return a policy's images as ours: what undoes `to_policy`.

    `size`: (H, W) of ours; None: as they come. What is out of range is clipped.
    """
    found = np.moveaxis(images, -3, -1) if as_it_is.layout == "chw" else images
    if as_it_is.range == "0..1":
        found = found * np.float32(255.0)
    elif as_it_is.range == "-1..1":
        found = (found + np.float32(1.0)) * np.float32(127.5)
    if found.dtype != np.uint8:
        whole = np.rint(found)
        found = np.clip(whole, 0, 255, out=whole).astype(np.uint8)
    found = _mirrored(found, as_it_is)
    if size is not None and found.shape[-3:-1] != size:
        found = resized(found, size)
    return np.ascontiguousarray(found)


def _mirrored(images: Image, as_it_is: Images) -> Image:
    """Flip the axes of (..., H, W, 3) and the colours; it is its own inverse."""
    rows = slice(None, None, -1 if as_it_is.flip_vertical else 1)
    columns = slice(None, None, -1 if as_it_is.flip_horizontal else 1)
    colours = slice(None, None, -1 if as_it_is.order == "bgr" else 1)
    return images[..., rows, columns, colours]


def resized(images: UInt8, size: tuple[int, int]) -> UInt8:
    """Return images (..., H, W, 3) at another size (H, W), smoothed as they shrink."""
    from PIL import Image as Pillow

    flat = images.reshape(-1, *images.shape[-3:])
    height, width = size
    made = [np.asarray(Pillow.fromarray(one).resize((width, height), Pillow.Resampling.BILINEAR)) for one in flat]
    found: UInt8 = np.stack(made).reshape(*images.shape[:-3], height, width, images.shape[-1])
    return found
