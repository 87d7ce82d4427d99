"""What client and server say to each other: metadata, observations, answers.

docs/remote.md describes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from altbench.core.errors import ContractError
from altbench.core.types import ControlMode, Float32, UInt8

PROTOCOL = 1
"""The version of altbench's extension of openpi's protocol."""
EXTENSION = "altbench"
"""The key of the extension in every message."""
IMAGE, STATE, ENVIRONMENT, PROMPT = "observation/{}", "observation/state", "observation/environment_state", "prompt"
"""The keys of an observation; `{}` stands for the camera."""
PLAIN_HORIZON = 8
"""Actions of an answer that are executed, if neither server nor row says how many."""


@dataclass(frozen=True)
class ServerInfo:
    """What a server's metadata tell; None: not told.

    `metadata`: all of them. `extended`: whether they have altbench's entry; without it
    the policy is stateless.
    """

    metadata: Mapping[str, Any]
    extended: bool = False
    supports_reset: bool = False
    deterministic: bool | None = None
    action_space: ControlMode | None = None
    horizon: int | None = None
    obs_horizon: int = 1
    cameras: tuple[str, ...] | None = None
    image_size: tuple[int, int] | None = None
    obs_keys: tuple[str, ...] | None = None
    policy: str = ""
    version: str = ""
    digest: str = ""


def read_metadata(metadata: object, where: str) -> ServerInfo:
    """Return what a server's first frame tells.

    ContractError, which begins with `where`, if it is not a map, or if its entry
    `altbench` has another version of the protocol or a value that it cannot have.
    """
    if not isinstance(metadata, Mapping):
        raise ContractError(f"{where}: expected the server's metadata, a map, got {type(metadata).__name__}")
    told = metadata.get(EXTENSION)
    if told is None:
        return ServerInfo(metadata)
    if not isinstance(told, Mapping):
        raise ContractError(f"{where}: expected metadata with altbench as a map, got {type(told).__name__}")
    if told.get("protocol") != PROTOCOL:
        raise ContractError(
            f"{where}: expected altbench's protocol {PROTOCOL}, and the server tells {told.get('protocol')!r}; use the "
            "same version of altbench on both sides"
        )
    fields = _Told(told, where)
    return ServerInfo(
        metadata,
        extended=True,
        supports_reset=fields.truth("supports_reset") or False,
        deterministic=fields.truth("deterministic"),
        action_space=fields.one_of("action_space", get_args(ControlMode)),
        horizon=fields.number("horizon"),
        obs_horizon=fields.number("obs_horizon") or 1,
        cameras=fields.texts("cameras"),
        image_size=fields.size("image_size"),
        obs_keys=fields.texts("obs_keys"),
        policy=fields.text("policy"),
        version=fields.text("version"),
        digest=fields.text("digest"),
    )


class _Told:
    """The entries of the metadata's `altbench`, each checked when it is read."""

    def __init__(self, told: Mapping[Any, Any], where: str) -> None:
        self._told, self._where = told, where

    def _refuse(self, name: str, expected: str) -> ContractError:
        came = str(self._told.get(name))[:60]
        return ContractError(f"{self._where}: metadata: altbench.{name}: expected {expected}, got {came!r}")

    def truth(self, name: str) -> bool | None:
        value = self._told.get(name)
        if value is not None and not isinstance(value, bool | np.bool_):
            raise self._refuse(name, "true or false")
        return None if value is None else bool(value)

    def number(self, name: str) -> int | None:
        value = self._told.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10_000):
            raise self._refuse(name, "a whole number from 1 to 10000")
        return value

    def text(self, name: str) -> str:
        value = self._told.get(name)
        if value is not None and not isinstance(value, str | int):
            raise self._refuse(name, "text")
        return "" if value is None else str(value)

    def texts(self, name: str) -> tuple[str, ...] | None:
        value = self._told.get(name)
        if value is not None and (not isinstance(value, list) or not all(isinstance(one, str) for one in value)):
            raise self._refuse(name, "a list of texts")
        return None if value is None else tuple(value)

    def size(self, name: str) -> tuple[int, int] | None:
        value = self._told.get(name)
        if value is None:
            return None
        good = isinstance(value, list) and len(value) == 2 and all(type(n) is int and 8 <= n <= 4096 for n in value)
        if not good:
            raise self._refuse(name, "[height, width] in pixels")
        return value[0], value[1]

    def one_of(self, name: str, valid: tuple[str, ...]) -> Any:
        value = self._told.get(name)
        if value is not None and value not in valid:
            raise self._refuse(name, f"{' or '.join(valid)} (another action space needs an adapter)")
        return value


