"""Which OpenGL is chosen, and that trouble with it ends in one line that names the cure."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner
from variables import unset

from altbench.cli import app
from altbench.core import registry
from altbench.core.errors import RenderingUnavailable
from altbench.system import devices
from altbench_envs.robosuite_env import opengl

MAKE = """
import altbench, gymnasium
try:
    gymnasium.make("altbench/Lift-v0").reset()
    print("drawn")
except altbench.AltbenchError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("egl", "osmesa", "chosen"), [(True, "x", "egl"), (False, "x", "osmesa"), (False, None, "disable")]
)
def test_egl_first_then_osmesa(egl: bool, osmesa: str | None, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unset(monkeypatch, "MUJOCO_GL")
    monkeypatch.setattr(opengl, "_egl_works", lambda: egl)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: osmesa)
    assert registry.select_backend() == os.environ["MUJOCO_GL"] == chosen


@pytest.mark.parametrize(
    ("value", "name"),
    [("osmesa", "osmesa"), (" EGL", "egl"), ("glx", "glfw"), ("On", "glfw"), ("1", "glfw"), ("OFF", "disable")],
)
def test_the_users_choice_stays_in_one_spelling(value: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The renderer's name is part of keys: two spellings must not make two runs."""
    monkeypatch.setenv("MUJOCO_GL", value)
    assert registry.select_backend() == os.environ["MUJOCO_GL"] == name


@pytest.mark.parametrize("use", [opengl.select_backend, opengl.check_backend, opengl.import_mujoco])
def test_a_value_that_is_no_back_end_is_refused_with_the_nearest(use: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egll")
    with pytest.raises(RenderingUnavailable, match=r"MUJOCO_GL='egll': .*did you mean 'egl'.*unset MUJOCO_GL"):
        use()  # type: ignore[operator]


def test_without_a_back_end_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "off")
    for use in (opengl.check_backend, lambda: opengl.new_context(8, 8)):
        with pytest.raises(RenderingUnavailable, match=r"libegl1 and libgl1-mesa-dri \(egl\) or libosmesa6 \(osmesa\)"):
            use()


@pytest.mark.parametrize(
    ("backend", "settings", "told"),
    [
        ("egl", {}, "install Debian's libegl1 and libgl1-mesa-dri, or set MUJOCO_GL to osmesa"),
        ("egl", {"MUJOCO_EGL_DEVICE_ID": "7"}, "unset MUJOCO_EGL_DEVICE_ID, which is '7'"),
        ("egl", {"PYOPENGL_PLATFORM": "glx"}, "unset PYOPENGL_PLATFORM, which is 'glx', or set it to egl"),
        ("osmesa", {}, "install Debian's libosmesa6, or set MUJOCO_GL to egl"),
        ("osmesa", {"PYOPENGL_PLATFORM": "egl"}, "unset PYOPENGL_PLATFORM, which is 'egl', or set it to osmesa"),
        ("osmesa", {"MUJOCO_EGL_DEVICE_ID": "7"}, "install Debian's libosmesa6"),
        ("glfw", {}, "it needs a screen; unset MUJOCO_GL"),
    ],
)
def test_each_trouble_has_its_cure(
    backend: str, settings: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset(monkeypatch, "PYOPENGL_PLATFORM", "MUJOCO_EGL_DEVICE_ID")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert opengl.cure(backend).startswith(told)


def test_any_error_of_opengl_becomes_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    for error, reason in ((AttributeError("a\n  b"), "a b"), (ImportError(), "ImportError")):
        told = rf"MUJOCO_GL=egl does not work here \({reason}\); "
        with pytest.raises(RenderingUnavailable, match=told), opengl.explained():
            raise error


TROUBLE = [
    ({"MUJOCO_GL": "egll"}, "did you mean 'egl'"),
    ({"MUJOCO_GL": "glfw"}, "it needs a screen; unset MUJOCO_GL"),
    ({"MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "egl"}, "unset PYOPENGL_PLATFORM"),
    ({"MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "glx"}, "unset PYOPENGL_PLATFORM"),
    ({"MUJOCO_GL": "egl", "MUJOCO_EGL_DEVICE_ID": "99"}, "unset MUJOCO_EGL_DEVICE_ID"),
    ({"MUJOCO_GL": "egl", "MUJOCO_EGL_DEVICE_ID": "x"}, "unset MUJOCO_EGL_DEVICE_ID"),
]


@pytest.mark.sim
@pytest.mark.parametrize(
    ("settings", "cure"), [pytest.param(*one, marks=pytest.mark.slow if one in TROUBLE[2:] else []) for one in TROUBLE]
)
def test_an_environment_that_cannot_draw_names_the_cure_and_prints_nothing_else(
    settings: dict[str, str], cure: str
) -> None:
    """mujoco reads its settings when it is imported, so each case needs its own process."""
    done = subprocess.run([sys.executable, "-c", MAKE], env=_with(settings), capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert line.startswith("RenderingUnavailable") and cure in line
    assert "Traceback" not in done.stderr and "ignored" not in done.stderr


@pytest.mark.sim
def test_robosuites_assertion_on_egl_devices_does_not_concern_us() -> None:
    settings = {"MUJOCO_GL": "egl", "CUDA_VISIBLE_DEVICES": "3", "MUJOCO_EGL_DEVICE_ID": "0"}
    done = subprocess.run([sys.executable, "-c", MAKE], env=_with(settings), capture_output=True, text=True, check=True)
    assert done.stdout == "drawn\n"


@pytest.mark.sim
@pytest.mark.parametrize(("settings", "cure"), TROUBLE)
def test_the_check_before_a_run_names_the_cure(
    settings: dict[str, str], cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset(monkeypatch, *opengl.SETTINGS)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RenderingUnavailable, match=cure):
        devices.require_renderer()


@pytest.mark.sim
def test_a_working_back_end_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.require_renderer() == os.environ["MUJOCO_GL"]
    monkeypatch.setattr(opengl.subprocess, "run", lambda *_, **__: pytest.fail("checked again"))
    devices.require_renderer()


@pytest.mark.parametrize(
    "command",
    [
        "run quick --out OUT",
        "demos collect Lift --out OUT",
        "demos collect --all",
        "envs preview --out OUT",
        "audit lift/alt/n10/s0 --run OUT",
        "experiments run E3 --out OUT",
        "experiments report E3 --out OUT",
        "experiments plan E3 --out OUT",
        "reproduce E3 --out OUT",
        "video lift/alt/n10/s0/recall/clean --run OUT",
        "bench rollout --out OUT",
    ],
)
def test_every_command_that_renders_is_refused_before_any_work(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUJOCO_GL", "off")
    with pytest.raises(RenderingUnavailable, match="MUJOCO_GL=disable turns it off"):
        CliRunner().invoke(app.app, command.replace("OUT", "out").split(), catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def _with(settings: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in opengl.SETTINGS}
    return {**kept, **settings}
