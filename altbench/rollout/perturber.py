"""A perturbation in one episode: its frames, the images it needs, and its status."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from altbench.core.errors import PerturbationUnsupported
from altbench.core.perturbation import AnyPerturbation, FrameKey, Perturbation, ScenePerturbation
from altbench.core.task import TaskEnv
from altbench.core.types import UInt8
from altbench.rollout.records import PerturbationStatus


class EpisodePerturber:
    """A perturbation, of either kind, at work in one episode.

    `seed`: the episode's perturbation seed. `task_cameras`: the task's cameras.
    `cameras`: the cameras to perturb (empty: all). `from_step`: the control step at
    which the perturbation begins. `seen`: the cameras that the policy uses (None: all);
    frames of other cameras stay as they are.

    Call `arrive` when the simulation has reached a step and before its frame is drawn,
    `change` with each drawn image, `decide` before each decision, and `end` when the
    episode is over, even after an error.
    """

    def __init__(
        self,
        perturbation: AnyPerturbation,
        seed: int,
        task_cameras: Sequence[str],
        cameras: Sequence[str] = (),
        from_step: int = 0,
        seen: Sequence[str] | None = None,
    ) -> None:
        self.status: PerturbationStatus = "skipped"
        self._perturbation, self._seed, self._from_step = perturbation, seed, from_step
        self._numbers = {camera: number for number, camera in enumerate(task_cameras)}
        reached = cameras or task_cameras
        self._cameras = tuple(c for c in reached if seen is None or c in seen)
        self._references: dict[str, UInt8] = {}
        self._keeping = self._begun = self._changed = False

    def arrive(self, task: TaskEnv, step: int) -> bool:
        """Begin a scene's perturbation if its step has come.

        Returns whether this step's frame must be drawn even if no policy sees it.
        Raises PerturbationUnsupported, with the status set, if the task has nothing to
        perturb.
        """
        if not self._cameras or step < self._from_step:
            return False
        if isinstance(self._perturbation, Perturbation):
            # Which images are kept may not depend on the policy's horizons: two
            # policies must meet the same perturbation in the same episode.
            self._keeping = self._perturbation.keeps(step - self._from_step)
            return self._keeping
        if self._begun or self._perturbation.severity == 0:
            return False
        self._begin(self._perturbation, task)
        return True

    def change(self, camera: str, step: int, image: UInt8) -> UInt8:
        """Return `image`, taken by `camera` at `step`, as the policy receives it."""
        perturbation = self._perturbation
        if not isinstance(perturbation, Perturbation) or camera not in self._cameras or step < self._from_step:
            return image
        if self._keeping:
            self._references[camera] = image
        key = FrameKey(self._seed, self._numbers[camera], step, self._references.get(camera))
        self._changed |= perturbation.severity > 0
        return perturbation.apply(image, key)

    def decide(self) -> None:
        """Record that a decision uses the frames changed so far: they are applied."""
        if self._changed:
            self.status = "applied"

    def end(self, task: TaskEnv) -> None:
        """Restore a changed scene."""
        if self._begun and isinstance(self._perturbation, ScenePerturbation):
            self._begun = False
            self._perturbation.end(task)

    def _begin(self, perturbation: ScenePerturbation, task: TaskEnv) -> None:
        self._begun = True
        try:
            perturbation.begin(task, np.random.default_rng(np.random.SeedSequence([self._seed])), self._cameras)
        except PerturbationUnsupported:
            self.status = "unsupported"
            raise
        self._changed = True
