"""The audit's S on trajectories made by hand, its invariances, and the distances it stands on."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import fakes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from altbench.core.errors import ConfigError
from altbench.core.types import Float64
from altbench.rollout.records import StepRecord
from altbench.stats import memorisation, scores
from altbench.stats.memorisation import TrainingSet
from altbench.stats.scores import summarise
from altbench.stats.trajectories import (
    DISTANCES,
    RESAMPLED_POINTS,
    demonstration_trajectory,
    episode_trajectory,
    find_distance,
    mean_distance,
    resample,
)

BOTH = pytest.mark.parametrize("distance", sorted(DISTANCES))


def line(y: float, points: int = 30, length: float = 0.3) -> Float64:
    """A straight way along x at height `y`, metres."""
    return np.stack([np.linspace(0, length, points), np.full(points, y), np.zeros(points)], axis=1)


def score(trajectory: Float64, *training: Float64, distance: str = "resampled") -> memorisation.Likeness:
    return TrainingSet(training, range(10, 10 + len(training)), find_distance(distance)).audit(trajectory)


@BOTH
def test_an_exact_replay_scores_one(distance: str) -> None:
    found = score(line(0.1), line(0.0), line(0.1), line(0.4), distance=distance)
    assert found.s == 1.0 and found.to_nearest == 0.0
    assert (found.nearest, found.second) == (11, 10)
    assert found.between == found.to_second == pytest.approx(0.1)


@BOTH
def test_the_midpoint_of_two_demonstrations_scores_a_half(distance: str) -> None:
    found = score(line(0.05), line(0.0), line(0.1), line(0.9), distance=distance)
    assert found.s == pytest.approx(0.5)
    assert {found.nearest, found.second} == {10, 11}


@BOTH
def test_far_away_scores_below_zero_and_is_what_a_hand_computes(distance: str) -> None:
    found = score(line(0.4), line(0.0), line(0.1), distance=distance)
    assert found.s == pytest.approx(1 - 0.3 / 0.1)
    assert found.distances == pytest.approx((0.4, 0.3))


@BOTH
def test_where_the_two_nearest_coincide_there_is_no_score(distance: str) -> None:
    found = score(line(0.02), line(0.0), line(0.0), line(0.5), distance=distance)
    assert found.s is None and found.between == 0.0
    assert score(line(0.4), line(0.0), line(0.0), line(0.5), distance=distance).s is not None


def test_one_demonstration_is_too_few() -> None:
    with pytest.raises(ConfigError, match="needs at least two demonstrations, got 1"):
        score(line(0.0), line(0.0))


# -------------------------------------------------------------------------------------------------------- distances


def test_resampling_keeps_the_ends_and_straight_ways() -> None:
    found = resample(line(0.0, points=7))
    np.testing.assert_allclose(found, line(0.0, points=RESAMPLED_POINTS), atol=1e-15)
    np.testing.assert_array_equal(resample(line(0.2, points=RESAMPLED_POINTS)), line(0.2, points=RESAMPLED_POINTS))
    np.testing.assert_array_equal(resample(np.array([[1.0, 2.0, 3.0]]), 3), [[1, 2, 3]] * 3)


def test_resampling_goes_by_time_and_warping_by_shape() -> None:
    way = line(0.0, points=40)
    waits = np.concatenate([way, np.repeat(way[-1:], 40, axis=0)])
    by_time, by_shape = find_distance("resampled"), find_distance("dtw")
    assert by_time.between(by_time.prepare(way), by_time.prepare(waits)) > 0.07
    assert by_shape.between(way, waits) == 0.0


def warped_by_definition(first: Float64, second: Float64) -> float:
    """Sakoe and Chiba's recursion, as it is written."""

    @cache
    def cost(i: int, j: int) -> float:
        gap = float(np.linalg.norm(first[i] - second[j]))
        if i == j == 0:
            return 2 * gap
        ways = [np.inf]
        if i > 0:
            ways.append(cost(i - 1, j) + gap)
        if j > 0:
            ways.append(cost(i, j - 1) + gap)
        if i > 0 and j > 0:
            ways.append(cost(i - 1, j - 1) + 2 * gap)
        return min(ways)

    return cost(len(first) - 1, len(second) - 1) / (len(first) + len(second))


@pytest.mark.parametrize("seed", range(5))
def test_warping_is_what_its_definition_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(rng.integers(1, 12), 3)), rng.normal(size=(rng.integers(1, 12), 3))
    assert find_distance("dtw").between(first, second) == pytest.approx(warped_by_definition(first, second), rel=1e-12)


def test_a_distance_by_hand() -> None:
    first, second = np.zeros((2, 3)), np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]])
    assert mean_distance(first, second) == 3.0
    # first cell twice 5, then a diagonal step onto a gap of 1, twice: (10 + 2) / 4; the cheapest way goes so
    assert find_distance("dtw").between(first, second) == 3.0


def test_an_unknown_distance_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown distance 'dwt'; did you mean 'dtw'"):
        find_distance("dwt")


