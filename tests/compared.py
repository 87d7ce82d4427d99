"""Runs to compare, as folders and as frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from synthetic import FINGERPRINT, episode, header

from altbench.results.cells import write_cell
from altbench.rollout.records import EpisodeRecord
from altbench.system.fingerprint import write_fingerprint

NAME = "lift/alt/n30/s0/recall/clean"


def run(folder: Path, cells: Mapping[str, Sequence[bool]], **fingerprint: object) -> Path:
    """A run whose cells (one per label) have the given outcomes."""
    for label, outcomes in cells.items():
        write_cell(folder, header(label, 30, "recall"), [episode(i, hit) for i, hit in enumerate(outcomes)])
    write_fingerprint(folder, dataclasses.replace(FINGERPRINT, **fingerprint))
    return folder


def episodes_of(folder: Path, label: str, episodes: Sequence[EpisodeRecord]) -> Path:
    """The same, of one cell with the given episodes."""
    write_cell(folder, header(label, 30, "recall"), episodes)
    write_fingerprint(folder, FINGERPRINT)
    return folder


def frame(cells: Mapping[str, Sequence[bool]], status: str = "ok") -> pd.DataFrame:
    """The episodes of a run. A name is LABEL/SPLIT/COLUMN; each label has one checkpoint."""
    parts = []
    for name, outcomes in cells.items():
        label, split, _ = name.split("/")
        numbers = np.arange(len(outcomes))
        parts.append(
            pd.DataFrame(
                {
                    "name": name,
                    "task": "Lift",
                    "label": label,
                    "split": split,
                    "checkpoint_key": label,
                    "seed": 1000 + numbers,
                    "episode": numbers,
                    "status": status,
                    "success": list(outcomes),
                    "flagged": pd.array([None] * len(outcomes), dtype="boolean"),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
