"""Settings added later must not change what earlier results stand on: the settings part of their keys, as published."""

from __future__ import annotations

import published
import pytest

from altbench.core import registry
from altbench.core.errors import ConfigError
from altbench.core.policy import resolve_config
from altbench.core.spec import Spec, added, digest, former_defaults
from altbench.sweeps.plan import make_plan
from altbench.sweeps.rows import Provenance
from altbench.sweeps.spec import SweepSpec

FOLDERS = sorted(path.parent for path in published.RESULTS.rglob("episodes.parquet"))
VARIANTS = {
    "lerobot",
    "lookup-keys",
    "lookups-data1",
    "E7-multimodality",
    "E8-latent-map",
    "alt-plus-default",
    "alt-plus-default-data6",
    "alt-plus-following",
    "bc-long-tasks",
    "bc-settings",
    "bc-steps",
    "ood-detectors",
}
"""Folders with fewer than two rows of a preset as it is: the others have changes, and labels of their own."""
UNPUBLISHED = {"bc": "6f8eaffaa8a7caee", "diffusion": "3b0c11373e452814"}
"""The digests of further presets `paper`, which others may have run."""


def plain_rows(folder):
    """The published rows of a folder that run a preset as it is, by (policy, preset)."""
    cells = published.cells(folder)
    plain = cells[[label in (policy, f"{policy}-{preset}") for label, policy, preset in rows_of(cells)]]
    return {(cell.policy, cell.preset): published.settings(cell) for _, cell in plain.iterrows()}


def rows_of(cells):
    return zip(cells.label, cells.policy, cells.preset, strict=True)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_presets_of_published_results_still_mean_the_same_settings(folder):
    rows = plain_rows(folder)
    assert len(rows) >= 2 or VARIANTS & set(folder.parts)
    for (policy, preset), settings in rows.items():
        kind = registry.policy(policy)
        changed = former_defaults(kind.config_type)  # what the records do not name is of before the change
        named = {name: settings[name] for name in changed if name in settings}
        config = resolve_config(kind, preset, {**changed, **named}, policy)
        assert config.model_dump(mode="json") == settings, f"{policy} {preset}"


def test_every_published_policy_is_looked_at():
    seen = {row for folder in FOLDERS for row in plain_rows(folder)}
    small = {"act", "alt", "alt_plus", "bc", "blind", "diffusion", "fisher", "kdtree", "open_loop", "random"}
    small |= {"bc_gmm", "regressor", "vinn"}
    others = {("alt", "paper"), ("alt", "compact"), ("alt_plus", "following")}
    assert seen == {*((policy, "small") for policy in small), *others}


@pytest.mark.parametrize("policy", UNPUBLISHED)
def test_settings_of_the_other_paper_presets_keep_their_digest(policy):
    config = resolve_config(registry.policy(policy), "paper", {"precision": "bf16"}, policy)
    assert digest(config.model_dump(mode="json")).startswith(UNPUBLISHED[policy])


def test_an_added_setting_counts_where_it_differs():
    class Settings(Spec):
        old: int = 1
        new: float = added(0.5, gt=0)

    assert Settings().model_dump() == Settings(new=0.5).model_dump() == {"old": 1}
    assert Settings(new=0.25).model_dump(mode="json") == {"old": 1, "new": 0.25}
    assert Settings.parse({"old": 2}, "x").new == 0.5


@pytest.mark.parametrize("policy", ["act", "alt", "alt_plus", "bc", "bc_gmm", "bc_rnn_gmm", "diffusion"])
def test_a_preset_of_the_published_size_is_the_former_paper_under_another_name(policy):
    kind = registry.policy(policy)
    assert "published_size" in kind.preset_names() and "paper" not in kind.preset_names()
    present, former = (resolve_config(kind, name, {}, policy) for name in ("published_size", "paper"))
    assert present.model_dump(mode="json") == former.model_dump(mode="json")


def test_both_names_of_a_preset_make_the_same_key():
    provenance = Provenance({"torch": "1"}, "cpu", "egl", {}, 1)
    keys = []
    for preset in ("published_size", "paper"):
        sweep = SweepSpec.parse(
            {
                "name": "both",
                "tasks": ["Lift"],
                "policies": [{"policy": "alt", "preset": preset}],
                "evaluations": [{"split": "recall", "episodes": 1}],
            },
            "both",
        )
        plan = make_plan(sweep, provenance)
        keys.append([cell.key for cell in plan.cells] + [m.key for m in plan.measurements])
    assert keys[0] == keys[1] and len(keys[0]) == 2


def test_an_unknown_preset_is_answered_with_a_present_name():
    with pytest.raises(ConfigError, match=r"unknown preset 'publishedsize'; did you mean 'published_size'"):
        resolve_config(registry.policy("alt"), "publishedsize", {}, "alt")
