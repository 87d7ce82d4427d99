"""The search: in rounds, until nothing gets better.

Each round changes the images or the proprioception, whichever helps more. Candidates are
tried on few frames, and the best of them on more; each is judged with the actions that
suit its answers best, which costs no call. If the error stays poor, changes of both are
tried together, from the start and the fewest first: wrong together, they leave every single
change without effect. What is found is made as plain as the evidence allows.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from altbench.adapters.spec import Actions, Adapter
from altbench.adapting import action_search, candidates, lattice, plain
from altbench.adapting.asking import Asker, question
from altbench.adapting.errors import Judge
from altbench.adapting.lattice import Facts
from altbench.core.errors import ContractError
from altbench.core.types import Float32, Float64, Int64

SLOW_S = 0.005
"""Seconds for a frame, of the processor if it runs here, from which a policy counts as slow, and is asked less."""
ROUNDS = 4
"""Passes over all blocks, at most."""
POOR = 0.4
"""The error, as a multiple of the nearest demonstration's, from which a search goes on with all combinations."""
MANY = 60
"""Candidates from which each is tried on half as many frames at first."""
BEAM = 8
"""Candidates that are tried on more frames."""
PART = 128
"""Combinations that are tried before it is asked whether one of them explains the answers."""
PROMISING = 0.7
"""The error on few frames, as a multiple of the nearest demonstration's, below which a combination is tried on more."""
AT_ONCE = 2048
"""Answers that are scored at once, at most."""

Say = Callable[[str], None]
Ranked = tuple[float, Adapter]
"""An adapter and its error, with the actions that suit the answers best."""


@dataclass(frozen=True)
class Pace:
    """How many frames a candidate is tried on: at first, then if it is promising, and at last."""

    few: int
    some: int
    most: int


FAST = Pace(8, 24, 64)
SLOW = Pace(4, 12, 24)


