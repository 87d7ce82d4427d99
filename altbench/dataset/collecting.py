"""Collecting demonstrations from a task's expert, and replaying them.

Collecting goes on after any interruption. A demonstration ends with the frame whose
action made the task succeed; nothing follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import gymnasium

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError, DatasetError
from altbench.core.task import task_of
from altbench.core.types import ControlMode, Progress, RenderProfile, no_progress
from altbench.dataset.attempts import Watch
from altbench.dataset.collection_plan import MAX_DEMONSTRATIONS, CollectionPlan, Placement, plan_collection
from altbench.dataset.files import Dataset
from altbench.dataset.policy_expert import ExpertChoice
from altbench.dataset.recorder import Recorder
from altbench.system import workers as worker_pool
from altbench.system.workers import refuse_second_import


def collect(
    task_name: str,
    n: int,
    path: Path | str,
    *,
    root_seed: int = 0,
    placement: Placement = "grid",
    image_size: tuple[int, int] = (84, 84),
    render_profile: RenderProfile = "fast",
    workers: int = 0,
    expert: ExpertChoice | None = None,
    control_mode: ControlMode = "ee_pose",
    progress: Progress = no_progress,
    patience_s: float = 0.0,
    watch: Watch | None = None,
) -> Dataset:
    """Collect `n` successful demonstrations into the file `path`; return its contents.

    A failing attempt is repeated with a new seed at the same grid pose. An existing
    `path` is extended; DatasetError if it was made with other settings. If it already
    holds `n` or more, it stays as it is.

    Each finished demonstration is kept at once in the folder `PATH.parts`, which is
    removed when `path` is complete. So an interruption costs one demonstration at most.

    `workers` processes share the work (0: this process does it). The contents do not
    depend on their number. `expert`: a policy in place of the task's own expert.
    `control_mode`: that of the recorded actions. In "ee_delta" the expert's poses are
    approached by delta actions, so that it moves by 5 cm a control step at most.
    `progress` reports after each demonstration; its metric `failed` counts the failed
    attempts so far. `patience_s`: how long to wait for another process that collects
    into `path`; DatasetError if it takes longer. `watch`: is shown every attempt; see
    `altbench.report.attempt_films`.
    """
    refuse_second_import("altbench.collect")
    if not 1 <= n <= MAX_DEMONSTRATIONS:
        raise ConfigError(f"expected 1 to {MAX_DEMONSTRATIONS:,} demonstrations, got {n:,}")
    plan = plan_collection(
        task_name,
        Path(path).absolute(),  # an expert may change the working directory
        root_seed=root_seed,
        placement=placement,
        image_size=image_size,
        render_profile=render_profile,
        expert=expert,
        control_mode=control_mode,
    )
    plan = replace(plan, watch=watch)
    enough = _enough(plan, n, progress)
    if enough is not None:
        return enough
    with plan.working(patience_s):
        # Again, since another process may have made them while this one waited.
        enough = _enough(plan, n, progress)
        if enough is not None:
            return enough
        existing = plan.existing()
        return plan.complete(_collect_missing(plan, n, existing.demonstrations if existing else (), workers, progress))


def _enough(plan: CollectionPlan, n: int, progress: Progress) -> Dataset | None:
    """Return the plan's file if it holds `n` demonstrations or more."""
    existing = plan.existing()
    if existing is None or len(existing) < n:
        return None
    plan.remove_idle_parts()
    progress(n, n, {"failed": float(sum(map(plan.failed_attempts, existing.demonstrations)))})
    return existing


def replay(task_name: str, demonstrations: Sequence[Demonstration]) -> Iterator[bool]:
    """Yield for each demonstration whether its actions succeed again.

    They are executed from the demonstration's initial state. Nothing is rendered.
    """
    if not demonstrations:
        return
    mode = demonstrations[0].control_mode
    with closing(gymnasium.make(registry.task(task_name).env_id, obs_type="state", control_mode=mode)) as env:
        for d in demonstrations:
            env.reset(seed=0, options={"split": "replay", "initial_state": d.initial_state})
            yield any(task_of(env).advance(action)[1] for action in d.actions)


