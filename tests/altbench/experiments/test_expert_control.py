"""The audits' control: the expert on the episodes that policies are audited on."""

from __future__ import annotations

from pathlib import Path

import pytest

from altbench.audit import cases
from altbench.experiments.shared import expert as expert_control
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.results import cells
from altbench.results.run import Run
from altbench.sweeps.plan import make_plan
from altbench.sweeps.rows import provenance_of
from altbench.sweeps.spec import EvaluationEntry, PolicyEntry, SweepSpec

EPISODES = 2


def run_of(root: Path) -> ExperimentRun:
    """Two policies and two columns, one column a case of the audit, with nothing recorded."""
    sweep = SweepSpec(
        name="control",
        tasks=("Lift",),
        policies=(PolicyEntry(policy="open_loop", n=(30,)), PolicyEntry(policy="kdtree", n=(30,))),
        evaluations=tuple(EvaluationEntry(split=split, episodes=EPISODES) for split in ("interpolate", "uniform")),
    )
    plan = make_plan(sweep, provenance_of("cpu", "none", {}))
    planned = Run(root, sweep, "cpu", "none", {"Lift": root / "none.hdf5"}, plan)
    return ExperimentRun(root, root / "own", (planned,))


@pytest.mark.slow
def test_the_expert_plays_each_case_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTBENCH_CACHE", str(tmp_path / "cache"))
    run, said = run_of(tmp_path), list[str]()
    assert expert_control.missing(run) == ("lift/expert/n30/s0/interpolate/clean",)
    assert expert_control.played(run) == []
    expert_control.play(run, said.append)
    assert said == ["playing Lift by its expert, interpolate"] and expert_control.missing(run) == ()
    ((cell, records),) = expert_control.played(run)
    assert (cell.label, cell.checkpoint.policy, cases.case_of(cell)) == ("expert", "expert", cases.CASES[2])
    assert [(r.episode, r.status, r.success) for r in records] == [(i, "ok", True) for i in range(EPISODES)]
    assert all(len(r.trajectory) == r.steps > 10 for r in records)
    assert records[0].trajectory != records[1].trajectory
    before = cells.cell_path(run.own, cell.key).read_bytes()
    expert_control.play(run, said.append)
    assert len(said) == 1 and cells.cell_path(run.own, cell.key).read_bytes() == before
