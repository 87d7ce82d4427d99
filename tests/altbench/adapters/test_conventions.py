"""Each convention beside an example that was worked out apart from the code; and back again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from altbench.adapters import actions, images, rotations, state
from altbench.adapters.actions import Context, Poses
from altbench.adapters.spec import Actions, Images, State
from altbench.core.errors import ContractError

RNG = np.random.default_rng(3)
TURN = Rotation.from_euler("xyz", [0.2, -0.4, 0.9]).as_matrix()  # about the world's x, then y, then z
BASE = (-0.56, 0.0, 0.912)


def agent_pos(position: tuple[float, float, float] = (0.1, -0.2, 0.9)) -> np.ndarray:
    rot6d = [*TURN[:, 0], *TURN[:, 1]]
    return np.array([*position, *rot6d, 0.03, -0.02], np.float32)[None, None]


def context(frames: int = 1) -> Context:
    seen = Poses(np.tile([[[0.1, -0.2, 0.9]]], (frames, 1, 1)), np.tile(TURN, (frames, 1, 1, 1)))
    before = Poses(np.tile([[[0.1, -0.2, 0.8]]], (frames, 1, 1)), np.tile(np.eye(3), (frames, 1, 1, 1)))
    return Context(seen, before, BASE)


# ------------------------------------------------------------------------------------------ rotations
def test_a_quarter_turn_about_z_has_the_numbers_that_every_form_gives_it() -> None:
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    half = math.sqrt(0.5)
    expected = {
        "rot6d": [0, 1, 0, -1, 0, 0],
        "rot6d_rows": [0, -1, 0, 1, 0, 0],
        "rot6d_interleaved": [0, -1, 1, 0, 0, 0],
        "quat_xyzw": [0, 0, half, half],
        "quat_wxyz": [half, 0, 0, half],
        "rotvec": [0, 0, math.pi / 2],
        "euler_xyz": [0, 0, math.pi / 2],
        "euler_zyx": [math.pi / 2, 0, 0],
        "euler_xyz_intrinsic": [0, 0, math.pi / 2],
        "euler_zyx_intrinsic": [math.pi / 2, 0, 0],
    }
    assert set(expected) == set(rotations.LENGTHS)
    for form, numbers in expected.items():
        np.testing.assert_allclose(rotations.numbers(quarter, form), numbers, atol=1e-12, err_msg=form)


def test_euler_angles_turn_about_the_world_unless_they_are_intrinsic() -> None:
    x, y, z = (
        Rotation.from_euler(axis, angle).as_matrix() for axis, angle in zip("xyz", (0.2, -0.4, 0.9), strict=True)
    )
    made = {form: rotations.matrices(np.array(values), form) for form, values in {
        "euler_xyz": [0.2, -0.4, 0.9],
        "euler_zyx": [0.9, -0.4, 0.2],
        "euler_xyz_intrinsic": [0.2, -0.4, 0.9],
        "euler_zyx_intrinsic": [0.9, -0.4, 0.2],
    }.items()}  # fmt: skip
    np.testing.assert_allclose(made["euler_xyz"], z @ y @ x)
    np.testing.assert_allclose(made["euler_zyx"], x @ y @ z)
    np.testing.assert_allclose(made["euler_xyz_intrinsic"], x @ y @ z)
    np.testing.assert_allclose(made["euler_zyx_intrinsic"], z @ y @ x)


@pytest.mark.parametrize("form", list(rotations.LENGTHS))
def test_every_form_of_a_rotation_leads_back_to_it(form: str) -> None:
    turns = Rotation.random(50, rng=np.random.default_rng(1)).as_matrix().reshape(5, 10, 3, 3)
    numbers = rotations.numbers(turns, form)
    assert numbers.shape == (5, 10, rotations.LENGTHS[form])
    np.testing.assert_allclose(rotations.matrices(numbers, form), turns, atol=1e-9)


@pytest.mark.parametrize("form", list(rotations.LENGTHS))
def test_numbers_without_a_direction_still_make_a_rotation(form: str) -> None:
    made = rotations.matrices(np.zeros((2, rotations.LENGTHS[form])), form)
    np.testing.assert_allclose(made @ np.swapaxes(made, -1, -2), np.tile(np.eye(3), (2, 1, 1)), atol=1e-9)


# ------------------------------------------------------------------------------------------ images
def test_images_are_changed_as_the_keys_say() -> None:
    image = np.zeros((1, 1, 4, 6, 3), np.uint8)
    image[0, 0, 0, 0] = (255, 0, 51)  # top left: red, with some blue
    assert images.to_policy(image, Images(order="bgr"))[0, 0, 0, 0].tolist() == [51, 0, 255]
    assert images.to_policy(image, Images(flip_vertical=True))[0, 0, 3, 0].tolist() == [255, 0, 51]
    assert images.to_policy(image, Images(flip_horizontal=True))[0, 0, 0, 5].tolist() == [255, 0, 51]
    chw = images.to_policy(image, Images(layout="chw", range="0..1"))
    assert chw.shape == (1, 1, 3, 4, 6) and chw.dtype == np.float32
    np.testing.assert_allclose(chw[0, 0, :, 0, 0], [1.0, 0.0, 0.2])
    signed = images.to_policy(image, Images(range="-1..1"))
    np.testing.assert_allclose(signed[0, 0, 0, 0], [1.0, -1.0, -0.6], atol=1e-6)
    assert images.to_policy(image, Images(size=(8, 12))).shape == (1, 1, 8, 12, 3)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["hwc", "chw"])
@pytest.mark.parametrize("scale", ["0..255", "0..1", "-1..1"])
@pytest.mark.parametrize("flips", [(False, True), (True, False)])
def test_images_come_back_bit_for_bit(order: str, layout: str, scale: str, flips: tuple[bool, bool]) -> None:
    image = RNG.integers(0, 256, (2, 1, 5, 7, 3)).astype(np.uint8)
    how = Images.model_validate(
        {"order": order, "layout": layout, "range": scale, "flip_vertical": flips[0], "flip_horizontal": flips[1]}
    )
    np.testing.assert_array_equal(images.from_policy(images.to_policy(image, how), how), image)


# ------------------------------------------------------------------------------------------ state
def test_proprioception_is_changed_as_the_keys_say() -> None:
    how = State(order=("fingers", "position"), fingers="width", unit="cm", frame="base")
    np.testing.assert_allclose(state.to_policy(agent_pos(), how, BASE)[0, 0], [0.05, 66.0, -20.0, -1.2], rtol=1e-5)
    quat = state.to_policy(agent_pos(), State(order=("rotation",), rotation="quat_wxyz"), None)[0, 0]
    x, y, z, w = Rotation.from_matrix(TURN).as_quat()
    np.testing.assert_allclose(quat, [w, x, y, z], atol=1e-6)
    assert state.to_policy(agent_pos(), State(order=()), None).shape == (1, 1, 0)


def test_the_hand_is_turned_by_a_quarter_about_its_own_z() -> None:
    seen = state.to_policy(agent_pos(), State(order=("rotation",), tool="hand"), None)[0, 0]
    np.testing.assert_allclose(seen[:3], TURN[:, 1], atol=1e-6)  # the hand's x is the grip site's y
    np.testing.assert_allclose(seen[3:], -TURN[:, 0], atol=1e-6)


@pytest.mark.parametrize("arms", [1, 2])
@pytest.mark.parametrize(
    "how",
    [
        State(),
        State(order=("rotation", "fingers", "position"), rotation="rotvec", unit="mm"),
        State(rotation="euler_zyx_intrinsic", frame="base", tool="hand"),
    ],
)
def test_proprioception_comes_back(how: State, arms: int) -> None:
    ours = np.tile(agent_pos(), (2, 3, arms))
    given = state.to_policy(ours, how, BASE)
    assert given.shape == (2, 3, arms * state.length(how))
    np.testing.assert_allclose(state.from_policy(given, how, BASE, arms), ours, atol=1e-6)


def test_a_state_of_another_length_is_refused() -> None:
    with pytest.raises(ContractError, match="expected a state of 9 numbers, got 11"):
        state.from_policy(agent_pos(), State(rotation="quat_xyzw"), None, 1)


# ------------------------------------------------------------------------------------------ actions
def decoded(numbers: list[list[float]], how: Actions) -> np.ndarray:
    return actions.decode(np.array([numbers]), how, context())[0, :, 0]


def test_absolute_positions_are_scaled_and_moved_to_the_world() -> None:
    still = [0.0, 0.0, 0.0, 1.0]
    cm = decoded(
        [[66.0, -20.0, -1.2, *still, 0.0]], Actions(position="cm", frame="base", rotation="quat_xyzw", gripper=(0, 1))
    )
    np.testing.assert_allclose(cm[0], [0.1, -0.2, 0.9, 1, 0, 0, 0, 1, 0, -1], atol=1e-9)
    bounds = Actions(position="min_max", low=(0, 0, 0), high=(1, 2, 4), rotation="quat_xyzw")
    np.testing.assert_allclose(decoded([[-1.0, 0.0, 1.0, *still, 1.0]], bounds)[0, :3], [0, 1, 4])


def test_steps_from_the_pose_turn_with_the_gripper_only_if_they_are_its_own() -> None:
    turn = Rotation.from_rotvec([0.0, 0.3, 0.0])
    answer = [[0.1, 0.0, 0.0, *turn.as_rotvec(), 1.0]] * 2
    world = decoded(answer, Actions(reference="pose", rotation="rotvec"))
    np.testing.assert_allclose(world[1, :3], [0.2, -0.2, 0.9], atol=1e-9)
    np.testing.assert_allclose(world[1, 3:6], (turn.as_matrix() @ TURN)[:, 0], atol=1e-9)
    own = decoded(answer, Actions(reference="pose", rotation="rotvec", frame="end_effector"))
    np.testing.assert_allclose(own[1, :3], np.array([0.1, -0.2, 0.9]) + 0.1 * TURN[:, 0], atol=1e-9)
    np.testing.assert_allclose(own[1, 3:6], (TURN @ turn.as_matrix())[:, 0], atol=1e-9)


def test_steps_from_the_previous_target_add_up() -> None:
    chain = decoded([[0.0, 0.0, 0.01, 0, 0, 0.1, 1.0]] * 3, Actions(reference="previous", rotation="rotvec"))
    np.testing.assert_allclose(chain[:, 2], [0.81, 0.82, 0.83], atol=1e-9)
    np.testing.assert_allclose(chain[2, 3:5], [math.cos(0.3), math.sin(0.3)], atol=1e-9)


def test_the_offset_and_the_frequency_say_which_step_an_answer_is_for() -> None:
    heights = [[0.0, 0.0, z, 0, 0, 0, 1.0] for z in (1.0, 2.0, 3.0, 4.0)]
    made = {
        (offset, frequency): decoded(heights, Actions(rotation="rotvec", offset=offset, frequency=frequency))[:, 2].tolist()
        for offset, frequency in ((1, 1.0), (-2, 1.0), (0, 2.0), (0, 0.5))
    }  # fmt: skip
    assert made[1, 1.0] == [1, 1, 2, 3, 4]
    assert made[-2, 1.0] == [3, 4]
    assert made[0, 2.0] == [2, 4]
    np.testing.assert_allclose(made[0, 0.5], [0.9, 1, 1.5, 2, 2.5, 3, 3.5, 4])


def test_deltas_of_each_step_become_the_benchs_own() -> None:
    how = Actions(reference="step", position="cm", rotation="rotvec", gripper=(1, -1))
    made = actions.as_deltas(np.array([[[5.0, 0.0, -2.5, 0.0, 0.0, 0.25, 1.0]]]), how, 1)
    np.testing.assert_allclose(made[0, 0, 0], [1.0, 0.0, -0.5, 0.0, 0.0, 0.5, -1.0])


@pytest.mark.parametrize(
    "how",
    [
        Actions(),
        Actions(position="mm", rotation="quat_wxyz", frame="base", tool="hand", gripper=(1, 0)),
        Actions(reference="pose", frame="end_effector", rotation="euler_xyz", position="controller"),
        Actions(reference="previous", rotation="rotvec", position="controller"),
        Actions(position="min_max", low=(-1, -1, 0), high=(1, 1, 2), rotation="rot6d_interleaved"),
    ],
)
def test_actions_come_back(how: Actions) -> None:
    turns = Rotation.random(12, rng=np.random.default_rng(2)).as_matrix().reshape(2, 6, 1, 3, 3)
    places, grips = RNG.uniform(-0.3, 1.0, (2, 6, 1, 3)), RNG.choice([-1.0, 1.0], (2, 6, 1, 1))
    ours = np.concatenate([places, rotations.numbers(turns, "rot6d"), grips], axis=-1)
    answers = actions.encode(ours, how, context(2))
    assert answers.shape == (2, actions.answers_for(6, how), actions.width(how))
    np.testing.assert_allclose(actions.decode(answers, how, context(2)), ours, atol=1e-4)


def test_answers_of_another_length_are_refused_by_name() -> None:
    with pytest.raises(ContractError, match=r"expected actions \(B, Ta, 8\), as the adapter's rotation 'quat_xyzw'"):
        actions.decode(np.zeros((1, 2, 10)), Actions(rotation="quat_xyzw"), context())
