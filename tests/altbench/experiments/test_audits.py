"""The audits' and E7's reports, on episodes and decisions made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from synthetic import episode
from twice import check_twice, tables

from altbench.audit.calibration import calibrated_table
from altbench.audit.cases import CASES, frame_of, summary_of
from altbench.experiments import e2_audit_lift as audit_lift
from altbench.experiments import e5_audit_tasks as audit_tasks
from altbench.experiments import e7_multimodality as multimodality
from altbench.experiments.shared import expert as expert_control
from altbench.experiments.shared.audits import highest, paired_gap, ways_table
from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Tables
from altbench.experiments.shared.sections import Report
from altbench.results import cells
from altbench.results.run import Run
from altbench.rollout.records import EpisodeRecord, StepRecord
from altbench.runner.episodes import cell_header
from altbench.stats.trajectories import find_distance
from altbench.sweeps.plan import make_plan
from altbench.sweeps.rows import provenance_of


def scores(label: str, values: list[float | None], case: str = "in_distribution") -> pd.DataFrame:
    """The columns of an audit's frame that reports read."""
    frame = frame_of([]).reindex(range(len(values)))
    return frame.assign(
        task="Lift",
        label=label,
        n=30,
        case=case,
        s=values,
        success=True,
        episode=range(len(values)),
        seed=7,
        spec_json="",
    ).astype({"s": float})


def test_a_gap_is_of_the_same_episodes_and_has_an_interval() -> None:
    first, second = scores("diffusion", [0.8, 0.9, None, 0.7]), scores("bc", [0.6, 0.6, 0.1, 0.3])
    gap = paired_gap(pd.concat([first, second]), "diffusion", "bc")
    assert gap is not None and gap.n == 3
    assert gap.mean == pytest.approx(0.3) and 0.2 <= gap.low < 0.3 < gap.high <= 0.4
    assert gap.text.startswith("diffusion - bc: 0.30 [0.2") and gap.text.endswith("(3 pairs)")
    assert paired_gap(first, "diffusion", "bc") is None
    assert paired_gap(pd.concat([first.head(1), second]), "diffusion", "bc") is None


def test_what_is_said_of_s_counts_poses() -> None:
    """Episodes of `recall` with ten demonstrations begin from ten poses; here each pose has its own S."""
    poses = np.random.default_rng(0).normal(0.5, 0.1, 10)
    own = scores("bc", list(np.tile(poses, 10))).assign(n=10, split="recall")
    other = own.assign(label="act", s=0.0)
    alone = own.assign(split="uniform")
    for few, many in (
        (summary_of(own), summary_of(alone)),
        (paired_gap(pd.concat([own, other]), "bc", "act"), paired_gap(pd.concat([alone, other]), "bc", "act")),
    ):
        assert few is not None and many is not None and few.mean == pytest.approx(many.mean)
        assert few.high - few.low > 2.5 * (many.high - many.low)


def test_e2_tells_differences_of_s_and_calls_none_of_them_recall() -> None:
    rng = np.random.default_rng(0)
    near, far = list(rng.normal(0.8, 0.05, 60)), list(rng.normal(0.5, 0.05, 60))
    frame = pd.concat([scores("diffusion", near), scores("act", far), scores("bc", near[::-1])])
    told = audit_lift._summary(frame, calibrated_table(frame, find_distance("resampled"), "positions"), "small")
    assert "Differences of mean S in distribution: diffusion - act: 0.30 [0.2" in told
    assert "; diffusion - bc: 0.00 [" in told and "recalls more" not in told
    order = audit_lift._ranking(frame)
    assert order.startswith("- in distribution: by highest S ") and "interpolate" not in order
    ours = {r.quantity: r.ours for r in audit_lift._reported(frame)}
    assert list(ours)[:3] == [f"highest S, in distribution: {label}" for label in ("alt", "diffusion", "act")]
    assert ours["highest S, in distribution: diffusion"] == f"{max(near):.3f} (of 60; mean {np.mean(near):.2f})"
    assert ours["highest S, interpolate: diffusion"] == ours["highest S, in distribution: alt"] == ""


