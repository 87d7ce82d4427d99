"""A small sweep of the fake task that the suite allows, and a card, for tests of submissions."""

from __future__ import annotations

from altbench.submissions.manifest import PolicyCard
from altbench.sweeps.spec import SweepSpec

CARD = PolicyCard(
    name="Blind <b>player</b>", authors=("A. Author",), licence="MIT", code="https://example.org/code", parameters=0
)


def make_sweep(**changes: object) -> SweepSpec:
    values = {
        "name": "submitted",
        "tasks": ["Fake"],
        "image_size": [16, 16],
        "device": "cpu",
        "demonstrations": {"n": 6},
        "policies": [{"policy": "open_loop", "n": [6]}, {"policy": "random", "n": [6]}],
        "evaluations": [{"split": "recall", "episodes": 54}, {"split": "uniform", "episodes": 54}],
        "measure": False,
        **changes,
    }
    return SweepSpec.parse(values, "submitted.toml")
