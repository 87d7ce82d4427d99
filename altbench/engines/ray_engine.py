"""A Ray cluster as an executor: each job is a task with resources.

Ray never repeats a task (`max_retries=0`): the rules of runner/scheduler.py hold. Results
go through the run's folder if all nodes see it, else they come back by value.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from altbench.core.errors import AltbenchError
from altbench.engines import node, parcels
from altbench.engines.machine import Machine, refuse_mixed
from altbench.engines.room import check_room
from altbench.engines.settings import RaySettings
from altbench.results.folder import RunFolder
from altbench.results.run import Run
from altbench.runner import main
from altbench.runner.executors import Executor, Outcome, describe
from altbench.runner.jobs import Job, MeasureJob
from altbench.runner.main import Summary
from altbench.sweeps.spec import SweepSpec
from altbench.system.console import say
from altbench.system.devices import require_renderer
from altbench.system.files import write_text

ANSWER_S = 120.0
"""Seconds in which a node must say what it is; the first answer imports torch."""
KNOCK_S = 10.0
CLUSTER_S = 2.0
"""Seconds for which the cluster's number of processors is believed."""


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise AltbenchError(f"--executor ray: Ray is missing ({error}); pip install 'altbench[ray]'") from None
    return ray


def run_on_ray(settings: RaySettings, sweep: SweepSpec, root: Path, console: Console, mixed: bool) -> Summary:
    """Run `sweep` under `root` on the Ray cluster that `settings` name; as `runner.main.run`.

    AltbenchError, before any work, without Ray or a cluster, for nodes of another class
    or version (unless `mixed`), and for jobs that no node has room for.
    """
    ray = _ray()
    begun = Run.open(root, sweep, require_renderer())
    root.mkdir(parents=True, exist_ok=True)
    check_room(begun)
    _connect(ray, settings.address)
    try:
        _check_fits(ray, settings, begun.device)
        shared = _check_nodes(ray, begun, settings, console, mixed)
        executor = RayExecutor(ray, settings, shared)
        try:
            return main.run(sweep, root, console=console, executor=executor)
        finally:
            executor.close()
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    try:
        _check_answers(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray raises several kinds, and documents none
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise AltbenchError(
            f"--executor ray: expected a Ray cluster at {address!r}, got: {reason.rstrip('.')}; "
            "start one with `ray start --head`, or name it with --engine address=HOST:PORT"
        ) from None


def _check_answers(address: str) -> None:
    """Raise OSError if nobody listens at HOST:PORT, for which Ray would wait minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()


def _nodes(ray: Any) -> list[dict[str, Any]]:
    return [one for one in ray.nodes() if one["Alive"] and one["Resources"].get("CPU")]


def _check_fits(ray: Any, settings: RaySettings, device: str) -> None:
    """Raise AltbenchError if no node has what a job asks for."""
    have = [one["Resources"] for one in _nodes(ray)]
    if not have:
        raise AltbenchError("--executor ray: expected nodes with processors, the cluster has none; add one")
    memory = max(one.get("memory", 0.0) for one in have) / 2**30
    if memory < settings.memory_gb:
        raise AltbenchError(
            f"--executor ray: a job asks for memory_gb={settings.memory_gb:g}, and the largest node has {memory:.1f}; "
            "ask for less with --engine memory_gb=..."
        )
    gpus = max(one.get("GPU", 0.0) for one in have)
    if device == "cuda" and gpus < settings.gpus:
        raise AltbenchError(
            f"--executor ray: a job asks for gpus={settings.gpus:g}, and the best node has {gpus:g}; "
            "ask for a part with --engine gpus=0.25, or run with --device cpu"
        )


def _check_nodes(ray: Any, begun: Run, settings: RaySettings, console: Console, mixed: bool) -> bool:
    """Check that all nodes are of this machine's class; return whether all see the folder."""
    probe, content = begun.root / ".probe", uuid.uuid4().hex
    write_text(probe, content)
    try:
        # A list: nodes of one host, or in containers, may share a name.
        found = [(one["NodeManagerHostname"], _ask(ray, one, begun.device, probe, content)) for one in _nodes(ray)]
    finally:
        probe.unlink(missing_ok=True)
    here = Machine.here(begun.device)
    machines = [(name, Machine.of(one["machine"])) for name, one in found]
    for name, machine in machines:
        refuse_mixed(here, machine, f"the Ray node {name}", mixed)
    classes = {here, *(machine for _, machine in machines)}
    if len(classes) > 1:
        RunFolder(begun.root).mark_mixed(sorted(map(str, classes)))
    blind = [name for name, one in found if not one["sees"]]
    shared = settings.shared == "auto" and not blind
    if blind:
        say(console, f"{begun.root} is not shared with {', '.join(blind)}: results come back by value", wrap=False)
    return shared


def _ask(ray: Any, one: Mapping[str, Any], device: str, probe: Path, content: str) -> dict[str, Any]:
    """Ask a node what it is; AltbenchError if it cannot say."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(one["NodeID"], soft=False)
    task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=here)(node.examine)
    try:
        answer: dict[str, Any] = ray.get(task.remote(device, str(probe), content), timeout=ANSWER_S)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise AltbenchError(
            f"the Ray node {one['NodeManagerHostname']}: cannot use altbench there ({reason}); "
            "install the same altbench on all nodes"
        ) from None
    return answer


class RayExecutor(Executor):
    """Jobs as Ray tasks. `shared`: whether all nodes see the run's folder."""

    supervises = True

    def __init__(self, ray: Any, settings: RaySettings, shared: bool) -> None:
        self._ray, self._settings, self._shared = ray, settings, shared
        self._running: dict[Any, tuple[Run, Job]] = {}
        self._sent: dict[str, Any] = {}
        self._threads = self._largest = 0
        self._looked = -CLUSTER_S
        # A node for all measurements, so that they are of one machine.
        self._measures_on = min(one["NodeID"] for one in _nodes(ray))
        function = node.do if shared else node.do_by_value
        self._task = ray.remote(max_retries=0)(function)

    @property
    def threads(self) -> int:  # type: ignore[override]
        """The processors of all nodes that are alive."""
        self._look()
        return self._threads

    def _look(self) -> None:
        """Count the processors of all nodes, and of the largest one, now and then."""
        if time.monotonic() - self._looked > CLUSTER_S:
            have = [int(one["Resources"]["CPU"]) for one in _nodes(self._ray)]
            self._threads, self._largest = max(1, sum(have)), max([1, *have])
            self._looked = time.monotonic()

    def submit(self, run: Run, job: Job) -> None:
        sent = run.for_worker()
        inputs = [] if self._shared else self._inputs(run, job)
        reference = self._task.options(**self._asks(run, job)).remote(sent, job, *inputs)
        self._running[reference] = (run, job)

    def _asks(self, run: Run, job: Job) -> dict[str, Any]:
        """Return the resources of a job."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        asks: dict[str, Any] = {
            "num_cpus": min(job.threads(run, self.threads), self._largest),
            "memory": int(self._settings.memory_gb * 2**30),
            "name": job.name,
        }
        if run.device == "cuda":
            asks["num_gpus"] = self._settings.gpus
        if isinstance(job, MeasureJob):
            asks["scheduling_strategy"] = NodeAffinitySchedulingStrategy(self._measures_on, soft=True)
        return asks

    def _inputs(self, run: Run, job: Job) -> list[Any]:
        """Return what a job reads: what many jobs share is put into the object store once."""
        found: list[Any] = [parcels.recorded(run, job)]
        if task := parcels.data_of(job):
            path = run.data.get(task)
            stamp = path.stat().st_mtime_ns if path is not None and path.is_file() else 0
            found.append(self._put(f"data {task} {stamp}", lambda: parcels.demonstrations(run, task)))
        if (folder := parcels.checkpoint(run, job)) is not None:
            found.append(self._put(f"checkpoint {folder.name}", lambda: parcels.folder(folder)))
        return found

    def _put(self, name: str, make: Any) -> Any:
        if name not in self._sent:
            self._sent[name] = self._ray.put(make())
        return self._sent[name]

    def collect(self, timeout: float) -> list[Outcome]:
        if not self._running:
            time.sleep(timeout)
            return []
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout)
        if ready:
            ready, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return [self._outcome(one) for one in ready]

    def _outcome(self, reference: Any) -> Outcome:
        run, job = self._running.pop(reference)
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(reference)
            if self._shared:
                return Outcome(job, answer)
            error, files = answer
            parcels.bring_home(run, files)
            return Outcome(job, error)
        except errors.RayTaskError as error:
            return Outcome(job, describe(error.cause if isinstance(error.cause, Exception) else error))
        except errors.RayError as error:
            return Outcome(job, died=_first_line(error))
        except OSError as error:
            return Outcome(job, describe(error))

    def kill(self, job: Job) -> None:
        for reference in [one for one, (_, other) in self._running.items() if other.key == job.key]:
            del self._running[reference]
            self._ray.cancel(reference, force=True)

    def close(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
