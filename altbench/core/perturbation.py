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
    """The identity of one camera frame of one episode.

    A perturbation draws its random numbers from it, so that its result never depends on
    which other frames were rendered.

    `reference`: the camera's own image at the latest step for which
    `Perturbation.keeps` is true, uint8 (H, W, 3); None if no image was kept. The bench
    renders those frames even if no policy sees them.
    """

    episode_seed: int
    camera: int
    step: int
    reference: UInt8 | None = field(default=None, compare=False, repr=False)

    def episode_rng(self) -> np.random.Generator:
        """Return a generator that is equal for all frames of a camera in an episode.

        Use it for what stays: the place of a patch, the choice of a photograph.
        """
        return np.random.default_rng(np.random.SeedSequence([self.episode_seed, self.camera]))

    def frame_rng(self) -> np.random.Generator:
        """Return a generator that is new for each frame, for pixel noise."""
        return np.random.default_rng(np.random.SeedSequence([self.episode_seed, self.camera, self.step + 1]))


class Perturbation(ABC):
    """A change of camera images.

    Severity 0 is the identity. The mean distortion grows with the severity, up to 5.
    The bench decides which cameras are perturbed and from which step on; a perturbation
    receives only those frames.

    `version`: raise it when the result changes, so that results before and after are
    kept apart.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    severity: int

    @abstractmethod
    def __init__(self, severity: int, **options: Any) -> None:
        """Validate `severity` (0 to 5) and the options; ConfigError if one is wrong."""

    @abstractmethod
    def apply(self, image: UInt8, key: FrameKey) -> UInt8:
        """Return a perturbed copy of `image`, uint8 (H, W, 3).

        The same image and key must give the same bytes.
        """

    def contents(self) -> str:
        """Return a digest of the files that it reads; empty if it reads no files.

        The digest enters a cell's key.
        """
        return ""

    def keeps(self, step: int) -> bool:
        """Return whether later frames need the image at `step`.

        `step` counts control steps from the perturbation's beginning. The bench hands
        the latest kept image to all frames from its own on, as `key.reference`. If any
        step is kept, step 0 must be kept too.
        """
        del step
        return False


class ScenePerturbation(ABC):
    """A change of the simulated scene's appearance for the rest of an episode.

    It may change light, surfaces, viewpoint, or add things that are only drawn.
    Severity 0 is the identity. The images' mean distortion grows with the severity, up
    to 5. It must not change the simulator's state or physics: an episode's actions have
    the same consequences with and without it.

    `per_camera`: whether it changes cameras one by one; only then may a sweep name
    `cameras`. `version`: as in `Perturbation`.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    per_camera: ClassVar[bool] = False
    severity: int

    @abstractmethod
    def __init__(self, severity: int, **options: Any) -> None:
        """Validate `severity` (0 to 5) and the options; ConfigError if one is wrong."""

    def contents(self) -> str:
        """Return a digest of the files that it reads; empty if it reads no files.

        The digest enters a cell's key.
        """
        return ""

    @abstractmethod
    def begin(self, env: TaskEnv, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        """Change the scene of `env`, which has been reset.

        Every random number must come from `rng`, the episode's own. `cameras`: the
        cameras to change, if `per_camera`. Raises PerturbationUnsupported if this task
        has nothing for it to change; the episode is then not played, and its record
        says so.
        """

    @abstractmethod
    def end(self, env: TaskEnv) -> None:
        """Restore everything bit for bit, even if `begin` failed half-way."""


AnyPerturbation = Perturbation | ScenePerturbation
