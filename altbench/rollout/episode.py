"""The episode loop, from which every success rate comes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gymnasium

from altbench.core.policy import Decision, Observation, Policy, Requirements, as_float32, check_decision
from altbench.core.task import TaskInfo, task_of
from altbench.rollout.chunking import ChunkWrapper, as_batch
from altbench.rollout.faults import PolicyError, ending, policy_at_fault
from altbench.rollout.limits import EPISODE_TIMEOUT_S, Limits
from altbench.rollout.perturber import EpisodePerturber
from altbench.rollout.plan import EpisodePlan
from altbench.rollout.records import DecisionRecord, EpisodeRecord, PerturbationStatus, Status, StepRecord
from altbench.rollout.watch import Watch

PROTOCOL_VERSION = 1
"""The version of the episode loop, part of every cell's key.

Raise it when what an episode computes changes.
"""


class CastWarning(UserWarning):
    """A policy's actions are not float32, and are cast."""


@dataclass
class _Log:
    """What an episode has recorded so far.

    It is filled while the episode runs, so that an error keeps what came before it.
    """

    watch: Watch
    decisions: list[DecisionRecord] = field(default_factory=list)
    trajectory: list[StepRecord] = field(default_factory=list)
    thresholds: set[float] = field(default_factory=set)
    moved: bool | None = None
    success: bool = False
    total_reward: float = 0.0
    perturbation: PerturbationStatus | None = None


def make_env(
    task: TaskInfo,
    needs: Requirements,
    image_size: tuple[int, int],
    render_profile: str,
    horizon: int | None = None,
) -> gymnasium.Env[Any, Any]:
    """Make the task's environment with a policy's observations and control mode.

    `horizon`: the control steps after which an episode ends; None: the task's own.
    """
    obs_type = "pixels" if needs.cameras else "state"
    rendering: dict[str, Any] = {"render_profile": render_profile, "image_size": image_size} if needs.cameras else {}
    limit: dict[str, Any] = {} if horizon is None else {"max_episode_steps": horizon}
    return gymnasium.make(
        task.env_id, disable_env_checker=True, obs_type=obs_type, control_mode=needs.control_mode, **rendering, **limit
    )


def state_length(env: gymnasium.Env[Any, Any]) -> int:
    """Return the length of `environment_state`; 0 for an environment that shows images."""
    space = env.observation_space
    named = space.spaces if isinstance(space, gymnasium.spaces.Dict) else {}
    shape = named["environment_state"].shape if "environment_state" in named else None
    return shape[0] if shape else 0


def run_episode(
    env: gymnasium.Env[Any, Any],
    policy: Policy,
    plan: EpisodePlan,
    decision_timeout_s: float = 60.0,
    watch: Watch | None = None,
    episode_timeout_s: float = EPISODE_TIMEOUT_S,
) -> EpisodeRecord:
    """Run one episode to success or the horizon.

    Every error becomes the record's status; no exception is raised, but those that
    `watch` raises. `watch` hears where the episode is and what went wrong.
    """
    log, began = _Log(watch or Watch()), time.perf_counter()
    limits = Limits(decision_timeout_s, episode_timeout_s)
    status: Status = "ok"
    message = ""
    log.watch.enter("simulator")
    try:
        with _perturbed(env, policy, plan, log) as perturber:
            _play(env, policy, plan, perturber, limits, log)
    except Exception as error:
        status, message = ending(error)
        log.watch.caught(error.__cause__ if isinstance(error, PolicyError) and error.__cause__ else error, status)
    log.watch.enter("simulator")
    return _record(plan, log, status, message, time.perf_counter() - began)


@contextmanager
def _perturbed(
    env: gymnasium.Env[Any, Any], policy: Policy, plan: EpisodePlan, log: _Log
) -> Iterator[EpisodePerturber | None]:
    """Yield the episode's perturber; then log its status and restore the scene."""
    perturber = plan.perturber(policy.task, policy.requirements.cameras)
    try:
        yield perturber
    finally:
        if perturber is not None:
            log.perturbation = perturber.status
            perturber.end(task_of(env))


