"""The plain part of ALT's key: what the images look like, blurred, with no learning.

A contrastive encoder keeps what tells training frames apart and forgets what they share; so an unrelated photograph may
come out as near to the table as a cube in a new place. Thumbnails keep what all frames share (a table, a gripper).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from altbench_policies.augment import GREY


def thumbnails(views: Sequence[Tensor], size: int) -> Tensor:
    """Views uint8 (B, H, W, 3) -> unit vectors float32 (B, V·size²) whose products are mean normalised correlations.

    Each view is made grey, averaged down to `size` × `size` and freed of its mean, so that gain and offset of the
    brightness do not count; an image of one colour gives zeros, which correlate with nothing.
    """
    parts = [_thumbnail(view, size) for view in views]
    return torch.cat(parts, dim=1) / math.sqrt(len(parts))


def _thumbnail(view: Tensor, size: int) -> Tensor:
    grey = view.float() @ torch.tensor(GREY, device=view.device)
    small = F.adaptive_avg_pool2d(grey[:, None], size).flatten(1)
    centred = small - small.mean(dim=1, keepdim=True)
    unit: Tensor = F.normalize(centred, dim=1, eps=1e-3)
    return unit
