"""From recorded states and actions to a `Demonstration`: the states are set, and what is seen there is recorded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from altbench.api import (
    ControlMode,
    DatasetError,
    Demonstration,
    Float32,
    Float64,
    InitialState,
    StateViewer,
    TaskInfo,
    UInt8,
    View,
)

FREQUENCY_TOLERANCE = 0.01  # share
DEFAULT_IMAGE_SIZE = (84, 84)


def look_along(viewer: StateViewer, states: Float64, where: str, object_pose: Float64 | None = None) -> list[View]:
    """What is seen, without images, in each of `states` (T, Ds) up to the first later one in which the task is solved.

    `object_pose` (P,): where the task has `native.fixed_bodies`.
    """
    views: list[View] = []
    for t, state in enumerate(states):
        try:
            views.append(viewer.look(state, object_pose=object_pose))
        except DatasetError as error:
            raise DatasetError(f"{where}: frame {t}: {error}") from error
        if t > 0 and views[-1].success:
            break
    return views


def until_success(views: list[View], frames: int) -> int:
    """How many of `frames` come before the task is solved: the last action kept is the one that solved it."""
    return min(frames, len(views) - 1 if views[-1].success else len(views))


def demonstration(
    viewer: StateViewer,
    index: int,
    *,
    views: list[View],
    states: Float64,
    actions: Float32,
    control_mode: ControlMode,
    success: bool,
    pixels: Mapping[str, UInt8] | None,
    image_size: tuple[int, int],
) -> Demonstration:
    """The record of T frames: `views`, `states` and `actions` (T, ...) as given; images drawn where `pixels` is None."""
    if pixels is None:
        fixed = views[0].object_pose if viewer.native.fixed_bodies else None
        drawn = [viewer.look(state, image_size, fixed).pixels for state in states]
        pixels = {camera: np.stack([images[camera] for images in drawn]) for camera in viewer.info.cameras}
    return Demonstration(
        index=index,
        pixels=pixels,
        agent_pos=np.stack([view.agent_pos for view in views]),
        actions=actions,
        states=states,
        initial_state=InitialState(states[0].copy(), views[0].object_pose),
        success=success,
        control_mode=control_mode,
        environment_state=np.stack([view.environment_state for view in views]),
    )


def check_frequency(states: Float64, task: TaskInfo, where: str) -> None:
    """DatasetError unless the states' times (their first column, s) are those of the task's control frequency."""
    if len(states) < 2:
        return
    step = float(np.median(np.diff(states[:, 0])))
    if not abs(step * task.control_hz - 1) < FREQUENCY_TOLERANCE:
        found = f"{1 / step:.4g} Hz" if step > 0 else f"steps of {step:.4g} s"
        raise DatasetError(f"{where}: expected states at {task.control_hz:g} Hz, got {found}")


def check_equal_length(where: str, **lengths: int) -> None:
    """DatasetError unless all arrays have the same number of frames."""
    if len(set(lengths.values())) > 1:
        listing = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DatasetError(f"{where}: expected arrays of the same length, got {listing}")
