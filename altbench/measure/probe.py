"""Latency and memory of a checkpoint: one decision at batch 1, in a fresh process.

`python -m altbench.measure.probe PROBE ANSWER` is that process, ANSWER a file. It loads the policy, times its
decisions with a fixed number of threads, and writes the reading as JSON. Peak memory is
the process's high-water mark minus that of an interpreter that does nothing.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from altbench.adapters.policy import adapted
from altbench.adapters.spec import as_adapter
from altbench.core.errors import AltbenchError
from altbench.core.policy import Observation, Policy
from altbench.results.checkpoints import CheckpointCard, build_policy, load_checkpoint, read_card
from altbench.rollout.limits import LONGEST_DECISION_S, decision_limit
from altbench.rollout.records import MeasureRecord
from altbench.sweeps.spec import MeasureEntry
from altbench.system.files import write_text
from altbench.system.fingerprint import cpu_model, gpu_name
from altbench.system.workers import end_with

TIME_LIMIT_S = 1800.0
"""Seconds after which a measuring process is ended, so that none hangs for ever."""


@dataclass(frozen=True)
class Probe:
    """The request to a measuring process: time decisions of the checkpoint in `folder`.

    `decisions` are timed, after `warmup` others that are not. `runtime`: settings that
    replace the checkpoint's. `state_dim`: length of the state that the policy sees; 0 if
    it sees none. `ready`: the card of a policy that learns nothing, and has no folder.
    `decision_timeout_s`: after which a decision fails.
    """

    folder: str
    decisions: int
    warmup: int
    threads: int
    device: str
    runtime: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    state_dim: int = 0
    ready: Mapping[str, Any] | None = None
    decision_timeout_s: float = LONGEST_DECISION_S


@dataclass(frozen=True)
class Reading:
    """The answer of a measuring process, in seconds and bytes; None: unknown.

    `files_bytes`: of the files that a policy without a checkpoint reads.
    `server_latencies`, `server_rss_bytes`: what a policy's server told of its decisions,
    and its peak of memory if it runs on this machine.
    """

    latencies: tuple[float, ...]
    weights_bytes: int | None
    table_bytes: int | None
    files_bytes: int | None
    peak_rss_bytes: int
    peak_vram_bytes: int | None
    sees_images: bool
    inference: str
    server_latencies: tuple[float, ...] = ()
    server_rss_bytes: int | None = None


def measure_checkpoint(
    folder: Path,
    label: str,
    entry: MeasureEntry,
    device: str,
    runtime: Mapping[str, Any] | None = None,
    state_dim: int = 0,
    decision_timeout_s: float = LONGEST_DECISION_S,
) -> MeasureRecord:
    """Measure the checkpoint in `folder` with settings `runtime`, for the row `label`.

    `state_dim`, `decision_timeout_s`: as in `Probe`. Raise AltbenchError if the measuring process fails.
    """
    probe = Probe(str(folder), entry.decisions, entry.warmup, entry.threads, device, runtime or {}, state_dim)
    probe = dataclasses.replace(probe, decision_timeout_s=decision_timeout_s)
    return _record(read_card(folder), label, probe, _ask(probe), _disk_bytes(folder))


def measure_ready(
    card: CheckpointCard,
    label: str,
    entry: MeasureEntry,
    device: str,
    runtime: Mapping[str, Any] | None = None,
    state_dim: int = 0,
    decision_timeout_s: float = LONGEST_DECISION_S,
) -> MeasureRecord:
    """Measure a policy that learns nothing, made as `card` says, for the row `label`.

    It has no time of training. On disk are the files that it reads, if it names any.
    Other arguments and errors: as `measure_checkpoint`.
    """
    ready = card.model_dump(mode="json")
    probe = Probe("", entry.decisions, entry.warmup, entry.threads, device, runtime or {}, state_dim, ready)
    probe = dataclasses.replace(probe, decision_timeout_s=decision_timeout_s)
    reading = _ask(probe)
    record = _record(card, label, probe, reading, reading.files_bytes)
    return dataclasses.replace(record, train_seconds=None, data_share=None)


def _record(card: CheckpointCard, label: str, probe: Probe, reading: Reading, disk_bytes: int | None) -> MeasureRecord:
    p50, p95, p99 = (float(np.percentile(reading.latencies, q)) for q in (50, 95, 99))
    return MeasureRecord(
        label=label,
        policy=card.policy,
        preset=card.preset,
        n=card.n,
        device=probe.device,
        threads=probe.threads,
        image_size=card.image_size if reading.sees_images else None,
        latency_p50_s=p50,
        latency_p95_s=p95,
        latency_p99_s=p99,
        hz=1.0 / p50,
        decisions_timed=len(reading.latencies),
        weights_bytes=reading.weights_bytes,
        table_bytes=reading.table_bytes,
        disk_bytes=disk_bytes,
        peak_rss_bytes=reading.peak_rss_bytes - _empty_process_bytes(),
        peak_vram_bytes=reading.peak_vram_bytes,
        inference=reading.inference,
        train_seconds=card.train_seconds,
        task=card.task,
        train_seed=card.train_seed,
        data_share=card.data_share,
        machine=" · ".join(filter(None, (cpu_model(), gpu_name()))),
        trained_on=card.trained_on or None,
        precision=card.config.get("precision"),
        server_p50_s=float(np.percentile(reading.server_latencies, 50)) if reading.server_latencies else None,
        server_p95_s=float(np.percentile(reading.server_latencies, 95)) if reading.server_latencies else None,
        server_rss_bytes=reading.server_rss_bytes,
    )


def run_python(module: str, specification: object, threads: int) -> str:
    """Run `python -m MODULE JSON ANSWER` with `threads` CPU threads; return its answer.

    That is what the process wrote to the file ANSWER with `answer`. Raise AltbenchError
    with the last line of its errors if it wrote nothing.
    """
    # A file, not the output: libraries print, also while the process ends. For the same
    # reason its exit status counts for nothing once it has answered.
    with tempfile.TemporaryDirectory(prefix="altbench-") as folder:
        file = Path(folder) / "answer"
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", module, json.dumps(specification), str(file)]
        stderr, status = _run_limited(command, environment)
        if file.is_file():
            return file.read_text(encoding="utf-8")
    reason = (stderr.strip().splitlines() or [f"no output, exit status {status}"])[-1]
    failed = AltbenchError(f"{module} failed: {reason}")
    failed.add_note(stderr)  # whoever keeps tracebacks has that of the process, too
    raise failed


def _run_limited(command: Sequence[str], environment: Mapping[str, str]) -> tuple[str, int]:
    """Run `command`; return its errors and its exit status.

    Raise AltbenchError if it takes longer than `TIME_LIMIT_S`.
    """
    # Files, not pipes: a child that the process leaves behind would hold a pipe open. In a
    # worker, standard output is the job's log.
    logged = multiprocessing.parent_process() is not None
    with tempfile.TemporaryFile() as errors:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=None if logged else subprocess.DEVNULL,
                stderr=errors,
                env=environment,
                timeout=TIME_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise AltbenchError(f"{command[2]} failed: no answer within {TIME_LIMIT_S:g} s") from None
        errors.seek(0)
        said = errors.read().decode(errors="replace")
        if logged:
            sys.stderr.write(said)
        return said, done.returncode


def answer(text: str) -> None:
    """Write what `run_python` returns, whole, to the file that it named."""
    write_text(Path(sys.argv[2]), text)


def _ask(probe: Probe) -> Reading:
    found = json.loads(run_python("altbench.measure.probe", dataclasses.asdict(probe), probe.threads))
    times = {name: tuple(found[name]) for name in ("latencies", "server_latencies")}
    return Reading(**{**found, **times})


def _measure_here(probe: Probe) -> Reading:
    """Measure in this process, as its only work.

    Inputs are noise: neither time nor memory depends on what an image shows.
    """
    card = read_card(Path(probe.folder)) if probe.ready is None else CheckpointCard.parse(probe.ready, "card")
    import pandas  # noqa: F401, as in every reading so far, so that memory compares with that of published runs
    import torch

    torch.set_num_threads(probe.threads)
    with closing(_policy(probe, card)) as policy:
        return _reading(policy, probe, card)


def _reading(policy: Policy, probe: Probe, card: CheckpointCard) -> Reading:
    """Time the decisions of a policy that is ready to act, and read what it holds."""
    observations = _observations(policy, card.image_size, probe.state_dim)
    policy.reset([0], [0])
    for _ in range(probe.warmup):
        _timed(policy, next(observations), probe.decision_timeout_s)
    latencies, told = [], []
    for _ in range(probe.decisions):
        latencies.append(_timed(policy, next(observations), probe.decision_timeout_s))
        told.append(policy.server_cost())
    served = [cost.infer_s for cost in told if cost is not None and cost.infer_s is not None]
    server = told[-1].pid if told and told[-1] is not None else None
    held = policy.footprint()
    import torch

    return Reading(
        tuple(latencies),
        held.weights if held else None,
        held.table if held else None,
        _files_bytes(policy) if probe.ready else None,
        _peak_rss_bytes(),
        torch.cuda.max_memory_allocated() if probe.device == "cuda" else None,
        bool(policy.requirements.cameras),
        policy.inference_note(),
        tuple(served),
        None if server is None else _server_rss_bytes(server),
    )


def _policy(probe: Probe, card: CheckpointCard) -> Policy:
    if probe.ready is None:
        return load_checkpoint(Path(probe.folder), probe.device, probe.runtime)
    policy = build_policy(card.task, card.policy, {**card.config, **probe.runtime}, card.policy)
    policy.place(probe.device)
    return adapted(policy, as_adapter(card.adapter or None))


def _timed(policy: Policy, observation: Observation, timeout: float) -> float:
    """Return the seconds of one decision."""
    with decision_limit(timeout):
        # A decision is NumPy arrays, so a GPU has finished too.
        began = time.perf_counter()
        policy.act(observation, [0])
        return time.perf_counter() - began


def _observations(policy: Policy, image_size: tuple[int, int], state_dim: int) -> Iterator[Observation]:
    """Yield random observations of one slot, without end."""
    rng, needs = np.random.default_rng(1), policy.requirements
    shape = (1, needs.obs_horizon, *image_size, 3)
    pose = rng.uniform(-1, 1, (1, needs.obs_horizon, policy.task.agent_pos_dim)).astype(np.float32)
    state = rng.uniform(-1, 1, (1, needs.obs_horizon, state_dim)).astype(np.float32) if state_dim else None
    while True:
        yield Observation({c: rng.integers(0, 256, shape, np.uint8) for c in needs.cameras}, pose, state)


def _disk_bytes(folder: Path) -> int:
    """Return the bytes of a checkpoint's files, without the folder of training logs."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _files_bytes(policy: Policy) -> int | None:
    """Return the bytes of the files and folders that a policy reads; None without any."""
    named = [Path(path).expanduser() for path in policy.files()]
    parts = [part for path in named for part in ([path] if path.is_file() else path.rglob("*"))]
    return sum(part.stat().st_size for part in parts if part.is_file()) if named else None


def _peak_rss_bytes(pid: int | str = "self") -> int:
    """Return the high-water mark of memory of a process, this one by default."""
    # Not ru_maxrss: a child process inherits its parent's.
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AltbenchError(f"no VmHWM in /proc/{pid}/status; memory can be measured on Linux only")


def _server_rss_bytes(pid: int) -> int | None:
    """Return the peak memory of a policy's server; None if it does not run here."""
    with suppress(OSError, AltbenchError):
        return _peak_rss_bytes(pid)
    return None


def _empty_process_bytes() -> int:
    """Return the high-water mark of an interpreter that does nothing."""
    code = "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')][0])"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024


if __name__ == "__main__":
    end_with(os.getppid())
    answer(json.dumps(dataclasses.asdict(_measure_here(Probe(**json.loads(sys.argv[1]))))))
