"""The shipped checkers pass what keeps the contracts and name what breaks them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import fakes
import numpy as np
import pytest

from altbench.checks import env, perturbation, policy
from altbench.core import registry
from altbench.core.errors import ConfigError, ContractError
from altbench.core.perturbation import FrameKey, Perturbation
from altbench.core.policy import Decision, Observation, Policy, Requirements
from altbench.core.spec import Spec
from altbench.core.types import UInt8

B = 3


# -------------------------------------------------------------------------------------------------- environments


class DrawsGlobally(fakes.FakeTask):
    """Reads numpy's global generator."""

    def reset(self, **arguments: Any) -> Any:
        np.random.random()
        return super().reset(**arguments)


class NeverTruncates(fakes.FakeTask):
    """Goes on past the horizon."""

    def advance(self, action: Any) -> Any:
        reward, terminated, _, info = super().advance(action)
        return reward, terminated, False, info


class ForgetsSeeds(fakes.FakeTask):
    """Starts alike whatever the seed."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=0, options=options)


class ReplaysRoughly(fakes.FakeTask):
    """Takes a demonstration's target but not its start."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        rough = {**(options or {}), "split": "recall"} if (options or {}).get("split") == "replay" else options
        return super().reset(seed=seed, options=rough)


class StepsDifferently(fakes.FakeTask):
    """`step` rewards what `advance` does not."""

    def step(self, action: Any) -> Any:
        observation, reward, *rest = super().step(action)
        return observation, reward + 1.0, *rest


class TakesAnySplit(fakes.FakeTask):
    """Never refuses an option."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        known = {**(options or {})}
        if known.get("split", "uniform") not in fakes.TASK.splits:
            known = {}
        return super().reset(seed=seed, options=known)


class SaysNothingMoved(fakes.FakeTask):
    """Moves its target, and does not tell."""

    def advance(self, action: Any) -> Any:
        *outcome, info = super().advance(action)
        return *outcome, {"is_success": info["is_success"]}


class MovesAtOnce(fakes.FakeTask):
    """Moves its target a step early."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        begun = super().reset(seed=seed, options=options)
        self._move = self._move and (self._move[0] - 1, self._move[1])
        return begun


class NeverMoves(fakes.FakeTask):
    """Says that it moves, and ignores the request."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        checked = super().reset(seed=seed, options=options)
        self._move = None
        return checked


class IgnoresMoves(fakes.FakeTask):
    """Is not movable, and does not say so when asked."""

    info = replace(fakes.TASK, movable=False)


def test_a_good_task_passes() -> None:
    env.check_env(fakes.FakeTask())


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (DrawsGlobally, "numpy's global generator"),
        (NeverTruncates, "expected truncated at step 40 alone, got False"),
        (ForgetsSeeds, "another seed must give another initial state"),
        (ReplaysRoughly, "split 'replay': expected the recorded states"),
        (StepsDifferently, "advance: expected .* as step gave"),
        (TakesAnySplit, "an unknown split must be refused"),
        (SaysNothingMoved, r"expected info\['moved'\] \[False, False, True, .* got \[None"),
        (MovesAtOnce, "expected no change before step 2"),
        (NeverMoves, "expected a change at step 2"),
        (IgnoresMoves, "where the task is not movable, must be refused"),
    ],
)
def test_broken_tasks_are_named(task: Callable[[], fakes.FakeTask], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        env.check_env(task())


# ------------------------------------------------------------------------------------------------- perturbations


class Darken(Perturbation):
    """A good perturbation; `how` breaks one thing of it."""

    name = "darken"
    how = ""

    def __init__(self, severity: int, **options: Any) -> None:
        if options or isinstance(severity, bool) or severity not in range(6) or not isinstance(severity, int):
            raise ConfigError("darken: wrong")
        self.severity = severity

    def apply(self, image: UInt8, key: FrameKey) -> UInt8:
        if self.how == "in place":
            image //= self.severity + 1
            return image
        if self.how == "random":
            return np.random.default_rng().integers(0, 255, image.shape, np.uint8) if self.severity else image.copy()
        divided = image // {"identity": self.severity + 2, "flat": 2 if self.severity else 1}.get(
            self.how, self.severity + 1
        )
        return divided.astype(np.float32) if self.how == "dtype" else divided  # type: ignore[return-value]


def test_a_good_perturbation_passes() -> None:
    perturbation.check_perturbation(Darken)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("in place", "changed its input"),
        ("random", "the same image and key gave other bytes"),
        ("identity", "severity 0 must return the image's bytes unchanged"),
        ("flat", "mean distortion must grow"),
        ("dtype", r"expected uint8 \(84, 84, 3\)"),
    ],
)
def test_broken_perturbations_are_named(how: str, message: str) -> None:
    with pytest.raises(ContractError, match=f"darken: .*{message}"):
        perturbation.check_perturbation(type("Broken", (Darken,), {"how": how}))


# ------------------------------------------------------------------------------------------------------ policies


class Hold(Policy):
    """Repeats the present pose with a little noise from the episode's seed; `how` breaks one thing of it."""

    name = "hold"
    config_type = Spec

    def __init__(self, how: str = "") -> None:
        super().__init__(fakes.TASK, Spec())
        self.how = how
        self._rngs: dict[int, np.random.Generator] = {}

    @property
    def requirements(self) -> Requirements:
        return Requirements(cameras=("wrist",), action_horizon=32 if self.how == "horizons" else 8)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        if self.how != "seeds" or not self._rngs:
            self._rngs.update({slot: np.random.default_rng(seed) for slot, seed in zip(slots, seeds, strict=True)})

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        pose = observation.agent_pos[:, -1, :9]
        noise = np.stack([self._rngs[slot].normal(0, 0.01, 9) for slot in slots])
        if self.how == "global":
            noise = noise + np.random.default_rng(int(np.random.get_state()[1][0])).normal()
        if self.how == "batch":
            noise = noise + pose.mean()
        chunk = np.repeat((pose + noise)[:, None], 8, axis=1)
        actions = np.concatenate([chunk, np.ones((len(slots), 8, 1))], axis=2).astype(np.float32)
        if self.how == "mutates":
            observation.agent_pos[0] = 0
        if self.how == "nan":
            actions[0, 0, 0] = np.nan
        return Decision(actions[:, :7] if self.how == "short" else actions, **self._extras(len(slots)))

    def _extras(self, batch: int) -> dict[str, Any]:
        if self.how == "score":
            return {"ood_score": np.zeros(batch)}
        return {
            "ood_score": np.zeros(batch, np.float32),
            "is_ood": np.zeros(batch, bool),
            "matches": np.zeros((batch, 4, 2), np.int64),
            "similarities": np.zeros((batch, 5 if self.how == "matches" else 4), np.float32),
        }


