"""The check of a policy before it plays: is what it does on real observations to be counted?

It costs five decisions. `check_policy` asks more, for the author of a policy.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import numpy as np

from altbench.core.errors import ContractError
from altbench.core.policy import Decision, Observation, Policy, as_float32, check_decision

TOLERANCE = 1e-5
"""The largest difference between two decisions that should be equal.

Matrix products of other shapes are summed in another order.
"""
GPU_TOLERANCE = 1e-2
"""The same on a GPU, whose kernels may add in another order each time."""


def check_at_work(
    policy: Policy, observations: Sequence[Observation], seed: int, device: str = "cpu"
) -> tuple[str, ...]:
    """Check the decisions of a policy that is ready to act; return what to know of them.

    `observations`: a few real ones of one slot each, each the first of an episode with
    the policy's seed `seed`. ContractError if a decision has a
    wrong shape or dtype or is not finite, if the policy changes its observation, if it
    decides otherwise under the same seed, or if it depends on global random state.
    Other exceptions are the policy's own and pass.
    """
    # The first round also makes what is made at first use: lazy layers, caches, imports.
    notes = {note for one in observations for note in _check_one(policy, one, seed)}
    tolerance = TOLERANCE if device == "cpu" else GPU_TOLERANCE
    rounds = {}
    for name, state in (("one", 1), ("other", 2)):
        with global_seeds(state):
            rounds[name] = _decisions(policy, observations, seed)
    if not same_decisions(rounds["one"], rounds["other"], tolerance):
        with global_seeds(1):
            again = _decisions(policy, observations, seed)
        if same_decisions(rounds["one"], again, tolerance):
            raise ContractError(
                "decisions depend on global random state; draw from a generator that `reset` seeds, such as "
                "numpy.random.default_rng(seed)"
            )
        raise ContractError(
            "the same seeds and observations gave other decisions; seed every generator in `reset`, and begin anew there"
        )
    return tuple(sorted(notes))


def _check_one(policy: Policy, observation: Observation, seed: int) -> Iterator[str]:
    needs, shown = policy.requirements, copied(observation)
    policy.reset([0], [seed])
    decision = policy.act(shown, [0])
    if isinstance(decision, Decision) and as_float32(decision) is not decision:
        yield f"its actions are {decision.actions.dtype}, and are cast to float32"
        decision = as_float32(decision)
    check_decision(decision, 1, needs.action_horizon, policy.task.action_dim(needs.control_mode))
    check_unchanged(observation, shown)


def _decisions(policy: Policy, observations: Sequence[Observation], seed: int) -> list[Decision]:
    found = []
    for one in observations:
        policy.reset([0], [seed])
        found.append(policy.act(copied(one), [0]))
    return found


def copied(observation: Observation) -> Observation:
    """Return a copy with arrays of its own."""
    state = observation.environment_state
    return replace(
        observation,
        pixels={camera: images.copy() for camera, images in observation.pixels.items()},
        agent_pos=observation.agent_pos.copy(),
        environment_state=None if state is None else state.copy(),
    )


def check_unchanged(before: Observation, after: Observation) -> None:
    """Raise ContractError, naming the part, if an observation was changed."""
    pairs = {f"pixels[{camera!r}]": (before.pixels[camera], after.pixels.get(camera)) for camera in before.pixels}
    pairs |= {name: (getattr(before, name), getattr(after, name)) for name in ("agent_pos", "environment_state")}
    for name, (old, new) in pairs.items():
        if old is not None and not (isinstance(new, np.ndarray) and np.array_equal(old, new)):
            raise ContractError(f"act changes its observation, in {name}; copy what you change")


def same_decisions(first: Sequence[Decision], second: Sequence[Decision], tolerance: float = TOLERANCE) -> bool:
    """Return whether all numbers of two rounds of decisions are equal, but for rounding."""
    for one, other in zip(first, second, strict=True):
        for name in (field.name for field in fields(Decision)):
            left, right = getattr(one, name), getattr(other, name)
            if (left is None) != (right is None) or (left is not None and not _close(left, right, tolerance)):
                return False
    return True


def _close(left: object, right: object, tolerance: float) -> bool:
    first, second = (np.asarray(side, np.float64) for side in (left, right))
    return first.shape == second.shape and np.allclose(first, second, rtol=0.0, atol=tolerance, equal_nan=True)


@contextlib.contextmanager
def global_seeds(seed: int) -> Iterator[None]:
    """Seed the global generators (random, numpy, torch if it is loaded) for the block.

    Their states are restored afterwards.
    """
    torch = sys.modules.get("torch")
    gpu = torch is not None and torch.cuda.is_initialized()
    python, numpy, tensors = random.getstate(), np.random.get_state(), torch.get_rng_state() if torch else None
    on_gpu = torch.cuda.get_rng_state_all() if torch and gpu else None
    random.seed(seed)
    np.random.seed(seed)
    if torch:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if torch:
            torch.set_rng_state(tensors)
        if torch and gpu:
            torch.cuda.set_rng_state_all(on_gpu)
