"""Cameras with other positions and directions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from altbench_envs.perturbations.scene import VisualPerturbation
from altbench_envs.robosuite_env.visuals import Visuals

AWAY = (0.0, 0.01, 0.02, 0.04, 0.06, 0.08)
"""The move (m) by severity."""
ASKEW = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0)
"""The turn (degrees) by severity."""
CARRIED = 0.25
"""The share for a camera on an arm, whose objects are at a quarter of the distance."""


class CameraPose(VisualPerturbation):
    """A move of each camera by 1 to 8 cm and a turn by 1 to 8°.

    A camera on an arm moves and turns by a quarter of that. The direction is drawn per
    episode and camera.
    """

    name = "camera_pose"
    per_camera = True

    def _change(self, visuals: Visuals, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        from scipy.spatial.transform import Rotation

        model = visuals.model
        visuals.keep(model.cam_pos, model.cam_quat)
        for name in visuals.camera_names:
            direction, axis = _unit(rng), _unit(rng)
            if name not in cameras:
                continue  # drawn all the same: a camera's change must not depend on the others
            number = visuals.camera(name)
            share = CARRIED if model.cam_bodyid[number] else 1.0
            model.cam_pos[number] += share * AWAY[self.severity] * direction
            turn = Rotation.from_rotvec(np.deg2rad(share * ASKEW[self.severity]) * axis)
            present = Rotation.from_quat(np.roll(model.cam_quat[number], -1))
            model.cam_quat[number] = np.roll((present * turn).as_quat(), 1)


def _unit(rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return a direction, (3,), uniform on the sphere."""
    vector = rng.standard_normal(3)
    unit: np.ndarray[tuple[int], np.dtype[np.float64]] = vector / np.linalg.norm(vector)
    return unit
