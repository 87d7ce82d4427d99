"""Runs on a real Ray cluster of two raylets on this machine; one is killed in mid-run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from altbench.results.cells import cell_files

ray = pytest.importorskip("ray", reason="Ray is missing; pip install 'altbench[ray]'")
from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
LIMIT_S = 1500.0


@pytest.fixture
def cluster(place: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster of one node, which knows the fake task."""
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args=NODE)
    yield made
    made.shutdown()


def run(place: Any, cluster: Cluster, out: str, *more: str) -> Any:
    where = ["--executor", "ray", "--engine", f"address={cluster.address}", "--engine", "memory_gb=0.1"]
    return place.start("run", "fake.toml", "--out", out, *where, *more)


def test_a_raylet_that_is_killed_costs_nothing_and_results_come_home_by_value(
    place: Any, cluster: Cluster, waiting: Any
) -> None:
    place.sweep(pause_s=4.0, seeds=2, policy="Learns")
    assert place.call("run", "fake.toml", "--out", "plain", "--workers", "0")[0] == 0
    second = cluster.add_node(**{k: v for k, v in NODE.items() if k != "include_dashboard"})
    cluster.wait_for_nodes()
    running = run(place, cluster, "shared")
    waiting(lambda: len(cell_files(place.folder / "shared")) >= 1 or running.poll() is not None, LIMIT_S)
    cluster.remove_node(second, allow_graceful=False)
    said = running.communicate(timeout=LIMIT_S)[0]
    print(said)
    assert running.returncode == 0, said
    assert "worker lost, going on with" in said, said
    assert place.tables("shared") == place.tables("plain")
    assert place.outcomes("shared") == place.outcomes("plain")

    running = run(place, cluster, "value", "--engine", "shared=no")
    said = running.communicate(timeout=LIMIT_S)[0]
    assert running.returncode == 0, said
    assert place.tables("value") == place.tables("plain")


def test_what_no_node_has_is_refused_before_any_work(place: Any, cluster: Cluster) -> None:
    place.sweep()
    status, said = place.call(
        "run", "fake.toml", "--executor", "ray", "--engine", f"address={cluster.address}", "--engine", "memory_gb=99999"
    )
    assert (
        status == 2 and "a job asks for memory_gb=99999" in said and not (place.folder / "results/fake/cells").exists()
    )


def test_without_a_cluster_the_run_is_refused_in_one_line(place: Any) -> None:
    place.sweep()
    status, said = place.call("run", "fake.toml", "--executor", "ray", RAY_ADDRESS="127.0.0.1:1")
    assert status == 2 and "expected a Ray cluster" in said and "ray start --head" in said, said
