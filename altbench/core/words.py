"""Numbers with their nouns, and lists of names, as sentences hold them."""

from __future__ import annotations

from collections.abc import Iterable


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: `1 cell`, `1,160 episodes`. `many`: default, `one` with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def listed(names: Iterable[str], last: str = "and", most: int | None = None) -> str:
    """Return `a`, `a and b` or `a, b and c`. Of more than `most` names: the first, and how many more."""
    found = list(names)
    if most is not None and len(found) > most:
        found = [*found[: most - 1], f"{len(found) - most + 1:,} more"]
    return f" {last} ".join(filter(None, [", ".join(found[:-1]), *found[-1:]]))
