"""Measures what work costs, for dry runs: `python benchmarks/rates.py [--measure]`.

It writes altbench/runner/rates.toml. Episodes, fits and checkpoints come from the
published runs. With `--measure` it also collects a demonstration of each task, fits each
policy for a few steps, plays what no published run has, and times a small sweep. These
are seconds of processor time on one thread, so that other work on the machine does not
change them; it takes about five minutes on an idle core.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w
from rich.console import Console

from altbench import results
from altbench.core import registry
from altbench.core.errors import AltbenchError
from altbench.core.policy import FitContext, Trainable
from altbench.dataset import files
from altbench.dataset.collecting import collect
from altbench.report import outputs
from altbench.results.folder import RunFolder
from altbench.results.run import Run
from altbench.runner.evaluate import evaluate
from altbench.runner.executors import InlineExecutor
from altbench.runner.jobs import Job
from altbench.runner.main import complete
from altbench.runner.progress import Board
from altbench.runner.rates import PATH, Rates, preset_of, steps_of
from altbench.sweeps.overrides import override
from altbench.sweeps.rows import resolve_config
from altbench.sweeps.spec import load_sweep
from altbench.system.devices import require_renderer, set_threads
from altbench.system.fingerprint import machine
from altbench.system.precision import choose_precision

PUBLISHED = Path(__file__).parents[1] / "results"
FEW, MORE = 2, 6
"""Steps of the two short fits whose difference is the time of a step."""
COMPARED = ("alt", "bc", "diffusion")
"""The policies whose steps are timed in both precisions."""
FRAMES = {"demonstrations": 2, "episodes": 3}
"""How much is collected and played."""


def published() -> dict[str, Any]:
    """Return seconds of episodes and of gradient steps, and bytes of checkpoints."""
    episodes: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    steps: dict[str, list[float]] = defaultdict(list)
    fits: dict[str, list[float]] = defaultdict(list)
    sizes: dict[str, list[int]] = defaultdict(list)
    for path in sorted(PUBLISHED.rglob("episodes.parquet")):
        frame = results.load_episodes(path.parent)
        frame = frame[frame.status == "ok"]
        for (task, policy, preset), own in frame.groupby(["task", "policy", "preset"]):
            episodes[task][f"{policy}:{preset}"].append(float(own.wall_s.mean()))
    for folder in sorted(path.parent for path in PUBLISHED.glob("*/measures")):
        entries = {e["label"] or e["policy"]: e for e in json.loads((folder / "sweep.json").read_text())["policies"]}
        for path in sorted((folder / "measures").glob("*.json")):
            measured, entry = json.loads(path.read_text()), entries.get(json.loads(path.read_text())["label"])
            if entry is None or measured["train_seconds"] is None:
                continue
            name, cls = preset_of(measured["policy"], measured["preset"]), registry.policy(measured["policy"])
            config = resolve_config(cls, entry["preset"], entry["config"], name)
            count = steps_of(config, 30 * 35)
            (steps if count else fits)[name].append(measured["train_seconds"] / (count or 1))
            sizes[name].append(measured["disk_bytes"])
    # The least disturbed run counts: other work only ever adds seconds.
    least = {task: {name: min(found) for name, found in sorted(own.items())} for task, own in sorted(episodes.items())}
    return {
        "episodes": least,
        "steps": {name: min(found) for name, found in sorted(steps.items())},
        "fits": {name: max(found) for name, found in sorted(fits.items())},
        "checkpoint_bytes": {name: max(found) for name, found in sorted(sizes.items())},
    }


def busy() -> float:
    """Return the seconds of processor time of this process and of its ended children."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


class _Clock(Board):
    """A board that notes each job's seconds of processor time."""

    def __init__(self) -> None:
        super().__init__(Console(file=io.StringIO()))
        self.seconds: dict[str, list[tuple[Job, float]]] = defaultdict(list)
        self._from = 0.0

    def started(self, job: Job) -> None:
        """Note when a job begins."""
        super().started(job)
        self._from = busy()

    def finished(self, job: Job) -> None:
        """Note what it took."""
        self.seconds[job.kind].append((job, busy() - self._from))
        super().finished(job)


