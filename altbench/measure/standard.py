"""The standard task and policies of `altbench bench`, as standard.toml has them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from altbench.core.spec import Spec, read_toml


class Standard(Spec):
    """What `altbench bench` measures unless other names are given.

    `n`, `frames`: demonstrations, and frames in all of them, that an untrained policy
    is fitted to. `more_policies`: by preset, policies to measure beside `policies`.
    """

    task: str
    n: int
    frames: int
    policies: tuple[str, ...]
    more_policies: dict[str, tuple[str, ...]]

    def policies_at(self, preset: str) -> list[str]:
        """Return the policies to measure at `preset`.

        One may have a preset of its own, as in `alt:compact`.
        """
        return [*self.policies, *self.more_policies.get(preset, ())]


@cache
def standard() -> Standard:
    """Read standard.toml."""
    path = Path(__file__).with_suffix(".toml")
    return Standard.parse(read_toml(path), path.name)
