"""What a report says: its answer, its sections with their tables, and our numbers beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from altbench.report.table import Table


@dataclass(frozen=True)
class Report:
    """What an experiment found.

    `summary`: the answer in a few sentences, from the numbers that exist; empty without
    any. `missing`: what is missing beyond the run's own cells, which the writer lists.
    `frames`: by file stem, exact numbers that are published for later reports, since
    published episodes have no motions.
    """

    summary: str
    sections: tuple[Section, ...]
    reported: tuple[Reported, ...] = ()
    missing: tuple[str, ...] = ()
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """A part of a report: Markdown text, then tables and figures by file stem.

    `figures`: those of `Experiment.figures` that stand here.
    """

    heading: str
    text: str = ""
    tables: Mapping[str, Table] = field(default_factory=dict)
    figures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse text that Markdown would take for code."""
        if any(line.startswith("    ") for line in self.text.splitlines()):
            raise ValueError(
                f"section {self.heading!r}: Markdown shows indented lines as code; give the text to prose()"
            )


@dataclass(frozen=True)
class Reported:
    """A number of the paper beside ours.

    `ours`: as text, with its interval; empty if it was not measured. `second_hand`:
    known from notes on the paper alone; reports mark it with †.
    """

    quantity: str
    reported: str
    ours: str = ""
    second_hand: bool = False
