"""What a run shows while it works."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from altbench.core.types import no_progress
from altbench.runner.heartbeat import Beat, TrainingClock
from altbench.runner.jobs import CollectJob
from altbench.runner.progress import Board, Pace

JOBS = [CollectJob("Lift"), CollectJob("Stack")]


def test_the_pace_is_learned_from_jobs_of_the_kind_whatever_their_length() -> None:
    pace = Pace()
    assert pace.expect(("fit", 100.0)) == 100.0
    pace.learn(("fit", 1000.0), 2000.0)
    pace.learn(("fit", 1.0), 2.0)
    assert pace.expect(("fit", 30.0)) == 60.0, "a long fit says nothing of the length of others"
    assert pace.expect(("cell", 10.0)) == 20.0, "other kinds tell how fast the machine is"
    pace.learn(("cell", 10.0), 5.0)
    assert pace.expect(("cell", 10.0)) == 5.0 and pace.expect(("fit", 30.0)) == 60.0


def test_the_time_left_goes_by_first_guesses_where_there_are_some() -> None:
    board = Board(Console(file=io.StringIO()))
    board.begin(())
    board.add(JOBS, {JOBS[0].key: 600.0})
    assert board.time_left() == f"{(600 + CollectJob.first_guess_s) / 60:.0f} min"


def test_without_a_terminal_each_job_is_one_line() -> None:
    text = io.StringIO()
    board = Board(Console(file=text, width=100), threads=2)
    board.begin(JOBS)
    for job in JOBS:
        board.started(job)
    board.progressed(JOBS[1], Beat(1, 2))
    board.finished(JOBS[0])
    board.retried(JOBS[1], "its worker died")
    board.failed(JOBS[1], "no disk")
    board.end()
    lines = text.getvalue().splitlines()
    assert lines[0].startswith("1/2  lift/demonstrations  0 s")
    assert lines[1:] == [
        "worker lost, going on with stack/demonstrations: its worker died",
        "failed stack/demonstrations: no disk",
    ]


def test_the_first_error_of_a_row_is_shown_with_its_log_and_no_markup_is_read(tmp_path: Path) -> None:
    text = io.StringIO()
    Board(Console(file=text, width=40)).tell("Traceback:\n  x[/red]\nValueError: no [idea]\n", JOBS[0], tmp_path)
    shown = f"first error in lift/demonstrations; all are in {tmp_path}"
    assert text.getvalue() == f"{shown}\nTraceback:\n  x[/red]\nValueError: no [idea]\n"


def test_on_a_terminal_jobs_in_flight_show_how_far_they_are() -> None:
    text = io.StringIO()
    board = Board(Console(file=text, width=120, force_terminal=True), threads=1)
    board.begin(JOBS)
    board.started(JOBS[0])
    board.progressed(JOBS[0], Beat(3, 30, {"loss": 0.5}))
    board.end()
    assert "lift/demonstrations" in text.getvalue() and "3/30" in text.getvalue() and "loss 0.5" in text.getvalue()
    assert "left" in text.getvalue()


def test_the_clock_of_a_fit_adds_up_its_pieces_and_keeps_the_last_wait_for_data(tmp_path: Path) -> None:
    first = TrainingClock(tmp_path / "seconds.txt", no_progress)
    first(1, 4, {"loss": 1.0})
    assert first.data_share is None
    first(2, 4, {"loss": 1.0, "data_share": 0.2})
    first.began -= 100
    first(3, 4, {"loss": 1.0, "data_share": 0.1})
    assert first.data_share == 0.1
    resumed = TrainingClock(tmp_path / "seconds.txt", no_progress)
    assert resumed.seconds() >= 100 and resumed.data_share is None


def test_the_time_left_counts_jobs_that_began_and_those_that_wait() -> None:
    board = Board(Console(file=io.StringIO()), threads=2)
    board.begin([CollectJob(str(number)) for number in range(5)])
    assert board.time_left() == "4 min", "5 x 90 s by two"
    board.started(CollectJob("3"))
    board.progressed(CollectJob("3"), Beat(1, 3))
    assert board.time_left() == f"{(4 + 2 / 3) * 90 / 2 / 60:.0f} min"
    for name in "01234":
        board.started(CollectJob(name))
        board.retried(CollectJob(name), "")
        board.failed(CollectJob(name), "no disk")
    assert board.time_left() == "0 s"


def test_a_big_run_shows_its_time_left_without_a_look_at_each_job(monkeypatch: pytest.MonkeyPatch) -> None:
    board, jobs = Board(Console(file=io.StringIO())), [CollectJob(str(number)) for number in range(500)]
    asked: list[str] = []
    expect = board.pace.expect
    monkeypatch.setattr(board.pace, "expect", lambda size: asked.append(size[0]) or expect(size))
    board.begin(jobs)
    for job in jobs:
        board.started(job)
        board.finished(job)
    assert len(asked) < 2 * len(jobs)
