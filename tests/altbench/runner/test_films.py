"""Films of a run on the fake task: one after the other, in a grid, and as a recording for Rerun."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import av
import fakes
import numpy as np
import pytest
from running import run_bare

from altbench.core.errors import AltbenchError, ConfigError, ResultsError
from altbench.core.types import UInt8
from altbench.results import cells
from altbench.runner import film
from altbench.sinks.rerun import write_rerun
from altbench.sweeps.spec import SweepSpec

CELLS = ("fake/open_loop/n6/s0/recall/clean", "fake/random/n6/s0/recall/clean")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two policies, three episodes each."""
    fakes.register()
    root = tmp_path_factory.mktemp("films") / "run"
    values: dict[str, Any] = {
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "demonstrations": {"n": 6},
        "policies": [{"policy": name, "n": [6]} for name in ("open_loop", "random")],
        "evaluations": [{"split": "recall", "episodes": 3}],
        "measure": False,
    }
    run_bare(SweepSpec.parse({"name": "films", **values}, "films"), root)
    return root


@pytest.fixture(autouse=True)
def _no_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film.registry, "select_backend", lambda: "none")


def frames_of(path: Path) -> list[UInt8]:
    with av.open(str(path)) as opened:
        return [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]


def test_episodes_of_a_cell_follow_each_other(run: Path, tmp_path: Path) -> None:
    frames = frames_of(film.write_video(run, CELLS[0], 2, tmp_path / "film.mp4"))
    _, cell = film.find_cell(run, CELLS[0])
    records = cells.read_cell(cells.cell_path(run, cell.key)).episodes[:2]
    assert len(frames) == sum(len(record.trajectory) + 1 + 20 for record in records)


@pytest.mark.slow
def test_cells_stand_beside_each_other_with_a_row_per_episode(run: Path) -> None:
    path = film.write_grid(run, CELLS, 3)
    assert path.parent == run / "videos" / "grids"
    frames = frames_of(path)
    height, width = frames[0].shape[:2]
    assert width == 2 * (film.SCENE + 8) and height == 3 * (film.SCENE + 48 + 8)
    with film.shot(run, CELLS[1], count=3) as made:
        longest = max(len(record.trajectory) for record in made.recorded)
    assert len(frames) == longest + 1 + 20
    edges = [frames[-1][row * height // 3 + 1, column * width // 2 + 1] for row in range(3) for column in range(2)]
    names = [min((film.SUCCESS, film.FAILURE), key=lambda c: np.abs(np.array(c) - edge).sum()) for edge in edges]
    won = []
    for name in CELLS:
        with film.shot(run, name, count=3) as made:
            won.append([record.success for record in made.recorded])
    assert [name == film.SUCCESS for name in names] == [own[i] for i in range(3) for own in won]


def test_episodes_of_one_cell_make_a_square(run: Path, tmp_path: Path) -> None:
    frame = frames_of(film.write_grid(run, CELLS[:1], 3, tmp_path / "grid.mp4"))[0]
    assert frame.shape[1] == 2 * (film.SCENE + 8) and not frame[-40:, -40:].max() > 40, "the last place is empty"


def test_a_film_of_an_episode_that_was_not_played_is_refused(run: Path) -> None:
    with pytest.raises(ResultsError, match="has the episodes 0 to 2, not 7"), film.shot(run, CELLS[0], first=7):
        pass


def test_a_replay_that_ends_otherwise_is_refused(run: Path) -> None:
    import dataclasses

    with film.shot(run, CELLS[0]) as made:
        (record,) = made.recorded
        with pytest.raises(AltbenchError, match="does not end as recorded"):
            list(made.moments(dataclasses.replace(record, success=not record.success)))


def test_a_replay_sees_what_the_policy_saw(run: Path) -> None:
    with film.shot(run, CELLS[0]) as made:
        (record,) = made.recorded
        moments = list(made.moments(record))
    assert [m.step for m in moments] == list(range(len(record.trajectory) + 1))
    assert set(moments[0].seen) == {"agentview", "wrist"} and moments[0].seen["agentview"].shape == (32, 32, 3)
    np.testing.assert_allclose(moments[-1].agent_pos, record.trajectory[-1].agent_pos, atol=1e-6)
    assert moments[0].decision == record.decisions[0]


def test_without_rerun_the_error_names_the_extra(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("altbench.sinks.rerun.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'altbench\[rerun\]'"):
        write_rerun(run, CELLS[0], 0)


def test_a_recording_holds_cameras_arms_chunks_matches_and_scores(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun.dataframe", reason="needs altbench[rerun], whose rerun-sdk can read what it wrote")
    path = write_rerun(run, CELLS[0], 1, tmp_path / "episode.rrd")
    import rerun.dataframe as rrd

    recording = rrd.load_recording(path)
    paths = {str(column.entity_path) for column in recording.schema().component_columns()}
    arm = "/world/arm0/"
    wanted = {"/scene", "/cameras/agentview", "/cameras/wrist", f"{arm}gripper", f"{arm}way", f"{arm}chunk", "/about"}
    assert wanted <= paths
    with film.shot(run, CELLS[0], first=1) as made:
        (record,) = made.recorded
    if record.decisions[0].matches:
        assert {f"{arm}matches", "/matches", "/score/similarity"} <= paths
    steps = recording.view(index="step", contents=f"{arm}gripper").select().read_all()
    assert steps.num_rows == len(record.trajectory) + 1
    assert "rerun" in sys.modules
