"""Latency and memory of one decision at batch 1, in a fresh process with a fixed number of threads.

Run as `python -m altbench.measure SPECIFICATION` it is that process: it builds or loads one policy, times its decisions,
and prints what it found as JSON. Peak memory is the process's own high-water mark over that of an empty interpreter.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from altbench import registry
from altbench.api import Demonstration, FitContext, InitialState, Observation, Policy, Trainable
from altbench.checkpoints import load_checkpoint, read_card
from altbench.config import MeasureEntry
from altbench.errors import AltbenchError
from altbench.plan import Checkpoint, resolve_config
from altbench.records import MeasureRecord

TIME_LIMIT_S = 1800.0


@dataclass(frozen=True)
class Probe:
    """What a measuring process is asked: a checkpoint `folder`, or a `policy` to build untrained."""

    decisions: int
    warmup: int
    threads: int
    device: str
    image_size: tuple[int, int]
    folder: str = ""
    task: str = ""
    policy: str = ""
    preset: str = ""
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    frames: int = 40


@dataclass(frozen=True)
class Reading:
    """What a measuring process answers; seconds and bytes."""

    latencies: tuple[float, ...]
    weights_bytes: int
    table_bytes: int
    disk_bytes: int
    peak_rss_bytes: int
    peak_vram_bytes: int | None
    sees_images: bool
    inference: str


def measure_checkpoint(
    folder: Path, checkpoint: Checkpoint, entry: MeasureEntry, device: str, image_size: tuple[int, int]
) -> MeasureRecord:
    """Measure a fitted checkpoint."""
    probe = Probe(
        entry.decisions,
        entry.warmup,
        entry.threads,
        device,
        image_size,
        folder=str(folder),
        policy=checkpoint.policy,
        preset=checkpoint.preset,
    )
    record = measure_probe(probe, checkpoint.label, checkpoint.n)
    return dataclasses.replace(record, train_seconds=read_card(folder).train_seconds)


def measure_probe(probe: Probe, label: str, n: int) -> MeasureRecord:
    """Measure what `probe` names, as a record for the tables."""
    reading = read(probe)
    p50, p95, p99 = (float(np.percentile(reading.latencies, q)) for q in (50, 95, 99))
    return MeasureRecord(
        label=label,
        policy=probe.policy,
        preset=probe.preset,
        n=n,
        device=probe.device,
        threads=probe.threads,
        image_size=probe.image_size if reading.sees_images else None,
        latency_p50_s=p50,
        latency_p95_s=p95,
        latency_p99_s=p99,
        hz=1.0 / p50,
        decisions_timed=len(reading.latencies),
        weights_bytes=reading.weights_bytes,
        table_bytes=reading.table_bytes,
        disk_bytes=reading.disk_bytes,
        peak_rss_bytes=reading.peak_rss_bytes,
        peak_vram_bytes=reading.peak_vram_bytes,
        inference=reading.inference,
        train_seconds=None,
    )


def read(probe: Probe) -> Reading:
    """Ask a fresh process; AltbenchError with its last words where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(probe.threads), "MKL_NUM_THREADS": str(probe.threads)}
    command = [sys.executable, "-m", "altbench.measure", json.dumps(dataclasses.asdict(probe))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=TIME_LIMIT_S, check=False)
    if done.returncode:
        raise AltbenchError(f"measuring failed: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    answer["latencies"] = tuple(answer["latencies"])
    reading = Reading(**answer)
    return dataclasses.replace(reading, peak_rss_bytes=reading.peak_rss_bytes - _empty_process_bytes())


def _measure_here(probe: Probe) -> Reading:
    """The measuring process's work. Inputs are noise: neither time nor memory depends on what an image shows."""
    import torch

    torch.set_num_threads(probe.threads)
    policy, disk = _load(probe) if probe.folder else _untrained(probe)
    observations = _observations(policy, probe.image_size)
    policy.reset([0], [0])
    for _ in range(probe.warmup):
        policy.act(next(observations), [0])
    latencies = tuple(_timed(policy, next(observations)) for _ in range(probe.decisions))
    return Reading(
        latencies,
        policy.footprint().weights,
        policy.footprint().table,
        disk,
        peak_rss_bytes(),
        torch.cuda.max_memory_allocated() if probe.device == "cuda" else None,
        bool(policy.requirements.cameras),
        policy.inference_note(),
    )


def _timed(policy: Policy, observation: Observation) -> float:
    """Seconds of one decision; it returns numpy, so a GPU has finished too."""
    began = time.perf_counter()
    policy.act(observation, [0])
    return time.perf_counter() - began


def _load(probe: Probe) -> tuple[Policy, int]:
    folder = Path(probe.folder)
    return load_checkpoint(folder, probe.device), _disk_bytes(folder)


def _untrained(probe: Probe) -> tuple[Policy, int]:
    """The policy with random weights, and the bytes that its checkpoint takes."""
    cls, task = registry.policy(probe.policy), registry.task(probe.task)
    policy = cls(task, resolve_config(cls, probe.preset, probe.config, f"policy {probe.policy!r}"))
    if not isinstance(policy, Trainable):
        return policy, 0
    policy.fit(noise_demonstrations(policy, probe.image_size, probe.frames), FitContext(seed=0, device=probe.device))
    with tempfile.TemporaryDirectory() as folder:
        policy.save(Path(folder))
        return policy, _disk_bytes(Path(folder))


def _disk_bytes(folder: Path) -> int:
    """Bytes of a checkpoint's own files; training logs, in a folder of their own, do not count."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def noise_demonstrations(policy: Policy, image_size: tuple[int, int], frames: int) -> list[Demonstration]:
    """Two demonstrations of random images and poses, `frames` in all, such as `policy` would be fitted to."""
    rng, needs, task = np.random.default_rng(0), policy.requirements, policy.task
    made = []
    for index in range(2):
        length = frames // 2
        shape = (length, *image_size, 3)
        made.append(
            Demonstration(
                index=index,
                pixels={c: rng.integers(0, 256, shape, np.uint8) for c in needs.cameras or task.cameras},
                agent_pos=rng.uniform(-1, 1, (length, task.agent_pos_dim)).astype(np.float32),
                actions=rng.uniform(-1, 1, (length, task.action_dim(needs.control_mode))).astype(np.float32),
                states=np.zeros((length, 1)),
                initial_state=InitialState(np.zeros(1), np.zeros(len(task.pose_names))),
            )
        )
    return made


def _observations(policy: Policy, image_size: tuple[int, int]) -> Iterator[Observation]:
    """Random observations of one slot, without end."""
    rng, needs = np.random.default_rng(1), policy.requirements
    shape = (1, needs.obs_horizon, *image_size, 3)
    pose = np.zeros((1, needs.obs_horizon, policy.task.agent_pos_dim), np.float32)
    while True:
        yield Observation({c: rng.integers(0, 256, shape, np.uint8) for c in needs.cameras}, pose)


def peak_rss_bytes() -> int:
    """This process's own high-water mark (VmHWM; ru_maxrss would carry over the parent's)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AltbenchError("no VmHWM in /proc/self/status; memory can be measured on Linux only")


def _empty_process_bytes() -> int:
    """The high-water mark of an interpreter that does nothing."""
    code = "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')][0])"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024


def main() -> None:
    """Measure what the specification in the first argument asks for; print the reading as one line of JSON."""
    specification = json.loads(sys.argv[1])
    specification["image_size"] = tuple(specification["image_size"])
    reading = _measure_here(Probe(**specification))
    print(json.dumps(dataclasses.asdict(reading)))


if __name__ == "__main__":
    main()