@pytest.fixture(scope="module")
def observation() -> Observation:
    """Three slots of fake demonstrations, To = 2."""
    demonstrations = fakes.make_demonstrations(B, image_size=(24, 24))
    pixels = {c: np.stack([d.pixels[c][:2] for d in demonstrations]) for c in fakes.TASK.cameras}
    return Observation(pixels, np.stack([d.agent_pos[:2] for d in demonstrations]))


def test_a_good_policy_passes(observation: Observation) -> None:
    before = np.random.get_state()[1].copy()
    policy.check_policy(Hold(), observation)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_the_random_policy_passes(observation: Observation) -> None:
    random = registry.policy("random")
    latest = Observation({}, observation.agent_pos[:, -1:])
    policy.check_policy(random(fakes.TASK, random.config_type()), latest)


def test_demonstrations_are_enough_to_check_a_policy() -> None:
    for count in (1, 2, 9):
        policy.check_policy(Hold(), fakes.make_demonstrations(count, image_size=(24, 24)))
    with pytest.raises(ContractError, match=r"slots \[0\] decide differently than within a batch of 4"):
        policy.check_policy(Hold("batch"), fakes.make_demonstrations(1))
    with pytest.raises(ContractError, match="at least one demonstration, got none"):
        policy.check_policy(Hold(), ())
    blind = [dataclasses.replace(d, pixels={}) for d in fakes.make_demonstrations(2)]
    with pytest.raises(ContractError, match=r"the demonstrations lack cameras \['wrist'\]"):
        policy.check_policy(Hold(), blind)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("horizons", "expected Ta <= Tp, got 32 and 16"),
        ("seeds", "the same seeds and observations gave other decisions"),
        ("global", "decisions depend on global random state"),
        ("batch", r"slots \[0\] decide differently than within a batch of 3: actions differ by"),
        ("nan", "expected finite actions"),
        ("mutates", "act changes its observation, in agent_pos; copy what you change"),
        ("short", r"expected actions float32 \(3, 8, 10\), got float32 \(3, 7, 10\)"),
        ("score", "expected ood_score float32 of 1 dimensions, got float64"),
        ("matches", r"matches: expected shape \(3, 5, 2\), got \(3, 4, 2\)"),
    ],
)
def test_broken_policies_are_named(how: str, message: str, observation: Observation) -> None:
    with pytest.raises(ContractError, match=message):
        policy.check_policy(Hold(how), observation)


def test_one_slot_is_not_enough(observation: Observation) -> None:
    alone = Observation({c: p[:1] for c, p in observation.pixels.items()}, observation.agent_pos[:1])
    with pytest.raises(ContractError, match="at least 2 slots, got 1"):
        policy.check_policy(Hold(), alone)
