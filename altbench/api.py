"""The contracts between the bench, its tasks, its policies and its demonstrations.

Everything here is numpy at the border: no torch, no simulator. B is the number of slots in a batch, To the observation
horizon, Tp the prediction horizon, Ta the executed action horizon, Da the action's and Dp the proprioception's length.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

ControlMode = Literal["ee_pose", "ee_delta"]
ObsType = Literal["pixels", "state"]
RenderProfile = Literal["fast", "robosuite"]

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
UInt8 = NDArray[np.uint8]
Int64 = NDArray[np.int64]

POSE_ACTION_DIM = 10  # position (3), rot6d (6), gripper (1), per arm
DELTA_ACTION_DIM = 7  # robosuite's OSC_POSE: position (3), rotation vector (3), gripper (1), per arm
AGENT_POS_DIM = 11  # position (3), rot6d (6), finger positions (2), per arm


# --------------------------------------------------------------------------------------------------------- tasks


@dataclass(frozen=True)
class TaskInfo:
    """What the bench knows of a task without starting a simulator.

    `version` is raised by whoever changes what the task computes. `horizon` counts control steps. `splits` are the values
    that `reset(options={"split": ...})` takes; `grid_size` poses make one pass of demonstrations over the grid.
    `movable`: `reset(options={"move_at": step, "by": metres})` shifts what the task is about just before that control
    step, in a direction drawn from the seed, unless it is held or lifted; `info["moved"]` tells whether it has.
    """

    name: str
    version: int
    horizon: int
    grid_size: int
    pose_names: tuple[str, ...]
    splits: tuple[str, ...] = ("uniform", "grid", "recall", "replay")
    cameras: tuple[str, ...] = ("agentview", "wrist")
    arms: int = 1
    control_hz: float = 20.0
    movable: bool = False

    @property
    def env_id(self) -> str:
        """Gymnasium's id for the task."""
        return f"altbench/{self.name}-v0"

    @property
    def agent_pos_dim(self) -> int:
        """Dp: length of `agent_pos`."""
        return self.arms * AGENT_POS_DIM

    def action_dim(self, control_mode: ControlMode = "ee_pose") -> int:
        """Da: length of one action."""
        return self.arms * (POSE_ACTION_DIM if control_mode == "ee_pose" else DELTA_ACTION_DIM)


@dataclass(frozen=True)
class InitialState:
    """Where a demonstration began, enough to begin there again.

    `sim_state` is the flattened simulator state (time, qpos, qvel; float64 (Ds,)); `object_pose` the task's own pose
    variables (`TaskInfo.pose_names`; metres and radians in the world; float64 (P,)).
    """

    sim_state: Float64
    object_pose: Float64


@runtime_checkable
class SimulatedTask(Protocol):
    """What a task's environment offers beyond Gymnasium's `reset` and `step`; `step` is `advance`, then `observe`."""

    info: TaskInfo

    def advance(self, action: Float32) -> tuple[float, bool, bool, dict[str, Any]]:
        """Execute one action (Da,) for one control step, without rendering: reward, terminated, truncated, info."""
        ...

    def observe(self, pixels: bool = True) -> dict[str, Any]:
        """The present observation; `pixels=False` leaves the images out (an empty dict in their place)."""
        ...

    def initial_state(self) -> InitialState:
        """Where the present episode began."""
        ...

    def sim_state(self) -> Float64:
        """The present flattened simulator state, float64 (Ds,)."""
        ...

    def privileged(self) -> dict[str, Float64]:
        """Object and gripper poses for scripted experts: name -> position (3) or quaternion (4, xyzw), world frame, m."""
        ...


@runtime_checkable
class PoseTask(SimulatedTask, Protocol):
    """A task that knows which pose a delta action leads to, so that a policy of `ee_delta` can demonstrate it."""

    def as_pose(self, action: Float32) -> Float32:
        """The `ee_pose` action with the same goal as the `ee_delta` action has in the present state."""
        ...


class Expert(Protocol):
    """A scripted demonstrator with access to privileged state."""

    def reset(self, env: SimulatedTask, seed: int) -> None:
        """Begin an episode; `seed` draws the style (speed, approach)."""
        ...

    def act(self, env: SimulatedTask) -> Float32:
        """The next `ee_pose` action, float32 (Da,)."""
        ...


