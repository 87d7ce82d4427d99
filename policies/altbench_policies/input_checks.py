"""Checks of the observations that the bench hands to a policy.

Cameras, image sizes and slots are checked before anything is computed.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from altbench.api import CheckpointError, ContractError, Observation

if TYPE_CHECKING:
    from torch import Tensor


def images(observation: Observation, camera: str, size: tuple[int, int]) -> Tensor:
    """Return the images of `camera`, uint8 (B, To, H, W, 3), with (H, W) = `size`.

    Raises ContractError if the camera is missing or the images have another size.
    """
    if camera not in observation.pixels:
        raise ContractError(f"expected images of the camera {camera!r}, got those of {sorted(observation.pixels)}")
    pixels = observation.pixels[camera]
    if pixels.ndim != 5 or tuple(pixels.shape[2:4]) != size:
        raise ContractError(
            f"camera {camera!r}: expected uint8 (B, To, {size[0]}, {size[1]}, 3) as in training, got {pixels.shape}; "
            f"render at {size[0]}×{size[1]} or fit the policy again"
        )
    import torch  # not at the top: the policy `random` does without

    return torch.from_numpy(pixels)


def check_begun(slots: Sequence[int], begun: Container[int]) -> None:
    """Raise ContractError if one of `slots` has not begun an episode."""
    missing = [slot for slot in slots if slot not in begun]
    if missing:
        raise ContractError(f"slot {missing[0]} has not begun an episode: call reset(slots, seeds) before act")


def not_fitted(name: str) -> CheckpointError:
    """Return the error for a policy that must be fitted or loaded first."""
    return CheckpointError(f"policy {name!r} is not fitted: call fit(...) or load(...) first")