def small_sweep(folder: Path) -> dict[str, Any]:
    """Return what jobs cost beside their episodes and steps, and bytes on disk.

    Cells of one episode and of three differ by two episodes; what is left is the cell's.
    """
    clock, wanted = _Clock(), override(load_sweep("smoke"), only=["kdtree", "random"], splits=["uniform"])
    with RunFolder(folder).locked():
        for count in (1, 3):
            run = Run.begin(folder, override(wanted, episodes=count), require_renderer())
            summary = complete(run, InlineExecutor(), clock)
    seconds = {(job.name, job.units): took for job, took in clock.seconds["cell"]}
    cells = [took - (seconds[name, 3] - took) / 2 for (name, units), took in seconds.items() if units == 1]
    size = sum((folder / "cells" / f"{cell.key}.parquet").stat().st_size for cell in summary.run.plan.cells)
    return {
        "cell_s": max(min(cells), 0.1),  # the other one also loads and compiles
        "measurement_s": statistics.median(took for _, took in clock.seconds["measurement"]),
        "around_s": around(summary.run),
        "step_bytes": size / int(summary.episodes().steps.sum()),
    }


def around(run: Run) -> float:
    """Return what a run takes before and after its jobs: loading, tables and figures."""
    code = "import altbench.runner.worker, altbench.runner.work, torch, robosuite, mujoco"
    began = busy()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    outputs.write(run)
    return busy() - began


def demonstrations(folder: Path) -> dict[str, Any]:
    """Return seconds and frames of a demonstration of each task, and bytes of a pixel."""
    seconds, frames, ratios = {}, {}, []
    for task in registry.names("expert"):
        path = folder / f"{task}.hdf5"
        if not seconds:
            _collecting(task, 1, folder / "first.hdf5")  # compiles what is compiled once
        seconds[task] = _collecting(task, FRAMES["demonstrations"], path) / FRAMES["demonstrations"]
        found = files.info(path)
        frames[task] = statistics.mean(found.lengths)
        height, width = found.meta.image_size
        raw = sum(found.lengths) * len(found.meta.cameras) * height * width * 3
        ratios.append(found.file_bytes / raw)
        print(f"{task}: {seconds[task]:.1f} s a demonstration", flush=True)
    return {"demonstrations": seconds, "frames": frames, "pixel_bytes": statistics.mean(ratios)}


def _collecting(task: str, n: int, path: Path) -> float:
    began = busy()
    collect(task, n, path)
    return busy() - began


