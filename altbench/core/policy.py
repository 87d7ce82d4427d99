"""The contract of a policy: what it observes, returns and needs, and its fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, get_args

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar

from altbench.core.contents import named_in
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError, ContractError, suggestion
from altbench.core.spec import Spec
from altbench.core.task import TaskInfo
from altbench.core.types import ControlMode, Float32, Int64, Progress, UInt8, no_progress


@dataclass(frozen=True)
class Observation:
    """The last To observations of each of B slots, oldest first.

    `pixels`: camera -> uint8 (B, To, H, W, 3), upright RGB; empty if the policy
    requires no images. `agent_pos`: float32 (B, To, Dp). `environment_state`: float32
    (B, To, De); None unless the policy requires the state.
    """

    pixels: Mapping[str, UInt8]
    agent_pos: Float32
    environment_state: Float32 | None = None

    @property
    def batch_size(self) -> int:
        """The number of slots, B."""
        return int(self.agent_pos.shape[0])


@dataclass(frozen=True)
class Decision:
    """A policy's answer for B slots.

    `actions`: float32 (B, Ta, Da), finite. `ood_score`: float32 (B,); higher means less
    like the demonstrations. `is_ood`: bool (B,). `ood_threshold`: float32 (B,), the
    score above which `is_ood` is true.

    `matches`: int64 (B, k, 2), the retrieved (episode, frame), nearest first; `episode`
    is `Demonstration.index`. `similarities`: float32 (B, k); higher means nearer.
    """

    actions: Float32
    ood_score: Float32 | None = None
    is_ood: NDArray[np.bool_] | None = None
    matches: Int64 | None = None
    similarities: Float32 | None = None
    ood_threshold: Float32 | None = None


@dataclass(frozen=True)
class Requirements:
    """What a policy needs of a task; a mismatch is refused before the first episode.

    `cameras`: empty means that the policy uses no images. `image_size` (H, W): None
    means any size.
    """

    cameras: tuple[str, ...]
    obs_horizon: int = 2
    pred_horizon: int = 16
    action_horizon: int = 8
    control_mode: ControlMode = "ee_pose"
    image_size: tuple[int, int] | None = None
    needs_state: bool = False


@dataclass(frozen=True)
class Footprint:
    """The bytes that a policy holds when it is ready to act.

    `weights`: parameters and buffers. `table`: an index and stored actions.
    """

    weights: int = 0
    table: int = 0


@dataclass(frozen=True)
class ServerCost:
    """What the server of a policy told of its last decision; None: not told.

    `infer_s`: seconds that it took there. `pid`: the server's process on this machine.
    """

    infer_s: float | None
    pid: int | None


ConfigT = TypeVar("ConfigT", bound=Spec, default=Any)
"""The type of a policy's settings: a subclass of `Spec`."""


