"""robosuite's operational-space control of one arm between two policy steps, with the same bits in half the time.

robosuite looks everything up by name and computes each Jacobian twice, 25 times per control step. This keeps
its equations (robosuite/controllers/parts/arm/osc.py; Khatib 1987), compiled kernels and the order of every operation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from altbench.api import Float64


class FastOsc:
    """Drives one arm of `simulator` after robosuite has set this control step's goal; makes sense only if `applies`."""

    def __init__(self, robosuite: Any, robot: Any, name: str) -> None:
        from robosuite.utils import control_utils

        self._kernels, self._robot, self._name = control_utils, robot, name
        self._model, self._data = robosuite.sim.model._model, robosuite.sim.data._data
        controller = robot.part_controllers[name]
        self._site = int(robot.eef_site_id[name])
        self._qpos, self._qvel = list(controller.qpos_index), list(controller.qvel_index)
        self._actuators = robot._ref_actuators_indexes_dict[name]
        self._range = self._model.actuator_ctrlrange[self._actuators]
        dofs, joints = self._model.nv, len(self._qvel)
        self._jacobian = np.zeros((3, dofs)), np.zeros((3, dofs))
        self._arm_jacobian = np.zeros((3, joints)), np.zeros((3, joints)), np.zeros((6, joints))
        self._mass = np.zeros((dofs, dofs))

    @staticmethod
    def applies(robosuite: Any, robot: Any, name: str) -> bool:
        """Whether this computes what the arm has: OSC_POSE, fixed gains, no interpolation, on a base that cannot move."""
        controller = robot.part_controllers[name]
        model = robosuite.sim.model._model
        base = model.site(f"{controller.naming_prefix}{controller.part_name}_center").bodyid[0]
        return (
            controller.name == "OSC_POSE"
            and controller.impedance_mode == "fixed"
            and controller.uncoupling
            and controller.interpolator_pos is None
            and controller.interpolator_ori is None
            and bool(model.body_weldid[base] == 0)
        )

    def begin(self) -> None:
        """Take over the goal of this control step, in the world's frame."""
        self._controller = self._robot.part_controllers[self._name]
        controller = self._controller
        self._goal_position, self._goal_matrix = controller.goal_pos, controller.goal_ori
        if controller.input_ref_frame == "base":
            self._goal_position = controller.origin_pos + np.dot(controller.origin_ori, controller.goal_pos)
            self._goal_matrix = np.dot(controller.origin_ori, controller.goal_ori)

    def apply(self) -> None:
        """Write the arm's torques for the present state into the actuators."""
        self._data.ctrl[self._actuators] = np.clip(self._torques(), self._range[:, 0], self._range[:, 1])

    def _torques(self) -> Float64:
        import mujoco

        controller, data, kernels = self._controller, self._data, self._kernels
        mujoco.mj_jacSite(self._model, data, *self._jacobian, self._site)
        mujoco.mj_fullM(self._model, self._mass, data.qM)
        mass = self._mass[self._qvel, :][:, self._qvel]
        position_jacobian, rotation_jacobian, jacobian = self._arm_jacobian
        jacobian[:3] = position_jacobian[:] = self._jacobian[0][:, self._qvel]
        jacobian[3:] = rotation_jacobian[:] = self._jacobian[1][:, self._qvel]
        matrix = data.site_xmat[self._site].reshape(3, 3)
        kp, kd = controller.kp, controller.kd
        force = (self._goal_position - data.site_xpos[self._site]) * kp[:3]
        force += -np.dot(self._jacobian[0], data.qvel) * kd[:3]
        torque = kernels.orientation_error(self._goal_matrix, matrix) * kp[3:]
        torque += -np.dot(self._jacobian[1], data.qvel) * kd[3:]
        _, for_position, for_rotation, null_space = kernels.opspace_matrices(
            mass, jacobian, position_jacobian, rotation_jacobian
        )
        wrench = np.concatenate([np.dot(for_position, force), np.dot(for_rotation, torque)])
        torques: Float64 = np.dot(jacobian.T, wrench) + data.qfrc_bias[self._qvel]
        torques += kernels.nullspace_torques(
            mass, null_space, controller.initial_joint, data.qpos[self._qpos], data.qvel[self._qvel]
        )
        return torques
