"""The rule of convergence: which policies have it, and that published runs say how long their networks trained."""

from __future__ import annotations

import json
from pathlib import Path

import published
import pytest

from altbench.core import registry
from altbench.core.policy import Trainable
from altbench.results.training import load_training
from altbench_policies.chunk_policy import LEAST_EPOCHS
from altbench_policies.training import TrainingSpec

FOLDERS = sorted(path.parent for path in published.RESULTS.rglob("episodes.parquet"))
KEYS_ALONE = {"alt", "vinn"}
"""Their networks make keys, and predict no action: the rule does not read what they learn (policies/README.md)."""


def trained() -> dict[str, type[Trainable]]:
    kinds = {name: registry.policy(name) for name in registry.names("policy")}
    return {name: kind for name, kind in kinds.items() if issubclass(kind.config_type, TrainingSpec)}


def test_every_network_that_predicts_actions_has_the_rule() -> None:
    without = {name for name, kind in trained().items() if not kind.least_epochs}
    assert without == KEYS_ALONE
    assert {kind.least_epochs for name, kind in trained().items() if name not in KEYS_ALONE} == {LEAST_EPOCHS}


def test_the_network_of_alt_plus_alone_has_the_rule_of_alt_plus() -> None:
    assert registry.policy("regressor").least_epochs == registry.policy("alt_plus").least_epochs > 0


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(published.RESULTS)))
def test_published_networks_say_how_often_they_saw_the_frames(folder: Path) -> None:
    known = load_training(folder)
    for _, cell in published.cells(folder).drop_duplicates("checkpoint_key").iterrows():
        kind = registry.policy(cell.policy)
        if not issubclass(kind, Trainable) or not kind.least_epochs:
            continue
        told = known[cell.checkpoint_key]
        config = kind.config_type.model_validate(json.loads(cell.spec_json)["config"])
        if config.train_steps is not None:  # a whole number of frames, or the number of epochs was not computed of them
            frames = config.train_steps * config.batch_size / told["epochs"]
            assert frames == pytest.approx(round(frames), abs=1e-6)
        assert told["converged"] == (told["epochs"] >= kind.least_epochs)
