"""The settings of a sweep, and reading them from TOML.

`SweepSpec` is a whole sweep file; plan.py expands it into checkpoints and cells. All
models here are frozen, and an unknown key is refused with the nearest valid one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic

from altbench.core.errors import ConfigError, suggestion
from altbench.core.registry import is_url
from altbench.core.spec import Spec, added, canonical, read_toml
from altbench.core.task import FARTHEST_MOVE
from altbench.core.types import ControlMode
from altbench.remote.settings import Isolation, ProcessEntry, RemoteEntry
from altbench.rollout.limits import EPISODE_TIMEOUT_S, LONGEST_DECISION_S

BUILT_IN_SWEEPS = Path(__file__).parent
"""The folder of the sweep files that altbench brings."""
CLEAN = "clean"
"""The name of a column without perturbation."""
Pixels = Annotated[int, pydantic.Field(ge=8, le=4096)]
"""Height or width of an image."""
Steps = Annotated[int, pydantic.Field(ge=1, le=100_000)]
"""Control steps of an episode: up to 83 minutes at 20 Hz."""


LONGEST_LABEL = 100
"""The most characters of a label or a sweep's name: they become names of files, which
may have 255 bytes on most file systems.
"""


def check_label(label: str) -> None:
    """Raise ValueError unless `label` can stand in a cell's name, a table and a figure.

    Any letters and signs may, but not a slash, which separates the parts of a cell's
    name, and no line ends and other control characters.
    """
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in label):
        raise ValueError(f"expected a label of one line without control characters, got {label[:40]!a}")
    if "/" in label:
        raise ValueError(f"expected a label without a slash, which separates the parts of a cell's name, got {label!r}")
    if label != label.strip() or not label:
        raise ValueError(f"expected a label that begins and ends with a visible character, got {label!r}")
    if len(label) > LONGEST_LABEL:
        cut = f"{len(label)} that begin with {label[:40]!r}"
        raise ValueError(f"expected a label of at most {LONGEST_LABEL} characters, got {cut}")


class DemonstrationEntry(Spec):
    """The demonstrations of a sweep: `n` from the task's expert, or those in `file`.

    `n`: how many are collected. `file`: a file of demonstrations to use instead; then
    nothing is collected.

    `placement`: on the task's grid, or uniform over its range. `seed`: root of their
    seeds. `control_mode`: in which the expert's actions are recorded. `seeds`: several
    data sets, in place of `seed`: all of the sweep is run for each, with training and
    episodes drawn anew, and a table shows how the data sets differ.
    """

    n: int = pydantic.Field(default=30, ge=1)
    placement: Literal["grid", "uniform"] = "grid"
    seed: int = pydantic.Field(default=0, ge=0)
    file: str | None = None
    control_mode: ControlMode = added("ee_pose")
    seeds: tuple[Annotated[int, pydantic.Field(ge=0)], ...] = added(())

    @pydantic.model_validator(mode="after")
    def _each_seed_is_collected_once(self) -> Self:
        if self.seeds and self.file:
            raise ValueError("seeds: several data sets are collected, so leave `file` out, or `seeds`")
        if self.seeds and self.seed:
            raise ValueError(f"seeds = {list(self.seeds)} stands in place of seed = {self.seed}; leave one of them out")
        twice = sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1})
        if twice:
            raise ValueError(f"seeds: expected different seeds, got {twice[0]} twice")
        return self


class PolicyEntry(Spec):
    """A row of the tables: a policy with its settings, and the N it is fitted to.

    `label`: its name in tables; empty means the policy's own. `preset`: named settings
    of the policy, such as "small" and "published_size".

    `policy`: a registered name, `file.py:Class`, or the URL of a policy server, such as
    `ws://127.0.0.1:8000`. `config`: settings that differ from the preset's. `n`: numbers
    of demonstrations, one checkpoint for each.

    `process`: a policy server that the bench starts, in place of `policy`. `isolate`:
    the policy, which is ready to act or a checkpoint's folder, runs in a process of its
    own ("process"), or also without network and with read-only files ("no-network").
    `remote`: what the server expects, if it does not tell. docs/remote.md explains the
    three.

    `adapter`: how the conventions of a policy that brings its weights differ from ours:
    a TOML file, as `altbench adapt` writes it, or its contents as a table; None: they do
    not.
    """

    policy: str = ""
    label: str = ""
    preset: str = "small"
    n: tuple[int, ...] = pydantic.Field((30,), min_length=1)
    config: dict[str, Any] = pydantic.Field(default_factory=dict)
    process: ProcessEntry | None = added(None)
    isolate: Isolation = added("")
    remote: RemoteEntry | None = added(None)
    adapter: str | dict[str, Any] | None = added(None)

    @pydantic.model_validator(mode="after")
    def _has_one_policy(self) -> Self:
        if bool(self.policy) == bool(self.process):
            raise ValueError(
                "expected a `policy`, or a `process` that serves one" + (", not both" if self.policy else "")
            )
        if self.isolate and is_url(self.policy):
            raise ValueError(
                f"isolate: the bench does not start the server at {self.policy}; name a policy or a process"
            )
        if self.remote and not self.is_served:
            raise ValueError("remote: expected a policy in another process: a URL, `process` or `isolate`")
        if (self.process and self.config) or (self.config and is_url(self.policy)):
            raise ValueError("config: a server has its settings where it is started; remove it")
        return self

    @pydantic.model_validator(mode="after")
    def _label_can_be_shown(self) -> Self:
        # A file without a class has a slash, and the registry says what it lacks.
        if self.label or self.process or ":" in self.policy:
            check_label(self.name)
        return self

    @property
    def name(self) -> str:
        """The label in tables and file names: `label`, or the policy's own name."""
        if self.label or not is_url(self.policy):
            return self.label or self.registered.rpartition(":")[2]
        return self.policy.partition("://")[2].strip("/").replace("/", "_")

    @property
    def is_served(self) -> bool:
        """Whether the policy runs in another process."""
        return bool(self.process or self.isolate or is_url(self.policy))

    @property
    def registered(self) -> str:
        """The name under which the registry finds the policy's class.

        The code of a policy that is isolated is not imported here.
        """
        if self.process:
            return f"process:{Path(self.process.script).stem}"
        return f"isolate:{self.policy}" if self.isolate else self.policy

    def settings(self, device: str = "cpu", threads: int = 1) -> dict[str, Any]:
        """Return the settings of the policy's class that differ from the preset's.

        `device`, `threads`: of a policy that the bench serves.
        """
        if not self.is_served:
            return self.config
        found: dict[str, Any] = {**(self.remote.model_dump() if self.remote else {}), "isolate": self.isolate}
        if self.process:
            return {**found, "process": self.process.model_dump()}
        if not self.isolate:
            return found
        own = {"target": self.policy, "preset": self.preset, "config": self.config}
        return {**found, "serve": {**own, "device": device, "threads": threads}}


