"""The plan of an episode: its seeds, its start, and what is perturbed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from altbench.core.perturbation import AnyPerturbation
from altbench.core.task import TaskInfo
from altbench.rollout.perturber import EpisodePerturber


@dataclass(frozen=True)
class PlannedPerturbation:
    """A perturbation in one episode: what it is, its seed, and the frames that it changes.

    `cameras`: empty means all. `from_step`: the first control step that it changes.
    """

    perturbation: AnyPerturbation
    seed: int
    cameras: tuple[str, ...] = ()
    from_step: int = 0


@dataclass(frozen=True, kw_only=True)
class EpisodePlan:
    """The plan of one episode.

    `seed` and `options` go to `reset`, `policy_seed` to the policy. `perturbation`: what
    stands between the two.
    """

    index: int
    seed: int
    policy_seed: int
    options: Mapping[str, Any]
    perturbation: PlannedPerturbation | None = None

    def perturber(self, task: TaskInfo, seen: Sequence[str] | None = None) -> EpisodePerturber | None:
        """Return the perturber of this episode; None without a perturbation.

        `seen`: the cameras that the policy uses; None means all.
        """
        planned = self.perturbation
        if planned is None:
            return None
        return EpisodePerturber(
            planned.perturbation, planned.seed, task.cameras, planned.cameras, planned.from_step, seen
        )
