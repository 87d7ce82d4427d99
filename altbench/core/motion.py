"""Do recorded actions explain the recorded motion?

Actions may lie within their bounds and still be others than those that were executed:
rescaled, with swapped axes, of other frames, or zero. The simulator tells: from a
recorded state, the recorded action must lead near the next recorded state. It is
compared with standing still, which is what an action without any information does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from altbench.core.demonstration import Demonstration, StateViewer
from altbench.core.errors import DatasetError
from altbench.core.types import AGENT_POS_DIM, Float32, Float64, Int64

FRAMES_OF_EACH, FRAMES_OF_ALL = 6, 60
"""Frames that are simulated of each demonstration, and of all together, at least."""
FEWEST = 8
"""Frames, at least, to judge a file by."""
PARTS = {"position": slice(0, 3), "rotation": slice(3, 9)}
"""The parts of an arm's `agent_pos` that an action moves."""
EVIDENT = {"position": 4e-4, "rotation": 4e-3}
"""Root mean square of a part's motion (m; rot6d) that can be judged. Recordings of
robosuite 1.0 differ from the present physics by 2e-4 and 1.2e-3."""
EXPLAINED = 0.8
"""The share of a part's motion, at least, that the actions of a sound file explain.
Measured: 0.96 to 0.98 for recordings of robosuite 1.0, 0.999 for our own."""
SCALE = 0.25
"""How far the motion may be from the one that the actions ask for, as a share of it."""
CLEARLY_BETTER = 0.6
"""The actions of a neighbouring frame are the right ones if they miss at most this
share of what the frame's own miss. In sound files they miss 1.7 times as much."""
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
    total = dict.fromkeys(PARTS, Fit())
    number = max(FRAMES_OF_EACH, -(-FRAMES_OF_ALL // max(len(demonstrations), 1)))
    for d in demonstrations:
        found = _fit(viewer, d, number, shift)
        total = {part: total[part] + found[part] for part in PARTS}
    return total


def check_motion(where: str, viewer: StateViewer, demonstrations: Sequence[Demonstration]) -> None:
    """Raise DatasetError unless the actions explain how the gripper moves.

    Files with hardly any motion cannot be judged, and pass.
    """
    found = fits(viewer, demonstrations)
    judged = {part: fit for part, fit in found.items() if fit.frames >= FEWEST and fit.is_evident(part)}
    if all(fit.explained >= EXACT for fit in judged.values()):
        return
    part, fit = min(judged.items(), key=lambda item: item[1].explained)
    shift = _better_shift(viewer, demonstrations, *next(iter(judged.items())))
    if shift:
        when = f"{abs(shift)} frame{'s' if abs(shift) > 1 else ''} {'later' if shift > 0 else 'earlier'}"
        reason = f"; the actions {when} in the file fit better: are they shifted against the states?"
    elif not all(map(_is_sound, judged.values())):
        part, fit = next((name, each) for name, each in judged.items() if not _is_sound(each))
        reason = _guess(fit)
    else:
        return
    raise DatasetError(
        f"{where}: expected actions that lead from each recorded state to the next, got ones that explain "
        f"{100 * max(fit.explained, 0.0):.0f} % of the gripper's {part} (in sound files more than {100 * EXPLAINED:g} %)"
        f"{reason}"
    )


def explains_motion(viewer: StateViewer, demonstrations: Sequence[Demonstration]) -> bool:
    """Return whether the actions explain how the gripper moves, or it hardly moves."""
    found = fits(viewer, demonstrations)
    return all(_is_sound(fit) for part, fit in found.items() if fit.frames >= FEWEST and fit.is_evident(part))


def _is_sound(fit: Fit) -> bool:
    return fit.explained >= EXPLAINED and abs(fit.scale - 1) <= SCALE


def _better_shift(viewer: StateViewer, demonstrations: Sequence[Demonstration], part: str, own: Fit) -> int:
    """Return the shift whose actions fit clearly better than the frame's own; 0: none does.

    Actions that only have another scale fit better in neighbouring frames, too.
    """
    tried = {shift: fits(viewer, demonstrations, shift)[part] for shift in (-2, -1, 1, 2)}
    best = min(tried, key=lambda shift: tried[shift].missed)
    least = min(own.missed, own.moved * (1 - own.aligned**2) if own.aligned > 0 else own.missed)
    return best if _is_sound(tried[best]) and tried[best].missed < CLEARLY_BETTER * least else 0


def _guess(fit: Fit) -> str:
    if fit.asked < 0.01 * fit.moved:
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

    The frames two before and after them have actions, too, so that shifts can be tried.
    """
    first, last = 2, len(d) - 3
    if last < first:
        return np.zeros(0, dtype=np.int64)
    candidates = np.arange(first, last + 1)
    speed = np.linalg.norm(np.diff(d.agent_pos, axis=0)[candidates], axis=1)
    faster = np.sort(candidates[np.argsort(-speed, kind="stable")[: (len(candidates) + 1) // 2]])
    chosen = np.linspace(0, len(faster) - 1, min(number, len(faster))).round().astype(np.int64)
    return np.asarray(faster[chosen], dtype=np.int64)


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
