"""Comparing runs: pairing, correction, what is missing, and what continuous integration sees."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from rich.console import Console
from synthetic import FINGERPRINT, build_flat, episode, header
from typer.testing import CliRunner

from altbench.cli import app
from altbench.core.errors import ResultsError
from altbench.report import compare
from altbench.report.compare import Comparison
from altbench.results import cells as cells_module
from altbench.stats.paired import PairedCounts
from altbench.system.fingerprint import write_fingerprint


def run(folder: Path, cells: Mapping[str, Sequence[bool]], **fingerprint: object) -> Path:
    """A run whose cells (one per label) have the given outcomes."""
    for label, outcomes in cells.items():
        cells_module.write_cell(
            folder, header(label, 30, "recall"), [episode(i, hit) for i, hit in enumerate(outcomes)]
        )
    write_fingerprint(folder, dataclasses.replace(FINGERPRINT, **fingerprint))
    return folder


def shown(comparison: Comparison) -> str:
    """What the terminal shows."""
    console = Console(width=120, file=io.StringIO(), color_system=None)
    console.print(compare.render(comparison))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_same_run_is_the_same(tmp_path: Path) -> None:
    folder = run(tmp_path, {"alt": [True, False], "bc": [True]})
    found = compare.compare(folder, folder)
    assert not found.worse
    assert not any(cell.changed for cell in found.cells)
    assert found.versions == ()
    assert shown(found).splitlines()[0] == "2 cells with the same outcome in every episode"


def test_outcomes_are_counted_in_pairs(tmp_path: Path) -> None:
    base = run(tmp_path / "a", {"alt": [True, True, True, False, False]})
    new = run(tmp_path / "b", {"alt": [True, False, False, True, False]})
    cell = compare.compare(base, new).cells[0]
    assert cell.counts == PairedCounts(both=1, only_first=2, only_second=1, neither=1)
    assert cell.counts.difference == pytest.approx(-0.2)
    assert cell.low < -0.2 < cell.high
    assert cell.p == 1.0


def test_a_cell_that_got_worse_fails_and_one_that_got_better_does_not(tmp_path: Path) -> None:
    good, bad = [True] * 40, [i % 2 == 0 for i in range(40)]
    worse = compare.compare(run(tmp_path / "a", {"alt": good}), run(tmp_path / "b", {"alt": bad}))
    better = compare.compare(tmp_path / "b", tmp_path / "a")
    assert worse.worse and not better.worse
    assert worse.cells[0].p_holm == pytest.approx(2 / 2**20)
    assert "worse (p < 0.05, Holm-corrected): lift/alt/n30/s0/recall/clean" in shown(worse)
    assert "no cell is significantly worse; better: lift/alt/n30/s0/recall/clean" in shown(better)


def test_one_chance_loss_among_many_cells_is_not_worse(tmp_path: Path) -> None:
    labels = [f"p{i}" for i in range(20)]
    base = run(tmp_path / "a", {label: [True] * 40 for label in labels})
    new = run(tmp_path / "b", {label: [label != "p3" or i >= 6 for i in range(40)] for label in labels})
    found = compare.compare(base, new)
    cell = next(c for c in found.cells if c.changed)
    assert cell.p < 0.05 < cell.p_holm
    assert not found.worse


def test_missing_cells_and_episodes_and_other_versions_are_told(tmp_path: Path) -> None:
    base = run(tmp_path / "a", {"alt": [True] * 5, "bc": [True]})
    new = run(tmp_path / "b", {"alt": [True] * 3, "random": [False]}, renderer="OSMesa", packages={"mujoco": "3.8.1"})
    found = compare.compare(base, new)
    assert found.only_base == ("lift/bc/n30/s0/recall/clean",)
    assert found.only_new == ("lift/random/n30/s0/recall/clean",)
    assert (found.cells[0].counts.total, found.cells[0].unpaired) == (3, 2)
    assert "mujoco: 3.9.0 -> 3.8.1" in found.versions
    assert "renderer: EGL: llvmpipe -> OSMesa" in found.versions
    text = shown(found)
    assert "1 cell only in the base run: lift/bc/n30/s0/recall/clean" in text
    assert "2 episodes without a partner" in text
    assert "made with mujoco: 3.9.0 -> 3.8.1" in text


@pytest.mark.parametrize(
    ("base", "new", "options", "status"),
    [
        ({"alt": [True], "bc": [True]}, {"alt": [True]}, (), 1),
        ({"alt": [True], "bc": [True]}, {"alt": [True]}, ("--allow-missing",), 0),
        ({"alt": [True]}, {"alt": [True], "bc": [True]}, (), 0),
        ({"alt": [True] * 40, "bc": [True]}, {"alt": [False] * 40}, ("--allow-missing",), 1),
    ],
)
def test_continuous_integration_fails_where_cells_are_gone(
    tmp_path: Path,
    base: dict[str, list[bool]],
    new: dict[str, list[bool]],
    options: tuple[str, ...],
    status: int,
) -> None:
    folders = [str(run(tmp_path / name, cells)) for name, cells in (("a", base), ("b", new))]
    done = CliRunner().invoke(app.app, ["compare", *folders, *options], catch_exceptions=False)
    assert done.exit_code == status
    told = "the new run lacks 1 cell of the base run's; run them, or compare a part of a run with --allow-missing"
    assert (told in " ".join(done.output.split())) == ("bc" in base and not options)


def test_infrastructure_errors_have_no_partner(tmp_path: Path) -> None:
    base = run(tmp_path / "a", {"alt": [True, True]})
    broken = dataclasses.replace(episode(1, False), status="infra_error")
    cells_module.write_cell(tmp_path / "b", header("alt", 30, "recall"), [episode(0), broken])
    found = compare.compare(base, tmp_path / "b")
    assert (found.cells[0].counts.total, found.cells[0].unpaired) == (1, 2)
    assert found.versions == (f"unknown versions: no fingerprint.json in {tmp_path / 'b'}",)


def test_cells_without_a_common_episode_are_told_apart(tmp_path: Path) -> None:
    base = run(tmp_path / "a", {"alt": [True], "bc": [True]})
    run(tmp_path / "b", {"alt": [True]})
    cells_module.write_cell(tmp_path / "b", header("bc", 30, "recall"), [dataclasses.replace(episode(0), seed=7)])
    assert compare.compare(base, tmp_path / "b").unpaired_cells == ("lift/bc/n30/s0/recall/clean",)


def test_runs_of_other_sweeps_are_refused(tmp_path: Path) -> None:
    base, new = run(tmp_path / "a", {"alt": [True]}), run(tmp_path / "b", {"bc": [True]})
    with pytest.raises(ResultsError, match=r"no episode in common .*base has 'lift/alt/.*new has 'lift/bc/"):
        compare.compare(base, new)
    with pytest.raises(ResultsError, match="missing: no such folder"):
        compare.compare(base, tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError, match="empty: holds no finished cell"):
        compare.compare(tmp_path / "empty", base)


def test_a_published_table_is_compared_with_a_fresh_run(tmp_path: Path) -> None:
    base = run(tmp_path / "a", {"alt": [True, False]})
    build_flat(base)
    for path in (base / cells_module.CELLS).iterdir():
        path.unlink()
    new = run(tmp_path / "b", {"alt": [True, True]})
    assert compare.compare(base, new).cells[0].counts == PairedCounts(1, 0, 1, 0)
