"""Labels and descriptions of any letters, from the sweep to tables, figures, films, audit and comparison."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from rich.console import Console
from running import run_bare

from altbench.audit import run as audit_run
from altbench.audit.subject import find_subject
from altbench.core.errors import ConfigError
from altbench.report import outputs
from altbench.report.compare import compare
from altbench.report.compare.text import to_text
from altbench.report.table import pipe_table
from altbench.report.tables import render_terminal, success_table
from altbench.report.video import caption
from altbench.results import cells
from altbench.results.run import Run
from altbench.runner import dry_run, film
from altbench.runner.progress import Board
from altbench.stats.trajectories import find_distance
from altbench.sweeps.spec import LONGEST_LABEL, SweepSpec
from altbench.system.console import say, show
from altbench.system.files import LONGEST_NAME, file_name

LABELS = ["[INST]", "[bold]b", "$x$", "$x{", "50 % & more_", "日本語", "_under", "a|b"]
LABELS += ["🤖" * LONGEST_LABEL, "y" * LONGEST_LABEL]
DESCRIPTION = "ends with [/INST] and $\\frac{$ " + "long " * 60 + "\nin two lines 日本 \x1b[2J"


def sweep(labels: list[str], **changes: Any) -> SweepSpec:
    values = {
        "name": "odd",
        "description": DESCRIPTION,
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "device": "cpu",
        "demonstrations": {"n": 3},
        "policies": [{"policy": "open_loop", "label": label, "n": [3]} for label in labels],
        "evaluations": [
            {"split": "recall", "episodes": 2},
            {"split": "recall", "episodes": 2, "perturbations": [{"name": "brightness", "severities": [2]}]},
        ],
        "measure": False,
        **changes,
    }
    return SweepSpec.parse(values, "odd.toml")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run with every odd label."""
    fakes.register()
    root, text = tmp_path_factory.mktemp("run") / "odd", io.StringIO()
    summary = run_bare(sweep(LABELS), root, board=Board(Console(file=text, width=400)))
    assert summary.failed == ()
    assert all(f"fake/{label}/n3/s0/recall/clean" in text.getvalue().replace("\n", "") for label in LABELS)
    return summary.run


def printed(*shown: Any, width: int = 2000) -> str:
    text = io.StringIO()
    show(Console(file=text, width=width), *shown)
    return text.getvalue()


def test_tables_and_figures_are_written_without_a_warning(run: Run) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert outputs.write(run) == ()
    stems = {path.stem for path in (run.root / "figures").glob("*.png")}
    assert stems == {"success_by_split_fake", "success_by_perturbation_fake_recall"}
    table = printed(render_terminal(run.episodes(), []))
    assert all(label in table for label in LABELS)
    markdown = pipe_table(success_table(run.episodes()).blocks[0], literal=True)
    assert r"\[INST\]" in markdown and r"a\|b" in markdown and r"\$x\$" in markdown and "日本語" in markdown


