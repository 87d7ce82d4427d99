"""Pools of worker processes: made ready, and gone with the work that wanted them."""

from __future__ import annotations

import operator
import os
import signal
from pathlib import Path

import pytest

from altbench.core.errors import AltbenchError
from altbench.system.workers import finished, worker_pool


def test_a_worker_is_prepared_and_leaves_ctrl_c_to_its_parent(tmp_path: Path) -> None:
    with worker_pool(1, os.chdir, tmp_path) as pool:
        assert pool.schedule(os.getcwd).result() == str(tmp_path)
        assert pool.schedule(signal.getsignal, args=[signal.SIGINT]).result() == signal.SIG_IGN
        worker = pool.schedule(os.getpid).result()
    assert worker != os.getpid() and not Path(f"/proc/{worker}").exists()


def test_every_piece_of_work_is_told_once_it_is_done() -> None:
    assert sorted(finished(operator.truediv, 1, [1, 2, 3], workers=2)) == [1, 2, 3]


def test_what_a_worker_raises_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        list(finished(operator.truediv, 1, [0], workers=1))


def test_a_worker_that_dies_is_named_with_its_work() -> None:
    with pytest.raises(AltbenchError, match=r"died at number 3 \(exit code 3\); the same command continues"):
        list(finished(operator.call, os._exit, [3], workers=1))
