"""The work of `altbench audit`: play the subject's missing episodes, audit all, write
the results.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console

from altbench.audit.cases import AuditedEpisode, audit_episodes, frame_of, training_trajectories
from altbench.audit.subject import Subject
from altbench.audit.tables import audit_table, terminal
from altbench.core import registry
from altbench.report.table import Table, to_csv, write_table
from altbench.results import cells
from altbench.results.folder import remove_leftovers
from altbench.runner.executors import make_executor
from altbench.runner.jobs import RolloutJob
from altbench.runner.progress import Board
from altbench.runner.scheduler import Scheduler
from altbench.stats.trajectories import Distance, Source
from altbench.system import fingerprint
from altbench.system.console import say
from altbench.system.console import show as print_all
from altbench.system.files import write_text
from altbench.system.fingerprint import Fingerprint

if TYPE_CHECKING:
    from altbench.report.style import Failures


def run_missing(subject: Subject, workers: int, console: Console) -> dict[str, str]:
    """Play the cells that have no finished record yet, into the run's folder.

    Return name -> reason for those that failed.
    """
    todo = [RolloutJob(cell) for cell in subject.cells if not cells.is_finished(subject.run.root, cell.key)]
    if not todo:
        return {}
    executor, folder = make_executor(workers), subject.run.folder
    try:
        with folder.locked():
            remove_leftovers(folder.root)
            return Scheduler(subject.run, executor, Board(console, workers)).finish(todo).failed
    finally:
        executor.close()


def audit(subject: Subject, distance: Distance, source: Source) -> list[AuditedEpisode]:
    """Return every recorded episode of the subject's cells, audited."""
    task, root = registry.task(subject.checkpoint.task), subject.run.root
    training = training_trajectories(subject.run.demonstrations(subject.checkpoint), task, distance, source)
    found = []
    for cell in subject.cells:
        if cells.is_recorded(root, cell.key):
            records = cells.read_cell(cells.cell_path(root, cell.key)).episodes
            wanted = [record for record in records if record.episode < subject.episodes]
            found += audit_episodes(cell, wanted, training, source)
    return found


def write(
    subject: Subject, audited: Sequence[AuditedEpisode], distance: Distance, source: Source, out: Path
) -> tuple[Table, Failures]:
    """Write audit.*, episodes.csv, figures and fingerprint.json into `out`.

    Return the audit's table, and the figures that could not be drawn.
    """
    frame = frame_of(audited)
    table = audit_table(frame, distance, source)
    made_by = fingerprint.collect(renderer=subject.run.renderer, data=subject.checkpoint.data_checksum or None)
    write_table(table, out, "audit", made_by)
    write_text(out / "episodes.csv", to_csv(dataclasses.replace(table, data=frame)))
    fingerprint.write_fingerprint(out, made_by)
    return table, _draw(subject, audited, frame, made_by, out)


def _draw(
    subject: Subject, audited: Sequence[AuditedEpisode], frame: pd.DataFrame, made_by: Fingerprint, out: Path
) -> Failures:
    from altbench.audit.figures import distribution, similarity_bars
    from altbench.report.style import draw_all, policy_styles

    if not frame["s"].notna().any():
        return ()
    titles = (f"{subject.title}: similarity of an episode to each demonstration", f"{subject.title}: S by case")
    figures = (
        ("similarity", partial(similarity_bars, audited, titles[0])),
        ("distribution", partial(distribution, frame, titles[1], policy_styles(frame["label"]))),
    )
    return draw_all(figures, out, made_by)[1]


def show(subject: Subject, table: Table, console: Console) -> None:
    """Print the audit, how S is defined, and what is missing from it."""
    print_all(console, terminal(table))
    say(console, table.note)
    missing = [c.name for c in subject.cells if not cells.is_finished(subject.run.root, c.key)]
    for name in missing:
        say(console, ("missing", "yellow"), f" {name}")
