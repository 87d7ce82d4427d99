"""The settings of rows whose policy runs in another process."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import pydantic

from altbench.core.spec import Spec
from altbench.core.types import ControlMode

Isolation = Literal["", "process", "no-network"]
"""How a server is kept apart; empty: it is not started by the bench."""
Pixels = Annotated[int, pydantic.Field(ge=8, le=4096)]
LONGEST_S = 86_400.0
"""The longest time limit, in seconds: a day."""
PORT = "{port}"
"""What stands for the port in the arguments of a server's script."""


class RemoteEntry(Spec):
    """What a policy server expects, if its metadata do not tell, or tell otherwise.

    `images`: the key of an observation -> the camera that it shows, such as
    `{ "observation/image" = "agentview" }`; empty: `observation/CAMERA` for each camera.
    `state`: the key of the proprioception; empty: none is sent. `prompt`: the
    instruction in words; empty: the task's own. `image_size`: height and width in
    pixels that images are resized to. `horizon`: how many actions of an answer are
    executed. `control_mode`: what its actions mean; None: as the server tells, else
    `ee_delta`.

    `timeout_s`: seconds that an answer may take. `key_from`: the environment variable
    that holds the server's key, if it wants one.
    """

    images: dict[str, str] = pydantic.Field(default_factory=dict)
    state: str = "observation/state"
    prompt: str = ""
    image_size: tuple[Pixels, Pixels] | None = None
    horizon: int | None = pydantic.Field(default=None, ge=1, le=10_000)
    control_mode: ControlMode | None = None
    timeout_s: float = pydantic.Field(default=60.0, gt=0, le=LONGEST_S)
    key_from: str = pydantic.Field(default="ALTBENCH_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")

    @pydantic.model_validator(mode="after")
    def _keys_differ(self) -> Self:
        taken = {self.state, "prompt", "altbench"} & set(self.images)
        if taken:
            raise ValueError(f"images: expected keys of their own, got {sorted(taken)[0]!r}, which is sent as well")
        return self


class ProcessEntry(Spec):
    """A policy server that the bench starts.

    `script`: the server's script. `python`: the interpreter that runs it; empty: the
    bench's own. `args`: its arguments; `{port}` in one of them stands for the port, and
    without it `--port PORT` follows them. `start_timeout_s`: seconds until it must
    answer.
    """

    script: str = pydantic.Field(min_length=1)
    python: str = ""
    args: tuple[str, ...] = ()
    start_timeout_s: float = pydantic.Field(default=120.0, gt=0, le=LONGEST_S)


class ServedEntry(Spec):
    """A policy that the bench serves from a process of its own.

    `target`: what `altbench serve` takes: a checkpoint's folder, `file.py:Class` or a
    name. `preset`, `config`: as in a row. `device`: "cpu" or "cuda". `threads`: CPU
    threads.
    """

    target: str
    preset: str = "small"
    config: dict[str, Any] = pydantic.Field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1


class RemoteConfig(RemoteEntry):
    """All settings of a policy in another process.

    `process`, `serve`: the server that the bench starts, if it starts one. `isolate`:
    how it is kept apart.
    """

    process: ProcessEntry | None = None
    serve: ServedEntry | None = None
    isolate: Isolation = ""

    @property
    def start_timeout_s(self) -> float:
        """Seconds until a server that the bench starts must answer."""
        return self.process.start_timeout_s if self.process else ProcessEntry(script="-").start_timeout_s