class Policy(ABC, Generic[ConfigT]):
    """A policy that chooses chunks of actions for some slots of a batch.

    The decisions of an episode may depend only on the constructor's arguments, the
    checkpoint, the episode's seed and its observations. They must not depend on global
    random state, nor on the other slots of the batch (within 1e-5).

    A policy that is no `Trainable` is ready once it is made: its constructor reads its
    weights, and `place` brings them to a device. A `Trainable` is made, then fitted or
    loaded.

    Class attributes. `name`. `version`: raise it when the decisions change.
    `config_type`: the class of its settings, a subclass of `Spec`; `class
    Mine(Policy[MineConfig])` sets it. `presets`: name -> settings that differ from the
    defaults. `renamed_presets`: the present name -> the former one, under which a preset
    stays in `presets`, in keys and in records; both may be asked for. `runtime_fields`:
    the settings that do not change what `fit` computes; one
    checkpoint serves all their values.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    config_type: ClassVar[type[Spec]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    renamed_presets: ClassVar[Mapping[str, str]] = {}
    runtime_fields: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def preset_key(cls, name: str) -> str:
        """Return the name of a preset in `presets` and in keys."""
        return cls.renamed_presets.get(name, name)

    @classmethod
    def preset_names(cls) -> list[str]:
        """Return the present names of the presets."""
        present = {former: name for name, former in cls.renamed_presets.items()}
        return [present.get(name, name) for name in cls.presets]

    @classmethod
    def caveat(cls, settings: Mapping[str, Any]) -> str:
        """Return what every table with a row of these recorded `settings` says below itself.

        One clause without a full stop; the row's label stands before it. Empty, as here,
        if there is nothing to say. Only built-in policies are asked: `registry.CAVEATED`.
        """
        del settings
        return ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        named = [a for base in cls.__dict__.get("__orig_bases__", ()) for a in get_args(base)]
        kinds = [kind for kind in named if isinstance(kind, type) and issubclass(kind, Spec)]
        if kinds and "config_type" not in cls.__dict__:
            cls.config_type = kinds[0]

    def __init__(self, task: TaskInfo, config: ConfigT) -> None:
        self.task = task
        self.config = config

    def files(self) -> Sequence[Path | str]:
        """Return the files and folders that this policy reads; keys hold their contents.

        These are what its settings name: every text in them that is the path of an
        existing file or folder. Override it if the policy reads other files, or if its
        settings name files that it does not read. A file that is missing is refused
        before any work. The bench asks when the policy is made, and does not ask its
        built-in policies, whose settings hold digests.
        """
        return named_in(self.config) if isinstance(self.config, Spec) else ()

    def place(self, device: str) -> None:
        """Bring the weights to `device`, "cpu" or "cuda".

        The bench calls it once, before the first `reset`, if the policy is no
        `Trainable`; `fit` and `load` tell one its device. A policy that computes on the
        CPU alone need not define it.
        """
        del device

    @property
    @abstractmethod
    def requirements(self) -> Requirements:
        """Observations, horizons and control mode that this policy works with."""

    @abstractmethod
    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Begin an episode in each of `slots`, with its own seed."""

    @abstractmethod
    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Decide for `slots`, which is any subset of the slots that were reset.

        Row b of `observation` belongs to `slots[b]`. Its arrays must not be changed.
        """

    def footprint(self) -> Footprint | None:
        """Return the bytes of weights and table.

        None if they are unknown; tables then leave them empty.
        """
        return None

    def identity(self) -> str:
        """Return a digest of what decides outside this process, such as a server.

        It is part of keys. Empty, as here, if this process decides.
        """
        return ""

    def server_cost(self) -> ServerCost | None:
        """Return what a server told of the last decision; None if this process decides."""
        return None

    def close(self) -> None:
        """End what the policy holds outside this process, such as a server.

        The bench calls it when it needs the policy no longer.
        """
        return

    def inference_note(self) -> str:
        """Return how a decision is made, for the latency table: `DDIM, 10 steps`."""
        return ""


@dataclass(frozen=True)
class FitContext:
    """The circumstances of a fit.

    `seed` determines the initial weights and the batches. `device`: "cpu" or "cuda".
    `folder`: for logs and for the state to resume from; None means neither. `progress`
    is called now and then.
    """

    seed: int
    device: str = "cpu"
    folder: Path | None = None
    progress: Progress = field(default=no_progress)


class Trainable(Policy[ConfigT]):
    """A policy that learns from demonstrations.

    A checkpoint consists of TOML, safetensors and plain arrays; nothing is pickled,
    because loading a pickle can run any code.

    `least_epochs`: the passes over the frames without which a fit counts as not
    converged, unless it ended at a plateau of its loss; tables mark it and do not rank
    it. 0: the policy has no such rule. It reads `batch_size` of the settings and the
    steps that `FitContext.progress` is told. Settings with a method `total_steps(frames)`
    tell the gradient steps of a fit to what estimates its time.
    """

    least_epochs: ClassVar[float] = 0.0

    @abstractmethod
    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Learn from `demonstrations`; afterwards `act` works."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what `load` needs into the existing, empty `folder`."""

    @abstractmethod
    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote; decisions are then the same as before `save`."""


def resolve_config(policy: type[Policy], preset: str, overrides: Mapping[str, Any], where: str) -> Any:
    """Return a policy's settings: defaults, then the preset's values, then `overrides`.

    A policy without presets has its defaults, whatever `preset` is: a sweep may give
    one preset to all its rows. Raise ConfigError, which begins with `where`, for an
    unknown preset or setting.
    """
    key = policy.preset_key(preset)
    if policy.presets and key not in policy.presets:
        raise ConfigError(f"{where}: unknown preset {preset!r}{suggestion(preset, sorted(policy.preset_names()))}")
    return policy.config_type.parse({**policy.presets.get(key, {}), **overrides}, f"{where}: config")


def check_fit(policy: Requirements, task: TaskInfo, image_size: tuple[int, int], name: str) -> None:
    """Raise ContractError, naming both sides, if a policy cannot work on a task."""
    if policy.cameras and policy.needs_state:
        raise ContractError(f"{name} requires images and the privileged state, but {task.name} gives one or the other")
    unknown = [c for c in policy.cameras if c not in task.cameras]
    if unknown:
        raise ContractError(f"{name} requires cameras {policy.cameras}, but {task.name} has {task.cameras}")
    if policy.cameras and policy.image_size not in (None, image_size):
        raise ContractError(
            f"{name} requires {policy.image_size} images, but the sweep renders {image_size} for {task.name}"
        )
    if policy.obs_horizon < 1 or not 1 <= policy.action_horizon <= policy.pred_horizon:
        raise ContractError(
            f"{name}: expected To >= 1 and 1 <= Ta <= Tp, got To {policy.obs_horizon}, Tp {policy.pred_horizon}, "
            f"Ta {policy.action_horizon}"
        )


def as_float32(decision: Decision) -> Decision:
    """Return `decision` with float32 actions, if they are floating-point numbers.

    Anything else stays as it is, for `check_decision` to judge.
    """
    actions = getattr(decision, "actions", None)
    if not isinstance(actions, np.ndarray) or actions.dtype.kind != "f" or actions.dtype == np.float32:
        return decision
    with np.errstate(over="ignore"):  # an infinite action is refused as such
        return replace(decision, actions=actions.astype(np.float32))


def check_decision(decision: Decision, batch: int, action_horizon: int, action_dim: int) -> None:
    """Raise ContractError unless `decision` has the contract's shapes and dtypes.

    Its actions must also be finite.
    """
    if not isinstance(decision, Decision):
        raise ContractError(f"act: expected a Decision, got {type(decision).__name__}")
    actions, expected = decision.actions, (batch, action_horizon, action_dim)
    if not isinstance(actions, np.ndarray) or actions.shape != expected or actions.dtype != np.float32:
        came = f"{actions.dtype} {actions.shape}" if isinstance(actions, np.ndarray) else type(actions).__name__
        raise ContractError(f"act: expected actions float32 {expected}, got {came}")
    if not np.isfinite(actions).all():
        raise ContractError(f"act: expected finite actions, got {int((~np.isfinite(actions)).sum())} NaN or infinite")
    for name in ("ood_score", "is_ood", "matches", "similarities", "ood_threshold"):
        value = getattr(decision, name)
        if value is not None and (not isinstance(value, np.ndarray) or value.shape[:1] != (batch,)):
            raise ContractError(
                f"act: expected {name} with first dimension {batch}, got {getattr(value, 'shape', value)}"
            )
