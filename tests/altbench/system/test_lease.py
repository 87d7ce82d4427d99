"""Leases: one holder at a time, whatever dies, and no file system called another process."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from altbench.core.errors import AltbenchError
from altbench.system import lease as leases
from altbench.system.lease import Lease, LeaseHeld, Watch, claim, held

HOLDER = """
import sys, time
from pathlib import Path
from altbench.system.lease import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
RACER = """
import os, sys, time
from pathlib import Path
from altbench.system.lease import Watch, claim
path, inside, until = Path(sys.argv[1]), sys.argv[2], time.monotonic() + float(sys.argv[3])
watch, wins = Watch(stale_s=0.05), 0
while time.monotonic() < until:
    lease = claim(path, watch)
    if lease is None:
        continue
    os.close(os.open(inside, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # fails if another one is inside
    wins += 1
    os.unlink(inside)
    lease.release()
print(wins)
"""


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@contextmanager
def elsewhere(path: Path, beat_s: float | None = None) -> Iterator[None]:
    """A holder on another machine, whose clock is years off: its beat changes every `beat_s`, or not at all."""
    holder = replace(leases._own_holder(), place="another boot", host="far")
    assert leases._create(path, holder)
    os.utime(path, (1, 1))  # 1970
    ended = threading.Event()

    def beat() -> None:
        number = 0
        while not ended.wait(beat_s):
            number += 1
            with path.open("r+b") as file:
                file.write(b"%012d" % number)
            os.utime(path, (4e9, 4e9))  # 2096

    thread = threading.Thread(target=beat)
    if beat_s is not None:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if beat_s is not None:
            thread.join()


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_lease_is_free_again_after_its_block(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    for _ in range(3):
        with held(path):
            pass
    assert names(tmp_path) == ["lease"]


def test_a_second_holder_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with another_process(path) as other:
        with pytest.raises(LeaseHeld, match=rf"in use by process {other.pid} \(-c .*lease\)") as refused, held(path):
            pass
        assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
    assert names(tmp_path) == ["lease"]


def test_the_same_process_is_refused_as_well(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with held(path), pytest.raises(LeaseHeld, match=f"process {os.getpid()}"), held(path):
        pass


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "zombie"])
def test_what_a_killed_process_held_is_taken_at_once(tmp_path: Path, reaped: bool) -> None:
    path, began = tmp_path / "lease", time.monotonic()
    with another_process(path) as other:
        other.send_signal(signal.SIGKILL)
        if reaped:
            other.wait()
        else:
            os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        with held(path, stale_s=1000):
            assert time.monotonic() - began < 30


def test_a_process_number_that_another_process_has_now_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    assert leases._create(path, replace(leases._own_holder(), started="1"))
    with held(path, stale_s=1000):
        pass


