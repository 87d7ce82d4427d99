"""The picture of the tasks: how each begins and ends, and where its splits put the objects.

A row per task: the start and the solved task, framed to what changes; then maps of the
table seen from above, as the camera sees it (the robot at the top), with the
demonstrated poses, the range, and what each split draws.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from altbench.core import registry
from altbench.core.task import TaskInfo, task_of
from altbench.core.types import Float64, UInt8
from altbench.report.drawing.layout import WIDEST, headline, legend
from altbench.report.drawing.order import tasks_in_order
from altbench.report.style import COLOURS, words
from altbench.sweeps.needs import FROM_DEMONSTRATIONS

SIZE = 256
"""Height and width in pixels of the images, before they are framed."""
STARTS = 6
"""Starts whose images are compared to find what changes."""
DRAWS = 60
"""Poses drawn of a split."""
CHANGED = 40
"""Least change of a pixel's brightest channel (of 255) that counts."""
GRID, UNIFORM, MIDDLE = "grid", "uniform", "interpolate"
EPISODE = 7
"""The pose of the grid whose start is shown."""
SHOWN = ("replay", "recall")
"""Splits that begin at the demonstrations' poses, which are the grid's."""
FAR = {"extrapolate_side": "^", "extrapolate_back": "v"}
"""Splits beyond the range, in one map, and their markers."""
MOST_APART = 0.2
"""Greatest gap between two objects' ranges in a map, over the widest range."""
OBJECTS = (COLOURS[0], COLOURS[3])
"""Colours of the first and the second object that a pose places."""


@dataclass(frozen=True)
class Sheet:
    """What is drawn of a task: two images (None: no expert), and poses (N, P) by split."""

    task: TaskInfo
    start: UInt8
    solved: UInt8 | None
    poses: Mapping[str, Float64]


def draw_tasks(names: Sequence[str], seed: int = 0) -> Figure:
    """Draw the tasks `names`. Call this inside `styled`."""
    sheets = [look_at(registry.task(name), seed) for name in tasks_in_order(names)]
    maps = (SHOWN, (UNIFORM,), (MIDDLE,), tuple(FAR))
    shown = [own for own in maps if any(_drawn(sheet, own) for sheet in sheets)]
    figure = Figure(figsize=(WIDEST, 1.0 + 1.32 * len(sheets)), layout="constrained")
    axes = figure.subplots(
        len(sheets), 3 + len(shown), squeeze=False, gridspec_kw={"width_ratios": [0.95, 1.3, 1.3, *[1.15] * len(shown)]}
    )
    for row, sheet in zip(axes, sheets, strict=True):
        _about(row[0], sheet.task)
        _image(row[1], sheet.start)
        _image(row[2], sheet.solved)
        for axis, own in zip(row[3:], shown, strict=True):
            _map(axis, sheet, own)
    heads = ["", "a start", "solved", *(", ".join(map(_short, own)) for own in shown)]
    for axis, head in zip(axes[0], heads, strict=True):
        axis.set_title(head, fontsize=8)
    headline(figure, "The tasks, and where each split puts the objects (maps as the camera sees the table)")
    legend(figure, _legend())
    return figure


def _short(split: str) -> str:
    return words(split).removeprefix("extrapolate ") if split == "extrapolate_back" else words(split)


def look_at(task: TaskInfo, seed: int) -> Sheet:
    """Look at a task: its images, framed, and the poses of its splits."""
    env = _made(task, obs_type="pixels", image_size=(SIZE, SIZE))
    camera = task.cameras[0]
    starts = [env.reset(seed=seed, options=_options(UNIFORM, i))[0]["pixels"][camera] for i in range(STARTS)]
    first = GRID if GRID in task.splits else UNIFORM
    start = env.reset(seed=seed, options=_options(first, EPISODE % task.grid_size))[0]["pixels"][camera]
    solved = _solve(env, task, seed, camera)
    env.close()
    top, left, side = frame_of([*starts, start, *([solved] if solved is not None else [])])
    framed = [None if one is None else one[top : top + side, left : left + side] for one in (start, solved)]
    assert framed[0] is not None
    return Sheet(task, framed[0], framed[1], poses_of(task, seed))


def poses_of(task: TaskInfo, seed: int) -> dict[str, Float64]:
    """Return the object poses (N, P) that each split with poses of its own draws.

    The grid and the poses between have as many as there are; others `DRAWS`.
    """
    env = _made(task, obs_type="state")
    counts = {GRID: task.grid_size, MIDDLE: task.midpoints or DRAWS}
    found = {}
    for split in (split for split in task.splits if split not in FROM_DEMONSTRATIONS):
        rows = []
        for episode in range(counts.get(split, DRAWS)):
            env.reset(seed=seed + episode, options=_options(split, episode))
            rows.append(np.array(task_of(env).initial_state().object_pose, np.float64))
        found[split] = np.stack(rows)
    env.close()
    return found


