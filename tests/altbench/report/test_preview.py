"""Contact sheets of tasks and perturbations show what is there, and grey where there is nothing."""

from __future__ import annotations

from collections.abc import Sequence

import fakes
import numpy as np
import pytest

from altbench.core.task import TaskInfo
from altbench.core.types import UInt8
from altbench.report import preview
from altbench.report.contact_sheets import GAP, LINE
from altbench.report.preview import FRAME_SIZE, MISSING, TASK_SIZE


def cell(sheet: UInt8, row: int, column: int, columns: int, height: int, width: int) -> UInt8:
    """The picture in a row and column of a sheet of `columns` columns."""
    left = sheet.shape[1] - (columns - column) * (width + GAP)
    top = LINE + row * (height + GAP)
    return sheet[top : top + height, left : left + width]


def test_a_task_is_shown_in_each_split_and_from_each_camera() -> None:
    sheet = preview.tasks_sheet(["Fake"])
    env = fakes.FakeTask(image_size=(TASK_SIZE, TASK_SIZE))
    for column, split in enumerate(("uniform", "grid")):
        first = env.reset(seed=0, options={"split": split, "episode": preview.EPISODE})[0]["pixels"]
        np.testing.assert_array_equal(cell(sheet, 0, column, 3, TASK_SIZE, TASK_SIZE), first["agentview"])
    wrist = env.reset(seed=0, options={"split": "uniform", "episode": preview.EPISODE})[0]["pixels"]["wrist"]
    np.testing.assert_array_equal(cell(sheet, 0, 2, 3, TASK_SIZE, TASK_SIZE), wrist)


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


def test_other_cameras_share_one_square() -> None:
    left, right = (np.full((TASK_SIZE, TASK_SIZE, 3), value, np.uint8) for value in (10, 240))
    square = preview._in_one_square([left, right])
    assert square.shape == left.shape and (square[0] == MISSING).all()
    middle = square[TASK_SIZE // 2, :, 0]
    assert (middle[: TASK_SIZE // 2 - GAP] == 10).all() and (middle[-TASK_SIZE // 2 + GAP :] == 240).all()
    np.testing.assert_array_equal(preview._in_one_square([left]), left)


def test_tasks_stand_in_the_registry_s_order(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    picture = np.zeros((TASK_SIZE, TASK_SIZE, 3), np.uint8)

    def pictures(task: TaskInfo, splits: Sequence[str]) -> list[UInt8]:
        drawn.append(task.name)
        return [picture] * (len(splits) + 1)

    monkeypatch.setattr(preview, "_task_pictures", pictures)
    preview.tasks_sheet(["Fake", "Can", "Lift", "Stack"])
    assert drawn == ["Lift", "Stack", "Can", "Fake"]


def test_image_and_scene_perturbations_are_told_apart() -> None:
    images, scene = preview.image_and_scene_names()
    assert "fog" in images and "camera_pose" in scene
    assert not set(images) & set(scene)
