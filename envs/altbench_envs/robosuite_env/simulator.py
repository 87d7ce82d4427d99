"""robosuite without its console output, its randomness and its observables.

It is reset softly to an exact state, and watched for divergence.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from altbench.api import ConfigError, ControlMode, Float64, JointRanges, SimulationDiverged
from altbench_envs.robosuite_env.actions import absolute_command, matrix_from_rotation_vector
from altbench_envs.robosuite_env.control import FastOsc
from altbench_envs.robosuite_env.opengl import import_mujoco

MODEL_SEED = 0
"""The seed of robosuite's model, which draws object sizes: always the same sizes."""
START_NOISE = 0.02
"""The standard deviation (rad) of each joint at the start, robosuite's default."""
LOGGER = "robosuite_logs"
"""The name of robosuite's logger."""
JOINT_SIZES = {0: (7, 6), 1: (4, 3)}
"""MuJoCo's free and ball joints -> numbers of positions and velocities.

Every other joint has one of each.
"""


def import_robosuite() -> Any:
    """Import robosuite without its log lines and warnings.

    MUJOCO_GL stays as it was chosen.
    """
    import_mujoco()
    backend, logger = os.environ["MUJOCO_GL"], logging.getLogger(LOGGER)
    logger.disabled = True
    with warnings.catch_warnings(), _hidden("MUJOCO_EGL_DEVICE_ID"):
        warnings.simplefilter("ignore")  # deprecations inside robosuite and what it imports
        import robosuite
    logger.disabled = False
    logger.setLevel(logging.ERROR)
    os.environ["MUJOCO_GL"] = backend  # robosuite sets it to egl unless it is osmesa or glx
    return robosuite


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Remove an environment variable during the block.

    While it is imported, robosuite asserts that MUJOCO_EGL_DEVICE_ID is one of
    CUDA_VISIBLE_DEVICES. They are other numbers of other things, and our renderer needs
    no such agreement.
    """
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value


@dataclass(frozen=True)
class RobosuiteModel:
    """What robosuite must build.

    `name`: robosuite's name of the task. `robots`: robosuite's names of the robots.
    `options`: further arguments of robosuite's environment. `control_hz`: control steps
    per second.
    """

    name: str
    robots: tuple[str, ...]
    options: Mapping[str, Any]
    control_hz: float


@dataclass(frozen=True)
class Arm:
    """One arm: its robosuite robot and part name, and its places in the model.

    `site`: the grip site. `joints`, `fingers`: indices in qpos.
    """

    robot: Any
    name: str
    site: int
    joints: list[int]
    fingers: list[int]

    @property
    def controller(self) -> Any:
        """robosuite's present controller of the arm; a reset makes a new one."""
        return self.robot.part_controllers[self.name]


