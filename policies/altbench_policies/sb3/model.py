"""Loading a checkpoint of Stable-Baselines3, and what its spaces say."""

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

from altbench.api import CheckpointError, ContractError, ControlMode, Float32, Observation, TaskInfo
from altbench_policies.sb3.config import UNTRUSTED, StableBaselinesSpec

KEYS = ("agent_pos", "environment_state")  # in the order of gymnasium.wrappers.FlattenObservation
TELLING = {"clip_range": "ppo", "gae_lambda": "a2c", "policy_delay": "td3", "target_entropy": "sac"}  # DDPG is a TD3
TRAINING_ONLY: dict[str, Any] = {  # not needed to act: neither unpickled nor allocated
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


def load_model(config: StableBaselinesSpec) -> Any:
    """The model on the CPU, ready to predict; CheckpointError where the file is missing, damaged or another's.

    Runs the code that the file's pickles hold, and so refuses where `settings.trust` is not given.
    """
    if not config.trust:
        raise CheckpointError(UNTRUSTED.format(path=config.path))
    contents = _read(config)
    algo = config.algo or algorithm(contents, config.path)
    import stable_baselines3  # here and not above: the import takes seconds, which only this policy needs spend

    kind = getattr(stable_baselines3, algo.upper())
    try:
        with torch.random.fork_rng([]):  # its networks get initial weights before those of the file
            return kind.load(io.BytesIO(contents), device="cpu", custom_objects=TRAINING_ONLY)
    except Exception as error:  # a pickle may raise anything
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{config.path}: cannot be loaded as {algo.upper()} (is `algo` right?): {type(error).__name__}: {reason}"
        ) from error


def algorithm(contents: bytes, path: str) -> str:
    """The algorithm that wrote a zip, by the names of its settings, which stand there in plain JSON."""
    try:
        with zipfile.ZipFile(io.BytesIO(contents)) as archive:
            names = json.loads(archive.read("data"))
    except (zipfile.BadZipFile, KeyError, ValueError):
        raise CheckpointError(f"{path}: not the zip that an SB3 model's save(path) writes") from None
    found = next((algo for setting, algo in TELLING.items() if setting in names), None)
    if found is None:
        raise CheckpointError(f"{path}: of none of the algorithms {', '.join(TELLING.values())}; say which: algo = ...")
    return found


def _read(config: StableBaselinesSpec) -> bytes:
    """The very bytes that `settings` name."""
    try:
        contents = Path(config.path).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{config.path}: cannot be read: {error.strerror or error}") from None
    came = hashlib.sha256(contents).hexdigest()
    if came != config.sha256:
        raise CheckpointError(f"{config.path}: expected the file with SHA-256 {config.sha256}, found {came}")
    return contents


def control_mode(space: gymnasium.Space[Any], task: TaskInfo) -> ControlMode:
    """What actions of `space` mean on `task`, by their number; ContractError where they mean nothing."""
    modes: tuple[ControlMode, ...] = ("ee_delta", "ee_pose")
    for mode in modes:
        if isinstance(space, spaces.Box) and space.shape == (task.action_dim(mode),):
            return mode
    expected = " or ".join(f"{task.action_dim(mode)} numbers ({mode})" for mode in modes)
    raise ContractError(f"its actions are {space}; {task.name} takes {expected}")


@dataclass(frozen=True)
class Reader:
    """How a model wants to be shown an observation: as a dictionary of `keys`, or (`flat`) all of them in one vector."""

    space: gymnasium.Space[Any]
    keys: tuple[str, ...]
    flat: bool

    @classmethod
    def of(cls, space: gymnasium.Space[Any], task: TaskInfo) -> Reader:
        """For a model that was trained on `space`; ContractError where `task` cannot show that."""
        if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.shape[0] > task.agent_pos_dim:
            return cls(space, KEYS, flat=True)
        if isinstance(space, spaces.Dict) and space.spaces and set(space.spaces) <= set(KEYS):
            pose = space.spaces.get("agent_pos")
            if pose is None or pose.shape == (task.agent_pos_dim,):
                return cls(space, tuple(space.spaces), flat=False)
        raise ContractError(
            f'it observes {space}; {task.name} shows, with obs_type="state", agent_pos ({task.agent_pos_dim},) and '
            "environment_state, as a Dict or flattened in this order (gymnasium.wrappers.FlattenObservation)"
        )

    def read(self, observation: Observation) -> Float32 | dict[str, Float32]:
        """The newest observation of B slots; ContractError where its lengths are not those of training."""
        found = {key: value[:, -1] for key in self.keys if (value := getattr(observation, key)) is not None}
        shown: Any = np.concatenate(list(found.values()), axis=1) if self.flat else found
        expected = {"": self.space} if self.flat else dict(self.space.spaces)  # type: ignore[attr-defined]
        for key, space in expected.items():
            came = shown if self.flat else shown.get(key)
            if came is None or came.shape[1:] != space.shape:
                lengths = {k: v.shape[1] for k, v in found.items()}
                raise ContractError(f"{key or 'observation'}: trained with {space.shape}, the task shows {lengths}")
        return shown  # type: ignore[no-any-return]
