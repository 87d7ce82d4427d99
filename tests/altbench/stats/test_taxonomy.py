"""How lookups fail, on episodes made by hand."""

from __future__ import annotations

from altbench.stats.taxonomy import Lookups, count, has_deadlock

RIGHT = tuple((3, 8 * i) for i in range(6))


def episode(firsts: tuple[tuple[int, int], ...], success: bool = False, own: int | None = 3) -> Lookups:
    return Lookups(own, firsts, success)


def test_a_policy_that_retrieves_one_frame_for_ever_is_deadlocked() -> None:
    assert episode(((3, 33),) * 20).failure == "deadlock"
    assert has_deadlock(((3, 2), (3, 10), (3, 33), (3, 34), (3, 32), (3, 33)))


def test_three_in_a_row_four_frames_apart_or_another_demonstration_are_no_deadlock() -> None:
    assert not has_deadlock(((3, 33),) * 3)
    assert not has_deadlock(((3, 33), (3, 34), (3, 35), (3, 36)))
    assert not has_deadlock(((3, 33), (4, 33), (3, 33), (4, 33)))
    assert not has_deadlock(())


def test_the_first_kind_that_applies_counts() -> None:
    assert episode(((5, 0),) * 9).failure == "first lookup wrong"
    assert episode((*RIGHT, (5, 0), (5, 0), (5, 0), (5, 0))).failure == "jump"
    assert episode(RIGHT).failure == "right but failed"
    assert episode(RIGHT, success=True).failure is None
    assert episode(()).failure is None
    assert episode(((5, 8), (5, 8), (5, 8), (5, 8)), own=None).failure == "deadlock"


def test_deadlocks_are_told_beside_the_kinds() -> None:
    episodes = [
        *(episode(RIGHT, success=True) for _ in range(3)),
        episode(((5, 0), (3, 8)), success=True),
        episode(((5, 33),) * 9),
        episode(((3, 33),) * 9),
    ]
    found = count(episodes)
    assert (found.episodes, found.solved, found.right, found.right_solved, found.wrong_solved) == (6, 4, 4, 3, 1)
    assert found.failures == {"first lookup wrong": 1, "jump": 0, "deadlock": 1, "right but failed": 0}
    assert (found.deadlocks, found.deadlocked_successes) == (2, 0)