class Simulator:
    """One robosuite environment, driven only through its controllers and MuJoCo."""

    def __init__(self, model: RobosuiteModel, control_mode: ControlMode) -> None:
        robosuite = import_robosuite()
        import mujoco

        self._mujoco, self._mode = mujoco, control_mode
        self.robosuite = robosuite.make(
            model.name,
            robots=list(model.robots),
            controller_configs=[_controllers(robosuite, robot, control_mode) for robot in model.robots],
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            renderer="mujoco",  # "mjviewer" would touch the viewer on each reset
            hard_reset=False,
            ignore_done=True,
            control_freq=model.control_hz,
            seed=MODEL_SEED,
            **model.options,
        )
        self.robosuite.deterministic_reset = True  # robosuite itself draws nothing from here on
        self.robosuite.reset()
        self.model, self.data = self.robosuite.sim.model._model, self.robosuite.sim.data._data
        self.model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        if mujoco.get_mju_user_warning() is None:
            mujoco.set_mju_user_warning(_quiet_warning)  # else MuJoCo writes MUJOCO_LOG.TXT where we run
        self._substeps = int(self.robosuite.control_timestep / self.robosuite.model_timestep)
        self.arms = tuple(_arm(robot, name) for robot in self.robosuite.robots for name in robot.arms)
        parts = [(self.robosuite, arm.robot, arm.name) for arm in self.arms]
        self._fast = [FastOsc(*part) for part in parts] if all(FastOsc.applies(*part) for part in parts) else []
        bad = mujoco.mjtWarning
        self._bad = [self.data.warning[int(w)] for w in (bad.mjWARN_BADQPOS, bad.mjWARN_BADQVEL, bad.mjWARN_BADQACC)]

    # ------------------------------------------------------------------------------------------------------- state

    def state(self) -> Float64:
        """Return the flattened state: time, qpos, qvel; float64 (1 + nq + nv,)."""
        return np.concatenate([[self.data.time], self.data.qpos, self.data.qvel])

    def starting_qpos(self, rng: np.random.Generator) -> Float64:
        """Return robosuite's starting joint positions (nq,) with noise from `rng`.

        The objects are not placed.
        """
        qpos: Float64 = self.model.qpos0.copy()
        for robot in self.robosuite.robots:
            noise = START_NOISE * rng.standard_normal(len(robot.init_qpos))
            qpos[robot._ref_joint_pos_indexes] = np.asarray(robot.init_qpos) + noise
        for arm in self.arms:
            qpos[arm.fingers] = arm.robot.gripper[arm.name].init_qpos
        return qpos

    def restore(self, state: Float64) -> None:
        """Begin an episode exactly at `state`, which has the form of `state()`.

        Controllers, grippers and buffers are new.
        """
        expected = 1 + self.model.nq + self.model.nv
        if np.shape(state) != (expected,):
            raise ConfigError(f"sim_state: expected shape ({expected},) for this task, got {np.shape(state)}")
        if not np.isfinite(state).all():
            raise ConfigError("sim_state: expected finite numbers")
        # The order matters: robosuite's reset makes new controllers, MuJoCo's clears
        # warnings and the solver's warm start, and only then the state is written.
        self.robosuite.reset()
        self._mujoco.mj_resetData(self.model, self.data)
        self.data.time = state[0]
        self.data.qpos[:], self.data.qvel[:] = state[1 : 1 + self.model.nq], state[1 + self.model.nq :]
        self._mujoco.mj_forward(self.model, self.data)
        for arm in self.arms:  # the null space pulls towards the joints that the episode began with
            arm.controller.update_initial_joints(self.data.qpos[arm.joints])

    # ----------------------------------------------------------------------------------------------------- control

    def step(self, action: Float64) -> None:
        """Execute a checked action (Da,) for one control step.

        Raises SimulationDiverged if the physics becomes unstable.
        """
        drive = self._drive if self._fast else self._drive_slowly
        try:
            drive(action)
        except (
            np.linalg.LinAlgError,
            ValueError,
        ) as error:  # the controller inverts matrices that are no longer finite
            raise SimulationDiverged(f"the arm's controller failed at t = {self.data.time:.3f} s: {error}") from error
        self._check_divergence()
        self.refresh()

    def _drive(self, action: Float64) -> None:
        """Run all substeps of one control step; goals are set before the first."""
        mj_step1, mj_step2, model, data = self._mujoco.mj_step1, self._mujoco.mj_step2, self.model, self.data
        for osc, part in zip(self._fast, action.reshape(len(self._fast), -1), strict=True):
            osc.begin(part)
        for _ in range(self._substeps):
            mj_step1(model, data)
            for osc in self._fast:
                osc.apply()
            mj_step2(model, data)

    def _drive_slowly(self, action: Float64) -> None:
        """Run the same substeps by robosuite's own controllers.

        For arms to which `FastOsc` does not apply.
        """
        command = self._command(action)
        for substep in range(self._substeps):
            self._mujoco.mj_step1(self.model, self.data)
            self.robosuite._pre_action(command, policy_step=substep == 0)
            self._mujoco.mj_step2(self.model, self.data)

    def delta_goal(self, arm: Arm, delta: Float64) -> tuple[Float64, Float64]:
        """Return the goal of robosuite's delta controller for an arm.

        Position (3,), m, and rotation (3, 3), world. `delta` (6,) in [-1, 1]: steps
        along and about the axes of the robot's base, from the grip site's present pose.
        """
        arm.robot.composite_controller.update_state()  # where the base is
        scaled, base = arm.controller.scale_action(delta), arm.controller.origin_ori
        turn = base @ matrix_from_rotation_vector(scaled[3:]) @ base.T
        return self.site_position(arm) + base @ scaled[:3], turn @ self.site_matrix(arm)

    def deltas(self, arm: Arm, moves: Float64, turns: Float64) -> Float64:
        """Return the commands (T, 6) that move the goals of an arm from where it is.

        The inverse of `delta_goal`. `moves` (T, 3), m, and `turns` (T, 3), rotation
        vectors, both along the world's axes. Numbers outside [-1, 1] are out of reach.
        """
        arm.robot.composite_controller.update_state()  # where the base is
        unit, base = arm.controller.scale_action(np.ones(6)), arm.controller.origin_ori
        along: Float64 = np.concatenate([moves @ base, turns @ base], axis=1) / unit
        return along

    def refresh(self) -> None:
        """Update the positions of bodies, sites and cameras to the present state.

        A step leaves them one substep behind.
        """
        self._mujoco.mj_kinematics(self.model, self.data)
        self._mujoco.mj_comPos(self.model, self.data)
        self._mujoco.mj_camlight(self.model, self.data)

    def _command(self, action: Float64) -> Float64:
        """Return robosuite's action vector for `action` in our control mode."""
        if self._mode == "ee_delta":
            return action
        per_robot: dict[int, dict[str, Float64]] = {}
        for arm, part in zip(self.arms, np.split(action, len(self.arms)), strict=True):
            pose, gripper = absolute_command(part, self.site_matrix(arm))
            per_robot.setdefault(id(arm.robot), {}).update({arm.name: pose, f"{arm.name}_gripper": gripper})
        robots = self.robosuite.robots
        return np.concatenate([robot.create_action_vector(per_robot[id(robot)]) for robot in robots])

    def _check_divergence(self) -> None:
        if any(warning.number for warning in self._bad) or not np.isfinite(self.data.qpos).all():
            counts = dict(zip(("BADQPOS", "BADQVEL", "BADQACC"), (w.number for w in self._bad), strict=True))
            raise SimulationDiverged(f"the simulation became unstable at t = {self.data.time:.3f} s ({counts})")

    # -------------------------------------------------------------------------------------------------- what there is

    def site_position(self, arm: Arm) -> Float64:
        """Return the grip site's position (3,), m, world."""
        return np.array(self.data.site_xpos[arm.site])

    def site_matrix(self, arm: Arm) -> Float64:
        """Return the grip site's rotation (3, 3), world."""
        return np.array(self.data.site_xmat[arm.site]).reshape(3, 3)

    def body(self, name: str) -> Any:
        """Return mujoco's view of the body `name` (xpos, xquat wxyz, xmat)."""
        return self.data.body(name)

    def joint_address(self, name: str) -> int:
        """Return the index in qpos at which the joint `name` begins."""
        return int(self.model.joint(name).qposadr[0])

    def joint_ranges(self) -> dict[str, JointRanges]:
        """Return each joint's ranges in `state()`."""
        model, ranges = self.model, {}
        for number in range(model.njnt):
            joint = model.joint(number)
            position, velocity = 1 + int(joint.qposadr[0]), 1 + model.nq + int(joint.dofadr[0])
            numbers, speeds = JOINT_SIZES.get(int(joint.type[0]), (1, 1))
            ranges[joint.name] = JointRanges(slice(position, position + numbers), slice(velocity, velocity + speeds))
        return ranges

    def xml(self) -> str:
        """Return the model as MJCF.

        The paths of its meshes and textures are relative to robosuite's package.
        """
        text: str = self.robosuite.model.get_xml()  # sim.model's would be that of the last compiled model
        return re.sub(r'file="[^"]*/(robosuite/[^"]*)"', r'file="\1"', text)


def _controllers(robosuite: Any, robot: str, control_mode: ControlMode) -> dict[str, Any]:
    """Return robosuite's default controllers of `robot`.

    For pose actions they are absolute, in the world's frame.
    """
    config: dict[str, Any] = robosuite.load_composite_controller_config(robot=robot)
    if control_mode == "ee_pose":
        for part in config["body_parts"].values():
            if part.get("type") == "OSC_POSE":
                part.update(input_type="absolute", input_ref_frame="world")
    return config


def _arm(robot: Any, name: str) -> Arm:
    controller = robot.part_controllers[name]
    return Arm(
        robot=robot,
        name=name,
        site=int(robot.eef_site_id[name]),
        joints=list(controller.qpos_index),
        fingers=list(robot._ref_gripper_joint_pos_indexes[name]),
    )


def _quiet_warning(message: str) -> None:
    logging.getLogger("altbench").debug("MuJoCo: %s", message)
