"""The command line on the real task, in real worker processes: run, run again, kill -9, resume, film, compare."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from altbench.results import frames as results
from altbench.results import measures

pytestmark = [pytest.mark.sim, pytest.mark.slow, pytest.mark.timeout(600)]

SWEEP = """
name = "tiny"
tasks = ["Lift"]
demonstrations = { n = 3 }
measure = { decisions = 3, warmup = 1 }

[[policies]]
policy = "alt"
n = [3]
config = { train_steps = 4 }

[[policies]]
policy = "alt"
label = "alt-hold"
n = [3]
config = { train_steps = 4, when_ood = "hold" }

[[policies]]
policy = "random"
n = [3]

[[evaluations]]
split = "replay"
episodes = "each"

[[evaluations]]
split = "recall"
episodes = 2

[[evaluations]]
split = "recall"
episodes = 1
policies = ["alt-hold"]
perturbations = [{ name = "photograph", severities = [5] }]
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "altbench.cli", *map(str, arguments)]


def altbench(*arguments: object) -> str:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_for(root: Path, made: str) -> None:
    """Wait until a run in `root` has made a file like `made`: a busy machine may need long."""
    deadline = time.monotonic() + 120
    while not list(root.glob(made)) and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.fixture(scope="module")
def sweep_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "tiny.toml"
    path.write_text(SWEEP)
    return path


@pytest.fixture(scope="module")
def run(sweep_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run with two workers: its folder, and what it printed."""
    root = tmp_path_factory.mktemp("run") / "tiny"
    return root, altbench("run", sweep_file, "--out", root, "--workers", 2)


def test_it_trains_rolls_out_measures_and_tabulates(run: tuple[Path, str]) -> None:
    root, shown = run
    assert "lift/alt/n3/s0/fit" in shown and "alt-hold" in shown
    assert shown.count("/fit ") == 1, "alt and alt-hold share a checkpoint"
    for name in ("success", "latency", "memory", "failures", "ood"):
        assert {p.suffix for p in (root / "tables").glob(f"{name}.*")} >= {".csv", ".md", ".tex"}
    assert len(list((root / "figures").glob("*.png"))) == len(list((root / "figures").glob("*.svg"))) > 0
    assert not (root / ".progress").exists()


def test_the_wait_for_data_in_training_is_kept(run: tuple[Path, str]) -> None:
    shares = {record.label: record.data_share for record in measures.load_measures(run[0])}
    assert 0 < shares["alt"] < 1 and shares["alt"] == shares["alt-hold"]


def test_alt_replays_its_demonstrations_and_flags_a_photograph(run: tuple[Path, str]) -> None:
    episodes = results.load_episodes(run[0])
    replay = episodes[episodes["split"] == "replay"].set_index("label")
    assert replay.loc["alt", "success"].all() and not replay.loc["random", "success"].any()
    assert (replay.loc["alt", "max_ood_score"] < 1e-4).all()
    photograph = episodes[episodes["perturbation"] == "photograph"]
    assert photograph["flagged"].all() and not photograph["success"].any()


def test_started_again_it_finds_everything_done(run: tuple[Path, str], sweep_file: Path) -> None:
    root = run[0]
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file() and p.name != ".lock"}
    assert "0 cells run, 7 found finished" in altbench("run", sweep_file, "--out", root)
    after = {p: p.stat().st_mtime_ns for p in before}
    changed = [p.name for p in before if before[p] != after[p]]
    assert changed == []


def test_killed_at_any_moment_it_goes_on_to_the_same_tables(
    run: tuple[Path, str], sweep_file: Path, tmp_path: Path
) -> None:
    root = tmp_path / "killed"
    for made in ("demonstrations/*", "cells/*.parquet"):
        process = subprocess.Popen(
            command("run", sweep_file, "--out", root, "--workers", 1), stdout=subprocess.DEVNULL, start_new_session=True
        )
        wait_for(root, made)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    made = {p: p.stat().st_mtime_ns for name in ("cells", "checkpoints") for p in (root / name).rglob("*.[pt]*")}
    finished = {p: t for p, t in made.items() if ".training" not in str(p) and p.suffix in (".parquet", ".toml")}
    assert len(finished) >= 2, "a checkpoint and a cell"
    altbench("run", sweep_file, "--out", root, "--workers", 1)
    assert {p: p.stat().st_mtime_ns for p in finished} == finished, "what was finished is not made again"
    for table in ("success.csv", "success.md", "success.tex", "ood.csv", "failures.csv"):
        assert (root / "tables" / table).read_bytes() == (run[0] / "tables" / table).read_bytes()
    assert not list(root.rglob("*.tmp"))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A child begins with SIGINT's default even where these tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_says_how_to_go_on(sweep_file: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("run", sweep_file, "--out", tmp_path / "stopped"),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(tmp_path / "stopped", "demonstrations/*")
    os.killpg(process.pid, signal.SIGINT)
    shown, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on where this stopped" in shown and "Traceback" not in shown


def test_a_cell_can_be_filmed(run: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "film.mp4"
    altbench("video", "lift/alt-hold/n3/s0/recall/photograph-5", "--run", run[0], "--out", out)
    import av

    with av.open(str(out)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 80 + 1 + 20
    assert frames[0].std() > 10


def test_a_run_compared_with_itself_is_no_worse(run: tuple[Path, str]) -> None:
    assert "7 of 7 cells with the same outcome in every episode" in altbench("compare", run[0], run[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "quik"), "unknown sweep 'quik'; did you mean 'quick'"),
        (("run", "none.toml"), "no such file"),
        (("run", "quick", "--policy", "none.py:Mine"), "there is no file 'none.py'"),
        (("video", "lift/alt", "--run", "nowhere"), "not a run's folder"),
        (("demos", "info", "nothing.hdf5"), "nothing.hdf5"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
