"""Rendering fast shows the same scene, in the thread that made the environment."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import mujoco
import numpy as np
import pytest

from altbench.core.errors import ContractError
from altbench_envs.robosuite_env import rendering
from altbench_envs.robosuite_env.adapter import RobosuiteEnv
from altbench_envs.tasks.lift import LiftScene


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
    context.gl_ctx.make_current()
    context.con.free()  # else its destructor frees it later, in whichever GL context is current, and spoils that
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


@pytest.mark.sim
@pytest.mark.parametrize("moment", ["before drawing", "while drawing", "while another is made"])
def test_a_renderer_that_nobody_closed_spoils_no_image(
    moment: str, pixels_env: RobosuiteEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector takes it at any moment, so also between making a context current and drawing in it."""
    pixels_env.reset(seed=0)
    model, data = pixels_env._simulator.model, pixels_env._simulator.data
    camera = model.camera("agentview").id
    left = [rendering.Renderer(model, "fast", 24, 24)]
    dropped = weakref.ref(left[0])

    def draw() -> np.ndarray:  # type: ignore[type-arg]
        if moment != "while another is made":
            return pixels_env.observe()["pixels"]["agentview"]
        made = rendering.Renderer(model, "fast", 84, 84)
        image = made.render(data, camera, 84, 84)
        made.close()
        return image

    def dropping(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, **options: (left.clear(), original(*arguments, **options))[1]

    expected = draw()
    if moment == "before drawing":
        left.clear()
    elif moment == "while drawing":
        monkeypatch.setattr(rendering, "_outside_view", dropping(rendering._outside_view))
    else:
        monkeypatch.setattr(mujoco, "MjvScene", dropping(mujoco.MjvScene))
    np.testing.assert_array_equal(draw(), expected)
    assert dropped() is None
    np.testing.assert_array_equal(draw(), expected)
    assert not rendering._DROPPED  # and what was dropped has been freed


@pytest.mark.sim
def test_another_thread_is_refused_in_words_and_does_no_harm(pixels_env: RobosuiteEnv, state_env: RobosuiteEnv) -> None:
    raised: list[BaseException] = []

    def use() -> None:
        state_env.reset(seed=0)  # without images every thread may use it
        for act in (pixels_env.reset, pixels_env.observe):
            try:
                act()
            except ContractError as error:
                raised.append(error)

    pixels_env.reset(seed=0)
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert [str(error).startswith("an environment with images belongs to the thread") for error in raised] == [True] * 2
    assert pixels_env.reset(seed=0)[0]["pixels"]["wrist"].any()
