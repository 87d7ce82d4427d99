"""Demonstrations as flat tensors of frames, and the windows that a sample sees."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from altbench.api import ControlMode, DatasetError, Demonstration


@dataclass(frozen=True)
class Frames:
    """All N frames of some demonstrations, one after the other.

    `pixels`: camera -> uint8 (N, H, W, 3). `agent_pos`: float32 (N, Dp). `actions`:
    float32 (N, Da). `first` and `last`: int64 (N,), the rows where each frame's episode
    begins and ends. `episode`: int64 (N,), its `Demonstration.index`.
    """

    pixels: dict[str, Tensor]
    agent_pos: Tensor
    actions: Tensor
    first: Tensor
    last: Tensor
    episode: Tensor

    def __len__(self) -> int:
        return int(self.actions.shape[0])

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the cameras' images."""
        shape = next(iter(self.pixels.values())).shape
        return int(shape[1]), int(shape[2])

    def digest(self) -> str:
        """Return the SHA-256 of everything that training reads, in hexadecimal."""
        sha = hashlib.sha256()
        for tensor in (self.first, self.last, self.agent_pos, self.actions, *self.pixels.values()):
            sha.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
        return sha.hexdigest()


def join(
    demonstrations: Sequence[Demonstration],
    cameras: Sequence[str],
    device: str = "cpu",
    control_mode: ControlMode = "ee_pose",
) -> Frames:
    """Return the frames of `demonstrations`, on `device`.

    Raises DatasetError if `demonstrations` is empty, if their shapes differ, or if
    their actions are not in `control_mode`.
    """
    if not demonstrations:
        raise DatasetError("expected at least one demonstration to learn from, got none")
    _check_control_mode(demonstrations, control_mode)
    _check(demonstrations, cameras)
    lengths = torch.tensor([len(d) for d in demonstrations])
    ends = lengths.cumsum(0)
    return Frames(
        pixels={c: torch.from_numpy(np.concatenate([d.pixels[c] for d in demonstrations])).to(device) for c in cameras},
        agent_pos=torch.from_numpy(np.concatenate([d.agent_pos for d in demonstrations])).to(device),
        actions=torch.from_numpy(np.concatenate([d.actions for d in demonstrations])).to(device),
        first=(ends - lengths).repeat_interleave(lengths),
        last=(ends - 1).repeat_interleave(lengths),
        episode=torch.tensor([d.index for d in demonstrations]).repeat_interleave(lengths),
    )


def observation_rows(frames: Frames, horizon: int) -> Tensor:
    """Return int64 (N, To): the rows seen at each frame, oldest first.

    Before an episode begins, its first frame is repeated.
    """
    rows = torch.arange(len(frames))[:, None] + torch.arange(1 - horizon, 1)
    return torch.maximum(rows, frames.first[:, None])


def action_rows(frames: Frames, horizon: int, past: int = 0) -> Tensor:
    """Return int64 (N, `horizon`): the rows of each frame's chunk of actions.

    A chunk begins `past` steps before its frame. Before its episode the first action is
    repeated, past its end the last one. A window never enters another episode.
    """
    rows = torch.arange(len(frames))[:, None] + torch.arange(-past, horizon - past)
    return torch.minimum(torch.maximum(rows, frames.first[:, None]), frames.last[:, None])


def draw_rows(total: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw min(count, total) different rows: int64 (min(count, total),).

    They differ so that no sample meets itself in its batch, which the contrastive loss
    would count as a wrong partner.
    """
    return torch.randperm(total, generator=generator)[:count]


def _check_control_mode(demonstrations: Sequence[Demonstration], control_mode: ControlMode) -> None:
    for demo in demonstrations:
        if demo.control_mode != control_mode:
            raise DatasetError(
                f"demonstration {demo.index}: expected actions in {control_mode}, the policy's control_mode, got "
                f"{demo.control_mode}"
            )


def _check(demonstrations: Sequence[Demonstration], cameras: Sequence[str]) -> None:
    reference = demonstrations[0]
    for demo in demonstrations:
        name = f"demonstration {demo.index}"
        missing = [c for c in cameras if c not in demo.pixels]
        if missing:
            raise DatasetError(f"{name}: expected the camera {missing[0]!r}, it has {sorted(demo.pixels)}")
        if len(demo) == 0:
            raise DatasetError(f"{name}: expected at least one frame, got none")
        for camera in cameras:
            expected = (len(demo), *reference.pixels[camera].shape[1:])
            if demo.pixels[camera].shape != expected or demo.pixels[camera].dtype != np.uint8:
                got = demo.pixels[camera]
                raise DatasetError(f"{name}: expected {camera!r} as uint8 {expected}, got {got.dtype} {got.shape}")
        for field in ("agent_pos", "actions"):
            expected = (len(demo), getattr(reference, field).shape[1])
            if getattr(demo, field).shape != expected:
                raise DatasetError(f"{name}: expected {field} of shape {expected}, got {getattr(demo, field).shape}")
