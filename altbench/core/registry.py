"""Names of tasks, policies, perturbations, experts, importers and exporters -> where they live, as "module:attribute".

Built-ins stand in one literal table; a third party adds its own through entry points of the groups `altbench.tasks`,
`altbench.policies`, `altbench.perturbations`, `altbench.experts`, `altbench.importers` and `altbench.exporters`. Nothing
is imported before it is asked for.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from altbench.core.demonstration import Exporter, Importer
from altbench.core.errors import ConfigError, UnknownNameError
from altbench.core.perturbation import AnyPerturbation
from altbench.core.policy import Policy
from altbench.core.task import Expert, TaskInfo

Kind = Literal["task", "policy", "perturbation", "expert", "importer", "exporter"]

BUILT_IN: dict[Kind, dict[str, str]] = {
    "task": {
        "Lift": "altbench_envs.tasks.lift:TASK",
        "Stack": "altbench_envs.tasks.stack:TASK",
        "Can": "altbench_envs.tasks.can:TASK",
        "Square": "altbench_envs.tasks.square:TASK",
        "Door": "altbench_envs.tasks.door:TASK",
        "ToolHang": "altbench_envs.tasks.tool_hang:TASK",
        "Transport": "altbench_envs.tasks.transport:TASK",
    },
    "policy": {
        "act": "altbench_policies.act:Act",
        "alt": "altbench_policies.alt:Alt",
        "alt_plus": "altbench_policies.alt_plus:AltPlus",
        "bc": "altbench_policies.bc:BehaviourCloning",
        "bc_gmm": "altbench_policies.bc_gmm:MixtureCloning",
        "bc_rnn_gmm": "altbench_policies.bc_rnn_gmm:RecurrentCloning",
        "diffusion": "altbench_policies.diffusion:Diffusion",
        "kdtree": "altbench_policies.kdtree:KDTree",
        "open_loop": "altbench_policies.open_loop:OpenLoop",
        "random": "altbench_policies.random:Random",
        "sb3": "altbench_policies.sb3:StableBaselines",
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
    },
    "exporter": {
        "robomimic": "altbench_demos.formats.robomimic_file:write_robomimic",
        "minari": "altbench_demos.formats.minari_set:write_minari",
    },
}
ENVIRONMENTS: dict[str, str] = {
    "Lift": "altbench_envs.tasks.lift:make",
    "Stack": "altbench_envs.tasks.stack:make",
    "Can": "altbench_envs.tasks.can:make",
    "Square": "altbench_envs.tasks.square:make",
    "Door": "altbench_envs.tasks.door:make",
    "ToolHang": "altbench_envs.tasks.tool_hang:make",
    "Transport": "altbench_envs.tasks.transport:make",
}
MANIFEST = "altbench_demos:manifest.toml"
SELECT_BACKEND = "altbench_envs.robosuite_env.rendering:select_backend"
GROUPS: dict[Kind, str] = {
    "task": "altbench.tasks",
    "policy": "altbench.policies",
    "perturbation": "altbench.perturbations",
    "expert": "altbench.experts",
    "importer": "altbench.importers",
    "exporter": "altbench.exporters",
}


@cache
def table(kind: Kind) -> dict[str, str]:
    """Every registered name of `kind` -> "module:attribute"; built-ins win over entry points of the same name."""
    third_party = {e.name: e.value for e in entry_points(group=GROUPS[kind])}
    return {**third_party, **BUILT_IN[kind]}


def names(kind: Kind) -> list[str]:
    """Every registered name of `kind`, built-ins first."""
    return sorted(table(kind), key=lambda name: (name not in BUILT_IN[kind], name.lower()))


def check_name(kind: Kind, name: str) -> None:
    """Raise UnknownNameError with the nearest valid name where `name` is not registered; imports nothing."""
    if name not in table(kind):
        raise UnknownNameError(kind, name, table(kind))


def task(name: str) -> TaskInfo:
    """The `TaskInfo` registered as `name`."""
    info: TaskInfo = _resolve("task", name)
    return info


def policy(name: str) -> type[Policy]:
    """The policy class registered as `name`, or the one that `file.py:Class` names."""
    found = _from_file(name) if is_file(name) else _resolve("policy", name)
    if not (isinstance(found, type) and issubclass(found, Policy)):
        raise ConfigError(f"policy {name!r}: expected a subclass of altbench.api.Policy, got {found!r}")
    if not hasattr(found, "config_type"):
        raise ConfigError(f"policy {name!r}: expected a class attribute config_type, its settings (altbench.api.Spec)")
    return found


def is_file(policy: str) -> bool:
    """Whether a policy's name is meant to be `file.py:Class`, complete or not."""
    return ".py:" in policy or policy.endswith(".py") or "/" in policy


def perturbation(name: str) -> type[AnyPerturbation]:
    """The class registered as `name`: a perturbation of images or of the scene."""
    found: type[AnyPerturbation] = _resolve("perturbation", name)
    return found


def expert(name: str) -> Expert:
    """A new instance of the expert registered for the task `name`."""
    made: Expert = _resolve("expert", name)()
    return made


def importer(name: str) -> Importer:
    """The importer of demonstrations in the format `name`."""
    found: Importer = _resolve("importer", name)
    return found


def exporter(name: str) -> Exporter:
    """The exporter of demonstrations to the format `name`."""
    found: Exporter = _resolve("exporter", name)
    return found


def manifest() -> Path:
    """The file that tells the known sets of demonstrations."""
    package, _, name = MANIFEST.partition(":")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigError(f"the package {package} is not installed; install altbench again")
    return Path(spec.origin).with_name(name)


def select_backend() -> str:
    """Choose the off-screen OpenGL back end for this process and its children; its name (`egl`, `osmesa`, `disable`)."""
    module, _, attribute = SELECT_BACKEND.partition(":")
    getattr(importlib.import_module(module), attribute)()
    return os.environ.get("MUJOCO_GL", "")


def _resolve(kind: Kind, name: str) -> Any:
    check_name(kind, name)
    module, _, attribute = table(kind)[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _from_file(spec: str) -> Any:
    path_text, _, attribute = spec.rpartition(":") if ":" in spec else (spec, "", "")
    path = Path(path_text)
    if not path.is_file():
        raise ConfigError(f"policy {spec!r}: expected PATH.py:Class, but there is no file {path_text!r}")
    if not attribute:
        raise ConfigError(f"policy {spec!r}: expected PATH.py:Class{_defined_in(path)}")
    module = _load_module(path.resolve())
    if not hasattr(module, attribute):
        classes = [k for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, Policy)]
        raise UnknownNameError(f"class in {path.name}", attribute, classes)
    return getattr(module, attribute)


def _defined_in(path: Path) -> str:
    """`; it defines A, B`: the policies of a file by their bases' names, without running it; empty where it has none."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return ""
    found: dict[str, None] = {}
    for node in [node for node in tree.body if isinstance(node, ast.ClassDef)]:
        bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        if bases & {"Policy", "Trainable", *found}:
            found[node.name] = None
    return f"; it defines {', '.join(found)}" if found else ""


@cache
def _load_module(path: Path) -> ModuleType:
    name = f"altbench_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script that ends itself when it is run ends here, too
        del sys.modules[name]
        raise ConfigError(f"{path.name} cannot be loaded: {type(error).__name__}: {error}") from error
    return module
