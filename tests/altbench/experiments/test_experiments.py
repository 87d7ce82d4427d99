"""Experiments on the fake task: what they run, what a report says of what is missing, and what it writes."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import pytest
from matplotlib.figure import Figure
from rich.console import Console
from synthetic import FINGERPRINT, build_flat

from altbench import experiments
from altbench.cli import experiments as commands
from altbench.core.errors import AltbenchError, ConfigError, ResultsError
from altbench.experiments import e3_main_table as main_table
from altbench.experiments import reproduce
from altbench.experiments.redraw import redraw_reports
from altbench.experiments.shared import sweeps as common
from altbench.experiments.shared.available import only_available
from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.report import checksums, write_report
from altbench.experiments.shared.sections import Report, Reported, Section
from altbench.experiments.shared.sweeps import Preset
from altbench.experiments.shared.texts import frame_table, prose
from altbench.report.table import rate_text
from altbench.results import frames
from altbench.runner.executors import InlineExecutor
from altbench.stats.rates import rate_of
from altbench.sweeps.spec import SweepSpec


def spec(own: Path, *names: str, **changes: Any) -> SweepSpec:
    values = {
        "name": "fake",
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "demonstrations": {"n": 6},
        "policies": [{"policy": f"{own}:{name}", "n": [6]} for name in names],
        "evaluations": [{"split": "replay", "episodes": "each"}, {"split": "uniform", "episodes": 4}],
        "measure": False,
        **changes,
    }
    return SweepSpec.parse(values, "fake")


def experiment(*sweeps: SweepSpec) -> Experiment:
    def report(run: ExperimentRun) -> Report:
        counts = run.episodes().groupby("label").size().reset_index(name="episodes")
        table = frame_table("Counts", counts, {"policy": counts["label"], "N": [str(n) for n in counts["episodes"]]})
        sections = (Section("Counts", "How many.", {"counts": table}, ("line", "titled", "empty")),)
        return Report("It counts.", sections, (Reported("rate", "100 %", "", second_hand=True),), ("a guess",))

    def figures(tables: Tables) -> Figures:
        return drawn(line=lambda: line(tables["counts"]), titled=titled, empty=lambda: None)

    return Experiment("T1", "test", "A test", "Does it count?", report, sweeps=lambda preset: sweeps, figures=figures)


def line(counts: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot(counts["episodes"], marker="o")
    return figure


def titled() -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.suptitle("What it\nshows")
    return figure


def run_and_report(one: Experiment, out: Path) -> str:
    console = Console(file=io.StringIO())
    assert not reproduce.run_sweeps(one, "small", out, InlineExecutor(), "none", console)
    return reproduce.report(one, "small", out, "none", console).read_text()


def test_experiments_that_ask_for_the_same_cell_run_it_once(own_policies: Path, tmp_path: Path) -> None:
    both = experiment(spec(own_policies, "Good"), spec(own_policies, "Good", "Fails"))
    hopeless = reproduce.run_sweeps(both, "small", tmp_path, InlineExecutor(), "none", Console(file=io.StringIO()))
    assert hopeless, "a row with nothing but errors has failed"
    run = reproduce.open_run(both, "small", tmp_path, "none")
    assert len(run.cells) == len(run.recorded) == 4
    assert len(list((tmp_path / "run" / "cells").glob("*.parquet"))) == 4
    assert run.episodes()["label"].value_counts().to_dict() == {"Good": 10, "Fails": 10}


def test_a_report_names_what_is_missing_and_what_is_left_out(own_policies: Path, tmp_path: Path) -> None:
    policies = [{"policy": f"{own_policies}:Good", "n": [6]}, {"policy": "not_there", "n": [6]}]
    part = experiment(spec(own_policies, evaluations=[{"split": "replay", "episodes": "each"}], policies=policies))
    whole = experiment(spec(own_policies, policies=policies))
    run_and_report(part, tmp_path)
    console = Console(file=io.StringIO())
    text = reproduce.report(whole, "small", tmp_path, "none", console).read_text()
    assert "- `fake/Good/n6/s0/uniform/clean`" in text and "- `a guess`" in text
    assert "replay/clean" not in text
    assert "not_there: no policy 'not_there' is registered here" in text
    assert "2 pieces of work" in text and "Nothing" not in text


def test_a_report_without_any_run_finds_everything_missing(own_policies: Path, tmp_path: Path) -> None:
    text = reproduce.report(
        experiment(spec(own_policies, "Good")), "small", tmp_path, "none", Console(file=io.StringIO())
    ).read_text()
    assert "3 pieces of work are missing (2 cells in all)" in text


def test_a_report_is_a_folder_with_tables_figures_and_an_index(own_policies: Path, tmp_path: Path) -> None:
    text = run_and_report(experiment(spec(own_policies, "Good")), tmp_path)
    folder = tmp_path / "T1-test"
    assert {"report.md", "report.json", "counts.csv", "counts.md", "line.png", "line.svg", "episodes.parquet"} <= {
        p.name for p in folder.iterdir()
    }
    assert "![Counts](line.png)" in text and "![What it shows](titled.png)" in text
    assert "| Good" in text and "| rate" in text and "100 %†" in text
    about = json.loads((folder / "report.json").read_text())
    assert about["summary"] == "It counts." and about["missing"] == ["a guess"] and about["fingerprint"]["packages"]
    assert "[T1](T1-test/report.md)" in (tmp_path / "README.md").read_text()
    pd.testing.assert_frame_equal(
        frames.load_episodes(folder), frames.load_episodes(_flat(tmp_path / "run", tmp_path / "flat"))
    )


def _flat(run: Path, folder: Path) -> Path:
    build_flat(run)
    folder.mkdir()
    return (run / frames.EPISODES_FILE).rename(folder / frames.EPISODES_FILE).parent


def test_a_figure_that_cannot_be_drawn_costs_itself_alone(own_policies: Path, tmp_path: Path) -> None:
    def fails() -> Figure:
        raise ValueError("no [/such]\nfigure")

    one = experiment(spec(own_policies, "Good"))
    (section,) = one.report(reproduce.open_run(one, "small", tmp_path, "none")).sections
    named = dataclasses.replace(section, figures=("line", "broken", "titled"))
    broken = dataclasses.replace(
        one,
        report=lambda run: Report("It counts.", (named,)),
        figures=lambda tables: Figures({**one.figures(tables), **drawn(broken=fails)}),
    )
    folder = tmp_path / one.folder
    text = run_and_report(broken, tmp_path)
    assert "- `figure broken: ValueError: no [/such] figure`" in text and "(broken.png)" not in text
    assert "![Counts](line.png)" in text and "**It counts.**" in text
    assert sorted(path.stem for path in folder.glob("*.png")) == ["line", "titled"]


def test_a_published_report_is_drawn_again_from_its_tables(
    own_policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = experiment(spec(own_policies, "Good"))
    run_and_report(one, tmp_path)
    monkeypatch.setattr(experiments, "find", lambda name: one)
    folder = tmp_path / one.folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "line.svg").unlink()
    (folder / "titled.png").write_bytes(b"another look")
    paths, unpublished, failures = redraw_reports(tmp_path)
    assert {path.name for path in paths} == {f"{stem}.{end}" for stem in ("line", "titled") for end in ("png", "svg")}
    assert unpublished == failures == ()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "counts.csv").unlink()
    paths, unpublished, failures = redraw_reports(folder)
    assert {path.stem for path in paths} == {"titled"} and failures == ()
    assert unpublished == (("T1-test/line", "it is drawn of counts.csv, which is missing"),)
    assert (folder / "line.png").read_bytes() == before["line.png"], "it stays as it was"


def test_a_folder_that_does_not_say_what_it_reports_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(ResultsError, match="not what `altbench experiments` wrote"):
        redraw_reports(tmp_path)


@pytest.mark.parametrize("name", ["E3-main-table", "E6-reactivity", "robustness-disturbed-images", "E7-multimodality"])
def test_the_published_reports_can_be_drawn_again(name: str, tmp_path: Path) -> None:
    published = Path(__file__).parents[3] / "results" / "paper-small" / name
    if not published.is_dir():
        pytest.skip("needs the published results of a checkout")
    shutil.copytree(published, tmp_path / name)
    paths, unpublished, failures = redraw_reports(tmp_path)
    assert unpublished == failures == ()
    assert {path.name for path in paths} == {path.name for path in published.glob("*.[ps][nv]g")}


def test_a_full_disk_is_no_broken_figure() -> None:
    def fails() -> Figure:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        drawn(line=fails)


def test_a_report_of_published_records_names_their_demonstrations(own_policies: Path, tmp_path: Path) -> None:
    one = experiment(spec(own_policies, "Good"))
    empty = ExperimentRun(tmp_path / "run", tmp_path / "own", published=tmp_path / one.folder)
    assert checksums(empty) is None
    write_report(one, Report("Told.", ()), empty, tmp_path, dataclasses.replace(FINGERPRINT, data="0123"))
    assert checksums(empty) == "0123"


def test_a_report_takes_the_place_of_the_last_one(own_policies: Path, tmp_path: Path) -> None:
    one = experiment(spec(own_policies, "Good"))
    empty = ExperimentRun(tmp_path / "run", tmp_path / "own")
    first = Report("Old.", (Section("A", tables={"old": frame_table("Old", pd.DataFrame({"x": [1]}), {"x": ["1"]})}),))
    write_report(one, first, empty, tmp_path, FINGERPRINT)
    write_report(one, Report("New.", ()), empty, tmp_path, FINGERPRINT)
    folder = tmp_path / one.folder
    assert sorted(p.name for p in folder.iterdir()) == ["report.json", "report.md"]
    assert "**New.**" in (folder / "report.md").read_text()


def test_what_a_killed_report_left_is_not_in_the_index(own_policies: Path, tmp_path: Path) -> None:
    one = experiment(spec(own_policies, "Good"))
    run_and_report(one, tmp_path)
    (tmp_path / one.folder).rename(tmp_path / f"{one.folder}.0123abcd.tmp")
    assert "report.md" not in run_and_report(one, tmp_path)[:20]
    assert (tmp_path / "README.md").read_text().count("report.md") == 1


def test_rows_with_unknown_settings_are_left_out_and_evaluations_follow(own_policies: Path) -> None:
    policies = [
        {"policy": f"{own_policies}:Good", "n": [6]},
        {"policy": f"{own_policies}:Good", "label": "odd", "n": [6], "config": {"nonsense": 1}},
    ]
    evaluations = [{"split": "replay", "policies": ["odd"]}, {"split": "uniform", "policies": ["Good", "odd"]}]
    sweep, left_out = only_available(spec(own_policies, policies=policies, evaluations=evaluations))
    assert sweep is not None and [e.name for e in sweep.policies] == ["Good"]
    assert [e.split for e in sweep.evaluations] == ["uniform"] and sweep.evaluations[0].policies == ("Good",)
    assert len(left_out) == 1 and "nonsense" in left_out[0]
    nothing, _ = only_available(spec(own_policies, policies=[{"policy": "nobody"}]))
    assert nothing is None


# ------------------------------------------------------------------------------------------- the experiments there are


def test_ids_and_names_are_found_and_misspelt_ones_corrected() -> None:
    found = experiments.everything()
    assert [one.id for one in found] == list(experiments.EXPERIMENTS)
    assert experiments.find("e1") is experiments.find("toy-manifolds")
    with pytest.raises(ConfigError, match="unknown experiment 'toy-manifold'; did you mean 'toy-manifolds'"):
        experiments.find("toy-manifold")


@pytest.mark.parametrize("identity", list(experiments.EXPERIMENTS))
def test_what_is_read_of_an_experiment_is_what_it_says(identity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list reads the source. Without it, it imports the experiment."""
    loaded, read = experiments.load(identity), experiments.about(identity)
    told = ("id", "name", "title", "question", "folder")
    assert type(read) is experiments.About and loaded.id == identity
    assert [getattr(read, name) for name in told] == [getattr(loaded, name) for name in told]
    monkeypatch.setattr(experiments, "keywords", lambda module, name: {})
    assert experiments.about(identity) is loaded


