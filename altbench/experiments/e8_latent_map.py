"""E8: a map of ALT's keys: whether demonstrations are smooth curves among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from altbench.core.types import Float32, Float64, Int64
from altbench.experiments.e4_variants import variants
from altbench.experiments.shared.arrays import read_arrays, write_arrays
from altbench.experiments.shared.embeddings import frame_keys, join, split
from altbench.experiments.shared.experiment import Experiment, Say
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.sections import Report, Reported, Section
from altbench.experiments.shared.sweeps import N, Preset, evaluation, make_sweep
from altbench.experiments.shared.texts import frame_table, prose
from altbench.experiments.shared.tsne import tsne
from altbench.report.drawing.layout import headline, legend
from altbench.report.style import COLOURS, per_cent, styled
from altbench.report.table import Table
from altbench.sweeps.plan import Checkpoint
from altbench.sweeps.spec import SweepSpec

ROWS = ("alt", "key", "key-untrained")
"""Rows of E4 whose keys are mapped."""
MAP, SMOOTHNESS = "map", "smoothness"
"""The file stems of the tables that a later report reads, for keys that were not made there."""

CAPTION = """
    Keys of every frame of the {n} demonstrations in a t-SNE (perplexity 30), one row
    per key. Left: eight demonstrations in colours, the others grey, with a ring where
    each begins. Right:
    coloured by phase, the share of the demonstration that has passed. A t-SNE keeps
    neighbours together and tears other points apart; thin lines join consecutive frames
    across a tear.
    """
METHOD = """
    Counted in the space of the keys, not in the map: cosine similarity, all frames of
    all demonstrations.
    """
SUMMARY = """
    With ALT's key, the nearest other frame is the one before or after for
    {neighbour:.0f} % of the frames. A step is {step:.2f} of the distance between
    demonstrations.
    """
REPORTED = "nearest other frame is a temporal neighbour for {neighbour:.0f} %"


@dataclass(frozen=True)
class Map:
    """A t-SNE of keys, `points` (M, 2), their episode and frame (M,), and numbers.

    The numbers are of the keys, not of the map. `step`: the mean distance from frame to
    next frame, over that between frames of different episodes. `neighbour`: the share
    of frames whose nearest other frame is the one before or after in the same episode.
    `same_episode`: the share whose nearest other frame is of the same episode.
    """

    points: Float64
    episode: Int64
    frame: Int64
    step: float
    neighbour: float
    same_episode: float


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Ask for the checkpoints of three keys; their episodes are E4's."""
    rows = [variant.entry(preset) for variant in variants(preset) if variant.label in ROWS]
    return [make_sweep("latent-map", rows, [evaluation("recall")])]


def compute(run: ExperimentRun, say: Say) -> None:
    """Embed the demonstrations with every fitted key."""
    for checkpoint in run.checkpoints:
        path = _path(run, checkpoint)
        policy = None if path.is_file() else run.policy(checkpoint)
        if policy is not None:
            say(f"embedding {checkpoint.n} demonstrations with {checkpoint.name}")
            write_keys(path, [frame_keys(policy, d) for d in run.demonstrations(checkpoint)])


def report(run: ExperimentRun) -> Report:
    """Report the map and the numbers behind it."""
    points = {point.label: point for point in _points(run)}
    read = {label: read_map(_path(run, point)) or published_map(run, label) for label, point in points.items()}
    maps = {label: found for label, found in read.items() if found is not None}
    sections = (
        Section(
            "The map",
            prose(CAPTION, n=N),
            {MAP: _points_table(maps)} if maps else {},
            ("latent_map",) if maps else (),
        ),
        Section("Are trajectories smooth curves?", prose(METHOD), {SMOOTHNESS: _table(maps)} if maps else {}),
    )
    missing = tuple(f"keys of {label}" for label in points if label not in maps)
    return Report(_summary(maps), sections, _reported(maps), missing)