def _collect_missing(
    plan: CollectionPlan, n: int, existing: Sequence[Demonstration], workers: int, progress: Progress
) -> list[Demonstration]:
    """Return all `n` demonstrations: existing ones, finished parts, and new ones."""
    parts = (plan.finished_part(i) for i in range(len(existing), n))
    finished = {d.index: d for d in (*existing, *parts) if d is not None}
    failed = sum(map(plan.failed_attempts, finished.values()))
    progress(len(finished), n, {"failed": float(failed)})
    missing = sorted(set(range(n)) - finished.keys())
    for made in _make(plan, missing, workers):
        finished[made.index] = made
        failed += plan.failed_attempts(made)
        progress(len(finished), n, {"failed": float(failed)})
    return [finished[i] for i in range(n)]


def _make(plan: CollectionPlan, missing: Sequence[int], workers: int) -> Iterator[Demonstration]:
    """Collect the demonstrations `missing`; yield each when it is finished."""
    if not missing:
        return
    if workers:
        yield from _make_in_workers(plan, missing, workers)
        return
    with closing(plan.make_recorder()) as recorder:
        for index in missing:
            yield _make_part(recorder, plan, index)


def _make_part(recorder: Recorder, plan: CollectionPlan, index: int) -> Demonstration:
    """Collect demonstration `index` and keep it as a part."""
    made = _demonstrate(recorder, plan, index)
    plan.write_part(made)
    return made


def _demonstrate(recorder: Recorder, plan: CollectionPlan, index: int) -> Demonstration:
    """Try demonstration `index` with one seed after the other until it succeeds.

    DatasetError if all fail.
    """
    seeds, grid_index = plan.seeds(index), plan.grid_index(index)
    film: Path | None = None
    for number, seed in enumerate(seeds):
        # Images are most of an attempt's time, and where one attempt failed the next often does.
        if _is_tried_first(plan, number, len(seeds)) and not recorder.succeeds(seed, plan.options(index)):
            continue
        made = recorder.record(seed, plan.options(index))
        if plan.watch is not None:
            film = plan.watch(recorder.last_attempt(index, number, len(seeds)))
        if made is not None:
            return replace(made, index=index, grid_index=grid_index)
    where = f"grid pose {grid_index}" if grid_index >= 0 else f"demonstration {index}"
    seen = f"; the last attempt's film: {film}" if film else ""
    raise DatasetError(f"the expert of {plan.info.name} failed {len(seeds)} times in a row at {where}{seen}")


def _is_tried_first(plan: CollectionPlan, number: int, most: int) -> bool:
    """Return whether attempt `number` of `most` is played without images before it is recorded."""
    return 0 < number < most - 1 and (plan.watch is None or not plan.watch.each)


# ------------------------------------------------------------------------------------------------------------ workers


def _make_in_workers(plan: CollectionPlan, missing: Sequence[int], workers: int) -> Iterator[Demonstration]:
    """Yield the demonstrations `missing` as worker processes finish them."""
    for index in worker_pool.finished(_make_part_in_worker, plan, missing, workers):
        # Read from the part, not sent by the worker: the same bytes as after an
        # interruption.
        made = plan.finished_part(index)
        if made is None:
            raise DatasetError(f"{plan.part(index)}: a worker wrote it, but it cannot be read; collect again")
        yield made


class _Worker:
    """The recorder that a worker process keeps from one demonstration to the next.

    So each process starts its simulators once.
    """

    def __init__(self) -> None:
        self._plan: CollectionPlan | None = None
        self._recorder: Recorder | None = None

    def recorder(self, plan: CollectionPlan) -> Recorder:
        """Return the recorder of `plan`; that of another plan is closed first."""
        if self._recorder is None or self._plan != plan:
            self.close()
            self._plan, self._recorder = plan, plan.make_recorder()
        return self._recorder

    def close(self) -> None:
        """Close the recorder if there is one."""
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None


def _make_part_in_worker(plan: CollectionPlan, index: int) -> None:
    _make_part(_worker.recorder(plan), plan, index)


_worker = _Worker()
"""This process's own. The end of a worker process frees its last recorder."""
