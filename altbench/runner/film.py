"""Films of recorded episodes.

The recorded actions are executed again, so that the film shows the episode that was
counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from skimage.transform import resize

from altbench.adapters.policy import adapted
from altbench.adapters.spec import as_adapter
from altbench.core import registry
from altbench.core.errors import AltbenchError, ResultsError, UnknownNameError
from altbench.core.task import task_of
from altbench.core.types import UInt8
from altbench.report.video import HOLD_LAST_S, caption, write_mp4
from altbench.results import cells, history
from altbench.results.checkpoints import build_policy
from altbench.results.run import Run
from altbench.rollout.episode import EpisodePlan
from altbench.rollout.perturber import EpisodePerturber
from altbench.rollout.records import DecisionRecord, EpisodeRecord
from altbench.runner.episodes import episode_plans
from altbench.sweeps.plan import Cell, make_plan
from altbench.sweeps.rows import provenance_of
from altbench.sweeps.spec import SweepSpec
from altbench.system.files import file_name

SCENE = 336
"""Height and width of the rendered scene in pixels: four times the policy's usual 84,
drawn beside it at half that.
"""
SHOWN_LABEL = 32
"""The most characters of a label in a film's caption; the rest becomes a `…`."""


def write_video(root: Path, name: str, episodes: int, out: Path | None = None) -> Path:
    """Film the first `episodes` episodes of the cell called `name` in the run under
    `root`.

    Return the path of the mp4. ResultsError if the cell is not recorded; other errors
    as `find_cell`.
    """
    run, cell = find_cell(root, name)
    path = cells.cell_path(root, cell.key)
    if not path.is_file():
        raise ResultsError(
            f"{root} has no record of {cell.name} made with these versions, device and renderer; `altbench run` makes it"
        )
    recorded = cells.read_cell(path).episodes[:episodes]
    horizon = run.sweep.horizon_of(cell.checkpoint.task)
    env = gymnasium.make(
        registry.task(cell.checkpoint.task).env_id,
        max_episode_steps=horizon or registry.task(cell.checkpoint.task).horizon,
        disable_env_checker=True,
        obs_type="pixels",
        control_mode=_control_mode(cell),
        image_size=run.sweep.image_size,
        render_profile=run.sweep.render_profile,
        render_mode="rgb_array",
    )
    plans = {p.index: p for p in episode_plans(run, cell)}
    films = [_film(env, cell, plans[record.episode], record) for record in recorded]
    env.close()
    target = out or root / "videos" / f"{file_name(cell.name)}.mp4"
    write_mp4(target, np.concatenate(films), fps=registry.task(cell.checkpoint.task).control_hz)
    return target


def _control_mode(cell: Cell) -> str:
    point = cell.checkpoint
    with closing(build_policy(point.task, point.policy, cell.config, cell.name)) as made:
        return adapted(made, as_adapter(point.adapter)).requirements.control_mode


def find_cell(root: Path, name: str) -> tuple[Run, Cell]:
    """Return the cell that `name` names, or whose key begins with it, and the run that
    has it.

    All sweeps that were run under `root` are searched; a recorded cell comes before
    others. ResultsError if `root` is not a run's folder, UnknownNameError if no sweep
    has the cell, DatasetError if the demonstrations of its sweep are missing.
    """
    sweeps = history.load(root)
    found = []
    for sweep in _with_cell(root, name, sweeps):
        run = Run.begin(root, sweep).with_data("that its episodes began from")
        own = [c for c in run.plan.cells if c.name == name] or [c for c in run.plan.cells if c.key.startswith(name)]
        found += [(run, cell) for cell in own[:1]]
        if own and cells.cell_path(root, own[0].key).is_file():
            return found[-1]
    if not found:
        raise UnknownNameError(f"cell of {root}", name, {n for sweep in sweeps for n in _cell_names(sweep)})
    return found[0]


def _with_cell(root: Path, name: str, sweeps: Sequence[SweepSpec]) -> list[SweepSpec]:
    """Return those of `sweeps` that may have the cell.

    UnknownNameError if `name` is not a cell's name and cannot begin a key. Names are
    known before anything is read, keys only with the demonstrations.
    """
    names = {sweep.name: _cell_names(sweep) for sweep in sweeps}
    if re.fullmatch("[0-9a-f]+", name):
        return list(sweeps)
    if not any(name in own for own in names.values()):
        raise UnknownNameError(f"cell of {root}", name, {n for own in names.values() for n in own})
    return [sweep for sweep in sweeps if name in names[sweep.name]]


def _cell_names(sweep: SweepSpec) -> set[str]:
    return {cell.name for cell in make_plan(sweep, provenance_of("", "", {})).cells}


def _film(env: gymnasium.Env[Any, Any], cell: Cell, plan: EpisodePlan, record: EpisodeRecord) -> UInt8:
    """Return one episode's frames, uint8 (T, H, W, 3).

    AltbenchError if it ends otherwise than recorded.
    """
    task = task_of(env)
    perturber = plan.perturber(registry.task(cell.checkpoint.task))
    env.reset(seed=plan.seed, options=dict(plan.options))
    try:
        frames, texts, success = [_picture(env, perturber, 0)], [_text(cell, record, 0)], False
        for step, done in enumerate(record.trajectory, start=1):
            success = bool(task.advance(np.array(done.action, np.float32))[-1]["is_success"])
            frames.append(_picture(env, perturber, step))
            texts.append(_text(cell, record, step))
    finally:
        if perturber:
            perturber.end(task)
    if success != record.success:
        raise AltbenchError(f"{cell.name}, episode {record.episode}: replayed, it does not end as recorded")
    still = round(HOLD_LAST_S * registry.task(cell.checkpoint.task).control_hz)
    outcome = "success" if record.success else "failure" if record.status == "ok" else record.status
    texts += [f"{texts[-1]} - {outcome}"] * still
    return caption(np.stack(frames + [frames[-1]] * still), texts)


def _picture(env: gymnasium.Env[Any, Any], perturber: EpisodePerturber | None, step: int) -> UInt8:
    """Return the scene, and beside it what the policy sees of it, one camera above the
    other.
    """
    task = task_of(env)
    if perturber:
        perturber.arrive(task, step)
    scene = _enlarged(np.asarray(env.render()), SCENE)
    images = task.observe()["pixels"]
    seen = [perturber.change(camera, step, image) if perturber else image for camera, image in images.items()]
    column = [_enlarged(image, SCENE // 2) for image in seen[:2]]
    return np.concatenate([scene, np.concatenate(column, axis=0)], axis=1)


def _enlarged(image: UInt8, size: int) -> UInt8:
    grown = resize(image, (size, size), order=0, preserve_range=True, anti_aliasing=False)
    return np.asarray(grown, np.uint8)


def _text(cell: Cell, record: EpisodeRecord, step: int) -> str:
    column = cell.split if cell.column.clean else f"{cell.split}, {cell.condition} {cell.severity}"
    decision = _last_decision(record, step)
    score = "" if decision is None or decision.ood_score is None else f" - OOD score {decision.ood_score:.2f}"
    flag = " FLAGGED" if decision is not None and decision.is_ood else ""
    # The outcome stands at the end, and a long label must not push it out of the picture.
    label = cell.label if len(cell.label) <= SHOWN_LABEL else f"{cell.label[: SHOWN_LABEL - 1]}…"
    return f"{label}, {column}, episode {record.episode}{score}{flag}"


def _last_decision(record: EpisodeRecord, step: int) -> DecisionRecord | None:
    return next((d for d in reversed(record.decisions) if d.step <= step), None)
