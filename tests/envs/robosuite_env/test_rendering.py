"""Which OpenGL is chosen, and that rendering fast shows the same scene."""

from __future__ import annotations

import ctypes.util
import os
from collections.abc import Iterator

import numpy as np
import pytest

from altbench.core.errors import RenderingUnavailable
from altbench_envs.robosuite_env import rendering
from altbench_envs.robosuite_env.adapter import RobosuiteEnv
from altbench_envs.tasks.lift import LiftScene


@pytest.mark.parametrize(
    ("egl", "osmesa", "chosen"), [(True, "x", "egl"), (False, "x", "osmesa"), (False, None, "disable")]
)
def test_egl_first_then_osmesa(egl: bool, osmesa: str | None, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(rendering, "_egl_works", lambda: egl)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: osmesa)
    rendering.select_backend()
    assert os.environ["MUJOCO_GL"] == chosen


def test_the_users_choice_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    rendering.select_backend()
    assert os.environ["MUJOCO_GL"] == "osmesa"


@pytest.mark.parametrize("backend", ["off", "egll"])
def test_without_a_back_end_the_packages_are_named(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", backend)
    monkeypatch.setattr(rendering.importlib, "import_module", _refuse)
    with pytest.raises(RenderingUnavailable, match=f"MUJOCO_GL={backend}.*libegl1 and libgl1-mesa-dri.*libosmesa6"):
        rendering._new_gl_context(8, 8)


def _refuse(name: str) -> None:
    raise ImportError(f"no {name}")


@pytest.fixture(scope="module")
def robosuite_env() -> Iterator[RobosuiteEnv]:
    """Lift as robosuite draws it."""
    env = RobosuiteEnv(LiftScene(), render_profile="robosuite")
    yield env
    env.close()


@pytest.mark.sim
def test_fast_images_are_close_to_robosuites(pixels_env: RobosuiteEnv, robosuite_env: RobosuiteEnv) -> None:
    """Mean difference under 3 of 255 grey levels; what differs are shadows, reflections and edges."""
    for seed in range(3):
        ours, theirs = (env.reset(seed=seed)[0]["pixels"] for env in (pixels_env, robosuite_env))
        for camera in ours:
            assert np.abs(ours[camera].astype(int) - theirs[camera]).mean() < 3.0
            assert not np.array_equal(ours[camera], theirs[camera])


@pytest.mark.sim
def test_robosuite_profile_is_what_robosuite_draws(robosuite_env: RobosuiteEnv) -> None:
    from robosuite.utils.binding_utils import MjRenderContextOffscreen

    images = robosuite_env.reset(seed=0)[0]["pixels"]
    sim = robosuite_env._simulator.robosuite.sim
    context = MjRenderContextOffscreen(sim, device_id=-1)
    context.vopt.geomgroup[0] = 0  # collision geoms, as robosuite's environments set it
    drawn = sim.render(width=84, height=84, camera_name="agentview")[::-1]
    context.gl_ctx.free()
    np.testing.assert_array_equal(images["agentview"], drawn)


@pytest.mark.sim
def test_leaving_out_what_is_not_in_view_changes_no_pixel(
    pixels_env: RobosuiteEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    poses = ((-0.2, -0.2, 1.1), (0.2, 0.2, 0.9), (0.0, 0.0, 0.85))
    for seed, goal in enumerate(poses):
        pixels_env.reset(seed=seed)
        for _ in range(15):
            pixels_env.advance(np.array([*goal, 0, 1, 0, 1, 0, 0.3 * seed, -1], np.float32))
        culled = pixels_env.observe()["pixels"]
        with monkeypatch.context() as patch:
            patch.setattr(rendering, "_outside_view", lambda model, *rest: np.zeros(model.ngeom, bool))
            whole = pixels_env.observe()["pixels"]
        for camera in culled:
            np.testing.assert_array_equal(culled[camera], whole[camera])


@pytest.mark.sim
def test_a_camera_sees_only_part_of_the_robot(pixels_env: RobosuiteEnv) -> None:
    simulator = pixels_env._simulator
    wrist = simulator.model.camera("robot0_eye_in_hand").id
    outside = rendering._outside_view(simulator.model, simulator.data, wrist, 1.0)
    assert outside[simulator.model.geom("robot0_g8_vis").id]  # the arm's foot
    assert not outside[simulator.model.geom("gripper0_right_finger1_visual").id]
