"""The out-of-distribution flag of the lookup policies.

It has a threshold. When it is raised, the policy may hold still.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from pydantic import Field

from altbench.api import AGENT_POS_DIM, DELTA_ACTION_DIM, ControlMode, Decision, Float32, Observation, Spec
from altbench_policies import input_checks
from altbench_policies.lookup.frames import Demonstrated
from altbench_policies.lookup.table import Lookup, conformal_threshold

POSE = 9
"""Numbers of position and rot6d, the first ones of agent_pos and of an ee_pose action."""
GRIPPER_OPEN = -1.0
"""The command that opens a gripper; held until a chunk gives another one."""
FLAG_FIELDS = frozenset({"gamma", "false_alarm_rate", "when_ood", "top_k"})
"""Fields of `FlagSpec`: all of them, since none changes what `fit` computes."""


class FlagSpec(Spec):
    """Config of the flag; the fit depends on none of it.

    `gamma`: frames whose highest similarity is below it are out of distribution.
    "calibrated" takes the threshold from leave-one-demonstration-out, for
    `false_alarm_rate` false alarms per episode. `when_ood`: "act" executes the
    retrieved chunk anyway; "hold" keeps the present pose and the last gripper command.
    `top_k`: number of matches reported.
    """

    gamma: float | Literal["calibrated"] = "calibrated"
    false_alarm_rate: float = Field(default=0.05, gt=0, lt=1)
    when_ood: Literal["act", "hold"] = "act"
    top_k: int = Field(default=3, ge=1)


class Shown(Protocol):
    """A table of any kind: it names the frames that its rows are."""

    @property
    def demonstrated(self) -> Demonstrated:
        """The frames, and what followed each."""
        ...


class Flag:
    """A flag that scores what was looked up and answers for the slots of a batch.

    `arms`: of the task. `control_mode`: of the chunks.
    """

    def __init__(self, config: FlagSpec, arms: int, control_mode: ControlMode = "ee_pose") -> None:
        self.config, self.arms, self.control_mode = config, arms, control_mode
        self._grippers: dict[int, Float32] = {}  # slot -> last command of each arm, to hold

    def reset(self, slots: Sequence[int]) -> None:
        """Forget the last gripper command of each slot."""
        for slot in slots:
            self._grippers[slot] = np.full(self.arms, GRIPPER_OPEN, np.float32)

    def check_begun(self, slots: Sequence[int]) -> None:
        """Raise ContractError if a slot has not been reset."""
        input_checks.check_begun(slots, self._grippers)

    def threshold(self, calibration_scores: Float32) -> float:
        """Return the score above which a frame is out of distribution.

        `calibration_scores`: one per demonstration.
        """
        if self.config.gamma == "calibrated":
            return conformal_threshold(calibration_scores, self.config.false_alarm_rate)
        return 1 - self.config.gamma

    def decision(
        self, observation: Observation, slots: Sequence[int], table: Shown, found: Lookup, chunk: Float32, level: float
    ) -> Decision:
        """Return the decision: `chunk` (B, Ta, Da), or the present pose held.

        A pose is held if the score of `found` is above `level` and `when_ood` is
        "hold". `chunk` is changed in place.
        """
        scores = 1 - (found.similarities[:, 0] if found.closest is None else found.closest)
        is_ood = scores > level
        for b, slot in enumerate(slots):
            if is_ood[b] and self.config.when_ood == "hold":
                chunk[b] = self._hold(observation.agent_pos[b, -1], self._grippers[slot])
            self._grippers[slot] = chunk[b, -1].reshape(self.arms, -1)[:, -1].copy()
        matches = table.demonstrated.names(found.rows)
        return Decision(chunk, scores, is_ood, matches, found.similarities, np.full(len(scores), level, np.float32))

    def _hold(self, agent_pos: Float32, grippers: Float32) -> Float32:
        """Return the present pose with the last gripper command, (Da,).

        It is repeated over the chunk. In `ee_delta` no motion holds the pose.
        """
        poses = agent_pos.reshape(self.arms, AGENT_POS_DIM)[:, :POSE]
        if self.control_mode == "ee_delta":
            poses = np.zeros((self.arms, DELTA_ACTION_DIM - 1), np.float32)
        action = np.concatenate([poses, grippers[:, None]], axis=1).reshape(-1)
        held: Float32 = action.astype(np.float32)
        return held
