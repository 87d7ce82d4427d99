"""The calibrated audit on policies that are made for it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from altbench.stats.calibrated import calibrate, nearness, ratios, threshold_of
from altbench.stats.scores import clustered_mean


def episodes(nearest: object, second: object = 0.04, success: object = True, count: int = 100) -> pd.DataFrame:
    """Episodes of 20 poses in turn, with these distances to the two nearest demonstrations, in metres."""
    frame = pd.DataFrame({"seed": range(count), "episode": range(count), "success": success, "status": "ok"})
    return frame.assign(to_nearest_m=nearest, to_second_m=second)


def poses(frame: pd.DataFrame) -> pd.Series:
    return frame["episode"] % 20


RNG = np.random.default_rng(0)
EXPERT = episodes(RNG.normal(0.010, 0.002, 100).clip(0.002))


def test_a_perfect_copier_is_memorised_and_nearer_than_any_expert() -> None:
    copier = episodes(0.0)
    found = calibrate(copier, EXPERT, poses(copier))
    assert found.memorised.value == 1.0 and found.distance == 0.0
    assert found.z is not None and found.z < -10
    assert found.gap == pytest.approx(-EXPERT["to_nearest_m"].mean()) and found.high is not None and found.high < -0.009


def test_the_expert_itself_passes_in_five_per_cent_and_is_as_near_as_itself() -> None:
    found = calibrate(EXPERT, EXPERT, poses(EXPERT))
    assert found.memorised.value == 0.05 and found.z == 0.0
    assert (found.gap, found.low, found.high) == (0.0, 0.0, 0.0)


def test_another_expert_passes_about_as_often() -> None:
    shares = []
    for seed in range(40):
        other = episodes(np.random.default_rng(seed).normal(0.010, 0.002, 100).clip(0.002))
        found = calibrate(other, EXPERT, poses(other))
        shares.append(found.memorised.value)
        assert found.z is not None and abs(found.z) < 4
    assert 0.02 < np.mean(shares) < 0.10


def test_a_policy_that_generalises_is_farther_than_the_expert() -> None:
    farther = episodes(EXPERT["to_nearest_m"] + 0.003)
    found = calibrate(farther, EXPERT, poses(farther))
    assert found.memorised.value is not None and found.memorised.value < 0.05
    assert found.z is not None and found.z > 5 and found.gap == pytest.approx(0.003)


def test_failures_and_coinciding_demonstrations_do_not_count() -> None:
    half = episodes(0.0, success=[i % 2 == 0 for i in range(100)])
    assert calibrate(half, EXPERT, poses(half)).n == 50
    twice = episodes(0.0, second=0.0)
    assert np.isnan(ratios(twice)).all() and calibrate(twice, EXPERT, poses(twice)).n == 0


def test_without_an_expert_only_the_distance_is_known() -> None:
    own = episodes(0.002)
    found = calibrate(own, own.head(0), poses(own))
    assert found.distance == 0.002
    assert (found.memorised.value, found.threshold, found.z, found.gap, found.pairs) == (None, None, None, None, 0)


@pytest.mark.parametrize(("count", "below"), [(19, None), (20, 1), (25, 1), (100, 5)])
def test_no_more_than_five_per_cent_of_the_expert_s_are_below_the_threshold(count: int, below: int | None) -> None:
    expert = np.arange(1, count + 1) / count
    threshold = threshold_of(expert)
    assert (None if threshold is None else int((expert < threshold).sum())) == below


def test_z_is_that_of_scipy() -> None:
    from scipy.stats import mannwhitneyu

    first, second = RNG.normal(0, 1, 30), RNG.normal(1, 1, 40)
    p = mannwhitneyu(first, second, method="asymptotic", use_continuity=False, alternative="less").pvalue
    from scipy.stats import norm

    assert nearness(first, second) == pytest.approx(norm.ppf(p))


def test_the_interval_of_a_mean_resamples_whole_clusters() -> None:
    clusters = np.repeat(np.arange(20), 5)
    values = RNG.normal(0, 1, 20)[clusters]
    low, high = clustered_mean(values, clusters)
    alone_low, alone_high = clustered_mean(values, np.arange(100))
    assert low is not None and high is not None and alone_low is not None and alone_high is not None
    assert high - low > 1.8 * (alone_high - alone_low)
    assert clustered_mean(values, np.zeros(100)) == (None, None)
