"""Success over several data sets: the spread, and how often its interval holds the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from altbench.stats.replication import replicated_rate


def episodes(won: np.ndarray, train_seeds: int = 1) -> pd.DataFrame:
    """Return `recall` episodes on Lift; `won`: 0 or 1 by data set and episode."""
    sets, count = won.shape
    parts = [
        pd.DataFrame(
            {
                "task": "Lift",
                "split": "recall",
                "n": 30,
                "episode": np.arange(count),
                "seed": 1000 * data + np.arange(count),
                "train_seed": train,
                "status": "ok",
                "success": won[data].astype(bool),
                "data_seed": data,
            }
        )
        for data in range(sets)
        for train in range(train_seeds)
    ]
    return pd.concat(parts, ignore_index=True)


def test_data_sets_and_training_seeds_are_told_apart() -> None:
    won = np.zeros((2, 40))
    won[1, :20] = 1
    frame = episodes(won, train_seeds=2)
    # In the second data set the training seeds solve 25 and 15 episodes, not 20 and 20.
    second = (frame["data_seed"] == 1) & frame["episode"].between(20, 24) & (frame["train_seed"] == 0)
    lost = (frame["data_seed"] == 1) & frame["episode"].between(15, 19) & (frame["train_seed"] == 1)
    frame = frame.assign(success=(frame["success"] | second) & ~lost)
    found = replicated_rate(frame)
    assert found is not None and found.by_data == {0: 0.0, 1: 0.5} and found.rate == 0.25
    assert found.data_sd == pytest.approx(np.std([0, 0.5], ddof=1))
    assert found.train_sd == pytest.approx(np.sqrt(np.var([25 / 40, 15 / 40], ddof=1) / 2))
    assert found.low == 0 and found.high is not None and found.high > 0.5


def test_one_data_set_has_no_interval_over_data_sets_and_none_has_no_rate() -> None:
    one = replicated_rate(episodes(np.ones((1, 30))))
    assert one is not None and (one.rate, one.low, one.data_sd, one.train_sd) == (1.0, None, None, None)
    lost = episodes(np.ones((2, 30))).assign(status="infra_error")
    assert replicated_rate(lost) is None


def test_episodes_that_all_end_alike_leave_as_much_open_as_their_poses_do() -> None:
    for outcome, (low, high) in ((np.ones, (0.94, 1.0)), (np.zeros, (0.0, 0.06))):
        found = replicated_rate(episodes(outcome((2, 60))))
        assert found is not None and found.low is not None and found.high is not None
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.005)  # sixty poses, two episodes each
    nearly = np.ones((2, 60))
    nearly[0, :2] = 0  # two poses of sixty
    found = replicated_rate(episodes(nearly))
    assert found is not None and found.rate == pytest.approx(118 / 120)
    assert found.low is not None and found.low < 0.95  # not above what 58 of 60 independent poses would leave


def test_the_same_records_have_the_same_interval() -> None:
    frame = episodes(np.random.default_rng(1).random((3, 60)) < 0.6)
    first, second = replicated_rate(frame), replicated_rate(frame.sample(frac=1, random_state=2))
    assert first is not None and second is not None
    assert (first.low, first.high) == (pytest.approx(second.low, abs=0.02), pytest.approx(second.high, abs=0.02))
    assert first == replicated_rate(frame)


def test_data_sets_that_differ_widen_the_interval() -> None:
    alike, unlike = np.tile([1, 0] * 30, (3, 1)), np.zeros((3, 60))
    unlike[0], unlike[1, :30] = 1, 1
    even, uneven = replicated_rate(episodes(alike)), replicated_rate(episodes(unlike))
    assert even is not None and uneven is not None and even.rate == uneven.rate == 0.5
    assert uneven.high - uneven.low > 2 * (even.high - even.low)  # type: ignore[operator]


@pytest.mark.slow
def test_the_interval_holds_the_truth_if_data_sets_do_not_differ_and_less_often_if_they_do() -> None:
    """Simulates poses with chances of their own; the docstring's shares are of more trials."""
    rng = np.random.default_rng(0)

    def covered(between: float) -> float:
        truth = _chance(rng.normal(0, between, 100_000) + rng.normal(0, 1, 100_000) + 0.5).mean()
        inside = 0
        for _ in range(60):
            ease = rng.normal(0, between, (3, 1)) + np.tile(rng.normal(0, 1, (3, 30)), 2) + 0.5
            found = replicated_rate(episodes(rng.random((3, 60)) < _chance(ease)))
            inside += found is not None and found.low <= truth <= found.high  # type: ignore[operator]
        return inside / 60

    same, different = covered(0), covered(0.8)
    # Chances of a false alarm of this test: below 1e-3 (binomial, 0.97 and 0.82 of 60).
    assert same >= 0.86 and 0.6 <= different <= 0.97


def _chance(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-log_odds))
