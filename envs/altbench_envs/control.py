"""robosuite's operational-space control of one arm and its gripper, with the same bits in a third of the time.

robosuite looks everything up by name, computes each Jacobian twice, and keeps buffers that nobody here reads, 25 times
per control step. This keeps its equations (robosuite/controllers/parts/arm/osc.py; Khatib 1987), compiled kernels and the
order of every operation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from altbench.api import Float64

PARTS = {"arm": (0, 6), "gripper": (6, 7)}  # of one robot's action, as robosuite's BASIC controllers split it


class FastOsc:
    """Drives one arm of `simulator` and its gripper in robosuite's stead; makes sense only if `applies`."""

    def __init__(self, robosuite: Any, robot: Any, name: str) -> None:
        import mujoco

        from altbench_envs.osc_kernel import feedback

        self._mujoco, self._feedback = mujoco, feedback
        self._robot, self._name = robot, name
        self._model, self._data = robosuite.sim.model._model, robosuite.sim.data._data
        controller, data = robot.part_controllers[name], self._data
        self._site = int(robot.eef_site_id[name])
        qpos, self._dofs = _run(controller.qpos_index), _run(controller.qvel_index)
        self._torques = data.ctrl[_run(robot._ref_actuators_indexes_dict[name])]
        self._low, self._high = self._limits(robot._ref_actuators_indexes_dict[name])
        self._grip = robot._ref_actuators_indexes_dict[robot.get_gripper_name(name)]
        self._bias, self._speeds = data.qfrc_bias[self._dofs], data.qvel
        self._buffers(len(controller.qvel_index))
        self._state = (
            *(self._mass, self._jacobian, self._jacobian[:3], self._jacobian[3:]),
            *(data.site_xpos[self._site], data.site_xmat[self._site].reshape(3, 3), self._velocity, self._turning),
            *(data.qpos[qpos], data.qvel[self._dofs]),
        )

    @staticmethod
    def applies(robosuite: Any, robot: Any, name: str) -> bool:
        """Whether this computes what the arm has: one arm and gripper on a base that cannot move, OSC_POSE, fixed gains,
        no interpolation, robosuite's kernels compiled."""
        from robosuite.utils import control_utils

        controller, composite = robot.part_controllers[name], robot.composite_controller
        model = robosuite.sim.model._model
        base = model.site(f"{controller.naming_prefix}{controller.part_name}_center").bodyid[0]
        gripper, split = robot.get_gripper_name(name), composite._action_split_indexes
        return (
            controller.name == "OSC_POSE"
            and controller.impedance_mode == "fixed"
            and controller.uncoupling
            and controller.interpolator_pos is None
            and controller.interpolator_ori is None
            and bool(model.body_weldid[base] == 0)
            and dict(split) == {name: PARTS["arm"], gripper: PARTS["gripper"]}
            and all(map(_is_run, (controller.qpos_index, controller.qvel_index)))
            and _is_run(robot._ref_actuators_indexes_dict[name])
            and hasattr(control_utils.opspace_matrices, "py_func")
        )

    def begin(self, command: Float64) -> None:
        """Take the goal of this control step from robosuite's command (7,) of the robot, and move the gripper."""
        self._robot.composite_controller.update_state()  # where the base is
        self._set_arm(command[slice(*PARTS["arm"])])
        self._set_gripper(command[slice(*PARTS["gripper"])])

    def apply(self) -> None:
        """Write the arm's torques for the present state into the actuators."""
        mujoco, model, data = self._mujoco, self._model, self._data
        mujoco.mj_jacSite(model, data, self._linear, self._angular, self._site)
        mujoco.mj_fullM(model, self._whole_mass, data.qM)
        self._mass[:] = self._arm_mass
        self._jacobian[:3], self._jacobian[3:] = self._arm_linear, self._arm_angular
        np.dot(self._linear, self._speeds, out=self._velocity)
        np.dot(self._angular, self._speeds, out=self._turning)
        self._feedback(self._state, self._goal, self._gains, self._found)
        force, torque, for_position, for_rotation, null_torques = self._found
        np.dot(for_position, force, out=self._wrench[:3])
        np.dot(for_rotation, torque, out=self._wrench[3:])
        torques = np.dot(self._jacobian.T, self._wrench)
        torques += self._bias
        torques += null_torques
        np.minimum(np.maximum(torques, self._low), self._high, out=self._torques)

    def _set_arm(self, command: Float64) -> None:
        controller = self._robot.part_controllers[self._name]
        controller.new_update = controller.input_type == "delta"  # absolute goals do not ask where the arm is
        controller.set_goal(command)
        controller.new_update = True
        position, matrix = controller.goal_pos, controller.goal_ori
        if controller.input_ref_frame == "base":
            position = controller.origin_pos + np.dot(controller.origin_ori, position)
            matrix = np.dot(controller.origin_ori, matrix)
        self._goal = position, np.ascontiguousarray(matrix), controller.initial_joint
        self._gains = controller.kp, controller.kd

    def _set_gripper(self, command: Float64) -> None:
        name = self._robot.get_gripper_name(self._name)
        controller = self._robot.part_controllers[name]
        controller.new_update = False  # its goal does not ask where the fingers are
        controller.set_goal(self._robot.gripper[self._name].format_action(command))
        low, high = self._limits(self._grip)
        self._data.ctrl[self._grip] = np.clip(controller.run_controller(), low, high)

    def _limits(self, actuators: list[int]) -> tuple[Float64, Float64]:
        limits = self._model.actuator_ctrlrange[actuators]
        return limits[:, 0].copy(), limits[:, 1].copy()

    def _buffers(self, joints: int) -> None:
        """What one substep fills: written in place, because making an array costs as much as filling it."""
        dofs = self._model.nv
        self._linear, self._angular, self._whole_mass = np.zeros((3, dofs)), np.zeros((3, dofs)), np.zeros((dofs, dofs))
        self._arm_linear, self._arm_angular = self._linear[:, self._dofs], self._angular[:, self._dofs]
        self._arm_mass = self._whole_mass[self._dofs, self._dofs]
        # robosuite indexes and inverts into column-major matrices, and BLAS sums those in another order.
        self._mass, self._jacobian = np.zeros((joints, joints), order="F"), np.zeros((6, joints))
        self._velocity, self._turning, self._wrench = np.zeros(3), np.zeros(3), np.zeros(6)
        inertias = np.zeros((3, 3), order="F"), np.zeros((3, 3), order="F")
        self._found = np.zeros(3), np.zeros(3), *inertias, np.zeros(joints)


def _is_run(indices: Any) -> bool:
    """Whether the indices follow one another."""
    return list(indices) == list(range(indices[0], indices[0] + len(indices)))


def _run(indices: Any) -> slice:
    """The slice that indices which follow one another name."""
    return slice(indices[0], indices[0] + len(indices))
