"""Raw observations, compared as they are: images averaged down, in units of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from altbench.api import Float32


def shrunk(images: Tensor, side: int) -> Tensor:
    """Average images uint8 (N, H, W, 3) down to `side` × `side`.

    Returns float32 (N, 3·side²) in [0, 255].
    """
    return F.adaptive_avg_pool2d(images.permute(0, 3, 1, 2).float(), side).flatten(1)


def side_by_side(parts: Sequence[Float32], scales: Float32) -> Float32:
    """Return parts (N, ·) side by side, each divided by its scale: (N, F).

    So no part outweighs the others. `scales`: (P,), one for each part.
    """
    return np.concatenate([part / scale for part, scale in zip(parts, scales, strict=True)], axis=1)
