"""Which way recorded delta actions turn, and the targets of actions that are unknown.

robosuite 1.0 turned the gripper by the transpose of the commanded rotation
(controllers/osc.py, `set_goal_orientation`), later versions by the rotation. A file does
not say which; its states do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from altbench.api import Demonstration, Float32, Float64, StateViewer, View, explains_motion, standing_still
from altbench_demos.formats import controllers

SAMPLE = 3
"""Episodes by which a file's convention is judged."""
PROBED = 8
"""Frames in which the controller's response is measured."""


def turning(viewer: StateViewer, sample: Sequence[Demonstration]) -> int:
    """Return 1 if delta actions turn as today, -1 if the other way, 0 if neither explains the motion.

    `sample`: demonstrations whose actions are the recorded deltas. 1 if they hardly
    move.
    """
    if explains_motion(viewer, sample):
        return 1
    turned = [
        replace(d, actions=controllers.reversed_turns(d.actions.astype(np.float64)).astype(np.float32)) for d in sample
    ]
    return -1 if explains_motion(viewer, turned) else 0


def recovered(viewer: StateViewer, d: Demonstration, views: Sequence[View]) -> Float32:
    """Return pose actions (T, 10 per arm) that lead from each state to the next.

    `d` has the recorded gripper commands as the last number of each arm's pose action.
    `views`: what T + 1 states show. The controller brings the gripper a share of the
    way to its target within a step. So the target lies farther than the next pose.
    """
    reached = np.stack([view.agent_pos for view in views[1 : len(d) + 1]]).astype(np.float64)
    aimed = replace(d, actions=controllers.pose_actions_from_poses(reached.astype(np.float32), _grippers(d)))
    still = np.stack([_after(viewer, aimed, t, standing_still(aimed, t)) for t in range(len(d))]).astype(np.float64)
    share = _response(viewer, aimed, still)
    if not share:
        return aimed.actions
    seen = d.agent_pos.astype(np.float64)
    return controllers.pose_actions_from_poses(_farther(seen, still, reached, share), _grippers(d))


def _grippers(d: Demonstration) -> Float64:
    actions: Float64 = d.actions.astype(np.float64)
    return actions


def _after(viewer: StateViewer, d: Demonstration, t: int, action: Float32) -> Float32:
    pose = d.initial_state.object_pose
    return viewer.look(viewer.after(d.states[t], action, "ee_pose", pose), object_pose=pose).agent_pos


def _response(viewer: StateViewer, d: Demonstration, still: Float64) -> float:
    """Return the share of the way to a target that the gripper moves in one step; 0 if it does not move."""
    asked, came = 0.0, 0.0
    for t in np.unique(np.linspace(0, len(d) - 1, PROBED).astype(int)):
        step = _positions(_after(viewer, d, t, d.actions[t])[None]) - _positions(still[t : t + 1])
        way = d.actions[t].reshape(-1, controllers.POSE + 1)[:, :3] - _positions(d.agent_pos[t : t + 1])[0]
        asked, came = asked + float((way**2).sum()), came + float((way * step[0]).sum())
    return float(np.clip(came / asked, 0.0, 1.0)) if asked > 1e-12 and came > 0 else 0.0


def _positions(agent_pos: Float32 | Float64) -> Float64:
    found: Float64 = agent_pos.reshape(len(agent_pos), -1, controllers.AGENT)[:, :, :3].astype(np.float64)
    return found


def _farther(seen: Float64, still: Float64, reached: Float64, share: float) -> Float32:
    """Return the poses (T, Dp) to aim at so that `reached` follows `seen`."""
    from scipy.spatial.transform import Rotation

    aims = reached.copy()
    for start in range(0, seen.shape[1], controllers.AGENT):
        place, turn = slice(start, start + 3), slice(start + 3, start + 9)
        aims[:, place] = seen[:, place] + (reached[:, place] - still[:, place]) / share
        present, rest, after = (controllers.matrices(poses[:, turn]) for poses in (seen, still, reached))
        vector = Rotation.from_matrix(after @ rest.transpose(0, 2, 1)).as_rotvec() / share
        aim = Rotation.from_rotvec(vector).as_matrix() @ present
        aims[:, turn] = np.concatenate([aim[:, :, 0], aim[:, :, 1]], axis=1)
    return aims.astype(np.float32)
