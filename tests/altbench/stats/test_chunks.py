"""Recalled chunks: a copier's all, a stranger's none, and few of another demonstration's."""

from __future__ import annotations

import numpy as np
import pytest

from altbench.stats.chunks import LENGTH, PASSED, ChunkLibrary, whole_chunks


def paths(count: int, seed: int, noise: float = 0.01) -> list[np.ndarray]:
    """Return paths (40, 3) from one place to many, each with a bend of its own."""
    rng, time = np.random.default_rng(seed), np.linspace(0, 1, 40)[:, None]
    goals, bends = rng.uniform(-0.1, 0.1, (count, 3)), rng.normal(0, noise, (count, 3))
    return [time * goal + np.sin(np.pi * time) * bend for goal, bend in zip(goals, bends, strict=True)]


def test_whoever_repeats_training_chunks_in_any_order_recalls_all_of_them() -> None:
    shown = paths(20, 0)
    library = ChunkLibrary.of(shown)
    mixed = np.concatenate([shown[3][8:16], shown[7][16:24], shown[1][:8]])
    assert library.distances(mixed).max() < 1e-12
    assert library.recalled([library.distances(mixed)] * 30, range(30)).value == 1


def test_another_demonstration_recalls_about_what_the_threshold_lets_pass() -> None:
    library = ChunkLibrary.of(paths(40, 0))
    found = library.recalled([library.distances(path) for path in paths(200, 1)], range(200))
    assert found.value is not None and found.value < 3 * PASSED
    assert found.low is not None and found.low <= PASSED + 0.03


def test_who_holds_still_elsewhere_recalls_nothing_though_something_is_nearest() -> None:
    library = ChunkLibrary.of(paths(20, 0))
    held = np.tile([0.3, 0.0, 0.2], (24, 1))
    assert library.recalled([library.distances(held)] * 30, range(30)).value == 0
    assert np.isfinite(library.distances(held)).all()


def test_chunks_are_of_the_cluster_of_their_episode() -> None:
    library = ChunkLibrary.of(paths(20, 0))
    far, near = np.full(4, 1.0), np.zeros(4)
    episodes = [near] * 10 + [far] * 10
    alone, few = (library.recalled(episodes, clusters) for clusters in (range(20), [i // 5 for i in range(20)]))
    assert alone.value == few.value == 0.5 and alone.low is not None and few.low is not None
    assert few.low < 0.2 < 0.28 < alone.low


def test_a_rest_shorter_than_a_chunk_is_left_out_and_nothing_has_no_rate() -> None:
    assert whole_chunks(np.zeros((2 * LENGTH + 3, 3))).shape == (2, LENGTH, 3)
    library = ChunkLibrary.of(paths(3, 0))
    assert library.recalled([library.distances(np.zeros((5, 3)))], [0]).value is None
    with pytest.raises(ValueError, match="at least two demonstrations, got 1"):
        ChunkLibrary.of(paths(1, 0))
