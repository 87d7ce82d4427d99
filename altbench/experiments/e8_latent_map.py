"""E8: a map of ALT's keys: whether demonstrations are smooth curves among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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

from altbench.core.types import Float32, Float64, Int64
from altbench.experiments.e4_variants import variants
from altbench.experiments.shared.arrays import read_arrays, write_arrays
from altbench.experiments.shared.embeddings import frame_keys, join, split
from altbench.experiments.shared.experiment import (
    Experiment,
    ExperimentRun,
    Preset,
    Report,
    Reported,
    Say,
    Section,
    drawn,
)
from altbench.experiments.shared.sweeps import N, evaluation, make_sweep
from altbench.experiments.shared.texts import frame_table, prose
from altbench.experiments.shared.tsne import tsne
from altbench.report.style import headline, styled
from altbench.sweeps.plan import Checkpoint
from altbench.sweeps.spec import SweepSpec

ROWS = ("alt", "key", "key-untrained")
"""Rows of E4 whose keys are mapped."""

CAPTION = """
    Keys of every frame of the {n} demonstrations in a t-SNE (perplexity 30), one row
    per key. Left: one colour per demonstration, with a ring where it begins. Right:
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
    read = {label: read_map(_path(run, point)) for label, point in points.items()}
    maps = {label: found for label, found in read.items() if found is not None}
    figures = drawn(latent_map=partial(draw, maps)) if maps else drawn()
    sections = (
        Section("The map", prose(CAPTION, n=N), figures=figures),
        Section("Are trajectories smooth curves?", METHOD, {"smoothness": _table(maps)} if maps else {}),
    )
    missing = tuple(f"keys of {label}" for label in points if label not in maps)
    return Report(_summary(maps), sections, _reported(maps), missing)


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


def draw(maps: Mapping[str, Map]) -> Figure:
    """Draw a row of two panels per key."""
    with styled():
        figure = Figure(figsize=(9.2, 0.9 + 4.1 * len(maps)), layout="constrained")
        axes = figure.subplots(len(maps), 2, squeeze=False)
        norm = Normalize(0, 1)
        for row, (label, found) in zip(axes, maps.items(), strict=True):
            _by_episode(row[0], found)
            _by_phase(row[1], found, norm)
            for axis, what in zip(row, ("by demonstration", "by phase"), strict=True):
                axis.set_title(f"{label}: {what}")
                axis.set(xticks=[], yticks=[])
                axis.grid(visible=False)
        colours = ScalarMappable(norm, "viridis")
        bar = figure.colorbar(colours, ax=axes[:, 1], shrink=min(1.0, 0.8 / len(maps) + 0.2), aspect=30, pad=0.02)
        bar.set_label("share of the demonstration that has passed")
        headline(figure, "Keys of the demonstrations' frames, t-SNE")
    return figure


def _by_episode(axis: Axes, found: Map) -> None:
    episodes = np.unique(found.episode)
    palette = seaborn.husl_palette(len(episodes), l=0.55)
    for colour, number in zip(palette, episodes, strict=True):
        x, y = found.points[found.episode == number].T
        axis.plot(x, y, color=colour, linewidth=0.6, alpha=0.35)
        axis.plot(x, y, color=colour, linestyle="none", marker="o", markersize=2.2)
        axis.plot(x[:1], y[:1], color=colour, marker="o", markersize=6, markerfacecolor="white", zorder=4)


def _by_phase(axis: Axes, found: Map, norm: Normalize) -> None:
    for number in np.unique(found.episode):
        path = found.points[found.episode == number]
        phase = np.linspace(0, 1, len(path))
        joined = list(np.stack([path[:-1], path[1:]], axis=1))
        pieces = LineCollection(joined, cmap="viridis", norm=norm, linewidths=0.6, alpha=0.35)
        pieces.set_array(phase[:-1])
        axis.add_collection(pieces)
        axis.scatter(path[:, 0], path[:, 1], c=phase, cmap="viridis", norm=norm, s=8, linewidths=0, zorder=3)
    axis.margins(0.05)


EXPERIMENT = Experiment(
    id="E8",
    name="latent-map",
    title="A map of ALT's keys",
    question="Do the frames of a demonstration lie along a smooth curve in the space where ALT looks them up?",
    report=report,
    sweeps=sweeps,
    compute=compute,
)