@st.composite
def ways(draw: st.DrawFn, arms: int = 1) -> list[Float64]:
    """A trajectory and three demonstrations, clearly apart, as random walks with steps of centimetres."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = draw(st.lists(st.integers(1, 12), min_size=4, max_size=4))
    starts = rng.uniform(-0.5, 0.5, (4, 3 * arms))
    return [start + rng.normal(0, 0.03, (n, 3 * arms)).cumsum(axis=0) for n, start in zip(lengths, starts, strict=True)]


def turned(way: Float64, angle: float, axis: int, shift: float) -> Float64:
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.insert(np.insert([[c, -s], [s, c]], axis, 0.0, axis=0), axis, 0.0, axis=1)
    matrix[axis, axis] = 1.0
    return (way.reshape(len(way), -1, 3) @ matrix.T + shift).reshape(way.shape)


@BOTH
@settings(max_examples=40, deadline=None)
@given(ways=ways(arms=2), angle=st.floats(-3, 3), axis=st.integers(0, 2), shift=st.floats(-2, 2))
def test_turning_and_moving_everything_changes_nothing(
    distance: str, ways: list[Float64], angle: float, axis: int, shift: float
) -> None:
    before = score(*ways, distance=distance)
    after = score(*(turned(way, angle, axis, shift) for way in ways), distance=distance)
    assert before.s is not None and after.s == pytest.approx(before.s, abs=1e-6)
    assert after.distances == pytest.approx(before.distances, abs=1e-9)


@BOTH
@settings(max_examples=40, deadline=None)
@given(ways=ways(), scale=st.floats(0.1, 50))
def test_s_has_no_unit_and_distances_have(distance: str, ways: list[Float64], scale: float) -> None:
    before, after = score(*ways, distance=distance), score(*(scale * way for way in ways), distance=distance)
    assert before.s is not None and after.s == pytest.approx(before.s, abs=1e-6)
    assert after.to_nearest == pytest.approx(scale * before.to_nearest, rel=1e-9)


@BOTH
@settings(max_examples=40, deadline=None)
@given(ways=ways())
def test_distances_are_symmetric_and_vanish_between_equals(distance: str, ways: list[Float64]) -> None:
    chosen = find_distance(distance)
    first, second = (chosen.prepare(way) for way in ways[:2])
    assert chosen.between(first, second) == chosen.between(second, first) > 0
    assert chosen.between(first, first) == 0.0


@BOTH
@settings(max_examples=20, deadline=None)
@given(ways=ways(), order=st.permutations([0, 1, 2]))
def test_the_order_of_the_demonstrations_does_not_matter(distance: str, ways: list[Float64], order: list[int]) -> None:
    own, training = ways[0], ways[1:]
    mixed = TrainingSet([training[i] for i in order], [10 + i for i in order], find_distance(distance)).audit(own)
    found = score(own, *training, distance=distance)
    assert (mixed.s, mixed.nearest, mixed.second) == (found.s, found.nearest, found.second)


# ----------------------------------------------------------------------------------------------- records and summary


def test_a_recorded_replay_is_its_demonstration_to_the_last_bit() -> None:
    env = fakes.FakeTask(obs_type="state")
    for demonstration in fakes.make_demonstrations(2):
        start = demonstration.initial_state
        env.reset(seed=0, options={"split": "replay", "initial_state": start})
        steps = []
        for action in demonstration.actions:
            env.advance(action)
            steps.append(StepRecord(tuple(action), tuple(env.observe(False)["agent_pos"])))
        for source in ("positions", "actions"):
            own, other = episode_trajectory(steps, 1, source), demonstration_trajectory(demonstration, 1, source)
            np.testing.assert_array_equal(own, other)
            assert own.dtype == np.float64 and own.shape[1] == 3


def test_two_arms_stand_side_by_side() -> None:
    numbers = np.arange(44.0).reshape(2, 22)
    found = episode_trajectory([StepRecord((), tuple(row)) for row in numbers], 2)
    np.testing.assert_array_equal(found, [[0, 1, 2, 11, 12, 13]])


def test_trajectories_that_cannot_be_had() -> None:
    assert episode_trajectory([], 1).shape == (0, 3)
    assert episode_trajectory([StepRecord((0.0,) * 10, (0.0,) * 11)], 1).shape == (0, 3)
    with pytest.raises(ConfigError, match=r"expected 10 numbers per arm and step \(1 arm\), got 7"):
        episode_trajectory([StepRecord((0.0,) * 7, (0.0,) * 11)], 1, "actions")
    one = fakes.make_demonstrations(1)[0]
    short = replace(one, agent_pos=one.agent_pos[:1], actions=one.actions[:1])
    with pytest.raises(ConfigError, match="expected at least two frames, got 1"):
        demonstration_trajectory(short, 1)


def test_the_summary_counts_what_has_no_score() -> None:
    found = summarise([0.0, None, 0.25, 0.5, float("nan"), 1.0], range(6))
    assert (found.n, found.empty, found.highest, found.mean) == (4, 2, 1.0, 0.4375)
    assert (found.lower, found.median, found.upper) == (0.1875, 0.375, 0.625)
    assert found.low is not None and found.high is not None and 0.0 < found.low < 0.4375 < found.high < 1.0
    assert summarise([0.0, 0.25, 0.5, 1.0, None, None], range(6)) == found, "the interval is the same every time"
    assert summarise([None], [0]) == scores.Summary(0, 1)
    assert summarise([0.5], [0]).low is None
    few = summarise([0.0, 0.25, 0.5, 1.0], [0, 0, 1, 1])
    assert few.low == 0.125 and few.high == 0.75, "two poses have no other means"


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [scores.clustered_mean(rng.normal(0.3, 0.2, 40), range(40)) for _ in range(100)]
    covered = sum(low < 0.3 < high for low, high in intervals if low is not None and high is not None)
    assert 88 <= covered <= 99