@pytest.mark.parametrize("width", [80, 110])
def test_the_terminals_tables_show_whole_labels(run: Run, width: int) -> None:
    text = printed(render_terminal(run.episodes(), []), width=width)
    names = "".join(line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│"))
    assert all(names.count(label) == 2 for label in LABELS[-2:]), "once in each of the two tables"


def test_a_dry_run_shows_labels_and_description(run: Run) -> None:
    text = io.StringIO()
    dry_run.show_plan(Console(file=text, width=2000), run)
    say(Console(file=text, width=2000), (run.sweep.name, "bold"), f" {run.sweep.description}")
    assert LABELS[0] in text.getvalue(), "the rows share one checkpoint"
    assert text.getvalue().count("[/INST] and $\\frac{$") == 2 and "\x1b" not in text.getvalue()


@pytest.mark.parametrize("width", [80, 110])
def test_a_dry_run_tells_its_rows_apart(tmp_path: Path, width: int) -> None:
    policies = [{"policy": policy, "n": [1, 2, 3]} for policy in ("open_loop", "random")]
    opened = Run.open(tmp_path, sweep([], policies=policies, description=""), "none")
    text = io.StringIO()
    dry_run.show_plan(Console(file=text, width=width), opened)
    lines = text.getvalue().splitlines()
    assert all(len(line) <= width for line in lines) and "…" not in text.getvalue()
    for name in (f"fake/{policy}/n{n}/s0" for policy in ("open_loop", "random") for n in (1, 2, 3)):
        assert sum(f" {name} " in line for line in lines) == 1


@pytest.mark.slow
def test_an_audit_and_a_film_take_them(run: Run, tmp_path: Path) -> None:
    for label in LABELS[:4]:
        subject = find_subject(f"fake/{label}/n3/s0", run.root, "none", ("in_distribution",), 2)
        audited = audit_run.audit(subject, find_distance("resampled"), "positions")
        tables, failures = audit_run.write(subject, audited, [], find_distance("resampled"), "positions", tmp_path)
        assert failures == () and all(label in printed(audit_run.terminal(table)) for table in tables)
    for cell in run.plan.cells:
        record = cells.read_cell(cells.cell_path(run.root, cell.key)).episodes[0]
        text = f"{film._title(cell)}, episode {record.episode}{film._score(None)}"
        picture = caption(np.zeros((1, 64, 504, 3), np.uint8), text)
        assert picture.shape == (1, 88, 504, 3) and "episode 0" in text[:80]


def test_a_comparison_takes_them(run: Run, tmp_path: Path) -> None:
    other = sweep([label for label in LABELS if label != "[INST]"])
    run_bare(other, tmp_path)
    text = to_text(compare(run.root, tmp_path))
    assert "fake/[INST]/n3/s0/recall/clean" in text


def test_names_of_files_are_short_enough_and_differ(run: Run) -> None:
    names = [point.folder for point in run.plan.checkpoints] + [file_name(cell.name) for cell in run.plan.cells]
    assert len(set(names)) == len(names)
    assert all(len(name.encode()) <= LONGEST_NAME + 13 and "/" not in name for name in names)
    assert file_name("lift/alt/n30/s0") == "lift-alt-n30-s0"


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("a/b", "policies.0: expected a label without a slash"),
        ("two\nlines", "policies.0: expected a label of one line"),
        ("a\x1b[2J", "policies.0: expected a label of one line"),
        (" a", "policies.0: expected a label that begins and ends with a visible character"),
        ("x" * 300, "policies.0: expected a label of at most 100 characters, got 300"),
        ("\udc80", "label: expected text without NUL and without half characters"),
    ],
)
def test_a_label_that_cannot_be_shown_is_refused_in_one_line(label: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        sweep([label])
    assert message in str(error.value) and "\n" not in str(error.value) and "\x1b" not in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2**63},
        {"train_seeds": [0, 2**80]},
        {"demonstrations": {"n": 3, "seed": 2**63}},
        {"evaluations": [{"split": "recall", "episodes": 2**63}]},
        {"policies": [{"policy": "open_loop", "n": [3], "config": {"x": {"y": [2**64]}}}]},
    ],
)
def test_a_whole_number_beyond_63_bits_is_refused_in_one_line(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected a whole number of at most 63 bits") as error:
        sweep(["a"], **changes)
    assert "\n" not in str(error.value)
    assert sweep(["a"], seed=2**63 - 1).seed == 2**63 - 1


def test_a_name_that_is_too_long_for_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="name: expected a text of at most 100 characters"):
        sweep(["a"], name="x" * 101)


def test_a_figure_that_cannot_be_drawn_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from altbench.report import figures

    run = run_bare(sweep(LABELS[:1]), tmp_path / "run").run

    def fails(*_: object) -> None:
        raise ValueError("no [/such]\nfigure")

    outputs.write(run)
    with monkeypatch.context() as patched:
        patched.setattr(figures, "success_by_split", fails)
        (run.root / "outputs.json").unlink()
        assert outputs.write(run) == (("figure success_by_split_fake", "ValueError: no [/such] figure"),)
    assert (run.root / "figures" / "success_by_perturbation_fake_recall.png").is_file()
    assert not list((run.root / "figures").glob("success_by_split_fake.*")), "an old picture would pass for this one"
    assert outputs.write(run) == (), "the next run tries it again"
    assert (run.root / "figures" / "success_by_split_fake.png").is_file()