# --------------------------------------------------------------------------------------------------- observations


@dataclass(frozen=True)
class Observation:
    """What a policy sees: the last To observations of each of B slots, oldest first.

    `pixels`: camera -> uint8 (B, To, H, W, 3), upright RGB; empty when the policy asked for none.
    `agent_pos`: float32 (B, To, Dp). `environment_state`: float32 (B, To, De), only where the policy asked for state.
    """

    pixels: Mapping[str, UInt8]
    agent_pos: Float32
    environment_state: Float32 | None = None

    @property
    def batch_size(self) -> int:
        """B."""
        return int(self.agent_pos.shape[0])


@dataclass(frozen=True)
class Decision:
    """What a policy answers for B slots.

    `actions`: float32 (B, Ta, Da), finite. `ood_score`: float32 (B,), higher is stranger. `is_ood`: bool (B,).
    `matches`: int64 (B, k, 2), the (episode, frame) retrieved, nearest first, where `episode` is
    `Demonstration.index`; `similarities`: float32 (B, k), higher is nearer. `ood_threshold`: float32 (B,), the score above
    which `is_ood` was raised.
    """

    actions: Float32
    ood_score: Float32 | None = None
    is_ood: NDArray[np.bool_] | None = None
    matches: Int64 | None = None
    similarities: Float32 | None = None
    ood_threshold: Float32 | None = None


@dataclass(frozen=True)
class Demonstration:
    """One demonstrated episode of T frames; `actions[t]` was executed after `agent_pos[t]` and `pixels[.][t]` were seen.

    `pixels`: camera -> uint8 (T, H, W, 3). `agent_pos`: float32 (T, Dp). `actions`: float32 (T, Da) in `control_mode`.
    `states`: float64 (T, Ds), flattened simulator states. `index`: its number in its file, what `Decision.matches`
    names. `seed`: the demo-stream seed that made it (-1 where unknown); `grid_index`: its grid pose (-1: not on the grid).
    """

    index: int
    pixels: Mapping[str, UInt8]
    agent_pos: Float32
    actions: Float32
    states: Float64
    initial_state: InitialState
    seed: int = -1
    grid_index: int = -1
    success: bool = True
    control_mode: ControlMode = "ee_pose"
    environment_state: Float32 | None = None

    def __len__(self) -> int:
        return int(self.actions.shape[0])


# --------------------------------------------------------------------------------------- demonstrations from elsewhere


@dataclass(frozen=True)
class JointSlots:
    """Where a joint's numbers stand in a flattened simulator state (Ds,)."""

    positions: slice
    velocities: slice


@dataclass(frozen=True)
class NativeModel:
    """What the simulator itself calls a task and its parts, for files that name those.

    `env_name`: robosuite's name of the task. `robots`: robosuite's, one per arm or with both. `cameras`: our camera ->
    the model's. `joints`: the model's joint -> its slots in a state of `state_dim` numbers. `xml`: the model, MJCF ("":
    none). `fixed_bodies`: bodies without joints whose x, y and yaw, in this order, are the task's whole pose -> their
    height (m): where they stand is in the model and in `InitialState.object_pose`, not in a state.
    """

    env_name: str
    robots: tuple[str, ...]
    cameras: Mapping[str, str]
    joints: Mapping[str, JointSlots]
    state_dim: int
    xml: str = ""
    fixed_bodies: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class RestorableTask(SimulatedTask, Protocol):
    """A task whose states can be told apart into joints, so that states recorded elsewhere can be set."""

    def native_model(self) -> NativeModel:
        """The simulator's names."""
        ...

    def object_pose(self) -> Float64:
        """The task's pose variables (P,) in the present state, as `InitialState.object_pose` has them."""
        ...


@dataclass(frozen=True)
class View:
    """What a task shows in one state: `agent_pos` (Dp,), `environment_state` (De,), `object_pose` (P,), whether it is a
    success, and camera -> uint8 (H, W, 3), empty where no images were asked for."""

    agent_pos: Float32
    environment_state: Float32
    object_pose: Float64
    success: bool
    pixels: Mapping[str, UInt8] = field(default_factory=dict)


