"""Pretrained ResNet-18 weights in torchvision's layout.

They come from a safetensors file or from the Hugging Face Hub.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from altbench.api import ConfigError

IMAGENET = "imagenet"
"""The value of `weights` that stands for the Hub's file."""
HUB, HUB_FILE = "timm/resnet18.tv_in1k", "model.safetensors"
"""Torchvision's ImageNet weights on the Hub: repository and file; nothing is pickled."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's red, green and blue, in [0, 1]."""


class ImageNetRange(nn.Module):
    """A map of images in [-1, 1] to the range that pretrained weights expect.

    That is ImageNet's: each colour less its mean, in units of its standard deviation.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        self.register_buffer("scale", 0.5 / deviation, persistent=False)
        self.register_buffer("offset", (0.5 - mean) / deviation, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Standardise images (B, 3, H, W); the shape stays."""
        return images * self.scale + self.offset


def weights_file(weights: str) -> Path:
    """Return the safetensors file that `weights` names.

    `weights`: a path, or "imagenet" for the Hub's file. Raises ConfigError if the file
    is missing or cannot be fetched.
    """
    if weights != IMAGENET:
        path = Path(weights)
        if not path.is_file():
            raise ConfigError(
                f"weights = {weights!r}: no such file; expected 'imagenet' or the path of a safetensors file"
            )
        return path
    try:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(HUB, HUB_FILE))
    except Exception as error:  # whatever the reason, the user can do the same
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"weights = 'imagenet': tried to fetch {HUB_FILE} of {HUB} from the Hugging Face Hub and its cache: "
            f"{type(error).__name__}: {reason}. Without a network: fetch https://huggingface.co/{HUB}/resolve/main/"
            f"{HUB_FILE} elsewhere and set weights = 'PATH/{HUB_FILE}', or leave weights empty to learn from scratch"
        ) from None


def load_resnet18(convolutions: nn.Module, path: Path, sha256: str = "") -> str:
    """Copy torchvision's ResNet-18 weights at `path`; return the file's SHA-256.

    They go into `convolutions`, which `vision.make_convolutions` made with width 1 and
    norm "batch". The classifier is left out. `sha256`: the expected digest ("": any
    file). Raises ConfigError if the file has another digest, or a tensor is missing or
    of another shape.
    """
    contents = path.read_bytes()
    came = hashlib.sha256(contents).hexdigest()
    if sha256 not in ("", came):
        raise ConfigError(
            f"{path}: expected the file with SHA-256 {sha256}, by which results are keyed, got {came}; "
            "use that file, or make the policy again"
        )
    try:
        theirs = safetensors.torch.load(contents)
    except safetensors.SafetensorError as error:
        raise ConfigError(f"{path}: expected safetensors ({error}); pickled .pth files are never read") from None
    with torch.no_grad():
        for name, tensor in convolutions.state_dict().items():
            _copy(tensor, theirs, _torchvision_name(name), path)
    return came


def _copy(tensor: Tensor, theirs: dict[str, Tensor], name: str, path: Path) -> None:
    if name not in theirs and name.endswith("num_batches_tracked"):
        return
    found = theirs.get(name)
    if found is None or found.shape != tensor.shape:
        came = f"one of {tuple(found.shape)}" if found is not None else f"{len(theirs)} others, not that"
        raise ConfigError(
            f"{path}: expected torchvision's ResNet-18, with a tensor {name!r} of shape {tuple(tensor.shape)}; got {came}"
        )
    tensor.copy_(found)


def _torchvision_name(ours: str) -> str:
    """Return torchvision's name: `0.0.0.weight` -> `conv1.weight`.

    Another example: `3.first.0.1.bias` -> `layer2.0.bn1.bias`.
    """
    block, _, rest = ours.partition(".")
    module, _, leaf = rest.rpartition(".")
    if block == "0":
        return {"0.0": "conv1", "0.1": "bn1"}[module] + f".{leaf}"
    stage, second = divmod(int(block) - 1, 2)
    parts = {"first.0.0": "conv1", "first.0.1": "bn1", "second.0": "conv2", "second.1": "bn2"}
    part = parts.get(module) or module.replace("shortcut", "downsample")
    return f"layer{stage + 1}.{second}.{part}.{leaf}"
