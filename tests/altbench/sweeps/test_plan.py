"""Plans: what enters a key, events, labels of perturbations, and what the two add to names and keys."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from PIL import Image

from altbench.core import registry
from altbench.core.errors import ConfigError
from altbench.results.run import Run
from altbench.runner import episodes as episodes_module
from altbench.sweeps.plan import Cell, Plan, make_plan
from altbench.sweeps.rows import Provenance
from altbench.sweeps.spec import SweepSpec

PROVENANCE = Provenance({"torch": "0"}, "cpu", "egl", {("Lift", 30): "a", ("Lift", 10): "b"}, 1)
EVENT = {"move_at": 15, "by": 0.08}


def plan_of(evaluation: dict[str, Any], own: Path) -> Plan:
    values = {
        "name": "s",
        "tasks": ["Fake"],
        "demonstrations": {"n": 6},
        "policies": [{"policy": f"{own}:Good", "n": [6]}],
        "evaluations": [{"split": "recall", "episodes": 2, **evaluation}],
    }
    return make_plan(SweepSpec.parse(values, "sweep"), PROVENANCE)


def cell_of(evaluation: dict[str, Any], own: Path) -> Cell:
    return plan_of(evaluation, own).cells[0]


def test_perturbations_are_made_once_for_all_policies_of_a_task(
    own_policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    kind = registry.perturbation("occlusion")
    monkeypatch.setattr(registry, "perturbation", lambda _: lambda s, **options: made.append(s) or kind(s, **options))
    values = {
        "name": "s",
        "tasks": ["Fake"],
        "demonstrations": {"n": 6},
        "policies": [{"policy": f"{own_policies}:Good", "label": label, "n": [3, 6]} for label in ("a", "b")],
        "evaluations": [{"split": "recall", "perturbations": [{"name": "occlusion", "severities": [1, 2]}]}],
    }
    plan = make_plan(SweepSpec.parse(values, "sweep"), PROVENANCE)
    assert len(plan.cells) == 8 and made == [1, 2]
    assert len({id(cell.column.perturbation) for cell in plan.cells}) == 2
    assert all(cell.column.perturbation.severity == cell.severity for cell in plan.cells)


@pytest.mark.parametrize(
    ("changes", "keeps"),
    [
        ({"episode_timeout_s": 1800.0}, True),
        ({"give_up_after": 5}, True),
        ({"episode_timeout_s": 60.0}, False),
        ({"give_up_after": 0}, False),
    ],
)
def test_a_limit_enters_a_cells_key_unless_it_is_the_usual_one(
    own_policies: Path, changes: dict[str, Any], keeps: bool
) -> None:
    before = plan_of({}, own_policies)
    after = make_plan(before.sweep.model_copy(update=changes), PROVENANCE)
    assert (after.cells[0].key == before.cells[0].key) == keeps
    assert after.checkpoints[0].key == before.checkpoints[0].key


@pytest.mark.parametrize("name", registry.names("perturbation"))
def test_a_perturbation_travels_to_a_worker(own_policies: Path, name: str) -> None:
    column = cell_of({"perturbations": [{"name": name, "severities": [2]}]}, own_policies).column
    arrived = pickle.loads(pickle.dumps(column))
    assert type(arrived.perturbation) is registry.perturbation(name) and arrived.perturbation.severity == 2


def test_another_version_of_a_perturbation_makes_other_keys(
    own_policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbed = {"perturbations": [{"name": "occlusion", "severities": [2]}]}
    before, clean = cell_of(disturbed, own_policies), cell_of({}, own_policies)
    monkeypatch.setattr(registry.perturbation("occlusion"), "version", 2)
    after = cell_of(disturbed, own_policies)
    assert (
        after.key != before.key
        and "version 2" in after.specification
        and "version" not in str(json.loads(before.specification)["perturbation"])
    )
    assert cell_of({}, own_policies).key == clean.key


def test_an_event_is_part_of_name_key_and_split(own_policies: Path) -> None:
    plain, moved, later = (
        cell_of(e, own_policies) for e in ({}, {"event": EVENT}, {"event": {**EVENT, "move_at": 16}})
    )
    assert moved.name == "fake/Good/n6/s0/recall+move15by0.08/clean"
    assert len({plain.key, moved.key, later.key}) == 3
    header = episodes_module.cell_header(moved)
    assert (header.split, header.perturbation) == ("recall+move15by0.08", "clean")
    assert '"event":[15,0.08]' in header.spec_json and "event" not in plain.specification


def test_an_event_reaches_every_reset(own_policies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "demonstrations", lambda *_: fakes.make_demonstrations(2))
    plan = plan_of({"event": EVENT}, own_policies)
    run = Run(Path(), plan.sweep, "cpu", "none", {}, plan)
    options = [dict(p.options) for p in episodes_module.episode_plans(run, plan.cells[0])]
    assert [(o["split"], o["move_at"], o["by"], "initial_state" in o) for o in options] == [
        ("recall", 15, 0.08, True)
    ] * 2
    plain = episodes_module.episode_plans(run, plan_of({}, own_policies).cells[0])
    assert {"move_at", "by"}.isdisjoint(plain[0].options)


def test_an_object_is_moved_to_the_nearest_pose_of_another_demonstration(
    own_policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = fakes.make_demonstrations(12)  # two of each of six poses
    monkeypatch.setattr(Run, "demonstrations", lambda *_: shown)
    plan = plan_of({"event": {"move_at": 15, "to": "demonstrated"}, "episodes": 6}, own_policies)
    assert plan.cells[0].name == "fake/Good/n6/s0/recall+move15to-demonstrated/clean"
    poses = np.array([d.initial_state.object_pose for d in shown[:6]])
    for index, one in enumerate(
        episodes_module.episode_plans(Run(Path(), plan.sweep, "cpu", "none", {}, plan), plan.cells[0])
    ):
        away = np.linalg.norm(poses - poses[index], axis=1)
        there = np.linalg.norm(np.asarray(one.options["move_to"]) - poses[index])
        assert one.options["move_at"] == 15 and "by" not in one.options
        assert there == pytest.approx(np.sort(away)[1])


def test_a_move_between_demonstrated_poses_needs_demonstrations_of_two_places(
    own_policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = {"move_at": 15, "to": "demonstrated"}
    with pytest.raises(ConfigError, match=r"expected a split that begins from demonstrations .*, got 'uniform'"):
        plan_of({"split": "uniform", "event": event}, own_policies)
    monkeypatch.setattr(Run, "demonstrations", lambda *_: fakes.make_demonstrations(1))
    plan = plan_of({"event": event}, own_policies)
    with pytest.raises(ConfigError, match="demonstrations of two places at least"):
        episodes_module.episode_plans(Run(Path(), plan.sweep, "cpu", "none", {}, plan), plan.cells[0])


def test_calibration_begins_as_recall_does_with_draws_of_its_own(
    own_policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "demonstrations", lambda *_: fakes.make_demonstrations(2))
    found = {}
    for split in ("recall", "calibrate"):
        plan = plan_of({"split": split}, own_policies)
        run = Run(Path(), plan.sweep, "cpu", "none", {}, plan)
        found[split] = episodes_module.episode_plans(run, plan.cells[0])
        assert plan.cells[0].split == split
    recall, own = found["recall"], found["calibrate"]
    assert [p.options["split"] for p in own] == ["recall"] * len(own)
    assert all("initial_state" in p.options for p in own)
    assert not {p.seed for p in own} & {p.seed for p in recall}


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"move_at": 40, "by": 0.08}, "move_at: expected a step before the horizon, 40, got 40"),
        ({"move_at": 1, "by": 0}, r"expected by = a distance over 0 and up to 0.5 \(m\), or to = 'demonstrated'"),
        ({"move_at": 1, "by": 0.1, "to": "demonstrated"}, "expected by = a distance over 0"),
        ({"move_at": 1, "to": "uniform"}, "expected '' or 'demonstrated', got 'uniform'"),
        ({"move_at": 1, "by": 8}, r"evaluations.0.event.by: expected a distance over 0 and up to 0.5 \(m\), got 8"),
        ({"move_at": 1, "by": float("nan")}, "expected a finite number, got nan"),
        ({"move_at": 1}, r"expected by = a distance over 0"),
        ({"move_at": 1, "bye": 0.1}, "unknown key 'evaluations.0.event.bye'; did you mean 'by'"),
    ],
)
def test_an_event_that_means_nothing_is_refused(own_policies: Path, event: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of({"event": event}, own_policies)


@pytest.mark.parametrize("episodes", [7, 50])
def test_more_replays_than_demonstrations_are_refused(own_policies: Path, episodes: int) -> None:
    told = f'n = 6 the split replay has 6 initial states.* episodes = "each" or at most 6, got {episodes}'
    with pytest.raises(ConfigError, match=told):
        plan_of({"split": "replay", "episodes": episodes}, own_policies)
    assert plan_of({"split": "recall", "episodes": episodes}, own_policies).cells[0].episodes == episodes


@pytest.mark.parametrize(("episodes", "played"), [("each", 6), (6, 6), (2, 2)])
def test_each_demonstration_may_be_replayed_once(own_policies: Path, episodes: Any, played: int) -> None:
    assert cell_of({"split": "replay", "episodes": episodes}, own_policies).episodes == played


def test_an_event_is_refused_where_nothing_can_be_moved(own_policies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeTask, "info", dataclasses.replace(fakes.TASK, movable=False))
    with pytest.raises(ConfigError, match=r"Fake: the event move15by0.08 moves an object .* none that can be moved"):
        plan_of({"event": EVENT}, own_policies)


def test_labels_let_two_entries_stand_side_by_side(own_policies: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "mine.png")
    cat = {"name": "photograph", "severities": [2]}
    own = {**cat, "options": {"folder": str(tmp_path)}}
    with pytest.raises(ConfigError, match=r"two evaluations make a cell called .*photograph-2'; .*label"):
        plan_of({"perturbations": [cat, own]}, own_policies)
    plan = plan_of({"perturbations": [cat, {**own, "label": "mine", "cameras": ["wrist"]}]}, own_policies)
    assert [cell.name.rpartition("/")[2] for cell in plan.cells] == ["photograph-2", "mine@wrist-2"]
    assert [episodes_module.cell_header(cell).perturbation for cell in plan.cells] == ["photograph", "mine@wrist"]
    unlabelled = cell_of({"perturbations": [cat]}, own_policies)
    assert unlabelled.key == plan.cells[0].key and "perturbation_label" not in unlabelled.specification
    assert cell_of({"perturbations": [{**cat, "label": "patch"}]}, own_policies).key != unlabelled.key


@pytest.mark.parametrize("label", ["clean", "fog", "a/b"])
def test_a_label_that_would_be_taken_for_another_is_refused(own_policies: Path, label: str) -> None:
    with pytest.raises(ConfigError, match="label"):
        plan_of({"perturbations": [{"name": "occlusion", "label": label}]}, own_policies)
