"""Camera images off screen: fast drawing, and upright pixels."""

from __future__ import annotations

import atexit
import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from altbench.api import ContractError, Float64, RenderProfile, UInt8
from altbench_envs.robosuite_env.opengl import explained, import_mujoco, new_context

VISUAL_GEOMS, HIDDEN_GEOMS = 1, 5
"""Geom groups: drawn, and not drawn; robosuite's group 0 is for collisions."""


@dataclass(frozen=True)
class Decoration:
    """A thing that is drawn but not simulated.

    `shape`: mujoco's geom type. `size` (3,), `position` (3,), m, world. `rotation` (3,
    3).
    """

    shape: int
    size: tuple[float, float, float]
    position: tuple[float, float, float]
    rotation: Float64
    rgba: tuple[float, float, float, float]


class Renderer:
    """A renderer of one model's cameras; it holds the GL context until `close`.

    The profile "robosuite" draws what robosuite draws. "fast" leaves out reflections,
    shadows and multisampling, and skips geoms outside the camera's view. Skipping
    changes no pixel, and a software renderer pays for every vertex.
    """

    def __init__(self, model: Any, profile: RenderProfile, height: int, width: int) -> None:
        mujoco = import_mujoco()
        _free_dropped()
        self._model, self._fast = model, profile == "fast"
        model.vis.global_.offheight = max(height, model.vis.global_.offheight)
        model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
        self._thread = threading.get_ident()
        self._gl = new_context(model.vis.global_.offwidth, model.vis.global_.offheight)
        self._scene = mujoco.MjvScene(model, maxgeom=10000)
        if self._fast:
            model.vis.quality.offsamples = 0
            model.vis.quality.shadowsize = 0
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        with explained():
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._camera, self._perturb = mujoco.MjvCamera(), mujoco.MjvPerturb()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[VISUAL_GEOMS] = 1
        self._dropped = weakref.finalize(self, _DROPPED.append, (self._thread, self._context, self._gl))
        self._dropped.atexit = False  # it might run after EGL has closed its display: `_free_all` runs before
        _free_all_at_exit()
        _OPEN.add(self)

    def render(self, data: Any, camera: int, height: int, width: int, decorations: Sequence[Decoration] = ()) -> UInt8:
        """Return the image of camera number `camera`.

        uint8 (height, width, 3), RGB, upright, contiguous. ContractError in another
        thread than the one that made the renderer.
        """
        import mujoco

        self._enter()
        self._camera.fixedcamid = camera
        groups = self._model.geom_group.copy()
        if self._fast:
            self._model.geom_group[_outside_view(self._model, data, camera, width / height)] = HIDDEN_GEOMS
        mujoco.mjv_updateScene(
            self._model, data, self._option, self._perturb, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        self._model.geom_group[:] = groups
        for decoration in decorations:
            self._add(decoration)
        viewport = mujoco.MjrRect(0, 0, width, height)
        image = np.empty((height, width, 3), dtype=np.uint8)
        mujoco.mjr_render(viewport, self._scene, self._context)
        mujoco.mjr_readPixels(image, None, viewport, self._context)
        return np.ascontiguousarray(image[::-1])

    def upload_texture(self, number: int) -> None:
        """Use the model's present contents of texture `number` from now on."""
        import mujoco

        self._enter()
        mujoco.mjr_uploadTexture(self._model, self._context, number)

    def _enter(self) -> None:
        """Make the GL context the current one.

        Raise ContractError in another thread: OpenGL would refuse it with an error code
        or, with some drivers, crash.
        """
        if threading.get_ident() != self._thread:
            raise ContractError(
                "an environment with images belongs to the thread that made it, as its OpenGL context does; make the "
                'environment in the thread that uses it, or use obs_type="state" without rendering'
            )
        _free_dropped()
        self._gl.make_current()

    def _add(self, thing: Decoration) -> None:
        import mujoco

        geom = self._scene.geoms[self._scene.ngeom]
        size, position = np.array(thing.size), np.array(thing.position)
        mujoco.mjv_initGeom(geom, thing.shape, size, position, thing.rotation.ravel(), np.array(thing.rgba, np.float32))
        self._scene.ngeom += 1

    def close(self) -> None:
        """Free the GL context; rendering afterwards is an error."""
        if self._dropped.detach():
            _free(self._context, self._gl)


def _outside_view(model: Any, data: Any, camera: int, aspect: float) -> NDArray[np.bool_]:
    """Return which geoms are surely out of view, (ngeom,).

    Their bounding boxes lie wholly on the outer side of one plane of the camera's view.
    """
    up = np.tan(np.deg2rad(model.cam_fovy[camera]) / 2)
    right = up * aspect
    inward = np.array(
        [[1, 0, -right], [-1, 0, -right], [0, 1, -up], [0, -1, -up], [0, 0, -1]]
    )  # the camera's view is along -z
    normals = inward @ data.cam_xmat[camera].reshape(3, 3).T
    boxes = data.geom_xmat.reshape(-1, 3, 3)
    centres = data.geom_xpos + np.einsum("gij,gj->gi", boxes, model.geom_aabb[:, :3])
    reach = np.einsum("gki,gi->gk", np.abs(normals @ boxes), model.geom_aabb[:, 3:])
    nearest = (centres - data.cam_xpos[camera]) @ normals.T + reach
    outside: NDArray[np.bool_] = (nearest < 0).any(axis=1)
    return outside


_OPEN: weakref.WeakSet[Renderer] = weakref.WeakSet()
_DROPPED: deque[tuple[int, Any, Any]] = deque()
"""Thread, context and GL context of renderers that nobody closed, to be freed before the next drawing.

The garbage collector may take them at any moment. Freeing them at that moment would change the
current GL context in the middle of another's drawing, which would then be a black image.
"""


@cache
def _free_all_at_exit() -> None:
    """Free all open renderers at exit.

    Call it once a GL context exists, so that it runs before EGL closes its display.
    """
    atexit.register(_free_all)


def _free_all() -> None:
    for renderer in list(_OPEN):
        renderer.close()
    while _DROPPED:
        _free(*_DROPPED.popleft()[1:])


def _free_dropped() -> None:
    """Free what this thread made and dropped; another thread's GL context cannot be made current here."""
    for _ in range(len(_DROPPED)):
        thread, context, gl = _DROPPED.popleft()
        if thread == threading.get_ident():
            _free(context, gl)
        else:
            _DROPPED.append((thread, context, gl))


def _free(context: Any, gl: Any) -> None:
    with contextlib.suppress(Exception):  # a context that no longer exists needs no freeing
        gl.make_current()
        context.free()
        gl.free()