def _points_table(maps: Mapping[str, Map]) -> Table:
    """Return the points of the maps, which the figure is drawn of; a CSV alone."""
    parts = [
        pd.DataFrame({"key": label, "episode": m.episode, "frame": m.frame, "x": m.points[:, 0], "y": m.points[:, 1]})
        for label, m in maps.items()
    ]
    note = "Where each frame is in the map."
    return Table("The map", pd.concat(parts, ignore_index=True), (), note)


def figures(tables: Tables) -> Figures:
    """Draw the map."""
    return drawn(latent_map=lambda: draw(tables[MAP]))


def make_map(keys: Sequence[Float32], points: Float64) -> Map:
    """Make the map from demonstrations' `keys`, (T, D) each, and `points` (M, 2)."""
    joined, episode, frame = join(keys)
    similarity = joined @ joined.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = similarity.argmax(axis=1)
    same = episode[nearest] == episode
    beside = same & (np.abs(frame[nearest] - frame) == 1)
    steps = np.concatenate([np.linalg.norm(np.diff(k, axis=0), axis=1) for k in keys])
    rng = np.random.default_rng(0)
    a, b = rng.integers(len(joined), size=(2, 20_000))
    apart = np.linalg.norm(joined[a] - joined[b], axis=1)[episode[a] != episode[b]]
    return Map(
        points,
        episode,
        frame,
        float(steps.mean() / apart.mean()) if apart.size else float("nan"),
        float(beside.mean()),
        float(same.mean()),
    )


def write_keys(path: Path, keys: Sequence[Float32]) -> None:
    """Write keys and their t-SNE as plain arrays, whole or not at all."""
    joined, episode, _ = join(keys)
    points = tsne(joined.astype(np.float64))
    write_arrays(path, keys=joined, episode=episode, points=points)


def read_map(path: Path) -> Map | None:
    """Read the map from what `write_keys` wrote; None if the file is missing."""
    found = read_arrays(path)
    return None if found is None else make_map(split(found["keys"], found["episode"]), found["points"])


def published_map(run: ExperimentRun, label: str) -> Map | None:
    """Return the map of a row that a published report tells; None without one, or if the row's episodes are not its."""
    points, numbers = run.published_rows(MAP, key=label), run.published_rows(SMOOTHNESS, key=label)
    if label not in {cell.label for cell in run.from_published} or points.empty or numbers.empty:
        return None
    of_keys = ("step_over_apart", "nearest_is_temporal_neighbour", "nearest_is_of_same_episode")
    return Map(
        points[["x", "y"]].to_numpy(float),
        points["episode"].to_numpy(),
        points["frame"].to_numpy(),
        *(float(numbers.iloc[0][name]) for name in of_keys),
    )


def _points(run: ExperimentRun) -> list[Checkpoint]:
    """Return a checkpoint per row; rows of equal settings share one."""
    return list({cell.label: cell.checkpoint for cell in run.cells}.values())


def _path(run: ExperimentRun, checkpoint: Checkpoint) -> Path:
    return run.own / f"{checkpoint.folder}.npz"


def _table(maps: Mapping[str, Map]) -> Any:
    data = pd.DataFrame(
        [
            {
                "key": label,
                "frames": len(found.points),
                "step_over_apart": found.step,
                "nearest_is_temporal_neighbour": found.neighbour,
                "nearest_is_of_same_episode": found.same_episode,
            }
            for label, found in maps.items()
        ]
    )
    texts = {
        "key": list(data["key"]),
        "frames": [str(n) for n in data["frames"]],
        "nearest frame is the one before or after": [f"{100 * v:.0f} %" for v in data["nearest_is_temporal_neighbour"]],
        "… is of the same episode": [f"{100 * v:.0f} %" for v in data["nearest_is_of_same_episode"]],
        "step / distance between episodes": [f"{v:.3f}" for v in data["step_over_apart"]],
    }
    return frame_table("Smoothness of keys", data, texts)


def _summary(maps: Mapping[str, Map]) -> str:
    if "alt" not in maps:
        return ""
    return prose(SUMMARY, neighbour=100 * maps["alt"].neighbour, step=maps["alt"].step)


def _reported(maps: Mapping[str, Map]) -> tuple[Reported, ...]:
    ours = prose(REPORTED, neighbour=100 * maps["alt"].neighbour) if "alt" in maps else ""
    return (Reported("trajectories in latent space", "smooth curves", ours),)