def test_e5_has_one_row_per_task_with_both_of_ours() -> None:
    positions = pd.concat([scores("diffusion", [0.5, 0.7]).assign(task=task) for task in ("Can", "Transport")])
    actions = scores("diffusion", [0.25]).assign(task="Transport")
    told = [(r.quantity, r.reported, r.ours, r.second_hand) for r in audit_tasks._reported(positions, actions)]
    assert told == [
        ("ToolHang, diffusion: highest S", "0.962", "", True),
        (
            "Transport, diffusion: highest S",
            "0.965",
            "positions 0.700 (of 2; mean 0.60); actions 0.250 (of 1; mean 0.25)",
            True,
        ),
        ("Can, diffusion: highest S", "", "positions 0.700 (of 2; mean 0.60)", False),
        ("Square, diffusion: highest S", "", "", False),
    ]


def test_ways_stand_beside_each_other() -> None:
    frame = scores("bc", [0.5, 1.0])
    failed = frame.assign(success=[False, True])
    table = ways_table({"one": frame, "other": failed}, ["label", "case"], ["policy", "case"])
    assert table.blocks[0].header[:2] == ("policy", "case") and len(table.data) == 2
    assert table.blocks[0].rows == (
        ("bc", "in distribution", "1.000, 0.75 [0.50, 1.00], 0.75", "1.000, 0.75 [0.50, 1.00], 1.00"),
    )


def test_highest_of_nothing_is_empty() -> None:
    assert highest(frame_of([]), CASES[0], label="bc") == ""
    assert highest(scores("bc", [0.25, None]), CASES[0], label="bc") == "0.250 (of 1; mean 0.25)"


# ------------------------------------------------------------------------------------------------ on recorded cells


def recorded(one: Experiment, root: Path, make: object) -> ExperimentRun:
    """A run of `one` in which every cell has the episodes that `make(cell)` gives, and demonstrations of the fake."""
    runs = []
    for sweep in one.sweeps("small"):
        plan = make_plan(sweep, provenance_of("cpu", "none", {}))
        data = dict.fromkeys(sweep.tasks, root / "none.hdf5")
        runs.append(Run(root, sweep, "cpu", "none", data, plan))
        for cell in plan.cells:
            cells.write_cell(root, cell_header(cell), make(cell))  # type: ignore[operator]
    return ExperimentRun(root, root / "own", tuple(runs))


@pytest.fixture
def demonstrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Demonstration i, at pose i modulo 30, goes along x at the height i mm; Transport's in both arms."""
    import fakes

    def make(run: ExperimentRun, checkpoint: object) -> tuple[object, ...]:
        n, arms = checkpoint.n, 2 if checkpoint.task == "Transport" else 1  # type: ignore[attr-defined]
        one = fakes.make_demonstrations(1)[0]
        return tuple(replace(one, index=i, grid_index=i % 30, **_way(i / 1000, arms)) for i in range(n))

    monkeypatch.setattr(ExperimentRun, "demonstrations", make)


def _way(y: float, arms: int) -> dict[str, np.ndarray]:
    way = np.stack([np.linspace(0, 0.3, 5), np.full(5, y), np.ones(5)], axis=1)
    pos, act = np.zeros((5, arms, 11)), np.zeros((5, arms, 10))
    pos[:, :, :3], act[:, :, :3] = way[:, None], way[:, None]
    return {"agent_pos": pos.reshape(5, -1).astype(np.float32), "actions": act.reshape(5, -1).astype(np.float32)}


def played(number: int, y: float, arms: int = 1) -> EpisodeRecord:
    """An episode along a way at height `y`."""
    way = _way(y, arms)
    after = np.concatenate([way["agent_pos"][1:], way["agent_pos"][-1:]])
    steps = [StepRecord(tuple(map(float, a)), tuple(map(float, p))) for a, p in zip(way["actions"], after, strict=True)]
    return replace(episode(number), trajectory=tuple(steps), steps=5)


def audit_of(report: Report) -> pd.DataFrame:
    """The table of S of a report."""
    return next(s.tables["audit"].data for s in report.sections if "audit" in s.tables)


