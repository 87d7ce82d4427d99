"""The engines by name: each finishes a sweep and returns the same summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from altbench.core.errors import AltbenchError, ConfigError
from altbench.core.spec import Spec
from altbench.engines.offer import Offer, load_offer, make_offer
from altbench.engines.room import check_room
from altbench.engines.settings import RaySettings, SlurmSettings, read_settings
from altbench.engines.together import Terms, wait_until_drawn, work
from altbench.results.run import Run
from altbench.runner import main
from altbench.runner.executors import make_executor
from altbench.runner.main import Summary
from altbench.runner.progress import Board
from altbench.sweeps.spec import SweepSpec
from altbench.system.console import make_console, say
from altbench.system.devices import require_renderer
from altbench.system.fingerprint import usable_cores
from altbench.system.workers import refuse_second_import


@dataclass(frozen=True)
class Engine:
    """How a run is to be done: an engine's name, its settings, and what else holds.

    `workers`: as `runner.main.run` takes it. `mixed`: whether machines of several
    classes may take part.
    """

    name: str = "local"
    settings: Sequence[str] = ()
    workers: int | None = None
    mixed: bool = False

    def checked(self) -> Spec:
        """Return the settings, checked; ConfigError for what the engine does not take."""
        if self.name in ("ray", "slurm") and self.workers is not None:
            raise ConfigError(f"--workers: the executor {self.name} has none; use --engine, such as --engine cpus=8")
        if self.name == "local" and self.mixed:
            raise ConfigError("--allow-mixed: the executor local is one machine; leave it out")
        return read_settings(self.name, self.settings)


def run_on(engine: Engine, sweep: SweepSpec, root: Path | str, console: Console | None = None) -> Summary:
    """Run `sweep` under `root` on an engine; as `runner.main.run` otherwise."""
    settings, root = engine.checked(), Path(root).absolute()
    refuse_second_import("altbench.run")
    shown = console or make_console(quiet=True)
    if engine.name == "local":
        return main.run(sweep, root, engine.workers, shown)
    if isinstance(settings, RaySettings):
        from altbench.engines.ray_engine import run_on_ray

        return run_on_ray(settings, sweep, root, shown, engine.mixed)
    renderer = require_renderer()
    begun = Run.open(root, sweep, renderer)  # every name and setting is checked
    if isinstance(settings, SlurmSettings):
        from altbench.engines.slurm_engine import run_on_slurm

        return run_on_slurm(settings, begun, sweep, shown, engine.mixed)
    return _run_with_workers(engine, begun, sweep, shown)


def _run_with_workers(engine: Engine, begun: Run, sweep: SweepSpec, console: Console) -> Summary:
    """Offer the run to workers, and be one of them."""
    offer = make_offer(begun.root, sweep, engine.mixed)
    check_room(begun)
    say(console, f"any number of terminals and machines may join: altbench worker {begun.root}", wrap=False)
    terms = Terms(mixed=engine.mixed)
    take_part(offer, engine.workers, console, begun.renderer, terms)
    return wait_until_drawn(offer, Board(console), begun.renderer, terms, lambda: None)


def take_part(offer: Offer, workers: int | None, console: Console, renderer: str, terms: Terms) -> dict[str, str]:
    """Work on an offered run with `workers` processes until nothing is left; return what
    failed, with reasons.
    """
    executor = make_executor(usable_cores() if workers is None else workers)
    try:
        return dict(work(offer, executor, Board(console, executor.threads), renderer, terms))
    finally:
        executor.close()


def run_worker(
    root: Path | str,
    shard: str = "",
    workers: int | None = None,
    console: Console | None = None,
    *,
    mixed: bool = False,
    expected: str = "",
) -> dict[str, str]:
    """Join the run that is offered in `root`, as `altbench worker` does.

    Return what failed, with reasons. `expected`: the id of the run that must be there.
    """
    refuse_second_import("altbench worker")
    root, shown = Path(root).absolute(), console or make_console(quiet=True)
    offer = load_offer(root, expected)
    if offer.is_drawn:
        say(shown, f"nothing is left of {offer.sweep.name!r} in {root}", wrap=False)
        return {}
    if shard and "/" not in shard:
        raise AltbenchError(f"--shard: expected i/n, such as 2/8, got {shard!r}")
    return take_part(offer, workers, shown, require_renderer(), Terms(shard=shard, mixed=mixed))
