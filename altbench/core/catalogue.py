"""What there is, by name, and making it: for scripts and notebooks."""

from __future__ import annotations

from typing import Any

from altbench.core import registry
from altbench.core.perturbation import AnyPerturbation
from altbench.core.policy import Policy, resolve_config
from altbench.core.task import TaskInfo


def list_tasks() -> list[str]:
    """Return the names of the tasks; `gymnasium.make(f"altbench/{name}-v0")` makes one."""
    return registry.names("task")


def get_task(name: str) -> TaskInfo:
    """Return what is known of a task without starting a simulator; a policy is made with it."""
    return registry.task(name)


def list_policies() -> list[str]:
    """Return the names of the registered policies; `make_policy` makes one."""
    return registry.names("policy")


def list_perturbations() -> list[str]:
    """Return the names of the perturbations; `make_perturbation` makes one."""
    return registry.names("perturbation")


def make_policy(name: str, task: str, preset: str = "small", **config: Any) -> Policy:
    """Return a new policy for a task, with a preset's settings and those of `config` over them.

    `name`: a registered policy, or `file.py:Class`. `preset`: one of the policy's own; a
    policy without presets has its defaults. A `Trainable` is not fitted yet: call `fit`.
    Raise ConfigError for a name, preset or setting that does not exist.
    """
    kind = registry.policy(name)
    return kind(registry.task(task), resolve_config(kind, preset, config, f"policy {name!r}"))


def make_perturbation(name: str, severity: int, **options: Any) -> AnyPerturbation:
    """Return a perturbation of camera images or of the scene, at a severity from 0 (none) to 5."""
    return registry.perturbation(name)(severity, **options)
