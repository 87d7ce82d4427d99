"""Claims of blocks by files alone: each block is done once, whoever dies, whatever the clocks say."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from altbench.core.errors import AltbenchError
from altbench.engines import blocks, claims
from altbench.engines.blocks import Layout
from altbench.engines.claims import A_FOLDER, Claims, Taken, count_done, start_of
from altbench.system import lease

FIT = {"policy": "bc", "preset": "small", "config": {"train_steps": None}, "name": "fake/bc", "task": "Lift", "n": 1}


def layout(fits: int = 0, cells: int = 6, measurements: int = 0) -> Layout:
    """A plan of as many fits, each for its share of the cells, as far as blocks ask for it."""
    points = [SimpleNamespace(key=f"point{i}", trainable=True, **FIT) for i in range(fits)]
    played = [
        SimpleNamespace(key=f"cell{i}", checkpoint=points[i % fits] if fits else SimpleNamespace(key=""))
        for i in range(cells)
    ]
    plan: Any = SimpleNamespace(checkpoints=points, cells=played, measurements=[None] * measurements)
    return Layout(plan)


def take_all(own: Claims) -> list[int]:
    """Claim and finish whatever may be done, until there is nothing."""
    done = []
    while (taken := take(own)) is not None:
        own.finish(taken.number, {})
        done.append(taken.number)
    return done


def take(own: Claims) -> Taken | None:
    own._next_look = 0.0  # no pause in tests
    for _ in range(own.layout.total // A_FOLDER + 2):
        own._next_look = 0.0
        if (found := own.take()) is not None:
            return found
    return None


def test_two_workers_do_each_block_once(tmp_path: Path) -> None:
    first, second = (Claims(tmp_path, layout(cells=9), start) for start in (0, 5))
    got = []
    while (one := take(first)) and (other := take(second)):
        got += [one.number, other.number]
        first.finish(one.number, {})
        second.finish(other.number, {})
    got += [] if one is None else [one.number]
    assert sorted(got) == list(range(9))


def test_a_worker_begins_where_it_is_told_and_ends_when_all_is_done(tmp_path: Path) -> None:
    own = Claims(tmp_path, layout(), start=4)
    assert take_all(own) == [4, 5, 0, 1, 2, 3]
    assert own.is_over() and count_done(tmp_path) == 6


def test_the_longest_fit_is_the_first_block_and_cells_still_wait_for_their_own() -> None:
    own = layout(fits=3, cells=3)
    own.plan.checkpoints[1].n = 30
    assert own.fits == [1, 0, 2]
    assert [own.needs(3 + cell) for cell in range(3)] == [{1}, {0}, {2}]


def test_cells_wait_for_their_own_fits_and_measurements_for_all(tmp_path: Path) -> None:
    own, other = (Claims(tmp_path, layout(fits=2, cells=4, measurements=3)) for _ in range(2))
    fits = [take(own), take(own)]
    assert [one.number for one in fits if one] == [0, 1] and take(other) is None
    own.finish(0, {})
    assert [one.number for one in (take(other), take(other)) if one] == [2, 4], "the cells of the first fit alone"
    own.finish(1, {"failed": [["fit", "no"]]})
    assert [one.number for one in (take(own), take(own)) if one] == [3, 5] and take(own) is None
    assert own.fit_failed(3) and not own.fit_failed(2)
    for holder, number in ((other, 2), (other, 4), (own, 3)):
        holder.finish(number, {})
    assert take(own) is None, "one block of cells is still in work"
    own.finish(5, {})
    assert take(other) == Taken(6), "all measurements are one block, the last"


def test_what_a_worker_gives_back_is_taken_at_once(tmp_path: Path) -> None:
    first, second = (Claims(tmp_path, layout(cells=1)) for _ in range(2))
    assert take(first) == Taken(0) and take(second) is None
    first.release()
    assert take(second) == Taken(0, lost=0)


def dead_holder(path: Path, place: str) -> None:
    """Leave a record as a worker does that is killed: on a machine called `place`; empty: on this one."""
    holder = lease._own_holder()
    gone = replace(holder, token="dead", pid=2**22 + 1, place=place or holder.place, host=place or holder.host)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"%012d\n%s\n" % (7, json.dumps(gone.__dict__).encode()))


@pytest.mark.parametrize("skew_s", [0.0, 86400.0, -86400.0], ids=["same clock", "a day ahead", "a day behind"])
def test_a_lost_node_is_known_by_its_beat_and_never_by_a_clock(
    tmp_path: Path, skew_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "CHECK_S", 0.0)
    own = Claims(tmp_path, layout(cells=1), stale_s=0.3)
    path = tmp_path / "0000" / "0.lease"
    dead_holder(path, "elsewhere")
    os.utime(path, (time.time() + skew_s,) * 2)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - skew_s)
    assert take(own) is None, "it may be alive: its beat was seen once"
    time.sleep(0.4)
    assert take(own) == Taken(0, lost=1)


def test_a_node_whose_beat_changes_is_never_robbed(tmp_path: Path) -> None:
    own = Claims(tmp_path, layout(cells=1), stale_s=0.2)
    path = tmp_path / "0000" / "0.lease"
    dead_holder(path, "elsewhere")
    for beat in range(8):
        with path.open("r+b") as file:
            file.write(b"%012d" % beat)
        assert take(own) is None
        time.sleep(0.1)


def test_a_worker_killed_on_this_machine_is_known_at_once_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "CHECK_S", 0.0)
    for count in (1, 2, 3):
        own = Claims(tmp_path, layout(cells=1))
        dead_holder(tmp_path / "0000" / "0.lease", "")
        assert take(own) == Taken(0, lost=count)
        own.release()


def test_a_worker_that_was_suspended_for_long_stops_once_its_block_is_taken(tmp_path: Path) -> None:
    own = Claims(tmp_path, layout(cells=1), beat_s=0.05)
    assert take(own) == Taken(0)
    dead_holder(tmp_path / "0000" / "0.lease", "elsewhere")
    time.sleep(0.3)
    with pytest.raises(AltbenchError, match="taken over by process"):
        own.check()


def test_a_worker_never_marks_a_block_that_is_another_s(tmp_path: Path) -> None:
    own = Claims(tmp_path, layout(cells=1))
    assert take(own) == Taken(0)
    own.proof(0).check()
    dead_holder(tmp_path / "0000" / "0.lease", "elsewhere")
    with pytest.raises(AltbenchError, match="taken over by process"):
        own.finish(0, {})
    assert count_done(tmp_path) == 0


def test_a_big_run_has_few_files_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MOST_BLOCKS", 600)
    own = Claims(tmp_path, layout(cells=1500))
    assert (own.layout.size, own.layout.total) == (3, 500)
    assert sorted(take_all(own)) == list(range(500)) and own.is_over()
    assert max(len(list(part.iterdir())) for part in tmp_path.iterdir()) <= A_FOLDER
    assert not list(tmp_path.rglob("*.lease")), "a block that is done has a mark alone"


def test_a_full_disk_leaves_the_block_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (Claims(tmp_path, layout(cells=1)) for _ in range(2))
    assert take(first) == Taken(0)

    def full(path: Path, durable: bool = True) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(claims, "replacing", full)
        with pytest.raises(OSError, match="No space left"):
            first.finish(0, {})
    first.release()
    assert take(second) == Taken(0)


@pytest.mark.parametrize(("shard", "start"), [("1/4", 0), ("2/4", 25), ("4/4", 75), ("", 7)])
def test_a_shard_says_where_a_worker_begins(shard: str, start: int) -> None:
    assert start_of(shard, 100, 107) == start


@pytest.mark.parametrize("shard", ["0/4", "5/4", "2", "a/b", "1/0", "1/", "-1/2"])
def test_another_shard_is_refused_in_one_line(shard: str) -> None:
    with pytest.raises(AltbenchError, match="--shard: expected i/n"):
        start_of(shard, 100, 0)
