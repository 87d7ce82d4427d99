"""The table of failed lookups, on the published runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import fakes
import pandas as pd
import published
import pytest

from altbench.dataset.subsets import subset
from altbench.report.lookups import lookups_table
from altbench.results.collected import with_collected
from altbench.results.frames import load_published, load_published_decisions
from altbench.sweeps.spec import DemonstrationEntry


@pytest.fixture(scope="module")
def tasks() -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = published.RESULTS / "tasks-small"
    return load_published(folder), load_published_decisions(folder)


def test_alt_fails_on_can_and_door_by_looking_up_another_demonstration(
    tasks: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    data = lookups_table(*tasks, DemonstrationEntry()).data.set_index("task")
    assert set(data["label"]) == {"alt"} and len(data) == 7
    can, door = data.loc["Can"], data.loc["Door"]
    assert (can["solved"], can["deadlocks"], can["first_lookup_wrong"]) == (20, 26, 30)
    assert (door["solved"], door["deadlocks"], door["first_lookup_wrong"]) == (38, 12, 12)
    assert (can["right"], can["right_solved"]) == (17, 17)


def test_the_first_lookup_of_an_exact_replay_is_right(tasks: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """So the order in which episodes take the demonstrations is the published one."""
    replays = [f[f["split"] == "replay"].assign(split="recall") for f in tasks]
    data = lookups_table(replays[0], replays[1], DemonstrationEntry()).data
    assert (data["right"] == data["episodes"]).all() and (data["episodes"] == 30).all()


@pytest.mark.parametrize("change", [{"file": "people.hdf5"}, {"placement": "uniform"}], ids=["file", "uniform"])
def test_demonstrations_off_the_grid_do_not_tell_which_is_an_episode_s_own(
    tasks: tuple[pd.DataFrame, pd.DataFrame], change: dict[str, str]
) -> None:
    shown = DemonstrationEntry.model_validate(change)
    assert len(lookups_table(*tasks, shown).data) == 0


@pytest.mark.parametrize(
    ("collected", "n"),
    [(10, 10), (10, 4), (30, 10), (30, 30), (40, 10), (40, 35), (40, 40), (60, 10), (60, 40), (60, 60)],
)
@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("told", [True, False], ids=["column", "sweep"])
def test_the_first_lookup_is_right_whatever_the_length_of_the_file(
    collected: int, n: int, seed: int, told: bool
) -> None:
    one = fakes.make_demonstrations(1)[0]
    chosen = subset([dataclasses.replace(one, index=i, grid_index=i % 30) for i in range(collected)], n, 30, seed)
    numbers = range(70)
    cell = {"key": "a", "task": "Lift", "label": "alt", "policy": "alt", "preset": "small", "n": n, "train_seed": 0}
    frame = pd.DataFrame({**cell, "episode": numbers, "split": "recall", "perturbation": "clean", "status": "ok"})
    frame = frame.assign(success=True, spec_json=f'{{"seed": {seed}}}')
    decisions = pd.DataFrame({"key": "a", "episode": numbers, "step": 0})
    decisions["matches"] = [[(chosen[e % n].index, 0)] for e in numbers]
    frame = frame.assign(collected=collected) if told else frame
    (row,) = lookups_table(frame, decisions, DemonstrationEntry(n=30 if told else collected)).data.to_dict("records")
    assert (row["right"], row["episodes"]) == (70, 70)


def test_a_run_tells_how_many_demonstrations_its_file_holds(tmp_path: Path) -> None:
    frame = pd.DataFrame({"task": ["Lift", "Lift"]})
    assert "collected" not in with_collected(frame, tmp_path)
    folder = published.RESULTS / "quick"
    assert set(with_collected(frame, folder)["collected"]) == {30}