def frame_of(images: Sequence[UInt8]) -> tuple[int, int, int]:
    """Return (top, left, side) of the square in which images (H, W, 3) differ; all if nowhere.

    Single pixels at the edges, such as a turning shadow's, do not widen it.
    """
    stack = np.stack(images).astype(np.int16)
    changed = (stack.max(axis=0) - stack.min(axis=0)).max(axis=-1) > CHANGED
    height, width = changed.shape
    rows, columns = (np.flatnonzero(changed.sum(axis=axis) > 2) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return 0, 0, min(height, width)
    middle = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    side = min(height, width, int(1.12 * max(rows[-1] - rows[0], columns[-1] - columns[0])) + 8)
    top, left = (int(np.clip(m - side / 2, 0, size - side)) for m, size in zip(middle, (height, width), strict=True))
    return top, left, side


def _solve(env: gymnasium.Env[Any, Any], task: TaskInfo, seed: int, camera: str) -> UInt8 | None:
    """Return the image after the expert has solved the present episode; None without one."""
    if task.name not in registry.names("expert"):
        return None
    simulated, expert = task_of(env), registry.expert(task.name)
    expert.reset(simulated, seed)
    over = False
    while not over:
        _, terminated, truncated, _ = simulated.advance(expert.act(simulated))
        over = terminated or truncated
    image: UInt8 = simulated.observe()["pixels"][camera]
    return image


def _options(split: str, episode: int) -> dict[str, Any]:
    return {"split": split, "episode": episode}


def _made(task: TaskInfo, **options: Any) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(task.env_id, disable_env_checker=True, **options)


# ------------------------------------------------------------------------------------------------------------- panels


def _about(axis: Axes, task: TaskInfo) -> None:
    axis.set_axis_off()
    axis.text(0, 1, task.name, transform=axis.transAxes, va="top", fontsize=9, fontweight="bold")
    text = textwrap.fill(task.instruction, 17)
    axis.text(0, 0.83, text, transform=axis.transAxes, va="top", fontsize=7, color="0.25")


def _image(axis: Axes, image: UInt8 | None) -> None:
    axis.set_axis_off()
    if image is not None:
        axis.imshow(image, interpolation="lanczos")


def _map(axis: Axes, sheet: Sheet, splits: Sequence[str]) -> None:
    """Draw the range and the poses of `splits` from above; nothing if the task lacks them."""
    axis.set(xticks=[], yticks=[], aspect="equal")
    axis.grid(visible=False)
    seaborn.despine(ax=axis, left=True, bottom=True)
    shown = _drawn(sheet, splits)
    if not shown:
        axis.set_axis_off()
        return
    places = _places(sheet.task)
    poses = _nearer(sheet.poses, places)
    every = np.concatenate(list(poses.values()))
    for colour, (x, y) in zip(OBJECTS, places, strict=False):
        inside = np.concatenate([poses[s] for s in (UNIFORM, GRID) if s in poses])
        low, high = inside[:, [y, x]].min(axis=0), inside[:, [y, x]].max(axis=0)
        axis.add_patch(Rectangle(tuple(low), *(high - low), facecolor=colour, alpha=0.13, linewidth=0))
        if GRID in poses and GRID not in shown:
            axis.scatter(poses[GRID][:, y], poses[GRID][:, x], s=2.5, color="0.6", linewidths=0)
        for split in shown:
            axis.scatter(
                poses[split][:, y], poses[split][:, x], s=8, marker=FAR.get(split, "o"), color=colour, linewidths=0
            )
    across, down = (np.concatenate([every[:, pair[i]] for pair in places]) for i in (1, 0))
    reach = 0.56 * max(np.ptp(across), np.ptp(down)) + 1e-3
    centre = (across.min() + across.max()) / 2, (down.min() + down.max()) / 2
    axis.set_xlim(centre[0] - reach, centre[0] + reach)
    axis.set_ylim(centre[1] + reach, centre[1] - reach)  # the robot, at low x, is at the top


def _nearer(poses: Mapping[str, Float64], places: Sequence[tuple[int, int]]) -> dict[str, Float64]:
    """Return the poses with a second object that is far from the first one brought nearer.

    Else the ranges of objects on two tables would be dots.
    """
    moved = {split: own.copy() for split, own in poses.items()}
    if len(places) < 2:
        return moved
    every = np.concatenate(list(poses.values()))
    widest = max(float(np.ptp(every[:, column])) for pair in places for column in pair)
    for first, second in zip(*places[:2], strict=True):
        one, other = every[:, first], every[:, second]
        gap = float(max(other.min() - one.max(), one.min() - other.max()))
        if gap > MOST_APART * widest:
            nearer = (gap - MOST_APART * widest) * (1 if other.min() > one.max() else -1)
            for own in moved.values():
                own[:, second] -= nearer
    return moved


def _drawn(sheet: Sheet, splits: Sequence[str]) -> list[str]:
    """Return the splits whose poses stand for `splits` in the task's map.

    `SHOWN` has the grid's.
    """
    there = [GRID] if splits == SHOWN else list(splits)
    return [split for split in there if split in sheet.poses]


def _places(task: TaskInfo) -> list[tuple[int, int]]:
    """Return the numbers of each object's x and y among the pose variables."""
    names = list(task.pose_names)
    return [(i, i + 1) for i in range(len(names) - 1) if names[i].endswith("x") and names[i + 1].endswith("y")]


def _legend() -> list[Line2D | Patch]:
    dot: dict[str, Any] = {"linestyle": "none", "markersize": 4.5, "markeredgewidth": 0}
    return [
        Line2D([], [], label="object", marker="o", color=OBJECTS[0], **dot),
        Line2D([], [], label="second object", marker="o", color=OBJECTS[1], **dot),
        Line2D([], [], label="demonstrated pose", marker="o", color="0.6", **(dot | {"markersize": 2.5})),
        Patch(label="range", facecolor=OBJECTS[0], alpha=0.2),
        Line2D([], [], label="beyond, at a side", marker="^", color="0.3", **dot),
        Line2D([], [], label="beyond, further away", marker="v", color="0.3", **dot),
    ]
