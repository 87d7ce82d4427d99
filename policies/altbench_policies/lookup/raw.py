"""What the policies that compare raw observations share: images averaged down, and parts in units of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from altbench.api import Float32


def shrunk(images: Tensor, side: int) -> Tensor:
    """Return images uint8 (N, H, W, 3) averaged down to `side` × `side`, in [0, 255]: float32 (N, 3·side²)."""
    return F.adaptive_avg_pool2d(images.permute(0, 3, 1, 2).float(), side).flatten(1)


def side_by_side(parts: Sequence[Float32], scales: Float32) -> Float32:
    """Return parts (N, ·), each divided by its scale, so that none drowns the others: (N, F). `scales`: (P,)."""
    return np.concatenate([part / scale for part, scale in zip(parts, scales, strict=True)], axis=1)
