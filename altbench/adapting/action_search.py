"""The conventions of actions, found from recorded answers: the policy is not asked again.

Errors of position, rotation and gripper add up (`Judge`). So for each reference, frame, offset and
frequency the best unit, form and gripper are found apart, which is the same as trying
all combinations. The answers under many candidates are scored at once.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from altbench.adapters import actions, rotations
from altbench.adapters.spec import Actions
from altbench.adapting import lattice
from altbench.adapting.errors import Judge
from altbench.adapting.lattice import Facts
from altbench.core.errors import ConfigError, ContractError
from altbench.core.spec import canonical
from altbench.core.types import Float32, Float64

KINDS = 3
"""References with a frame that are tried with every offset and frequency."""

Timing = Mapping[str, object]
"""A reference, frame, offset and frequency."""


@dataclass(frozen=True)
class Scored:
    """Conventions of actions, and the mean error under them."""

    error: float
    how: Actions


def search(judge: Judge, answers: Float32, facts: Facts) -> Scored:
    """Return the best conventions of answers (M, n, numbers).

    Every reference and frame is tried in the plainest time, the best `KINDS` of them with
    every offset and frequency. ContractError if no convention has answers of this length.
    """
    asked = _Asked(judge, answers[None], facts)
    plain = [(asked.best(timing)[0], timing) for timing in timings(answers.shape[1], facts, [(0, 1.0)])]
    plain.sort(key=lambda one: one[0].error)
    times = every_time(facts)
    kinds = {(timing["reference"], timing["frame"]) for _, timing in plain[:KINDS]}
    others = [t for t in timings(answers.shape[1], facts, times) if (t["reference"], t["frame"]) in kinds]
    return min([plain[0][0], *(asked.best(timing)[0] for timing in others)], key=lambda one: one.error)


def best_of_each(judge: Judge, answers: Float32, facts: Facts, how: Actions) -> list[Scored]:
    """Return the best conventions for each candidate's answers (candidates, M, n, numbers).

    Every reference and frame is tried in the time of `how` and in the plainest; every
    offset and frequency with the reference and frame of `how`. A wrong time and wrong
    images hide each other: without one, the other looks right as it is.
    """
    asked, steps = _Asked(judge, answers, facts), answers.shape[2]
    near = list(dict.fromkeys([(how.offset, how.frequency), (0, 1.0)]))
    others = [time for time in every_time(facts) if time not in near]
    chosen = list(timings(steps, facts, near))
    chosen += [t for t in timings(steps, facts, others) if (t["reference"], t["frame"]) == (how.reference, how.frame)]
    found = [asked.best(timing) for timing in chosen]
    return [min(own, key=lambda one: one.error) for own in zip(*found, strict=True)]


def every_time(facts: Facts) -> list[tuple[int, float]]:
    """Return every offset with every frequency."""
    offsets, frequencies = (lattice.values(f"actions.{name}", facts) for name in ("offset", "frequency"))
    return list(itertools.product(offsets, frequencies))


def timings(steps: int, facts: Facts, times: Iterable[tuple[int, float]]) -> Iterator[Timing]:
    """Yield every reference and frame with some offsets and frequencies that leave an action of `steps`."""
    kinds = itertools.product(*(lattice.values(f"actions.{name}", facts) for name in ("reference", "frame")))
    for (reference, frame), (offset, frequency) in itertools.product(kinds, list(times)):
        timing = {"reference": reference, "frame": frame, "offset": offset, "frequency": frequency}
        made = _made(timing)
        if made is not None and actions.horizon(steps, made) >= 1:
            yield timing


def _made(settings: Timing) -> Actions | None:
    return _parsed(canonical(dict(settings)))


@functools.lru_cache(maxsize=4096)
def _parsed(settings: str) -> Actions | None:
    import json

    try:
        return Actions.parse(json.loads(settings), "actions")
    except ConfigError:
        return None


class _Asked:
    """The answers (C, M, n, numbers) of C candidates to the frames of `judge`."""

    def __init__(self, judge: Judge, answers: Float32, facts: Facts) -> None:
        self.count, self.facts, arms = len(answers), facts, facts.task.arms
        numbers = answers.shape[-1]
        self.forms = lattice.rotation_forms(numbers // arms) if numbers % arms == 0 else []
        if not self.forms:
            raise ContractError(
                f"the policy answers {numbers} numbers; expected 7, 8 or 10 for each of {arms} arm(s): position, "
                "rotation and gripper"
            )
        self.judge = judge.repeated(self.count)
        flat = answers.reshape(-1, *answers.shape[2:])
        shape = Actions.parse({"rotation": self.forms[0]}, "actions")
        self.position, rotation, self.gripper = actions.split(flat, shape, arms)
        self.turns = {(form, False): rotations.matrices(rotation, form) for form in self.forms}
        if "rotvec" in self.forms:
            self.turns["rotvec", True] = rotations.matrices(rotation * actions.TURN, "rotvec")
        self._grips: dict[tuple[object, object], Float64] = {}

    def best(self, timing: Timing) -> list[Scored]:
        """Return the best conventions of each candidate in one timing."""
        scales, places = self._places(timing)
        turned, turns = self._turned(timing)
        grips = self._gripped(timing)
        units = np.array([scale["position"] == "controller" for scale in scales])
        in_units = np.array([form != "rotvec" or kind for form, kind, _ in turned])
        plain = np.array([not kind for _, kind, _ in turned])
        turns_for = np.where(units[:, None], in_units, plain)
        joined = places[:, None] + np.where(turns_for[..., None], turns[None], np.inf)
        found = []
        for one in range(self.count):
            place, turn = np.unravel_index(int(np.argmin(joined[..., one])), joined.shape[:2])
            grip = int(np.argmin(grips[:, one]))
            form, _, tool = turned[turn]
            own = {**scales[place], "rotation": form, "tool": tool, "gripper": lattice.GRIPPERS[grip]}
            how = _made({**timing, **own})
            assert how is not None
            found.append(Scored(float(joined[place, turn, one] + grips[grip, one]), how))
        return found

    def _mean(self, steps: Float64) -> Float64:
        return self.judge.means(steps, self.count)

    def _places(self, timing: Timing) -> tuple[list[dict[str, object]], Float64]:
        scales = [(scale, _made({**timing, **scale})) for scale in lattice.values("actions.position", self.facts)]
        kept = [(scale, how) for scale, how in scales if how is not None]
        errors = [self.judge.placed(self.position, how, self.count) for _, how in kept]
        return [scale for scale, _ in kept], np.stack(errors)

    def _turned(self, timing: Timing) -> tuple[list[tuple[str, bool, str]], Float64]:
        """Return forms of rotations (form, whether in units of the controller, tool), and errors (forms, C)."""
        kinds, errors = [], []
        for (form, in_units), tool in itertools.product(self.turns, lattice.values("actions.tool", self.facts)):
            how = _made({**timing, "rotation": form, "tool": tool, "position": "controller" if in_units else "m"})
            if how is not None:
                placed = actions.turned(self.turns[form, in_units], how, self.judge.evidence.context)
                kinds.append((form, in_units, tool))
                errors.append(self._mean(self.judge.rotations(placed)))
        return kinds, np.stack(errors)

    def _gripped(self, timing: Timing) -> NDArray[np.float64]:
        """Return errors (grippers, C), which depend on the time alone."""
        time = (timing["offset"], timing["frequency"])
        if time not in self._grips:
            made = [_made({**timing, "gripper": pair}) for pair in lattice.GRIPPERS]
            errors = [self.judge.grippers(actions.grippers(self.gripper, how)) for how in made if how is not None]
            self._grips[time] = np.stack([self._mean(one) for one in errors])
        return self._grips[time]
