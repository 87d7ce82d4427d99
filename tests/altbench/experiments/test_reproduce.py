"""Two `altbench reproduce` in one folder, and how often a report reads its records."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import episode, measure

from altbench.cli import experiments as commands
from altbench.core.errors import AltbenchError
from altbench.core.spec import canonical
from altbench.experiments.e3_main_table import EXPERIMENT
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.results import cells, frames
from altbench.results.folder import RunFolder
from altbench.results.measures import load_measures, write_measure
from altbench.results.run import Run
from altbench.runner.episodes import cell_header
from altbench.sweeps.plan import make_plan
from altbench.sweeps.rows import provenance_of


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_is_in_use_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    told = rf"run: in use by process {os.getpid()} \(.*\); wait for it, or see what is there with `altbench experiments"
    with RunFolder(tmp_path / "run").locked():
        with pytest.raises(AltbenchError, match=told):
            commands.reproduce(["E1", "E3"], out=tmp_path, workers=0)
        assert files(tmp_path) == {"run/.lock"}


def test_reports_are_written_while_another_process_is_at_work(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").locked():
        commands.reproduce(["E1"], out=tmp_path, report_only=True)
    assert "E1-toy-manifolds/report.md" in files(tmp_path)


def test_a_lock_is_free_again_even_of_what_an_older_version_left(tmp_path: Path) -> None:
    for left in ("", "process 1 (killed long ago, with a long command line)\n"):
        (tmp_path / ".lock").write_text(left)
        with RunFolder(tmp_path).locked(), pytest.raises(AltbenchError) as refused, RunFolder(tmp_path).locked():
            pass
        assert str(os.getpid()) in str(refused.value) and "killed" not in str(refused.value)
    assert (tmp_path / ".lock").read_text().startswith("released")


def test_a_folder_that_cannot_be_locked_names_no_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(AltbenchError, match="No locks available") as refused, RunFolder(tmp_path).locked():
        pass
    assert "in use" not in str(refused.value)


def test_a_report_reads_each_cell_once_but_for_trajectories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = EXPERIMENT.sweeps("small")[0]
    plan = make_plan(sweep, provenance_of("cpu", "none", {}))
    for cell in plan.cells[1:]:
        cells.write_cell(tmp_path, cell_header(cell), [episode(i) for i in range(2)])
    run = ExperimentRun(tmp_path, tmp_path / "own", (Run(tmp_path, sweep, "cpu", "none", {}, plan),))
    read, whole = [], cells.read_table
    monkeypatch.setattr(frames, "read_table", lambda path, columns: read.append(path) or whole(path, columns))
    assert [cell.key for cell in run.recorded] == [cell.key for cell in plan.cells[1:]]
    assert plan.cells[0].name in run.missing and plan.cells[1].name not in run.missing
    assert len(run.episodes()) == len(run.episodes()) == 2 * len(run.recorded) <= len(run.decisions())
    assert sorted(read) == sorted(cells.cell_path(tmp_path, cell.key) for cell in run.recorded)
    assert run.records(plan.cells[0]) == () and len(run.records(plan.cells[1])) == 2


def test_published_records_count_for_cells_that_are_not_recorded_here_and_stay_published(tmp_path: Path) -> None:
    """What one machine finished, another one reports on, together with its own cells."""
    sweep = EXPERIMENT.sweeps("small")[0]
    plan = make_plan(sweep, provenance_of("cpu", "none", {}))
    first, second, *_ = plan.cells
    other = make_plan(sweep, provenance_of("cpu", "another machine", {}))
    before = {cell.name: cell for cell in other.cells}
    elsewhere, published = tmp_path / "elsewhere", tmp_path / "published"
    for cell in (before[first.name], before[second.name]):
        cells.write_cell(elsewhere, cell_header(cell), [episode(i) for i in range(3)])
    known = frames.load_recorded(elsewhere, [before[c.name].key for c in (first, second)])
    known.write_episodes(published)
    known.write_decisions(published)
    cells.write_cell(tmp_path, cell_header(first), [episode(i) for i in range(2)])

    made = Run(tmp_path, sweep, "cpu", "none", {}, plan)
    run = ExperimentRun(tmp_path, tmp_path / "own", (made,), published=published)
    assert [cell.name for cell in run.recorded] == [first.name]
    assert [cell.name for cell in run.from_published] == [second.name]
    assert run.episodes().groupby("name").size().to_dict() == {first.name: 2, second.name: 3}
    assert not {first.name, second.name} & set(run.missing) and run.with_other_settings == ()
    decisions = run.decisions().groupby("name")["episode"].nunique().to_dict()
    assert decisions == {first.name: 2, second.name: 3}
    run.write_episodes(tmp_path / "again")
    run.write_decisions(tmp_path / "again")
    assert frames.load_published(tmp_path / "again")["name"].nunique() == 2
    again = frames.load_published_decisions(tmp_path / "again")
    assert again.groupby("name")["episode"].nunique().to_dict() == decisions
    assert [*again.groupby("name")] and again.equals(again.sort_values(["name", "episode", "step"], kind="stable"))


def test_rows_whose_settings_have_changed_since_they_were_published_are_named(tmp_path: Path) -> None:
    sweep = EXPERIMENT.sweeps("small")[0]
    plan = make_plan(sweep, provenance_of("cpu", "none", {}))
    alt = next(cell for cell in plan.cells if cell.label == "alt")
    head = cell_header(alt)
    played = json.loads(head.spec_json)
    played["config"] = {**played["config"], "lookup": "nearest"}
    cells.write_cell(tmp_path / "old", replace(head, spec_json=canonical(played)), [episode(0)])
    frames.load_recorded(tmp_path / "old", [alt.key]).write_episodes(tmp_path / "published")
    made = Run(tmp_path, sweep, "cpu", "none", {}, plan)
    run = ExperimentRun(tmp_path, tmp_path / "own", (made,), published=tmp_path / "published")
    assert run.with_other_settings == ("alt",)


def test_published_measurements_count_for_rows_that_were_not_measured_here(tmp_path: Path) -> None:
    sweep = EXPERIMENT.sweeps("small")[0]
    plan = make_plan(sweep, provenance_of("cpu", "none", {}))
    (alt,) = (m for m in plan.measurements if m.label == "alt")
    (bc,) = (m for m in plan.measurements if m.label == "bc")
    published = tmp_path / "published"
    write_measure(published, "elsewhere-alt", measure("alt", p50=1.0))
    write_measure(published, "elsewhere-bc", measure("bc", p50=2.0))
    write_measure(published, "elsewhere-other", measure("other"))
    write_measure(tmp_path, alt.key, measure("alt", p50=3.0))

    run = ExperimentRun(
        tmp_path, tmp_path / "own", (Run(tmp_path, sweep, "cpu", "none", {}, plan),), published=published
    )
    assert [(m.label, m.latency_p50_s) for m in run.measures()] == [("alt", 3.0), ("bc", 2.0)]
    assert not {f"{alt.name}/measure", f"{bc.name}/measure"} & set(run.missing)
    assert len([name for name in run.missing if name.endswith("/measure")]) == len(plan.measurements) - 2
    run.write_measures(tmp_path / "again")
    assert {m.label: m.latency_p50_s for m in load_measures(tmp_path / "again")} == {"alt": 3.0, "bc": 2.0}
