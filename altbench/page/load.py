"""Reads a run's records for its page, once; of a big run a sample of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from altbench.core.errors import ResultsError
from altbench.page.records import RunRecords, Submission
from altbench.report.success import CONDITION, ROW
from altbench.results.frames import load_parts
from altbench.results.measures import load_measures
from altbench.results.unchecked import warn_of_unchecked
from altbench.rollout.records import CellHeader
from altbench.stats.parts import EpisodeParts, Episodes, parts_of_run
from altbench.sweeps.kept import load_kept
from altbench.sweeps.spec import SweepSpec
from altbench.system.files import file_name
from altbench.system.fingerprint import load_fingerprint

T = TypeVar("T")
MOST_LOADED = 200_000
"""Of a run with more episodes, the page holds those of a sample of cells."""


def load(root: Path, submission: Submission | None = None) -> RunRecords:
    """Read the run in `root`: finished, unfinished or published; or an archive's parts.

    `submission`: where these are from. Raises ResultsError, in one line, if it is no run's folder or holds no episode.
    """
    if not root.is_dir():
        raise ResultsError(f"{root}: no such folder; expected a run's folder, such as results/quick")
    if not ((root / "episodes.parquet").is_file() or (root / "cells").is_dir()):
        raise ResultsError(f"{root}: no records; expected episodes.parquet or cells/ in it, which `altbench run` makes")
    warn_of_unchecked(root)
    sweep = load_kept(root / "sweep.json") if (root / "sweep.json").is_file() else None
    everything, episodes, decisions = _read(root, sweep, submission)
    if episodes.empty:
        raise ResultsError(f"{root}: no finished cell in it; run the sweep again")
    measures = load_measures(root)
    films = {str(name): root / "videos" / f"{file_name(str(name))}.mp4" for name in episodes["name"].unique()}
    there = {name: path for name, path in films.items() if path.is_file()}
    made_by = load_fingerprint(root)
    return RunRecords(root, episodes, decisions, measures, sweep, made_by, there, everything, submission)


def _read(
    root: Path, sweep: SweepSpec | None, submission: Submission | None
) -> tuple[Episodes, pd.DataFrame, pd.DataFrame]:
    """Return all episodes, and episodes and decisions to hold: those of a sample of cells
    if there are more than `MOST_LOADED`.
    """
    parts = parts_of_run(load_parts(root), root, sweep, root)
    if submission:
        parts = EpisodeParts(parts.recorded, submission.with_collected)
    keys = _sample({key: parts.recorded.count(key) for key in parts.recorded.headers}, parts.recorded.headers)
    episodes, decisions = parts.add(parts.recorded.episodes(keys=keys)), parts.recorded.decisions(set(keys))
    return (episodes if len(keys) == len(parts.recorded) else parts), episodes, decisions


def _sample(counts: Mapping[str, int], headers: Mapping[str, CellHeader]) -> list[str]:
    """Return the keys of the cells to hold: all, or evenly chosen ones of each row's
    condition; if one of each were too many, of evenly chosen conditions.
    """
    total = sum(counts.values())
    if total <= MOST_LOADED:
        return list(counts)
    groups: dict[tuple[Any, ...], list[str]] = {}
    for key, header in sorted(headers.items(), key=lambda pair: pair[1].name):
        groups.setdefault(tuple(getattr(header, name) for name in (*ROW, *CONDITION)), []).append(key)
    chosen = [_evenly(own, len(own) * MOST_LOADED // total) for _, own in sorted(groups.items())]
    most = sum(counts[key] for own in chosen for key in own)
    return [key for own in _evenly(chosen, len(chosen) * MOST_LOADED // max(most, MOST_LOADED)) for key in own]


def _evenly(values: Sequence[T], wanted: int) -> list[T]:
    """Return `wanted` of `values`, at least one, evenly spaced."""
    wanted = max(1, wanted)
    return [values[i * len(values) // wanted] for i in range(wanted)]
