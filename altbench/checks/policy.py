"""The contract of policies as code, for the author of a policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import numpy as np

from altbench.checks.at_work import TOLERANCE, check_unchanged, copied, global_seeds
from altbench.checks.env import require, require_shape
from altbench.core.demonstration import Demonstration
from altbench.core.policy import Decision, Observation, Policy, Requirements, check_decision

BATCH = 4
"""How many observations of demonstrations a policy is checked on."""


def check_policy(policy: Policy, seen: Observation | Sequence[Demonstration]) -> None:
    """Check a policy that is ready to act, on demonstrations or on an observation.

    `seen`: demonstrations, from which a batch of different observations is made; or an
    observation of B >= 2 slots, which must differ.
    """
    for _ in kept_checks(policy, seen):
        pass


def kept_checks(policy: Policy, seen: Observation | Sequence[Demonstration]) -> Iterator[str]:
    """Check a policy as `check_policy`; yield in words each part of the contract that it keeps.

    ContractError at the first that it breaks.
    """
    observation = seen if isinstance(seen, Observation) else _batch_of(seen, policy.requirements)
    batch, needs = observation.batch_size, policy.requirements
    require(batch >= 2, f"check_policy needs an observation of at least 2 slots, got {batch}")
    _check_requirements(needs, observation)
    shown = ", ".join(needs.cameras) or "no images"
    yield f"it asks for what the task has: {shown}; {needs.obs_horizon} frames; {needs.action_horizon} actions executed"
    held = policy.footprint()
    require(held is None or min(held.weights, held.table) >= 0, f"footprint: expected bytes from 0, got {held}")
    yield (
        f"it holds {held.weights + held.table} bytes"
        if held
        else "it need not say how many bytes it holds, and does not"
    )
    slots = list(range(batch))
    first = _decisions(policy, observation, slots)
    for decision in first:
        _check_fields(decision, batch, policy)
    shape, mode = first[0].actions.shape[1:], needs.control_mode
    yield f"its actions are finite float32 of shape (B, {shape[0]}, {shape[1]}) in {mode}; it leaves observations alone"
    _same(first, _decisions(policy, observation, slots), "the same seeds and observations gave other decisions")
    yield "the same seeds and observations give the same decisions"
    with global_seeds(1234):
        _same(first, _decisions(policy, observation, slots), "decisions depend on global random state")
    yield "its decisions do not depend on global random state"
    subsets = [[slot] for slot in slots] + [slots[::-1]]
    for subset in subsets:
        came = _decisions(policy, observation, subset)
        expected = [_rows(decision, subset) for decision in first]
        _same(expected, came, f"slots {subset} decide differently than within a batch of {batch}")
    yield f"a slot decides alike alone, in a batch of {batch}, and in another order"


def _batch_of(demonstrations: Sequence[Demonstration], needs: Requirements) -> Observation:
    """Return `BATCH` observations: frames spread over the demonstrations, each with its history."""
    require(len(demonstrations) > 0, "check_policy needs at least one demonstration, got none")
    missing = sorted(set(needs.cameras) - set(demonstrations[0].pixels))
    require(not missing, f"check_policy: the demonstrations lack cameras {missing}")
    frames = []
    for slot in range(BATCH):
        shown = demonstrations[slot * len(demonstrations) // BATCH]
        last = min(len(shown) - 1, (slot + 1) * len(shown) // (BATCH + 1))
        frames.append((shown, np.clip(np.arange(last - needs.obs_horizon + 1, last + 1), 0, None)))
    states = [shown.environment_state[i] for shown, i in frames if shown.environment_state is not None]
    state = np.stack(states) if needs.needs_state and len(states) == BATCH else None
    require(state is not None or not needs.needs_state, "check_policy: the demonstrations lack the environment's state")
    return Observation(
        {camera: np.stack([shown.pixels[camera][i] for shown, i in frames]) for camera in needs.cameras},
        np.stack([shown.agent_pos[i] for shown, i in frames]),
        state,
    )


def observations_of(demonstrations: Sequence[Demonstration], needs: Requirements, count: int) -> list[Observation]:
    """Return `count` (up to `BATCH`) observations of one slot, frames of demonstrations.

    ContractError if the demonstrations lack what `needs` asks for.
    """
    batch = _batch_of(demonstrations, needs)
    return [_rows_seen(batch, [row]) for row in range(count)]


def _check_requirements(needs: Requirements, observation: Observation) -> None:
    horizons = (needs.obs_horizon, needs.action_horizon, needs.pred_horizon)
    require(min(horizons) >= 1, f"requirements: expected horizons from 1, got {needs}")
    require(
        needs.action_horizon <= needs.pred_horizon,
        f"requirements: expected Ta <= Tp, got {needs.action_horizon} and {needs.pred_horizon}",
    )
    missing = sorted(set(needs.cameras) - set(observation.pixels))
    require(not missing, f"check_policy: the observation lacks cameras {missing}")
    came = observation.agent_pos.shape[1]
    require(came == needs.obs_horizon, f"check_policy: expected To = {needs.obs_horizon}, got {came}")


def _decisions(policy: Policy, observation: Observation, slots: Sequence[int]) -> list[Decision]:
    """Return two decisions in a row for `slots`, from the beginning.

    A slot keeps its seed and observation, whichever slots act with it.
    """
    policy.reset(slots, [100 + slot for slot in slots])
    seen = _rows_seen(observation, slots)
    shown = copied(seen)
    decisions = [policy.act(shown, slots) for _ in range(2)]
    check_unchanged(seen, shown)
    return decisions


def _rows_seen(observation: Observation, rows: Sequence[int]) -> Observation:
    state = observation.environment_state
    return Observation(
        {camera: images[rows] for camera, images in observation.pixels.items()},
        observation.agent_pos[rows],
        None if state is None else state[rows],
    )


def _rows(decision: Decision, rows: Sequence[int]) -> Decision:
    present = [field.name for field in fields(decision) if getattr(decision, field.name) is not None]
    return replace(decision, **{name: getattr(decision, name)[rows] for name in present})


def _check_fields(decision: Decision, batch: int, policy: Policy) -> None:
    needs = policy.requirements
    check_decision(decision, batch, needs.action_horizon, policy.task.action_dim(needs.control_mode))
    expected: dict[str, tuple[type[np.generic], int]] = {
        "ood_score": (np.float32, 1),
        "is_ood": (np.bool_, 1),
        "matches": (np.int64, 3),
        "similarities": (np.float32, 2),
        "ood_threshold": (np.float32, 1),
    }
    for name, (dtype, dimensions) in expected.items():
        value = getattr(decision, name)
        if value is not None:
            good = value.dtype == dtype and value.ndim == dimensions
            require(
                good,
                f"act: expected {name} {dtype.__name__} of {dimensions} dimensions, got {value.dtype} {value.shape}",
            )
    if decision.matches is not None and decision.similarities is not None:
        require_shape("act: matches", decision.matches.shape, (*decision.similarities.shape, 2))


def _same(expected: Sequence[Decision], came: Sequence[Decision], fault: str) -> None:
    for one, other in zip(expected, came, strict=True):
        for name in ("actions", "ood_score", "similarities"):
            left, right = getattr(one, name), getattr(other, name)
            require((left is None) == (right is None), f"{fault}: {name} is there only sometimes")
            if left is not None:
                require_shape(f"{fault}: {name}", right.shape, left.shape)
                gap = float(np.abs(left - right).max())
                require(gap <= TOLERANCE, f"{fault}: {name} differ by {gap:.2g} (at most {TOLERANCE})")
