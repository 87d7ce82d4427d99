"""What the evidence says of a policy: its adapter, and how sure each convention is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from altbench.adapters.policy import AdaptedPolicy
from altbench.adapters.spec import Adapter
from altbench.adapting import lattice
from altbench.adapting.asking import Asker
from altbench.adapting.errors import Judge, constant_actions, nearest_actions
from altbench.adapting.evidence import gather
from altbench.adapting.lattice import Facts, facts_of
from altbench.adapting.plain import LEAST_ERROR, differs
from altbench.adapting.search import SLOW, Say, Search, scored
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ContractError
from altbench.core.policy import Policy
from altbench.core.types import Int64

FRAMES = 96
"""Frames that a policy may be asked about, a third of them held out of the search."""
LIBRARY = 400
"""Frames in which the nearest demonstration is looked for."""


@dataclass(frozen=True)
class Finding:
    """What the evidence says of one convention, all others being as in the adapter.

    `value`: the adapter's, in words. `ours`: the bench's own. `errors`: of the other
    values, in words; a value under which the policy fails is left out. `ties`: the values
    whose error is less than a tenth larger (`DECIDED`), which the evidence cannot rule out.
    """

    convention: str
    value: str
    ours: str
    error: float
    errors: dict[str, float]

    @property
    def ties(self) -> tuple[str, ...]:
        """The values that cannot be told from the adapter's."""
        return tuple(value for value, error in self.errors.items() if not differs(error, self.error))

    @property
    def ratio(self) -> float | None:
        """The least error of another value, as a multiple of the adapter's; None without another."""
        return min(self.errors.values()) / max(self.error, LEAST_ERROR) if self.errors else None


@dataclass(frozen=True)
class Diagnosis:
    """The adapter that was found, and how well it explains what the policy does.

    `error`: of held-out frames, in the doctor's one number; `nearest`, `constant`: of the
    nearest demonstration and of a constant action. `unadapted`: of the policy as it is;
    None if it fails. `mm`, `degrees`, `gripper`: the parts of `error` (the last: the
    share of steps with a wrong gripper). `rows`: how many frames the policy was asked.
    """

    adapter: Adapter
    findings: tuple[Finding, ...]
    error: float
    unadapted: float | None
    nearest: float
    constant: float
    mm: float
    degrees: float
    gripper: float
    frames: int
    rows: int

    @property
    def explained(self) -> bool:
        """Whether the adapter does better than the nearest demonstration and a constant action."""
        return self.error < min(self.nearest, self.constant)

    @property
    def is_identity(self) -> bool:
        """Whether the policy has our conventions."""
        return self.adapter.is_identity

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        numbers = ("error", "unadapted", "nearest", "constant", "mm", "degrees", "gripper", "frames", "rows")
        return {
            "adapter": self.adapter.tables(),
            "identity": self.is_identity,
            "explained": self.explained,
            **{name: getattr(self, name) for name in numbers},
            "conventions": [
                {
                    "convention": one.convention,
                    "value": one.value,
                    "ours": one.ours,
                    "ratio": one.ratio,
                    "ties": list(one.ties),
                    "errors": one.errors,
                }
                for one in self.findings
            ],
        }


def silent(text: str) -> None:
    """Say nothing."""
    del text