class PerturbationEntry(Spec):
    """A perturbation of images or scene, at each of `severities`.

    `name`: one of the registered perturbations. `severities`: each gives a column; 0
    changes nothing, and from 1 to 5 the perturbation grows.

    `options`: further arguments of its constructor. `cameras`: those that it changes;
    empty means all. `from_step`: the control step at which it begins. `label`: its name
    in tables, needed if two entries differ in options alone.
    """

    name: str
    label: str = added("", pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?$", max_length=LONGEST_LABEL)
    severities: tuple[int, ...] = pydantic.Field(default=(1, 2, 3, 4, 5), min_length=1)
    options: dict[str, Any] = pydantic.Field(default_factory=dict)
    cameras: tuple[str, ...] = ()
    from_step: int = pydantic.Field(default=0, ge=0)

    @pydantic.field_validator("options")
    @classmethod
    def _enter_keys(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            canonical(value)
        except TypeError as error:
            raise ValueError(str(error)) from None
        return value

    @property
    def title(self) -> str:
        """The name in tables and cells: `occlusion`, or `occlusion@wrist,step20`.

        The second if it does not change all cameras from the first step.
        """
        where = [*self.cameras, *([f"step{self.from_step}"] if self.from_step else [])]
        return (self.label or self.name) + ("@" + ",".join(where) if where else "")


class EventEntry(Spec):
    """An event during an episode: the task's object is moved.

    `move_at`: the control step before which it is moved. `by`: the distance in m, in a
    direction drawn for each episode. `to`, in place of `by`: "demonstrated" moves it to
    the nearest pose of another demonstration, its turn included; episodes must begin
    from demonstrations.
    """

    move_at: int = pydantic.Field(ge=0)
    by: float = 0.0
    to: Literal["", "demonstrated"] = added("")

    @pydantic.field_validator("by")
    @classmethod
    def _in_reach(cls, value: float) -> float:
        if not 0 <= value <= FARTHEST_MOVE:
            raise ValueError(f"expected a distance over 0 and up to {FARTHEST_MOVE} (m)")
        return value

    @pydantic.model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if bool(self.by) == bool(self.to):
            raise ValueError(f"expected by = a distance over 0 and up to {FARTHEST_MOVE} (m), or to = 'demonstrated'")
        return self

    @property
    def title(self) -> str:
        """The name in tables and cells: `move15by0.08`, `move15to-demonstrated`."""
        return f"move{self.move_at}" + (f"to-{self.to}" if self.to else f"by{self.by:g}")


class EvaluationEntry(Spec):
    """Columns of the tables: `episodes` on `split`, clean or under `perturbations`.

    `split`: where episodes begin, such as "replay", "recall" or "uniform"; "calibrate"
    begins as "recall" does, with draws of its own, and sets the thresholds of a table of
    flags. `episodes`:
    how many; "each" plays every demonstration once. `n`, `policies`: only rows with
    such an N or label take part; None means all. `perturbations`: each is a column of
    its own; none means clean. `event`: happens in each episode.
    """

    split: str
    episodes: int | Literal["each"] = 40
    n: tuple[int, ...] | None = pydantic.Field(default=None, min_length=1)
    policies: tuple[str, ...] | None = pydantic.Field(default=None, min_length=1)
    perturbations: tuple[PerturbationEntry, ...] = ()
    event: EventEntry | None = added(None)

    @pydantic.field_validator("episodes")
    @classmethod
    def _at_least_one(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError('expected a positive number or "each"')
        return value


class MeasureEntry(Spec):
    """How latency and memory are measured: at batch 1, with `threads` CPU threads.

    `threads`: CPU threads of the measurement.
    `decisions`: how many are timed. `warmup`: how many precede them, untimed.
    """

    decisions: int = pydantic.Field(default=40, ge=1)
    warmup: int = pydantic.Field(default=5, ge=0)
    threads: int = pydantic.Field(default=1, ge=1)


class SweepSpec(Spec):
    """A sweep: tasks × policies × N × training seeds, each with its evaluations.

    `name`: letters, digits, dots, _ and -; results/NAME is the run's folder.
    `description`: a sentence for people. `tasks`: their names. `train_seeds`: one
    checkpoint is trained for each. `render_profile`: "fast" draws without shadows and
    reflections, "robosuite" as robosuite does. `device`: what policies compute on;
    "auto" is CUDA if torch finds it. `demonstrations`: what policies learn from.
    `policies`: the rows of the tables. `evaluations`: the columns of the tables.

    `seed`: root of all seeds but that of collecting. `image_size`: height and width in
    pixels. `horizon`: the control steps after which an episode ends, one number or a
    table, task -> number; a task without one has its own. `train_threads`,
    `rollout_threads`: CPU threads of a job. `measure`: None, or `measure = false` in
    TOML, leaves the measurements of latency and memory out. `decision_timeout_s`,
    `episode_timeout_s`: seconds that a decision and an episode may take; a longer one
    fails the episode. `give_up_after`: a cell stops after so many episodes in a row that
    ended in an error, a time-out or a crash of the policy; 0: never.
    """

    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=LONGEST_LABEL)
    description: str = ""
    tasks: tuple[str, ...] = pydantic.Field(min_length=1)
    seed: int = pydantic.Field(default=0, ge=0)
    train_seeds: tuple[Annotated[int, pydantic.Field(ge=0)], ...] = pydantic.Field((0,), min_length=1)
    image_size: tuple[Pixels, Pixels] = (84, 84)
    render_profile: Literal["fast", "robosuite"] = "fast"
    horizon: Steps | dict[str, Steps] | None = added(None)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    train_threads: int = pydantic.Field(default=1, ge=1)
    rollout_threads: int = pydantic.Field(default=1, ge=1)
    decision_timeout_s: float = pydantic.Field(default=60.0, gt=0, le=LONGEST_DECISION_S)
    episode_timeout_s: float = added(EPISODE_TIMEOUT_S, gt=0, le=LONGEST_DECISION_S)
    give_up_after: int = added(5, ge=0)
    demonstrations: DemonstrationEntry = DemonstrationEntry()
    policies: tuple[PolicyEntry, ...] = pydantic.Field(min_length=1)
    evaluations: tuple[EvaluationEntry, ...] = pydantic.Field(min_length=1)
    measure: MeasureEntry | None = MeasureEntry()

    @pydantic.field_validator("measure", mode="before")
    @classmethod
    def _none_if_false(cls, value: object) -> object:
        return None if value is False else value  # TOML has no null

    @pydantic.field_validator("horizon", mode="before")
    @classmethod
    def _steps(cls, value: object) -> object:
        each = value.values() if isinstance(value, Mapping) else () if value is None else (value,)
        for steps in each:
            if isinstance(steps, bool) or not isinstance(steps, int):
                raise ValueError(f"expected control steps, such as 600 or {{ Lift = 600 }}, got {steps!r}")
        return value

    @pydantic.model_validator(mode="after")
    def _horizons_are_of_its_tasks(self) -> Self:
        for name in self.horizon if isinstance(self.horizon, dict) else ():
            if name not in self.tasks:
                raise ValueError(f"horizon: {name!r} is not a task of the sweep{suggestion(name, self.tasks)}")
        return self

    def horizon_of(self, task: str) -> int | None:
        """Return the sweep's horizon for a task; None means the task's own."""
        return self.horizon.get(task) if isinstance(self.horizon, dict) else self.horizon

    @pydantic.model_validator(mode="after")
    def _labels_differ(self) -> Self:
        labels = [entry.name for entry in self.policies]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"two policies are called {twice[0]!r}; give one of them another `label`")
        return self


def load_sweep(name_or_file: str) -> SweepSpec:
    """Read a sweep from a TOML file, or a built-in one by its name, such as `quick`.

    Raise ConfigError if it is unknown, missing, or not a valid sweep.
    """
    path = Path(name_or_file)
    if path.suffix != ".toml":
        built_in = {p.stem: p for p in BUILT_IN_SWEEPS.glob("*.toml")}
        if name_or_file not in built_in:
            hint = suggestion(name_or_file, sorted(built_in))
            raise ConfigError(f"unknown sweep {name_or_file!r}{hint}; or name a file that ends in .toml")
        path = built_in[name_or_file]
    return SweepSpec.parse(read_toml(path), str(path.name))


def list_sweeps() -> list[str]:
    """Return the names of the built-in sweeps; `load_sweep` reads one."""
    return sorted(path.stem for path in BUILT_IN_SWEEPS.glob("*.toml"))
