"""The base class of every task's environment, and the way to it through Gymnasium's wrappers."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import fakes
import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import OrderEnforcing, TimeLimit

import altbench
from altbench.core.errors import ContractError
from altbench.core.task import TaskEnv, task_of


def test_the_task_is_found_behind_wrappers() -> None:
    task = fakes.FakeTask()
    assert task_of(task) is task
    assert task_of(TimeLimit(OrderEnforcing(task), 5)) is task


def test_an_environment_of_another_kind_is_refused() -> None:
    class Theirs(gymnasium.Env[Any, Any]):
        pass

    with pytest.raises(ContractError, match=r"expected an environment derived from .*TaskEnv, got Theirs; derive it"):
        task_of(OrderEnforcing(Theirs()))


def test_a_step_advances_then_observes() -> None:
    stepped, advanced = fakes.FakeTask(), fakes.FakeTask()
    action = np.array([0.1, 0.05, 0.12, *fakes.ROT6D, -1.0], np.float32)
    for task in (stepped, advanced):
        task.reset(seed=3)
    observation, *outcome = stepped.step(action)
    assert tuple(outcome) == advanced.advance(action)
    np.testing.assert_array_equal(observation["pixels"]["wrist"], advanced.observe()["pixels"]["wrist"])


def test_a_task_lacks_no_method() -> None:
    class Half(TaskEnv):
        def advance(self, action: Any) -> Any:
            raise NotImplementedError

    with pytest.raises(TypeError, match=r"abstract methods? .*initial_state.*observe.*privileged.*sim_state"):
        Half()  # type: ignore[abstract]


def test_the_bench_asks_task_of_and_nothing_else() -> None:
    """No `unwrapped` but in `task_of`, no `task: Any`, no dispatch on which methods a task has."""
    for path in sorted(Path(altbench.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "unwrapped":
                assert path.name == "task.py", f"{path}: use altbench.core.task.task_of"
            if isinstance(node, ast.arg) and node.arg == "task" and node.annotation is not None:
                assert ast.unparse(node.annotation) != "Any", f"{path}: line {node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "hasattr":
                assert ast.unparse(node.args[1]) not in ("'advance'", "'observe'"), f"{path}: line {node.lineno}"
