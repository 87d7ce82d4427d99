"""Intervals, tests and ranks against published values, brute force and what must always hold."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from altbench.stats import paired, rates, scores
from altbench.stats.paired import PairedCounts

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
PAIRED = st.builds(PairedCounts, *(st.integers(0, 60) for _ in range(4))).filter(lambda c: c.total > 0)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_matches_newcombe_1998(successes: int, n: int, low: float, high: float) -> None:
    assert rates.wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(COUNTS)
def test_wilson_contains_the_rate_and_stays_within_zero_and_one(counts: tuple[int, int]) -> None:
    successes, n = counts
    low, high = rates.wilson_interval(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high


@given(COUNTS)
def test_wilson_narrows_with_more_episodes_and_mirrors_failures(counts: tuple[int, int]) -> None:
    successes, n = counts
    low, high = rates.wilson_interval(successes, n)
    low4, high4 = rates.wilson_interval(4 * successes, 4 * n)
    assert high4 - low4 < high - low
    assert rates.wilson_interval(n - successes, n) == pytest.approx((1 - high, 1 - low))


@given(COUNTS)
def test_wilson_widens_with_confidence(counts: tuple[int, int]) -> None:
    narrow, wide = (rates.wilson_interval(*counts, confidence=c) for c in (0.8, 0.99))
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"got {successes} of {n}"):
        rates.wilson_interval(successes, n)


CLUSTERS = st.lists(
    st.integers(1, 4).flatmap(lambda m: st.tuples(st.integers(0, m), st.just(m))), min_size=1, max_size=40
)


def test_clusters_of_two_as_worked_by_hand() -> None:
    """Of 8, 5 succeed; deviations .75, .75, -.25, -1.25 make a design effect of (4/3 * 2.75/64) / (15/64/8) = 88/45.

    That leaves 4.09 trials; Student's t of 3.09 degrees of freedom is 3.1317, of 3 it is 3.1824.
    """
    found = rates.clustered_interval([2, 2, 1, 0], [2, 2, 2, 2])
    share = 45 / 88 * (3.13014 / 3.18245) ** 2
    assert found == pytest.approx(rates.wilson_interval(5 * share, 8 * share), abs=1e-5)


@given(CLUSTERS)
def test_clusters_count_as_no_more_than_their_trials_and_no_less_than_one(
    clusters: list[tuple[int, int]],
) -> None:
    hits, total = sum(h for h, _ in clusters), sum(m for _, m in clusters)
    low, high = rates.clustered_interval(*zip(*clusters, strict=True))
    inner, outer = rates.wilson_interval(hits, total), rates.wilson_interval(hits / total, 1)
    assert outer[0] - 1e-12 <= low <= inner[0] + 1e-12 and inner[1] - 1e-12 <= high <= outer[1] + 1e-12
    assert low <= hits / total <= high


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_clusters_of_one_are_wilson_s_and_alike_ones_as_if_there_were_one(won: list[bool]) -> None:
    plain = rates.wilson_interval(sum(won), len(won))
    assert rates.clustered_interval(won, [1] * len(won)) == pytest.approx(plain)
    assert rates.clustered_interval([3 * w for w in won], [3] * len(won)) == pytest.approx(plain)


def test_trials_of_named_clusters_are_those_of_their_counts_and_two_ways_say_less() -> None:
    won, poses = [1, 1, 1, 1, 1, 0, 0, 0], ["a", "a", "b", "b", "c", "c", "d", "d"]
    one = rates.clustered_rate(won, poses)
    assert (one.low, one.high) == rates.clustered_interval([2, 2, 1, 0], [2, 2, 2, 2])
    assert (one.successes, one.episodes, one.value) == (5, 8, 0.625)
    two = rates.clustered_rate(won, poses, [0, 0, 0, 0, 1, 1, 1, 1])
    assert two.value == one.value and two.low < one.low and two.high > one.high
    assert rates.clustered_rate([], []) == rates.rate_of(0, 0)


def test_clusters_cover_the_truth_where_counting_every_trial_does_not() -> None:
    rng = np.random.default_rng(0)
    chance = rng.beta(0.8, 0.2, size=(400, 100))  # of success, by episode; mean 0.8
    hits = rng.binomial(3, chance)
    clustered = [rates.clustered_interval(row, [3] * 100) for row in hits]
    counted = [rates.wilson_interval(int(row.sum()), 300) for row in hits]
    assert 0.93 < np.mean([low <= 0.8 <= high for low, high in clustered]) < 0.98
    assert np.mean([low <= 0.8 <= high for low, high in counted]) < 0.9


@pytest.mark.parametrize("poses", [10, 20, 30])
@pytest.mark.parametrize(("rate", "alike"), [(0.3, 0.1), (0.6, 0.3), (0.9, 0.1), (0.9, 1.0), (0.96, 0.3), (0.96, 1.0)])
def test_poses_cover_the_truth_however_alike_their_episodes_end(poses: int, rate: float, alike: float) -> None:
    """100 episodes take 10 to 30 poses in turn; `alike`: the correlation of two episodes of one pose."""
    rng, sizes = np.random.default_rng(0), np.array([len(range(i, 100, poses)) for i in range(poses)])
    total = 1 / alike - 1
    chance = rng.beta(rate * total, (1 - rate) * total, (1000, poses)) if total else rng.random((1000, poses)) < rate
    found = [rates.clustered_interval(row, sizes) for row in rng.binomial(sizes, chance)]
    assert np.mean([low <= rate <= high for low, high in found]) > 0.91


def test_sign_flips_as_worked_by_hand() -> None:
    """Of the 16 sums of +-2 +-1 +-1 +-1 eight are 3 or further from 0."""
    assert paired.sign_flip_exact([2, 1, -1, 1]) == pytest.approx(0.5)
    assert paired.sign_flip_exact([]) == paired.sign_flip_exact([3, -3, 0]) == 1.0


@given(st.lists(st.integers(-3, 3), max_size=8))
def test_sign_flips_count_all_signs(differences: list[int]) -> None:
    flips = [abs(np.dot(signs, differences)) for signs in itertools.product([-1, 1], repeat=len(differences))]
    expected = np.mean([flipped >= abs(sum(differences)) for flipped in flips])
    assert paired.sign_flip_exact(differences) == pytest.approx(expected)


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 9))
def test_sign_flips_of_one_seed_are_mcnemar_s(only_first: int, only_second: int, same: int) -> None:
    found = paired.sign_flip_exact([1] * only_first + [-1] * only_second + [0] * same)
    assert found == pytest.approx(paired.mcnemar_exact(only_first, only_second), rel=1e-9)


def test_mcnemar_is_the_sign_test_of_the_discordant_pairs() -> None:
    for b, c in itertools.product(range(6), repeat=2):
        flips = [sum(flip) for flip in itertools.product([0, 1], repeat=b + c)]
        as_extreme = sum(abs(2 * heads - b - c) >= abs(b - c) for heads in flips)
        assert paired.mcnemar_exact(b, c) == pytest.approx(as_extreme / len(flips))


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_exact_sum_of_binomial_coefficients(only_first: int, only_second: int) -> None:
    n, fewer = only_first + only_second, min(only_first, only_second)
    exact = min(1.0, 2 * sum(math.comb(n, i) for i in range(fewer + 1)) / (1 << n))
    assert paired.mcnemar_exact(only_first, only_second) == pytest.approx(exact, rel=1e-11, abs=0)


def test_mcnemar_is_scipy_s_binomial_test() -> None:
    for only_first, only_second in [(0, 1), (3, 9), (40, 12), (7, 7), (2, 120)]:
        expected = binomtest(only_first, only_first + only_second).pvalue
        assert paired.mcnemar_exact(only_first, only_second) == pytest.approx(expected, rel=1e-12)


def test_mcnemar_stands_large_counts() -> None:
    assert paired.mcnemar_exact(3000, 3000) == 1.0
    assert 0 <= paired.mcnemar_exact(0, 3000) < 1e-300


def test_counts_may_be_numpy_s_integers() -> None:
    assert paired.mcnemar_exact(np.int64(83), np.int64(0)) == pytest.approx(2.0**-82)
    assert paired.mcnemar_exact(np.int8(100), np.int8(100)) == 1.0
    assert rates.rate_of(np.int64(3), np.int64(4)) == rates.rate_of(3, 4)
    large = [np.int32(100_000)] * 4
    assert paired.paired_difference_interval(PairedCounts(*large)) == pytest.approx(
        paired.paired_difference_interval(PairedCounts(*map(int, large)))
    )


def test_statistics_take_columns_as_pandas_gives_them() -> None:
    index = [7, 3, 5]
    numbers = pd.Series([0.01, 0.04, 0.03], index=index)
    assert paired.holm(numbers) == paired.holm(numbers.to_list())
    assert scores.clustered_mean(numbers, numbers) == scores.clustered_mean(numbers.to_numpy(), numbers.to_numpy())
    missing = pd.Series([0.5, pd.NA, 1.5], index=index, dtype="Float64")
    assert scores.summarise(missing, range(3)) == scores.summarise([0.5, None, 1.5], range(3))
    assert scores.auroc(missing, pd.Series([2.0, None, 1.0], dtype=object)) == 0.75
    whole = pd.Series([2, 1, 0], index=index, dtype="Int64")
    assert paired.sign_flip_exact(whole) == paired.sign_flip_exact([2, 1, 0])
    assert rates.clustered_interval(whole, whole + 1) == rates.clustered_interval([2, 1, 0], [3, 2, 1])
    assert paired.sign_flip_exact(whole.astype("int8") * 50) == paired.sign_flip_exact([100, 50, 0])


def test_paired_difference_matches_newcombe_1998_method_10() -> None:
    counts = PairedCounts(both=36, only_first=2, only_second=12, neither=0)
    assert counts.difference == pytest.approx(0.2)
    assert paired.paired_difference_interval(counts) == pytest.approx((0.0569, 0.3404), abs=5e-5)


@given(PAIRED)
def test_paired_difference_interval_contains_it_and_turns_with_the_sides(counts: PairedCounts) -> None:
    low, high = paired.paired_difference_interval(counts)
    assert -1 <= low <= counts.difference <= high <= 1
    turned = PairedCounts(counts.both, counts.only_second, counts.only_first, counts.neither)
    assert paired.paired_difference_interval(turned) == pytest.approx((-high, -low))


def test_paired_difference_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    cells = np.array([0.5, 0.1, 0.25, 0.15])  # true difference 0.15
    draws = rng.multinomial(50, cells, size=600)
    intervals = [paired.paired_difference_interval(PairedCounts(*map(int, draw))) for draw in draws]
    assert 0.92 < np.mean([low <= 0.15 <= high for low, high in intervals]) < 0.985


def test_holm_known_values_keep_their_order() -> None:
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_keeps_the_order_and_multiplies_the_smallest(p_values: list[float]) -> None:
    adjusted = paired.holm(p_values)
    assert all(raw <= value <= 1 for raw, value in zip(p_values, adjusted, strict=True))
    assert min(adjusted) == pytest.approx(min(1.0, len(p_values) * min(p_values)))
    by_raw = [value for _, value in sorted(zip(p_values, adjusted, strict=True))]
    assert by_raw == sorted(by_raw)


SCORES = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=20)
FINITE = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30)


@given(SCORES, SCORES)
def test_auroc_counts_pairs_and_half_the_ties(clean: list[float], perturbed: list[float]) -> None:
    wins = sum((p > c) + 0.5 * (p == c) for c in clean for p in perturbed)
    assert scores.auroc(clean, perturbed) == pytest.approx(wins / len(clean) / len(perturbed))


@given(FINITE, FINITE)
def test_auroc_is_the_count_of_lower_scores_to_the_last_bit(clean: list[float], perturbed: list[float]) -> None:
    below = np.sort(clean)
    less, not_more = (np.searchsorted(below, perturbed, side) for side in ("left", "right"))
    assert scores.auroc(clean, perturbed) == float((less + not_more).sum() / (2 * len(clean) * len(perturbed)))


def test_auroc_ranks_an_infinite_score_highest() -> None:
    assert scores.auroc([0.0, np.inf], [np.inf, np.inf]) == 0.75


def test_auroc_leaves_out_missing_scores_and_is_empty_without_any() -> None:
    assert scores.auroc([0.0, np.nan], [1.0, np.nan]) == 1.0
    assert scores.auroc([np.nan], [1.0]) is None
    assert scores.auroc([1.0], []) is None


def _frame(statuses: list[str], success: list[bool]) -> pd.DataFrame:
    count = range(len(statuses))
    return pd.DataFrame({"seed": count, "episode": count, "status": statuses, "success": success, "group": "a"})


def test_errors_are_failures_and_infrastructure_does_not_count() -> None:
    statuses = ["ok", "ok", "policy_error", "policy_timeout", "sim_diverged", "infra_error"]
    found = rates.success_rate(_frame(statuses, [True, False, True, False, True, True]))
    assert (found.successes, found.episodes, found.value) == (1, 5, 0.2)


def test_a_rate_without_episodes_is_empty_not_zero() -> None:
    found = rates.success_rate(_frame(["infra_error"], [False]))
    assert (found.episodes, found.value, found.low, found.high) == (0, None, None, None)
    row = rates.success_rates(_frame(["infra_error"], [False]), ["group"]).iloc[0]
    assert row["episodes"] == 0
    assert np.isnan(row["rate"])


def test_pairs_are_the_countable_episodes_with_the_same_seed() -> None:
    first = _frame(["ok"] * 5, [True, True, False, False, True])
    second = _frame(["ok", "ok", "ok", "ok", "infra_error"], [True, False, True, False, True])
    assert paired.paired_counts(first, second.iloc[::-1]) == PairedCounts(1, 1, 1, 1)


def _seeds(*successes: list[bool]) -> pd.DataFrame:
    """Training seed i has the i-th successes on the same episodes."""
    frames = [_frame(["ok"] * len(won), won).assign(train_seed=i) for i, won in enumerate(successes)]
    return pd.concat(frames, ignore_index=True)


def test_training_seeds_of_an_episode_are_a_cluster_and_show_their_range() -> None:
    found = rates.success_rate(_seeds([True, True, True, False], [True, True, False, False]))
    assert (found.successes, found.episodes, found.seeds) == (5, 8, (0.75, 0.5))
    assert (found.low, found.high) == pytest.approx(rates.clustered_interval([2, 2, 1, 0], [2] * 4))
    one = rates.success_rate(_seeds([True, True, False]))
    assert one == rates.rate_of(2, 3)


def test_differences_are_summed_over_the_seeds_that_both_have() -> None:
    first = _seeds([True, True, True], [True, False, False])
    second = _seeds([False, True, True], [False, False, True], [False, False, False])
    assert sorted(paired.paired_differences(first, second)) == [-1, 0, 2]
    assert sorted(paired.paired_differences(first, second[second["train_seed"] == 0])) == [0, 0, 1]


def test_episodes_not_seeds_make_a_ranking() -> None:
    assert not rates.ranked(_seeds([True] * 49, [True] * 49))
    assert rates.ranked(_seeds([True] * 50))


def test_a_condition_in_which_nothing_counts_has_no_rate() -> None:
    frame = pd.DataFrame({"task": "Lift", "seed": [1, 2], "episode": [0, 1], "success": False, "status": "unsupported"})
    found = rates.success_rate(frame)
    assert (found.episodes, found.value, found.low, found.seeds) == (0, None, None, ())