def resized(images: UInt8, size: tuple[int, int]) -> UInt8:
    """Return images (..., H, W, 3) at another size: the whole picture, with black bars.

    Bars fill what another aspect leaves empty.
    """
    from PIL import Image

    height, width = size
    if images.shape[-3:-1] == size:
        return images
    flat = images.reshape(-1, *images.shape[-3:])
    scale = min(height / flat.shape[1], width / flat.shape[2])
    inner = (max(1, round(flat.shape[1] * scale)), max(1, round(flat.shape[2] * scale)))
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    out = np.zeros((len(flat), height, width, 3), np.uint8)
    for i, image in enumerate(flat):
        small = Image.fromarray(image).resize(inner[::-1], Image.Resampling.BILINEAR)
        out[i, top : top + inner[0], left : left + inner[1]] = np.asarray(small)
    return out.reshape(*images.shape[:-3], height, width, 3)


@dataclass(frozen=True)
class Answer:
    """A server's checked answer for one slot.

    `actions`: float32 (H, D), finite. `infer_s`: seconds that the server took. `pid`:
    its process. None: not told.
    """

    actions: Float32
    ood_score: float | None
    is_ood: bool | None
    infer_s: float | None
    pid: int | None


def read_answer(message: object, horizon: int, action_dim: int, where: str) -> Answer:
    """Return an answer with its first `horizon` actions.

    ContractError, which begins with `where`, for a wrong shape or kind, for too few
    actions, for NaN and for infinity.
    """
    if not isinstance(message, Mapping) or "actions" not in message:
        keys = sorted(map(str, message))[:6] if isinstance(message, Mapping) else type(message).__name__
        raise ContractError(f"{where}: expected an answer with actions, got {keys}")
    actions = _actions(message["actions"], horizon, action_dim, where)
    timing, told = message.get("server_timing") or message.get("policy_timing"), message.get(EXTENSION)
    score, flag = message.get("ood_score"), message.get("is_ood")
    pid = told.get("pid") if isinstance(told, Mapping) else None
    took = timing.get("infer_ms") if isinstance(timing, Mapping) else None
    return Answer(
        actions,
        None if score is None else _number(score, "ood_score", where),
        None if flag is None else bool(_number(flag, "is_ood", where)),
        None if took is None else _number(took, "infer_ms", where) / 1e3,
        pid if isinstance(pid, int) and pid > 0 else None,
    )


def _actions(value: object, horizon: int, action_dim: int, where: str) -> Float32:
    try:
        actions = np.asarray(value)
    except ValueError:  # lists of different lengths
        actions = np.asarray(None)
    if actions.dtype.kind not in "iuf" or actions.ndim != 2 or actions.shape[1] != action_dim:
        raise ContractError(
            f"{where}: expected actions of shape (at least {horizon}, {action_dim}), got {actions.dtype} {actions.shape}"
        )
    if len(actions) < horizon:
        raise ContractError(
            f"{where}: expected at least {horizon} actions in an answer, got {len(actions)}; set remote.horizon"
        )
    with np.errstate(over="ignore"):
        first = actions[:horizon].astype(np.float32)
    if not np.isfinite(first).all():
        raise ContractError(f"{where}: expected finite actions, got {int((~np.isfinite(first)).sum())} NaN or infinite")
    return first


def _number(value: object, name: str, where: str) -> float:
    number = np.asarray(value)
    if number.dtype.kind not in "biuf" or number.size != 1 or not np.isfinite(number).all():
        raise ContractError(f"{where}: expected {name} as one finite number, got {str(value)[:60]!r}")
    return float(number.reshape(()))