class Search:
    """A search for the adapter under which `asker`'s policy does as demonstrated.

    `rows`: the frames of the evidence that it may look at. `say` hears what it does.
    """

    def __init__(self, asker: Asker, judge: Judge, facts: Facts, rows: Int64, say: Say) -> None:
        self.asker, self.facts, self.rows, self.say = asker, facts, rows, say
        self._judge = Judge(judge.evidence.without_images(), judge.typical)
        self.start = lattice.ours(facts)
        self.adapter = self.start
        self.pace = FAST

    def run(self) -> Adapter:
        """Return the plainest adapter whose error is as good as the least."""
        self.say("what the policy accepts")
        self.adapter = self.start = self._accepted()
        self.measure_pace()
        for number in range(ROUNDS):
            before = self.adapter
            self._actions()
            self.say(f"round {number + 1}: images or proprioception")
            # From the same start: under wrong proprioception, wrong images can seem better, and hide it.
            poses = [*candidates.states(self.adapter), *candidates.units(self.adapter, self.facts)]
            self._block([*self._images(number), *poses])
            self._actions()
            if self._is_poor() and number == 0:
                self.say("images and proprioception together")
                self._together()
            elif self._is_poor():
                self.say(f"round {number + 1}: proprioception, in all combinations")
                self._block(candidates.proprioception(self.adapter, self.facts))
            self._actions()
            if self.adapter == before:
                break
        self.say("as plain as the evidence allows")
        self._actions(self.pace.most)
        error = functools.partial(self.error, rows=self.rows[: self.pace.most])
        self.adapter = plain.usual(plain.plainest(self.adapter, self.start, error), self.start, self.facts, error)
        return self.adapter

    def judge(self, rows: Int64) -> Judge:
        """Return a judge of some frames."""
        return Judge(self._judge.evidence.of(rows), self._judge.typical)

    def error(self, adapter: Adapter, rows: Int64) -> Float64 | None:
        """Return the error of each of `rows` under an adapter; None if the policy fails under it."""
        answers = self.asker.one(adapter, rows)
        return None if answers is None else scored(self.judge(rows), answers, adapter)

    # -------------------------------------------------------------------------------- the beginning
    def _accepted(self) -> Adapter:
        """Return the adapter nearest to ours under which the policy answers at all."""
        first = self.rows[:1]
        for candidate in self._shapes():
            answers = self.asker.one(candidate, first)
            if answers is not None:
                return self._with_form(candidate, answers.shape[-1])
        raise ContractError(
            f"the policy fails under every input that was tried; with our own it says: {self.asker.first_fault}"
        )

    def _with_form(self, candidate: Adapter, numbers: int) -> Adapter:
        """Return the adapter with a rotation of actions that so many numbers can hold."""
        forms = lattice.rotation_forms(numbers // self.facts.task.arms)
        how = candidate.actions or Actions()
        if not forms or how.rotation in forms:
            return candidate
        plain = {"reference": "absolute", "position": "m", "rotation": forms[0]}
        return candidate.model_copy(update={"actions": Actions.parse(plain, "actions")})

    def _shapes(self) -> Iterable[Adapter]:
        """Yield adapters of every shape of input: layouts, sizes, lengths of the state."""
        layouts = lattice.values("images.layout", self.facts) if self.facts.own else ["hwc"]
        declared = self.start.images.size
        sizes = [declared] if declared or not self.facts.own else lattice.values("images.size", self.facts)
        states = [next(iter(lattice.state_layouts(n))) for n in lattice.state_lengths()]
        shapes = list(itertools.product(enumerate(layouts), enumerate(sizes), enumerate(states)))
        shapes.sort(key=lambda shape: sum(place > 0 for place, _ in shape))
        for (_, layout), (_, size), (_, state) in shapes:
            images = self.start.images.model_copy(update={"layout": layout, "size": size})
            yield self.start.model_copy(update={"images": images, "state": state})

    def measure_pace(self) -> None:
        """Find out whether the policy is slow, and is asked less."""
        seconds = []
        for some in (self.rows[1:9], self.rows[9:17]):
            began, here = time.perf_counter(), time.process_time()
            self.asker.one(self.adapter, some)
            elsewhere = self.asker.policy.server_cost() is not None
            spent = time.perf_counter() - began if elsewhere else time.process_time() - here
            seconds.append(spent / max(len(some), 1))
        self.pace = SLOW if min(seconds) > SLOW_S else FAST

    # -------------------------------------------------------------------------------- blocks
    def _actions(self, frames: int = 0) -> None:
        """Search the conventions of actions on `frames` frames; 0: as many as promising candidates get."""
        rows = self.rows[: frames or self.pace.some]
        answers = self.asker.one(self.adapter, rows)
        assert answers is not None
        judge = self.judge(rows)
        best = action_search.search(judge, answers, self.facts)
        if best.error < mean_error(judge, answers, self.adapter):
            self.adapter = self.adapter.model_copy(update={"actions": best.how})

    def _together(self) -> None:
        """Try changes of images and proprioception together, the fewest first, until they explain the answers.

        A policy that sees nothing may answer the same whatever its state is, and one that
        does not know where it is may answer nonsense whatever it sees. So no single change
        shows, and what seemed best by chance would hide the right one: each combination
        is tried from the start.
        """
        before, few = self.adapter, self.rows[: self._fewest]
        seeming: list[Ranked] = []
        for part in candidates.together(self.start, self.facts, PART):
            self.adapter = self.start
            ranked = self._best(self._ranked(part, few), BEAM, few)
            seeming = self._best(sorted([*seeming, *ranked], key=lambda one: one[0]), BEAM, few)
            if ranked and ranked[0][0] < PROMISING * self._judge.scale:
                self._block([one for _, one in ranked])
                if not self._is_poor():
                    return
        self.adapter = before
        self._block([one for _, one in seeming])

    def _images(self, number: int) -> list[Adapter]:
        """Return adapters with other conventions of images: all combinations in the first round."""
        found = candidates.images if number == 0 or self._is_poor() else candidates.neighbours
        return found(self.adapter, self.facts)

    @property
    def _fewest(self) -> int:
        """How many frames each of many candidates is tried on at first."""
        return max(self.pace.few // 2, 4)

    def _block(self, tried: Sequence[Adapter]) -> None:
        """Go on with the best of `tried`, each with the actions that suit it best.

        All candidates are tried on few frames, the better ones on more.
        """
        left = candidates.unique(tried)
        few = self.pace.few if len(left) <= MANY else self._fewest
        for count, kept in ((few, BEAM), (self.pace.some, 3), (self.pace.most, 1)):
            own = [one for one in left if question(one) != question(self.adapter)]
            ranked = self._ranked([self.adapter, *own], self.rows[:count])
            left = [one for _, one in self._best(ranked, kept, self.rows[:count])]
        if left:
            self.adapter = left[0]

    def _ranked(self, tried: Sequence[Adapter], rows: Int64) -> list[Ranked]:
        """Return the adapters that the policy answers under with their errors, the best first."""
        answers = self.asker.answers(tried, rows)
        alike: dict[tuple[int, ...], list[tuple[Adapter, Float32]]] = {}
        for one, own in zip(tried, answers, strict=True):
            if own is not None:
                alike.setdefault(own.shape, []).append((one, own))
        found: list[Ranked] = []
        for group in alike.values():
            most = max(AT_ONCE // len(rows), 1)
            for begin in range(0, len(group), most):
                found += self._suited(group[begin : begin + most], rows)
        return sorted(found, key=lambda pair: pair[0])

    def _best(self, ranked: Sequence[Ranked], most: int, rows: Int64) -> list[Ranked]:
        """Return the first of `ranked`, up to `most`, under which the policy answers differently.

        What a policy does not look at changes no answer: such candidates would leave no
        place for others.
        """
        kept: list[Ranked] = []
        heard: list[Float32] = []
        for one in ranked:
            answers = self.asker.one(one[1], rows)
            if answers is None or any(same_answers(answers, other) for other in heard):
                continue
            kept.append(one)
            heard.append(answers)
            if len(kept) == most:
                break
        return kept

    def _suited(self, group: Sequence[tuple[Adapter, Float32]], rows: Int64) -> list[Ranked]:
        """Return each candidate with the actions that suit its answers best, and its error."""
        stacked = np.stack([answers for _, answers in group])
        how = self.adapter.actions or Actions()
        best = action_search.best_of_each(self.judge(rows), stacked, self.facts, how)
        return [
            (own.error, one.model_copy(update={"actions": own.how})) for (one, _), own in zip(group, best, strict=True)
        ]

    def _is_poor(self) -> bool:
        """Return whether the present adapter is no better than the nearest demonstration."""
        rows = self.rows[: self.pace.some]
        answers = self.asker.one(self.adapter, rows)
        return answers is None or mean_error(self.judge(rows), answers, self.adapter) > POOR * self._judge.scale


def scored(judge: Judge, answers: Float32, adapter: Adapter) -> Float64:
    """Return the error of each frame; infinite if answers cannot be what the adapter says."""
    assert adapter.actions is not None
    try:
        return judge.score(answers, adapter.actions)
    except (ContractError, ValueError):
        return np.full(len(judge.evidence), np.inf)


def mean_error(judge: Judge, answers: Float32, adapter: Adapter) -> float:
    """Return the mean error, with what is added if the answers do not matter."""
    assert adapter.actions is not None
    try:
        return judge.mean(answers, adapter.actions)
    except (ContractError, ValueError):
        return float("inf")


def same_answers(one: Float32, other: Float32) -> bool:
    """Return whether answers are the same but for rounding."""
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-4, atol=1e-5))
