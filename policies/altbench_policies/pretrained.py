"""Pretrained ResNet-18 weights in torchvision's layout, from a safetensors file or from the Hugging Face Hub."""

from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from altbench.api import ConfigError

IMAGENET = "imagenet"
HUB, HUB_FILE = "timm/resnet18.tv_in1k", "model.safetensors"  # torchvision's ImageNet weights, nothing pickled
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours, in [0, 1]


class ImageNetRange(nn.Module):
    """Images in [-1, 1] -> standardised as ImageNet's were: what pretrained weights expect."""

    scale: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        self.register_buffer("scale", 0.5 / deviation, persistent=False)
        self.register_buffer("offset", (0.5 - mean) / deviation, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> the same shape."""
        return images * self.scale + self.offset


def weights_file(weights: str) -> Path:
    """The safetensors file that `weights` names: a path, or "imagenet" for the Hub's; ConfigError where there is none."""
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
    except Exception as error:  # whatever it was, the way out is the same
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"weights = 'imagenet': tried to fetch {HUB_FILE} of {HUB} from the Hugging Face Hub and its cache: "
            f"{type(error).__name__}: {reason}. Without a network: fetch https://huggingface.co/{HUB}/resolve/main/"
            f"{HUB_FILE} elsewhere and set weights = 'PATH/{HUB_FILE}', or leave weights empty to learn from scratch"
        ) from None


def load_resnet18(convolutions: nn.Module, path: Path, sha256: str = "") -> str:
    """Copy torchvision's ResNet-18 weights at `path` into those of `vision.make_convolutions`; the file's SHA-256.

    `convolutions`: width 1, norm "batch". `sha256`: what the file is expected to have ("": anything). The classifier is
    left out. ConfigError where the file is another, or a tensor is missing or differs.
    """
    contents = path.read_bytes()
    came = hashlib.sha256(contents).hexdigest()
    if sha256 not in ("", came):
        raise ConfigError(
            f"{path}: expected the file with SHA-256 {sha256}, found {came}; results are keyed by the former"
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
    """`0.0.0.weight` -> `conv1.weight`, `3.first.0.1.bias` -> `layer2.0.bn1.bias`."""
    block, _, rest = ours.partition(".")
    module, _, leaf = rest.rpartition(".")
    if block == "0":
        return {"0.0": "conv1", "0.1": "bn1"}[module] + f".{leaf}"
    stage, second = divmod(int(block) - 1, 2)
    parts = {"first.0.0": "conv1", "first.0.1": "bn1", "second.0": "conv2", "second.1": "bn2"}
    part = parts.get(module) or module.replace("shortcut", "downsample")
    return f"layer{stage + 1}.{second}.{part}.{leaf}"
