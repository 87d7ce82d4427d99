"""Stars of figures: which of a figure's rows have not converged, and the line that explains them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

STAR = " *"
"""What follows the name of a row that has not converged."""
UNCONVERGED = "* Not ranked: the network has not converged"


class Shown(NamedTuple):
    """A number of a figure: its `row`, how the row is called, where in the row it stands.

    `late`: whether a network behind the number has not converged.
    """

    row: Hashable
    name: str
    place: str
    late: bool


@dataclass(frozen=True)
class Stars:
    """The rows of a figure with a star, and the line that explains it; empty without stars."""

    rows: frozenset[Hashable] = frozenset()
    note: str = ""

    def named(self, row: Hashable, name: str) -> str:
        """Return the name of a row as the figure writes it."""
        return f"{name}{STAR}" if row in self.rows else name

    def under(self, title: str) -> str:
        """Return the title, and below it what a star means."""
        return "\n".join(filter(None, (title, self.note)))


NO_STARS = Stars()


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
