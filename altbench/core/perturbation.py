"""The contracts of perturbations: of camera images, and of the scene."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from altbench.core.task import TaskEnv
from altbench.core.types import UInt8


@dataclass(frozen=True)
class FrameKey:
    """Names one camera frame of one episode, so that a perturbation of it never depends on which frames were drawn.

    `reference`: the camera's own image at the latest step that `Perturbation.keeps`, uint8 (H, W, 3); None where nothing
    was kept. The bench renders those frames whether or not a policy sees them.
    """

    episode_seed: int
    camera: int
    step: int
    reference: UInt8 | None = field(default=None, compare=False, repr=False)

    def episode_rng(self) -> np.random.Generator:
        """The same for all frames of this camera in this episode (where a patch sits, which photograph)."""
        return np.random.default_rng(np.random.SeedSequence([self.episode_seed, self.camera]))

    def frame_rng(self) -> np.random.Generator:
        """Fresh for each frame (pixel noise)."""
        return np.random.default_rng(np.random.SeedSequence([self.episode_seed, self.camera, self.step + 1]))


class Perturbation(ABC):
    """Changes camera images. Severity 0 is the identity; mean distortion grows with severity up to 5.

    Which cameras, and from which step on, is not its concern: the bench hands it only the frames it is to change.
    `version`: raised by whoever changes what it does, so that results of both are told apart.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    severity: int

    @abstractmethod
    def __init__(self, severity: int, **options: Any) -> None:
        """Validate `severity` (0 to 5) and the options (ConfigError)."""

    @abstractmethod
    def apply(self, image: UInt8, key: FrameKey) -> UInt8:
        """Perturbed copy of `image`, uint8 (H, W, 3); the same image and key give the same bytes."""

    def contents(self) -> str:
        """A digest of the files that it reads, part of a cell's key; empty where it reads none."""
        return ""

    def keeps(self, step: int) -> bool:
        """Whether the camera's image `step` control steps after the perturbation began is later frames' `key.reference`
        (and its own). Step 0 must be kept where any is."""
        del step
        return False


class ScenePerturbation(ABC):
    """Changes how the simulated scene looks for the rest of an episode: light, surfaces, viewpoint, things standing by.

    Severity 0 is the identity; the images' mean distortion grows with severity up to 5. It leaves the simulator's state
    and the physics alone, so an episode's actions have the same consequences with it as without. `per_camera`: it changes
    cameras one by one, so that `cameras` may be given. `version`: as a `Perturbation`'s.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    per_camera: ClassVar[bool] = False
    severity: int

    @abstractmethod
    def __init__(self, severity: int, **options: Any) -> None:
        """Validate `severity` (0 to 5) and the options (ConfigError)."""

    def contents(self) -> str:
        """A digest of the files that it reads, part of a cell's key; empty where it reads none."""
        return ""

    @abstractmethod
    def begin(self, env: TaskEnv, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        """Change the scene of `env`, which has been reset; everything random comes from `rng`, the episode's own.

        `cameras`: those to change, where `per_camera`. Raises PerturbationUnsupported where this task has nothing for
        it to change; the episode is then not played, and recorded so.
        """

    @abstractmethod
    def end(self, env: TaskEnv) -> None:
        """Put everything back, bit for bit; also where `begin` failed half-way."""


AnyPerturbation = Perturbation | ScenePerturbation
