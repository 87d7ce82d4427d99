"""The plain part of ALT's key: blurred images, with no learning.

A contrastive encoder keeps what tells training frames apart and forgets what they
share. So an unrelated photograph may be as near to the table as a cube in a new place.
Thumbnails keep what all frames share (a table, a gripper).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from altbench_policies.augment import GREY


def thumbnails(views: Sequence[Tensor], size: int) -> Tensor:
    """Return unit vectors whose products are mean normalised correlations.

    Views uint8 (B, H, W, 3) -> float32 (B, V·size²). Each view is made grey, averaged
    down to `size` × `size`, and its mean is subtracted. So gain and offset of the
    brightness do not count. An image of one colour gives zeros, which correlate with
    nothing.
    """
    parts = [_thumbnail(view, size) for view in views]
    return torch.cat(parts, dim=1) / math.sqrt(len(parts))


def _thumbnail(view: Tensor, size: int) -> Tensor:
    grey = view.float() @ torch.tensor(GREY, device=view.device)
    small = F.adaptive_avg_pool2d(grey[:, None], size).flatten(1)
    centred = small - small.mean(dim=1, keepdim=True)
    unit: Tensor = F.normalize(centred, dim=1, eps=1e-3)
    return unit
