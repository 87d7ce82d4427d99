"""Settings added later must not change what earlier results stand on: the settings part of their keys, as published."""

from __future__ import annotations

import pytest

from altbench.core import registry
from altbench.core.spec import Spec, added, digest
from altbench.sweeps.rows import resolve_config

PUBLISHED = {
    ("alt", "small"): "031ad43214e7c401",
    ("alt", "paper"): "358008068e80a3d5",
    ("bc", "small"): "8d6f49b312fee8d2",
    ("bc", "paper"): "6f8eaffaa8a7caee",
    ("diffusion", "small"): "2d00dc4ddd19b044",
    ("diffusion", "paper"): "3b0c11373e452814",
    ("open_loop", ""): "537f9d1f995b6517",
    ("random", ""): "e66873ca5edfa19c",
}


@pytest.mark.parametrize(("policy", "preset"), PUBLISHED)
def test_settings_of_published_results_keep_their_digest(policy, preset):
    config = resolve_config(registry.policy(policy), preset, {}, policy)
    assert digest(config.model_dump(mode="json")).startswith(PUBLISHED[policy, preset])


def test_an_added_setting_counts_where_it_differs():
    class Settings(Spec):
        old: int = 1
        new: float = added(0.5, gt=0)

    assert Settings().model_dump() == Settings(new=0.5).model_dump() == {"old": 1}
    assert Settings(new=0.25).model_dump(mode="json") == {"old": 1, "new": 0.25}
    assert Settings.parse({"old": 2}, "x").new == 0.5
