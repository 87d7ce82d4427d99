"""A comparison as Markdown, JSON and JUnit XML."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

from altbench.report.compare import lines
from altbench.report.compare.gate import Gate, fails, is_incomplete, judge, seen_from, weak_tests
from altbench.report.compare.records import Comparison, PairedResult
from altbench.report.compare.text import to_rich, to_text
from altbench.report.table import Block, pipe_table

JSON_FORMAT = 1
"""The number of the JSON's layout; it rises when a reader would have to change."""
MOST_CELLS = 100
"""Changed cells in the Markdown: a job summary of GitHub holds 1 MB."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""


def to_markdown(comparison: Comparison, gate: Gate | None = None) -> str:
    """Return Markdown for a job summary or a pull request."""
    gate = gate or Gate()
    verdict, counts = judge(comparison, gate), comparison.overall.counts
    summary = (
        f"{counts.total:,} shared episodes in {len(comparison.cells)} cells: {counts.only_first} lost, "
        f"{counts.only_second} gained."
    )
    tests = [comparison.overall, comparison.unbroken, *comparison.policies]
    changed = lines.changed_cells(comparison)
    parts = [f"## altbench compare: {_md(verdict.headline)}", _bullets(verdict.reasons), summary, _pipes(tests, gate)]
    if changed:
        hidden = f" ({MOST_CELLS} of {len(changed)})" if len(changed) > MOST_CELLS else ""
        parts += [f"### Cells with other outcomes, worst first{hidden}", _pipes(changed[:MOST_CELLS], gate)]
    if comparison.costs:
        title, columns, names, ratios = lines.costs(comparison)
        rows = tuple((_md(name), *row) for name, row in zip(names, ratios, strict=True))
        parts += [f"### {_md(title)}", pipe_table(Block("", ("policy", *columns), rows, names=1))]
    for head, items in lines.groups(comparison):
        parts += [f"**{_md(head)}**", _bullets(items)] if items else [_md(head)]
    parts += [_md(lines.unseen(comparison)), f"<sub>{_md(lines.TEST_NOTE)}</sub>"]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_json(comparison: Comparison, gate: Gate | None = None) -> str:
    """Return all numbers as JSON. Rates are shares; null: none."""
    gate = gate or Gate()
    found = {
        "format": JSON_FORMAT,
        "verdict": dataclasses.asdict(judge(comparison, gate)),
        "gate": dataclasses.asdict(gate),
        "overall": _numbers(comparison.overall, gate),
        "unbroken": _numbers(comparison.unbroken, gate),
        "policies": [_numbers(test, gate) for test in comparison.policies],
        "cells": [_numbers(test, gate) for test in comparison.cells],
    }
    for name in ("only_base", "only_new", "only_new_counts", "costs_note", "versions"):
        found[name] = getattr(comparison, name)
    for name in ("lost", "statuses", "flags", "costs"):
        found[name] = [dataclasses.asdict(item) for item in getattr(comparison, name)]
    return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_junit(comparison: Comparison, gate: Gate | None = None) -> str:
    """Return JUnit XML: a case for all cells, for errors, per policy and per cell.

    A regression is a failure. What is missing or inconclusive is an error. A test that
    no outcome could have made significant is skipped, so that it is not shown as passed.
    """
    gate = gate or Gate()
    root = ElementTree.Element("testsuites", name="altbench compare")
    suites = {
        "overall": [_case(test, gate) for test in (comparison.overall, comparison.unbroken)],
        "policies": [_case(test, gate) for test in comparison.policies],
        "cells": [_case(test, gate) for test in comparison.cells],
        "complete": _complete(comparison, gate),
    }
    if gate.require_power is not None:
        suites["power"] = [_power_case(comparison, gate)]
    for name, cases in suites.items():
        root.append(_suite(name, cases))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


FORMATS: dict[str, Callable[[Comparison, Gate | None], str]] = {
    "text": to_text,
    "markdown": to_markdown,
    "json": to_json,
    "junit": to_junit,
}
"""The formats of `altbench compare` -> what writes them."""
__all__ = ["FORMATS", "to_json", "to_junit", "to_markdown", "to_rich", "to_text"]


def _pipes(tests: Sequence[PairedResult], gate: Gate) -> str:
    best = frozenset((i, j) for i, t in enumerate(tests) if fails(t, gate) for j in range(len(lines.TEST_HEAD) + 1))
    rows = tuple((_md(test.name), *lines.test_row(test)) for test in tests)
    return pipe_table(Block("", ("", *lines.TEST_HEAD), rows, best, names=1))


def _bullets(items: Sequence[str]) -> str:
    return "\n".join(f"- {_md(item)}" for item in items)


def _md(text: str) -> str:
    """Return a text that Markdown shows as it is; `pipe_table` escapes its bars."""
    shown = lines.plain(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]#@$~])", r"\\\1", shown)


def _numbers(test: PairedResult, gate: Gate) -> dict[str, object]:
    derived = {
        "base_rate": test.base_rate,
        "new_rate": test.new_rate,
        "difference": test.counts.difference,
        "regression": fails(test, gate),
        "better": test.better,
    }
    return {**dataclasses.asdict(test), **derived}


def _suite(name: str, cases: Sequence[ElementTree.Element]) -> ElementTree.Element:
    kinds = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    counts = {key: str(sum(case.find(kind) is not None for case in cases)) for key, kind in kinds.items()}
    suite = ElementTree.Element("testsuite", {"name": name, "tests": str(len(cases)), "time": "0", **counts})
    suite.extend(cases)
    return suite


def _case(test: PairedResult, gate: Gate) -> ElementTree.Element:
    text = ", ".join(f"{head} {value}" for head, value in zip(lines.TEST_HEAD, lines.test_row(test), strict=True))
    if fails(test, gate):
        return _element("compare", test.name, "failure", "significantly worse", text)
    if test.smallest is None:
        return _element(
            "compare", test.name, "skipped", "too few successes in the base run: no drop is significant", text
        )
    if test.changed and not test.can_decide:
        return _element("compare", test.name, "skipped", "so few episodes changed that no outcome is significant", text)
    return _element("compare", test.name, "system-out", None, f"{text}\nno regression seen; {seen_from(test)}")


def _complete(comparison: Comparison, gate: Gate) -> list[ElementTree.Element]:
    kind = "skipped" if gate.allow_missing else "error"
    cases = [_element("complete", name, kind, "the new run lacks the cell", "") for name in comparison.only_base]
    for lost in comparison.lost:
        episodes = f"episodes {', '.join(map(str, lost.episodes))}"
        message = f"the new run lacks {len(lost.episodes)} of {lost.of} episodes ({lost.reason})"
        cases.append(_element("complete", lost.name, kind, message, episodes))
    if is_incomplete(comparison):
        return cases
    return [_element("complete", "all episodes of the base run", "system-out", None, "the new run has them all")]


def _power_case(comparison: Comparison, gate: Gate) -> ElementTree.Element:
    name = f"a drop of {gate.require_power:g} points is seen"
    weak = weak_tests(comparison, gate)
    if weak:
        return _element("power", name, "error", "inconclusive", "\n".join(weak))
    return _element("power", name, "system-out", None, "with 80 % probability")


def _element(group: str, name: str, kind: str, message: str | None, text: str) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=f"altbench.{group}", name=_xml(name), time="0")
    inner = ElementTree.SubElement(case, kind, {} if message is None else {"message": _xml(message)})
    inner.text = _xml(text)
    return case


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
