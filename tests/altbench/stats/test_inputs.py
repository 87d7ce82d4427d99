"""Statistics take whatever pandas and NumPy give, and refuse what is missing in one line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from altbench.core.errors import ConfigError
from altbench.stats import inputs, memorisation, paired, power, rates, scores, sign_flip, trajectories
from altbench.stats.paired import PairedCounts

SMALL = st.integers(0, 120)
INTEGERS = (np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, float, np.float32, np.float64)
COLUMNS: dict[str, Callable[[list[int]], Any]] = {
    "tuple": tuple,
    "int8": lambda values: np.array(values, np.int8),
    "float32": lambda values: np.array(values, np.float32),
    "objects": lambda values: np.array(values, object),
    "series": lambda values: pd.Series(values, index=range(len(values), 0, -1)),
    "object series": lambda values: pd.Series(values, dtype=object, index=[f"row {i}" for i in range(len(values))]),
    "nullable": lambda values: pd.Series(values, dtype="Int64"),
    "small nullable": lambda values: pd.Series(values, dtype="Int8"),
    "nullable floats": lambda values: pd.Series(values, dtype="Float64"),
    "arrow": lambda values: pd.Series(values, dtype="int64[pyarrow]"),
    "index": pd.Index,
    "array": lambda values: pd.array(values, dtype="Int64"),
}
MISSING: tuple[Any, ...] = (float("nan"), np.nan, None, pd.NA, np.float32("nan"))


@given(SMALL, SMALL, st.sampled_from(INTEGERS))
def test_counts_of_every_type_give_the_same(first: int, second: int, kind: Any) -> None:
    a, b = kind(first), kind(second)
    assert paired.mcnemar_exact(a, b) == paired.mcnemar_exact(first, second)
    assert rates.rate_of(a, kind(120)) == rates.rate_of(first, 120)
    assert rates.wilson_interval(a, kind(120)) == rates.wilson_interval(first, 120)
    plain, other = PairedCounts(first, second, 100, 7), PairedCounts(a, b, kind(100), kind(7))
    assert other == plain and other.total == first + second + 107 and other.difference == plain.difference
    assert paired.paired_difference_interval(other) == paired.paired_difference_interval(plain)
    assert sign_flip.can_decide([kind(1), 0.001], np.float64(0.05)) == [False, True]


@pytest.mark.parametrize("kind", INTEGERS)
def test_83_losses_and_no_gain_are_significant(kind: Any) -> None:
    assert paired.mcnemar_exact(kind(83), kind(0)) == pytest.approx(2.0**-82)


def test_sums_and_booleans_of_columns_are_counts() -> None:
    won = pd.Series([True] * 83 + [False], dtype="boolean")
    assert paired.mcnemar_exact(won.sum(), (~won).sum()) == paired.mcnemar_exact(83, 1)
    assert paired.mcnemar_exact(np.bool_(True), False) == 1.0
    assert rates.rate_of(pd.Series([3]), np.array(4)) == rates.rate_of(3, 4)


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=12), st.sampled_from(sorted(COLUMNS)))
def test_differences_of_every_kind_of_column_give_the_same(values: list[int], name: str) -> None:
    column = COLUMNS[name](values)
    assert paired.sign_flip_exact(column) == paired.sign_flip_exact(values)
    assert sign_flip.sign_flip_less(column) == sign_flip.sign_flip_less(values)
    assert sign_flip.lowest_p(column) == sign_flip.lowest_p(values)
    assert scores.clustered_mean(column, values) == scores.clustered_mean(values, column)
    assert scores.summarise(column, column) == scores.summarise(values, values)
    assert scores.auroc(column, values) == scores.auroc(values, column) == 0.5


@given(
    st.lists(st.integers(1, 9).flatmap(lambda m: st.tuples(st.integers(0, m), st.just(m))), min_size=1, max_size=9),
    st.sampled_from(sorted(COLUMNS)),
)
def test_clusters_of_every_kind_of_column_give_the_same(clusters: list[tuple[int, int]], name: str) -> None:
    hits, sizes = [h for h, _ in clusters], [m for _, m in clusters]
    column = COLUMNS[name]
    assert rates.clustered_interval(column(hits), column(sizes)) == rates.clustered_interval(hits, sizes)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_p_values_keep_their_order_whatever_their_index(values: list[float]) -> None:
    index = list(range(len(values), 0, -1))
    for column in (pd.Series(values, index=index), pd.Series(values, index=index, dtype="Float64"), np.array(values)):
        assert paired.holm(column) == paired.holm(values)
        assert sign_flip.can_decide(column, 0.05) == sign_flip.can_decide(values, 0.05)


CALLS: dict[str, Callable[[Any], Any]] = {
    "wilson_interval": lambda gap: rates.wilson_interval(gap, 5),
    "wilson_interval of": lambda gap: rates.wilson_interval(3, gap),
    "wilson_interval at": lambda gap: rates.wilson_interval(3, 5, gap),
    "rate_of": lambda gap: rates.rate_of(gap, 5),
    "rate_of 0": lambda gap: rates.rate_of(gap, 0),
    "clustered_interval": lambda gap: rates.clustered_interval([1, gap], [2, 2]),
    "clustered_interval of": lambda gap: rates.clustered_interval([1, 1], [2, gap]),
    "mcnemar_exact": lambda gap: paired.mcnemar_exact(gap, 0),
    "PairedCounts": lambda gap: PairedCounts(1, 2, gap, 4),
    "paired_difference_interval": lambda gap: paired.paired_difference_interval(PairedCounts(1, 2, 3, 4), effect=gap),
    "sign_flip_exact": lambda gap: paired.sign_flip_exact([1, gap]),
    "sign_flip_less": lambda gap: sign_flip.sign_flip_less([1, gap]),
    "lowest_p": lambda gap: sign_flip.lowest_p([1, gap]),
    "can_decide": lambda gap: sign_flip.can_decide([0.1, gap], 0.05),
    "holm": lambda gap: paired.holm([0.1, gap]),
    "clustered_mean": lambda gap: scores.clustered_mean([1.0, gap, 2.0], [0, 1, 2]),
    "clustered_rate": lambda gap: rates.clustered_rate([1, gap], [0, 0]),
    "fewest_losses": power.fewest_losses,
    "detectable_drop": lambda gap: power.detectable_drop(100, gap, 0.05),
    "detectable_drop of": lambda gap: power.detectable_drop(gap, 0.1, 0.05),
}


@pytest.mark.parametrize("gap", MISSING)
@pytest.mark.parametrize("name", CALLS)
def test_what_is_missing_is_refused_in_one_line(name: str, gap: Any) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        CALLS[name](gap)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired.mcnemar_exact(1.5, 0), "only_first: expected a whole number, got 1.5"),
        (lambda: paired.mcnemar_exact(0, -1), "only_second: expected a count from 0, got -1"),
        (lambda: paired.mcnemar_exact(math.inf, 0), "only_first: expected a whole number, got inf"),
        (lambda: paired.mcnemar_exact("many", 0), "only_first: expected numbers, got"),
        (lambda: paired.sign_flip_exact([0.5, 1]), "differences: expected whole numbers, got 0.5"),
        (lambda: paired.holm([0.5, 1.5]), "p_values: expected numbers from 0 to 1, got 0.5 to 1.5"),
        (lambda: rates.clustered_interval([1], [1, 2]), "one count of successes and one of trials per cluster"),
        (lambda: rates.clustered_interval([], []), "one count of successes and one of trials per cluster"),
        (lambda: rates.wilson_interval(1, 2, 95), "confidence: expected a number between 0 and 1, got 95"),
        (lambda: paired.paired_difference_interval(PairedCounts(0, 0, 0, 0)), "at least one pair, got none"),
    ],
)
def test_what_cannot_be_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def frame(success: Any, status: Any = "ok") -> pd.DataFrame:
    return pd.DataFrame({"seed": [1, 2], "episode": [0, 1], "status": status, "success": success})


@pytest.mark.parametrize("kind", ["bool", "object", "boolean", "Int64", "float64", "int8", "bool[pyarrow]"])
def test_outcomes_of_every_kind_of_column_are_counted(kind: str) -> None:
    found = frame(pd.Series([True, False]).astype(kind))
    for status in ("ok", pd.Series(["ok", "ok"], dtype="string"), pd.Categorical(["ok", "ok"])):
        one = found.assign(status=status)
        assert rates.success_rate(one).successes == 1 and list(rates.succeeded(one)) == [True, False]
        assert rates.succeeded(one).dtype == bool
        assert paired.paired_counts(one, frame([True, True])) == PairedCounts(1, 0, 1, 0)
        assert list(paired.paired_differences(one, frame([True, True]), over=())) == [0, -1]


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA, "False", 2])
def test_a_missing_outcome_is_no_success(gap: Any) -> None:
    with pytest.raises(ValueError, match="column success: expected true or false in every row, got"):
        rates.success_rate(frame([True, gap]))
    with pytest.raises(ValueError, match="column success"):
        rates.succeeded(frame(pd.Series([True, None], dtype="boolean")))
    with pytest.raises(ValueError, match="column status: expected a status in every row"):
        rates.success_rate(frame([True, True], ["ok", None]))


def test_positions_that_are_not_finite_have_no_score() -> None:
    distance = trajectories.find_distance("resampled")
    ways = [np.full((3, 3), float(i)) for i in range(2)]
    gap = np.full((3, 3), np.nan)
    with pytest.raises(ConfigError, match="demonstration 7: expected finite positions, got 9 NaN or infinite"):
        memorisation.TrainingSet([ways[0], gap], [3, 7], distance)
    with pytest.raises(ConfigError, match="trajectory: expected finite positions"):
        memorisation.TrainingSet(ways, [3, 7], distance).audit(gap)


def test_whole_numbers_of_any_size_stay_exact() -> None:
    assert inputs.whole(2**62 + 1, "x") == 2**62 + 1 and inputs.count(np.int64(2**62 + 1), "x") == 2**62 + 1
    assert PairedCounts(*[np.uint64(2**62)] * 4).total == 2**64
