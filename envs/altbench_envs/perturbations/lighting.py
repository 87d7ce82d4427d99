"""The scene's light: its direction, its colour, its strength.

All lamps, and the light that each camera carries, change together. No change needs
shadows to be visible.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np

from altbench.api import Float64
from altbench_envs.perturbations.scene import VisualPerturbation
from altbench_envs.robosuite_env.visuals import Visuals

LEANING = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0)  # degrees
TINTED = (0.0, 0.25, 0.40, 0.55, 0.70, 0.85)  # saturation of the light's colour
REMAINING = (1.0, 0.75, 0.60, 0.45, 0.30, 0.15)  # of the light's strength


class LightDirection(VisualPerturbation):
    """Light from the lamps at 15 to 75° from the vertical.

    It comes from one side during an episode.
    """

    name = "light_direction"

    def _change(self, visuals: Visuals, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        from scipy.spatial.transform import Rotation

        del cameras
        model, azimuth = visuals.model, rng.uniform(0.0, 2 * np.pi)
        self._need(range(model.nlight), "lamps")
        axis = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
        turn = Rotation.from_rotvec(np.deg2rad(LEANING[self.severity]) * axis)
        visuals.keep(model.light_dir)
        model.light_dir[:] = turn.apply(_downwards(model.light_dir))


class LightColour(VisualPerturbation):
    """A tint of all light, with a saturation of 25 to 85 % and one hue for an episode.

    The strongest channel is kept.
    """

    name = "light_colour"

    def _change(self, visuals: Visuals, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        del cameras
        _filter(visuals, np.array(colorsys.hsv_to_rgb(rng.random(), TINTED[self.severity], 1.0)))


class LightStrength(VisualPerturbation):
    """75 to 15 % of all light; for a brighter picture there is `brightness`."""

    name = "light_strength"

    def _change(self, visuals: Visuals, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        del rng, cameras
        _filter(visuals, np.full(3, REMAINING[self.severity]))


def _downwards(directions: Any) -> Float64:
    """Return the vertical for each lamp.

    Turned from the vertical, a greater angle always means a flatter light.
    """
    return np.tile([0.0, 0.0, -1.0], (len(directions), 1))


def _filter(visuals: Visuals, factor: Float64) -> None:
    """Multiply the colour of all light by `factor` (3,)."""
    model, headlight = visuals.model, visuals.model.vis.headlight
    lights = [model.light_ambient, model.light_diffuse, model.light_specular]
    for colour in [*lights, headlight.ambient, headlight.diffuse, headlight.specular]:
        visuals.keep(colour)
        colour[...] = colour * factor