def diagnose(
    policy: Policy[Any],
    demonstrations: Sequence[Demonstration],
    *,
    base: tuple[float, float, float] | None = None,
    seed: int = 0,
    say: Say = silent,
) -> Diagnosis:
    """Find the adapter under which `policy` does what the demonstrations did.

    `policy`: ready to act. `demonstrations`: of its task, with ee_pose actions. `base`:
    the position of the robot's base (m, world); None: frames of the base are not tried.
    `seed`: of the choice of frames. `say` hears what is being done. ContractError if the
    policy fails under every input; DatasetError for unusable demonstrations.
    """
    task, needs = policy.task, policy.requirements
    evidence = gather(demonstrations, task, needs.obs_horizon, FRAMES, seed=seed, base=base)
    library = gather(demonstrations, task, 1, LIBRARY, seed=seed, base=base)
    nearest = nearest_actions(evidence, library)
    judge = Judge.of(evidence, nearest)
    facts = facts_of(task, needs, demonstrations, base)
    asker = Asker(policy, evidence)
    search = Search(asker, judge, facts, np.flatnonzero(~evidence.held_out), say)
    adapter = search.run()
    say("held-out demonstrations")
    held = np.flatnonzero(evidence.held_out)
    held = held[: SLOW.most] if search.pace == SLOW else held
    own = search.judge(held)
    answers = asker.one(adapter, held)
    if answers is None or adapter.actions is None:
        raise ContractError(f"the policy failed when it was asked again: {asker.first_fault}")
    findings = findings_of(search, adapter, held)
    mm, degrees, gripper = own.parts(answers, adapter.actions)
    plain = search.error(lattice.ours(facts), held)
    return Diagnosis(
        adapter=said_plainly(adapter, facts),
        findings=findings,
        error=float(scored(own, answers, adapter).mean()),
        unadapted=float(plain.mean()) if plain is not None and np.isfinite(plain).all() else None,
        nearest=float(own.frames(own.steps(nearest[held])).mean()),
        constant=float(own.frames(own.steps(constant_actions(own.evidence, library))).mean()),
        mm=mm,
        degrees=degrees,
        gripper=gripper,
        frames=len(held),
        rows=asker.rows,
    )


def findings_of(search: Search, adapter: Adapter, held: Int64) -> tuple[Finding, ...]:
    """Return what the held-out frames say of each convention that has another value."""
    facts, start = search.facts, lattice.ours(search.facts)
    others = [(name, value, _other(adapter, name, value, facts)) for name, value in _alternatives(adapter, facts)]
    kept = [(name, value, one) for name, value, one in others if one is not None]
    search.asker.answers([one for _, _, one in kept], held)  # in few calls
    found = []
    best = search.error(adapter, held)
    assert best is not None
    for convention in lattice.CONVENTIONS:
        errors: dict[str, float] = {}
        for name, value, one in kept:
            error = search.error(one, held) if name == convention else None
            if error is not None and np.isfinite(error).all():
                errors[lattice.said(name, value, facts)] = float(error.mean())
        words = [lattice.said(convention, lattice.value_of(one, convention), facts) for one in (adapter, start)]
        if errors or words[0] != words[1]:
            found.append(Finding(convention, words[0], words[1], float(best.mean()), errors))
    return tuple(found)


def _alternatives(adapter: Adapter, facts: Facts) -> list[tuple[str, Any]]:
    """Return every other value of every convention; sizes alone are left to the policy's word."""
    names = [name for name in lattice.CONVENTIONS if name != "images.size"]
    if not facts.own:
        names = [name for name in names if not name.startswith("images.") and name != "cameras"]
    own = {name: lattice.value_of(adapter, name) for name in names}
    return [(name, value) for name in names for value in lattice.values(name, facts) if value != own[name]]


def _other(adapter: Adapter, name: str, value: Any, facts: Facts) -> Adapter | None:
    del facts
    return lattice.with_value(adapter, name, value)


def said_plainly(adapter: Adapter, facts: Facts) -> Adapter:
    """Return an adapter without what only repeats our own conventions."""
    how = None if adapter.actions == lattice.own_actions(facts.needs.control_mode) else adapter.actions
    named = {name: camera for name, camera in adapter.cameras.items() if name != camera}
    needed = adapter.state.frame == "base" or (how is not None and how.frame == "base")
    base = adapter.base if needed else None
    return adapter.model_copy(update={"actions": how, "cameras": named, "base": base})


def adapted_by(policy: Policy[Any], diagnosis: Diagnosis) -> Policy[Any]:
    """Return the policy behind the adapter that was found; itself if that changes nothing."""
    return policy if diagnosis.is_identity else AdaptedPolicy(policy, diagnosis.adapter)
