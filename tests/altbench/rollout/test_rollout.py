"""Episodes: what is recorded, and what becomes of policies and simulators that misbehave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest

from altbench.core import registry
from altbench.core.errors import ContractError, SimulationDiverged
from altbench.core.perturbation import Perturbation
from altbench.core.policy import Decision, Requirements, check_fit
from altbench.rollout.episode import make_env, run_episode
from altbench.rollout.plan import EpisodePlan, PlannedPerturbation
from altbench.rollout.records import EpisodeRecord


def play(own: Path, name: str, *, env: Any = None, timeout: float = 60.0, **plan: Any) -> EpisodeRecord:
    cls = registry.policy(f"{own}:{name}")
    policy = cls(fakes.TASK, cls.config_type())
    env = env or make_env(fakes.TASK, policy.requirements, (32, 32), "fast")
    full = {"index": 0, "seed": 7, "policy_seed": 1, "options": {"split": "uniform"}, **plan}
    return run_episode(env, policy, EpisodePlan(**full), timeout)


def test_a_good_policy_succeeds_and_every_step_is_recorded(own_policies: Path) -> None:
    record = play(own_policies, "Good")
    assert (record.status, record.success, record.episode_return) == ("ok", True, 1.0)
    assert len(record.trajectory) == record.steps
    assert [d.step for d in record.decisions] == list(range(0, record.steps, 8))
    assert len(record.trajectory[0].action) == 10 and len(record.trajectory[0].agent_pos) == 11
    assert record.max_ood_score is None and record.first_flagged_step is None


def test_the_same_plan_gives_the_same_episode(own_policies: Path) -> None:
    first, second = play(own_policies, "Good"), play(own_policies, "Good")
    assert first.trajectory == second.trajectory


@pytest.mark.parametrize(("changes", "expected"), [([0.5, 0.5], 0.5), ([0.5, 0.25], None), ([None, None], None)])
def test_the_threshold_of_the_flags_is_recorded_where_it_is_one(
    own_policies: Path, monkeypatch: pytest.MonkeyPatch, changes: list[float | None], expected: float | None
) -> None:
    cls = registry.policy(f"{own_policies}:Good")
    act, told = cls.act, iter(changes * 10)

    def acts(self: Any, observation: Any, slots: Any) -> Any:
        threshold = next(told)
        known = None if threshold is None else np.full(1, threshold, np.float32)
        still = np.zeros_like(act(self, observation, slots).actions)
        return Decision(still, np.full(1, 0.75, np.float32), np.full(1, True), ood_threshold=known)

    monkeypatch.setattr(cls, "act", acts)
    record = play(own_policies, "Good")
    assert (record.status, len(record.decisions), record.ood_threshold) == ("ok", 5, expected)


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("Raises", "policy_error", "ValueError: no idea"),
        ("Nan", "policy_error", "expected finite actions"),
        ("WrongShape", "policy_error", r"expected actions float32 (1, 8, 10), got float32 (1, 3, 10)"),
        ("Leaves", "policy_error", "SystemExit: 3"),
        ("Hangs", "policy_timeout", "no decision within 0.2 s"),
    ],
)
def test_a_policy_that_misbehaves_costs_its_own_episode(
    own_policies: Path, name: str, status: str, message: str
) -> None:
    record = play(own_policies, name, timeout=0.2, policy_seed=1)
    assert (record.status, record.success) == (status, False)
    assert message in record.message
    assert play(own_policies, "Good").success


class Diverges(fakes.FakeTask):
    def advance(self, action: Any) -> Any:
        raise SimulationDiverged("BADQACC")


class Breaks(fakes.FakeTask):
    def advance(self, action: Any) -> Any:
        raise OSError("no more GL contexts")


def test_a_simulation_that_diverges_is_a_failure_and_other_faults_are_not_the_policys(own_policies: Path) -> None:
    assert play(own_policies, "Good", env=Diverges()).status == "sim_diverged"
    broken = play(own_policies, "Good", env=Breaks())
    assert (broken.status, broken.message) == ("infra_error", "OSError: no more GL contexts")


@pytest.mark.parametrize("policy_seed", [0, 1])
def test_a_lack_of_memory_is_not_the_policys(own_policies: Path, policy_seed: int) -> None:
    assert play(own_policies, "Hungry", policy_seed=policy_seed).status == "infra_error"


class Blacken(Perturbation):
    name = "blacken"

    def __init__(self, severity: int = 5, **options: Any) -> None:
        self.severity = severity
        self.keys: set[tuple[int, int, int]] = set()

    def apply(self, image: Any, key: Any) -> Any:
        self.keys.add((key.episode_seed, key.camera, key.step))
        return np.zeros_like(image)


def test_a_perturbation_stands_between_camera_and_policy(own_policies: Path) -> None:
    blacken = Blacken()
    record = play(own_policies, "Good", perturbation=PlannedPerturbation(blacken, 99), seed=3)
    assert record.status == "ok"
    assert record.trajectory[0].action != play(own_policies, "Good", seed=3).trajectory[0].action
    assert {k[0] for k in blacken.keys} == {99} and {k[1] for k in blacken.keys} == {0, 1}
    assert {k[2] for k in blacken.keys} >= {0, 7, 8}


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        (Requirements(("birdview",)), r"requires cameras \('birdview',\), but Fake has \('agentview', 'wrist'\)"),
        (
            Requirements(("wrist",), image_size=(84, 84)),
            r"requires \(84, 84\) images, but the sweep renders \(32, 32\)",
        ),
        (Requirements(("wrist",), action_horizon=20), "Ta <= Tp"),
    ],
)
def test_a_mismatch_is_refused_with_both_sides(needs: Requirements, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check_fit(needs, fakes.TASK, (32, 32), "mine")
