"""A cell with another number of episodes takes over those that an older one has played."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import fakes
import pytest
from running import run_bare

from altbench.core.seeds import derive_seed
from altbench.results import cells as cells_module
from altbench.results.run import Run
from altbench.rollout.records import EpisodeRecord
from altbench.runner import work, worker
from altbench.sweeps.spec import SweepSpec


def sweep(own: Path, episodes: int, **changes: Any) -> SweepSpec:
    spec = {
        "name": "fake",
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "device": "cpu",
        "demonstrations": {"n": 6},
        "policies": [{"policy": f"{own}:Good", "n": [6]}],
        "evaluations": [
            {"split": "uniform", "episodes": episodes, "perturbations": [{"name": "shot_noise", "severities": [1]}]},
            {"split": "recall", "episodes": episodes},
        ],
        "measure": False,
        **changes,
    }
    return SweepSpec.parse(spec, "fake.toml")


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the episodes that are played."""
    numbers: list[int] = []
    run_episode = work.run_episode

    def counted(env: Any, policy: Any, plan: Any, *rest: Any) -> EpisodeRecord:
        numbers.append(plan.index)
        return run_episode(env, policy, plan, *rest)

    monkeypatch.setattr(work, "run_episode", counted)
    return numbers


def records(spec: SweepSpec, root: Path) -> dict[str, list[EpisodeRecord]]:
    """Return the episodes of each cell without what a clock measured."""
    run = Run.open(root, spec, "none")
    found = {c.name: cells_module.read_cell(cells_module.cell_path(root, c.key)).episodes for c in run.plan.cells}
    return {name: [timeless(one) for one in episodes] for name, episodes in found.items()}


def timeless(episode: EpisodeRecord) -> EpisodeRecord:
    decisions = tuple(dataclasses.replace(one, latency_s=0.0) for one in episode.decisions)
    return dataclasses.replace(episode, wall_s=0.0, decisions=decisions)


def test_three_episodes_then_six_are_six_at_once(own_policies: Path, tmp_path: Path, played: list[int]) -> None:
    run_bare(sweep(own_policies, 6), tmp_path / "once")
    played.clear()
    run_bare(sweep(own_policies, 3), tmp_path / "twice")
    assert played == [0, 1, 2] * 2
    played.clear()
    summary = run_bare(sweep(own_policies, 6), tmp_path / "twice")
    assert played == [3, 4, 5] * 2 and (summary.ran, summary.failed) == (2, ())
    assert records(sweep(own_policies, 6), tmp_path / "twice") == records(sweep(own_policies, 6), tmp_path / "once")


def test_fewer_episodes_are_the_first_ones_and_nothing_is_played(
    own_policies: Path, tmp_path: Path, played: list[int]
) -> None:
    run_bare(sweep(own_policies, 5), tmp_path)
    before = records(sweep(own_policies, 5), tmp_path)
    played.clear()
    run_bare(sweep(own_policies, 2), tmp_path)
    assert played == [] and records(sweep(own_policies, 2), tmp_path) == {k: v[:2] for k, v in before.items()}


@pytest.mark.parametrize("change", [{"seed": 1}, {"decision_timeout_s": 59.0}, {"label": "other"}])
def test_only_the_number_may_differ(
    own_policies: Path, tmp_path: Path, played: list[int], change: dict[str, Any]
) -> None:
    run_bare(sweep(own_policies, 2), tmp_path)
    played.clear()
    if "label" in change:
        change = {"policies": [{"policy": f"{own_policies}:Good", "n": [6], **change}]}
    run_bare(sweep(own_policies, 3, **change), tmp_path)
    assert played == [0, 1, 2] * 2


class Breaks(fakes.FakeTask):
    """Fails for a reason of its own in its second episode, as long as it is broken."""

    broken = True

    def reset(self, **kwargs: Any) -> Any:
        if Breaks.broken and kwargs["seed"] == derive_seed(0, "evaluate", 1):
            raise OSError("no more GL contexts")
        return super().reset(**kwargs)


def test_what_the_machine_failed_is_played_again(
    own_policies: Path, tmp_path: Path, played: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluations = [{"split": "uniform", "episodes": 3}]
    monkeypatch.setattr(worker, "make_env", lambda *_: Breaks(image_size=(32, 32)))
    run_bare(sweep(own_policies, 3, evaluations=evaluations), tmp_path)
    monkeypatch.setattr(Breaks, "broken", False)
    played.clear()
    more = sweep(own_policies, 4, evaluations=[{"split": "uniform", "episodes": 4}])
    run_bare(more, tmp_path)
    assert played == [1, 3]
    assert [one.status for (episodes,) in [records(more, tmp_path).values()] for one in episodes] == ["ok"] * 4


def test_a_damaged_older_cell_gives_nothing(own_policies: Path, tmp_path: Path, played: list[int]) -> None:
    run_bare(sweep(own_policies, 2), tmp_path)
    for path in (tmp_path / "cells").glob("*.parquet"):
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 1
        path.write_bytes(bytes(data))
    played.clear()
    summary = run_bare(sweep(own_policies, 3), tmp_path)
    assert played == [0, 1, 2] * 2 and summary.failed == ()
