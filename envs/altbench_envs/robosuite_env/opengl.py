"""Which OpenGL draws off screen, whether it works, and what to do if it does not."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from altbench.api import RenderingUnavailable, suggestion

PACKAGES = {"egl": "libegl1 and libgl1-mesa-dri", "osmesa": "libosmesa6"}
"""The back ends that need no screen, in the order in which they are tried, and Debian's
packages of each."""
SPELLINGS = {
    **{name: name for name in ("egl", "osmesa", "cgl")},
    **dict.fromkeys(("glfw", "glx", "wgl", "enable", "enabled", "on", "true", "1"), "glfw"),
    **dict.fromkeys(("disable", "disabled", "off", "false", "0"), "disable"),
}
"""Each value of MUJOCO_GL that MuJoCo accepts -> the one name that keys and tables use."""
SETTINGS = ("MUJOCO_GL", "MUJOCO_EGL_DEVICE_ID", "PYOPENGL_PLATFORM", "DISPLAY")
"""The environment variables on which it depends whether OpenGL works."""
EGL_PLATFORM_DEVICE = 0x313F  # EGL_EXT_platform_device
CHECK_TIMEOUT_S = 60
"""Seconds that the check of a back end may take; a broken driver may hang."""

# It runs in a process of its own, since a broken driver may crash instead of raising.
# It leaves by os._exit: what is half open must not be freed.
_CHECK = """
import importlib, os, sys, warnings
warnings.simplefilter("ignore")
try:
    import mujoco
    context = importlib.import_module(sys.argv[1]).GLContext(8, 8)
    if not context._context:
        raise RuntimeError("no window could be made")
    context.make_current()
    mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_100)
except BaseException as error:
    print(f"{type(error).__name__}: {error}", flush=True)
    os._exit(1)
os._exit(0)
"""


def select_backend() -> str:
    """Set MUJOCO_GL before mujoco is imported, and return its value.

    A value that is already set stays, in one spelling. Raises RenderingUnavailable for
    one that MuJoCo does not accept.
    """
    # Mesa's software renderer otherwise starts threads. A forked process (Gymnasium's
    # asynchronous environments) lacks them and waits for them forever. Images and
    # processor time are the same without threads.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    os.environ["MUJOCO_GL"] = chosen = choose_backend(os.environ.get("MUJOCO_GL", ""))
    return chosen


def choose_backend(value: str) -> str:
    """Return the back end that a run uses if MUJOCO_GL is `value`; change nothing.

    Without a value EGL if it works, else OSMesa, else `disable`. Raises
    RenderingUnavailable for a value that MuJoCo does not accept.
    """
    named = value.strip().lower()
    if not named:
        return "egl" if _egl_works() else "osmesa" if ctypes.util.find_library("OSMesa") else "disable"
    if named not in SPELLINGS:
        hint = suggestion(named, (*PACKAGES, "glfw", "disable"))
        raise RenderingUnavailable(
            f"MUJOCO_GL={named!r}: expected an OpenGL back end{hint}; unset MUJOCO_GL, or set it to egl or osmesa"
        )
    return SPELLINGS[named]


def check_backend() -> None:
    """Raise RenderingUnavailable unless the selected back end works; takes under 1 s.

    It is tried in a process of its own.
    """
    _check(select_backend(), *(os.environ.get(name) for name in SETTINGS))


@cache
def _check(backend: str, *_settings: str | None) -> None:
    """Check a back end once for all of the same settings."""
    with explained():
        module = _module(backend)
        try:
            done = subprocess.run(
                [sys.executable, "-c", _CHECK, module],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
                timeout=CHECK_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"no answer within {CHECK_TIMEOUT_S} s") from None
        if done.returncode < 0:
            raise RuntimeError(f"the driver crashed with signal {-done.returncode}")
        if done.returncode:
            raise RuntimeError(done.stdout.strip() or f"exit status {done.returncode}")


def import_mujoco() -> Any:
    """Import mujoco with the selected back end, which the import already loads."""
    select_backend()
    with explained():
        import mujoco
    return mujoco


def new_context(width: int, height: int) -> Any:
    """Return a current off-screen GL context of the back end that MUJOCO_GL names."""
    backend = select_backend()
    with explained(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glfw warns of what is raised anyway
        kind = importlib.import_module(_module(backend)).GLContext
        if backend == "egl" and not hasattr(kind, "_context"):
            kind._context = None  # else a failed constructor's destructor prints a traceback
        context = kind(width, height)
        if not context._context:
            raise RuntimeError("no window could be made")
        context.make_current()
    return context


@contextmanager
def explained() -> Iterator[None]:
    """Turn each error in the block into a RenderingUnavailable that names the cure.

    PyOpenGL, glfw and mujoco raise many kinds of errors.
    """
    try:
        yield
    except RenderingUnavailable:
        raise
    except Exception as error:
        backend = os.environ.get("MUJOCO_GL", "")
        reason = " ".join(f"{error}".split()) or type(error).__name__
        raise RenderingUnavailable(f"MUJOCO_GL={backend} does not work here ({reason}); {cure(backend)}") from error


def cure(backend: str) -> str:
    """Return what to do if `backend` does not work, from the likeliest cause."""
    platform, number = os.environ.get("PYOPENGL_PLATFORM", ""), os.environ.get("MUJOCO_EGL_DEVICE_ID")
    if backend in PACKAGES and platform and platform.lower() != backend:
        return f"unset PYOPENGL_PLATFORM, which is {platform!r}, or set it to {backend}"
    if backend == "egl" and number is not None:
        return (
            f"unset MUJOCO_EGL_DEVICE_ID, which is {number!r}, or set it to the number of a working EGL device, from 0; "
            "CUDA may number the same devices otherwise"
        )
    if backend in PACKAGES:
        other = "osmesa" if backend == "egl" else "egl"
        return (
            f"install Debian's {PACKAGES[backend]}, or set MUJOCO_GL to {other} (Debian's {PACKAGES[other]}); "
            "`altbench doctor` tries both"
        )
    return "it needs a screen; unset MUJOCO_GL, or set it to egl or osmesa"


def _module(backend: str) -> str:
    """Return mujoco's module of a back end; RenderingUnavailable if it is off."""
    if backend == "disable":
        packages = " or ".join(f"{needed} ({name})" for name, needed in PACKAGES.items())
        raise RenderingUnavailable(
            "no off-screen OpenGL: MUJOCO_GL=disable turns it off, or none was found; unset MUJOCO_GL, or install "
            f"Debian's {packages}; `altbench doctor` shows the reasons"
        )
    return f"mujoco.{backend}"


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
