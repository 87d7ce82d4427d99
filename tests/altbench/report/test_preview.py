"""Contact sheets of tasks and perturbations show what is there, and grey where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from altbench.core import registry
from altbench.core.types import UInt8
from altbench.report import preview
from altbench.report.contact_sheets import GAP, LINE
from altbench.report.drawing import task_sheet
from altbench.report.preview import FRAME_SIZE, MISSING
from altbench.report.style import styled


def cell(sheet: UInt8, row: int, column: int, columns: int, height: int, width: int) -> UInt8:
    """The picture in a row and column of a sheet of `columns` columns."""
    left = sheet.shape[1] - (columns - column) * (width + GAP)
    top = LINE + row * (height + GAP)
    return sheet[top : top + height, left : left + width]


def test_a_task_is_shown_at_its_start_and_solved_with_a_map_of_each_kind_of_split() -> None:
    with styled():
        figure = task_sheet.draw_tasks(["Fake"])
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["", "a start", "solved", "replay, recall", "uniform"]
    about, start, solved, shown, uniform = figure.axes
    assert about.texts[0].get_text() == "Fake"
    assert (
        start.images and solved.images and not np.array_equal(start.images[0].get_array(), solved.images[0].get_array())
    )
    grid = task_sheet.poses_of(registry.task("Fake"), seed=0)["grid"]
    (places,) = [c.get_offsets() for c in shown.collections]
    np.testing.assert_allclose(np.asarray(places), grid[:, [1, 0]])  # across is y, as the camera sees it
    assert [len(c.get_offsets()) for c in uniform.collections] == [len(grid), task_sheet.DRAWS]
    (low, high) = uniform.get_ylim()
    assert low > high, "the robot, at low x, is at the top"


def test_the_range_that_is_drawn_holds_what_uniform_draws_and_the_map_holds_all_splits() -> None:
    poses = {"uniform": np.array([[0.0, 0.0], [1.0, 2.0]]), "extrapolate_side": np.array([[0.5, 3.0]])}
    blank = np.zeros((8, 8, 3), np.uint8)
    sheet = task_sheet.Sheet(registry.task("Fake"), blank, None, poses)
    axis = Figure().subplots()
    task_sheet._map(axis, sheet, ("extrapolate_side", "extrapolate_back"))
    (box,) = axis.patches
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (0.0, 0.0, 2.0, 1.0)
    assert axis.get_xlim()[0] < 0 and axis.get_xlim()[1] > 3


def test_objects_on_two_tables_are_drawn_nearer_to_each_other_and_near_ones_as_they_are() -> None:
    far = {"uniform": np.array([[0.0, 0.0, 0.0, 5.0], [1.0, 1.0, 1.0, 6.0]])}
    moved = task_sheet._nearer(far, [(0, 1), (2, 3)])["uniform"]
    np.testing.assert_allclose(moved[:, :3], far["uniform"][:, :3])
    assert moved[0, 3] == pytest.approx(1.0 + task_sheet.MOST_APART) and np.ptp(moved[:, 3]) == pytest.approx(1.0)
    near = {"uniform": np.array([[0.0, 0.0, 0.0, 1.1], [1.0, 1.0, 1.0, 2.1]])}
    np.testing.assert_array_equal(task_sheet._nearer(near, [(0, 1), (2, 3)])["uniform"], near["uniform"])


def test_images_are_framed_to_where_they_differ() -> None:
    first, second = (np.zeros((100, 100, 3), np.uint8) for _ in range(2))
    second[40:60, 70:90] = 255
    second[0, 0] = 255  # one pixel elsewhere does not widen the frame
    top, left, side = task_sheet.frame_of([first, second])
    assert top <= 40 and top + side >= 60 and left <= 70 and left + side >= 90 and side < 40
    assert task_sheet.frame_of([first, first]) == (0, 0, 100)


def test_the_tasks_sheet_is_a_picture() -> None:
    sheet = preview.tasks_sheet(["Fake"])
    assert sheet.dtype == np.uint8 and sheet.ndim == 3 and sheet.std() > 5


def test_perturbations_are_shown_by_severity_and_grey_where_a_task_has_nothing_for_them() -> None:
    sheet = preview.perturbations_sheet(["black_camera", "frozen_frame", "light_colour"], "Fake")
    cells = [[cell(sheet, r, c, 6, FRAME_SIZE, 2 * FRAME_SIZE) for c in range(6)] for r in range(3)]
    for row in cells[:2]:
        np.testing.assert_array_equal(row[0], cells[0][0])
    means = [picture.mean() for picture in cells[0]]
    assert means == sorted(means, reverse=True)
    assert not cells[0][5].any()
    assert not np.array_equal(cells[1][5], cells[1][0])
    assert all((picture == MISSING).all() for picture in cells[2][1:])


def test_a_perturbation_has_a_sheet_of_its_own_with_a_row_for_each_camera() -> None:
    """All have one size, and hold the pictures that stand side by side in the sheet of many."""
    names = ["black_camera", "frozen_frame"]
    sheets = dict(preview.perturbation_sheets(names, "Fake"))
    together = preview.perturbations_sheet(names, "Fake")
    assert list(sheets) == names and len({sheet.shape for sheet in sheets.values()}) == 1
    for row, name in enumerate(names):
        for column in range(6):
            both = cell(together, row, column, 6, FRAME_SIZE, 2 * FRAME_SIZE)
            own = [cell(sheets[name], camera, column, 6, FRAME_SIZE, FRAME_SIZE) for camera in range(2)]
            np.testing.assert_array_equal(np.concatenate(own, axis=1), both)


def test_image_and_scene_perturbations_are_told_apart() -> None:
    images, scene = preview.image_and_scene_names()
    assert "fog" in images and "camera_pose" in scene
    assert not set(images) & set(scene)
