"""Checkpoints with random weights: time and memory do not depend on what is learned.

`python -m altbench.measure.untrained SPECIFICATION ANSWER` writes one. It is a process of its
own, so that its memory does not count in any measurement.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError
from altbench.core.policy import FitContext, Policy, Trainable, resolve_config
from altbench.core.task import InitialState
from altbench.measure.probe import answer, run_python
from altbench.results.checkpoints import CheckpointCard, save_checkpoint
from altbench.rollout.episode import make_env, state_length
from altbench.system.workers import end_with


@dataclass(frozen=True)
class Untrained:
    """A policy to write to `folder`, fitted in 0 steps to `frames` frames of noise."""

    folder: str
    task: str
    policy: str
    preset: str
    image_size: tuple[int, int]
    frames: int
    device: str


def write_untrained(wanted: Untrained, threads: int) -> int:
    """Write the checkpoint in another process, with `threads` CPU threads.

    Return the length of the state that the policy sees; 0 if it sees none.
    """
    return int(run_python("altbench.measure.untrained", dataclasses.asdict(wanted), threads))


def check(wanted: Untrained) -> None:
    """Raise ConfigError for an unknown policy or preset, or one that learns nothing."""
    _policy(wanted)


def _policy(wanted: Untrained) -> Trainable:
    cls = registry.policy(wanted.policy)
    if not issubclass(cls, Trainable):
        raise ConfigError(
            f"policy {wanted.policy!r} learns nothing, so it has no checkpoint to measure; name a policy that is trained"
        )
    steps = {"train_steps": 0} if "train_steps" in cls.config_type.model_fields else {}
    config = resolve_config(cls, wanted.preset, steps, f"policy {wanted.policy!r}").resolve(wanted.device)
    return cls(registry.task(wanted.task), config)


def _write_here(wanted: Untrained) -> int:
    policy = _policy(wanted)
    state_dim = _state_length(policy)
    noise = noise_demonstrations(policy, wanted.image_size, wanted.frames, state_dim)
    policy.fit(noise, FitContext(0, wanted.device))
    card = CheckpointCard(
        task=wanted.task,
        policy=wanted.policy,
        preset=policy.preset_key(wanted.preset),
        config=policy.config.model_dump(mode="json"),
        n=2,
        train_seed=0,
        key="untrained",
        data_checksum="noise",
        policy_version=policy.version,
        image_size=wanted.image_size,
        train_seconds=0.0,
    )
    save_checkpoint(Path(wanted.folder), card, policy)
    return state_dim


def _state_length(policy: Policy) -> int:
    """Return the length of the state that a policy sees; only its task's environment knows it."""
    needs = policy.requirements
    if not needs.needs_state:
        return 0
    registry.select_backend()
    with closing(make_env(policy.task, needs, (84, 84), "fast")) as env:
        return state_length(env)


def noise_demonstrations(
    policy: Policy, image_size: tuple[int, int], frames: int, state_dim: int = 0
) -> list[Demonstration]:
    """Make two demonstrations of random images and poses to fit `policy` to.

    `frames`: of both together. `image_size`: height and width in pixels. `state_dim`:
    length of the state; 0: none.
    """
    rng, needs, task = np.random.default_rng(0), policy.requirements, policy.task
    length = frames // 2
    return [
        Demonstration(
            index=index,
            pixels={c: rng.integers(0, 256, (length, *image_size, 3), np.uint8) for c in needs.cameras},
            agent_pos=rng.uniform(-1, 1, (length, task.agent_pos_dim)).astype(np.float32),
            actions=rng.uniform(-1, 1, (length, task.action_dim(needs.control_mode))).astype(np.float32),
            states=np.zeros((length, 1)),
            initial_state=InitialState(np.zeros(1), np.zeros(len(task.pose_names))),
            control_mode=needs.control_mode,
            environment_state=rng.uniform(-1, 1, (length, state_dim)).astype(np.float32) if state_dim else None,
        )
        for index in range(2)
    ]


if __name__ == "__main__":
    end_with(os.getppid())
    specification = json.loads(sys.argv[1])
    answer(str(_write_here(Untrained(**{**specification, "image_size": tuple(specification["image_size"])}))))
