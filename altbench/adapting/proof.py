"""Proving an adapter in episodes, beside one constant action in the same episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from altbench.core.demonstration import Demonstration
from altbench.core.policy import Decision, Observation, Policy, Requirements, check_fit
from altbench.core.spec import Spec
from altbench.core.task import TaskInfo
from altbench.core.types import Float32
from altbench.stats.paired import PairedCounts, paired_difference_interval


class Constant(Policy[Spec]):
    """A policy that always answers one pose action (arms x 10): the floor of rollouts."""

    name = "constant"
    config_type = Spec

    def __init__(self, task: TaskInfo, action: Float32) -> None:
        super().__init__(task, Spec())
        self.action = action

    @property
    def requirements(self) -> Requirements:
        """What it needs: no image."""
        return Requirements((), obs_horizon=1, pred_horizon=1, action_horizon=1)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Begin episodes: nothing is kept of the last ones."""

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Return the action, whatever is seen."""
        del observation
        return Decision(np.tile(self.action, (len(slots), 1, 1)))


@dataclass(frozen=True)
class Proof:
    """Episodes of `recall` with an adapter, and of the constant action.

    `counts`: in how many both, only the policy, only the constant action or neither
    succeeds. `problem`: what went wrong first; empty if nothing did.
    """

    counts: PairedCounts
    problem: str = ""

    @property
    def played(self) -> int:
        """How many episodes each played."""
        return self.counts.total

    @property
    def succeeded(self) -> int:
        """The policy's successes."""
        return self.counts.both + self.counts.only_first

    @property
    def constant(self) -> int:
        """The constant action's successes."""
        return self.counts.both + self.counts.only_second

    @property
    def works(self) -> bool:
        """Whether the 95 % interval of the gain (Newcombe's method 10) lies above 0."""
        # The difference is the second's rate, the constant action's, less the policy's.
        return paired_difference_interval(self.counts)[1] < 0.0


def prove(
    policy: Policy[Any], demonstrations: Sequence[Demonstration], task: str, episodes: int, seed: int, where: str
) -> Proof:
    """Play episodes of `recall`; ContractError, which names `where`, if the policy does not fit the task."""
    images = next(iter(demonstrations[0].pixels.values()), None)
    size = (84, 84) if images is None else (int(images.shape[1]), int(images.shape[2]))
    check_fit(policy.requirements, policy.task, size, where)
    middle = np.median(np.concatenate([d.actions for d in demonstrations]), axis=0).astype(np.float32)
    frame, floor = (
        _played(one, demonstrations, task, episodes, seed, size) for one in (policy, Constant(policy.task, middle))
    )
    own, other = frame["success"].to_numpy(bool), floor["success"].to_numpy(bool)
    wrong = frame[frame["status"] != "ok"]
    problem = "" if wrong.empty else f"{len(wrong)} ended with {wrong['status'].iloc[0]}: {wrong['message'].iloc[0]}"
    return Proof(PairedCounts.of(own, other), problem)


def _played(
    policy: Policy[Any],
    demonstrations: Sequence[Demonstration],
    task: str,
    episodes: int,
    seed: int,
    size: tuple[int, int],
) -> pd.DataFrame:
    from altbench.runner.evaluate import evaluate

    return evaluate(
        policy,
        task,
        split="recall",
        episodes=episodes,
        demonstrations=list(demonstrations),
        seed=seed,
        image_size=size,
        control_mode=policy.requirements.control_mode,
        quiet=True,
    )
