"""A policy as a server sees it: slots, histories, observations in, answers out.

No network: `server.py` brings the messages.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from altbench.core.errors import ContractError
from altbench.core.policy import Decision, Observation, Policy, as_float32, check_decision
from altbench.core.types import Float32, UInt8
from altbench.remote.messages import ENVIRONMENT, EXTENSION, IMAGE, PROTOCOL, STATE

Message = Mapping[str, Any]


class PolicyService:
    """A policy that is ready to act, with a slot for each connection.

    `told`: what identifies it (`policy`, `version`, `digest`, ...), for the metadata.
    `image_size`: (H, W) of the images that it was made for; None: any. Its methods are
    called by one thread at a time.
    """

    def __init__(self, policy: Policy, told: Mapping[str, Any], image_size: tuple[int, int] | None = None) -> None:
        self.policy = policy
        self._told, self._image_size = dict(told), policy.requirements.image_size or image_size
        self._taken: set[int] = set()
        self._unready: set[int] = set()

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that every connection begins with."""
        needs = self.policy.requirements
        size = self._image_size if needs.cameras else None
        told = {
            "protocol": PROTOCOL,
            "supports_reset": True,
            "deterministic": True,
            "action_space": needs.control_mode,
            "horizon": needs.action_horizon,
            "obs_horizon": needs.obs_horizon,
            "cameras": list(needs.cameras),
            "image_size": list(size) if size else None,
            "obs_keys": self._keys(),
            "task": self.policy.task.name,
            **self._told,
        }
        return {EXTENSION: told}

    def _keys(self) -> list[str]:
        needs = self.policy.requirements
        return [*map(IMAGE.format, needs.cameras), STATE, *([ENVIRONMENT] if needs.needs_state else [])]

    def open(self) -> int:
        """Return a slot for a new connection; its episode begins with its first message."""
        slot = next(i for i in range(len(self._taken) + 1) if i not in self._taken)
        self._taken.add(slot)
        self._unready.add(slot)
        return slot

    def close(self, slot: int) -> None:
        """Free the slot of a connection that has ended."""
        self._taken.discard(slot)
        self._unready.discard(slot)

    def reset(self, slot: int, message: Message) -> Message:
        """Begin an episode in `slot`, as `message` asks."""
        seed = message[EXTENSION].get("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
            raise ContractError(f"reset: expected a seed from 0 to 2^64 - 1, got {str(seed)[:40]!r}")
        self.policy.reset([slot], [seed])
        self._unready.discard(slot)
        return {EXTENSION: {"reset": True, "pid": os.getpid()}}

    def read(self, message: Message) -> Observation:
        """Return a message as the observation of one slot; ContractError if it does not fit."""
        needs, steps = self.policy.requirements, self.policy.requirements.obs_horizon
        pixels = {camera: self._image(message, camera)[None] for camera in needs.cameras}
        state = _vector(message, STATE, steps, self.policy.task.agent_pos_dim)[None]
        privileged = _vector(message, ENVIRONMENT, steps, None)[None] if needs.needs_state else None
        return Observation(pixels, state, privileged)

    def act(self, slots: Sequence[int], seen: Sequence[Observation]) -> list[Message]:
        """Return the answers of several slots, which the policy decides at once."""
        for slot in slots:
            if slot in self._unready:  # a client that does not know of resets
                self.policy.reset([slot], [0])
                self._unready.discard(slot)
        needs, observation, began = self.policy.requirements, _together(seen), time.perf_counter()
        decision = as_float32(self.policy.act(observation, slots))
        took = time.perf_counter() - began
        check_decision(decision, len(slots), needs.action_horizon, self.policy.task.action_dim(needs.control_mode))
        return [_answer(decision, row, took) for row in range(len(slots))]

    def _image(self, message: Message, camera: str) -> UInt8:
        key, steps = IMAGE.format(camera), self.policy.requirements.obs_horizon
        image = message.get(key)
        size = "(H, W, 3)" if self._image_size is None else f"({self._image_size[0]}, {self._image_size[1]}, 3)"
        if not isinstance(image, np.ndarray) or not self._is_image(image):
            raise ContractError(f"expected {key} as uint8 {size}, got {_kind(image)}")
        return np.asarray(_frames(image, 3, steps, key), np.uint8)

    def _is_image(self, array: np.ndarray[Any, Any]) -> bool:
        good = array.dtype == np.uint8 and array.ndim in (3, 4) and array.shape[-1] == 3 and array.size > 0
        return good and self._image_size in (None, array.shape[-3:-1])


def _together(seen: Sequence[Observation]) -> Observation:
    """Return observations of one slot each as one of all."""
    if len(seen) == 1:
        return seen[0]
    states = [one.environment_state for one in seen if one.environment_state is not None]
    return Observation(
        {camera: np.concatenate([one.pixels[camera] for one in seen]) for camera in seen[0].pixels},
        np.concatenate([one.agent_pos for one in seen]),
        np.concatenate(states) if states else None,
    )


def is_reset(message: Message) -> bool:
    """Return whether a message asks for a new episode."""
    told = message.get(EXTENSION)
    return isinstance(told, Mapping) and told.get("reset") is True


def _vector(message: Message, key: str, steps: int, width: int | None) -> Float32:
    """Return the vector `key`, float32 (To, D)."""
    value = message.get(key)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf" or value.ndim not in (1, 2):
        raise ContractError(f"expected {key} as float32 ({width or 'De'},), got {_kind(value)}")
    if width is not None and value.shape[-1] != width:
        raise ContractError(f"expected {key} as float32 ({width},), got {_kind(value)}")
    return np.asarray(_frames(value, 1, steps, key), np.float32)


def _frames(value: np.ndarray[Any, Any], dimensions: int, steps: int, key: str) -> Any:
    """Return To frames: those that came, or the newest one repeated.

    An openpi client that does not know altbench sends one frame.
    """
    if value.ndim == dimensions:
        return np.repeat(value[None], steps, axis=0)
    if len(value) != steps:
        raise ContractError(f"expected {steps} frames of {key}, got {len(value)}")
    return value


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _answer(decision: Decision, row: int, took: float) -> Message:
    told: dict[str, Any] = {
        "actions": decision.actions[row],
        "server_timing": {"infer_ms": took * 1e3},
        EXTENSION: {"pid": os.getpid()},
    }
    if decision.ood_score is not None:
        told["ood_score"] = float(decision.ood_score[row])
    if decision.is_ood is not None:
        told["is_ood"] = bool(decision.is_ood[row])
    return told
