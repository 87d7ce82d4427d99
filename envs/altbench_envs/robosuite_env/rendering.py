"""Camera images off screen: the OpenGL back end, fast drawing, and upright pixels."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import ctypes.util
import importlib
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from altbench.api import Float64, RenderingUnavailable, RenderProfile, UInt8

Backend = Literal["egl", "osmesa"]
ADVICE = "install Debian's libegl1 and libgl1-mesa-dri (EGL), or libosmesa6 (OSMesa)"
EGL_PLATFORM_DEVICE = 0x313F  # EGL_EXT_platform_device
VISUAL_GEOMS, HIDDEN_GEOMS = 1, 5
"""Geom groups: drawn, and not drawn; robosuite's group 0 is for collisions."""


def select_backend() -> None:
    """Set MUJOCO_GL before mujoco is imported.

    EGL if it works, else OSMesa, else off. A value that is already set stays.
    """
    # Mesa's software renderer otherwise starts threads. A forked process (Gymnasium's
    # asynchronous environments) lacks them and waits for them forever. Images and
    # processor time are the same without threads.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    if os.environ.get("MUJOCO_GL"):
        return
    found: Backend | None = "egl" if _egl_works() else "osmesa" if ctypes.util.find_library("OSMesa") else None
    os.environ["MUJOCO_GL"] = found or "disable"


def _egl_works() -> bool:
    """Return whether an EGL device can be initialised.

    It asks the library itself, so that mujoco need not be imported.
    """
    try:
        egl = ctypes.CDLL("libEGL.so.1")
        egl.eglGetProcAddress.restype = ctypes.c_void_p
        address = {name: egl.eglGetProcAddress(name) for name in (b"eglQueryDevicesEXT", b"eglGetPlatformDisplayEXT")}
    except (OSError, AttributeError):
        return False
    if not all(address.values()):
        return False
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    get_display = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p)
    devices, count = (ctypes.c_void_p * 16)(), ctypes.c_int()
    query(address[b"eglQueryDevicesEXT"])(16, devices, ctypes.byref(count))
    initialize = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(
        ctypes.cast(egl.eglInitialize, ctypes.c_void_p).value or 0
    )
    for device in devices[: count.value]:
        display = get_display(address[b"eglGetPlatformDisplayEXT"])(EGL_PLATFORM_DEVICE, device, None)
        if display and initialize(display, None, None):
            return True
    return False


def _new_gl_context(width: int, height: int) -> Any:
    """Return an off-screen GL context of the back end that MUJOCO_GL names."""
    backend = os.environ.get("MUJOCO_GL", "").lower()
    if backend in ("disable", "disabled", "off", "false", "0"):
        raise RenderingUnavailable(f"no off-screen OpenGL back end works (MUJOCO_GL={backend}); {ADVICE}")
    module = f"mujoco.{backend}" if backend in ("egl", "osmesa") else "mujoco.gl_context"
    try:
        context = importlib.import_module(module).GLContext(width, height)
        context.make_current()
    except Exception as error:  # PyOpenGL and mujoco raise many kinds
        raise RenderingUnavailable(f"MUJOCO_GL={backend} does not work here ({error}); {ADVICE}") from error
    return context


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
        import mujoco

        self._model, self._fast = model, profile == "fast"
        model.vis.global_.offheight = max(height, model.vis.global_.offheight)
        model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
        self._gl = _new_gl_context(model.vis.global_.offwidth, model.vis.global_.offheight)
        self._scene = mujoco.MjvScene(model, maxgeom=10000)
        if self._fast:
            model.vis.quality.offsamples = 0
            model.vis.quality.shadowsize = 0
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._camera, self._perturb = mujoco.MjvCamera(), mujoco.MjvPerturb()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[VISUAL_GEOMS] = 1
        self._finalizer = weakref.finalize(self, _free, self._context, self._gl)
        self._finalizer.atexit = False  # it might run after EGL has closed its display: `_free_all` runs before
        _free_all_at_exit()
        _OPEN.add(self)

    def render(self, data: Any, camera: int, height: int, width: int, decorations: Sequence[Decoration] = ()) -> UInt8:
        """Return the image of camera number `camera`.

        uint8 (height, width, 3), RGB, upright, contiguous.
        """
        import mujoco

        self._gl.make_current()
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

        self._gl.make_current()
        mujoco.mjr_uploadTexture(self._model, self._context, number)

    def _add(self, thing: Decoration) -> None:
        import mujoco

        geom = self._scene.geoms[self._scene.ngeom]
        size, position = np.array(thing.size), np.array(thing.position)
        mujoco.mjv_initGeom(geom, thing.shape, size, position, thing.rotation.ravel(), np.array(thing.rgba, np.float32))
        self._scene.ngeom += 1

    def close(self) -> None:
        """Free the GL context; rendering afterwards is an error."""
        self._finalizer()


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


@cache
def _free_all_at_exit() -> None:
    """Free all open renderers at exit.

    Call it once a GL context exists, so that it runs before EGL closes its display.
    """
    atexit.register(_free_all)


def _free_all() -> None:
    for renderer in list(_OPEN):
        renderer.close()


def _free(context: Any, gl: Any) -> None:
    with contextlib.suppress(Exception):  # a context that no longer exists needs no freeing
        gl.make_current()
        context.free()
        gl.free()
