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

from altbench.audit import expert
from altbench.audit.calibration import calibrated_table
from altbench.audit.cases import ORDER, AuditedEpisode, audit_episodes, frame_of, training_trajectories
from altbench.audit.subject import Subject
from altbench.audit.tables import audit_table, terminal
from altbench.core import registry
from altbench.report.caveats import caveat_of, with_caveats
from altbench.report.table import Table, to_csv, write_table
from altbench.results import cells
from altbench.results.folder import remove_leftovers
from altbench.results.training import training_of_run
from altbench.runner.executors import make_executor
from altbench.runner.jobs import RolloutJob
from altbench.runner.progress import Board
from altbench.runner.scheduler import Scheduler
from altbench.stats.memorisation import TrainingSet
from altbench.stats.trajectories import Distance, Source
from altbench.system import fingerprint
from altbench.system.console import say
from altbench.system.console import show as print_all
from altbench.system.files import write_text
from altbench.system.fingerprint import Fingerprint

if TYPE_CHECKING:
    from altbench.report.drawing.layout import Failures


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


def play_expert(subject: Subject, folder: Path, console: Console) -> None:
    """Let the task's expert play the same episodes, into `folder`; it needs no images.

    Nothing is played that has a record, or if the task has no expert.
    """
    for cell in expert.controls(subject.cells):
        expert.play(subject.run, cell, folder, partial(say, console))


def audit_expert(subject: Subject, folder: Path, distance: Distance, source: Source) -> list[AuditedEpisode]:
    """Return the expert's recorded episodes of the subject's cases, audited."""
    training, found = _training(subject, distance, source), []
    for cell, records in expert.played(folder, expert.controls(subject.cells)):
        found += audit_episodes(cell, [r for r in records if r.episode < subject.episodes], training, source)
    return found


def audit(subject: Subject, distance: Distance, source: Source) -> list[AuditedEpisode]:
    """Return every recorded episode of the subject's cells, audited."""
    root, training, found = subject.run.root, _training(subject, distance, source), []
    for cell in subject.cells:
        if cells.is_recorded(root, cell.key):
            records = cells.read_cell(cells.cell_path(root, cell.key)).episodes
            wanted = [record for record in records if record.episode < subject.episodes]
            found += audit_episodes(cell, wanted, training, source)
    return found


def _training(subject: Subject, distance: Distance, source: Source) -> TrainingSet:
    demonstrations = subject.run.demonstrations(subject.checkpoint)
    return training_trajectories(demonstrations, registry.task(subject.checkpoint.task), distance, source)


def write(
    subject: Subject,
    audited: Sequence[AuditedEpisode],
    control: Sequence[AuditedEpisode],
    distance: Distance,
    source: Source,
    out: Path,
) -> tuple[tuple[Table, Table], Failures]:
    """Write calibrated.*, audit.*, episodes.csv, figures, fingerprint.json into `out`.

    `control`: the expert's episodes; without them only distances are told. Return the
    calibrated table and that of S, and the figures that could not be drawn.
    """
    frame = frame_of([*audited, *control])
    known = _caveats(subject)
    calibrated = with_caveats(calibrated_table(frame, distance, source), known)
    table = with_caveats(audit_table(frame, distance, source), known)
    made_by = dataclasses.replace(subject.run.fingerprint(), data=subject.checkpoint.data_checksum or None)
    write_table(calibrated, out, "calibrated", made_by)
    write_table(table, out, "audit", made_by)
    write_text(out / "episodes.csv", to_csv(dataclasses.replace(table, data=frame.drop(columns=ORDER))))
    fingerprint.write_fingerprint(out, made_by)
    return (calibrated, table), _draw(subject, audited, frame, made_by, out)


def _caveats(subject: Subject) -> dict[str, str]:
    """Return label -> what the tables must say of the row below them; empty without a need."""
    cell, trained = subject.cells[0], training_of_run(subject.run).get(subject.checkpoint.key, {})
    texts = [caveat_of(cell.checkpoint.policy, cell.config)]
    texts += ["a network that has not converged (training.json)"] if trained.get("converged") is False else []
    told = "; ".join(filter(None, texts))
    return {cell.label: told} if told else {}


def _draw(
    subject: Subject, audited: Sequence[AuditedEpisode], frame: pd.DataFrame, made_by: Fingerprint, out: Path
) -> Failures:
    from altbench.audit.figures import distribution, likeness_frame, similarity_bars
    from altbench.report.drawing.layout import draw_all
    from altbench.report.style import policy_styles

    if not frame["s"].notna().any():
        return ()
    styles = policy_styles(frame["label"], dict(zip(frame["label"], frame["policy"], strict=True)))
    figures = (
        ("similarity", partial(similarity_bars, likeness_frame(audited), subject.title, "case")),
        ("distribution", partial(distribution, frame, f"{subject.title}: S by case", styles)),
    )
    return draw_all(figures, out, made_by)[1]


def show(subject: Subject, tables: Sequence[Table], console: Console) -> None:
    """Print the audit's tables, how to read them, and what is missing from them."""
    for table in tables:
        print_all(console, terminal(table))
        say(console, table.note)
    if subject.checkpoint.task not in registry.names("expert"):
        say(console, f"{subject.checkpoint.task} has no scripted expert, so that nothing is calibrated", style="yellow")
    missing = [c.name for c in subject.cells if not cells.is_finished(subject.run.root, c.key)]
    for name in missing:
        say(console, ("missing", "yellow"), f" {name}")
