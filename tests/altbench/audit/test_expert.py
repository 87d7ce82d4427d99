"""The audit's expert: played once for all policies, and never taken for another one's episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import pytest
from running import run_bare

from altbench.audit import expert
from altbench.core import registry
from altbench.results import cells
from altbench.results.run import Run
from altbench.rollout.records import EpisodeRecord
from altbench.runner.episodes import cell_header
from altbench.sweeps.plan import Cell, make_plan
from altbench.sweeps.rows import provenance_of
from altbench.sweeps.spec import SweepSpec

DATA = {("Lift", n): f"{n:064x}" for n in (10, 30)}
LIFT: dict[str, Any] = {
    "name": "lift",
    "tasks": ["Lift"],
    "policies": [{"policy": "open_loop", "n": [30]}, {"policy": "random", "n": [10, 30]}],
    "evaluations": [
        {"split": "recall", "episodes": 4},
        {"split": "recall", "episodes": 4, "perturbations": [{"name": "distractors", "severities": [3]}]},
        {"split": "interpolate", "episodes": 4},
    ],
}
FAKE: dict[str, Any] = {
    **LIFT,
    "name": "fake",
    "tasks": ["Fake"],
    "image_size": [16, 16],
    "demonstrations": {"n": 6},
    "policies": [{"policy": name, "n": [6]} for name in ("open_loop", "random")],
    "evaluations": LIFT["evaluations"][:1],
    "measure": False,
}


def keys(changes: Mapping[str, Any] | None = None, data: Mapping[tuple[str, int], str] = DATA) -> dict[str, str]:
    """The expert's keys by the names of the cells that are audited."""
    plan = make_plan(SweepSpec.parse({**LIFT, **(changes or {})}, "lift"), provenance_of("cpu", "none", data))
    return {cell.name.removeprefix("lift/"): expert.control_of(cell).key for cell in plan.cells}


def test_the_key_is_that_of_the_episodes_and_not_of_the_policy() -> None:
    found = keys()
    shown, new = "s0/recall/clean", "s0/interpolate/clean"
    assert found[f"open_loop/n30/{shown}"] == found[f"random/n30/{shown}"]
    assert found[f"open_loop/n30/{shown}"] == found["open_loop/n30/s0/recall/distractors-3"], "it plays unperturbed"
    assert found[f"open_loop/n30/{shown}"] != found[f"random/n10/{shown}"], "other demonstrations to begin from"
    assert found[f"open_loop/n30/{new}"] == found[f"random/n10/{new}"] != found[f"open_loop/n30/{shown}"]
    assert keys({"decision_timeout_s": 3.0, "image_size": [32, 32], "train_seeds": [0]}) == found


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"horizon": 50}, {"evaluations": [{"split": s, "episodes": 5} for s in ("recall", "interpolate")]}],
)
def test_other_episodes_have_another_key(changes: Mapping[str, Any]) -> None:
    assert not set(keys().values()) & set(keys(changes).values())


def test_other_demonstrations_version_or_code_have_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before, shown, new = keys(), "open_loop/n30/s0/recall/clean", "open_loop/n30/s0/interpolate/clean"
    other = keys(data=dict.fromkeys(DATA, "f" * 64))
    assert other[shown] != before[shown] and other[new] == before[new], "new poses follow from the seed alone"
    with monkeypatch.context() as patched:
        patched.setattr(expert, "code_versions", lambda task, own_expert: {"expert source": "edited"})
        assert not set(keys().values()) & set(before.values())
    newer = replace(registry.task("Lift"), version=2)
    monkeypatch.setattr(registry, "task", lambda name: newer)
    assert not set(keys().values()) & set(before.values())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of two policies on the fake task."""
    fakes.register()
    root = tmp_path_factory.mktemp("run") / "fake"
    sweep = SweepSpec.parse(FAKE, "fake")
    run_bare(sweep, root)
    return Run.open(root, sweep, "none")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two folders of audits, and a cache of their own."""
    fakes.register()
    monkeypatch.setenv("ALTBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "one", tmp_path / "two"


def of(run: Run, label: str) -> Cell:
    (cell,) = expert.controls([cell for cell in run.plan.cells if cell.label == label])
    return cell


def never(run: Run, cell: Cell) -> list[EpisodeRecord]:
    raise AssertionError(f"played again: {cell.name}")


def test_what_was_played_for_one_policy_serves_another_elsewhere(
    run: Run, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    first, second = of(run, "open_loop"), of(run, "random")
    expert.play(run, first, places[0], said.append)
    monkeypatch.setattr(expert, "_episodes", never)
    expert.play(run, second, places[1], said.append)
    assert [text.split()[0] for text in said] == ["playing", "the"] and "Fake, recall" in said[1]
    ((_, one),), ((cell, two),) = expert.played(places[0], [first]), expert.played(places[1], [second])
    assert one == two and len(one) == 4 and cell.label == "expert"
    header = cells.read_cell(cells.cell_path(places[1], cell.key)).header
    assert (header.name, header.policy, header.perturbation) == ("fake/expert/n6/s0/recall/clean", "expert", "clean")


def test_a_record_under_the_key_of_old_is_still_found(
    run: Run, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records had the key of the first cell that was audited."""
    cell = of(run, "open_loop")
    expert.play(run, cell, places[0], lambda text: None)
    ((_, records),) = expert.played(places[0], [cell])
    audited = next(one for one in run.plan.cells if one.label == "open_loop")
    assert audited.key != cell.key
    cells.write_cell(places[1], cell_header(audited), records)
    monkeypatch.setattr(expert, "_episodes", never)
    said: list[str] = []
    expert.play(run, cell, places[1], said.append)
    assert said == [] and expert.is_played(places[1], cell) and expert.played(places[1], [cell]) == [(cell, records)]
    assert not expert.is_played(places[1], of(run, "random")), "another policy's key of old is another one"


def test_edited_code_of_tasks_or_experts_has_another_cache(
    run: Run, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    expert.play(run, of(run, "open_loop"), places[0], said.append)
    monkeypatch.setattr(expert, "source_digest", lambda code: f"edited {code}")
    expert.play(run, of(run, "open_loop"), places[1], said.append)
    assert [text.split()[0] for text in said] == ["playing", "playing"]