@pytest.mark.usefixtures("demonstrations")
@pytest.mark.parametrize("one", [audit_lift.EXPERIMENT, audit_tasks.EXPERIMENT], ids=["E2", "E5"])
def test_the_audits_report_on_recorded_cells(one: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_lift, "POLICIES", ("open_loop", "bc", "diffusion"))
    offset = {"diffusion": 0.0001, "alt": 0.0, "open_loop": 0.0, "bc": 0.0004}

    def make(cell: object) -> list[EpisodeRecord]:
        point = cell.checkpoint  # type: ignore[attr-defined]
        arms = 2 if point.task == "Transport" else 1
        return [played(i, i / 1000 + offset[point.label], arms) for i in range(4)]

    report = one.report(recorded(one, tmp_path, make))
    table = audit_of(report)
    by_label = table.groupby("label")["mean"].mean()
    assert by_label["diffusion"] == pytest.approx(0.9, abs=1e-3)
    assert len(table) == (15 if one.id == "E2" else 8)
    assert "diffusion" in report.summary and any("0.900 (of 4; mean 0.90" in r.ours for r in report.reported)
    assert len(report.missing) == (5 if one.id == "E2" else 4)  # the expert's
    named = {stem for section in report.sections for stem in section.figures}
    found = one.figures(Tables({stem: t.data for s in report.sections for stem, t in s.tables.items()}))
    assert named == set(found) == {"distribution", "similarity"}
    assert all(isinstance(figure, Figure) for figure in found.values())
    ways = next(s.tables["ways"] for s in report.sections if "ways" in s.tables)
    assert set(ways.data["way"]) == {"positions, resampled", "positions, time warping", "actions, resampled"}


@pytest.mark.usefixtures("demonstrations")
def test_e2_sets_the_expert_beside_the_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_lift, "POLICIES", ("open_loop", "diffusion"))
    run = recorded(audit_lift.EXPERIMENT, tmp_path, lambda cell: [played(i, i / 1000) for i in range(4)])
    for cell in expert_control.controls(run):
        cells.write_cell(run.own, cell_header(cell), [played(i, i / 1000 + 0.0002) for i in range(4)])
    report = audit_lift.report(run)
    data = audit_of(report)
    assert len(data) == 15 and report.missing == ()
    calibrated = report.sections[0].tables["calibrated"].data
    assert len(calibrated) == 15 and calibrated["distance_m"].notna().all() and calibrated["rate"].isna().all()
    assert data[data["label"] == "expert"]["mean"].to_numpy() == pytest.approx(0.8, abs=1e-3)
    control = next(s.text for s in report.sections if s.heading == "What S does not say")
    assert "- interpolate: the expert's highest S 0.800, mean 0.80; open_loop - expert: 0.20 [0.20, 0.20]" in control
    assert control.count("diffusion - expert: 0.20") == len(CASES)
    told = "the expert, which recalls nothing, has a highest S of 0.800 (of 4; mean 0.80) in distribution."
    assert f"S alone is no sign of recall: {told}" in report.summary


def unlike(cell: object, number: int) -> EpisodeRecord:
    """An episode of a policy, near a demonstration but for what tells its label and its number."""
    point = cell.checkpoint  # type: ignore[attr-defined]
    offset = {"diffusion": 1 / 7e4, "alt": 0.0, "open_loop": 1 / 3e4, "expert": 1 / 9e3}[point.label]
    one = played(number, number / 1000 + offset * (1 + number) ** 0.5, 2 if point.task == "Transport" else 1)
    return replace(one, success=number % 7 != 3, seed=number)


