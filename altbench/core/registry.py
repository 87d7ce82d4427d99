"""The names of tasks, policies, perturbations, experts, importers and exporters.

Each name has a target: "module:attribute", or an object. Built-in names stand in one
literal table. A third party adds names by `register`, or by entry points of the groups
`altbench.tasks`, `altbench.policies`, `altbench.perturbations`, `altbench.experts`,
`altbench.importers` and `altbench.exporters`. A target is imported when it is first
used.

A worker process starts afresh: it knows built-ins, entry points, and what the modules
that it imports register.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

import gymnasium

from altbench.core import policy_files
from altbench.core.contents import source_digest
from altbench.core.demonstration import Exporter, Importer
from altbench.core.errors import ConfigError, UnknownNameError
from altbench.core.gymnasium_ids import TaskSpec
from altbench.core.perturbation import AnyPerturbation
from altbench.core.policy import Policy
from altbench.core.task import Expert, TaskInfo, env_id

Kind = Literal["task", "policy", "perturbation", "expert", "importer", "exporter"]

BUILT_IN: dict[Kind, dict[str, str]] = {
    "task": {
        "Lift": "altbench_envs.tasks.lift:LiftScene",
        "Stack": "altbench_envs.tasks.stack:StackScene",
        "Can": "altbench_envs.tasks.can:CanScene",
        "Square": "altbench_envs.tasks.square:SquareScene",
        "Door": "altbench_envs.tasks.door:DoorScene",
        "ToolHang": "altbench_envs.tasks.tool_hang:ToolHangScene",
        "Transport": "altbench_envs.tasks.transport:TransportScene",
    },
    "policy": {
        "act": "altbench_policies.act:Act",
        "alt": "altbench_policies.alt:Alt",
        "alt_plus": "altbench_policies.alt_plus:AltPlus",
        "bc": "altbench_policies.bc:BehaviourCloning",
        "bc_gmm": "altbench_policies.bc_gmm:MixtureCloning",
        "bc_rnn_gmm": "altbench_policies.bc_rnn_gmm:RecurrentCloning",
        "blind": "altbench_policies.blind:Blind",
        "diffusion": "altbench_policies.diffusion:Diffusion",
        "fisher": "altbench_policies.fisher:Fisher",
        "kdtree": "altbench_policies.kdtree:KDTree",
        "open_loop": "altbench_policies.open_loop:OpenLoop",
        "random": "altbench_policies.random:Random",
        "regressor": "altbench_policies.regressor:Regressor",
        "sb3": "altbench_policies.sb3:StableBaselines",
        "vinn": "altbench_policies.vinn:Vinn",
    },
    "perturbation": {
        "gaussian_noise": "altbench_envs.perturbations:GaussianNoise",
        "shot_noise": "altbench_envs.perturbations:ShotNoise",
        "impulse_noise": "altbench_envs.perturbations:ImpulseNoise",
        "defocus_blur": "altbench_envs.perturbations:DefocusBlur",
        "motion_blur": "altbench_envs.perturbations:MotionBlur",
        "gaussian_blur": "altbench_envs.perturbations:GaussianBlur",
        "brightness": "altbench_envs.perturbations:Brightness",
        "contrast": "altbench_envs.perturbations:Contrast",
        "saturation": "altbench_envs.perturbations:Saturation",
        "fog": "altbench_envs.perturbations:Fog",
        "jpeg": "altbench_envs.perturbations:Jpeg",
        "pixelate": "altbench_envs.perturbations:Pixelate",
        "occlusion": "altbench_envs.perturbations:Occlusion",
        "shift": "altbench_envs.perturbations:Shift",
        "rotation": "altbench_envs.perturbations:Rotation",
        "frozen_frame": "altbench_envs.perturbations:FrozenFrame",
        "black_camera": "altbench_envs.perturbations:BlackCamera",
        "photograph": "altbench_envs.perturbations:Photograph",
        "distractors": "altbench_envs.perturbations:Distractors",
        "table_texture": "altbench_envs.perturbations:TableTexture",
        "room_texture": "altbench_envs.perturbations:RoomTexture",
        "object_colour": "altbench_envs.perturbations:ObjectColour",
        "light_direction": "altbench_envs.perturbations:LightDirection",
        "light_colour": "altbench_envs.perturbations:LightColour",
        "light_strength": "altbench_envs.perturbations:LightStrength",
        "camera_pose": "altbench_envs.perturbations:CameraPose",
    },
    "expert": {
        "Lift": "altbench_demos.experts.lift:LiftExpert",
        "Stack": "altbench_demos.experts.stack:StackExpert",
        "Can": "altbench_demos.experts.can:CanExpert",
        "Square": "altbench_demos.experts.square:SquareExpert",
        "Door": "altbench_demos.experts.door:DoorExpert",
        "ToolHang": "altbench_demos.experts.tool_hang:ToolHangExpert",
        "Transport": "altbench_demos.experts.transport:TransportExpert",
    },
    "importer": {
        "robomimic": "altbench_demos.formats.robomimic_file:read_robomimic",
        "robosuite": "altbench_demos.formats.robosuite_file:read_robosuite",
        "minari": "altbench_demos.formats.minari_set:read_minari",
        "lerobot": "altbench_demos.formats.lerobot_import:read_lerobot",
    },
    "exporter": {
        "robomimic": "altbench_demos.formats.robomimic_export:write_robomimic",
        "minari": "altbench_demos.formats.minari_set:write_minari",
        "lerobot": "altbench_demos.formats.lerobot_export:write_lerobot",
    },
}
OWN_PACKAGES = ("altbench", "altbench_envs", "altbench_policies", "altbench_demos")
"""The packages of the bench, whose code has versions instead of digests in keys."""
PRIVILEGED = frozenset({"blind", "sb3"})
"""The built-in policies that see the task's state.

