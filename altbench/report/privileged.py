"""Policies that see the task's state: tables mark them, and rank the others without them."""

from __future__ import annotations

from altbench.core import registry

MARK = " (privileged)"
"""What follows the label of a privileged policy in tables."""


def is_privileged(policy: object) -> bool:
    """Return whether the built-in policy named `policy` sees the task's state.

    A row without a policy, such as the expert's, has NaN in its place.
    """
    return str(policy).removeprefix("isolate:") in registry.PRIVILEGED


def marked(label: str, policy: object) -> str:
    """Return the label of a row, marked if its policy is privileged."""
    return f"{label}{MARK}" if is_privileged(policy) else label
