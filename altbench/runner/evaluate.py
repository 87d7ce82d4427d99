"""Playing one policy on one task from a script: the same episodes as a sweep's, in this process."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from altbench.core import registry
from altbench.core.catalogue import make_policy
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError, UnknownNameError
from altbench.core.perturbation import AnyPerturbation
from altbench.core.policy import Policy, Trainable, check_fit
from altbench.core.spec import canonical
from altbench.core.task import TaskInfo
from altbench.core.types import ControlMode, ObsType, RenderProfile
from altbench.dataset.cached import collect
from altbench.dataset.files import read
from altbench.dataset.subsets import subset
from altbench.report.table import percentage
from altbench.results.frames import episodes_frame
from altbench.rollout.episode import make_env, run_episode
from altbench.rollout.limits import LONGEST_DECISION_S
from altbench.rollout.records import CellHeader, EpisodeRecord
from altbench.runner.episodes import plan_episode
from altbench.runner.function_policy import Act, FunctionPolicy
from altbench.stats.rates import success_rate
from altbench.sweeps.needs import CALIBRATE, FROM_DEMONSTRATIONS, task_split
from altbench.system.console import counted, make_console, say
from altbench.system.workers import refuse_second_import

N = 30
"""How many demonstrations are collected when none are given: a whole pass over every task's grid."""


def evaluate(
    policy: Policy | Act | str,
    task: str,
    *,
    split: str = "uniform",
    episodes: int = 50,
    demonstrations: Path | str | Sequence[Demonstration] | None = None,
    perturbation: AnyPerturbation | None = None,
    seed: int = 0,
    control_mode: ControlMode = "ee_pose",
    obs_type: ObsType = "pixels",
    image_size: tuple[int, int] = (84, 84),
    render_profile: RenderProfile = "fast",
    horizon: int | None = None,
    decision_timeout_s: float = 60.0,
    quiet: bool = False,
) -> pd.DataFrame:
    """Play episodes of one policy on one task, print its success, and return a row per episode.

    `policy`: a `Policy` that is ready to act, the name of one that needs no training, or
    any function `f(observation) -> action`. A function gets the latest observation as the
    environment gives it, {"pixels": {camera: uint8 (H, W, 3)}, "agent_pos": float32 (Dp,)}
    (`obs_type="state"`: "environment_state" in place of "pixels"), and answers float32
    (Da,) in `control_mode`; it is asked at every control step.

    The episodes are those of a sweep with the same `seed`, so the result can stand beside
    its tables. `recall` and `replay` begin from `demonstrations`: a file, a list, or the
    task's 30 of seed 0, which are collected once into a cache whose place is printed.
    `replay` plays each at most once. `perturbation`: `altbench.make_perturbation(...)`.
    `image_size`: (H, W) in pixels. `horizon`: the control steps after which an episode
    ends; None: the task's own. The frame has the columns of
    `altbench.results.load_episodes`; a policy that fails is a row with its status, never
    an exception. Raise ConfigError or ContractError before the first episode if the
    arguments do not fit.
    """
    refuse_second_import("altbench.evaluate")
    info = registry.task(task)
    ready, label = _policy(policy, info, control_mode, obs_type)
    _check(info, split, episodes, horizon, decision_timeout_s)
    check_fit(ready.requirements, info, image_size, label)
    starts = _starts(info, split, demonstrations, seed, image_size, render_profile)
    if split == "replay" and episodes > len(starts):
        raise ConfigError(
            f"replay plays each demonstration once: expected up to {len(starts)} episodes, got {episodes}"
        )
    records: list[EpisodeRecord] = []
    env = make_env(info, ready.requirements, image_size, render_profile, horizon)
    try:
        for index in counted(range(episodes), f"{info.name} {split}", quiet=quiet):
            plan = plan_episode(seed, index, split, starts, perturbation=perturbation)
            records.append(run_episode(env, ready, plan, decision_timeout_s))
    finally:
        env.close()
        if isinstance(policy, str):  # a policy of the caller's own stays as it is
            ready.close()
    frame = episodes_frame(_header(info, label, split, perturbation, len(starts), seed), records)
    if not quiet:
        say(make_console(), _summary(frame, f"{label} on {info.name}, {split}"), wrap=False)
    return frame


