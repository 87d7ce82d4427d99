"""altbench: does a manipulation policy generalise, or recall?

    import altbench as ab

    episodes = ab.evaluate(my_function, "Lift", split="recall", episodes=20)

`dir(ab)` lists what a script or a notebook needs; each name is loaded when it is first
used. Importing altbench registers the Gymnasium ids (`altbench/Lift-v0`, ...) by name
only: neither torch nor a simulator is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from altbench.core.registry import register_environments
from altbench.system.numba_cache import choose_numba_cache

__version__ = "0.1.0"

if TYPE_CHECKING:
    from altbench.adapters.policy import AdaptedPolicy
    from altbench.adapters.spec import Adapter, read_adapter
    from altbench.adapting.diagnosis import diagnose
    from altbench.checks import check_env, check_perturbation, check_policy
    from altbench.core.catalogue import (
        get_task,
        list_perturbations,
        list_policies,
        list_tasks,
        make_perturbation,
        make_policy,
    )
    from altbench.core.demonstration import Demonstration
    from altbench.core.errors import AltbenchError
    from altbench.core.perturbation import Perturbation, ScenePerturbation
    from altbench.core.policy import (
        Decision,
        FitContext,
        Footprint,
        Observation,
        Policy,
        Requirements,
        Trainable,
    )
    from altbench.core.registry import register
    from altbench.core.spec import Spec
    from altbench.core.task import Expert, InitialState, TaskEnv, TaskInfo
    from altbench.dataset.cached import collect, read_demonstrations
    from altbench.remote.client import connect
    from altbench.report.compare import Comparison
    from altbench.report.opened import OpenedRun, open_run
    from altbench.runner.evaluate import evaluate
    from altbench.runner.main import run, run_replicates
    from altbench.sweeps.overrides import override
    from altbench.sweeps.spec import (
        DemonstrationEntry,
        EvaluationEntry,
        MeasureEntry,
        PerturbationEntry,
        PolicyEntry,
        list_sweeps,
        load_sweep,
    )
    from altbench.sweeps.spec import SweepSpec as Sweep

_PLACES = {
    "AdaptedPolicy": "altbench.adapters.policy:AdaptedPolicy",
    "Adapter": "altbench.adapters.spec:Adapter",
    "AltbenchError": "altbench.core.errors:AltbenchError",
    "Comparison": "altbench.report.compare:Comparison",
    "Decision": "altbench.core.policy:Decision",
    "Demonstration": "altbench.core.demonstration:Demonstration",
    "DemonstrationEntry": "altbench.sweeps.spec:DemonstrationEntry",
    "EvaluationEntry": "altbench.sweeps.spec:EvaluationEntry",
    "Expert": "altbench.core.task:Expert",
    "FitContext": "altbench.core.policy:FitContext",
    "Footprint": "altbench.core.policy:Footprint",
    "InitialState": "altbench.core.task:InitialState",
    "MeasureEntry": "altbench.sweeps.spec:MeasureEntry",
    "Observation": "altbench.core.policy:Observation",
    "OpenedRun": "altbench.report.opened:OpenedRun",
    "Perturbation": "altbench.core.perturbation:Perturbation",
    "PerturbationEntry": "altbench.sweeps.spec:PerturbationEntry",
    "Policy": "altbench.core.policy:Policy",
    "PolicyEntry": "altbench.sweeps.spec:PolicyEntry",
    "Requirements": "altbench.core.policy:Requirements",
    "ScenePerturbation": "altbench.core.perturbation:ScenePerturbation",
    "Spec": "altbench.core.spec:Spec",
    "Sweep": "altbench.sweeps.spec:SweepSpec",
    "TaskEnv": "altbench.core.task:TaskEnv",
    "TaskInfo": "altbench.core.task:TaskInfo",
    "Trainable": "altbench.core.policy:Trainable",
    "check_env": "altbench.checks:check_env",
    "check_perturbation": "altbench.checks:check_perturbation",
    "check_policy": "altbench.checks:check_policy",
    "collect": "altbench.dataset.cached:collect",
    "connect": "altbench.remote.client:connect",
    "diagnose": "altbench.adapting.diagnosis:diagnose",
    "evaluate": "altbench.runner.evaluate:evaluate",
    "get_task": "altbench.core.catalogue:get_task",
    "list_perturbations": "altbench.core.catalogue:list_perturbations",
    "list_policies": "altbench.core.catalogue:list_policies",
    "list_sweeps": "altbench.sweeps.spec:list_sweeps",
    "list_tasks": "altbench.core.catalogue:list_tasks",
    "load_sweep": "altbench.sweeps.spec:load_sweep",
    "make_perturbation": "altbench.core.catalogue:make_perturbation",
    "make_policy": "altbench.core.catalogue:make_policy",
    "open_run": "altbench.report.opened:open_run",
    "override": "altbench.sweeps.overrides:override",
    "read_adapter": "altbench.adapters.spec:read_adapter",
    "read_demonstrations": "altbench.dataset.cached:read_demonstrations",
    "register": "altbench.core.registry:register",
    "run": "altbench.runner.main:run",
    "run_replicates": "altbench.runner.main:run_replicates",
}
"""Each public name -> "module:attribute". A name must not be a package's name: importing
the package would replace it."""

__all__ = [
    "AdaptedPolicy",
    "Adapter",
    "AltbenchError",
    "Comparison",
    "Decision",
    "Demonstration",
    "DemonstrationEntry",
    "EvaluationEntry",
    "Expert",
    "FitContext",
    "Footprint",
    "InitialState",
    "MeasureEntry",
    "Observation",
    "OpenedRun",
    "Perturbation",
    "PerturbationEntry",
    "Policy",
    "PolicyEntry",
    "Requirements",
    "ScenePerturbation",
    "Spec",
    "Sweep",
    "TaskEnv",
    "TaskInfo",
    "Trainable",
    "check_env",
    "check_perturbation",
    "check_policy",
    "collect",
    "connect",
    "diagnose",
    "evaluate",
    "get_task",
    "list_perturbations",
    "list_policies",
    "list_sweeps",
    "list_tasks",
    "load_sweep",
    "make_perturbation",
    "make_policy",
    "open_run",
    "override",
    "read_adapter",
    "read_demonstrations",
    "register",
    "run",
    "run_replicates",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'altbench' has no attribute {name!r}; dir(altbench) lists what it has")
    module, _, attribute = _PLACES[name].partition(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*_PLACES, "__version__"])


choose_numba_cache()  # before anything imports numba
register_environments()