def test_a_stopped_process_on_this_machine_still_holds(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with another_process(path) as other:
        other.send_signal(signal.SIGSTOP)
        with pytest.raises(LeaseHeld), held(path, stale_s=0.0):
            pass


def test_a_holder_elsewhere_is_judged_by_its_beat_alone(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with (
        elsewhere(path, beat_s=0.1),
        pytest.raises(LeaseHeld, match=r"process \d+ on far \("),
        held(path, stale_s=5),
    ):
        pass


def test_a_holder_elsewhere_that_does_not_beat_is_replaced_after_a_while(tmp_path: Path) -> None:
    path, began = tmp_path / "lease", time.monotonic()
    with elsewhere(path), held(path, stale_s=0.6):
        assert time.monotonic() - began > 0.6
        assert b"another boot" not in path.read_bytes()


def test_claiming_never_waits_and_needs_two_looks_at_a_holder_elsewhere(tmp_path: Path) -> None:
    path, watch = tmp_path / "lease", Watch(stale_s=0.2)
    with elsewhere(path):
        assert claim(path, watch) is None
        time.sleep(0.3)
        taken = claim(path, watch)
        assert taken is not None
        taken.release()


def test_waiting_for_a_holder_ends_with_its_release(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    first = claim(path, Watch())
    assert first is not None
    threading.Timer(0.5, first.release).start()
    with held(path, patience_s=30):
        pass


@pytest.mark.parametrize("content", [b"", b"process 12 (of an older version)\n", b"\xff" * 40])
def test_a_record_that_cannot_be_read_is_abandoned_after_a_moment(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "UNREADABLE_S", 0.2)
    (tmp_path / "lease").write_bytes(content)
    with held(tmp_path / "lease", stale_s=1000):
        pass


def test_only_one_of_two_takers_replaces_a_stale_record(tmp_path: Path) -> None:
    path, free = tmp_path / "lease", Watch(stale_s=-1)
    with elsewhere(path):
        old = leases._read(path)
        assert old is not None
        first, second = leases._own_holder(), leases._own_holder()
        assert leases._take_over(path, old, first, free)
        assert not leases._take_over(path, old, second, free)  # it saw `old`, too, but comes late
        found = leases._read(path)
    assert found is not None and found.token == first.token
    assert names(tmp_path) == ["lease"]


def test_a_taker_that_died_in_between_does_not_block_the_next(tmp_path: Path) -> None:
    path, free = tmp_path / "lease", Watch(stale_s=-1)
    with elsewhere(path):
        old = leases._read(path)
        assert old is not None
        dead = replace(leases._own_holder(), started="1")
        assert leases._create(path.with_name(f"lease.{old.token}.next"), dead)
        with held(path, stale_s=0.1):
            assert names(tmp_path) == ["lease"]
        assert free.stale_s == -1


def test_a_holder_that_beats_again_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with elsewhere(path):
        old = leases._read(path)
        assert old is not None
        with path.open("r+b") as file:
            file.write(b"%012d" % 1)
        assert not leases._take_over(path, old, leases._own_holder(), Watch(stale_s=-1))
    assert names(tmp_path) == ["lease"]


@pytest.mark.slow
def test_processes_that_race_for_a_lease_are_never_inside_together(tmp_path: Path) -> None:
    path, inside = tmp_path / "lease", tmp_path / "inside"
    with elsewhere(path):
        racers = [
            subprocess.Popen([sys.executable, "-c", RACER, path, inside, "3"], stdout=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        told = [racer.communicate(timeout=60)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0, 0]
    assert sum(map(int, told)) > 20


def test_a_lease_beats_and_notices_that_it_was_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    mine = claim(path, Watch(), beat_s=0.02)
    assert mine is not None
    before = path.read_bytes()
    until(lambda: path.read_bytes() != before)
    mine.check()
    path.unlink()
    with elsewhere(path):
        until(lambda: bool(mine._lost))
        theirs = path.read_bytes()
        with pytest.raises(AltbenchError, match=r"lease: taken over by process \d+ on far \(.*it stops here"):
            mine.check()
        mine.release()
        assert path.read_bytes() == theirs  # nothing of another's record is touched


def until(true: Any) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lease_whose_folder_is_gone_can_be_released(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with held(folder / "lease", beat_s=0.01):
        (folder / "lease").unlink()
        folder.rmdir()
        time.sleep(0.05)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.ESTALE, errno.ENOLCK])
def test_what_the_file_system_refuses_is_called_by_its_name(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(leases.os, "write", refuse)
    with pytest.raises(AltbenchError, match=os.strerror(number)) as refused, held(tmp_path / "lease"):
        pass
    assert "process" not in str(refused.value)
    assert names(tmp_path) == []


def test_a_file_system_without_hard_links_and_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    for module, name in ((leases.os, "link"), (fcntl, "flock"), (fcntl, "lockf")):
        monkeypatch.setattr(module, name, refuse)
    path = tmp_path / "lease"
    for _ in range(2):
        with held(path), pytest.raises(LeaseHeld), held(path):
            pass
    assert names(tmp_path) == ["lease"]


def test_a_repeated_answer_of_nfs_is_no_other_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def link_whose_answer_is_lost(source: Path, path: Path) -> None:
        link(source, path)
        link(source, path)

    monkeypatch.setattr(leases.os, "link", link_whose_answer_is_lost)
    with held(tmp_path / "lease"):
        pass


def test_a_record_says_who_holds_it(tmp_path: Path) -> None:
    with held(tmp_path / "lease") as lease:
        assert isinstance(lease, Lease)
        beat, record = (tmp_path / "lease").read_text().splitlines()
        assert beat == "0" * 12 and json.loads(record) == asdict(lease.holder)
