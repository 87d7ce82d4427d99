"""`altbench bench`: what a decision and an episode cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from altbench.cli.help import App

app = App(
    help="Measure what a decision and an episode cost: time and memory.\n\n"
    "Examples: `altbench bench policies --preset small`; `altbench bench rollout`.",
)


@app.command("policies")
def bench_policies(
    preset: Annotated[str, typer.Option(help="The policies' preset: small or published_size.")] = "published_size",
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="A policy to measure, perhaps with its own preset (alt:compact), ./file.py:Class, or a server's ws:// "
            "URL; repeatable; default diffusion, bc, alt, and with --preset published_size also alt:compact."
        ),
    ] = None,
    decisions: Annotated[int, typer.Option(min=1, help="Decisions to time for each policy.")] = 10,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Also write the tables into this folder.")] = None,
) -> None:
    """Measure the time of a decision and the memory of policies, at 84×84 and 240×320.

    The last table compares them with the paper's ratios. Weights are random: neither
    time nor memory depends on what a policy has learned. A server is measured as it is, at
    Lift's observations.

    - `altbench bench policies --preset small`
    - `altbench bench policies --policy alt --policy ./mine.py:MyPolicy --threads 1 --out results/mine`
    """
    from altbench.cli import run as commands

    commands.bench_policies(preset, policy or [], decisions, threads, device, out)


@app.command("rollout")
def bench_rollout(
    task: Annotated[str | None, typer.Option(help="The task to play; default Lift.")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of each kind.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Also write the table into this folder.")] = None,
) -> None:
    """Compare the speed of altbench's rollouts with the stock robosuite loop.

    Both play episodes in turn on one core, with images and without. The last table
    shows where altbench's time goes: physics, controller, rendering, the rest. A round
    takes about half a minute.

    - `altbench bench rollout --task Stack --episodes 5`
    """
    from altbench.measure import speed as bench
    from altbench.measure.standard import standard
    from altbench.system.console import make_console

    bench.rollout(make_console(), task or standard().task, episodes, out)
