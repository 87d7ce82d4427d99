"""The setting that says in which control mode a policy learns and acts."""

from __future__ import annotations

from altbench.api import ControlMode, Spec, added


class ControlSpec(Spec):
    """Config of a policy's actions.

    `control_mode`: what the actions mean that it learns and returns. "ee_pose": target
    poses of the gripper; "ee_delta": robosuite's seven numbers per arm, as in robomimic's
    published files.
    """

    control_mode: ControlMode = added("ee_pose")
