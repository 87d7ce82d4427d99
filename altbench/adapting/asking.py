"""Asking a policy under many adapters: in few calls, and each question once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from altbench.adapters.images import resized
from altbench.adapters.policy import checked_answers, observe
from altbench.adapters.spec import Adapter
from altbench.adapting.evidence import Evidence, observed
from altbench.core.errors import ContractError, PolicyTimeout
from altbench.core.policy import Observation, Policy
from altbench.core.spec import canonical
from altbench.core.types import Float32, Int64
from altbench.rollout.limits import decision_limit

MOST_ROWS = 128
"""Frames in one call of the policy, at most."""
LONGEST_S = 120.0
"""Seconds that one call may take."""


class Asker:
    """The policy's answers to the frames of `evidence` under adapters, each asked once.

    The same frame always has the same seed, so that a policy that draws random numbers
    draws the same ones under every adapter. `rows`: how many frames were asked.
    `first_fault`: the message of the first call that failed; empty if none did.
    """

    def __init__(self, policy: Policy[Any], evidence: Evidence) -> None:
        self.policy, self.evidence = policy, evidence
        self.rows, self.first_fault = 0, ""
        self._sized: dict[tuple[int, int], Observation] = {}
        self._known: dict[str, dict[int, Float32]] = {}
        self._broken: set[str] = set()

    def answers(self, adapters: Sequence[Adapter], rows: Int64) -> list[Float32 | None]:
        """Return the answers (len(rows), n, numbers) under each adapter; None if the policy failed."""
        self._ask_missing(adapters, rows)
        return [self._collected(question(adapter), rows) for adapter in adapters]

    def one(self, adapter: Adapter, rows: Int64) -> Float32 | None:
        """Return the answers under one adapter."""
        return self.answers([adapter], rows)[0]

    def _collected(self, key: str, rows: Int64) -> Float32 | None:
        if key in self._broken:
            return None
        found = [self._known[key][int(row)] for row in rows]
        return np.stack(found)

    def _ask_missing(self, adapters: Sequence[Adapter], rows: Int64) -> None:
        """Ask what is not known yet; questions of the same shape share a call."""
        waiting: dict[tuple[Any, ...], list[tuple[str, int, Observation]]] = {}
        asked: set[str] = set()
        for adapter in adapters:
            key = question(adapter)
            missing = [int(row) for row in rows if int(row) not in self._known.setdefault(key, {})]
            if key in self._broken or key in asked or not missing:
                continue
            asked.add(key)
            seen = self._shown(adapter, np.array(missing))
            if seen is None:
                self._broken.add(key)
                continue
            one = [(key, row, observed(seen, np.array([i]))) for i, row in enumerate(missing)]
            waiting.setdefault(_shape(seen), []).extend(one)
        for group in waiting.values():
            for begin in range(0, len(group), MOST_ROWS):
                self._call(group[begin : begin + MOST_ROWS])

    def _shown(self, adapter: Adapter, rows: Int64) -> Observation | None:
        try:
            shown = observe(observed(self._at_size(adapter), rows), adapter, self.policy.requirements.cameras)
        except (ContractError, KeyError, ValueError) as error:
            self._note(error)
            return None
        if not self.policy.requirements.needs_state:
            shown = Observation(shown.pixels, shown.agent_pos)
        return shown

    def _at_size(self, adapter: Adapter) -> Observation:
        """Return the evidence with images of the adapter's size, resized once for all candidates."""
        seen, size = self.evidence.observation, adapter.images.size
        if size is None:
            return seen
        if size not in self._sized:
            shown = {camera: resized(images, size) for camera, images in seen.pixels.items()}
            self._sized[size] = Observation(shown, seen.agent_pos, seen.environment_state)
        return self._sized[size]

    def _call(self, group: Sequence[tuple[str, int, Observation]]) -> None:
        """Ask one batch; if that fails, find out whose questions fail."""
        keys = list(dict.fromkeys(key for key, _, _ in group))
        try:
            answers = self._act(_joined([seen for _, _, seen in group]), [row for _, row, _ in group])
        except (Exception, SystemExit) as error:
            if len(keys) > 1:
                for key in keys:
                    self._call([one for one in group if one[0] == key])
                return
            self._note(error)
            self._broken.add(keys[0])
            return
        for (key, row, _), answer in zip(group, answers, strict=True):
            self._known[key][row] = answer
        self.rows += len(group)

    def _act(self, seen: Observation, rows: Sequence[int]) -> Float32:
        slots = list(range(len(rows)))
        with decision_limit(LONGEST_S):
            self.policy.reset(slots, [1000 + row for row in rows])
            return checked_answers(self.policy.act(seen, slots), len(rows))

    def _note(self, error: BaseException) -> None:
        if isinstance(error, PolicyTimeout):
            raise ContractError(f"the policy gave no answer within {LONGEST_S:g} s") from error
        text = " ".join(str(error).split())
        self.first_fault = self.first_fault or f"{type(error).__name__}: {text}"[:300]


def question(adapter: Adapter) -> str:
    """Return what tells apart adapters that show the policy different things."""
    shown = adapter.model_dump(mode="json", include={"images", "cameras", "state"})
    return canonical(shown)


def _shape(seen: Observation) -> tuple[Any, ...]:
    return (seen.agent_pos.shape[1:], *((c, i.shape[1:], i.dtype.str) for c, i in sorted(seen.pixels.items())))


def _joined(parts: Sequence[Observation]) -> Observation:
    first = parts[0]
    state = None
    if first.environment_state is not None:
        state = np.concatenate([part.environment_state for part in parts if part.environment_state is not None])
    return Observation(
        {camera: np.concatenate([part.pixels[camera] for part in parts]) for camera in first.pixels},
        np.concatenate([part.agent_pos for part in parts]),
        state,
    )
