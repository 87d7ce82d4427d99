"""KD-tree: what followed the demonstrated frame with the nearest observation.

Nothing is learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import KDTree as Tree
from torch import Tensor

from altbench.api import (
    CheckpointError,
    Decision,
    Demonstration,
    FitContext,
    Float32,
    Footprint,
    Observation,
    Requirements,
    TaskInfo,
    Trainable,
)
from altbench_policies import checkpoint, input_checks
from altbench_policies.checkpoint import numpy_of
from altbench_policies.control import ControlSpec
from altbench_policies.frames import join
from altbench_policies.lookup.frames import Demonstrated
from altbench_policies.lookup.raw import shrunk, side_by_side


class KDTreeSpec(ControlSpec):
    """Config of the KD-tree; see also ControlSpec.

    `observation`: what is compared. "pixels": each camera's image averaged down to
    `side` × `side` in colour. "pose": agent_pos; then no images are asked for. "both":
    both. `cameras`: which views (empty: all of the task's). `pose_weight`: with "both",
    the weight of the pose's distance beside one camera's. `action_horizon`: Ta, the
    actions that are executed. `top_k`: number of matches
    reported.
    """

    observation: Literal["pixels", "pose", "both"] = "pixels"
    side: int = Field(default=21, ge=1)
    cameras: tuple[str, ...] = ()
    pose_weight: float = Field(default=1.0, gt=0)
    action_horizon: int = Field(default=8, ge=1)
    top_k: int = Field(default=3, ge=1)


@dataclass(frozen=True)
class Memory:
    """A tree over N observations (N, F), and what followed each.

    `scales`: float32 (P,), the unit of each camera, then of the pose. `image_size`: (H,
    W), None if only poses are compared.
    """

    tree: Tree
    scales: Float32
    demonstrated: Demonstrated
    image_size: tuple[int, int] | None

    @property
    def bytes(self) -> int:
        """The number of bytes held.

        The tree's float64 observations, their order, and the actions. (Its nodes are
        under 1 %.)
        """
        return int(self.tree.data.nbytes + self.tree.indices.nbytes + self.scales.nbytes) + self.demonstrated.bytes

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return name -> plain array; `observations` is float32 (N, F)."""
        observations = np.asarray(self.tree.data, np.float32)  # exact, since float32 went in
        return {"observations": observations, "scales": self.scales, **self.demonstrated.arrays()}


class KDTree(Trainable[KDTreeSpec]):
    """The nearest demonstrated observation, found by a KD-tree, with nothing learned.

    Source: arXiv 2505.05787.
    """

    name: ClassVar[str] = "kdtree"
    version: ClassVar[int] = 1
    runtime_fields = frozenset({"top_k"})

    def __init__(self, task: TaskInfo, config: KDTreeSpec) -> None:
        super().__init__(task, config)
        self.cameras = () if config.observation == "pose" else config.cameras or task.cameras
        self._memory: Memory | None = None
        self._begun: set[int] = set()

    @property
    def requirements(self) -> Requirements:
        """Images of its cameras, if they are compared; the last frame alone."""
        horizon = self.config.action_horizon
        size = self._memory.image_size if self._memory else None
        return Requirements(self.cameras, 1, horizon, horizon, self.config.control_mode, size)

    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Put every frame into the tree."""
        frames = join(demonstrations, self.cameras, control_mode=self.config.control_mode)
        parts = self._parts(frames.pixels, frames.agent_pos)
        scales = np.array([_spread(part) for part in parts], np.float32)
        if self.config.observation == "both":
            scales[-1] /= self.config.pose_weight
        size = frames.image_size if self.cameras else None
        self._memory = Memory(Tree(side_by_side(parts, scales)), scales, Demonstrated.of(frames), size)
        context.progress(1, 1, {})

    def save(self, folder: Path) -> None:
        """Write the observations and what followed them."""
        memory = self.memory()
        values = {"image_size": list(memory.image_size or ())}
        checkpoint.write(folder, checkpoint.Checkpoint(values, arrays=memory.arrays()))

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote.

        Raises CheckpointError if it is damaged or of another config.
        """
        del device  # trees live on the CPU
        saved = checkpoint.read(folder)
        observations, size = saved.array("observations"), tuple(saved.value("image_size"))
        numbers = 3 * self.config.side**2 * len(self.cameras)
        numbers += self.task.agent_pos_dim if self.config.observation != "pixels" else 0
        if observations.shape[1] != numbers:
            raise CheckpointError(
                f"{folder}: observations have {observations.shape[1]} numbers, this config makes {numbers}: they are "
                "of another configuration"
            )
        demonstrated = Demonstrated.from_arrays(saved.arrays, len(observations))
        self._memory = Memory(Tree(observations), saved.array("scales"), demonstrated, size or None)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Begin the slots; nothing is random, and nothing is kept between decisions."""
        del seeds
        self._begun.update(slots)

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Return chunks (B, Ta, Da) with matches; `similarities` is minus the distance."""
        memory = self.memory()
        input_checks.check_begun(slots, self._begun)
        pixels = {c: input_checks.images(observation, c, memory.image_size or (0, 0))[:, -1] for c in self.cameras}
        parts = self._parts(pixels, torch.from_numpy(observation.agent_pos[:, -1]))
        nearest = range(1, min(self.config.top_k, len(memory.demonstrated)) + 1)
        distances, rows = memory.tree.query(side_by_side(parts, memory.scales), list(nearest))
        actions = memory.demonstrated.chunk(rows[:, 0], self.config.action_horizon)
        matches = memory.demonstrated.names(rows)
        return Decision(actions, matches=matches, similarities=-distances.astype(np.float32))

    def footprint(self) -> Footprint:
        """Return the bytes of the tree and the actions."""
        return Footprint(table=self._memory.bytes) if self._memory else Footprint()

    def inference_note(self) -> str:
        """Return what is compared, and with how many frames."""
        return f"KD-tree of {self.config.observation}, {len(self._memory.demonstrated)} frames" if self._memory else ""

    def memory(self) -> Memory:
        """Return what `fit` made; raise CheckpointError before `fit` or `load`."""
        if self._memory is None:
            raise input_checks.not_fitted(self.name)
        return self._memory

    def _parts(self, pixels: Mapping[str, Tensor], agent_pos: Tensor) -> list[Float32]:
        """Return what is compared, part by part, float32.

        Each camera's (N, 3·side²) in [0, 1], then the pose's (N, Dp).
        """
        parts = [shrunk(pixels[camera], self.config.side) / 255 for camera in self.cameras]
        if self.config.observation != "pixels":
            parts.append(agent_pos.float())
        return [numpy_of(part) for part in parts]


def _spread(part: Float32) -> float:
    """Return how far frames lie from their mean, root mean square.

    It is 1 if they do not differ.
    """
    return float(np.sqrt(part.var(axis=0).sum())) or 1.0
