"""`altbench audit` on the fake task: subjects found, missing episodes played once, files written; and its figures."""

from __future__ import annotations

import io
import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import fakes
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.markers import CARETLEFTBASE
from matplotlib.transforms import Bbox
from rich.console import Console
from running import run_bare
from synthetic import FINGERPRINT

from altbench.audit import run as audit_run
from altbench.audit.cases import CASES, AuditedEpisode, audit_episodes, case_of, choose_cases, evaluations, frame_of
from altbench.audit.figures import LOWEST, distribution, likeness_frame, similarity_bars
from altbench.audit.subject import Subject, find_subject
from altbench.audit.tables import audit_table
from altbench.core import registry
from altbench.core.errors import CheckpointError, ConfigError, DatasetError, ResultsError, UnknownNameError
from altbench.report.drawing.layout import add_footer
from altbench.report.style import policy_styles, styled
from altbench.results import cells as results
from altbench.results import history
from altbench.rollout.records import EpisodeRecord, StepRecord
from altbench.stats.memorisation import TrainingSet
from altbench.stats.trajectories import find_distance
from altbench.sweeps.plan import Cell, make_plan
from altbench.sweeps.rows import provenance_of
from altbench.sweeps.spec import SweepSpec

DISTANCE = find_distance("resampled")
SWEEP = {
    "name": "fake",
    "tasks": ["Fake"],
    "image_size": [32, 32],
    "demonstrations": {"n": 6},
    "policies": [
        {"policy": "open_loop", "n": [1, 6]},
        {"policy": "open_loop", "label": "again", "n": [6]},
        {"policy": "random", "n": [6]},
    ],
    "evaluations": [{"split": "recall", "episodes": 4}],
    "measure": False,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `open_loop`, which recalls, and `random`, which does not."""
    fakes.register()
    root = tmp_path_factory.mktemp("run") / "fake"
    run_bare(SweepSpec.parse(SWEEP, "fake.toml"), root)
    return root


def checkpoint(run: Path, n: int = 6) -> Path:
    return next((run / "checkpoints").glob(f"fake-open_loop-n{n}-*"))


def find(
    name: str | Path, run: Path | None = None, cases: tuple[str, ...] = ("in_distribution",), n: int = 4
) -> Subject:
    return find_subject(str(name), run, "none", cases, n)


def play(subject: Subject) -> str:
    text = io.StringIO()
    assert audit_run.run_missing(subject, 0, Console(file=text, width=120)) == {}
    return text.getvalue()


def test_it_plays_what_is_missing_once_and_leaves_the_run_as_it_is(run: Path) -> None:
    before = (run / "sweep.json").read_bytes()
    subject = find(checkpoint(run), n=8)
    assert subject.name == "fake/open_loop/n6/s0" and [c.episodes for c in subject.cells] == [8]
    assert "fake/open_loop/n6/s0/recall/clean" in play(subject)
    assert play(find(checkpoint(run), n=8)) == ""
    assert (run / "sweep.json").read_bytes() == before
    results.cell_path(run, subject.cells[0].key).unlink()


def test_episodes_that_the_run_has_are_not_played_again(run: Path) -> None:
    for episodes in (4, 3):
        subject = find(checkpoint(run), n=episodes)
        assert [c.episodes for c in subject.cells] == [4] and play(subject) == ""
        audited = audit_run.audit(subject, DISTANCE, "positions")
        assert [one.record.episode for one in audited] == list(range(episodes))


def test_open_loop_recalls_and_random_does_not(run: Path) -> None:
    subject = find("fake/open_loop/n6/s0", run)
    recalled = audit_run.audit(subject, DISTANCE, "positions")
    assert all(one.s is not None and one.s > 0.6 for one in recalled)
    shown = [demonstration.index for demonstration in subject.run.demonstrations(subject.checkpoint)]
    assert [one.likeness.nearest for one in recalled if one.likeness] == shown[:4]
    commanded = audit_run.audit(find("fake/open_loop/n6/s0", run), DISTANCE, "actions")
    assert [one.s for one in commanded] == [1.0] * 4
    wandered = audit_run.audit(find("fake/random/n6/s0", run), DISTANCE, "positions")
    assert all(one.s is not None and one.s < 0.5 for one in wandered)


def test_a_row_that_shares_its_checkpoint_is_found_by_name(run: Path) -> None:
    subject = find("fake/again/n6/s0", run)
    assert subject.name == "fake/again/n6/s0" and play(subject) == ""


def test_the_files_say_all_that_a_hand_needs(run: Path, tmp_path: Path) -> None:
    subject = find(checkpoint(run))
    audited = audit_run.audit(subject, DISTANCE, "positions")
    tables, failures = audit_run.write(subject, audited, (), DISTANCE, "positions", tmp_path)
    assert failures == ()
    names = {path.name for path in tmp_path.iterdir()}
    pictures = {f"{stem}.{suffix}" for stem in ("similarity", "distribution") for suffix in ("png", "svg")}
    calibrated = {f"calibrated.{suffix}" for suffix in ("csv", "md", "tex", "json")}
    assert names == calibrated | pictures | {
        "audit.csv",
        "audit.md",
        "audit.tex",
        "audit.json",
        "episodes.csv",
        "fingerprint.json",
    }
    episodes = pd.read_csv(tmp_path / "episodes.csv")
    by_hand = 1 - episodes["to_nearest_m"] / episodes["between_m"]
    assert episodes["s"].to_list() == pytest.approx(by_hand.to_list(), abs=1e-4)
    summary = pd.read_csv(tmp_path / "audit.csv").iloc[0]
    assert summary["max"] == pytest.approx(episodes["s"].max(), abs=1e-5) and summary["scored"] == 4
    assert "64 points at equal fractions of time" in (tmp_path / "audit.md").read_text()
    text = io.StringIO()
    audit_run.show(subject, tables, Console(file=text, width=140))
    assert "in distribution" in text.getvalue() and "missing" not in text.getvalue()


def test_the_tables_say_what_the_row_must_say_of_itself(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = find(checkpoint(run))
    monkeypatch.setattr(registry, "CAVEATED", frozenset({"open_loop"}))
    monkeypatch.setattr(registry.policy("open_loop"), "caveat", classmethod(lambda cls, settings: "looks once"))
    monkeypatch.setattr(audit_run, "training_of_run", lambda run: {subject.checkpoint.key: {"converged": False}})
    audited = audit_run.audit(subject, DISTANCE, "positions")
    audit_run.write(subject, audited, (), DISTANCE, "positions", tmp_path)
    for stem in ("calibrated", "audit"):
        told = "open_loop: looks once; a network that has not converged (training.json)."
        assert told in (tmp_path / f"{stem}.md").read_text()


# ------------------------------------------------------------------------------------------------------------ mistakes


def test_what_is_no_checkpoint_is_told_apart(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: no such folder; expected a checkpoint's.* with --run RUN"):
        find("nowhere")
    with pytest.raises(
        CheckpointError, match=r"expected a policy.json in it; this run has the checkpoints fake-open_loop"
    ):
        find(run)
    with pytest.raises(ResultsError, match="not a run's folder"):
        find("fake/open_loop/n6/s0", tmp_path)
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(ResultsError, match=r"sweep\.json: damaged"):
        find("fake/open_loop/n6/s0", tmp_path)
    with pytest.raises(UnknownNameError, match=r"unknown checkpoint of .* did you mean 'fake/open_loop/n6/s0'"):
        find("fake/openloop/n6/s0", run)
    elsewhere = tmp_path / "copied"
    shutil.copytree(checkpoint(run), elsewhere)
    with pytest.raises(CheckpointError, match="not inside a run, so its demonstrations are not known"):
        find(elsewhere)


def test_a_checkpoint_made_otherwise_is_refused(run: Path, tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    (sweep,) = history.load(copied)
    history.keep(sweep.model_copy(update={"seed": 7}), copied)
    with pytest.raises(CheckpointError, match="made with other versions, data or settings"):
        find(checkpoint(copied))
    with pytest.raises(CheckpointError, match="no fit of fake/open_loop/n6/s0"):
        find("fake/open_loop/n6/s0", copied)


def test_a_policy_with_the_control_s_label_is_refused(tmp_path: Path) -> None:
    fakes.register()
    policies = [{"policy": "random", "label": "expert", "n": [6]}]
    history.keep(SweepSpec.parse({**SWEEP, "policies": policies}, "fake.toml"), tmp_path)
    with pytest.raises(
        ConfigError, match=r"fake/expert/n6/s0: the audit's control is called 'expert'; give .* `label`"
    ):
        find("fake/expert/n6/s0", tmp_path)


def test_missing_demonstrations_and_one_alone(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="S compares with two demonstrations, the policy was trained on 1"):
        find(checkpoint(run, n=1))
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    (copied / "demonstrations" / "Fake.hdf5").unlink()
    with pytest.raises(DatasetError, match=r"Fake.hdf5: no such file; it held the demonstrations"):
        find(checkpoint(copied))


def test_cases_by_name() -> None:
    assert [c.name for c in choose_cases((), fakes.TASK)] == ["in_distribution", "distractors"]
    everything = replace(fakes.TASK, splits=tuple(case.split for case in CASES))
    assert choose_cases((), everything) == CASES
    assert [c.name for c in choose_cases(("interpolate", "in_distribution"), everything)] == [
        "in_distribution",
        "interpolate",
    ]
    with pytest.raises(ConfigError, match="unknown case 'distractor'; did you mean 'distractors'"):
        choose_cases(("distractor",), everything)
    with pytest.raises(ConfigError, match="Fake has no split 'interpolate'"):
        choose_cases(("interpolate",), fakes.TASK)


# ------------------------------------------------------------------------------------------------------------- figures


def cells() -> list[Cell]:
    """A cell of every case, two policies, without anything on disk."""
    spec = {**SWEEP, "policies": [{"policy": "open_loop", "n": [6]}, {"policy": "random", "n": [6]}]}
    spec |= {"tasks": ["Lift"], "image_size": [84, 84]}
    sweep = SweepSpec.parse(spec, "lift.toml").model_copy(update={"evaluations": evaluations(CASES, 3)})
    return list(make_plan(sweep, provenance_of("cpu", "none", {})).cells)


def straight(number: int, y: float, status: str = "ok", points: int = 5) -> EpisodeRecord:
    """An episode along a straight way at height `y`, as positions of an arm."""
    steps = [StepRecord((0.0,) * 10, (0.1 * i, y, 1.0, *(0.0,) * 8)) for i in range(points)]
    return EpisodeRecord(number, number, status, True, points, 1.0, None, None, 0.1, "", (), tuple(steps))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def audited() -> list[AuditedEpisode]:
    """Two policies in all cases: one half-way between demonstrations, one far off, and episodes without an S."""
    ways = [[(0.1 * i, y, 1.0) for i in range(4)] for y in (0.0, 0.1, 0.3)]
    training = TrainingSet([pd.DataFrame(way).to_numpy() for way in ways], (0, 1, 2), DISTANCE)
    found = []
    for cell in cells():
        offset = 0.02 if cell.label == "open_loop" else 1.4
        records = [straight(0, offset), straight(1, 0.05), straight(2, 0.0, "policy_error"), straight(3, 0.1, points=1)]
        found += audit_episodes(cell, [*records, straight(4, 0.0, "infra_error")], training)
    return found


def test_episodes_that_ended_in_an_error_are_empty_and_counted(audited: list[AuditedEpisode]) -> None:
    frame = frame_of(audited)
    own = frame[(frame["label"] == "open_loop") & (frame["case"] == "interpolate")]
    assert own["s"].to_list()[:2] == pytest.approx([0.8, 0.5])
    assert own["why_empty"].to_list() == ["", "", "policy_error", "ended before it had a trajectory"]
    data = audit_table(frame, DISTANCE, "positions").data
    assert data["case"].to_list() == [case.name for case in CASES] * 2
    assert set(data["scored"]) == {2} and set(data["empty"]) == {2} and set(data["episodes"]) == {4}
    assert data["max"].to_list()[:5] == pytest.approx([0.8] * 5)


def test_cells_know_their_case() -> None:
    found = [case_of(cell) for cell in cells()[:5]]
    assert found == list(CASES)
    other = SweepSpec.parse({**SWEEP, "tasks": ["Lift"], "evaluations": [{"split": "uniform"}]}, "lift.toml")
    assert case_of(make_plan(other, provenance_of("cpu", "none", {})).cells[0]) is None


@pytest.mark.parametrize("which", ["bars", "distribution"])
def test_no_text_is_cut_and_none_covers_another(audited: list[AuditedEpisode], which: str) -> None:
    frame = frame_of(audited)
    with styled():
        if which == "bars":
            own = likeness_frame([a for a in audited if a.cell.label == "open_loop"])
            figure = similarity_bars(own, "Lift, open_loop, N = 6", "case")
        else:
            figure = distribution(frame, "Lift, N = 6: S by case", policy_styles(frame["label"]))
        add_footer(figure, FINGERPRINT)
        figure.draw_without_rendering()
    found = boxes(figure)
    assert len(found) > 10
    for text, box in found:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text
    for (text, box), (other, covered) in itertools.combinations(found, 2):
        overlap = Bbox.intersection(box, covered)
        assert overlap is None or overlap.width < 1 or overlap.height < 1, (text, other)


def test_a_median_and_a_mean_below_the_floor_are_marked_at_the_edge() -> None:
    frame = pd.DataFrame({"label": "bc", "case": CASES[0].name, "s": [-9.0, -6.0, -5.0, 0.5]})
    with styled():
        (axis,) = distribution(frame, "S", policy_styles(frame["label"])).axes
    (median,) = [c for c in axis.collections if isinstance(c, LineCollection) and c.get_linewidth()[0] == 1.4]
    assert median.get_segments()[0][0][0] == LOWEST and median.get_linestyle()[0][1] is not None, "dotted"
    (mean,) = [line for line in axis.lines if line.get_marker() == "<"]
    assert mean.get_xdata()[0] == LOWEST
    assert {text.get_text() for text in axis.texts} == {"3"}


def test_an_interval_that_goes_on_below_the_floor_ends_in_an_arrow_head() -> None:
    whole = pd.DataFrame({"label": "bc", "case": CASES[0].name, "s": [0.5] * 8 + [0.4] * 8})
    cut = pd.DataFrame({"label": "bc", "case": CASES[0].name, "s": [0.5] * 8 + [-6.0] * 4})
    for frame, arrows in ((whole, 0), (cut, 1)):
        with styled():
            figure = distribution(frame.assign(episode=range(len(frame))), "S", policy_styles(frame["label"]))
        (axis,) = figure.axes
        heads = [line for line in axis.lines if line.get_marker() == CARETLEFTBASE]
        assert [head.get_xdata()[0] for head in heads] == [LOWEST] * arrows
        told = [text.get_text() for text in figure.legends[0].get_texts()]
        assert any("goes on" in text for text in told) == bool(arrows)


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Each text that is drawn, with its extent in pixels."""
    texts = [*figure.texts, *figure.legends[0].get_texts()]
    for panel in figure.axes:
        texts += [panel.title, *panel.texts]
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [axis.label, *(tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high)]
    shown = [t for t in texts if t.get_visible() and t.get_text().strip()]
    return [(t.get_text(), t.get_window_extent()) for t in shown]


def test_bars_mark_the_nearest_and_stand_at_the_similarities(audited: list[AuditedEpisode]) -> None:
    one = [a for a in audited if a.cell.label == "open_loop" and a.case == CASES[0]]
    figure = similarity_bars(likeness_frame(one), "Lift", "case")
    bars = figure.axes[0].patches
    assert [bar.get_height() for bar in bars] == pytest.approx([1 - 0.02 / 0.28, 1 - 0.08 / 0.28, 0.0])
    assert len({bar.get_facecolor() for bar in bars}) == 3
    assert "S = 0.80" in figure.axes[0].get_title() and "S = 0.50" in figure.axes[1].get_title()


def test_the_expert_plays_the_same_episodes_once(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTBENCH_CACHE", str(tmp_path / "cache"))
    subject = find("fake/open_loop/n6/s0", run)
    text = io.StringIO()
    for _ in range(2):
        audit_run.play_expert(subject, tmp_path / "expert", Console(file=text, width=140))
    assert text.getvalue().count("by its expert") == len(subject.cells) == 1
    own = audit_run.audit(subject, DISTANCE, "positions")
    control = audit_run.audit_expert(subject, tmp_path / "expert", DISTANCE, "positions")
    assert [one.record.seed for one in control] == [one.record.seed for one in own]
    (calibrated, _), _ = audit_run.write(subject, own, control, DISTANCE, "positions", tmp_path)
    found = calibrated.data.set_index("label")
    assert list(found.index) == ["open_loop", "expert"] and found["solved"].to_list() == [4, 4]
    assert found.loc["open_loop", "pairs"] == 4 and found.loc["open_loop", "gap_m"] < 0
    assert found["rate"].isna().all(), "four of the expert's episodes tell no threshold"
