"""What is particular to ALT+: replay on training frames, corrections elsewhere, the demonstration's own gripper."""

from __future__ import annotations

import numpy as np
import pytest

from altbench.core.errors import ConfigError
from altbench.core.policy import Observation
from altbench_policies.alt_plus import config as alt_plus_config
from altbench_policies.alt_plus import fitted as alt_plus_fitted
from altbench_policies.alt_plus import policy as alt_plus_policy
from altbench_policies.alt_plus.fitted import familiar_limit, usual_miss
from altbench_policies.lookup.first_key import FirstKey
from altbench_policies.lookup.table import first_frame_scores


def decide(policy, observation):
    policy.reset([0], [0])
    return policy.act(observation, [0])


@pytest.fixture(scope="module")
def fitted(fit_policy):
    return fit_policy("alt_plus", train_steps=20)


def between(observe, demonstrations):
    """An observation half-way between two demonstrated ones."""
    a, b = (observe(d, [6], 1) for d in demonstrations[:2])
    pixels = {c: ((a.pixels[c].astype(int) + b.pixels[c]) // 2).astype(np.uint8) for c in a.pixels}
    return Observation(pixels, (a.agent_pos + b.agent_pos) / 2)


def noise_like(seen):
    """Noise in place of the images of `seen`."""
    rng = np.random.default_rng(0)
    pixels = {c: rng.integers(0, 255, p.shape, np.uint8) for c, p in seen.pixels.items()}
    return Observation(pixels, seen.agent_pos)


@pytest.mark.parametrize("frame", [0, 5, 16])
def test_a_training_frame_is_replayed(fitted, fit_policy, observe, demonstrations, frame):
    """A policy that follows a demonstration begins among its first 15 frames."""
    demo = demonstrations[1]
    policy = fitted if frame < 15 else fit_policy("alt_plus", train_steps=20, **alt_plus_config.NEAREST)
    decision = decide(policy, observe(demo, [frame], 1))
    assert tuple(decision.matches[0, 0]) == (demo.index, frame)
    rows = np.minimum(frame + np.arange(decision.actions.shape[1]), len(demo) - 1)
    np.testing.assert_allclose(decision.actions[0], demo.actions[rows], atol=1e-6)


def test_elsewhere_the_chunk_moves_by_what_the_network_sees_to_differ(fit_policy, observe, demonstrations):
    policy = fit_policy("alt_plus", train_steps=20, shrinkage=0.0)
    seen = between(observe, demonstrations)
    decision = decide(policy, seen)
    demo = next(d for d in demonstrations if d.index == decision.matches[0, 0, 0])
    frame = int(decision.matches[0, 0, 1])
    here = decide_by_regression(policy, seen)
    there = decide_by_regression(policy, observe(demo, [frame], 1))
    rows = np.minimum(frame + np.arange(decision.actions.shape[1]), len(demo) - 1)
    expected = demo.actions[rows][:, :9] + (here - there)[:, :9]
    np.testing.assert_allclose(decision.actions[0][:, :9], expected, atol=1e-5)
    np.testing.assert_array_equal(decision.actions[0][:, 9], demo.actions[rows][:, 9])
    assert np.abs(here - there).max() > 1e-3


def decide_by_regression(policy, observation):
    policy.regressor.reset([0], [0])
    return policy.regressor.act(observation, [0]).actions[0]


@pytest.mark.parametrize("unit", ["range", "miss"])
def test_shrinkage_leaves_small_corrections_out(make_policy, fitted, unit, tmp_path):
    fitted.save(tmp_path)
    fitted = make_policy("alt_plus", train_steps=20, shrinkage_unit=unit)
    fitted.load(tmp_path)
    half = np.asarray(fitted.fitted().network.action_range.half_range)
    assert (half[:3] > 0).all()
    change = np.zeros((2, 8, 10), np.float32)
    change[0, :, 0], change[1, :, 0] = 0.001 * half[0], half[0]
    weights = (fitted._correction(change) / change[:, :1, :1])[:, 0, 0]
    made = fitted.fitted()
    noise = fitted.config.shrinkage * (usual_miss(made.network, made.table, made.predicted) if unit == "miss" else 1)
    expected = [d**2 / (d**2 + noise**2) for d in (0.001, 1)]
    assert weights == pytest.approx(expected, rel=1e-4) and weights[0] < 0.002


def test_what_the_network_misses_by_is_measured_on_its_training_frames(fitted, observe, demonstrations):
    half = np.asarray(fitted.fitted().network.action_range.half_range)[:3]
    errors = []
    for demo in demonstrations:
        for frame in range(len(demo)):
            rows = np.minimum(frame + np.arange(8), len(demo) - 1)
            told = decide_by_regression(fitted, observe(demo, [frame], 1))
            errors.append((np.abs(told - demo.actions[rows])[:, :3] / half).max())
    made = fitted.fitted()
    assert usual_miss(made.network, made.table, made.predicted) == pytest.approx(np.median(errors), rel=1e-4)


def test_no_change_is_no_correction_without_shrinkage(fit_policy):
    policy = fit_policy("alt_plus", shrinkage=0.0)
    np.testing.assert_array_equal(policy._correction(np.zeros((1, 8, 10), np.float32)), 0)


def test_without_correction_it_is_a_lookup(make_policy, fitted, observe, demonstrations, tmp_path):
    fitted.save(tmp_path)
    lookup = make_policy("alt_plus", train_steps=20, correct=False)
    lookup.load(tmp_path)
    decision = decide(lookup, between(observe, demonstrations))
    demo = next(d for d in demonstrations if d.index == decision.matches[0, 0, 0])
    frame = int(decision.matches[0, 0, 1])
    rows = np.minimum(frame + np.arange(decision.actions.shape[1]), len(demo) - 1)
    np.testing.assert_array_equal(decision.actions[0], demo.actions[rows])


def test_an_episode_is_corrected_where_it_begins_with_a_familiar_image(
    make_policy, fitted, observe, demonstrations, tmp_path
):
    fitted.save(tmp_path)
    policies = {}
    for name, changes in {"familiar": {"familiar": 0.0}, "always": {}, "never": {"correct": False}}.items():
        policies[name] = make_policy("alt_plus", train_steps=20, **changes)
        policies[name].load(tmp_path)
        policies[name].reset([0, 1], [0, 0])
    known, seen = observe(demonstrations[0], [0], 1), between(observe, demonstrations)
    strange = noise_like(known)

    def decided(slot, observation):
        return {name: policy.act(observation, [slot]).actions for name, policy in policies.items()}

    decided(0, known)
    begun_strangely = decided(1, strange)
    np.testing.assert_array_equal(begun_strangely["familiar"], begun_strangely["never"])
    assert not np.array_equal(begun_strangely["familiar"], begun_strangely["always"])
    for observation in (seen, strange):  # what comes later does not change it
        first, second = decided(0, observation), decided(1, observation)
        np.testing.assert_array_equal(first["familiar"], first["always"])
        np.testing.assert_array_equal(second["familiar"], second["never"])
    policies["familiar"].reset([1], [0])
    np.testing.assert_array_equal(decided(1, known)["familiar"], decided(0, known)["always"])


def test_familiar_is_what_is_as_near_as_some_pairs_of_demonstrations(fitted, demonstrations):
    scores = first_frame_scores(fitted.fitted().table)
    assert len(scores) == len(demonstrations) * (len(demonstrations) - 1) // 2 and scores.min() > 0
    keys = fitted.fitted().table.keys
    first = np.flatnonzero(fitted.fitted().table.demonstrated.frame == 0)
    assert scores[0] == pytest.approx(1 - keys[first[0]] @ keys[first[1]], abs=1e-6)
    limits = [familiar_limit(scores, share) for share in (0, 0.5, 1)]
    assert limits == pytest.approx([scores.min(), np.median(scores), scores.max()])
    assert familiar_limit(scores[:0], 0.2) == np.inf


def count_calls(monkeypatch, name):
    """A list that grows with each call of a function of alt_plus.fitted."""
    calls, real = [], getattr(alt_plus_fitted, name)
    monkeypatch.setattr(alt_plus_fitted, name, lambda *args: calls.append(name) or real(*args))
    return calls


@pytest.mark.parametrize(
    ("changes", "expected"), [({}, []), ({"familiar": 0.2}, ["limit"]), ({"shrinkage_unit": "miss"}, ["miss"])]
)
def test_a_policy_works_out_what_its_settings_ask_for_once(
    changes, expected, make_policy, fitted, observe, demonstrations, tmp_path, monkeypatch
):
    limits, misses = (count_calls(monkeypatch, name) for name in ("familiar_limit", "usual_miss"))
    fitted.save(tmp_path)
    policy = make_policy("alt_plus", train_steps=20, **changes)
    policy.load(tmp_path)
    for frame in (3, 5):
        decide(policy, observe(demonstrations[0], [frame], 1))
    assert ["limit"] * len(limits) + ["miss"] * len(misses) == expected


def test_it_flags_what_it_never_saw_and_holds(make_policy, fitted, observe, demonstrations, tmp_path):
    fitted.save(tmp_path)
    holding = make_policy("alt_plus", train_steps=20, when_ood="hold", gamma=0.9)
    holding.load(tmp_path)
    seen = observe(demonstrations[0], [4], 1)
    assert not decide(holding, seen).is_ood[0]
    decision = decide(holding, noise_like(seen))
    assert decision.is_ood[0]
    np.testing.assert_array_equal(decision.actions[0, :, :9], np.tile(seen.agent_pos[0, -1, :9], (8, 1)))


def test_a_followed_demonstration_is_corrected_as_well(fit_policy, make_policy, observe, demonstrations, tmp_path):
    settings = {"train_steps": 20, "lookup": "monotone", "first_key": "whitened", "score_against": "all"}
    policy, other = fit_policy("alt_plus", **settings), make_policy("alt_plus", **settings)
    policy.save(tmp_path)
    other.load(tmp_path)
    demo = demonstrations[2]
    for one in (policy, other):
        one.reset([0], [0])
        frames = [int(one.act(observe(demo, [frame], 1), [0]).matches[0, 0, 1]) for frame in (0, 8, 8)]
        # The second look at frame 8 finds a later one: no frame is found for ever.
        assert frames[:2] == [0, 8] and frames[2] >= 12
    seen = between(observe, demonstrations)
    first, again = decide(policy, seen), decide(other, seen)
    np.testing.assert_array_equal(first.actions, again.actions)
    assert policy.footprint() == other.footprint() and policy.footprint().table > 0


def test_a_first_key_of_alt_plus_needs_a_demonstration_to_follow(make_policy):
    with pytest.raises(ConfigError, match="set lookup = 'monotone'"):
        make_policy("alt_plus", lookup="nearest")
    with pytest.raises(ConfigError, match="set first_key = 'whitened'"):
        make_policy("alt_plus", first_key="learned")


def test_where_a_demonstration_began_its_chunk_is_replayed_uncorrected(fit_policy, observe, demonstrations):
    policy = fit_policy("alt_plus", train_steps=20, known_until=0.0)
    fitted = policy.fitted()

    def corrected(ambiguity):
        """Whether an episode that begins so, and goes on elsewhere, is corrected."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FirstKey, "ambiguity", lambda self, key: ambiguity)
            policy.reset([0], [0])
            policy.act(observe(demonstrations[2], [0], 1), [0])
        decision = policy.act(between(observe, demonstrations), [0])
        episode, frame = decision.matches[0, 0]
        row = np.flatnonzero(
            (fitted.table.demonstrated.episode == episode) & (fitted.table.demonstrated.frame == frame)
        )
        return not np.array_equal(decision.actions[0], fitted.table.demonstrated.chunk(row, 8)[0])

    assert not corrected(0.2) and corrected(0.21)


def test_a_known_episode_is_corrected_once_the_object_has_moved(fit_policy, observe, demonstrations, monkeypatch):
    """What was known at the begin is not known any more once the network sees the object elsewhere."""
    policy = fit_policy("alt_plus", train_steps=20, known=1.0, known_until=0.3)
    shown, seen = policy.fitted().table.demonstrated, between(observe, demonstrations)
    policy.reset([0], [0])

    def corrected(moved):
        monkeypatch.setattr(alt_plus_policy, "largest_move", lambda change, *_: np.full(len(change), moved, np.float32))
        decision = policy.act(seen, [0])
        episode, frame = decision.matches[0, 0]
        row = np.flatnonzero((shown.episode == episode) & (shown.frame == frame))
        return not np.array_equal(decision.actions[0], shown.chunk(row, 8)[0])

    # The first decision is not asked: there the arm stands elsewhere, and nothing has been moved.
    assert [corrected(moved) for moved in (0.9, 0.29, 0.3, 0.1)] == [False, False, True, True]
    policy.reset([0], [0])
    assert not corrected(0.1)


def test_an_episode_that_is_not_known_looks_among_all_frames(
    fit_policy, make_policy, observe, demonstrations, tmp_path, monkeypatch
):
    """A known one goes on in its demonstration; once its object has been moved, it looks among all frames, too."""
    policy = fit_policy("alt_plus", train_steps=20, margin=2.0)
    policy.save(tmp_path)
    nearest = make_policy("alt_plus", train_steps=20, **alt_plus_config.NEAREST)
    nearest.load(tmp_path)
    images = [observe(demonstrations[d], [frame], 1) for d, frame in ((2, 0), (2, 8), (1, 3), (2, 8))]

    def played(one, ambiguity, moved=0.0):
        monkeypatch.setattr(FirstKey, "ambiguity", lambda self, key: ambiguity)
        monkeypatch.setattr(alt_plus_policy, "largest_move", lambda change, *_: np.full(len(change), moved, np.float32))
        one.reset([0], [0])
        return [one.act(seen, [0]) for seen in images]

    expected = played(nearest, 0.0)
    own, other_demo = demonstrations[2].index, demonstrations[1].index
    assert [tuple(d.matches[0, 0]) for d in expected] == [(own, 0), (own, 8), (other_demo, 3), (own, 8)]
    for one, other in zip(played(policy, 0.21), expected, strict=True):
        np.testing.assert_array_equal(one.matches, other.matches)
        np.testing.assert_array_equal(one.actions, other.actions)
    followed = [tuple(d.matches[0, 0]) for d in played(policy, 0.2)]
    assert followed[:2] == [(own, 0), (own, 8)] and followed[3] != (own, 8)
    after_move = [tuple(d.matches[0, 0]) for d in played(policy, 0.2, moved=0.1)]
    assert after_move[2:] == [(other_demo, 3), (own, 8)]
