"""Rerun: an episode with its cameras, arms, chunks, matches and score, as an .rrd file."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError
from altbench.core.types import AGENT_POS_DIM, POSE_ACTION_DIM, Float32
from altbench.rollout.records import DecisionRecord, EpisodeRecord
from altbench.runner.film import Shot, shot
from altbench.system.files import file_name, replacing

STEP, TIME = "step", "time"
"""Rerun's timelines: control steps, and seconds of the simulation."""
DONE, AHEAD, MATCHED = (90, 90, 90), (0, 114, 178), (213, 94, 0)
"""Colours of the way that an arm has gone, of the chunk ahead, and of the nearest match."""


def write_rerun(root: Path, name: str, episode: int, out: Path | None = None) -> Path:
    """Play an episode of the cell called `name` again and write it as an .rrd file.

    `out`: None is RUN/rerun/CELL-epN.rrd. Return its path. ConfigError if rerun-sdk is
    missing; other errors as `runner.film.shot`.
    """
    if importlib.util.find_spec("rerun") is None:
        raise ConfigError(
            "--rerun needs the package rerun-sdk, which is missing; install it: pip install 'altbench[rerun]'"
        )
    import rerun

    with shot(root, name, first=episode) as made:
        (record,) = made.recorded
        target = out or root / "rerun" / f"{file_name(made.cell.name)}-ep{episode}.rrd"
        target.parent.mkdir(parents=True, exist_ok=True)
        # The same episode is the same recording, whenever it is written.
        identity = f"{made.cell.key[:16]}-{episode}"
        # rerun-sdk renamed this, the time and the numbers in 0.23, the first that needs NumPy 2.
        begin = rerun.RecordingStream if hasattr(rerun, "Scalars") else rerun.new_recording
        with replacing(target) as temporary, begin("altbench", recording_id=identity) as stream:
            stream.save(temporary)
            _write(stream, made, record)
            stream.flush()
            stream.disconnect()
    return target


def _write(stream, made: Shot, record: EpisodeRecord) -> None:  # type: ignore[no-untyped-def]
    """Log the episode, step by step."""
    import rerun

    task = registry.task(made.cell.checkpoint.task)
    demonstrations = {d.index: d for d in made.run.demonstrations(made.cell.checkpoint)}
    begins = [decision.step for decision in record.decisions]
    stream.log("world", rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    about = (
        f"{made.cell.name}, episode {record.episode}, seed {record.seed}: {'success' if record.success else 'failure'}"
    )
    stream.log("about", rerun.TextDocument(about), static=True)
    gone: list[Float32] = []
    for moment in made.moments(record):
        _set_time(stream, moment.step, moment.step / task.control_hz)
        stream.log("scene", rerun.Image(moment.scene).compress())
        for camera, image in moment.seen.items():
            stream.log(f"cameras/{camera}", rerun.Image(image))
        gone.append(np.asarray(moment.agent_pos, np.float32))
        _log_arms(stream, gone, task.arms)
        if moment.decision is not None and moment.step == moment.decision.step:
            end = next((step for step in begins if step > moment.step), len(record.trajectory))
            _log_decision(stream, moment.decision, record, end, task.arms, demonstrations)


def _set_time(stream, step: int, seconds: float) -> None:  # type: ignore[no-untyped-def]
    """Set both timelines."""
    if hasattr(stream, "set_time"):
        stream.set_time(STEP, sequence=step)
        stream.set_time(TIME, duration=seconds)
    else:
        stream.set_time_sequence(STEP, step)
        stream.set_time_seconds(TIME, seconds)


def _log_number(stream, path: str, value: float) -> None:  # type: ignore[no-untyped-def]
    """Log a number that a chart shows."""
    import rerun

    stream.log(path, rerun.Scalars([value]) if hasattr(rerun, "Scalars") else rerun.Scalar(value))


def _log_arms(stream, gone: list[Float32], arms: int) -> None:  # type: ignore[no-untyped-def]
    import rerun

    for arm in range(arms):
        way = np.stack([_position(pose, arm, AGENT_POS_DIM) for pose in gone])
        stream.log(f"world/arm{arm}/gripper", rerun.Points3D(way[-1:], radii=0.008))
        stream.log(f"world/arm{arm}/way", rerun.LineStrips3D([way], colors=[DONE]))


def _log_decision(  # type: ignore[no-untyped-def]
    stream,
    decision: DecisionRecord,
    record: EpisodeRecord,
    end: int,
    arms: int,
    demonstrations: dict[int, Demonstration],
) -> None:
    """Log a decision: its chunk, its matches with their similarities, score and flag."""
    import rerun

    chunk = np.array([step.action for step in record.trajectory[decision.step : end]], np.float32)
    for arm in range(arms):
        if len(chunk) and chunk.shape[1] == arms * POSE_ACTION_DIM:  # a delta is no place
            ahead = np.stack([_position(action, arm, POSE_ACTION_DIM) for action in chunk])
            stream.log(f"world/arm{arm}/chunk", rerun.LineStrips3D([ahead], colors=[AHEAD]))
        if decision.matches:
            ways = list(_matched(decision, demonstrations, arm, max(2, end - decision.step)))
            stream.log(f"world/arm{arm}/matches", rerun.LineStrips3D(ways, colors=[MATCHED] * len(ways)))
    if decision.matches:
        pairs = zip(decision.matches, decision.similarities, strict=False)
        lines = [f"demonstration {d}, frame {frame}: similarity {value:.3f}" for (d, frame), value in pairs]
        stream.log("matches", rerun.TextLog("\n".join(lines)))
        _log_number(stream, "score/similarity", float(decision.similarities[0]))
    if decision.ood_score is not None:
        _log_number(stream, "score/ood", decision.ood_score)
    if record.ood_threshold is not None:
        _log_number(stream, "score/threshold", record.ood_threshold)
    if decision.is_ood is not None:
        _log_number(stream, "score/flag", float(decision.is_ood))


def _matched(
    decision: DecisionRecord, demonstrations: dict[int, Demonstration], arm: int, length: int
) -> Iterator[Float32]:
    """Yield what an arm did in each matched demonstration from the matched frame on."""
    for index, frame in decision.matches:
        shown = demonstrations.get(index)
        if shown is not None:
            part = shown.agent_pos[frame : frame + length]
            yield np.stack([_position(pose, arm, AGENT_POS_DIM) for pose in part])


def _position(pose: Float32, arm: int, width: int) -> Float32:
    """Return an arm's position (3,) from the numbers of all arms, `width` for each."""
    return np.asarray(pose[arm * width : arm * width + 3], np.float32)
