"""What `altbench run`, `list`, `video` and `bench` do, once the command line has been understood."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from altbench.cli.console import make_console
from altbench.core import registry
from altbench.core.errors import ConfigError
from altbench.core.spec import read_toml
from altbench.sweeps.kept import load_kept
from altbench.sweeps.spec import BUILT_IN_SWEEPS, PolicyEntry, SweepSpec, load_sweep
from altbench.system.devices import require_renderer, resolve_device


def run(name: str, out: Path | None, workers: int | None, dry_run: bool, extra: list[str]) -> None:
    """Run the sweep called `name` into `out`, with the policies `extra` (`file.py:Class`) beside its own."""
    console = make_console()
    sweep = with_policies(load_kept(Path(name)) if name.endswith(".json") else load_sweep(name), extra)
    root = out or Path("results") / sweep.name
    if dry_run:
        _show_plan(sweep, root, console)
        return
    failed = _run(sweep, root, workers, console)
    raise typer.Exit(1 if failed else 0)


def _run(sweep: SweepSpec, root: Path, workers: int | None, console: Console) -> bool:
    """Run everything and show what came out; whether anything failed for good."""
    from altbench.report import outputs
    from altbench.runner import main

    require_renderer()  # where there is none, say so first
    console.print(f"[bold]{sweep.name}[/] {sweep.description}", highlight=False)
    console.print(f"writing to {root}", highlight=False, soft_wrap=True)
    try:
        summary = main.run(sweep, root, workers, console)
    except KeyboardInterrupt:
        console.print("\nstopped; the same command goes on where this stopped")
        raise typer.Exit(130) from None
    outputs.show(root, summary.plan, console, summary.recorded)
    console.print(
        f"{summary.ran} cells run, {summary.found} found finished; everything is in {root}",
        highlight=False,
        soft_wrap=True,
    )
    for job, reason in summary.failed:
        console.print(f"[red]failed[/] {job}: {reason}", highlight=False)
    return bool(summary.failed)


def _show_plan(sweep: SweepSpec, root: Path, console: Console) -> None:
    """List what a sweep would do in `root`, and what is there already; AltbenchError where the run would be refused."""
    from altbench.runner import context, dry_run
    from altbench.system.files import check_folder

    check_folder(root)
    setting, plan, lacking = context.open_plan(sweep, root, registry.select_backend())
    dry_run.show_plan(console, setting, plan)
    for line in (*lacking, f"in {root}"):
        console.print(line, highlight=False, soft_wrap=True)


def with_policies(sweep: SweepSpec, extra: list[str]) -> SweepSpec:
    """`sweep` with each of `extra` (`file.py:Class`) as one more policy, at the largest N, in every evaluation."""
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
    """Print what is registered."""
    console = make_console()
    tasks = Table("task", "horizon", "grid", "splits", title="Tasks")
    for name in registry.names("task"):
        task = registry.task(name)
        tasks.add_row(name, f"{task.horizon} steps", f"{task.grid_size} poses", ", ".join(task.splits))
    policies = Table("policy", "presets", "what it is", title="Policies")
    for name in registry.names("policy"):
        cls = registry.policy(name)
        policies.add_row(name, ", ".join(cls.presets), _first_line(cls))
    perturbations = Table("perturbation", "what it is", title="Perturbations (severity 0 to 5)")
    for name in registry.names("perturbation"):
        perturbations.add_row(name, _first_line(registry.perturbation(name)))
    sweeps = Table("sweep", "what it is", title="Sweeps")
    for path in sorted(BUILT_IN_SWEEPS.glob("*.toml")):
        sweeps.add_row(path.stem, str(read_toml(path).get("description", "")))
    for table in (tasks, policies, perturbations, sweeps):
        console.print(table)


def _first_line(kind: type) -> str:
    """Of its docstring, as rich prints it literally; empty where it has none."""
    return escape(next(iter((kind.__doc__ or "").strip().splitlines()), ""))


def video(cell: str, root: Path, episodes: int, out: Path | None) -> None:
    """Play recorded episodes again and write them as one mp4."""
    from altbench.runner.film import write_video

    require_renderer()
    path = write_video(root, cell, episodes, out)
    Console().print(f"wrote {path}", highlight=False)


def bench_policies(
    preset: str, policies: list[str], decisions: int, threads: int, device: str, out: Path | None
) -> None:
    """Measure untrained policies at both image sizes and print latency, memory and the two ratios."""
    from altbench.measure import policies as bench

    bench.policies(make_console(), preset, policies, decisions, threads, resolve_device(device), out)
