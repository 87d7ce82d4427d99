"""What perturbations of the scene may change of a simulated task, and putting all of it back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from altbench.api import Float64, UInt8
from altbench_envs.robosuite_env.rendering import VISUAL_GEOMS, Decoration, Renderer
from altbench_envs.robosuite_env.simulator import Simulator

BOX = 6  # mujoco's mjGEOM_BOX
LEAST_TOP = 0.05  # m²: a smaller box is no surface to put things on
UPRIGHT = 0.99  # least cosine between a surface's normal and the world's z axis


@dataclass(frozen=True)
class Top:
    """A level surface's upper face: centre (3,), half its sides (2,), its axes' directions (2, 2); m, world."""

    centre: Float64
    half: Float64
    axes: Float64


class Visuals:
    """The looks of one task's scene: lights, materials, textures, cameras and things that are drawn but not simulated.

    Call `keep` on an array of the model before changing it; `restore` puts back everything that was kept. Nothing here
    changes the simulation's state or its dynamics. `renderer`: who draws the scene, once somebody does.
    """

    def __init__(self, simulator: Simulator, cameras: Mapping[str, str]) -> None:
        self.model: Any = simulator.model
        self.decorations: list[Decoration] = []
        self.renderer: Renderer | None = None
        self._simulator, self._cameras = simulator, cameras
        self._kept: list[tuple[Any, Any]] = []
        self._textures: set[int] = set()

    def keep(self, *arrays: Any) -> None:
        """Remember the contents of `arrays` (views of the model's), to be put back by `restore`."""
        self._kept += [(array, np.array(array)) for array in arrays]

    def restore(self) -> None:
        """Put everything back as it was before the first `keep`."""
        self.decorations.clear()
        if not self._kept:
            return
        while self._kept:
            array, contents = self._kept.pop()  # the last kept first, where one array was kept twice
            array[...] = contents
        self.show()
        self._textures.clear()

    def show(self) -> None:
        """Make changes visible: cameras and lights follow the model, changed textures go to the renderer."""
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
        """The model's number of our camera `name`."""
        return int(self.model.camera(self._cameras[name]).id)

    def objects(self) -> list[int]:
        """Visible geoms of the task's objects."""
        roots = {o.root_body for o in self._simulator.robosuite.model.mujoco_objects}
        return [g for g in self._visible() if roots & self._ancestry(self.model.geom_bodyid[g])]

    def room(self) -> list[int]:
        """Visible geoms of the room itself: walls and floor."""
        return [g for g in self._visible() if self.model.geom_bodyid[g] == 0]

    def surfaces(self) -> list[int]:
        """Visible level boxes of the arena on which things can stand: tables, bins' floors."""
        arena = {body.get("name") for body in self._simulator.robosuite.model.mujoco_arena.worldbody.iter("body")}
        found = []
        for g in self._visible():
            ours = self.model.body(self.model.geom_bodyid[g]).name in arena
            if ours and self.model.geom_type[g] == BOX and self._level(g) and self._area(g) >= LEAST_TOP:
                found.append(g)
        return found

    def top(self, geom: int) -> Top:
        """The upper face of a level box."""
        data, size = self._simulator.data, self.model.geom_size[geom]
        centre = np.array(data.geom_xpos[geom])
        centre[2] += size[2]
        return Top(centre, np.array(size[:2]), np.array(data.geom_xmat[geom]).reshape(3, 3)[:2, :2].T)

    def positions(self, geoms: Iterable[int]) -> Float64:
        """Where geoms are, (n, 3), m, world."""
        return np.array(self._simulator.data.geom_xpos[list(geoms)]).reshape(-1, 3)

    def grip_sites(self) -> Float64:
        """Where the grippers are, (arms, 3), m, world."""
        return np.stack([self._simulator.site_position(arm) for arm in self._simulator.arms])

    # ------------------------------------------------------------------------------------------------- what changes

    def repaint(self, geoms: Iterable[int], paint: Callable[[UInt8], UInt8]) -> None:
        """Replace the texture of the geoms' materials by `paint(texture)`, uint8 (H, W, 3) both, once for each texture;
        what has no texture is painted as one pixel of its colour."""
        textures, materials, plain = self._looks(geoms)
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
        """A view of the model's texture, uint8 (H, W, 3)."""
        model = self.model
        height, width, channels = (int(a[number]) for a in (model.tex_height, model.tex_width, model.tex_nchannel))
        begin = int(model.tex_adr[number])
        bitmap: UInt8 = model.tex_data[begin : begin + height * width * channels].reshape(height, width, channels)
        return bitmap[..., :3]

    def _looks(self, geoms: Iterable[int]) -> tuple[set[int], set[int], list[int]]:
        """(textures, materials without texture, geoms without material) that `geoms` are drawn with."""
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
