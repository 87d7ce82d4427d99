"""Keys of frames: what a policy that looks things up makes of an image, for demonstrations and for episodes played again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from altbench.api import Demonstration, Float32, Int64, Observation, Policy

BATCH = 64


@runtime_checkable
class Embeds(Protocol):
    """A policy with a key: `embed` makes float32 (B, D), of length 1, of the last frame of each of B slots."""

    def embed(self, observation: Observation) -> Float32:
        """The keys."""
        ...


def frame_keys(policy: Policy, demonstration: Demonstration) -> Float32:
    """Keys of all frames of a demonstration, float32 (T, D); TypeError where the policy has none."""
    if not isinstance(policy, Embeds):
        raise TypeError(f"{policy.name} has no keys (no method embed)")
    cameras = policy.requirements.cameras
    parts = []
    for begin in range(0, len(demonstration), BATCH):
        chosen = slice(begin, begin + BATCH)
        pixels = {camera: demonstration.pixels[camera][chosen][:, None] for camera in cameras}
        parts.append(policy.embed(Observation(pixels, demonstration.agent_pos[chosen][:, None])))
    return np.concatenate(parts)


def join(keys: Sequence[Float32]) -> tuple[Float32, Int64, Int64]:
    """Keys of several episodes one below the other (M, D), with the number of episode and frame of each row (M,)."""
    episode = np.concatenate([np.full(len(k), i) for i, k in enumerate(keys)])
    frame = np.concatenate([np.arange(len(k)) for k in keys])
    return np.concatenate(keys), episode, frame
