"""robosuite's operational-space control of one arm and its gripper, five times as fast.

The results are the same bit for bit. robosuite finds everything by name, computes each
Jacobian twice, and fills buffers that are not used here, 25 times per control step.
This module keeps its equations (robosuite/controllers/parts/arm/osc.py; Khatib 1987),
its compiled kernels, and the order of every operation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from altbench.api import Float64
from altbench_envs.robosuite_env.actions import absolute_command, matrix_from_rotation_vector, unit_columns

PARTS = {"arm": (0, 6), "gripper": (6, 7)}  # of one robot's action, as robosuite's BASIC controllers split it


class FastOsc:
    """A replacement of robosuite's controller for one arm and its gripper.

    It is valid only if `applies`.
    """

    def __init__(self, robosuite: Any, robot: Any, name: str) -> None:
        import mujoco
        from robosuite.models.grippers import PandaGripper

        from altbench_envs.robosuite_env.osc_kernel import feedback, sum_within
        from altbench_envs.robosuite_env.pose_kernel import through_rotation_vector

        self._mujoco, self._feedback, self._sum_within = mujoco, feedback, sum_within
        self._through_rotation_vector = through_rotation_vector
        self._robot, self._name = robot, name
        self._model, self._data = robosuite.sim.model._model, robosuite.sim.data._data
        controller, data = robot.part_controllers[name], self._data
        self._absolute = controller.input_type == "absolute"
        self._site = int(robot.eef_site_id[name])
        self._site_matrix = data.site_xmat[self._site].reshape(3, 3)
        self._dofs = _run(controller.qvel_index)
        self._torques = data.ctrl[_run(robot._ref_actuators_indexes_dict[name])]
        self._limits = self._limits_of(robot._ref_actuators_indexes_dict[name])
        self._grip = robot._ref_actuators_indexes_dict[robot.get_gripper_name(name)]
        self._bias, self._speeds = data.qfrc_bias[self._dofs], data.qvel
        # The goal of Panda's fingers depends only on the last goal and on the command's
        # sign: a few dozen cases.
        self._sent: dict[tuple[bytes, float], tuple[Float64, Float64]] = {}
        self._repeats = isinstance(robot.gripper[name], PandaGripper)
        self._buffers(len(controller.qvel_index))
        self._arguments = (
            *(self._masses, self._jacobians, self._dofs.start),
            *(data.site_xpos[self._site], self._site_matrix, self._velocities),
            *(data.qpos[_run(controller.qpos_index)], data.qvel[self._dofs], self._goal, self._gains),
            *(self._jacobian, self._inertias, self._found),
        )

    @staticmethod
    def applies(robosuite: Any, robot: Any, name: str) -> bool:
        """Return whether this class computes what the arm's own controller computes.

        It does for one arm and gripper on a base that cannot move, with OSC_POSE, fixed
        gains, no interpolation, and compiled robosuite kernels.
        """
        from robosuite.utils import control_utils

        controller, composite = robot.part_controllers[name], robot.composite_controller
        model = robosuite.sim.model._model
        base = model.site(f"{controller.naming_prefix}{controller.part_name}_center").bodyid[0]
        gripper, split = robot.get_gripper_name(name), composite._action_split_indexes
        return (
            controller.name == "OSC_POSE"
            and controller.impedance_mode == "fixed"
            and controller.uncoupling
            and (controller.input_type, controller.input_ref_frame) != ("absolute", "base")
            and controller.interpolator_pos is None
            and controller.interpolator_ori is None
            and bool(model.body_weldid[base] == 0)
            and dict(split) == {name: PARTS["arm"], gripper: PARTS["gripper"]}
            and all(map(_is_run, (controller.qpos_index, controller.qvel_index)))
            and _is_run(robot._ref_actuators_indexes_dict[name])
            and hasattr(control_utils.opspace_matrices, "py_func")
        )

    def begin(self, action: Float64) -> None:
        """Set this control step's goal from the arm's action (Da,); move the gripper.

        An absolute controller takes a pose action (10,), others robosuite's own (7,).
        """
        if self._absolute:
            self._aim_at(action)
        else:
            self._aim_by(action[slice(*PARTS["arm"])])
        controller = self._robot.part_controllers[self._name]
        self._goal[12:] = controller.initial_joint
        self._gains[0], self._gains[1] = controller.kp, controller.kd
        self._send_fingers(action[-1:])

    def apply(self) -> None:
        """Write the arm's torques for the present state into the actuators."""
        mujoco, model, data = self._mujoco, self._model, self._data
        mujoco.mj_jacSite(model, data, self._linear, self._angular, self._site)
        mujoco.mj_fullM(model, self._masses, data.qM)
        self._linear.dot(self._speeds, self._velocity)
        self._angular.dot(self._speeds, self._turning)
        self._feedback(*self._arguments)
        self._for_position.dot(self._force, self._pushing)
        self._for_rotation.dot(self._torque, self._twisting)
        self._transposed.dot(self._wrench, self._wanted)
        self._sum_within(self._wanted, self._bias, self._null_torques, self._limits, self._torques)

    def _aim_at(self, action: Float64) -> None:
        """Set the goal of a pose action (10,), in the world's frame."""
        self._goal[:3] = action[:3]
        columns = unit_columns(action[3:9])
        if columns is None or not self._through_rotation_vector(*columns, self._goal_matrix):
            command, _ = absolute_command(action, self._site_matrix)
            self._goal_matrix[:] = matrix_from_rotation_vector(command[3:])

    def _aim_by(self, command: Float64) -> None:
        """Set the goal of robosuite's command (6,), by its own controller."""
        self._robot.composite_controller.update_state()  # where the base is
        controller = self._robot.part_controllers[self._name]
        controller.new_update = True
        controller.set_goal(command)
        controller.new_update = True
        position, matrix = controller.goal_pos, controller.goal_ori
        if controller.input_ref_frame == "base":
            position = controller.origin_pos + np.dot(controller.origin_ori, position)
            matrix = np.dot(controller.origin_ori, matrix)
        self._goal[:3], self._goal_matrix[:] = position, matrix

    def _send_fingers(self, command: Float64) -> None:
        gripper = self._robot.gripper[self._name]
        case = gripper.current_action.tobytes(), float(np.sign(command[0]))
        if not self._repeats:
            self._sent.clear()
        if case not in self._sent:
            self._sent[case] = self._fingers(gripper, command)
        gripper.current_action, self._data.ctrl[self._grip] = self._sent[case]

    def _fingers(self, gripper: Any, command: Float64) -> tuple[Float64, Float64]:
        """Return robosuite's answer to a gripper's command (1,).

        The gripper's own new action, and the actuators' controls.
        """
        controller = self._robot.part_controllers[self._robot.get_gripper_name(self._name)]
        controller.new_update = False  # its goal does not depend on the fingers
        controller.set_goal(gripper.format_action(command))
        return gripper.current_action, np.clip(controller.run_controller(), *self._limits_of(self._grip))

    def _limits_of(self, actuators: list[int]) -> Float64:
        """Return the least and greatest controls of the actuators, (2, N)."""
        return np.ascontiguousarray(self._model.actuator_ctrlrange[actuators].T)

    def _buffers(self, joints: int) -> None:
        """Make the arrays that one substep fills.

        They are written in place, because making an array costs as much as filling it.
        """
        dofs = self._model.nv
        self._masses, self._jacobians, self._velocities = np.zeros((dofs, dofs)), np.zeros((6, dofs)), np.zeros(6)
        self._linear, self._angular = self._jacobians[:3], self._jacobians[3:]
        self._velocity, self._turning = self._velocities[:3], self._velocities[3:]
        self._goal, self._gains = np.zeros(12 + joints), np.zeros((2, 6))
        self._goal_matrix = self._goal[3:12].reshape(3, 3)
        # robosuite inverts into column-major matrices, and BLAS sums those in another
        # order: row-major arrays would change the last bits.
        self._jacobian, self._inertias, self._found = np.zeros((6, joints)), np.zeros((2, 3, 3)), np.zeros(6 + joints)
        self._transposed, self._for_position, self._for_rotation = (
            self._jacobian.T,
            self._inertias[0].T,
            self._inertias[1].T,
        )
        self._force, self._torque, self._null_torques = self._found[:3], self._found[3:6], self._found[6:]
        self._wrench, self._wanted = np.zeros(6), np.zeros(joints)
        self._pushing, self._twisting = self._wrench[:3], self._wrench[3:]


def _is_run(indices: Any) -> bool:
    """Return whether the indices follow one another."""
    return list(indices) == list(range(indices[0], indices[0] + len(indices)))


def _run(indices: Any) -> slice:
    """Return the slice of indices that follow one another."""
    return slice(indices[0], indices[0] + len(indices))
