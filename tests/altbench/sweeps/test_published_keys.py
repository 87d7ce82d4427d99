"""Published results stand on their keys: the sweeps beside them must still make the very keys that were recorded.

Add to a specification only what is not default (`altbench.core.spec.added`), and these tests hold.
"""

from __future__ import annotations

import json

import published
import pytest

from altbench.core.spec import canonical, digest
from altbench.sweeps.plan import Cell, Plan, make_plan

CHANGED = ("photograph",)
"""Perturbations whose version is another now, so that their published cells are rightly run anew."""


@pytest.fixture(scope="module", params=published.SWEEPS)
def run(request: pytest.FixtureRequest) -> tuple[published.Published, Plan]:
    found = published.load(request.param)
    return found, make_plan(found.sweep, found.provenance)


def with_published_data(plan: Plan, cell: Cell) -> bool:
    return (cell.checkpoint.task, cell.checkpoint.n) in plan.data


def test_a_published_sweep_plans_the_cells_that_were_recorded(run: tuple[published.Published, Plan]) -> None:
    found, plan = run
    assert [cell.name for cell in plan.cells if cell.name not in found.cells.index] == []
    assert len(plan.cells) == len(found.cells)


def test_published_cells_keep_their_keys(run: tuple[published.Published, Plan]) -> None:
    found, plan = run
    kept = [cell for cell in plan.cells if cell.condition not in CHANGED]
    assert len(kept) >= 6
    for cell in kept:
        recorded = found.cells.loc[cell.name]
        # The checksums of smaller subsets are not published; their checkpoints' keys are.
        made = {**json.loads(cell.specification), "checkpoint": recorded.checkpoint_key}
        assert canonical(made) == recorded.spec_json and digest(made) == recorded.key, cell.name
        if with_published_data(plan, cell):
            assert cell.key == recorded.key, cell.name


def test_published_checkpoints_keep_their_keys(run: tuple[published.Published, Plan]) -> None:
    found, plan = run
    known = [cell for cell in plan.cells if with_published_data(plan, cell)]
    assert {cell.checkpoint.n for cell in known} == {30}
    for cell in known:
        assert cell.checkpoint.key == found.cells.loc[cell.name].checkpoint_key, cell.name


def test_published_measurements_keep_their_keys(run: tuple[published.Published, Plan]) -> None:
    found, plan = run
    trained = [m for m in plan.measurements if m.checkpoint.trainable]  # others were not measured then
    known = [m for m in trained if (m.checkpoint.task, m.checkpoint.n) in plan.data]
    assert known and {m.key for m in known} <= found.measures
    assert len(trained) == len(found.measures)


def test_every_published_key_is_the_digest_of_its_specification() -> None:
    folders = sorted(path.parent for path in published.RESULTS.rglob("episodes.parquet"))
    assert len(folders) >= 7
    for folder in folders:
        for name, cell in published.cells(folder).iterrows():
            made = json.loads(cell.spec_json)
            assert canonical(made) == cell.spec_json and digest(made) == cell.key, f"{folder}: {name}"