class Stage(Protocol):
    """A task's environment as importers and exporters see it: states go in, what is seen in them comes out."""

    info: TaskInfo

    @property
    def native(self) -> NativeModel:
        """The simulator's own names."""
        ...

    def look(
        self, state: Float64, image_size: tuple[int, int] | None = None, object_pose: Float64 | None = None
    ) -> View:
        """What the task shows in `state` (Ds,); with images of `image_size` (H, W) where that is given.

        `object_pose` (P,): where the task has `native.fixed_bodies`; elsewhere the state tells.
        DatasetError where the state cannot be set."""
        ...

    def after(
        self, state: Float64, action: Float32, control_mode: ControlMode, object_pose: Float64 | None = None
    ) -> Float64:
        """The state (Ds,) one control step after `state` and `action` (Da,); `object_pose` as for `look`."""
        ...

    def environment(self, control_mode: ControlMode, image_size: tuple[int, int]) -> Any:
        """The task's Gymnasium environment with images, for its spaces and its spec; the stage closes it."""
        ...


@dataclass(frozen=True)
class ImportWishes:
    """What the user wants of an import.

    `control_mode` None: the file's own. `image_size` (H, W) None: that of the file's images, else 84 by 84. `render`:
    draw images from the states even where the file has some. `model`: the MJCF that the file's states belong to, where
    the file neither holds nor finds it.
    """

    control_mode: ControlMode | None = None
    image_size: tuple[int, int] | None = None
    render: bool = False
    model: Path | None = None


@dataclass(frozen=True)
class Recording:
    """Demonstrations on their way into or out of a foreign file: `episodes` of them, made one by one as they are asked
    for, numbered from 0. `made_with`: what is known of their origin, such as {"recorded with": "robosuite 1.0.0"}."""

    control_mode: ControlMode
    image_size: tuple[int, int]
    episodes: int
    demonstrations: Iterable[Demonstration]
    made_with: Mapping[str, str] = field(default_factory=dict)


class Importer(Protocol):
    """Reads a foreign file; DatasetError where it is damaged or does not fit the task, with both sides in the message."""

    def __call__(self, path: Path, stage: Stage, wishes: ImportWishes) -> Recording: ...


class Exporter(Protocol):
    """Writes a foreign file or data set named `out` that must not exist yet; returns how to read it, for the user."""

    def __call__(self, recording: Recording, stage: Stage, out: str) -> str: ...


# -------------------------------------------------------------------------------------------------------- policies


@dataclass(frozen=True)
class Requirements:
    """What a policy needs of a task; a mismatch is refused before the first episode.

    `cameras` empty: no images wanted. `image_size` (H, W), None: any.
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
    """Bytes that a ready policy holds: `weights` (parameters and buffers) and `table` (index, stored actions)."""

    weights: int = 0
    table: int = 0


class Progress(Protocol):
    """How long work reports: `done` of `total` steps and the latest metrics (loss, ...)."""

    def __call__(self, done: int, total: int, metrics: Mapping[str, float]) -> None: ...


def no_progress(done: int, total: int, metrics: Mapping[str, float]) -> None:
    """A `Progress` that says nothing."""


class Policy(ABC):
    """Chooses chunks of actions for some slots of a batch.

    An episode's decisions may not depend on who shares its batch (within 1e-5), on global random state, or on anything
    but the constructor's arguments, the checkpoint, the episode's seed and its observations.

    Class attributes: `name`; `version` (raised when what it computes changes); `config_type`, a frozen pydantic model
    (`altbench.config.Spec`) of its settings; `presets`, name -> settings that differ from the defaults; `runtime_fields`,
    the settings that do not change what `fit` computes, so that one checkpoint serves all their values.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    config_type: ClassVar[type[Any]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    runtime_fields: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, task: TaskInfo, config: Any) -> None:
        self.task = task
        self.config = config

    @property
    @abstractmethod
    def requirements(self) -> Requirements:
        """Observations, horizons and control mode that this policy works with."""

    @abstractmethod
    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Begin an episode in each of `slots`, with its own seed."""

    @abstractmethod
    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Decide for `slots` (any subset of those begun); row b of `observation` belongs to `slots[b]`."""

    def footprint(self) -> Footprint:
        """Bytes of weights and table."""
        return Footprint()

    def inference_note(self) -> str:
        """How a decision is made, for the latency table, such as `DDIM, 10 steps`."""
        return ""


