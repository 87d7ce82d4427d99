"""Loading a checkpoint of Stable-Baselines3, and reading its spaces."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from altbench.api import CheckpointError, ContractError, ControlMode, Float32, Observation, TaskInfo, check_space
from altbench_policies.sb3.config import UNTRUSTED, StableBaselinesSpec

KEYS = ("agent_pos", "environment_state")
"""What a model may see, in the order of gymnasium.wrappers.FlattenObservation."""
TELLING = {"clip_range": "ppo", "gae_lambda": "a2c", "policy_delay": "td3", "target_entropy": "sac"}
"""Setting -> the algorithm that has it. PPO has gae_lambda, too, so the order counts; DDPG is a TD3."""
TRAINING_ONLY: dict[str, Any] = {
    "seed": None,
    "env": None,
    "buffer_size": 1,
    "replay_buffer_class": None,
    "replay_buffer_kwargs": {},
    "learning_rate": 0.0,
    "lr_schedule": None,
    "_last_obs": None,
    "_last_original_obs": None,
    "ep_info_buffer": None,
    "ep_success_buffer": None,
}
"""What acting does not need. Given like this, it is neither unpickled nor allocated."""


def load_model(config: StableBaselinesSpec) -> Any:
    """Load the model on the CPU, ready to predict.

    This runs the code that the file's pickles hold. So it raises CheckpointError
    without `config.trust`, and if the file is missing, damaged, or not the one that
    `config` names.
    """
    if not config.trust:
        raise CheckpointError(UNTRUSTED.format(path=config.path))
    contents = _read(config)
    algo = config.algo or algorithm(contents, config.path)
    import stable_baselines3  # not at the top: it takes seconds

    kind = getattr(stable_baselines3, algo.upper())
    try:
        with torch.random.fork_rng([]):  # initial weights are drawn before the file's
            return kind.load(io.BytesIO(contents), device="cpu", custom_objects=TRAINING_ONLY)
    except Exception as error:  # a pickle may raise anything
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{config.path}: cannot be loaded as {algo.upper()} (is `algo` right?): {type(error).__name__}: {reason}"
        ) from error


def algorithm(contents: bytes, path: str) -> str:
    """Return the algorithm that wrote a zip.

    It is found by the names of its settings, which the zip holds in plain JSON.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(contents)) as archive:
            names = json.loads(archive.read("data"))
    except (zipfile.BadZipFile, KeyError, ValueError):
        raise CheckpointError(f"{path}: not the zip that an SB3 model's save(path) writes") from None
    found = next((algo for setting, algo in TELLING.items() if setting in names), None)
    if found is None:
        raise CheckpointError(
            f"{path}: expected a model of {', '.join(TELLING.values())}, found another; set algo = ..."
        )
    return found


def _read(config: StableBaselinesSpec) -> bytes:
    """Read the bytes that `config` names; raise CheckpointError if they are others."""
    try:
        contents = Path(config.path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{config.path}: cannot be read: {error.strerror or error}") from None
    came = hashlib.sha256(contents).hexdigest()
    if came != config.sha256:
        raise CheckpointError(f"{config.path}: expected the file with SHA-256 {config.sha256}, found {came}")
    return contents


def control_mode(space: gymnasium.Space[Any], task: TaskInfo) -> ControlMode:
    """Return the control mode in which actions of `space` make sense on `task`.

    The number of actions decides; the bounds must be the task's. Raises ContractError
    if it fits no control mode.
    """
    modes: tuple[ControlMode, ...] = ("ee_delta", "ee_pose")
    for mode in modes:
        if isinstance(space, spaces.Box) and space.shape == (task.action_dim(mode),):
            check_space("the model's actions", space.low, space.high, task, mode)
            return mode
    expected = " or ".join(f"{task.action_dim(mode)} numbers ({mode})" for mode in modes)
    raise ContractError(f"the model's actions are {space}; {task.name} takes {expected}")


@dataclass(frozen=True)
class Reader:
    """How a model reads an observation.

    It reads a dictionary of `keys`, or (`flat`) all of them in one vector.
    """

    space: gymnasium.Space[Any]
    keys: tuple[str, ...]
    flat: bool

    @classmethod
    def of(cls, space: gymnasium.Space[Any], task: TaskInfo) -> Reader:
        """Build the reader of a model that was trained on `space`.

        Raises ContractError if `task` does not offer such observations.
        """
        if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.shape[0] > task.agent_pos_dim:
            return cls(space, KEYS, flat=True)
        if isinstance(space, spaces.Dict) and space.spaces and set(space.spaces) <= set(KEYS):
            pose = space.spaces.get("agent_pos")
            if pose is None or pose.shape == (task.agent_pos_dim,):
                return cls(space, tuple(space.spaces), flat=False)
        raise ContractError(
            f'the model observes {space}; {task.name} shows, with obs_type="state", agent_pos ({task.agent_pos_dim},) and '
            "environment_state, as a Dict or flattened in this order (gymnasium.wrappers.FlattenObservation)"
        )

    def read(self, observation: Observation) -> Float32 | dict[str, Float32]:
        """Return the newest observation of B slots, as the model reads it.

        Raises ContractError if its lengths are not those of training.
        """
        found = {key: value[:, -1] for key in self.keys if (value := getattr(observation, key)) is not None}
        shown: Any = np.concatenate(list(found.values()), axis=1) if self.flat else found
        expected = {"": self.space} if self.flat else dict(self.space.spaces)  # type: ignore[attr-defined]
        for key, space in expected.items():
            came = shown if self.flat else shown.get(key)
            if came is None or came.shape[1:] != space.shape:
                lengths = {k: v.shape[1] for k, v in found.items()}
                raise ContractError(f"{key or 'observation'}: trained with {space.shape}, the task shows {lengths}")
        return shown  # type: ignore[no-any-return]
