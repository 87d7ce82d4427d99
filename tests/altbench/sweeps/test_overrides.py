"""A sweep with fewer episodes, other N, some tasks, rows or splits: what changes, what stays, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from altbench.core.errors import ConfigError
from altbench.sweeps.overrides import override
from altbench.sweeps.plan import Plan, make_plan
from altbench.sweeps.rows import provenance_of
from altbench.sweeps.spec import SweepSpec, load_sweep


def quick(**changes: Any) -> SweepSpec:
    return override(load_sweep("quick"), **changes)


def planned(sweep: SweepSpec) -> Plan:
    return make_plan(sweep, provenance_of("cpu", "none", {}))


def episodes(sweep: SweepSpec) -> dict[str, int]:
    return {cell.name: cell.episodes for cell in planned(sweep).cells}


def test_without_overrides_a_sweep_stays_as_it_is() -> None:
    assert quick() == load_sweep("quick")


def test_fewer_episodes_are_played_everywhere_and_replay_has_one_for_each_demonstration() -> None:
    found = episodes(quick(episodes=20))
    assert found["lift/bc/n10/s0/replay/clean"] == 10 and found["lift/bc/n30/s0/replay/clean"] == 20
    assert {count for name, count in found.items() if "/replay/" not in name} == {20}
    assert set(found) == set(episodes(load_sweep("quick")))


def test_more_episodes_than_demonstrations_leave_replay_as_it_is() -> None:
    assert quick(episodes=50).evaluations[0].episodes == "each"
    assert quick(episodes=50).evaluations[1].episodes == 50


def test_rows_have_the_wanted_n_and_more_demonstrations_are_collected_if_it_takes_them() -> None:
    sweep = quick(n=[5, 60])
    assert {entry.n for entry in sweep.policies} == {(5, 60)} and sweep.demonstrations.n == 60
    # Fewer are not collected: the subsets, and so the keys, stay those of the sweep.
    assert quick(n=[10]).demonstrations.n == 30
    assert "lift/bc/n60/s0/recall/photograph-5" in episodes(sweep)


def test_evaluations_that_differ_in_n_alone_become_one() -> None:
    twice = [{"split": "recall", "episodes": count, "n": [n]} for n, count in ((10, 4), (30, 8))]
    sweep = SweepSpec.parse({**load_sweep("quick").model_dump(), "evaluations": twice}, "twice")
    assert [(e.n, e.episodes) for e in override(sweep, n=[20]).evaluations] == [((20,), 4)]
    assert [(e.n, e.episodes) for e in override(sweep, n=[30]).evaluations] == [((30,), 8)]


def test_rows_and_splits_are_chosen_and_what_nobody_plays_is_left_out() -> None:
    sweep = quick(only=["random", "bc"])
    assert [entry.name for entry in sweep.policies] == ["bc", "random"]
    assert sweep.evaluations[-1].policies == ("bc",)
    assert len(quick(only=["random"]).evaluations) == 2  # `replay` and the perturbed ones are not for random
    assert {cell.split for cell in planned(quick(splits=["uniform"])).cells} == {"uniform"}
    own = load_sweep("quick").model_copy(update={"evaluations": load_sweep("quick").evaluations[3:]})
    kept = override(own, splits=["recall"]).policies
    assert [(entry.name, entry.n) for entry in kept] == [
        ("diffusion", (30,)),
        ("bc", (30,)),
        ("alt", (30,)),
        ("alt-hold", (30,)),
    ]


def test_tasks_are_chosen_in_the_sweeps_order_and_keep_their_keys() -> None:
    tasks = load_sweep("tasks")
    few = override(tasks, tasks=["Can", "Lift", "Can"])
    assert few.tasks == ("Lift", "Can") and few.name == "tasks-Can-Lift"
    before = {cell.name: cell.key for cell in planned(tasks).cells}
    assert all(before[cell.name] == cell.key for cell in planned(few).cells)


def test_an_added_policy_may_be_the_only_one() -> None:
    sweep = quick(policies=["kdtree"], only=["kdtree"], episodes=2)
    assert [entry.name for entry in sweep.policies] == ["kdtree"] and sweep.name == "quick-2ep-kdtree"


def test_cells_that_are_not_changed_keep_their_keys() -> None:
    before = {cell.name: cell.key for cell in planned(load_sweep("quick")).cells}
    kept = planned(quick(only=["alt"], splits=["recall"], device="cpu")).cells
    assert kept and all(before[cell.name] == cell.key for cell in kept)


def test_another_seed_and_device_are_of_the_whole_sweep() -> None:
    sweep = quick(seed=3, device="cpu")
    assert (sweep.seed, sweep.device, sweep.name) == (3, "cpu", "quick-cpu-seed3")
    assert sweep.demonstrations.seed == 0


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"episodes": 5}, "quick-5ep"),
        ({"n": [10, 10]}, "quick-n10"),
        ({"only": ["alt"], "splits": ["uniform"]}, "quick-alt-uniform"),
        ({"tasks": ["Lift"], "data_seeds": [3]}, "quick-Lift-data3"),
        ({"policies": ["kdtree"]}, "quick"),
    ],
)
def test_an_overridden_sweep_has_a_name_of_its_own(changes: dict[str, Any], name: str) -> None:
    assert quick(**changes).name == name


def test_a_name_that_cannot_be_a_folders_becomes_a_digest() -> None:
    sweep = load_sweep("quick")
    label = sweep.policies[0].model_copy(update={"label": "ma politique × 2"})
    sweep = sweep.model_copy(update={"policies": (*sweep.policies, label)})
    made = override(sweep, only=["ma politique × 2"]).name
    assert len(made) == len("quick-") + 8 and SweepSpec.parse({**sweep.model_dump(), "name": made}, "x")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"only": ["allt"]}, r"unknown policy of the sweep quick 'allt'; did you mean 'alt'\? \(valid: alt, alt-hold,"),
        ({"tasks": ["lift"]}, r"unknown task of the sweep quick 'lift'; did you mean 'Lift'\? \(valid: Lift\)"),
        ({"splits": ["recal"]}, r"unknown split of the sweep quick 'recal'; did you mean 'recall'\? \(valid: recall,"),
        ({"device": "gpu"}, r"unknown device 'gpu'; did you mean 'cuda'\? \(valid: auto, cpu, cuda\)"),
        ({"episodes": 0}, "episodes: expected a number from 1, got 0"),
        ({"n": [0]}, "n: expected numbers of demonstrations from 1, got 0"),
        ({"seed": -1}, "quick: seed: expected"),
        ({"policies": ["alt"]}, "the sweep already has a policy called 'alt'"),
        ({"policies": ["altt"]}, "unknown policy 'altt'; did you mean 'alt'"),
    ],
)
def test_an_override_that_is_impossible_is_refused_with_what_is_valid(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        quick(**changes)


def test_rows_that_no_evaluation_has_are_refused() -> None:
    sweep = load_sweep("quick")
    sweep = sweep.model_copy(update={"evaluations": sweep.evaluations[3:]})
    with pytest.raises(ConfigError, match="the sweep quick evaluates none of random"):
        override(sweep, only=["random"])
