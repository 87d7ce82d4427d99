"""The settings of engines: `--engine NAME=VALUE`, checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from altbench.core.errors import ConfigError, UnknownNameError
from altbench.core.spec import Spec

ENGINES = ("local", "ray", "slurm", "worker")
"""The names that `--executor` takes."""


class NoSettings(Spec):
    """Settings of an engine that has none."""


class RaySettings(Spec):
    """What a job asks of a Ray cluster.

    `address`: as `ray.init` takes it. `gpus`: the fraction of a GPU that a job on CUDA
    gets. `memory_gb`: the memory by which jobs are placed. `shared`: "auto": results go
    through the run's folder if all nodes see it, else by value; "no": always by value.
    """

    address: str = "auto"
    gpus: Annotated[float, Field(gt=0, le=64)] = 1.0
    memory_gb: Annotated[float, Field(ge=0)] = 2.0
    shared: Annotated[str, Field(pattern="^(auto|no)$")] = "auto"


class SlurmSettings(Spec):
    """What is asked of SLURM: an array of `tasks` jobs; each job is one worker.

    `cpus`: processors of a task, and its worker processes. `memory_gb`: of a task.
    `minutes`: the time limit of a task. `gpus`: of a task. `requeues`: how often a task
    that reaches its limit is queued again; one that is preempted always is. `extra`:
    more options of sbatch, as `name:value`, separated by commas.
    """

    tasks: Annotated[int, Field(ge=1, le=10_000)] = 4
    cpus: Annotated[int, Field(ge=1)] = 4
    memory_gb: Annotated[float, Field(gt=0)] = 8.0
    minutes: Annotated[int, Field(ge=1)] = 240
    gpus: Annotated[int, Field(ge=0)] = 0
    partition: str = ""
    account: str = ""
    qos: str = ""
    requeues: Annotated[int, Field(ge=0)] = 10
    extra: str = ""


def check_engine(name: str) -> str:
    """Return the engine's name; UnknownNameError if no engine has that name."""
    if name not in ENGINES:
        raise UnknownNameError("executor", name, ENGINES)
    return name


def read_settings(engine: str, given: Sequence[str]) -> Spec:
    """Return the settings of `engine` from texts such as `cpus=8`.

    ConfigError, in one line, for a text of another form or a setting that the engine lacks.
    """
    kinds: dict[str, type[Spec]] = {"ray": RaySettings, "slurm": SlurmSettings}
    values: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ConfigError(f"--engine: expected NAME=VALUE, such as cpus=8, got {text!r}")
        values[name.strip()] = value.strip()
    return kinds.get(engine, NoSettings).parse(values, f"--engine for {engine}")