def _play(
    env: gymnasium.Env[Any, Any],
    policy: Policy,
    plan: EpisodePlan,
    perturber: EpisodePerturber | None,
    limits: Limits,
    log: _Log,
) -> None:
    needs = policy.requirements
    chunked = ChunkWrapper(
        env,
        needs.obs_horizon,
        needs.action_horizon,
        pixels=bool(needs.cameras),
        image_filter=perturber.change if perturber else None,
        before_frame=perturber.arrive if perturber else None,
    )
    stacked, _ = chunked.reset(seed=plan.seed, options=dict(plan.options))
    log.watch.enter("reset")
    with limits(), policy_at_fault():
        policy.reset([0], [plan.policy_seed])
    log.watch.enter("simulator")
    done = False
    while not done:
        if perturber:
            perturber.decide()
        decision = _decide(policy, as_batch(stacked), limits, log)
        stacked, reward, terminated, truncated, info = chunked.step(decision.actions[0])
        log.total_reward += float(reward)
        log.success = bool(info["is_success"])
        log.moved = bool(info["moved"]) if "moved" in info else None
        log.trajectory += [
            StepRecord(tuple(map(float, a)), tuple(map(float, p)))
            for a, p in zip(info["executed"], info["agent_pos"], strict=True)
        ]
        done = terminated or truncated


def _decide(policy: Policy, observation: Observation, limits: Limits, log: _Log) -> Decision:
    task, needs = policy.task, policy.requirements
    seen = only_required(observation, needs)
    log.watch.enter("decision")
    # The policy is blamed for its own code alone: not for the bench's timer.
    with limits(), policy_at_fault():
        began = time.perf_counter()
        decision = policy.act(seen, [0])
        latency = time.perf_counter() - began
        decision = _as_float32(policy, decision)
        check_decision(decision, 1, needs.action_horizon, task.action_dim(needs.control_mode))
    log.watch.enter("simulator")
    log.decisions.append(_decision_record(decision, len(log.trajectory), latency))
    if decision.ood_threshold is not None:
        log.thresholds.add(float(decision.ood_threshold[0]))
    return decision


def _as_float32(policy: Policy, decision: Decision) -> Decision:
    """Return the decision with float32 actions; warn, once in a process, if they were not."""
    cast = as_float32(decision)
    if cast is not decision:
        kind = f"{type(policy).__module__}.{type(policy).__qualname__}"
        message = f"{kind}: its actions are {decision.actions.dtype}, and are cast to float32"
        warnings.warn(message, CastWarning, stacklevel=2)
    return cast


def only_required(observation: Observation, needs: Requirements) -> Observation:
    """Return the observation without what the policy does not require."""
    pixels = {camera: observation.pixels[camera] for camera in needs.cameras}
    return Observation(pixels, observation.agent_pos, observation.environment_state if needs.needs_state else None)


def _decision_record(decision: Decision, step: int, latency: float) -> DecisionRecord:
    return DecisionRecord(
        step=step,
        latency_s=latency,
        ood_score=None if decision.ood_score is None else float(decision.ood_score[0]),
        is_ood=None if decision.is_ood is None else bool(decision.is_ood[0]),
        matches=() if decision.matches is None else tuple((int(e), int(f)) for e, f in decision.matches[0]),
        similarities=() if decision.similarities is None else tuple(map(float, decision.similarities[0])),
    )


def _record(plan: EpisodePlan, log: _Log, status: Status, message: str, wall: float) -> EpisodeRecord:
    scores = [d.ood_score for d in log.decisions if d.ood_score is not None]
    return EpisodeRecord(
        episode=plan.index,
        seed=plan.seed,
        status=status,
        success=log.success and status == "ok",
        steps=len(log.trajectory),
        episode_return=log.total_reward,
        max_ood_score=max(scores, default=None),
        first_flagged_step=next((d.step for d in log.decisions if d.is_ood), None),
        wall_s=wall,
        message=message,
        decisions=tuple(log.decisions),
        trajectory=tuple(log.trajectory),
        perturbation_status=log.perturbation,
        ood_threshold=next(iter(log.thresholds)) if len(log.thresholds) == 1 else None,
        moved=log.moved,
    )


def failed_episode(plan: EpisodePlan, status: Status, message: str) -> EpisodeRecord:
    """Return the record of an episode that could not be run."""
    return _record(plan, _Log(Watch()), status, message, 0.0)
