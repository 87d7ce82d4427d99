"""Do recorded actions explain the recorded motion?

Actions may lie within their bounds and still be others than those that were executed:
rescaled, with swapped axes, of other frames, or zero. The simulator tells: from a
recorded state, the recorded action must lead near the next recorded state. It is
compared with standing still, which is what an action without any information does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from altbench.core.demonstration import Demonstration, StateViewer
from altbench.core.errors import DatasetError
from altbench.core.types import AGENT_POS_DIM, Float32, Float64, Int64

FRAMES_OF_EACH, FRAMES_OF_ALL = 6, 60
"""Frames that are simulated of each demonstration, and of all together, at least."""
FEWEST, FEWEST_OF_EACH = 8, 5
"""Frames, at least, to judge a file by, and one demonstration."""
PARTS = {"position": slice(0, 3), "rotation": slice(3, 9)}
"""The parts of an arm's `agent_pos` that an action moves."""
EVIDENT = {"position": 4e-4, "rotation": 4e-3}
"""Root mean square of a part's motion (m; rot6d) that can be judged. Recordings of
robosuite 1.0 differ from the present physics by 2e-4 and 1.2e-3."""
EXPLAINED = 0.8
"""The share of a part's motion, at least, that the actions of a sound file explain.
Measured: 0.96 to 0.98 for recordings of robosuite 1.0, 0.999 for our own."""
EXPLAINED_OF_EACH = 0.5
"""The same of one demonstration, by its few frames. Measured: 0.96 to 1."""
SCALE = 0.25
"""How far the motion may be from the one that the actions ask for, as a share of it."""
CLEARLY_BETTER = 0.6
"""The actions of a neighbouring frame are the right ones if they miss at most this
share of what the frame's own miss. In sound files they miss 1.7 times as much."""
NO_MOTION = 0.01
"""Actions that ask for less than this share of the motion, squared, ask for none."""
EXACT = 0.99
"""Actions that explain this much are not compared with their neighbours."""


@dataclass(frozen=True)
class Fit:
    """How well actions explain one part of the motion: sums over frames.

    All are squares of differences between predicted or recorded values one step later:
    `missed` recorded and predicted, `moved` recorded and standing still, `asked`
    predicted and standing still. `along` is the product of the last two.
    """

    frames: int = 0
    missed: float = 0.0
    moved: float = 0.0
    asked: float = 0.0
    along: float = 0.0

    def __add__(self, other: Fit) -> Fit:
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__)
        return Fit(*(a + b for a, b in pairs))

    @property
    def explained(self) -> float:
        """The share of the motion that the actions explain; 1 is all, 0 is nothing."""
        return 1.0 - self.missed / max(self.moved, 1e-18)

    @property
    def scale(self) -> float:
        """The recorded motion as a multiple of the motion that the actions ask for."""
        return self.along / max(self.asked, 1e-18)

    @property
    def aligned(self) -> float:
        """The cosine between the recorded motion and the one that the actions ask for."""
        return self.along / max(float(np.sqrt(self.asked * self.moved)), 1e-18)

    def is_evident(self, part: str) -> bool:
        """Return whether there is enough motion, recorded or asked for, to judge."""
        return self.frames > 0 and max(self.moved, self.asked) / self.frames > EVIDENT[part] ** 2


def fits(viewer: StateViewer, demonstrations: Sequence[Demonstration], shift: int = 0) -> dict[str, Fit]:
    """Return how well the actions explain each of `PARTS`, over a few frames of each demonstration.

    `shift`: take the actions of the frame so many frames later instead.
    """
    return _sum_of(_fits_of_each(viewer, demonstrations, shift))


def check_motion(
    where: str, viewer: StateViewer, demonstrations: Sequence[Demonstration], names: Sequence[str] = ()
) -> None:
    """Raise DatasetError unless the actions explain how the gripper moves.

    All demonstrations are judged together, and each for itself by a wider limit.
    `names` of them for the message. What hardly moves cannot be judged, and passes.
    """
    each = _fits_of_each(viewer, demonstrations)
    judged = _judged(_sum_of(each), FEWEST)
    if not judged:
        return
    names = names or [f"demonstration {d.index}" for d in demonstrations]
    odd = [name for name, found in zip(names, each, strict=True) if _is_odd(found)]
    if odd and 2 * len(odd) <= len(each):
        fit = min(_judged(_sum_of([each[names.index(name)] for name in odd]), 1).items(), key=_least)
        raise DatasetError(_message(f"{where}: {', '.join(odd[:9])}", *fit, _guess(fit[1])))
    if all(fit.explained >= EXACT for fit in judged.values()):
        return
    unsound = {part: fit for part, fit in judged.items() if not _is_sound(fit)}
    worst = min((unsound or judged).items(), key=_least)
    shift = _better_shift(viewer, demonstrations, *next(iter(judged.items())))
    if shift:
        reason = (
            f"; those one frame {'later' if shift > 0 else 'earlier'} fit better: are they shifted against the states?"
        )
        raise DatasetError(_message(where, *worst, reason))
    if unsound:
        raise DatasetError(_message(where, *worst, _guess(worst[1])))