They are listed, because a published run may be of a policy that is not installed here.
"""
CAVEATED = frozenset({"act"})
"""Built-in policies with a `Policy.caveat`, so that tables of the others import no policy."""
MANIFEST = "altbench_demos:manifest.toml"
REMOTE = "altbench.remote.client:RemotePolicy"
"""The policy of a server: a URL, or `process:NAME` and `isolate:NAME` for one that a row starts."""
OPENGL = "altbench_envs.robosuite_env.opengl"
GROUPS: dict[Kind, str] = {
    "task": "altbench.tasks",
    "policy": "altbench.policies",
    "perturbation": "altbench.perturbations",
    "expert": "altbench.experts",
    "importer": "altbench.importers",
    "exporter": "altbench.exporters",
}
NAME = re.compile(r"[\w.-]+")
"""The form of a name: it must fit into a Gymnasium id and into the name of a cell."""
_REGISTERED: dict[Kind, dict[str, object]] = {kind: {} for kind in GROUPS}
"""The targets that this process registered by `register`."""


def register(kind: Kind, name: str, target: object, *, replace: bool = False) -> None:
    """Register `target` as the `kind` named `name` in this process.

    `target`: "module:attribute", or the object itself. For a task it is a class with
    `info` (its `TaskInfo`, with the same name) and `make(**options)`, such as a
    subclass of `TaskEnv`; `gymnasium.make("altbench/NAME-v0")` then works. Raises
    ConfigError if the name has another target, unless `replace`. Registering the same
    target again changes nothing.
    """
    if kind not in GROUPS:
        raise UnknownNameError("kind of plug-in", kind, GROUPS)
    _check_spelling(kind, name)
    if isinstance(target, str) and not re.fullmatch(r"[\w.]+:\w+", target):
        raise ConfigError(f'{kind} {name!r}: expected "module:attribute" or the object itself, got {target!r}')
    taken = table(kind).get(name, target)
    if taken != target and not replace:
        raise ConfigError(
            f"{kind} {name!r} is already registered, as {taken}; choose another name, or pass replace=True"
        )
    _REGISTERED[kind][name] = target
    if kind == "task":
        _register_environment(name)


def register_environments() -> None:
    """Register the Gymnasium id of every task; none is imported by that.

    `import altbench` calls it. Call it again for packages that were installed since.
    """
    _entry_points.cache_clear()
    for name in filter(NAME.fullmatch, table("task")):
        _register_environment(name)


def make_task(task: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """Make the environment of `task`: the entry point of every `altbench/NAME-v0`."""
    env: gymnasium.Env[Any, Any] = _task_class(task).make(**options)
    return env


def table(kind: Kind) -> dict[str, object]:
    """Return name -> target of every name of `kind`.

    A built-in wins over an entry point; `register` wins over both.
    """
    return {**_entry_points(kind), **BUILT_IN[kind], **_REGISTERED[kind]}


def names(kind: Kind) -> list[str]:
    """Return every registered name of `kind`, built-ins first."""
    return sorted(table(kind), key=lambda name: (name not in BUILT_IN[kind], name.lower()))


def check_name(kind: Kind, name: str) -> None:
    """Raise UnknownNameError with the nearest valid name if `name` is not registered.

    It imports nothing.
    """
    if name not in table(kind):
        raise UnknownNameError(kind, name, table(kind))


def task(name: str) -> TaskInfo:
    """Return the `TaskInfo` of the task `name`."""
    info: TaskInfo = _task_class(name).info
    return info


def task_class(name: str) -> Any:
    """Return the class registered as the task `name`: it has `info` and `make`."""
    return _task_class(name)


def policy(name: str) -> type[Policy]:
    """Return the policy class registered as `name`, or named by `file.py:Class`.

    A URL such as `ws://127.0.0.1:8000` names the policy of the server there.
    """
    if is_remote(name):
        return _remote(name)
    found = policy_files.load(name) if is_file(name) else _resolve("policy", name)
    if not (isinstance(found, type) and issubclass(found, Policy)):
        raise ConfigError(f"policy {name!r}: expected a subclass of altbench.api.Policy, got {found!r}")
    if not hasattr(found, "config_type"):
        raise ConfigError(f"policy {name!r}: expected a class attribute config_type, its settings (altbench.api.Spec)")
    return found


def source(kind: Kind, name: str) -> str:
    """Return the digest of the code that `name` stands for; empty for built-in names.

    A built-in name has a version instead. A policy's file counts with the modules beside
    it that it imports. Of installed code the whole package counts.
    """
    if kind == "policy" and is_remote(name):
        return ""
    if kind == "policy" and is_file(name):
        return policy_files.digest(name)
    check_name(kind, name)
    target = table(kind)[name]
    module = target.partition(":")[0] if isinstance(target, str) else getattr(target, "__module__", "")
    if module.partition(".")[0] in OWN_PACKAGES:
        return ""
    return source_digest(module if isinstance(target, str) else target)


def is_file(policy: str) -> bool:
    """Return whether a policy's name has the form `file.py:Class`, complete or not."""
    return ".py:" in policy or policy.endswith(".py") or "/" in policy


