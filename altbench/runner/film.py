"""Films of recorded episodes.

The recorded actions are executed again, so that the film shows the episode that was
counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from skimage.transform import resize

from altbench.adapters.policy import adapted
from altbench.adapters.spec import as_adapter
from altbench.core import registry
from altbench.core.errors import AltbenchError, ConfigError, ResultsError, UnknownNameError
from altbench.core.task import task_of
from altbench.core.types import Float32, UInt8
from altbench.report.drawing.tiles import FAILURE, FLAGGED, PLAIN, SUCCESS, Tile, grid_of, size_of, square
from altbench.report.video import HOLD_LAST_S, caption, write_mp4
from altbench.results import cells, history
from altbench.results.checkpoints import build_policy
from altbench.results.run import Run
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


@dataclass(frozen=True)
class Moment:
    """A control step of an episode that is played again.

    `scene`: uint8 (SCENE, SCENE, 3). `seen`: camera -> image as the policy saw it.
    `agent_pos`: the arms' poses, as in observations. `decision`: the last one.
    """

    step: int
    scene: UInt8
    seen: Mapping[str, UInt8]
    agent_pos: Float32
    decision: DecisionRecord | None


@dataclass(frozen=True)
class Shot:
    """A recorded cell to be filmed: its run, its first episodes, and its environment."""

    run: Run
    cell: Cell
    recorded: tuple[EpisodeRecord, ...]
    env: gymnasium.Env[Any, Any]

    def moments(self, record: EpisodeRecord) -> Iterator[Moment]:
        """Play an episode again. AltbenchError if it ends otherwise than recorded."""
        task = task_of(self.env)
        plan = next(p for p in episode_plans(self.run, self.cell) if p.index == record.episode)
        perturber = plan.perturber(registry.task(self.cell.checkpoint.task))
        self.env.reset(seed=plan.seed, options=dict(plan.options))
        success = False
        try:
            yield self._moment(perturber, record, 0)
            for step, done in enumerate(record.trajectory, start=1):
                success = bool(task.advance(np.array(done.action, np.float32))[-1]["is_success"])
                yield self._moment(perturber, record, step)
        finally:
            if perturber:
                perturber.end(task)
        if success != record.success:
            raise AltbenchError(f"{self.cell.name}, episode {record.episode}: replayed, it does not end as recorded")

    def _moment(self, perturber: EpisodePerturber | None, record: EpisodeRecord, step: int) -> Moment:
        task = task_of(self.env)
        if perturber:
            perturber.arrive(task, step)
        scene = _enlarged(np.asarray(self.env.render()), SCENE)
        observed = task.observe()
        images = observed["pixels"].items()
        seen = {camera: perturber.change(camera, step, image) if perturber else image for camera, image in images}
        return Moment(step, scene, seen, observed["agent_pos"], _last_decision(record, step))


@contextmanager
def shot(root: Path, name: str, first: int = 0, count: int = 1) -> Iterator[Shot]:
    """Prepare `count` episodes of the cell called `name` in the run under `root`, from
    the episode numbered `first` on.

    ResultsError if the cell, or its first episode, is not recorded; other errors as
    `find_cell`.
    """
    run, cell = find_cell(root, name)
    path = cells.cell_path(root, cell.key)
    if not path.is_file():
        raise ResultsError(
            f"{root} has no record of {cell.name} made with these versions, device and renderer; `altbench run` makes it"
        )
    played = cells.read_cell(path).episodes
    recorded = tuple(episode for episode in played if first <= episode.episode < first + count)
    if not recorded:
        raise ResultsError(f"{cell.name} has the episodes 0 to {len(played) - 1}, not {first}")
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
    try:
        yield Shot(run, cell, recorded, env)
    finally:
        env.close()


def write_video(root: Path, name: str, episodes: int, out: Path | None = None) -> Path:
    """Film the first `episodes` episodes of the cell called `name` in the run under
    `root`, one after the other.

    Return the path of the mp4. Errors as `shot`.
    """
    with shot(root, name, count=episodes) as made:
        films = [_film(made, record) for record in made.recorded]
        target = out or root / "videos" / f"{file_name(made.cell.name)}.mp4"
        write_mp4(target, np.concatenate(films), fps=registry.task(made.cell.checkpoint.task).control_hz)
    return target


def write_grid(root: Path, names: Sequence[str], episodes: int, out: Path | None = None) -> Path:
    """Film several cells beside each other, a column for each and a row per episode; or
    the episodes of one cell in a square.

    Return the path of the mp4. Errors as `shot`; ConfigError if the cells are of
    different tasks.
    """
    columns = len(names) if len(names) > 1 else square(episodes)
    tiles: list[list[Tile]] = []
    tasks: list[str] = []
    for name in names:
        with shot(root, name, count=episodes) as made:
            tasks.append(made.cell.checkpoint.task)
            tiles.append([_tile(made, record, size_of(columns, SCENE)) for record in made.recorded])
    if len(set(tasks)) > 1:
        raise ConfigError(f"expected cells of one task in a grid of films, got {', '.join(sorted(set(tasks)))}")
    if len(names) > 1:
        rows = [[own[i] for own in tiles if i < len(own)] for i in range(max(map(len, tiles)))]
    else:
        rows = [tiles[0][i : i + columns] for i in range(0, len(tiles[0]), columns)]
    title = file_name("+".join(dict.fromkeys(name.partition("/")[2] or name for name in names)))
    target = out or root / "videos" / "grids" / f"{title[:120]}.mp4"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_mp4(target, grid_of(rows), fps=registry.task(tasks[0]).control_hz)
    return target


def _tile(made: Shot, record: EpisodeRecord, size: int) -> Tile:
    """Return an episode's scene with its step, score and flag; its frame's colour tells
    the flag, and at the end the outcome.
    """
    frames, texts, colours = [], [], []
    for moment in made.moments(record):
        frames.append(_enlarged(moment.scene, size))
        texts.append(f"episode {record.episode}, step {moment.step}{_score(moment.decision)}")
        flagged = moment.decision is not None and moment.decision.is_ood
        colours.append(FLAGGED if flagged else PLAIN)
    still = round(HOLD_LAST_S * registry.task(made.cell.checkpoint.task).control_hz)
    texts += [f"{texts[-1]} - {_outcome(record)}"] * still
    colours += [SUCCESS if record.success else FAILURE] * still
    return Tile(np.stack(frames + [frames[-1]] * still), _title(made.cell), tuple(texts), tuple(colours))


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


def _film(made: Shot, record: EpisodeRecord) -> UInt8:
    """Return one episode's frames, uint8 (T, H, W, 3): the scene, and beside it what the
    policy sees of it, one camera above the other.
    """
    frames, texts = [], []
    for moment in made.moments(record):
        column = [_enlarged(image, SCENE // 2) for image in list(moment.seen.values())[:2]]
        frames.append(np.concatenate([moment.scene, np.concatenate(column, axis=0)], axis=1))
        texts.append(f"{_title(made.cell)}, episode {record.episode}, step {moment.step}{_score(moment.decision)}")
    still = round(HOLD_LAST_S * registry.task(made.cell.checkpoint.task).control_hz)
    texts += [f"{texts[-1]} - {_outcome(record)}"] * still
    return caption(np.stack(frames + [frames[-1]] * still), texts)


def _enlarged(image: UInt8, size: int) -> UInt8:
    grown = resize(image, (size, size), order=0, preserve_range=True, anti_aliasing=False)
    return np.asarray(grown, np.uint8)


def _title(cell: Cell) -> str:
    column = cell.split if cell.column.clean else f"{cell.split}, {cell.condition} {cell.severity}"
    # The outcome stands at the end, and a long label must not push it out of the picture.
    label = cell.label if len(cell.label) <= SHOWN_LABEL else f"{cell.label[: SHOWN_LABEL - 1]}…"
    return f"{label}, {column}"


def _score(decision: DecisionRecord | None) -> str:
    score = "" if decision is None or decision.ood_score is None else f" - OOD score {decision.ood_score:.2f}"
    return score + (" FLAGGED" if decision is not None and decision.is_ood else "")


def _outcome(record: EpisodeRecord) -> str:
    return "success" if record.success else "failure" if record.status == "ok" else record.status


def _last_decision(record: EpisodeRecord, step: int) -> DecisionRecord | None:
    return next((d for d in reversed(record.decisions) if d.step <= step), None)
