"""The order of splits: the task's own, and any other after it."""

from __future__ import annotations

import dataclasses

import fakes
import pandas as pd
import pytest

from altbench.report.splits import by_split, splits_in_order
from altbench.report.style import words
from altbench.sweeps.spec import EventEntry


def frame(splits: list[str], task: str = "Lift") -> pd.DataFrame:
    """One row per split, numbered."""
    return pd.DataFrame({"task": task, "split": splits, "number": range(len(splits))})


def test_splits_stand_in_order_of_distance_from_the_demonstrations() -> None:
    ordered = ["replay", "recall", "uniform", "interpolate", "extrapolate_side", "extrapolate_back"]
    assert splits_in_order(frame(sorted(ordered))) == ordered


def test_a_split_with_an_event_follows_the_split_and_unknown_ones_come_last() -> None:
    shown = frame(["mine", "uniform", "recall+move5by0.1", "recall", "replay", "recall"])
    assert splits_in_order(shown) == ["replay", "recall", "recall+move5by0.1", "uniform", "mine"]
    assert by_split(shown)["number"].to_list() == [4, 3, 5, 2, 1, 0]


def test_a_third_party_s_task_orders_its_own_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeTask, "info", dataclasses.replace(fakes.TASK, splits=("b", "uniform", "a")))
    assert splits_in_order(frame(["a", "b", "c", "uniform"], "Fake")) == ["b", "uniform", "a", "c"]


def test_a_task_that_is_not_installed_has_its_splits_by_name() -> None:
    assert splits_in_order(frame(["uniform", "recall"], "Elsewhere")) == ["recall", "uniform"]
    assert by_split(frame([], "Elsewhere")).empty


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"move_at": 10, "by": 0.05}, "extrapolate side, moved by 5 cm at step 10"),
        ({"move_at": 3, "by": 0.085}, "extrapolate side, moved by 8.5 cm at step 3"),
        ({"move_at": 10, "to": "demonstrated"}, "extrapolate side, moved to a demonstrated pose at step 10"),
    ],
)
def test_figures_tell_an_event_in_words(event: dict[str, object], told: str) -> None:
    assert words(f"extrapolate_side+{EventEntry.model_validate(event).title}") == told
