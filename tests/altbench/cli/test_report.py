"""`altbench report`: what it writes, what it refuses, and with which exit status; `redraw` writes the page, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import FINGERPRINT, build_flat, episode, header
from terminal import altbench
from typer.testing import CliRunner

from altbench.cli.app import app
from altbench.results.cells import write_cell
from altbench.system.fingerprint import write_fingerprint


def run_of(folder: Path, wins: int = 4) -> Path:
    """A small run in `folder`."""
    for label in ("alt", "bc"):
        write_cell(folder, header(label, 30, "uniform"), [episode(i, i < wins) for i in range(6)])
    build_flat(folder)
    write_fingerprint(folder, FINGERPRINT)
    return folder


def test_it_writes_the_page_and_prints_its_path(tmp_path: Path) -> None:
    root = run_of(tmp_path / "run")
    done = CliRunner().invoke(app, ["report", str(root)])
    assert done.exit_code == 0 and done.stdout == f"{root / 'report.html'}\n"
    out = tmp_path / "new" / "page.html"
    done = CliRunner().invoke(
        app, ["report", str(root), "--compare", str(run_of(tmp_path / "base", 6)), "--out", str(out)]
    )
    assert done.exit_code == 0 and "This run against base" in out.read_text("utf-8")


@pytest.mark.parametrize("arguments", [["missing"], ["run", "--compare", "missing"], ["run", "--out", "run"]])
def test_wrong_input_is_one_line_and_status_2(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    done = altbench("report", *arguments)
    assert done.status == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


def test_redraw_writes_the_page_again(tmp_path: Path) -> None:
    root = run_of(tmp_path / "run")
    done = CliRunner().invoke(app, ["redraw", str(root)])
    assert done.exit_code == 0 and str(root / "report.html") in done.stdout.splitlines()
    assert "<h1>run</h1>" in (root / "report.html").read_text("utf-8")
