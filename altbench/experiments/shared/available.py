"""The part of a sweep that this installation can run.

Rows with an unknown policy or unknown settings are left out, and named.
"""

from __future__ import annotations

from collections.abc import Sequence

from altbench.core import registry
from altbench.core.errors import ConfigError, UnknownNameError
from altbench.core.policy import resolve_config
from altbench.sweeps.spec import EvaluationEntry, PolicyEntry, SweepSpec


def only_available(sweep: SweepSpec) -> tuple[SweepSpec | None, tuple[str, ...]]:
    """Return `sweep` without the rows that cannot be made, and why they cannot.

    None in place of the sweep if nothing is left to run.
    """
    reasons = {entry.name: _why_not(entry) for entry in sweep.policies}
    left_out = tuple(f"{name}: {reason}" for name, reason in reasons.items() if reason)
    kept = [entry for entry in sweep.policies if not reasons[entry.name]]
    evaluations = _evaluations(sweep.evaluations, kept)
    if not kept or not evaluations:
        return None, left_out
    return sweep.model_copy(update={"policies": tuple(kept), "evaluations": evaluations}), left_out


def _why_not(entry: PolicyEntry) -> str:
    """Say why a row cannot be made; empty if it can."""
    try:
        resolve_config(registry.policy(entry.policy), entry.preset, entry.config, f"policy {entry.name!r}")
    except UnknownNameError:
        return f"no policy {entry.policy!r} is registered here"
    except (ConfigError, ImportError) as error:
        return str(error)
    return ""


def _evaluations(wanted: Sequence[EvaluationEntry], rows: Sequence[PolicyEntry]) -> tuple[EvaluationEntry, ...]:
    """Keep the evaluations that any of `rows` still takes part in."""
    found = []
    for evaluation in wanted:
        names = None
        if evaluation.policies is not None:
            names = tuple(name for name in evaluation.policies if name in {row.name for row in rows})
        own = [row for row in rows if names is None or row.name in names]
        if any(evaluation.n is None or set(evaluation.n) & set(row.n) for row in own):
            found.append(evaluation.model_copy(update={"policies": names}))
    return tuple(found)
