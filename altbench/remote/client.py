"""A policy that a server computes: a `Policy` like any other.

The server exists already (`ws://HOST:PORT`), or the policy starts it (`process` and
`isolate` of a row).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from altbench.core import registry
from altbench.core.errors import ConfigError, ContractError, PolicyTimeout
from altbench.core.policy import Decision, Observation, Policy, Requirements, ServerCost
from altbench.core.spec import digest
from altbench.core.task import TaskInfo
from altbench.remote.connection import Address, Connection, ServerFailed, ServerRefused, check_url
from altbench.remote.launch import ServerProcess
from altbench.remote.messages import (
    ENVIRONMENT,
    EXTENSION,
    IMAGE,
    PLAIN_HORIZON,
    PROMPT,
    Answer,
    ServerInfo,
    read_answer,
    resized,
)
from altbench.remote.settings import RemoteConfig

CONNECT_S = 10.0
"""Seconds in which a server that exists must take a connection."""
RECONNECT_S = 10.0
"""Seconds for which a lost server is tried again, before its episode fails."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
"""Seconds before the second try, and the most between two: each pause doubles."""
_KNOWN: dict[str, ServerInfo] = {}
"""What servers told in this process, so that a plan made again starts no server again."""


class RemotePolicy(Policy[RemoteConfig]):
    """A policy in another process. `address`: the server's URL; empty: the row starts it.

    Each slot has a connection of its own. Nothing is connected or started before it is
    needed; `close` ends both.
    """

    name = "remote"
    address: ClassVar[str] = ""

    def __init__(self, task: TaskInfo, config: RemoteConfig) -> None:
        super().__init__(task, config)
        if self.address:
            check_url(self.address)
        self._process = None if self.address else ServerProcess(config, task.name)
        self._connections: dict[int, Connection] = {}
        self._episodes: dict[int, tuple[int, int]] = {}
        self._info: ServerInfo | None = None
        self._cost = ServerCost(None, None)

    @classmethod
    def at(cls, url: str) -> type[RemotePolicy]:
        """Return the class of the policy that the server at `url` computes."""
        check_url(url)
        return type(cls.__name__, (cls,), {"address": url, "__module__": cls.__module__})

    @property
    def where(self) -> str:
        """The server in messages: its URL, or what the row starts."""
        return self.address or str(self._process)

    @property
    def info(self) -> ServerInfo:
        """What the server told at the beginning of a connection."""
        if self._info is None:
            known = _KNOWN.get(self._known_as())
            self._info = known or self._connection(0).info
        return self._info

    @property
    def requirements(self) -> Requirements:
        """Observations, horizon and control mode, as the server and the row tell."""
        info, config = self.info, self.config
        mode = config.control_mode or info.action_space or "ee_delta"
        if info.action_space and mode != info.action_space:
            raise ConfigError(
                f"{self.where}: remote.control_mode is {mode!r}, but the server tells {info.action_space!r}"
            )
        horizon = config.horizon or info.horizon or PLAIN_HORIZON
        if info.horizon and horizon > info.horizon:
            raise ConfigError(
                f"{self.where}: remote.horizon is {horizon}, but the server answers {info.horizon} actions"
            )
        return Requirements(
            cameras=tuple(dict.fromkeys(self._images().values())),
            obs_horizon=info.obs_horizon,
            pred_horizon=horizon,
            action_horizon=horizon,
            control_mode=mode,
            needs_state=info.obs_keys is not None and ENVIRONMENT in info.obs_keys,
        )

    def _images(self) -> Mapping[str, str]:
        """Return the key of each image -> its camera."""
        if self.config.images:
            return self.config.images
        cameras = self.task.cameras if self.info.cameras is None else self.info.cameras
        keys = self.info.obs_keys
        return {IMAGE.format(c): c for c in cameras if keys is None or IMAGE.format(c) in keys}

    def files(self) -> Sequence[Path | str]:
        """Return the server's script, and the files that its arguments name."""
        process, serve = self.config.process, self.config.serve
        named = [process.script, *process.args] if process else [serve.target] if serve else []
        found = [Path(text).expanduser() for text in named if len(text) < 4096]
        there = [path for path in found if path.is_file() or path.is_dir()]
        return [found[0], *there[found[0] in there :]] if process else there

    def identity(self) -> str:
        """Return the digest of the server's address and of all that it told."""
        code = registry.source("policy", self.config.serve.target) if self._serves_code() and self.config.serve else ""
        return digest({"address": self.address, "told": _as_json(self.info.metadata), "code": code})

    def _serves_code(self) -> bool:
        target = self.config.serve.target if self.config.serve else ""
        return bool(target) and not Path(target).is_dir()

    def place(self, device: str) -> None:
        """Start the server, if the row starts one; a server chooses its own device."""
        del device
        self._connection(0)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Begin episodes; a server that was lost is connected again."""
        for slot, seed in zip(slots, seeds, strict=True):
            connection = self._connection(slot, patience_s=RECONNECT_S)
            self._episodes[slot] = (int(seed), 0)
            if connection.info.supports_reset:
                self._exchange([slot], [{EXTENSION: {"reset": True, "slot": int(slot), "seed": int(seed)}}])

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Ask the server for each slot, all at once."""
        needs = self.requirements
        messages = [self._message(observation, row, slot) for row, slot in enumerate(slots)]
        dim = self.task.action_dim(needs.control_mode)
        answers = []
        for slot, came in zip(slots, self._exchange(slots, messages), strict=True):
            answers.append(read_answer(came, needs.action_horizon, dim, self.where))
            seed, step = self._episodes.get(slot, (0, 0))
            self._episodes[slot] = (seed, step + 1)
        self._cost = ServerCost(answers[-1].infer_s, self._pid(answers[-1]))
        return _decision(answers)

    def _message(self, observation: Observation, row: int, slot: int) -> dict[str, Any]:
        """Return one slot's observation as the server expects it."""
        info, config = self.info, self.config
        size, newest = config.image_size or info.image_size, info.obs_horizon == 1
        message: dict[str, Any] = {}
        for key, camera in self._images().items():
            images = observation.pixels[camera][row, -1] if newest else observation.pixels[camera][row]
            message[key] = resized(images, size) if size else images
        if config.state:
            message[config.state] = observation.agent_pos[row, -1] if newest else observation.agent_pos[row]
        state = observation.environment_state
        if state is not None:
            message[ENVIRONMENT] = state[row, -1] if newest else state[row]
        message[PROMPT] = config.prompt or self.task.instruction or self.task.name
        if info.extended:
            seed, step = self._episodes.get(slot, (0, 0))
            message[EXTENSION] = {"slot": int(slot), "step": step, "seed": seed, "reset": False}
        return message

    def _exchange(self, slots: Sequence[int], messages: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Send each slot's message, then receive each answer.

        After any failure the connections are closed: a late answer would be taken for
        the next one's.
        """
        deadline = time.monotonic() + self.config.timeout_s
        try:
            for slot, message in zip(slots, messages, strict=True):
                self._connection(slot).send(message)
            return [self._connections[slot].receive(max(deadline - time.monotonic(), 1e-3)) for slot in slots]
        except PolicyTimeout:
            self._drop(slots)
            raise PolicyTimeout(
                f"{self.where}: no answer within {self.config.timeout_s:g} s (remote.timeout_s)"
            ) from None
        except ServerFailed as error:
            self._drop(slots)
            raise (self._process.died(error) if self._process else error) from None
        except BaseException:
            self._drop(slots)
            raise

    def _connection(self, slot: int, patience_s: float = 0.0) -> Connection:
        """Return the slot's connection, a new one if it has none."""
        if slot not in self._connections:
            made = self._connect(patience_s)
            before, _KNOWN[self._known_as()] = self._info, made.info
            if before is not None and _as_json(made.info.metadata) != _as_json(before.metadata):
                made.close()
                raise ContractError(
                    f"{self.where}: the server tells other metadata than when the run began; run it again"
                )
            self._connections[slot], self._info = made, made.info
        return self._connections[slot]

    def _connect(self, patience_s: float) -> Connection:
        """Return a new connection; a server that exists is tried for `patience_s`."""
        if self._process:
            return self._process.connect()
        address = Address(self.address, key=os.environ.get(self.config.key_from, ""))
        deadline, pause = time.monotonic() + patience_s, FIRST_PAUSE_S
        while True:
            try:
                return Connection(address, CONNECT_S, self.config.timeout_s)
            except ServerRefused:
                raise
            except ServerFailed:
                if time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _drop(self, slots: Sequence[int]) -> None:
        for slot in slots:
            connection = self._connections.pop(slot, None)
            if connection:
                connection.close()

    def close(self) -> None:
        """Close the connections, and end the server if the row started it."""
        self._drop(list(self._connections))
        if self._process:
            self._process.close()

    def server_cost(self) -> ServerCost:
        """Return what the server told of its last decision."""
        return self._cost

    def _pid(self, answer: Answer) -> int | None:
        """Return the server's process on this machine; None if it is unknown or elsewhere."""
        if self._process:
            return self._process.pid
        host = self.address.partition("://")[2].rpartition(":")[0].strip("[]")
        return answer.pid if host in ("localhost", "127.0.0.1", "::1") else None

    def inference_note(self) -> str:
        """Return that a server decides, and what tables must say of it."""
        info = self.info
        parts = [
            "served" if info.extended else "served by plain openpi",
            *([] if info.supports_reset else ["stateless"]),
            *([] if info.digest or self._process else ["contents not held by the key"]),
        ]
        return ", ".join(parts)

    def _known_as(self) -> str:
        return digest({"address": self.address, "config": self.config.model_dump(mode="json"), "task": self.task.name})


def connect(url: str, task: str, **settings: Any) -> RemotePolicy:
    """Return the policy of the server at `url`, connected, for the task named `task`.

    `settings`: those of a row's `remote`, such as `images` and `image_size`. Raise
    ConfigError for a setting that does not exist, AltbenchError if no policy server
    answers there.
    """
    kind = RemotePolicy.at(url)
    made = kind(registry.task(task), RemoteConfig.parse(settings, f"policy {url!r}"))
    made.place("cpu")
    return made


def _decision(answers: Sequence[Answer]) -> Decision:
    """Return the answers of all slots together; a field that one lacks is left out."""
    scores, flags = [one.ood_score for one in answers], [one.is_ood for one in answers]
    return Decision(
        np.stack([one.actions for one in answers]),
        None if None in scores else np.array(scores, np.float32),
        None if None in flags else np.array(flags, np.bool_),
    )


def _as_json(value: object) -> Any:
    """Return metadata as JSON can hold them, for a digest."""
    if isinstance(value, Mapping):
        return {str(key): _as_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(part) for part in value]
    if isinstance(value, np.ndarray | np.generic):
        return {"dtype": value.dtype.str, "values": value.tolist()}
    return value.hex() if isinstance(value, bytes) else value
