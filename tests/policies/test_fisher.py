"""Fisher: which demonstration by weighted pixels, which frame by the nearest pose."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from altbench.core.demonstration import Demonstration
from altbench.core.errors import CheckpointError, ConfigError
from altbench.core.policy import FitContext, Observation
from altbench.core.task import InitialState
from altbench_policies.fisher.colours import map_colours, pooled
from altbench_policies.fisher.registration import miss, register, sample
from altbench_policies.fisher.weights import arm_noise, fisher_weights

SIDE, STEPS = 32, 30
PLACES = ((20, 4), (20, 12), (20, 20), (26, 8), (26, 16), (26, 24))
"""Where the object stands in each demonstration: row and column of its corner."""


def scene(place, arm, noise=0.0):
    """A view of a textured room with a small object, and a large arm whose place is `arm` plus `noise`."""
    rows, columns = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
    image = np.stack([100 + 30 * np.sin(rows / (2 + c)) + 30 * np.cos(columns / (3 - c)) for c in range(3)], axis=-1)
    row, column = place
    image[row : row + 3, column : column + 3] = (220, 30, 30)
    edge = arm + noise
    image[2:14] += 90 * np.clip(edge - columns[2:14, :, None], 0, 1)
    return np.clip(image, 0, 255).astype(np.uint8)


def shown(index, place, noise, light=1.0):
    """A demonstration: the arm moves right for 20 frames from where its noise put it, then stays."""
    arms = 6 + noise * np.maximum(0, 1 - np.arange(STEPS) / 10) + np.minimum(np.arange(STEPS), 20)
    film = np.stack([scene(place, arm) for arm in arms])
    film = np.clip(film * light, 0, 255).astype(np.uint8)
    pose = np.zeros((STEPS, 11), np.float32)
    pose[:, 0] = arms / 100
    actions = np.zeros((STEPS, 10), np.float32)
    actions[:, 0], actions[:, 1] = index, np.arange(STEPS)
    start = InitialState(np.zeros(4), np.zeros(2))
    pixels = {"agentview": film, "wrist": film[:, ::-1].copy()}
    return Demonstration(index, pixels, pose, actions, np.zeros((STEPS, 4)), start)


def demonstrations(count=6, light=lambda i: 1.0):
    noise = np.random.default_rng(0).uniform(-2, 2, len(PLACES))
    return [shown(10 + i, PLACES[i], noise[i], light(i)) for i in range(count)]


def fitted(make_policy, shown_to_it, **settings):
    policy = make_policy("fisher", **{"cameras": ("agentview",), **settings})
    policy.fit(shown_to_it, FitContext(0))
    return policy


def look(image, arm=6.0):
    """The observation of one image, the arm at `arm`."""
    pose = np.zeros((1, 1, 11), np.float32)
    pose[..., 0] = arm / 100
    return Observation({"agentview": image[None, None], "wrist": image[None, None]}, pose)


def first(policy, image, arm=6.0):
    policy.reset([0], [0])
    return policy.act(look(image, arm), [0])


def test_a_pixel_counts_by_what_differs_between_demonstrations_over_what_differs_within_one():
    rng = np.random.default_rng(0)
    windows = np.zeros((8, 10, 3), np.float32)
    windows[..., 0] = rng.normal(0, 1, (8, 1))  # differs between them alone
    windows[..., 1] = rng.normal(0, 1, (8, 10))  # differs within each as well
    weights = fisher_weights(windows, 1e-4)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 100 * weights[1] > 0
    assert weights[2] == 0


def test_of_one_demonstration_every_pixel_counts_by_how_little_it_moves():
    windows = np.zeros((1, 10, 2), np.float32)
    windows[0, :, 1] = np.arange(10)
    weights = fisher_weights(windows, 1e-2)
    assert np.isfinite(weights).all()
    assert weights[0] > weights[1] > 0


def test_arm_noise_leaves_out_what_stays_where_it_is():
    windows = np.zeros((5, 10, 2), np.float32)
    windows[2, :, 0] = 0.5  # an object
    windows[3, :, 1] = 0.5 * (np.arange(10) < 2)  # an arm that moves on
    noise = arm_noise(windows)
    assert not noise[:, 0].any()
    assert noise[3, 1] == pytest.approx(0.5)


@pytest.mark.parametrize("noise", [-1.5, -0.7, 0.9, 1.5])
def test_the_object_tells_the_demonstration_whatever_the_arms_noise(make_policy, noise):
    policy = fitted(make_policy, demonstrations())
    for i, place in enumerate(PLACES):
        decision = first(policy, scene(place, 6, noise), 6 + noise)
        assert decision.matches[0, 0].tolist() == [10 + i, 0]
        assert not decision.is_ood[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: np.clip(0.6 * image + 60, 0, 255),
        lambda image: image @ np.array([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]]),
        lambda image: np.roll(image, 3, axis=1),
    ],
    ids=["contrast", "saturation", "shift"],
)
def test_light_and_view_may_change(make_policy, change):
    policy = fitted(make_policy, demonstrations())
    found = [first(policy, change(scene(place, 6, 1.0)).astype(np.uint8)).matches[0, 0, 0] for place in PLACES]
    assert found == [10 + i for i in range(len(PLACES))]


def test_lighting_that_differs_between_demonstrations_is_not_taken_for_what_differs(make_policy):
    bright = demonstrations(light=lambda i: 0.7 + 0.1 * i)
    policy = fitted(make_policy, bright)
    found = [first(policy, scene(place, 6, 1.0)).matches[0, 0, 0] for place in PLACES]
    assert found == [10 + i for i in range(len(PLACES))]


def test_an_object_where_none_was_shown_is_flagged_and_a_photograph_too(make_policy):
    policy = fitted(make_policy, demonstrations())
    elsewhere = first(policy, scene((23, 20), 6))
    photograph = first(policy, np.random.default_rng(1).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8))
    for decision in (elsewhere, photograph):
        assert decision.is_ood[0]
        assert decision.ood_score[0] > decision.ood_threshold[0]


def test_it_follows_the_pose_within_reach_and_always_comes_to_the_end(make_policy):
    demos = demonstrations()
    policy = fitted(make_policy, demos)
    policy.reset([0], [0])
    frames = []
    for arm in (6, 12, 16, 16, 16, 16, 16, 16, 16):  # the arm lags two frames, then is stuck
        decision = policy.act(look(scene(PLACES[1], arm), arm), [0])
        frames.append(int(decision.matches[0, 0, 1]))
    assert frames[:2] == [0, 6]
    assert (np.diff(frames[:4]) >= 4).all()
    assert frames[-1] == STEPS - 1
    np.testing.assert_array_equal(decision.actions[0], np.repeat(demos[1].actions[-1:], 8, axis=0))


@pytest.mark.parametrize(("margin", "follows"), [(0.7, 12), (0.0, 10)])
def test_it_changes_its_mind_if_the_object_is_moved(make_policy, margin, follows):
    policy = fitted(make_policy, demonstrations(), margin=margin)
    assert first(policy, scene(PLACES[0], 6)).matches[0, 0, 0] == 10
    moved = policy.act(look(scene(PLACES[2], 14), 14), [0])
    assert moved.matches[0, 0, 0] == follows
    np.testing.assert_array_equal(moved.actions[0, 0, 0], follows)


def test_it_stays_with_a_demonstration_that_fits(make_policy):
    policy = fitted(make_policy, demonstrations())
    first(policy, scene(PLACES[4], 6, 1.0))
    for arm in (14, 22, 26, 26):
        assert policy.act(look(scene(PLACES[4], arm), arm), [0]).matches[0, 0, 0] == 14


@pytest.mark.parametrize("count", [1, 2])
def test_few_demonstrations_choose_without_flags(make_policy, count):
    policy = fitted(make_policy, demonstrations(count))
    decision = first(policy, scene(PLACES[0], 6, 1.5))
    assert decision.matches[0, 0, 0] == 10
    assert np.isfinite(decision.ood_score).all()
    assert np.isinf(decision.ood_threshold).all()
    assert not decision.is_ood.any()


def test_several_demonstrations_of_one_pose_are_as_good_as_one(make_policy):
    demos = demonstrations()
    again = [shown(20 + i, place, 1.0 - 0.3 * i) for i, place in enumerate(PLACES)]
    policy = fitted(make_policy, [*demos, *again])
    found = [int(first(policy, scene(place, 6, 0.5)).matches[0, 0, 0]) % 10 for place in PLACES]
    assert found == list(range(len(PLACES)))


def test_a_checkpoint_of_other_settings_is_refused(make_policy, tmp_path):
    fitted(make_policy, demonstrations()).save(tmp_path)
    for settings in ({"pool": 2}, {"phases": 2}, {"cameras": ("agentview", "wrist")}):
        with pytest.raises(CheckpointError, match=r"another configuration|fit the policy again"):
            make_policy("fisher", **{"cameras": ("agentview",), **settings}).load(tmp_path)


def test_settings_that_leave_nothing_to_compare_are_refused(make_policy):
    with pytest.raises(ConfigError, match="regularisation"):
        make_policy("fisher", regularisation=0)
    with pytest.raises(ConfigError, match="pool: expected at most 32"):
        fitted(make_policy, demonstrations(), pool=SIDE + 1)


@pytest.mark.parametrize("turn", [0.0, 0.15])
def test_registration_finds_how_a_view_was_moved(turn):
    picture = scene((20, 12), 6).mean(axis=2).astype(np.float32) / 255
    big = np.kron(picture, np.ones((2, 2), np.float32))
    wanted = np.array([[np.cos(turn), -np.sin(turn), 2], [np.sin(turn), np.cos(turn), -3]], np.float32)
    seen = sample(big, wanted, big.shape)
    seen = np.where(np.isnan(seen), 0.5, 0.7 * seen + 0.1)
    trust = np.ones_like(big)
    found = register(seen.astype(np.float32), big, trust)
    assert miss(big, trust, sample(seen, found, big.shape)) < 0.2 * miss(big, trust, seen)


def test_colours_are_mapped_to_the_reference_in_spite_of_noise():
    reference = scene((20, 12), 6).astype(np.float32) / 255
    trust = np.ones(reference.shape[:2], np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, reference.shape)
    seen = (0.5 * reference + 0.2 + noise).astype(np.float32)
    mapped = map_colours(seen[None], reference, trust)[0]
    assert np.abs(pooled(mapped - reference, 4)).mean() < 0.04


def test_images_of_one_colour_give_finite_scores(make_policy):
    blank = [
        dataclasses.replace(d, pixels={c: np.zeros_like(p) for c, p in d.pixels.items()}) for d in demonstrations(3)
    ]
    policy = fitted(make_policy, blank)
    decision = first(policy, np.zeros((SIDE, SIDE, 3), np.uint8))
    assert np.isfinite(decision.ood_score).all()
    assert np.isfinite(decision.actions).all()