def is_remote(policy: str) -> bool:
    """Return whether a policy's name stands for a server: a URL, or one that a row starts."""
    return is_url(policy) or policy.startswith(("process:", "isolate:"))


def is_url(policy: str) -> bool:
    """Return whether a policy's name is the URL of a server."""
    return policy.startswith(("ws://", "wss://"))


def _remote(name: str) -> type[Policy]:
    module, _, attribute = REMOTE.partition(":")
    found: Any = getattr(importlib.import_module(module), attribute)
    kind: type[Policy] = found.at(name) if is_url(name) else found
    return kind


def perturbation(name: str) -> type[AnyPerturbation]:
    """Return the class registered as `name`: of images or of the scene."""
    found: type[AnyPerturbation] = _resolve("perturbation", name)
    return found


def expert(name: str) -> Expert:
    """Return a new instance of the expert registered for the task `name`."""
    made: Expert = _resolve("expert", name)()
    return made


def importer(name: str) -> Importer:
    """Return the importer of demonstrations in the format `name`."""
    found: Importer = _resolve("importer", name)
    return found


def exporter(name: str) -> Exporter:
    """Return the exporter of demonstrations to the format `name`."""
    found: Exporter = _resolve("exporter", name)
    return found


def manifest() -> Path:
    """Return the path of the file that lists the known sets of demonstrations."""
    package, _, name = MANIFEST.partition(":")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigError(f"the package {package} is not installed; install altbench again")
    return Path(spec.origin).with_name(name)


def select_backend() -> str:
    """Choose the off-screen OpenGL back end for this process and its children.

    Returns its name, which is part of keys: `egl`, `osmesa`, `glfw` or `disable`.
    Raises RenderingUnavailable if MUJOCO_GL has another value.
    """
    return str(importlib.import_module(OPENGL).select_backend())


def choose_backend(value: str) -> str:
    """Return the back end that a run uses if MUJOCO_GL is `value`; change nothing.

    Raises RenderingUnavailable for a value that MuJoCo does not accept.
    """
    return str(importlib.import_module(OPENGL).choose_backend(value))


def check_backend() -> None:
    """Raise RenderingUnavailable, with the cure, unless the chosen back end works."""
    importlib.import_module(OPENGL).check_backend()


@cache
def _entry_points(kind: Kind) -> dict[str, str]:
    """Return what installed packages declare; cached, as reading takes milliseconds."""
    return {e.name: e.value for e in entry_points(group=GROUPS[kind])}


def _register_environment(name: str) -> None:
    """Give Gymnasium the id of a task; an id of another package stays as it is."""
    if isinstance(gymnasium.registry.get(env_id(name)), TaskSpec | None):
        gymnasium.registry[env_id(name)] = TaskSpec(name, f"{__name__}:make_task", _horizon)


def _horizon(name: str) -> int:
    return task(name).horizon


def _task_class(name: str) -> Any:
    """Return the class registered as a task.

    Raises ConfigError if it lacks `info` or `make`, or if `info` has another name.
    """
    found = _resolve("task", name)
    info = getattr(found, "info", None)
    if not isinstance(info, TaskInfo) or not callable(getattr(found, "make", None)):
        raise ConfigError(f"task {name!r}: expected a class with `info`, a TaskInfo, and `make`, got {found!r}")
    if info.name != name:
        raise ConfigError(f"task {name!r}: expected a TaskInfo of that name, got {info.name!r}")
    return found


def _resolve(kind: Kind, name: str) -> Any:
    check_name(kind, name)
    _check_spelling(kind, name)
    target = table(kind)[name]
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{kind} {name!r}: {target}, which it is registered as, cannot be loaded: {error}") from error


def _check_spelling(kind: Kind, name: str) -> None:
    if not NAME.fullmatch(name):
        raise ConfigError(f"{kind} {name!r}: expected a name of letters, digits, dots, _ and -")
