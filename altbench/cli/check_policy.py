"""`altbench check-policy`: the contract of a policy, part by part, in words."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from altbench.core.demonstration import Demonstration
    from altbench.core.policy import Observation, Policy
    from altbench.results.targets import Target

TARGET = "./file.py:Class, a checkpoint's folder, a registered name, or a server's URL (ws://...)."
SLOTS = 4
"""How many observations the policy is tried on."""


def check_policy(
    target: Annotated[str, typer.Argument(help=TARGET, show_default=False)],
    task: Annotated[str | None, typer.Option(help="The task that it acts in; a checkpoint knows its own.")] = None,
    demos: Annotated[
        Path | None,
        typer.Option(help="Demonstrations to fit a policy that learns to; default: 30, collected once into a cache."),
    ] = None,
    image_size: Annotated[int, typer.Option(min=8, max=4096, help="Height and width of the images in pixels.")] = 84,
    preset: Annotated[str, typer.Option(help="A preset of the policy's.", show_default=False)] = "",
) -> None:
    """Check a policy against the contract, part by part, before you run a sweep.

    It is tried on the first observations of four episodes, or on those of `--demos`. A
    policy that learns is fitted to demonstrations first. Exit status 1: it breaks the
    contract; the first fault is printed.

    - `altbench check-policy ./mine.py:MyPolicy --task Lift`
    - `altbench check-policy results/quick/checkpoints/lift-bc-n30-s0-...`
    - `altbench check-policy ws://127.0.0.1:8000 --task Lift`
    """
    from altbench.core.errors import AltbenchError, ContractError
    from altbench.core.policy import check_fit
    from altbench.results.targets import find_target

    found = find_target(target, task, preset=preset)
    with closing(found.policy) as policy:
        size = found.image_size or (image_size, image_size)
        check_fit(policy.requirements, policy.task, size, target)
        typer.echo(f"{target} on {policy.task.name}")
        shown = _demonstrations(found, demos, size)
        try:
            _check(policy, found, shown, size)
        except ContractError as error:
            typer.echo(f"  broken: {error}")
        except AltbenchError as error:
            typer.echo(f"  broken: it fails: {error}")
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            text = " ".join(str(error).split())
            typer.echo(f"  broken: it raises {type(error).__name__}: {text} ({place.filename}, line {place.lineno})")
        else:
            typer.echo("It keeps the contract.")
            return
    raise typer.Exit(1)


def _check(policy: Policy, found: Target, shown: Sequence[Demonstration], size: tuple[int, int]) -> None:
    """Fit the policy if it learns, then print each part of the contract that it keeps."""
    from altbench.checks.policy import kept_checks
    from altbench.core.policy import FitContext, Trainable

    if found.needs_fit and isinstance(policy, Trainable):
        policy.fit(shown, FitContext(seed=0))
        typer.echo(f"  kept:   it is fitted to {len(shown)} demonstrations")
    for words in kept_checks(policy, shown or _first_observations(policy, size)):
        typer.echo(f"  kept:   {words}")
    if note := policy.inference_note():
        typer.echo(f"  note:   {note}")


def _demonstrations(found: Target, file: Path | None, size: tuple[int, int]) -> Sequence[Demonstration]:
    """Return the demonstrations that the check needs or was given; none if it needs none."""
    from altbench.dataset.cached import collect, read_demonstrations

    name = found.policy.task.name
    if file is not None:
        return read_demonstrations(file, name)
    if not found.needs_fit:
        return ()
    print(
        f"a policy that learns: it is fitted to 30 demonstrations of {name} first (--demos names others)",
        file=sys.stderr,
    )
    return collect(name, 30, image_size=size)


def _first_observations(policy: Policy, size: tuple[int, int]) -> Observation:
    """Return the first observations of `SLOTS` episodes as one batch."""
    import numpy as np

    from altbench.core.policy import Observation
    from altbench.core.seeds import derive_seed
    from altbench.rollout.chunking import ChunkWrapper, as_batch
    from altbench.rollout.episode import make_env, only_required
    from altbench.system.devices import require_renderer

    needs = policy.requirements
    if needs.cameras:
        require_renderer()
    env = make_env(policy.task, needs, size, "fast")
    try:
        chunked = ChunkWrapper(env, needs.obs_horizon, needs.action_horizon, pixels=bool(needs.cameras))
        seeds = [derive_seed(0, "evaluate", index) for index in range(SLOTS)]
        seen = [only_required(as_batch(chunked.reset(seed=seed)[0]), needs) for seed in seeds]
    finally:
        env.close()
    states = [one.environment_state for one in seen if one.environment_state is not None]
    return Observation(
        {camera: np.concatenate([one.pixels[camera] for one in seen]) for camera in needs.cameras},
        np.concatenate([one.agent_pos for one in seen]),
        np.concatenate(states) if states else None,
    )
