"""Which rows and splits of experiments are played now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from altbench.core.errors import UnknownNameError
from altbench.sweeps.overrides import override
from altbench.sweeps.spec import SweepSpec


@dataclass(frozen=True)
class Part:
    """Rows, by label, and splits that are played now; empty: all of them.

    A report is always of the whole experiment, and names what was not played.
    """

    rows: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()

    def check(self, sweeps: Sequence[SweepSpec]) -> None:
        """Raise UnknownNameError for a row or a split that none of `sweeps` has."""
        known_rows = {entry.name for sweep in sweeps for entry in sweep.policies}
        known_splits = {entry.split for sweep in sweeps for entry in sweep.evaluations}
        for kind, wanted, known in (("row", self.rows, known_rows), ("split", self.splits, known_splits)):
            for name in wanted:
                if name not in known:
                    raise UnknownNameError(f"{kind} of these experiments", name, known)

    def of(self, sweeps: Sequence[SweepSpec]) -> list[SweepSpec]:
        """Return the part of each of `sweeps`; those that have none of it are left out."""
        return [part for sweep in sweeps if (part := self._of_one(sweep)) is not None]

    def _of_one(self, sweep: SweepSpec) -> SweepSpec | None:
        rows = [entry.name for entry in sweep.policies if entry.name in self.rows]
        if self.rows and not rows:
            return None
        sweep = override(sweep, only=rows)
        splits = [entry.split for entry in sweep.evaluations if entry.split in self.splits]
        if self.splits and not splits:
            return None
        return override(sweep, splits=splits)


WHOLE = Part()
