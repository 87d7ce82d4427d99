"""Stars: which rows of a figure or a table have not converged, and the line that explains them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

STAR = " *"
"""What follows the name or the number of a row that has not converged."""
UNCONVERGED = "* Not ranked: the network has not converged"
_NOTE = (
    " Not converged, marked *, and not ranked: {rows}. Their networks saw the frames fewer than 100 times, and training did"
    " not end at a plateau of the loss (training.json)."
)


class Shown(NamedTuple):
    """A number of a figure: its `row`, how the row is called, where in the row it stands.

    `late`: whether a network behind the number has not converged.
    """

    row: Hashable
    name: str
    place: str
    late: bool


def starred(text: str, late: bool) -> str:
    """Return a text, with a star if a network behind it has not converged."""
    return f"{text}{STAR}" if late else text


@dataclass(frozen=True)
class Stars:
    """The rows of a figure with a star, and the line that explains it; empty without stars."""

    rows: frozenset[Hashable] = frozenset()
    note: str = ""

    def named(self, row: Hashable, name: str) -> str:
        """Return the name of a row as the figure writes it."""
        return starred(name, row in self.rows)

    def under(self, title: str) -> str:
        """Return the title, and below it what a star means."""
        return "\n".join(filter(None, (title, self.note)))


NO_STARS = Stars()

Unconverged = Collection[tuple[str, str, int]]
"""(task, label, N) of the rows with a checkpoint that has not converged."""


def unconverged_rows(frame: pd.DataFrame) -> set[tuple[str, str, int]]:
    """Return (task, label, N) of the rows with a checkpoint that has not converged."""
    if "converged" not in frame:
        return set()
    short = frame.loc[~frame["converged"].astype(bool), ["task", "label", "n"]].drop_duplicates()
    return {(str(task), str(label), int(n)) for task, label, n in short.itertuples(index=False)}


def not_converged(short: Unconverged, rates: pd.DataFrame) -> list[bool]:
    """Return whether each of `rates` is of a row in `short`, which has not converged."""
    return [(task, label, n) in short for task, label, n in zip(rates["task"], rates["label"], rates["n"], strict=True)]


def unconverged_note(short: Unconverged) -> str:
    """Return what the note of a table says of its stars; empty without any."""
    rows = sorted({f"{task}, {label}, N {n}" for task, label, n in short})
    return _NOTE.format(rows="; ".join(rows)) if rows else ""


def stars_among(shown: pd.DataFrame, short: Unconverged, rows: Iterable[Hashable]) -> Stars:
    """Return the stars of a figure that shows all of `shown` (task, label, n).

    `rows`: the row of the figure that each of `shown` stands in. A row has one label.
    """
    each = zip(rows, shown["label"], shown["n"], not_converged(short, shown), strict=True)
    return stars_of(Shown(row, label, f"N = {n}", late) for row, label, n, late in each)


def stars_of(shown: Iterable[Shown]) -> Stars:
    """Return the stars of a figure, from all that it shows and nothing else.

    So a figure explains a star exactly if it has one. If a row has converged in some of
    its places, the line says in which it has not.
    """
    every = list(shown)
    late: dict[Hashable, list[Shown]] = {}
    for one in every:
        if one.late:
            late.setdefault(one.row, []).append(one)
    if not late:
        return NO_STARS
    partly = {one.row for one in every if not one.late} & set(late)
    told = [_told(own, row in partly) for row, own in late.items()]
    return Stars(frozenset(late), f"{UNCONVERGED} ({'; '.join(told)})" if partly else UNCONVERGED)


def _told(own: list[Shown], partly: bool) -> str:
    places = ", ".join(dict.fromkeys(one.place for one in own))
    return f"{own[0].name}: {places}" if partly else own[0].name
