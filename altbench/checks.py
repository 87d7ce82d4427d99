"""The contracts of altbench.api, executable: what a plug-in's author runs on a task, a perturbation or a policy.

Each function returns nothing and raises ContractError for the first fault, with what was expected and what came.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from altbench import scene_checks
from altbench.api import (
    AnyPerturbation,
    Decision,
    FrameKey,
    Observation,
    Perturbation,
    Policy,
    Requirements,
    SimulatedTask,
    UInt8,
)
from altbench.env_checks import check_env, refuses, require, require_shape
from altbench.errors import ContractError
from altbench.rollout import check_decision

__all__ = ["check_env", "check_perturbation", "check_policy"]

TOLERANCE = 1e-5  # of decisions, between batches of different sizes
MAX_SEVERITY = 5
EPISODES = 32  # over which a perturbation's mean distortion is taken


def check_perturbation(kind: type[AnyPerturbation], env: SimulatedTask | None = None, **options: Any) -> None:
    """Check a perturbation's class, made with `options`.

    One of images is tried on a picture like a camera's; one of the scene on `env`, a task's environment with images
    (`gymnasium.make("altbench/Lift-v0").unwrapped`).
    """
    name = kind.name
    wrong: tuple[Any, ...] = (-1, MAX_SEVERITY + 1, True, 2.0)
    for severity in wrong:
        refuses(partial(kind, severity, **options), f"perturbation {name}: severity {severity!r}")
    refuses(partial(kind, 1, no_such_option=1, **options), f"perturbation {name}: an unknown option")
    made = [kind(severity, **options) for severity in range(MAX_SEVERITY + 1)]
    for severity, one in enumerate(made):
        came = getattr(one, "severity", None)
        require(came == severity, f"perturbation {name}: expected the attribute severity {severity}, got {came!r}")
    distortion = [_distortion(one, env) for one in made]
    require(distortion[0] == 0.0, f"perturbation {name}: severity 0 must return the image's bytes unchanged")
    require(
        all(lesser < greater for lesser, greater in pairwise(distortion)),
        f"perturbation {name}: mean distortion must grow with severity, got {np.round(distortion, 2).tolist()}",
    )


def check_policy(policy: Policy, observation: Observation) -> None:
    """Check a policy that is ready to act, on `observation` of B >= 2 different slots."""
    batch = observation.batch_size
    require(batch >= 2, f"check_policy needs an observation of at least 2 slots, got {batch}")
    _check_requirements(policy.requirements, observation)
    footprint = policy.footprint()
    require(min(footprint.weights, footprint.table) >= 0, f"footprint: expected bytes from 0, got {footprint}")
    slots = list(range(batch))
    first = _decisions(policy, observation, slots)
    for decision in first:
        _check_fields(decision, batch, policy)
    _same(first, _decisions(policy, observation, slots), "the same seeds and observations gave other decisions")
    with _other_global_randomness():
        _same(first, _decisions(policy, observation, slots), "decisions depend on global random state")
    subsets = [[slot] for slot in slots] + [slots[::-1]]
    for subset in subsets:
        came = _decisions(policy, observation, subset)
        expected = [_rows(decision, subset) for decision in first]
        _same(expected, came, f"slots {subset} decide differently than within a batch of {batch}")


# ------------------------------------------------------------------------------------------------- perturbations


def _distortion(perturbation: AnyPerturbation, env: SimulatedTask | None) -> float:
    if isinstance(perturbation, Perturbation):
        return _image_distortion(perturbation, _picture())
    if env is None:
        raise ContractError(
            f"perturbation {perturbation.name} changes a scene: check_perturbation needs a task's `env`"
        )
    return scene_checks.distortion(perturbation, env)


def _image_distortion(perturbation: Perturbation, image: UInt8) -> float:
    """Mean absolute change over episodes and cameras, each application checked; the picture moves as a film does."""
    changes = []
    for episode in range(EPISODES):
        references: list[UInt8] = []
        for step in range(0, episode + 1) if perturbation.keeps(0) else (episode,):
            seen = np.roll(image, step, axis=1)
            if perturbation.keeps(step):
                references = [seen]
        key = FrameKey(episode, episode % 2, episode, references[0] if references else None)
        changes.append(_change(perturbation, seen, key))
    return float(np.mean(changes))


def _change(perturbation: Perturbation, image: UInt8, key: FrameKey) -> float:
    """Mean absolute change of one image, having checked what came."""
    name, original = perturbation.name, image.copy()
    result = perturbation.apply(image, key)
    good = isinstance(result, np.ndarray) and result.dtype == np.uint8 and result.shape == image.shape
    require(good, f"perturbation {name}: expected uint8 {image.shape}, got {getattr(result, 'shape', result)}")
    require(np.array_equal(image, original), f"perturbation {name}: it changed its input; return a copy")
    again = perturbation.apply(image, key)
    require(np.array_equal(result, again), f"perturbation {name}: the same image and key gave other bytes")
    return float(np.abs(result.astype(int) - image).mean())


def _picture() -> UInt8:
    """A pale table with light falling off, a red cube and a dark gripper: uint8 (84, 84, 3)."""
    rows, columns = np.mgrid[0:84, 0:84]
    shade = 235 - 40 * np.hypot(rows - 42, columns - 42) / 60
    image = np.repeat(shade[..., None], 3, axis=2)
    image[50:62, 30:42] = (170, 40, 45)
    image[0:24, 34:58] = (45, 45, 50)
    return image.astype(np.uint8)


# ------------------------------------------------------------------------------------------------------ policies


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
    """Two decisions in a row for `slots`, from the beginning; a slot's seed and observation are its own."""
    policy.reset(slots, [100 + slot for slot in slots])
    seen = _rows_seen(observation, slots)
    return [policy.act(seen, slots) for _ in range(2)]


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


@contextlib.contextmanager
def _other_global_randomness() -> Iterator[None]:
    """Global generators (random, numpy, and torch where it is loaded) in another state; put back afterwards."""
    torch = sys.modules.get("torch")
    python, numpy, tensors = random.getstate(), np.random.get_state(), torch.get_rng_state() if torch else None
    random.seed(1234)
    np.random.seed(1234)
    if torch:
        torch.manual_seed(1234)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if torch:
            torch.set_rng_state(tensors)
