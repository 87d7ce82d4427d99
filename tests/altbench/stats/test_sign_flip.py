"""The one-sided tests over clusters, and what they can see."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from altbench.stats.power import detectable_drop, fewest_losses
from altbench.stats.sign_flip import can_decide, lowest_p, sign_flip_less


def test_the_p_is_the_share_of_signs_with_as_low_a_sum() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        found = rng.integers(-5, 6, 8)
        sums = [float(np.dot(signs, abs(found))) for signs in itertools.product([1, -1], repeat=8)]
        assert sign_flip_less(found) == pytest.approx(np.mean([total <= found.sum() for total in sums]))


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (10, 0), (7, 3), (3, 7), (900, 800), (3000, 0)])
def test_single_pairs_give_the_one_sided_sign_test(lost: int, gained: int) -> None:
    expected = binomtest(lost, lost + gained, alternative="greater").pvalue if lost + gained else 1.0
    found = sign_flip_less([-1] * lost + [1] * gained)
    assert found == pytest.approx(expected, rel=1e-9)


def test_numpy_integers_of_all_widths_give_the_same_p() -> None:
    for kind in (np.int8, np.int16, np.int64):
        assert sign_flip_less(np.full(83, -1, kind)) == pytest.approx(2.0**-83)
        assert sign_flip_less(np.full(3, -100, kind)) == pytest.approx(1 / 8)


def test_many_large_clusters_take_no_time_and_keep_small_p() -> None:
    assert 0 < sign_flip_less(np.full(900, -40)) == pytest.approx(2.0**-900)
    sizes = np.random.default_rng(0).integers(1, 60, 1000)
    assert sign_flip_less(sizes * np.resize([1, -1], 1000)) == pytest.approx(0.5, abs=0.45)


def test_copies_of_a_cell_are_no_further_evidence() -> None:
    once, tenfold = [-1, -1, -1, 1], [-10, -10, -10, 10]
    assert sign_flip_less(once) == sign_flip_less(tenfold)


def test_the_lowest_p_depends_on_sizes_alone() -> None:
    assert lowest_p([-1, 2, 0, 3]) == lowest_p([1, 2, 3]) == 1 / 8
    assert lowest_p([]) == 1.0


def test_tests_that_cannot_be_significant_leave_the_correction() -> None:
    assert can_decide([1.0] * 55 + [2.0**-10], 0.05) == [False] * 55 + [True]
    assert can_decide([0.02, 0.02, 0.02], 0.05) == [True, True, False]
    assert can_decide([], 0.05) == []
    assert can_decide([0.04], 0.05) == [True]


def test_the_fewest_losses_are_those_whose_p_is_low_enough() -> None:
    for alpha in (0.05, 0.0125, 1e-4):
        fewest = fewest_losses(alpha)
        assert sign_flip_less([-1] * fewest) <= alpha < sign_flip_less([-1] * (fewest - 1))


@pytest.mark.parametrize(("n", "churn"), [(40, 0.0), (100, 0.05), (300, 0.02)])
def test_a_detectable_drop_is_seen_four_times_in_five(n: int, churn: float) -> None:
    drop = detectable_drop(n, churn, 0.0125)
    assert drop is not None
    rng, seen = np.random.default_rng(1), 0
    for lost, gained, _ in rng.multinomial(n, [churn + drop, churn, 1 - 2 * churn - drop], size=2000):
        seen += sign_flip_less([-1] * int(lost) + [1] * int(gained)) <= 0.0125
    assert seen / 2000 == pytest.approx(0.8, abs=0.04)


def test_too_few_pairs_see_no_drop() -> None:
    assert detectable_drop(5, 0.0, 0.0125) is None
    assert detectable_drop(0, 0.0, 0.0125) is None
    assert detectable_drop(7, 0.0, 0.0125) is not None
