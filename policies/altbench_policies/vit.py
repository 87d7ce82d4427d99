"""A vision transformer from kornia, as an encoder of images into feature maps.

Unlike torchvision's, it needs no further package.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from altbench.api import ConfigError

HEAD = 64
"""Numbers per attention head (Dosovitskiy et al. 2021, table 1)."""
WIDTH = 192
"""Length of ViT-Tiny's tokens (Touvron et al. 2021, table 1), before the width multiplier."""


class VisionTransformer(nn.Module):
    """ViT-Tiny of `depth` blocks, `width` times as wide.

    Images -> maps of their patches' tokens: (B, 3, H, W) -> (B, C, s, s). Images are
    resized to the nearest square of whole patches; images of 84 × 84 stay as they are,
    with seven patches of 12 each way. The class token is dropped, since the encoder's
    pooling combines the other tokens. Source: Dosovitskiy et al. 2021.
    """

    def __init__(self, image_size: tuple[int, int], patch: int, depth: int, width: float) -> None:
        super().__init__()
        self.patches = max(1, round((image_size[0] * image_size[1]) ** 0.5 / patch))
        self.side = self.patches * patch
        heads = max(1, round(WIDTH * width / HEAD))
        self.transformer = _library()(
            image_size=self.side, patch_size=patch, in_channels=3, embed_dim=heads * HEAD, depth=depth, num_heads=heads
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, C, s, s)."""
        if images.shape[-2:] != (self.side, self.side):
            images = F.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True)
        tokens: Tensor = self.transformer(images)[:, 1:]
        self.transformer.encoder.results = []  # kornia keeps every block's output, and so the graph
        return tokens.transpose(1, 2).reshape(len(images), -1, self.patches, self.patches)


def _library() -> Any:
    try:
        from kornia.models.vit import VisionTransformer as Transformer
    except ImportError as error:
        raise ConfigError(
            f"encoder = 'vit' needs kornia ({error}): pip install 'altbench[vit]', or choose resnet18, cnn3 or cnn4"
        ) from None
    return Transformer