def _policy(policy: Policy | Act | str, info: TaskInfo, mode: ControlMode, obs_type: ObsType) -> tuple[Policy, str]:
    """Return a policy that is ready to act, and what tables call it."""
    if isinstance(policy, str):
        made = make_policy(policy, info.name)
        if isinstance(made, Trainable):
            raise ConfigError(
                f"policy {policy!r} must be trained first: expected a fitted policy; "
                f"altbench.make_policy({policy!r}, {info.name!r}), then its `fit`"
            )
        made.place("cpu")
        return made, policy.partition("://")[2] if registry.is_url(policy) else policy.rpartition(":")[2]
    if isinstance(policy, Policy):
        return policy, getattr(policy, "name", type(policy).__name__)
    if inspect.isclass(policy) or not callable(policy):
        raise ConfigError(f"policy: expected a Policy, a function or a registered name, got {policy!r}")
    return FunctionPolicy(info, policy, mode, obs_type), getattr(policy, "__name__", type(policy).__name__)


def _check(info: TaskInfo, split: str, episodes: int, horizon: int | None, timeout: float) -> None:
    if task_split(split) not in info.splits:
        raise UnknownNameError(f"split of {info.name}", split, (*info.splits, CALIBRATE))
    if episodes < 1:
        raise ConfigError(f"episodes: expected at least 1, got {episodes}")
    if horizon is not None and horizon < 1:
        raise ConfigError(f"horizon: expected at least 1 control step, got {horizon}")
    if not 0 < timeout <= LONGEST_DECISION_S:
        limits = f"expected seconds over 0 and up to {LONGEST_DECISION_S:g}"
        raise ConfigError(f"decision_timeout_s: {limits}, got {timeout}")


def _starts(
    info: TaskInfo,
    split: str,
    demonstrations: Path | str | Sequence[Demonstration] | None,
    seed: int,
    image_size: tuple[int, int],
    render_profile: RenderProfile,
) -> Sequence[Demonstration]:
    """Return the demonstrations that the episodes begin from, in a sweep's order."""
    if split not in FROM_DEMONSTRATIONS:
        return ()
    if demonstrations is None:
        given = collect(info.name, N, image_size=image_size, render_profile=render_profile)
    elif isinstance(demonstrations, Path | str):
        given = read(demonstrations, info.name).demonstrations
    else:
        given = tuple(demonstrations)
    if not given:
        raise ConfigError(f"{split} begins from demonstrations: expected at least one, got none")
    return subset(given, len(given), info.grid_size, seed)


def _header(
    info: TaskInfo, label: str, split: str, perturbation: AnyPerturbation | None, n: int, seed: int
) -> CellHeader:
    """Describe the episodes as a cell; without keys, since nothing is stored under them."""
    severity = 0 if perturbation is None else perturbation.severity
    condition = "clean" if severity == 0 or perturbation is None else perturbation.name
    suffix = condition if severity == 0 else f"{condition}-{severity}"
    return CellHeader(
        key="",
        name=f"{info.name.lower()}/{label}/n{n}/s0/{split}/{suffix}",
        task=info.name,
        label=label,
        policy=label,
        preset="",
        n=n,
        train_seed=0,
        split=split,
        perturbation=condition,
        severity=severity,
        checkpoint_key="",
        spec_json=canonical({"seed": seed}),  # it orders the demonstrations
    )


def _summary(frame: pd.DataFrame, what: str) -> str:
    """Say the success with its interval, and every episode that did not end as one should."""
    rate = success_rate(frame)
    lines = [f"{what}: no episode could be played"]
    if rate.value is not None and rate.low is not None and rate.high is not None:
        interval = f"[{percentage(rate.low)}, {percentage(rate.high)}]"
        lines = [f"{what}: {rate.successes} of {rate.episodes} succeed, {percentage(rate.value)} % {interval}"]
    wrong = frame[frame["status"] != "ok"]
    for status, group in wrong.groupby("status", sort=True):
        lines.append(f"  {len(group)} ended with {status}; the first: {group['message'].iloc[0]}")
    return "\n".join(lines)
