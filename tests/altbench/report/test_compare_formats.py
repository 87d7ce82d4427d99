"""What a comparison looks like: text at 80 columns, Markdown, JSON, JUnit, exit statuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from compared import NAME, episodes_of, frame, run
from rich.cells import cell_len
from synthetic import build_flat, episode, measure, write_run
from typer.testing import CliRunner

from altbench.cli import app
from altbench.report.compare import Comparison, Gate, compare, compare_frames, judge
from altbench.report.compare.costs import cost_ratios
from altbench.report.compare.exports import FORMATS, to_json, to_junit, to_markdown, to_rich, to_text
from altbench.results.cells import read_cell, write_cell

NASTY = "a[/b] $x_1$ <b>|`c`\n\x1b[31m\x00 漢字 🤖&\"'"


@pytest.fixture
def regression() -> Comparison:
    base = frame({"alt/recall/clean": [True] * 40, "bc/recall/clean": [True, False] * 20})
    return compare_frames(
        base, frame({"alt/recall/clean": [i > 20 for i in range(40)], "bc/recall/clean": [True] * 40})
    )


def invoke(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app.app, ["compare", *map(str, arguments)], catch_exceptions=False)
    return done.exit_code, done.output


def test_the_exit_status_says_what_came_out(tmp_path: Path) -> None:
    good, bad = run(tmp_path / "a", {"alt": [True] * 40}), run(tmp_path / "b", {"alt": [False] * 40})
    less, few = run(tmp_path / "c", {"alt": [True] * 39}), run(tmp_path / "d", {"alt": [True] * 5})
    assert invoke(good, good)[0] == 0
    assert invoke(good, bad)[0] == 1
    assert invoke(good, bad, "--min-drop", 100)[0] == 1
    assert invoke(good, less)[0] == 2
    assert invoke(good, less, "--allow-missing")[0] == 0
    assert invoke(few, few, "--require-power", 10)[0] == 3
    assert invoke(bad, good)[0] == 0


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_printed_and_says_what_could_not_be_seen(tmp_path: Path, name: str) -> None:
    folder = run(tmp_path, {"alt": [True] * 40})
    status, shown = invoke(folder, folder, "--format", name)
    assert status == 0
    assert any(word in shown for word in ("Could not see a drop", '"smallest"', "drop is found"))


def test_no_line_of_the_text_is_wider_than_asked_and_no_name_is_broken(tmp_path: Path) -> None:
    base = write_run(tmp_path / "a")
    new = write_run(tmp_path / "b")
    for path in (new / "cells").iterdir():
        cell = read_cell(path)
        write_cell(new, cell.header, [dataclasses.replace(e, success=e.episode > 4) for e in cell.episodes])
    for folder in (base, new):
        build_flat(folder)
    found = compare(base, new)
    for width in (70, 80, 120):
        lines = to_text(found, width=width).splitlines()
        # A folder's path is never broken, and tmp_path may be longer than a line.
        assert not [line for line in lines if cell_len(line) > width and str(tmp_path) not in line]
        for cell in found.cells:
            assert not cell.changed or any(line == cell.name or line.endswith(f"  {cell.name}") for line in lines)
    assert to_rich(found, width=80).plain == to_text(found, width=80)


def test_a_name_longer_than_a_line_stays_whole() -> None:
    name = f"alt/recall/{'x' * 300}"
    base = frame({name: [True] * 10})
    assert name in to_text(compare_frames(base, frame({name: [False] * 10}))).splitlines()
    assert name in to_text(compare_frames(base, frame({name: [True] * 9}))).replace(":", " ").split()


def test_nothing_but_a_rise_is_green(regression: Comparison) -> None:
    base = frame({"alt/recall/clean": [True] * 40})
    for found in (regression, compare_frames(base, base)):
        shown = to_rich(found)
        green = {shown.plain[span.start : span.end] for span in shown.spans if "green" in str(span.style)}
        assert all("bc" in text for text in green)


def test_junit_has_a_case_for_each_test(regression: Comparison) -> None:
    root = ElementTree.fromstring(to_junit(regression))
    cases = {(case.get("classname"), case.get("name")): case for case in root.iter("testcase")}
    assert len(cases) == 1 + 1 + 2 + 2 + 1
    for name in ("all cells", "alt", "alt/recall/clean"):
        failed = cases["altbench.compare", name].find("failure")
        assert (failed is not None) == (name != "all cells" or regression.overall.worse)
    for suite in root:
        for count, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(count, "")) == len(suite.findall(f"testcase/{kind}"))
        assert int(suite.get("tests", "")) == len(suite.findall("testcase"))


def test_junit_shows_no_untestable_cell_as_passed_and_missing_ones_as_errors(tmp_path: Path) -> None:
    base = run(tmp_path / "a", {"alt": [True] * 5, "bc": [True] * 40})
    new = run(tmp_path / "b", {"alt": [True] * 5})
    kinds = {"skipped": 0, "error": 0}
    for gate in (Gate(), Gate(allow_missing=True), Gate(require_power=5)):
        root = ElementTree.fromstring(to_junit(compare(base, new), gate))
        kinds = {kind: len(root.findall(f".//testcase/{kind}")) for kind in kinds}
        assert kinds["skipped"] == 4 + gate.allow_missing
        assert kinds["error"] == (0 if gate.allow_missing else 1) + (gate.require_power is not None)


def test_json_holds_every_number_and_the_verdict(regression: Comparison) -> None:
    read = json.loads(to_json(regression, Gate(min_drop=1)))
    assert read["verdict"]["status"] == judge(regression).status == 1
    assert read["gate"] == {"allow_missing": False, "min_drop": 1, "require_power": None}
    alt = next(cell for cell in read["cells"] if cell["name"] == "alt/recall/clean")
    assert alt["counts"] == {"both": 19, "only_first": 21, "only_second": 0, "neither": 0}
    assert alt["regression"] and alt["difference"] == pytest.approx(-21 / 40)


def test_markdown_begins_with_the_verdict_and_marks_regressions(regression: Comparison) -> None:
    text = to_markdown(regression)
    assert text.startswith("## altbench compare: regression")
    assert "**alt/recall/clean**" in text and "**bc/recall/clean**" not in text


def test_names_are_no_markup_in_any_format(tmp_path: Path) -> None:
    base = episodes_of(tmp_path / "a", NASTY, [episode(i) for i in range(40)])
    new = episodes_of(tmp_path / "b", NASTY, [episode(i, False) for i in range(39)])
    found = compare(base, new)
    root = ElementTree.fromstring(to_junit(found))
    assert sum("漢字 🤖&\"'" in case.get("name", "") for case in root.iter("testcase")) == 3
    markdown = to_markdown(found)
    assert "<b>" not in markdown and "\x1b" not in markdown
    assert len({line.count(" | ") for line in markdown.splitlines() if line.startswith("| **")}) == 1
    assert json.loads(to_json(found))["policies"][0]["name"] == NASTY
    assert "\\n\\x1b[31m\\x00 漢字 🤖" in to_rich(found).plain
    assert invoke(tmp_path / "a", tmp_path / "b")[0] == 1


def test_costs_are_ratios_on_one_machine_only() -> None:
    base, new = [measure("alt", p50=0.01)], [measure("alt", p50=0.03)]
    (ratio,), note = cost_ratios(base, new, ("EPYC", "EPYC"))
    assert (ratio.latency, ratio.weights_and_table, note) == (pytest.approx(3), 1, "")
    for machines in (("EPYC", "Xeon"), (None, None), ("EPYC", None)):
        ratios, note = cost_ratios(base, new, machines)
        assert ratios == () and "machines" in note
    named = [dataclasses.replace(record, machine="EPYC") for record in new]
    assert cost_ratios(base, named, ("EPYC", "Xeon"))[0]
    assert cost_ratios([], new, ("EPYC", "EPYC"))[1] == "time and memory: not measured in both runs"


def test_flags_are_compared_by_policy(tmp_path: Path) -> None:
    base = episodes_of(tmp_path / "a", "alt", [episode(i, flag=i < 2) for i in range(10)])
    new = episodes_of(tmp_path / "b", "alt", [episode(i, flag=i < 6) for i in range(10)])
    (flags,) = compare(base, new).flags
    assert (flags.base, flags.new, flags.episodes, flags.ratio) == (2, 6, 10, 3)
    assert "alt: 2 -> 6 of 10 episodes (× 3.00)" in str(compare(base, new))


def test_lost_episodes_are_listed_by_cell(tmp_path: Path) -> None:
    base = episodes_of(tmp_path / "a", "alt", [episode(i) for i in range(40)])
    new = episodes_of(
        tmp_path / "b",
        "alt",
        [dataclasses.replace(episode(i), status="infra_error") for i in (4, 9)]
        + [episode(i) for i in range(40) if i not in (4, 9)],
    )
    status, shown = invoke(base, new)
    assert status == 2
    assert f"{NAME}: 2 of 40 (infra_error): episodes 4, 9" in " ".join(shown.split())