@dataclass(frozen=True)
class FitContext:
    """How a policy is to be fitted.

    `seed` draws initial weights and batches. `device` is "cpu" or "cuda". `folder` holds logs and the state to resume
    from (None: neither). `progress` is called now and then.
    """

    seed: int
    device: str = "cpu"
    folder: Path | None = None
    progress: Progress = field(default=no_progress)


class Trainable(Policy):
    """A policy that learns from demonstrations. A checkpoint is TOML, safetensors and plain arrays; nothing is pickled."""

    @abstractmethod
    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Learn from `demonstrations`; afterwards `act` works."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what `load` needs into the existing, empty `folder`."""

    @abstractmethod
    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote; decisions are then identical to those before `save`."""


# --------------------------------------------------------------------------------------------------- perturbations


@dataclass(frozen=True)
class FrameKey:
    """Names one camera frame of one episode, so that a perturbation of it never depends on which frames were drawn.

    `reference`: the camera's own image at the latest step that `Perturbation.keeps`, uint8 (H, W, 3); None where nothing
    was kept. The bench renders those frames whether or not a policy sees them.
    """

    episode_seed: int
    camera: int
    step: int
    reference: UInt8 | None = field(default=None, compare=False, repr=False)

    def episode_rng(self) -> np.random.Generator:
        """The same for all frames of this camera in this episode (where a patch sits, which photograph)."""
        return np.random.default_rng(np.random.SeedSequence([self.episode_seed, self.camera]))

    def frame_rng(self) -> np.random.Generator:
        """Fresh for each frame (pixel noise)."""
        return np.random.default_rng(np.random.SeedSequence([self.episode_seed, self.camera, self.step + 1]))


class Perturbation(ABC):
    """Changes camera images. Severity 0 is the identity; mean distortion grows with severity up to 5.

    Which cameras, and from which step on, is not its concern: the bench hands it only the frames it is to change.
    `version`: raised by whoever changes what it does, so that results of both are told apart.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    severity: int

    @abstractmethod
    def __init__(self, severity: int, **options: Any) -> None:
        """Validate `severity` (0 to 5) and the options (ConfigError)."""

    @abstractmethod
    def apply(self, image: UInt8, key: FrameKey) -> UInt8:
        """Perturbed copy of `image`, uint8 (H, W, 3); the same image and key give the same bytes."""

    def contents(self) -> str:
        """A digest of the files that it reads, part of a cell's key; empty where it reads none."""
        return ""

    def keeps(self, step: int) -> bool:
        """Whether the camera's image `step` control steps after the perturbation began is later frames' `key.reference`
        (and its own). Step 0 must be kept where any is."""
        del step
        return False


class ScenePerturbation(ABC):
    """Changes how the simulated scene looks for the rest of an episode: light, surfaces, viewpoint, things standing by.

    Severity 0 is the identity; the images' mean distortion grows with severity up to 5. It leaves the simulator's state
    and the physics alone, so an episode's actions have the same consequences with it as without. `per_camera`: it changes
    cameras one by one, so that `cameras` may be given. `version`: as a `Perturbation`'s.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    per_camera: ClassVar[bool] = False
    severity: int

    @abstractmethod
    def __init__(self, severity: int, **options: Any) -> None:
        """Validate `severity` (0 to 5) and the options (ConfigError)."""

    def contents(self) -> str:
        """A digest of the files that it reads, part of a cell's key; empty where it reads none."""
        return ""

    @abstractmethod
    def begin(self, env: SimulatedTask, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        """Change the scene of `env`, which has been reset; everything random comes from `rng`, the episode's own.

        `cameras`: those to change, where `per_camera`. Raises PerturbationUnsupported where this task has nothing for
        it to change; the episode is then not played, and recorded so.
        """

    @abstractmethod
    def end(self, env: SimulatedTask) -> None:
        """Put everything back, bit for bit; also where `begin` failed half-way."""


AnyPerturbation = Perturbation | ScenePerturbation