@pytest.mark.usefixtures("demonstrations")
@pytest.mark.parametrize("one", [audit_lift.EXPERIMENT, audit_tasks.EXPERIMENT], ids=["E2", "E5"])
def test_the_audits_are_told_without_motions(one: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_lift, "POLICIES", ("open_loop", "diffusion"))
    run = recorded(one, tmp_path / "here", lambda cell: [unlike(cell, i) for i in range(25)])
    for cell in expert_control.controls(run):
        cells.write_cell(run.own, cell_header(cell), [unlike(cell, i) for i in range(25)])
    before = check_twice(one, run, tmp_path)
    calibrated = tables(before)["calibrated"][0]
    assert before.missing == () and "memorised" in calibrated and "expert" in calibrated
    # What was played here counts beside what was published.
    elsewhere = replace(run, root=tmp_path / "once" / "elsewhere", published=tmp_path / "once" / one.folder)
    for cell in elsewhere.cells:
        if cell.label == "diffusion":
            cells.write_cell(elsewhere.root, cell_header(cell), [unlike(cell, i) for i in range(25)])
    both = replace(elsewhere, own=tmp_path / "nothing")
    assert {cell.label for cell in both.recorded} == {"diffusion"} != {cell.label for cell in both.from_published}
    found, whole = tables(one.report(both)), tables(before)
    assert sorted(found.pop("similarity")[0].split()) == sorted(whole.pop("similarity")[0].split())
    assert found == whole


@pytest.mark.usefixtures("demonstrations")
def test_e7_counts_demonstrations_and_where_they_come_from(tmp_path: Path) -> None:
    """Episode i starts at pose i: with 120, all three matches are of that pose; with 30, two are of one demonstration."""

    def make(cell: object) -> list[EpisodeRecord]:
        n = cell.checkpoint.n  # type: ignore[attr-defined]
        records = []
        for i in range(6):
            matches = ((i, 0), (i + 30, 0), (i + 60, 1)) if n == 120 else ((i, 0), (i, 1), (i + 1, 0))
            decisions = tuple(replace(d, matches=matches, similarities=(0.9, 0.8, 0.7)) for d in episode(i).decisions)
            records.append(replace(episode(i), decisions=decisions))
        return records

    run = recorded(multimodality.EXPERIMENT, tmp_path, make)
    report = check_twice(multimodality.EXPERIMENT, run, tmp_path / "published")
    data = report.sections[0].tables["multimodality"].data.set_index("n")
    assert data["distinct"].to_dict() == {30: 2.0, 120: 3.0}
    assert data["several"].to_dict() == {30: 1.0, 120: 1.0}
    assert data.loc[120, "at_pose"] == 1.0 and data.loc[30, "at_pose"] == pytest.approx(2 / 3)
    origins = data[[c for c in data.columns if c.startswith(("same", "another"))]]
    assert origins.loc[30].to_list() == [0.5, 0.0, 0.5] and origins.loc[120].to_list() == [0.0, 1.0, 0.0]
    assert "100 % of the second and third matches are of the same pose" in report.summary
    assert report.reported[0].ours == "3.00 [3.00, 3.00] of 3; several in 100 % [100, 100]"
    assert report.sections[0].figures == ("matches",)


def test_e7_s_intervals_count_poses() -> None:
    values = np.random.default_rng(0).integers(1, 4, 10)
    origins = {f"origin_{i}": multimodality.ORIGINS[0] for i in (1, 2)}
    episodes = pd.DataFrame(
        {"episode": range(100), "distinct": np.tile(values, 10), "at_pose": 3, "first": 0, **origins}
    )
    few, many = (multimodality._measured(episodes.assign(pose=pose)) for pose in (episodes["episode"] % 10, range(100)))
    (mean, low, high), (same, least, most) = few["distinct"], many["distinct"]
    assert mean == same and high - low > 2.5 * (most - least)


def test_e7_s_numbers_are_white_on_dark_bars_and_small_ones_stand_above() -> None:
    shares = {"share_1": 0.7, "share_2": 0.28, "share_3": 0.02}
    origins = {"same_demonstration": 0.5, "same_pose_another_demonstration": 0.3, "another_pose": 0.2}
    left, right = multimodality.draw(pd.DataFrame([{"n": 30, **shares, **origins}])).axes
    assert [text.get_color() for text in right.texts] == ["white", "black", "black"]
    assert [(text.get_text(), text.get_position()[1] < -0.3) for text in left.texts] == [
        *(("70 %", False), ("28 %", False), ("2 %", True))
    ]
