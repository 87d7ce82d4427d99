"""Detectors of strange keys, and episodes played again for theirs."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from synthetic import episode

from altbench.experiments.ood_figures import draw_flagged
from altbench.experiments.ood_scores import NEW_POSE, Fitted, selective
from altbench.experiments.shared import embeddings
from altbench.experiments.shared.detectors import (
    DETECTORS,
    SHRINKAGE,
    Detector,
    Scored,
    auroc_interval,
    calibrated,
    false_alarms_at_detection,
)
from altbench.experiments.shared.embeddings import EmbeddedEpisodes
from altbench.rollout.records import EpisodeRecord
from altbench.stats.rates import clustered_interval
from altbench_policies.lookup.table import conformal_threshold

BY_NAME = {detector.name: detector for detector in DETECTORS}


def unit(rng: np.random.Generator, centre: float, count: int, size: int = 6) -> np.ndarray:
    keys = rng.normal(0.0, 0.2, (count, size))
    keys[:, 0] += centre
    return (keys / np.linalg.norm(keys, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_detectors_find_keys_that_are_elsewhere_stranger(name: str) -> None:
    rng = np.random.default_rng(0)
    score = BY_NAME[name].fit(unit(rng, 1.0, 200))
    assert score(unit(rng, -1.0, 50)).min() > score(unit(rng, 1.0, 50)).max()


def test_the_lookup_score_of_a_training_key_is_zero() -> None:
    keys = unit(np.random.default_rng(0), 1.0, 20)
    np.testing.assert_allclose(BY_NAME["lookup"].fit(keys)(keys), 0.0, atol=1e-6)


def test_the_mahalanobis_distance_follows_its_formula() -> None:
    rng = np.random.default_rng(0)
    keys, new = unit(rng, 1.0, 50, 3), unit(rng, 0.0, 5, 3)
    covariance = np.cov(keys, rowvar=False)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.trace(covariance) / 3 * np.eye(3)
    gaps = new - keys.mean(axis=0)
    expected = [math.sqrt(g @ np.linalg.solve(shrunk, g)) for g in gaps.astype(float)]
    np.testing.assert_allclose(BY_NAME["Mahalanobis"].fit(keys)(new), expected, rtol=1e-4)


def test_the_tenth_neighbour_counts() -> None:
    keys = np.eye(12, dtype=np.float32)
    assert BY_NAME["k-NN"].fit(keys)(keys[:1])[0] == pytest.approx(math.sqrt(2))


def test_calibration_scores_each_demonstration_against_the_others() -> None:
    shown = [np.eye(4, dtype=np.float32)[[i, i]] for i in (0, 1, 1)]
    assert calibrated(BY_NAME["lookup"], shown, 1, 0.05) == pytest.approx(
        1.0
    )  # the first has no like; too few to be lower
    assert calibrated(BY_NAME["lookup"], shown, 1, 0.6) == pytest.approx(0.0)  # the second smallest of 0, 0, 1
    assert calibrated(BY_NAME["lookup"], shown[:1], 1, 0.05) == math.inf


@given(st.lists(st.floats(0, 2, width=32), min_size=2, max_size=60), st.integers(1, 999))
def test_detectors_are_calibrated_by_the_policy_s_own_rule(scores: list[float], thousandths: int) -> None:
    """The import rule keeps the two implementations apart."""
    given_scores = Detector(
        "given", "its key is its score", lambda training: lambda keys: keys[:, 0].astype(np.float64)
    )
    demonstrations = [np.array([[score]], np.float32) for score in scores]
    rate = thousandths / 1000
    expected = conformal_threshold(np.array(scores, np.float32), rate)
    assert calibrated(given_scores, demonstrations, 1, rate) == expected


def test_false_alarms_are_counted_where_nineteen_of_twenty_are_found() -> None:
    strange = np.arange(20.0)  # 95 % of them: 1 and more
    found = false_alarms_at_detection(np.array([0.0, 0.5, 1.0, 3.0]), strange)
    assert found.tolist() == [False, False, True, True]
    assert false_alarms_at_detection(np.zeros(1), np.zeros(0)).size == 0


def test_the_aurocs_interval_holds_it_and_shrinks_to_it_where_all_is_clear() -> None:
    rng = np.random.default_rng(0)
    each = np.arange(60)
    found = auroc_interval(Scored(rng.normal(0, 1, 60), each), Scored(rng.normal(1, 1, 60), 60 + each))
    assert found is not None and found[1] < found[0] < found[2] < 1
    nine = Scored(np.zeros(9), each[:9])
    assert auroc_interval(nine, Scored(np.ones(9), each[:9])) == (1.0, 1.0, 1.0)
    assert auroc_interval(Scored(np.zeros(0), each[:0]), nine) is None


def test_the_aurocs_interval_is_over_poses() -> None:
    """Each of ten poses has scores of its own: ten episodes of each tell no more than one."""
    rng, poses = np.random.default_rng(0), np.repeat(np.arange(10), 10)
    clean, strange = rng.normal(0, 1, 10)[poses], rng.normal(1, 1, 10)[poses]
    few = auroc_interval(Scored(clean, poses), Scored(strange, poses))
    many = auroc_interval(Scored(clean, np.arange(100)), Scored(strange, np.arange(100, 200)))
    assert few is not None and many is not None and few[0] == many[0]
    assert few[2] - few[1] > 1.8 * (many[2] - many[1])


def test_episodes_are_scored_by_their_strangest_decision_and_refused_by_their_first() -> None:
    directions = np.eye(3, dtype=np.float32)
    keys = directions[[0, 0, 0, 1, 1, 1]]  # episodes of two decisions: known, known to strange, strange
    episode, step = np.repeat([0, 1, 2], 2), np.tile([0, 8], 3)
    embedded = EmbeddedEpisodes(episode, step, keys, np.array([1.0, 1.0, 0.0]))
    lookup = BY_NAME["lookup"]
    both = {"recall": embedded, NEW_POSE: embedded}
    one = Fitted(lookup, lookup.fit(directions[:1]), 0.5, both, dict.fromkeys(both, np.array([0, 0, 1])))
    np.testing.assert_array_equal(one.highest["recall"], [0.0, 1.0, 1.0])
    flagged = one.flagged("recall")
    assert flagged.successes == 2 and flagged.low == clustered_interval([1, 1], [2, 1])[0], "two poses"
    np.testing.assert_array_equal(one.delays("recall", 0), [8.0, 0.0])
    np.testing.assert_array_equal(one.delays("recall", 4), [4.0, 4.0])
    assert selective(one, 2 / 3).value == 1.0 and selective(one, 1.0).successes == 2


def test_what_does_not_count_is_not_embedded_and_the_rest_are_numbered_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second of three episodes was lost to the infrastructure."""
    kept = [episode(0), dataclasses.replace(episode(1), status="infra_error"), episode(2)]
    played: list[int] = []

    def play(env: object, policy: Any, plan: Any, timeout: float) -> EpisodeRecord:
        policy.reset([0], [0])
        for _ in kept[plan.index].decisions:
            policy.act(None, [0])
        played.append(plan.index)
        return kept[plan.index]

    policy = SimpleNamespace(task=None, config=None, requirements=None, reset=lambda slots, seeds: None)
    policy.embed = lambda observation: np.array([[1.0, 0.0]], np.float32)
    policy.act = lambda observation, slots: None
    sweep = SimpleNamespace(
        image_size=(84, 84), render_profile="fast", decision_timeout_s=1.0, horizon_of=lambda task: None
    )
    run: Any = SimpleNamespace(
        policy=lambda checkpoint, runtime: policy,
        run_of=lambda checkpoint: SimpleNamespace(sweep=sweep),
        records=lambda cell: kept,
    )
    cell: Any = SimpleNamespace(checkpoint=SimpleNamespace(task="Fake"), runtime={}, name="cell")
    monkeypatch.setattr(embeddings.registry, "task", lambda name: SimpleNamespace(name=name))
    monkeypatch.setattr(embeddings, "make_env", lambda *arguments: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(embeddings, "episode_plans", lambda *_: [SimpleNamespace(index=i) for i in range(3)])
    monkeypatch.setattr(embeddings, "run_episode", play)
    found = embeddings.embed_episodes(run, cell, 3)
    assert found is not None
    assert played == [0, 2]
    assert found.episode.tolist() == [0, 0, 1, 1]
    assert found.highest(np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [2.0, 4.0]
    kept[0] = kept[2] = kept[1]
    assert embeddings.embed_episodes(run, cell, 3) is None


def test_a_table_of_before_is_drawn_without_intervals() -> None:
    table = pd.DataFrame({"detector": ["lookup"], "condition": ["recall"], "flagged": [3], "episodes": [10]})
    limits = {"flagged_low": 0.1, "flagged_high": 0.6}
    bars = []
    for shown in (table, table.assign(**limits)):
        figure = draw_flagged(shown)
        assert isinstance(figure, Figure)
        lines = [line.get_xdata() for axis in figure.axes for line in axis.get_lines()]
        bars.append(max(float(np.ptp(x)) for x in lines if len(x) > 1))
    assert bars == [0.0, pytest.approx(0.5)]