def _fits_of_each(viewer: StateViewer, demonstrations: Sequence[Demonstration], shift: int = 0) -> list[dict[str, Fit]]:
    number = max(FRAMES_OF_EACH, -(-FRAMES_OF_ALL // max(len(demonstrations), 1)))
    return [_fit(viewer, d, number, shift) for d in demonstrations]


def _sum_of(each: Sequence[Mapping[str, Fit]]) -> dict[str, Fit]:
    return {part: sum((found[part] for found in each), Fit()) for part in PARTS}


def _judged(found: Mapping[str, Fit], fewest: int) -> dict[str, Fit]:
    """Return the parts with enough frames and enough motion to be judged."""
    return {part: fit for part, fit in found.items() if fit.frames >= fewest and fit.is_evident(part)}


def _is_odd(found: Mapping[str, Fit]) -> bool:
    """Return whether one demonstration's actions explain clearly too little of its motion."""
    return any(fit.explained < EXPLAINED_OF_EACH for fit in _judged(found, FEWEST_OF_EACH).values())


def _least(item: tuple[str, Fit]) -> float:
    return item[1].explained


def _message(where: str, part: str, fit: Fit, reason: str) -> str:
    least = f" (in sound files more than {100 * EXPLAINED:g} %)" if fit.explained < EXPLAINED else ""
    return (
        f"{where}: expected actions that lead from each recorded state to the next, got ones that explain "
        f"{100 * max(fit.explained, 0.0):.0f} % of the gripper's {part}{least}{reason}"
    )


def explains_motion(viewer: StateViewer, demonstrations: Sequence[Demonstration]) -> bool:
    """Return whether the actions explain how the gripper moves, or it hardly moves."""
    return all(map(_is_sound, _judged(fits(viewer, demonstrations), FEWEST).values()))


def _is_sound(fit: Fit) -> bool:
    return fit.explained >= EXPLAINED and abs(fit.scale - 1) <= SCALE


def _better_shift(viewer: StateViewer, demonstrations: Sequence[Demonstration], part: str, own: Fit) -> int:
    """Return the shift whose actions fit clearly better than the frame's own; 0: none does.

    Actions that only have another scale fit better in neighbouring frames, too.
    """
    if own.asked < NO_MOTION * own.moved:
        return 0
    tried = {shift: fits(viewer, demonstrations, shift)[part] for shift in (-1, 1)}
    best = min(tried, key=lambda shift: tried[shift].missed)
    least = min(own.missed, own.moved * (1 - own.aligned**2) if own.aligned > 0 else own.missed)
    return best if _is_sound(tried[best]) and tried[best].missed < CLEARLY_BETTER * least else 0


def _guess(fit: Fit) -> str:
    if fit.asked < NO_MOTION * fit.moved:
        return "; they ask for no motion at all"
    if fit.aligned > 0.9:
        return f"; the gripper moves {fit.scale:.2g} times as far as they ask for: are they rescaled?"
    if fit.aligned < -0.5:
        return "; they point the other way"
    return "; are axes swapped, or are they of another controller or episode?"


def _fit(viewer: StateViewer, d: Demonstration, number: int, shift: int) -> dict[str, Fit]:
    frames = _frames(d, number)
    if not len(frames):
        return dict.fromkeys(PARTS, Fit())
    steps = [(d.agent_pos[t + 1], *_predictions(viewer, d, int(t), shift)) for t in frames]
    recorded, predicted, still = (np.stack(values).astype(np.float64) for values in zip(*steps, strict=True))
    return {part: _sums(recorded, predicted, still, columns) for part, columns in PARTS.items()}


def _frames(d: Demonstration, number: int) -> Int64:
    """Choose up to `number` frames of `d`, spread over those of its faster half.

    The frames before and after them have actions, too, so that shifts can be tried.
    """
    candidates = np.arange(1, max(len(d) - 1, 1))
    speed = np.linalg.norm(np.diff(d.agent_pos, axis=0)[candidates], axis=1)
    faster = np.argsort(-speed, kind="stable")[: max((len(candidates) + 1) // 2, number)]
    chosen = np.linspace(0, len(faster) - 1, min(number, len(faster))).round().astype(np.int64)
    return np.asarray(np.sort(candidates[faster])[chosen], dtype=np.int64)


def _predictions(viewer: StateViewer, d: Demonstration, t: int, shift: int) -> tuple[Float32, Float32]:
    """Return `agent_pos` (Dp,) one step after frame `t`: by its action, and standing still."""
    pose = d.initial_state.object_pose
    actions = (d.actions[t + shift], standing_still(d, t))
    after = (viewer.after(d.states[t], action, d.control_mode, pose) for action in actions)
    moved, still = (viewer.look(state, object_pose=pose).agent_pos for state in after)
    return moved, still


def standing_still(d: Demonstration, t: int) -> Float32:
    """Return the action (Da,) that keeps the pose of frame `t` and moves only the gripper."""
    action: Float32 = d.actions[t].copy()
    width = len(action) // (len(d.agent_pos[t]) // AGENT_POS_DIM)
    for number, start in enumerate(range(0, len(action), width)):
        arm = slice(start, start + width - 1)
        seen = d.agent_pos[t, number * AGENT_POS_DIM :]
        action[arm] = 0.0 if d.control_mode == "ee_delta" else seen[: width - 1]
    return action


def _sums(recorded: Float64, predicted: Float64, still: Float64, columns: slice) -> Fit:
    def part(values: Float64) -> Any:
        return values.reshape(len(values), -1, AGENT_POS_DIM)[:, :, columns]

    moved, asked, missed = (part(a - b) for a, b in ((recorded, still), (predicted, still), (recorded, predicted)))
    sums = ((missed**2).sum(), (moved**2).sum(), (asked**2).sum(), (moved * asked).sum())
    return Fit(len(recorded), *map(float, sums))
