"""The search's stages on the fake task: what is tried together, in which order, and what is dropped at the end."""

from __future__ import annotations

from typing import Any

import fakes
import numpy as np
import pytest
import seeker

from altbench.adapters.foreign import ForeignPolicy
from altbench.adapters.spec import Adapter
from altbench.adapting import candidates, lattice, plain
from altbench.adapting.asking import Asker, question
from altbench.adapting.diagnosis import FRAMES, diagnose
from altbench.adapting.errors import Judge, nearest_actions
from altbench.adapting.evidence import gather
from altbench.adapting.lattice import Facts, facts_of
from altbench.adapting.search import PART, Search
from altbench.core.demonstration import Demonstration
from altbench.core.policy import Policy
from altbench.core.spec import Spec
from altbench.core.types import Float64

BASE = (-0.5, 0.1, 0.2)
FLIPPED_AND_HAND = {"images": {"flip_vertical": True}, "state": {"tool": "hand"}}
MOST_ROWS = 1000
"""Frames that are asked until a pair is found: 128 combinations, four frames each, and the best of them on more."""


@pytest.fixture(scope="module")
def shown() -> tuple[Demonstration, ...]:
    fakes.register()
    return fakes.make_demonstrations(12, image_size=(32, 32), placement="uniform")


def foreign(planted: dict[str, Any], shown: tuple[Demonstration, ...]) -> Policy[Any]:
    adapter = Adapter.model_validate({"base": BASE, **planted})
    return ForeignPolicy(seeker.Careful(fakes.TASK, Spec()), adapter, shown)


def searching(planted: dict[str, Any], shown: tuple[Demonstration, ...]) -> Search:
    policy = foreign(planted, shown)
    evidence = gather(shown, fakes.TASK, policy.requirements.obs_horizon, FRAMES, base=BASE)
    judge = Judge.of(evidence, nearest_actions(evidence, gather(shown, fakes.TASK, 1, 200, base=BASE)))
    rows = np.flatnonzero(~evidence.held_out)
    return Search(Asker(policy, evidence), judge, facts(policy, shown), rows, lambda message: None)


def facts(policy: Policy[Any], shown: tuple[Demonstration, ...]) -> Facts:
    return facts_of(fakes.TASK, policy.requirements, shown, BASE)


def test_what_seemed_best_by_chance_does_not_hide_two_faults_at_once(shown: tuple[Demonstration, ...]) -> None:
    # So planted-193 was missed: under another order of proprioception, and with steps of a millimetre, nonsense
    # seemed a little better, and only pairs with that order were tried.
    search = searching(FLIPPED_AND_HAND, shown)
    steps = {"reference": "previous", "position": "mm", "frequency": 2.0}
    chance = Adapter.model_validate({"state": {"order": ("fingers", "position", "rotation")}, "actions": steps})
    search.adapter = search.start.model_copy(update={"state": chance.state, "actions": chance.actions})
    search._together()
    found = lattice.changed(search.adapter, search.start)
    assert found == ["images.flip_vertical", "state.tool"]
    assert search.asker.rows <= MOST_ROWS


@pytest.mark.parametrize(
    ("planted", "most"),
    [
        (FLIPPED_AND_HAND, 2600),
        pytest.param(
            {"images": {"flip_horizontal": True}, "state": {"unit": "cm", "tool": "hand"}}, 3600, marks=pytest.mark.slow
        ),
    ],
)
def test_faults_that_hide_each_other_are_found_with_few_questions(
    planted: dict[str, Any], most: int, shown: tuple[Demonstration, ...]
) -> None:
    found = diagnose(foreign(planted, shown), shown, base=BASE)
    assert found.explained and found.adapter.tables() == planted
    assert found.rows <= most  # all pairs would be more than 4,000


def test_combinations_with_few_changes_come_first_and_each_once(shown: tuple[Demonstration, ...]) -> None:
    known = facts(seeker.Careful(fakes.TASK, Spec()), shown)
    start = lattice.ours(known)
    parts = list(candidates.together(start, known, PART))
    tried = [one for part in parts for one in part]
    changes = [len(lattice.changed(one, start)) for one in tried]
    assert all(len(part) <= PART for part in parts)
    assert changes == sorted(changes) and changes[0] == 0
    assert len({question(one) for one in tried}) == len(tried)
    poses = [one for one in candidates.proprioception(start, known) if len(lattice.changed(one, start)) <= 2]
    every = [one for pose in poses for one in candidates.images(pose, known)]
    few = {question(one) for one in every if len(lattice.changed(one, start)) <= candidates.FEW_CHANGES}
    assert len(few) > 200
    assert few <= {question(one) for one in tried}


def test_candidates_that_change_no_answer_leave_the_place_to_others(shown: tuple[Demonstration, ...]) -> None:
    # The fake gripper never turns: the first rows of its matrix have the numbers of the first columns.
    search = searching({}, shown)
    rows = search.rows[:4]
    same = candidates.with_values(search.start, {"state.rotation": "rot6d_rows"})
    mirrored = candidates.with_values(search.start, {"images.flip_vertical": True})
    ranked = [(1.0, search.start), (1.0, same), (2.0, mirrored)]
    assert search._best(ranked, 2, rows) == [(1.0, search.start), (2.0, mirrored)]


@pytest.mark.parametrize(
    ("name", "value", "worse", "frames", "kept"),
    [
        ("actions.offset", -1, 1.03, 64, True),
        ("actions.offset", -1, 1.01, 64, False),
        ("actions.offset", -1, 1.03, 24, False),  # a slow policy is asked about fewer frames
        ("actions.offset", -1, 1.06, 24, True),
        ("images.order", "bgr", 1.03, 64, True),
        ("actions.gripper", (0.0, 1.0), 1.03, 64, False),
        ("actions.gripper", (0.0, 1.0), 1.06, 64, True),
    ],
)
def test_a_change_is_kept_if_it_helps_by_more_than_chance_does(
    name: str, value: Any, worse: float, frames: int, kept: bool, shown: tuple[Demonstration, ...]
) -> None:
    known = facts(seeker.Careful(fakes.TASK, Spec()), shown)
    start = lattice.ours(known)
    changed = lattice.with_value(start, name, value)
    assert changed is not None

    def error(adapter: Adapter) -> Float64:
        return np.full(frames, 10.0 if adapter == changed else 10.0 * worse)

    found = plain.usual(plain.plainest(changed, start, error), start, known, error)
    assert found == (changed if kept else start)
