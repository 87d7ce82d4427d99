"""How long a run's checkpoints trained, and which of them have not converged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from altbench.core.errors import AltbenchError
from altbench.results.checkpoints import read_card
from altbench.results.notes import load_notes, save_notes
from altbench.results.run import Run

FILE = "training.json"
"""Beside a run's records: checkpoint key -> name, epochs and whether it converged."""
COLUMN = "converged"
"""The column that `with_training` adds."""


def training_of_run(run: Run) -> dict[str, dict[str, Any]]:
    """Return what the cards of a run's checkpoints say, by checkpoint key.

    Those that are missing, or whose policies have no rule, are left out.
    """
    found = {}
    for point in run.plan.checkpoints:
        folder = run.checkpoint_folder(point)
        try:
            card = read_card(folder) if folder else None
        except AltbenchError:  # damaged: the next run fits it anew
            card = None
        if card is not None and card.converged is not None:
            found[point.key] = {"name": point.name, "epochs": card.epochs, "converged": card.converged}
    return found


def write_training(run: Run, out: Path) -> None:
    """Write `FILE` into `out`, as far as anything is known; what it knew before stays."""
    save_training({**load_training(out), **training_of_run(run)}, out)


def save_training(known: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Write `FILE` into `out`, if anything is known."""
    save_notes(known, out / FILE)


def load_training(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what `FILE` in `folder` says; empty without it, or if it is damaged."""
    return load_notes(folder / FILE)


def with_training(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return `frame` with `COLUMN`: False for episodes of checkpoints that have not converged.

    True also where nothing is known.
    """
    return adding_training(folder)(frame)


def adding_training(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return `with_training` for many frames of one run: the file is read once."""
    training = load_training(folder)
    return lambda frame: marked_unconverged(frame, training)


def marked_unconverged(frame: pd.DataFrame, training: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return `frame` with `COLUMN`, as `with_training`, from what `FILE` says."""
    short = {key for key, value in training.items() if value["converged"] is False}
    return frame.assign(**{COLUMN: ~frame["checkpoint_key"].isin(short)}) if short else frame