# ---------------------------------------------------------------------------------------------------------- picture


TOLD_APART = (*COLOURS[:5], COLOURS[6], "#332288", "#661100")
"""Colours of the demonstrations that are told apart; the others are grey."""


def draw(data: pd.DataFrame) -> Figure:
    """Draw a row of two panels per key of `data` (key, episode, frame, x, y)."""
    keys = list(dict.fromkeys(data["key"]))
    with styled():
        figure = Figure(figsize=(8.2, 1.1 + 3.4 * len(keys)), layout="constrained")
        axes = figure.subplots(len(keys), 2, squeeze=False)
        norm = Normalize(0, 1)
        for row, key in zip(axes, keys, strict=True):
            own = data[data["key"] == key].sort_values(["episode", "frame"])
            paths = [one[["x", "y"]].to_numpy(float) for _, one in own.groupby("episode")]
            _by_episode(row[0], paths)
            _by_phase(row[1], paths, norm)
            for axis, what in zip(row, ("some demonstrations", "phase"), strict=True):
                axis.set_title(f"{key}: {what}")
                axis.set(xticks=[], yticks=[])
                axis.grid(visible=False)
                seaborn.despine(ax=axis, left=True, bottom=True)
        bar = figure.colorbar(ScalarMappable(norm, "viridis"), ax=axes[:, 1], aspect=12 * len(keys), pad=0.02)
        bar.ax.yaxis.set_major_formatter(per_cent())
        bar.set_label("share of the demonstration that has passed")
        legend(figure, _legend())
        headline(figure, "Keys of the demonstrations' frames, as a t-SNE")
    return figure


def _legend() -> list[Line2D]:
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o"}
    return [
        Line2D([], [], label="frame of a demonstration (a colour each)", color=TOLD_APART[0], markersize=4, **dot),
        Line2D([], [], label="of another one", color="0.75", markersize=4, **dot),
        Line2D([], [], label="its first frame", markerfacecolor="white", markeredgecolor="0.2", markersize=6, **dot),
        Line2D([], [], label="to the next frame", color="0.5", linewidth=0.8),
    ]


def _by_episode(axis: Axes, paths: Sequence[Float64]) -> None:
    """Draw the demonstrations; some, evenly among all, in colours that can be told apart."""
    shown = np.unique(np.linspace(0, len(paths) - 1, len(TOLD_APART)).round().astype(int)).tolist()
    for number, path in enumerate(paths):
        colour = TOLD_APART[shown.index(number)] if number in shown else "0.75"
        dots: dict[str, Any] = {"color": colour, "rasterized": True, "zorder": 3 if number in shown else 2}
        axis.plot(*path.T, linewidth=0.7, alpha=0.5, **dots)
        axis.plot(*path.T, linestyle="none", marker="o", markersize=2.4, markeredgewidth=0, **dots)
        axis.plot(*path[:1].T, marker="o", markersize=5.5, markerfacecolor="white", **(dots | {"zorder": 4}))


def _by_phase(axis: Axes, paths: Sequence[Float64], norm: Normalize) -> None:
    for path in paths:
        phase = np.linspace(0, 1, len(path))
        joined = list(np.stack([path[:-1], path[1:]], axis=1))
        pieces = LineCollection(joined, cmap="viridis", norm=norm, linewidths=0.7, alpha=0.4, rasterized=True)
        pieces.set_array(phase[:-1])
        axis.add_collection(pieces)
        dots: dict[str, Any] = {"s": 8, "linewidths": 0, "zorder": 3, "rasterized": True}
        axis.scatter(path[:, 0], path[:, 1], c=phase, cmap="viridis", norm=norm, **dots)
    axis.margins(0.05)


EXPERIMENT = Experiment(
    id="E8",
    name="latent-map",
    title="A map of ALT's keys",
    question="Do the frames of a demonstration lie along a smooth curve in the space where ALT looks them up?",
    report=report,
    figures=figures,
    sweeps=sweeps,
    compute=compute,
)
