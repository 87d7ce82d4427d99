"""Other surfaces: textures of table and room, and the objects' colour.

The textures are robosuite's own.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from altbench.api import UInt8
from altbench_envs.perturbations.scene import VisualPerturbation, blended
from altbench_envs.perturbations.validation import MAX_SEVERITY
from altbench_envs.robosuite_env.visuals import Visuals

COVERS = ("blue-wood", "brass-ambra", "clay", "dark-wood", "dirt", "green-wood", "red-wood", "wood-tiles")
WALLPAPERS = (
    "blue-wood",
    "brass-ambra",
    "clay",
    "dirt",
    "green-wood",
    "pink-plaster",
    "white-bricks",
    "yellow-plaster",
)
NEAREST_HUE, FARTHEST_HUE = 0.25, 0.75  # of a turn, from the object's own
VIVID = (0.85, 0.9)  # saturation and value of an object's new colour


class TableTexture(VisualPerturbation):
    """Another texture on the table (or the bins), with weight severity / 5.

    It is drawn for an episode.
    """

    name = "table_texture"

    def _change(self, visuals: Visuals, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        del cameras
        _cover(visuals, self._need(visuals.surfaces(), "table"), COVERS, rng, self.severity)


class RoomTexture(VisualPerturbation):
    """Another texture on walls and floor, with weight severity / 5.

    It is drawn for an episode.
    """

    name = "room_texture"

    def _change(self, visuals: Visuals, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        del cameras
        _cover(visuals, self._need(visuals.room(), "walls or floor"), WALLPAPERS, rng, self.severity)


class ObjectColour(VisualPerturbation):
    """Another colour on the objects, with weight severity / 5.

    Its hue is far from their own and drawn for an episode.
    """

    name = "object_colour"

    def _change(self, visuals: Visuals, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        del cameras
        turn = rng.uniform(NEAREST_HUE, FARTHEST_HUE)
        recolour = partial(_recoloured, turn=turn, weight=self.severity / MAX_SEVERITY)
        visuals.repaint(self._need(visuals.objects(), "objects"), recolour)


def _cover(
    visuals: Visuals, geoms: Sequence[int], choices: Sequence[str], rng: np.random.Generator, severity: int
) -> None:
    chosen = choices[int(rng.integers(len(choices)))]

    def covered(texture: UInt8) -> UInt8:
        return blended(texture, _fitted(chosen, *texture.shape[:2]), severity / MAX_SEVERITY)

    visuals.repaint(geoms, covered)


def _recoloured(texture: UInt8, turn: float, weight: float) -> UInt8:
    hue = colorsys.rgb_to_hsv(*texture.reshape(-1, 3).mean(axis=0) / 255)[0]
    colour = 255 * np.array(colorsys.hsv_to_rgb((hue + turn) % 1.0, *VIVID))
    levels = np.round((1 - weight) * np.arange(256) + weight * colour[:, None]).astype(np.uint8)
    return np.stack([levels[channel][texture[..., channel]] for channel in range(3)], axis=-1)


@lru_cache(maxsize=8)
def _fitted(name: str, height: int, width: int) -> UInt8:
    """Return robosuite's texture `name`, uint8 (height, width, 3).

    If the texture is a cube's, each of its six faces is the whole picture.
    """
    import robosuite
    from PIL import Image

    file = Path(robosuite.models.assets_root) / "textures" / f"{name}.png"
    faces = height // width if height % width == 0 else 1
    with Image.open(file) as picture:
        face = np.asarray(picture.convert("RGB").resize((width, height // faces)), dtype=np.uint8)
    fitted: UInt8 = np.tile(face, (faces, 1, 1))
    fitted.flags.writeable = False  # shared by every episode that asks for it
    return fitted
