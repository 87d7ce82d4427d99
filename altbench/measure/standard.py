"""What `altbench bench` measures unless other names are given: the values of standard.toml."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from altbench.core.spec import Spec, read_toml


class Standard(Spec):
    """A task, the size of the demonstrations that policies are measured with, and the policies to measure."""

    task: str
    n: int
    frames: int
    policies: tuple[str, ...]
    more_policies: dict[str, tuple[str, ...]]

    def policies_at(self, preset: str) -> list[str]:
        """Return the policies to measure at `preset`, some with a preset of their own: `alt:compact`."""
        return [*self.policies, *self.more_policies.get(preset, ())]


@cache
def standard() -> Standard:
    """Read standard.toml."""
    path = Path(__file__).with_suffix(".toml")
    return Standard.parse(read_toml(path), path.name)
