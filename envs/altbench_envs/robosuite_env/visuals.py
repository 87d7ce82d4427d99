"""A simulated task's appearance: what perturbations may change and then restore."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from altbench.api import Float64, UInt8
from altbench_envs.robosuite_env.rendering import VISUAL_GEOMS, Decoration, Renderer
from altbench_envs.robosuite_env.simulator import Simulator

BOX = 6  # mujoco's mjGEOM_BOX
LEAST_TOP = 0.05
"""The least area (m²) of a box on which things are put."""
UPRIGHT = 0.99
"""The least cosine between a surface's normal and the world's z axis."""


@dataclass(frozen=True)
class Top:
    """The upper face of a level surface.

    Centre (3,), half its sides (2,), the directions of its axes (2, 2); m, world.
    """

    centre: Float64
    half: Float64
    axes: Float64


class Visuals:
    """The appearance of one task's scene.

    Lights, materials, textures, cameras, and decorations, which are drawn but not
    simulated. Call `keep` on an array of the model before changing it; `restore`
    restores every kept array. Nothing here changes the simulation's state or its
    dynamics. `renderer`: the renderer of the scene; None until there is one.
    """

    def __init__(self, simulator: Simulator, cameras: Mapping[str, str]) -> None:
        self.model: Any = simulator.model
        self.decorations: list[Decoration] = []
        self.renderer: Renderer | None = None
        self._simulator, self._cameras = simulator, cameras
        self._kept: list[tuple[Any, Any]] = []
        self._textures: set[int] = set()

    def keep(self, *arrays: Any) -> None:
        """Remember the contents of `arrays` (views of the model's) for `restore`."""
        self._kept += [(array, np.array(array)) for array in arrays]

    def restore(self) -> None:
        """Restore everything as it was before the first `keep`."""
        self.decorations.clear()
        if not self._kept:
            return
        while self._kept:
            array, contents = self._kept.pop()  # last kept first, as an array may be kept twice
            array[...] = contents
        self.show()
        self._textures.clear()

    def show(self) -> None:
        """Make changes visible.

        Cameras and lights follow the model; changed textures go to the renderer.
        """
        self._simulator.refresh()
        if self.renderer is not None:
            for texture in sorted(self._textures):
                self.renderer.upload_texture(texture)

    # ----------------------------------------------------------------------------------------------- what there is

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Our names of the task's cameras."""
        return tuple(self._cameras)

    def camera(self, name: str) -> int:
        """Return the model's number of our camera `name`."""
        return int(self.model.camera(self._cameras[name]).id)

    def objects(self) -> list[int]:
        """Return the visible geoms of the task's objects."""
        roots = {o.root_body for o in self._simulator.robosuite.model.mujoco_objects}
        return [g for g in self._visible() if roots & self._ancestry(self.model.geom_bodyid[g])]

    def room(self) -> list[int]:
        """Return the visible geoms of the room itself: walls and floor."""
        return [g for g in self._visible() if self.model.geom_bodyid[g] == 0]

    def surfaces(self) -> list[int]:
        """Return the arena's visible level boxes on which things can stand.

        These are tables and the floors of bins.
        """
        arena = {body.get("name") for body in self._simulator.robosuite.model.mujoco_arena.worldbody.iter("body")}
        found = []
        for g in self._visible():
            ours = self.model.body(self.model.geom_bodyid[g]).name in arena
            if ours and self.model.geom_type[g] == BOX and self._level(g) and self._area(g) >= LEAST_TOP:
                found.append(g)
        return found

    def top(self, geom: int) -> Top:
        """Return the upper face of a level box."""
        data, size = self._simulator.data, self.model.geom_size[geom]
        centre = np.array(data.geom_xpos[geom])
        centre[2] += size[2]
        return Top(centre, np.array(size[:2]), np.array(data.geom_xmat[geom]).reshape(3, 3)[:2, :2].T)

    def positions(self, geoms: Iterable[int]) -> Float64:
        """Return the positions of geoms, (n, 3), m, world."""
        return np.array(self._simulator.data.geom_xpos[list(geoms)]).reshape(-1, 3)

    def grip_sites(self) -> Float64:
        """Return the positions of the grip sites, (arms, 3), m, world."""
        return np.stack([self._simulator.site_position(arm) for arm in self._simulator.arms])

    # ------------------------------------------------------------------------------------------------- what changes

    def repaint(self, geoms: Iterable[int], paint: Callable[[UInt8], UInt8]) -> None:
        """Replace the texture of the geoms' materials by `paint(texture)`.

        Both are uint8 (H, W, 3); each texture is painted once. A material without
        texture is painted as one pixel of its colour.
        """
        textures, materials, plain = self._drawn_with(geoms)
        for texture in sorted(textures):
            bitmap = self.texture(texture)
            self.keep(bitmap)
            bitmap[...] = paint(bitmap)
            self._textures.add(texture)
        colours = [self.model.mat_rgba[m] for m in sorted(materials)] + [self.model.geom_rgba[g] for g in plain]
        for colour in colours:
            self.keep(colour)
            pixel = np.round(colour[None, None, :3] * 255).astype(np.uint8)
            colour[:3] = paint(pixel)[0, 0] / 255

    def texture(self, number: int) -> UInt8:
        """Return a view of the model's texture, uint8 (H, W, 3)."""
        model = self.model
        height, width, channels = (int(a[number]) for a in (model.tex_height, model.tex_width, model.tex_nchannel))
        begin = int(model.tex_adr[number])
        bitmap: UInt8 = model.tex_data[begin : begin + height * width * channels].reshape(height, width, channels)
        return bitmap[..., :3]

    def _drawn_with(self, geoms: Iterable[int]) -> tuple[set[int], set[int], list[int]]:
        """Return what `geoms` are drawn with.

        (textures, materials without texture, geoms without material).
        """
        textures, materials, plain = set(), set(), []
        for g in geoms:
            material = int(self.model.geom_matid[g])
            used = [int(t) for t in np.atleast_1d(self.model.mat_texid[material]) if t >= 0] if material >= 0 else []
            textures.update(used)
            if material < 0:
                plain.append(g)
            elif not used:
                materials.add(material)
        return textures, materials, plain

    def _visible(self) -> list[int]:
        return [g for g in range(self.model.ngeom) if self.model.geom_group[g] == VISUAL_GEOMS]

    def _ancestry(self, body: int) -> set[str]:
        names = set()
        while body:
            names.add(self.model.body(body).name)
            body = int(self.model.body_parentid[body])
        return names

    def _level(self, geom: int) -> bool:
        return float(self._simulator.data.geom_xmat[geom][8]) > UPRIGHT

    def _area(self, geom: int) -> float:
        return float(4 * self.model.geom_size[geom][0] * self.model.geom_size[geom][1])