def test_a_list_of_experiments_imports_none_of_them() -> None:
    code = (
        "import sys; from altbench import experiments; from altbench.cli.app import app\n"
        "try: app(['experiments', 'list'])\n"
        "except SystemExit: pass\n"
        "loaded = [m for m in ('torch', 'pandas', 'matplotlib', 'seaborn') if m in sys.modules]\n"
        "print(*loaded, *(m for m in sys.modules if m.startswith('altbench.experiments.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == [] and "main-table" in done.stdout


def test_an_experiment_named_twice_is_done_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.reproduce(["E1", "toy-manifolds"], out=tmp_path, report_only=True)
    assert "".join(capsys.readouterr().out.split()).count("report.md") == 1


def test_a_place_that_can_be_no_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for report_only in (True, False):
        with pytest.raises(AltbenchError, match="file: expected a folder, or a place for one: a file is there"):
            commands.reproduce(["E1"], out=tmp_path / "file", workers=0, report_only=report_only)


@pytest.mark.parametrize("preset", ["small", "paper"])
@pytest.mark.parametrize("identity", list(experiments.EXPERIMENTS))
def test_every_experiment_reports_before_anything_has_run(identity: str, preset: Preset, tmp_path: Path) -> None:
    one = experiments.load(identity)
    before = dict(matplotlib.rcParams)
    run = reproduce.open_run(one, preset, tmp_path, "none")
    report = one.report(run)
    assert run.missing or report.missing
    assert report.summary == "", "nothing is known yet"
    assert not [r for r in report.reported if r.ours]
    path = write_report(one, report, run, tmp_path, FINGERPRINT)
    text = path.read_text()
    assert "{" not in text and "}" not in text, "a blank that was not filled"
    assert "\n    " not in text, "a paragraph with the source's indentation, which Markdown shows as code"
    assert one.question in text and dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_the_same_label_means_the_same_row_in_all_experiments(preset: Preset) -> None:
    rows: dict[tuple[str, ...], set[str]] = {}
    for one in experiments.everything():
        for sweep in one.sweeps(preset):
            for entry in sweep.policies:
                text = json.dumps([entry.policy, entry.preset, entry.config], sort_keys=True)
                rows.setdefault((*sweep.tasks, entry.name), set()).add(text)
    assert not {label: texts for label, texts in rows.items() if len(texts) > 1}


@pytest.mark.parametrize("preset", ["small", "paper"])
@pytest.mark.parametrize("identity", list(experiments.EXPERIMENTS))
def test_nothing_is_left_out_but_policies_that_are_not_there(identity: str, preset: Preset) -> None:
    for sweep in experiments.load(identity).sweeps(preset):
        _, left_out = only_available(sweep)
        assert all("is registered here" in reason for reason in left_out), left_out


def test_more_baselines_stand_beside_the_main_table_and_act_s_ensemble_shares_its_checkpoint(tmp_path: Path) -> None:
    run = reproduce.open_run(experiments.load("E3"), "small", tmp_path, "none")
    main, more = (one.plan for one in run.runs)
    assert {cell.label for cell in main.cells} == set(main_table.ROWS)
    # bc_rnn_gmm does not fit its training frames at `small`, and is no baseline there.
    assert {cell.label for cell in more.cells} == {*main_table.MORE} - {"bc_rnn_gmm"}
    assert {cell.split for cell in more.cells} == set(main_table.MORE_SPLITS)
    assert {cell.episodes for cell in more.cells} == {common.EPISODES}
    (ensemble,) = {cell.checkpoint.key for cell in more.cells if cell.label == "act_ensemble"}
    assert ensemble in {cell.checkpoint.key for cell in main.cells if cell.label == "act"}
    assert "act_ensemble" not in {entry.name for entry in experiments.load("E3").sweeps("paper")[1].policies}


@pytest.mark.parametrize("identity", ["E9", "ood", "robustness"])
def test_a_table_of_flags_has_alt_without_thumbnails(identity: str, tmp_path: Path) -> None:
    run = reproduce.open_run(experiments.load(identity), "small", tmp_path, "none")
    shares = {cell.label: cell.config["appearance"] for cell in run.cells if cell.checkpoint.policy == "alt"}
    assert shares[common.KEY] == 0 < shares["alt"]
    assert not common.without_thumbnails("paper"), "the published ALT has no thumbnails"


def test_prose_joins_the_lines_of_a_paragraph_and_fills_blanks_without_changing_them() -> None:
    text = """
        One {what}
        on two lines.

        {lines}
        """
    assert prose(text, what="paragraph", lines="- a\n- b") == "One paragraph on two lines.\n\n- a\n- b"
    with pytest.raises(KeyError, match="lines"):
        prose(text, what="paragraph")


def test_a_table_s_note_loses_the_indentation_of_the_source() -> None:
    note = """
        Means over episodes,
        with intervals. {label}

        Empty: not measured.
        """
    table = frame_table("Rates", pd.DataFrame({"policy": ["alt"]}), {"policy": ["alt"]}, note)
    assert table.note == "Means over episodes, with intervals. {label}\n\nEmpty: not measured."


def test_texts() -> None:
    assert rate_text(rate_of(36, 40)) == "36/40 90 % [77, 96]"
    assert rate_text(rate_of(36, 40), counts=False) == "90 % [77, 96]"
    assert rate_text(rate_of(0, 0)) == ""
