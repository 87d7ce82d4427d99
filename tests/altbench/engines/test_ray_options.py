"""What a job asks of Ray, without a cluster and without Ray."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from altbench.core.errors import AltbenchError
from altbench.engines import ray_engine
from altbench.engines.machine import Machine
from altbench.engines.ray_engine import RayExecutor
from altbench.engines.settings import RaySettings
from altbench.runner.jobs import MeasureJob


class Affinity:
    def __init__(self, node: str, soft: bool) -> None:
        self.node, self.soft = node, soft


class FakeRay:
    """Two nodes; `remote` returns the function."""

    def __init__(self, gpus: float = 2.0) -> None:
        self.gpus = gpus

    def nodes(self) -> list[dict[str, Any]]:
        here = {"CPU": 4.0, "GPU": self.gpus, "memory": 8 * 2**30}
        return [{"Alive": True, "NodeID": name, "Resources": here} for name in ("b", "a")]

    def remote(self, **options: Any) -> Any:
        assert options == {"max_retries": 0}, "Ray never repeats a task by itself"
        return lambda function: function


@pytest.fixture(autouse=True)
def strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ray.util.scheduling_strategies"
    for module in ("ray", "ray.util"):
        monkeypatch.setitem(sys.modules, module, SimpleNamespace())
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(NodeAffinitySchedulingStrategy=Affinity))


def asked(device: str, settings: RaySettings, job: Any) -> dict[str, Any]:
    run: Any = SimpleNamespace(device=device)
    return RayExecutor(FakeRay(), settings, shared=True)._asks(run, job)


def test_a_job_on_cuda_asks_for_its_part_of_a_gpu_and_one_on_the_cpu_for_none() -> None:
    job = SimpleNamespace(name="cell", threads=lambda run, most: most)
    settings = RaySettings(gpus=0.25, memory_gb=4)
    found = asked("cuda", settings, job)
    assert found == {"num_cpus": 4, "memory": 4 * 2**30, "name": "cell", "num_gpus": 0.25}
    assert "num_gpus" not in asked("cpu", settings, job)


def test_measurements_are_of_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MeasureJob, "threads", lambda self, run, most: 1)
    monkeypatch.setattr(MeasureJob, "name", "measure")
    where = asked("cpu", RaySettings(), object.__new__(MeasureJob))["scheduling_strategy"]
    assert (where.node, where.soft) == ("a", True)


def test_more_gpus_than_a_node_has_are_refused_in_one_line() -> None:
    with pytest.raises(AltbenchError, match=r"a job asks for gpus=4, and the best node has 2.*gpus=0.25"):
        ray_engine._check_fits(FakeRay(), RaySettings(gpus=4), "cuda")
    ray_engine._check_fits(FakeRay(0.0), RaySettings(gpus=4), "cpu")


def test_two_nodes_of_one_name_are_both_examined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = dataclasses.asdict(Machine.here("cpu"))
    told = {"a": own, "b": {**own, "altbench": "0.0.1"}}
    nodes = [{"NodeManagerHostname": "same", "NodeID": name} for name in ("b", "a")]
    monkeypatch.setattr(ray_engine, "_nodes", lambda ray: nodes)
    monkeypatch.setattr(ray_engine, "_ask", lambda ray, one, *rest: {"machine": told[one["NodeID"]], "sees": True})
    run: Any = SimpleNamespace(root=tmp_path, device="cpu")
    with pytest.raises(AltbenchError, match="the Ray node same: "):
        ray_engine._check_nodes(None, run, RaySettings(), Console(), mixed=False)
