"""Initial poses as clusters: which episodes share one, and what that does to tests."""

from __future__ import annotations

import dataclasses

import fakes
import numpy as np
import pandas as pd
import pytest

from altbench.dataset.subsets import collected_order, subset
from altbench.stats.clustering import initial_poses
from altbench.stats.paired import family_tests, paired_tests
from altbench.stats.rates import crossed_rate, success_rate, wilson_interval


def episodes(split: str, n: int, count: int, won: object = True, task: str = "Lift") -> pd.DataFrame:
    frame = pd.DataFrame({"task": task, "split": split, "n": n, "episode": range(count), "train_seed": 0})
    return frame.assign(seed=frame["episode"] + 7, status="ok", success=won, spec_json='{"seed": 0}')


@pytest.mark.parametrize(
    ("split", "n", "poses"),
    [
        ("recall", 10, 10),
        ("recall", 30, 30),
        ("recall", 60, 30),
        ("replay", 120, 30),
        ("recall+move10by0.05", 30, 30),
        ("interpolate", 30, 20),
        ("uniform", 30, 100),
    ],
)
def test_a_split_has_as_many_poses_as_it_repeats(split: str, n: int, poses: int) -> None:
    assert initial_poses(episodes(split, n, 100)).nunique() == poses


def test_two_stacked_cubes_have_fewer_midpoints() -> None:
    assert initial_poses(episodes("interpolate", 30, 100, task="Stack")).nunique() == 18


def test_more_demonstrations_of_the_same_poses_are_no_more_poses() -> None:
    both = pd.concat([episodes("recall", n, 60) for n in (30, 120)], ignore_index=True)
    assert initial_poses(both).nunique() == 30


def test_an_unknown_task_and_a_bare_frame_have_a_pose_per_episode() -> None:
    unknown = episodes("recall", 10, 40, task="Nowhere")
    assert initial_poses(unknown).nunique() == initial_poses(unknown[["seed", "episode"]]).nunique() == 40
    assert initial_poses(unknown.head(0)).empty


@pytest.mark.parametrize("seed", [0, 3, 11])
@pytest.mark.parametrize(
    ("collected", "n"),
    [(10, 4), (10, 10), (30, 10), (30, 30), (40, 10), (40, 30), (40, 35), (40, 40), (60, 10), (60, 40), (60, 60)],
)
def test_the_order_of_a_collected_file_is_that_of_its_demonstrations(collected: int, n: int, seed: int) -> None:
    one = fakes.make_demonstrations(1)[0]
    chosen = subset([dataclasses.replace(one, index=i, grid_index=i % 30) for i in range(collected)], n, 30, seed)
    assert collected_order(n, collected, 30, seed) == tuple(d.index for d in chosen)
    shown = episodes("recall", n, 100).assign(spec_json=f'{{"seed": {seed}}}', collected=collected)
    poses = [chosen[e % n].grid_index for e in range(100)]
    found = pd.DataFrame({"found": initial_poses(shown), "pose": poses}).drop_duplicates()
    assert found["found"].is_unique and found["pose"].is_unique and len(found) == len(set(poses))


def test_without_its_length_a_file_ends_with_the_largest_n() -> None:
    known = episodes("recall", 40, 80).assign(collected=40)
    assert (initial_poses(known) == initial_poses(known.drop(columns="collected"))).all()
    longer = initial_poses(known.assign(collected=60))
    assert not (initial_poses(known) == longer).all()


def test_failures_at_one_pose_say_less_than_failures_anywhere() -> None:
    here = success_rate(episodes("interpolate", 30, 100, [i % 20 != 3 for i in range(100)]))
    anywhere = success_rate(episodes("interpolate", 30, 100, [i not in (3, 24, 45, 66, 87) for i in range(100)]))
    assert here.value == anywhere.value == 0.95
    assert here.low is not None and anywhere.low is not None and here.low < 0.8 < anywhere.low
    uniform = success_rate(episodes("uniform", 30, 100, [i % 20 != 3 for i in range(100)]))
    assert (uniform.low, uniform.high) == wilson_interval(95, 100)


def test_no_p_is_below_what_the_number_of_poses_allows() -> None:
    good, bad = episodes("interpolate", 30, 100), episodes("interpolate", 30, 100, won=False)
    (test,) = paired_tests(good, [bad])
    assert (test.pairs, test.gain, test.clusters) == (100, 100, 20)
    assert test.p == pytest.approx(2 * 0.5**20)
    (alone,) = paired_tests(episodes("uniform", 30, 100), [episodes("uniform", 30, 100, won=False)])
    assert alone.clusters == 100 and alone.p < 1e-25


def test_few_families_say_less_than_many_episodes() -> None:
    """Two of 10 families fail always: 400 episodes, and no more than 10 draws of a family."""
    parts = [episodes("uniform", 30, 40, won=k > 1).assign(perturbation=f"f{k}") for k in range(10)]
    frame = pd.concat(parts, ignore_index=True)
    crossed, plain = crossed_rate(frame, "perturbation"), success_rate(frame)
    assert crossed.value == plain.value == 0.8
    assert crossed.low is not None and plain.low is not None and crossed.low < 0.55 < plain.low
    other = frame.assign(success=True)
    (test,) = family_tests(other, [frame], "perturbation")
    assert (test.gain, test.clusters, test.p) == (80, 10, 0.5)
    (alone,) = paired_tests(other, [frame], ("train_seed", "perturbation"))
    assert alone.p < 1e-9


def test_a_crossed_rate_tells_what_is_missing() -> None:
    frame = episodes("uniform", 30, 40).assign(perturbation="a")
    lacking = frame.assign(status=frame["status"].mask(frame["episode"] < 3, "infra_error"))
    assert crossed_rate(frame, "perturbation").missing == 0
    found = crossed_rate(lacking, "perturbation")
    assert (found.episodes, found.missing) == (37, success_rate(lacking).missing) == (37, 3)
    assert crossed_rate(lacking.head(3), "perturbation").missing == 3


@pytest.mark.slow
def test_two_way_intervals_cover_the_truth() -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(150):
        chance = np.clip(0.7 + rng.normal(0, 0.12, (12, 1)) + rng.normal(0, 0.08, (1, 40)), 0, 1)
        frame = pd.concat(
            [episodes("uniform", 30, 40, rng.random(40) < chance[k]).assign(perturbation=k) for k in range(12)]
        )
        found = crossed_rate(frame.reset_index(drop=True), "perturbation")
        assert found.low is not None and found.high is not None
        hits += found.low <= 0.7 <= found.high
    assert hits / 150 > 0.9
