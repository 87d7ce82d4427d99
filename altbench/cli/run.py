"""The work of `altbench run`, `list`, `video` and `bench policies`."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from altbench.core import registry
from altbench.core.errors import ConfigError
from altbench.core.spec import read_toml
from altbench.sweeps.kept import load_kept
from altbench.sweeps.spec import BUILT_IN_SWEEPS, PolicyEntry, SweepSpec, load_sweep
from altbench.system.console import FittingTable, make_console, say, show
from altbench.system.devices import require_renderer, resolve_device


def run(name: str, out: Path | None, workers: int | None, dry_run: bool, extra: list[str]) -> None:
    """Run the sweep `name` into `out`, or list its work for a dry run.

    `extra`: policies as `file.py:Class`, beside the sweep's own.
    """
    console = make_console()
    sweep = with_policies(load_kept(Path(name)) if name.endswith(".json") else load_sweep(name), extra)
    root = out or Path("results") / sweep.name
    if dry_run:
        _show_plan(sweep, root, console)
        return
    failed = _run(sweep, root, workers, console)
    raise typer.Exit(1 if failed else 0)


def _run(sweep: SweepSpec, root: Path, workers: int | None, console: Console) -> bool:
    """Run all of the sweep and show its tables; return whether anything failed."""
    from altbench.report import outputs
    from altbench.runner import main

    require_renderer()  # before any work
    say(console, (sweep.name, "bold"), f" {sweep.description}")
    say(console, f"writing to {root}", wrap=False)
    try:
        summary = main.run(sweep, root, workers, console)
    except KeyboardInterrupt:
        say(console, "\nstopped; the same command goes on where this stopped")
        raise typer.Exit(130) from None
    outputs.show(summary.run, console)
    line = f"{summary.ran} cells run, {summary.found} found finished; everything is in {root}"
    say(console, line, wrap=False)
    for job, reason in summary.failed:
        say(console, ("failed", "red"), f" {job}: {reason}")
    return bool(summary.failed)


def _show_plan(sweep: SweepSpec, root: Path, console: Console) -> None:
    """List the sweep's work, and how much of it is already in `root`.

    Raise AltbenchError if the run would be refused.
    """
    from altbench.results.run import Run
    from altbench.runner import dry_run
    from altbench.system.files import check_folder

    check_folder(root)
    opened = Run.open(root, sweep)
    dry_run.show_plan(console, opened)
    for line in (*opened.lacking, f"in {root}"):
        say(console, line, wrap=False)


def with_policies(sweep: SweepSpec, extra: list[str]) -> SweepSpec:
    """Return `sweep` with each of `extra` (`file.py:Class`) as one more policy.

    Each has the sweep's largest N and takes part in every evaluation.
    """
    for spec in extra:
        policy = registry.policy(spec)
        n = (max(n for entry in sweep.policies for n in entry.n),)
        entry = PolicyEntry(policy=spec, preset=next(iter(policy.presets), "small"), n=n)
        if entry.name in [p.name for p in sweep.policies]:
            raise ConfigError(f"--policy {spec}: the sweep already has a policy called {entry.name!r}")
        evaluations = [
            e if e.policies is None else e.model_copy(update={"policies": (*e.policies, entry.name)})
            for e in sweep.evaluations
        ]
        sweep = sweep.model_copy(update={"policies": (*sweep.policies, entry), "evaluations": tuple(evaluations)})
    return sweep


def list_names() -> None:
    """Print what is registered, and the built-in sweeps."""
    policies = FittingTable(("policy", "presets", "what it is"), "Policies", prose=[1, 2])
    for name in registry.names("policy"):
        cls = registry.policy(name)
        policies.add(name, ", ".join(cls.preset_names()), _first_line(cls))
    perturbations = FittingTable(("perturbation", "what it is"), "Perturbations (severity 0 to 5)", prose=[1])
    for name in registry.names("perturbation"):
        perturbations.add(name, _first_line(registry.perturbation(name)))
    sweeps = FittingTable(("sweep", "what it is"), "Sweeps", prose=[1])
    for path in sorted(BUILT_IN_SWEEPS.glob("*.toml")):
        sweeps.add(path.stem, str(read_toml(path).get("description", "")))
    show(make_console(), _tasks_table(), policies, perturbations, sweeps)


def _tasks_table() -> FittingTable:
    """Return the tasks; splits that all of them have are said once, in the note."""
    tasks = [registry.task(name) for name in registry.names("task")]
    same = len({task.splits for task in tasks}) == 1
    note = f"Every task has the splits {', '.join(tasks[0].splits)}." if same else ""
    table = FittingTable(("task", "horizon", "grid", *(() if same else ("splits",))), "Tasks", note, prose=[3])
    for task in tasks:
        splits = () if same else (", ".join(task.splits),)
        table.add(task.name, f"{task.horizon} steps", f"{task.grid_size} poses", *splits)
    return table


def _first_line(kind: type) -> str:
    """Return a docstring's first line; empty without a docstring."""
    return next(iter((kind.__doc__ or "").strip().splitlines()), "")


def video(cell: str, root: Path, episodes: int, out: Path | None) -> None:
    """Replay recorded episodes of `cell` and write them as one mp4."""
    from altbench.runner.film import write_video

    require_renderer()
    path = write_video(root, cell, episodes, out)
    say(make_console(), f"wrote {path}", wrap=False)


def bench_policies(
    preset: str, policies: list[str], decisions: int, threads: int, device: str, out: Path | None
) -> None:
    """Measure untrained policies; print latency, memory and the ratios of both."""
    from altbench.measure import policies as bench
    from altbench.measure.standard import standard

    names = policies or standard().policies_at(preset)
    bench.policies(make_console(), preset, names, decisions, threads, resolve_device(device), out)
