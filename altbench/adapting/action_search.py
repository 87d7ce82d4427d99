"""The conventions of actions, found from recorded answers: the policy is not asked again.

Errors of position, rotation and gripper add up (`Judge`). So for each reference, frame, offset and
frequency the best unit, form and gripper are found apart, which is the same as trying
all combinations.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from altbench.adapters import actions
from altbench.adapters.spec import Actions
from altbench.adapting import lattice
from altbench.adapting.errors import Judge
from altbench.adapting.lattice import Facts
from altbench.core.errors import ConfigError, ContractError
from altbench.core.types import Float32, Float64


@dataclass(frozen=True)
class Scored:
    """Conventions of actions, and the mean error under them."""

    error: float
    how: Actions


def search(judge: Judge, answers: Float32, facts: Facts) -> list[Scored]:
    """Return the best conventions of each reference, frame, offset and frequency; the best first.

    ContractError if no convention has answers of this length.
    """
    arms = facts.task.arms
    forms = lattice.rotation_forms(answers.shape[-1] // arms) if answers.shape[-1] % arms == 0 else []
    if not forms:
        raise ContractError(
            f"the policy answers {answers.shape[-1]} numbers; expected 7, 8 or 10 for each of {arms} arm(s): position, "
            "rotation and gripper"
        )
    found = [_best(judge, answers, facts, forms, timing) for timing in _timings(answers, facts)]
    return sorted(found, key=lambda one: one.error)


def _timings(answers: Float32, facts: Facts) -> Iterator[dict[str, object]]:
    names = ("reference", "frame", "offset", "frequency")
    for chosen in itertools.product(*(lattice.values(f"actions.{name}", facts) for name in names)):
        timing = dict(zip(names, chosen, strict=True))
        made = _made(timing)
        if made is not None and actions.horizon(answers.shape[1], made) >= 1:
            yield timing


def _made(settings: dict[str, object]) -> Actions | None:
    try:
        return Actions.parse(settings, "actions")
    except ConfigError:
        return None


def _best(judge: Judge, answers: Float32, facts: Facts, forms: list[str], timing: dict[str, object]) -> Scored:
    arms, context = facts.task.arms, judge.evidence.context
    position, rotation, gripper = actions.split(answers, Actions.parse({"rotation": forms[0]}, "actions"), arms)

    def mean(steps: Float64) -> float:
        return float(judge.frames(steps).mean())

    scales = [(scale, _made({**timing, **scale})) for scale in lattice.values("actions.position", facts)]
    places = [(judge.placed(position, how), scale) for scale, how in scales if how is not None]
    turns: dict[bool, tuple[float, dict[str, object]]] = {}
    for form, tool, in_units in itertools.product(forms, lattice.values("actions.tool", facts), (False, True)):
        if in_units and form != "rotvec":
            continue
        how = _made({**timing, "rotation": form, "tool": tool, "position": "controller" if in_units else "m"})
        if how is not None:
            error = mean(judge.rotations(actions.matrices(rotation, how, context)))
            for units in {in_units, in_units or form != "rotvec"}:
                own = (error, {"rotation": form, "tool": tool})
                turns[units] = min(turns.get(units, own), own, key=lambda one: one[0])
    grips = []
    for pair in lattice.GRIPPERS:
        how = Actions.parse({**timing, "gripper": pair}, "actions")
        grips.append((mean(judge.grippers(actions.grippers(gripper, how))), pair))
    grip = min(grips, key=lambda one: one[0])
    joined = [
        (error + turns[scale["position"] == "controller"][0], scale, turns[scale["position"] == "controller"][1])
        for error, scale in places
    ]
    error, scale, turn = min(joined, key=lambda one: one[0])
    how = Actions.parse({**timing, **scale, **turn, "gripper": grip[1]}, "actions")
    return Scored(error + grip[0], how)
