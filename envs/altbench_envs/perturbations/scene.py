"""What scene perturbations share.

Checked arguments, the identity at severity 0, and restoring everything.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from altbench.api import PerturbationUnsupported, ScenePerturbation, TaskEnv, UInt8
from altbench_envs.perturbations.validation import check_options, checked_severity
from altbench_envs.robosuite_env.visuals import Visuals


class VisualPerturbation(ScenePerturbation):
    """A perturbation, without options, of a scene's `visuals`; subclasses are final."""

    def __init__(self, severity: int, **options: Any) -> None:
        self.severity = checked_severity(self.name, severity)
        check_options(self.name, options)

    def begin(self, env: TaskEnv, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        """Change the scene; PerturbationUnsupported if there is nothing to change."""
        visuals = self._visuals(env)
        if self.severity:
            self._change(visuals, rng, cameras)
            visuals.show()

    def end(self, env: TaskEnv) -> None:
        """Restore everything."""
        visuals = getattr(env, "visuals", None)
        if isinstance(visuals, Visuals):
            visuals.restore()

    @abstractmethod
    def _change(self, visuals: Visuals, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        """Make the change at a severity from 1 on; `keep` what it replaces."""

    def _visuals(self, env: TaskEnv) -> Visuals:
        visuals = getattr(env, "visuals", None)
        if not isinstance(visuals, Visuals):
            raise PerturbationUnsupported(
                f"perturbation {self.name}: {env.info.name} is not a robosuite task with visuals"
            )
        return visuals

    def _need(self, found: Sequence[int], what: str) -> Sequence[int]:
        if not found:
            raise PerturbationUnsupported(f"perturbation {self.name}: this task has no {what}")
        return found


def blended(image: UInt8, other: UInt8, weight: float) -> UInt8:
    """Mix `other` into `image` with `weight`."""
    return np.asarray(np.round((1 - weight) * image + weight * other.astype(np.float32)), dtype=np.uint8)
