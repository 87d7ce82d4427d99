"""Reports that are made twice: once with the motions, once of what was published, which has none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import drawn
from altbench.experiments.shared.report import write_report
from altbench.experiments.shared.sections import Report
from altbench.report.table import Block, to_csv
from altbench.system.fingerprint import collect


def tables(report: Report) -> dict[str, tuple[str, tuple[Block, ...], str]]:
    """All that a report's tables show, by stem."""
    return {stem: (to_csv(t), t.blocks, t.note) for s in report.sections for stem, t in s.tables.items()}


def published(one: Experiment, report: Report, run: ExperimentRun, out: Path) -> ExperimentRun:
    """Publish a report under `out`; return what a machine finds of it that has nothing else."""
    write_report(one, report, run, out, collect())
    root = out / "elsewhere"
    found = dataclasses.replace(
        run,
        root=root,
        own=root / "own",
        runs=tuple(dataclasses.replace(r, root=root) for r in run.runs),
        published=out / one.folder,
    )
    assert not found.recorded and len(found.from_published) == len(run.recorded) > 0
    return found


def check_twice(one: Experiment, run: ExperimentRun, out: Path) -> Report:
    """Check that a report of published records is the one that was published, and so is the next; return it."""
    # A picture says what its tables say, and takes most of the time.
    one = dataclasses.replace(one, figures=lambda tables: drawn())
    before = one.report(run)
    elsewhere = published(one, before, run, out / "once")
    again = one.report(elsewhere)
    for other in (again, one.report(published_again(one, again, elsewhere, out / "twice"))):
        assert tables(other) == tables(before)
        assert (other.summary, other.reported, other.missing) == (before.summary, before.reported, before.missing)
        assert [section.text for section in other.sections] == [section.text for section in before.sections]
    return before


def published_again(one: Experiment, report: Report, run: ExperimentRun, out: Path) -> ExperimentRun:
    """Publish what was made of published records alone."""
    write_report(one, report, run, out, collect())
    return dataclasses.replace(run, published=out / one.folder)
