"""Making a `Demonstration` from recorded states and actions.

The states are set in the simulator, and what the task shows there is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from altbench.api import (
    ControlMode,
    DatasetError,
    Demonstration,
    EpisodeUnusable,
    Float32,
    Float64,
    InitialState,
    NativeModel,
    StateViewer,
    TaskInfo,
    UInt8,
    View,
)

FREQUENCY_TOLERANCE = 0.01
"""The share by which a recording's control frequency may differ from the task's."""
DEFAULT_IMAGE_SIZE = (84, 84)
"""(H, W) of drawn images if neither the file nor the user names a size."""


def look_along(viewer: StateViewer, states: Float64, where: str, object_pose: Float64 | None = None) -> list[View]:
    """View each of `states` (T, Ds), without images, until the task is solved.

    The first state may be solved; the views end with the first later one that is.
    `object_pose` (P,): needed if the task has `native.fixed_bodies`.
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


def usable(
    names: Sequence[str], make: Callable[[int], Demonstration], unusable: dict[str, str]
) -> Iterator[Demonstration]:
    """Yield `make(i)` for each of `names`.

    An episode that holds NaN is left out, and its reason is added to `unusable`.
    """
    for i, name in enumerate(names):
        try:
            made = make(i)
        except EpisodeUnusable as error:
            unusable[name] = str(error)
        else:
            yield made


def until_success(views: list[View], frames: int) -> int:
    """Count the frames before the view in which the task is solved, up to `frames`.

    So the last action kept is the one that solved the task.
    """
    return min(frames, len(views) - 1 if views[-1].success else len(views))


def solved_by_last_action(viewer: StateViewer, made: Demonstration) -> bool:
    """Return whether the last action solves the task, simulated from the last state."""
    pose = made.initial_state.object_pose if viewer.native.fixed_bodies else None
    last = viewer.after(made.states[-1], made.actions[-1], made.control_mode, pose)
    return viewer.look(last, object_pose=pose).success


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
    """Make the demonstration of T frames from `views`, `states` and `actions` (T, ...).

    If `pixels` is None, images of `image_size` are drawn from the states.
    """
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


def check_robots(found: Any, native: NativeModel, where: str) -> None:
    """Raise DatasetError unless `found`, one name or a list, are the task's robots."""
    robots = [found] if isinstance(found, str) else found
    if robots != list(native.robots):
        raise DatasetError(f"{where}: expected robots {list(native.robots)}, got {robots!r}"[:300])


def check_no_filter(path: object, name: str | None, format_name: str) -> None:
    """Raise DatasetError if a filter is given for a format that has none."""
    if name is not None:
        raise DatasetError(f"{path}: expected no --filter, since {format_name} files have no filter keys; got {name!r}")


def check_frequency(states: Float64, task: TaskInfo, where: str) -> None:
    """Raise DatasetError unless the states follow the task's control frequency.

    Their first column is their time (s).
    """
    if len(states) < 2:
        return
    step = float(np.median(np.diff(states[:, 0])))
    if not abs(step * task.control_hz - 1) < FREQUENCY_TOLERANCE:
        found = f"{1 / step:.4g} Hz" if step > 0 else f"steps of {step:.4g} s"
        raise DatasetError(f"{where}: expected states at {task.control_hz:g} Hz, got {found}")


def check_equal_length(where: str, **lengths: int) -> None:
    """Raise DatasetError unless all arrays have the same number of frames."""
    if len(set(lengths.values())) > 1:
        listing = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DatasetError(f"{where}: expected arrays of the same length, got {listing}")
