"""The table of failed lookups, on the published runs."""

from __future__ import annotations

import pandas as pd
import published
import pytest

from altbench.report.lookups import lookups_table
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