def policies(folder: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `published` lacks: a step of each preset's fit, an episode on Lift."""
    path = folder / "few.hdf5"
    collect("Lift", FRAMES["demonstrations"], path)
    shown = files.read(path).demonstrations
    steps, fits, episodes, sizes = {}, {}, {}, {}
    for policy in registry.names("policy"):
        cls = registry.policy(policy)
        for preset in cls.presets or ("small",):
            name = preset_of(policy, preset)
            if name in known["steps"] or name in known["fits"] or preset.startswith("paper"):
                continue  # a step at the paper's size takes seconds on a CPU
            try:
                made, took, whole = _fitted(policy, preset, shown)
            except AltbenchError as error:
                print(f"{name}: left out: {error}", flush=True)
                continue
            if took is not None:
                steps[name] = took
            if isinstance(made, Trainable):
                with tempfile.TemporaryDirectory() as saved:
                    made.save(Path(saved))
                    sizes[name] = sum(p.stat().st_size for p in Path(saved).rglob("*") if p.is_file())
                if took is None:
                    fits[name] = whole
            if name not in known["episodes"]["Lift"]:
                began = busy()
                evaluate(made, "Lift", split="uniform", episodes=FRAMES["episodes"], quiet=True)
                episodes[name] = (busy() - began) / FRAMES["episodes"]
            print(f"{name}: {took} s a step", flush=True)
    return {"steps": steps, "fits": fits, "episodes": {"Lift": episodes}, "checkpoint_bytes": sizes}


def fp32_times(data: Path) -> float:
    """Return how many times as long a gradient step takes in fp32 without bfloat16 instructions as in bf16.

    The median over `COMPARED`. Both are measured in turn, in processes of their own:
    oneDNN reads its limit when torch is loaded.
    """
    ratios = []
    for policy in COMPARED:
        steps = {limit: [_step_elsewhere(policy, data, limit) for _ in range(2)] for limit in ("", "AVX2")}
        ratios.append(min(steps["AVX2"]) / min(steps[""]))
        print(f"{policy}: {ratios[-1]:.2f} times as long in fp32", flush=True)
    return statistics.median(ratios)


def _step_elsewhere(policy: str, data: Path, limit: str) -> float:
    """Return the seconds of a gradient step in a new process whose oneDNN is held to `limit`."""
    command = [sys.executable, __file__, "--step", policy, "--data", str(data)]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": limit}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def _fitted(policy: str, preset: str, shown: Any) -> tuple[Any, float | None, float]:
    """Return a policy after a short fit, the seconds of a step, if it has steps, and of the fit."""
    cls, times = registry.policy(policy), []
    made: Any = None
    for count in (FEW, FEW, MORE):  # the first fit of a process also loads and compiles
        stepped = "train_steps" in cls.config_type.model_fields
        config = resolve_config(cls, preset, {"train_steps": count} if stepped else {}, policy).resolve("cpu")
        made, began = cls(registry.task("Lift"), config), busy()
        if isinstance(made, Trainable):
            made.fit(shown, FitContext(seed=0))
        times.append(busy() - began)
    step = max(times[2] - times[1], 0.0) / (MORE - FEW)
    return made, step if stepped else None, times[-1]


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, tables within tables included; `one` goes before."""
    found = dict(other)
    for key, value in one.items():
        found[key] = merged(value, other.get(key, {})) if isinstance(value, Mapping) else value
    return found


def rounded(value: Any) -> Any:
    """Return numbers with three significant digits."""
    if isinstance(value, Mapping):
        return {key: rounded(one) for key, one in value.items()}
    return float(f"{value:.3g}") if isinstance(value, float) else value


def main() -> None:
    """Write the rates; without `--measure` keep those that were measured before."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure on this machine, too")
    parser.add_argument("--step", help="only print the seconds of a gradient step of this policy")
    parser.add_argument("--data", type=Path, help="demonstrations for --step")
    asked = parser.parse_args()
    set_threads(1)
    if asked.step:
        print(_fitted(asked.step, "small", files.read(asked.data).demonstrations)[1])
        return
    found: dict[str, Any] = published()
    if asked.measure:
        with tempfile.TemporaryDirectory() as folder:
            measured = merged(demonstrations(Path(folder)), policies(Path(folder), found))
            precision = choose_precision("cpu").precision
            compared = {"fp32_times": fp32_times(Path(folder) / "few.hdf5")} if precision == "bf16" else {}
            measured = {**measured, "precision": precision, **compared}
            measured = merged(measured, small_sweep(Path(folder) / "run"))
        found = merged(found, {**measured, "machine": machine("cpu"), "measured": time.strftime("%Y-%m-%d")})
    else:
        found = merged(found, Rates.parse({}, "rates").model_dump() if not PATH.is_file() else _before())
    head = "# What work costs, in seconds and bytes. Written by `python benchmarks/rates.py`.\n\n"
    PATH.write_text(head + tomli_w.dumps(rounded(found)), encoding="utf-8")
    print(pd.DataFrame(found["episodes"]).T.to_string(float_format="%.2f"))


def _before() -> dict[str, Any]:
    import tomllib

    return tomllib.loads(PATH.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
