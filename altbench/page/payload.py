"""The data that the page's script reads: conditions and episodes, as plain lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from altbench.page.failures import FailureSection
from altbench.page.pairs import PairSection, pair_numbers
from altbench.page.records import RunRecords
from altbench.stats.rates import succeeded

MOST_EPISODES = 10_000
"""Of a run with more, the explorer holds a sample."""
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Signs that could end the script's element, or that JavaScript reads as line ends."""


def as_json(values: Any) -> Markup:
    """Return `values` as JSON that cannot end the element that holds it."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # A lone surrogate, as a file's name may hold, has no UTF-8.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    for sign, escape in _ESCAPES.items():
        text = text.replace(sign, escape)
    return Markup(text)


def sampled(episodes: pd.DataFrame) -> pd.DataFrame:
    """Return at most `MOST_EPISODES` rows, evenly spaced in the order of the table."""
    if len(episodes) <= MOST_EPISODES:
        return episodes
    return episodes.iloc[np.linspace(0, len(episodes) - 1, MOST_EPISODES).astype(int)]


def payload(run: RunRecords, compared: PairSection, failed: FailureSection, films: Mapping[str, str]) -> dict[str, Any]:
    """Return rows, conditions, cells, episodes and pairs; `films`: cell -> address."""
    names = sorted({name for one in run.conditions for name in one.cells})
    cells = {name: i for i, name in enumerate(names)}
    return {
        "root": run.shown_root,
        "film": failed.can_film,
        "unfilmed": "No film is made of a submission."
        if run.submission
        else "Not filmed; this folder has no cells, so run the sweep again to film it.",
        "rows": [[row.title, row.task, row.label, row.n, row.style] for row in run.rows],
        "conditions": [_condition(one, cells) for one in run.conditions],
        "cells": [[name, films.get(name, "")] for name in names],
        "episodes": _episodes(run, failed),
        "pairs": pair_numbers(compared.pairs, cells),
    }


def _condition(one: Any, cells: Mapping[str, int]) -> list[Any]:
    rounded = [None if value is None else round(value, 4) for value in (one.rate, one.low, one.high)]
    numbers = [one.row.number, one.title, one.successes, one.episodes, *rounded, one.missing]
    return [*numbers, [cells[name] for name in one.cells], one.split, one.perturbation, one.severity]


def _episodes(run: RunRecords, failed: FailureSection) -> dict[str, Any]:
    """Return the explorer's columns; texts that repeat are numbers into `texts`."""
    shown = sampled(run.episodes)
    of_cell = {name: one.number for one in run.conditions for name in one.cells}
    names = {name: i for i, name in enumerate(sorted(of_cell))}
    texts: dict[str, int] = {"": 0}
    won = succeeded(shown).to_numpy(bool)
    kinds = [failed.kinds.get((str(k), int(e)), "") for k, e in zip(shown["key"], shown["episode"], strict=True)]
    endings = ["success" if w else kind or status for w, kind, status in zip(won, kinds, shown["status"], strict=True)]
    return {
        "total": run.total,
        "condition": [of_cell.get(name, -1) for name in shown["name"]],
        "cell": [names.get(name, -1) for name in shown["name"]],
        "episode": [int(v) for v in shown["episode"]],
        "won": [int(v) for v in won],
        "ending": [texts.setdefault(text, len(texts)) for text in endings],
        "steps": [int(v) for v in shown["steps"]],
        "score": [round(float(v), 3) if np.isfinite(v) else None for v in shown["max_ood_score"].astype(float)],
        "flag": [None if pd.isna(v) else int(v) for v in shown["first_flagged_step"]],
        "message": [texts.setdefault(text[:300], len(texts)) for text in shown["message"].fillna("")],
        "texts": list(texts),
    }
