"""A sweep of several data sets stands for one sweep each, with the keys that this one has by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from altbench.core.errors import ConfigError
from altbench.core.spec import canonical
from altbench.sweeps.overrides import override
from altbench.sweeps.plan import make_plan
from altbench.sweeps.replicates import folder_of, replicates, require_one_data_set
from altbench.sweeps.rows import provenance_of
from altbench.sweeps.spec import SweepSpec, load_sweep


def smoke(**demonstrations: Any) -> SweepSpec:
    given = load_sweep("smoke").model_dump()
    return SweepSpec.parse({**given, "demonstrations": {**given["demonstrations"], **demonstrations}}, "smoke")


def keys(sweep: SweepSpec) -> list[str]:
    return [cell.key for cell in make_plan(sweep, provenance_of("cpu", "none", {})).cells]


def test_each_data_set_is_the_sweep_with_its_seed_for_collecting_and_for_all_else() -> None:
    found = replicates(smoke(seeds=[3, 4]))
    assert [(s, one.name, one.seed, one.demonstrations.seed) for s, one in found.items()] == [
        (3, "smoke-data3", 3, 3),
        (4, "smoke-data4", 4, 4),
    ]
    by_hand = override(smoke(seed=3), seed=3)
    assert keys(found[3]) == keys(by_hand) and not set(keys(found[3])) & set(keys(found[4]))
    assert replicates(smoke()) == {}


def test_a_sweep_of_one_data_set_is_kept_as_before() -> None:
    assert "seeds" not in canonical(smoke().demonstrations.model_dump())
    assert keys(smoke()) == keys(smoke(seeds=[]))


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"seeds": [3, 3]}, "expected different seeds, got 3 twice"),
        ({"seeds": [3], "seed": 1}, r"seeds = \[3\] stands in place of seed = 1"),
        ({"seeds": [3], "file": "one.hdf5"}, "leave `file` out"),
        ({"seeds": [-1]}, "seeds"),
    ],
)
def test_seeds_that_contradict_something_are_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        smoke(**given)


def test_data_seeds_can_be_given_on_the_command_line() -> None:
    changed = override(load_sweep("smoke"), data_seeds=[3, 4])
    assert changed.demonstrations.seeds == (3, 4) and changed.name == "smoke-data3-data4"
    assert override(smoke(seed=2), data_seeds=[5]).demonstrations.seed == 0


def test_what_takes_one_data_set_says_how_to_take_several() -> None:
    require_one_data_set(smoke(), "unused")
    with pytest.raises(ConfigError, match="'smoke' has 2 data seeds; do this"):
        require_one_data_set(smoke(seeds=[1, 2]), "do this")
    assert folder_of(Path("out"), 3) == Path("out/data3")
