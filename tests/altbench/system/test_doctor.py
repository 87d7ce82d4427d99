"""The doctor: each problem is found, with advice; a renderer that crashes does not take it along."""

from __future__ import annotations

import io
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from rich.console import Console

from altbench.core import registry
from altbench.core.errors import RenderingUnavailable
from altbench.system import doctor
from altbench.system.doctor import Finding

Usage = namedtuple("Usage", "total used free")
AS_REQUIRED = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) >= "2.0.0",
    reason="NumPy 2 comes with a pyarrow that altbench's own requirements forbid, and the doctor says so",
)


@AS_REQUIRED
def test_this_installation_satisfies_its_own_requirements() -> None:
    assert doctor.check_python().ok
    findings = doctor.check_packages()
    assert [f.detail for f in findings if not f.ok] == []
    assert findings[0].detail.endswith("requirements hold")


def test_a_wrong_version_names_what_is_wanted_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "package_version", lambda name: "3.10.0")
    finding = doctor.check_requirement(Requirement("mujoco<3.10,>=3.3"))
    assert finding is not None and not finding.ok
    assert finding.detail == "3.10.0, expected <3.10,>=3.3"
    assert (
        finding.advice
        == "run `pip install -c constraints.txt 'mujoco<3.10,>=3.3'`; robosuite 1.5.2 breaks on mujoco 3.10 and later"
    )


def test_a_missing_package_is_told_and_a_local_version_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "package_version", {"torch": "2.13.0+cpu"}.get)
    assert doctor.check_requirement(Requirement("torch>=2.6")) is None
    finding = doctor.check_requirement(Requirement("av>=14"))
    assert finding is not None and finding.detail == "not installed, expected >=14"


def test_an_unsupported_python_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.14.1")
    finding = doctor.check_python()
    assert not finding.ok
    assert "altbench needs Python <3.13,>=3.11" in finding.advice


@pytest.mark.parametrize(
    "value", ["", "egl", " egl", "OSMesa", "glx", "on", "1", "off", "disable", "cgl", "vulkan", "egll", "none", "2"]
)
def test_doctor_accepts_the_values_of_mujoco_gl_that_a_run_accepts(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", value)
    try:
        chosen = registry.select_backend()
    except RenderingUnavailable:
        chosen = ""
    finding = doctor.check_mujoco_gl(value)
    assert finding.ok is bool(chosen)
    assert not chosen or chosen == "disable" or chosen in (*finding.detail.split(), value)
    assert finding.ok or finding.advice == "unset it, or set it to egl or osmesa"


def try_only(monkeypatch: pytest.MonkeyPatch, **drivers: str) -> list[str]:
    """Replace the back ends by those that draw with `drivers`; return the list of what will be tried."""
    tried: list[str] = []

    def draw(backend: str) -> tuple[str, str]:
        tried.append(backend)
        return drivers.get(backend, ""), "" if backend in drivers else "broken"

    monkeypatch.setattr(doctor, "try_backend", draw)
    return tried


def test_the_back_end_that_a_run_uses_is_the_one_that_must_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = try_only(monkeypatch, osmesa="softpipe", glfw="a screen")
    assert doctor.check_renderer("osmesa") == Finding("renderer", True, "osmesa: softpipe")
    assert doctor.check_renderer("glx") == Finding("renderer", True, "glfw: a screen")
    assert tried == ["osmesa", "glfw"]
    monkeypatch.setattr(registry, "choose_backend", lambda value: "egl")
    finding = doctor.check_renderer("")
    assert not finding.ok, "a run would use EGL, whatever else works"
    assert (finding.detail, finding.advice) == ("egl: broken; osmesa: softpipe", "set MUJOCO_GL=osmesa, which works")


def test_opengl_that_is_off_or_unknown_is_no_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    try_only(monkeypatch, egl="llvmpipe")
    finding = doctor.check_renderer("off")
    assert not finding.ok
    assert (finding.detail, finding.advice) == (
        "MUJOCO_GL=off turns it off; egl: llvmpipe; osmesa: broken",
        "set MUJOCO_GL=egl, which works",
    )
    assert "did you mean 'egl'" in doctor.check_renderer("egll").advice


def test_a_crashing_renderer_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_RENDER", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(doctor, "find_library", lambda name: f"lib{name}.so")
    finding = doctor.check_renderer("egl")
    assert not finding.ok
    assert finding.detail == "egl: killed by signal 11; osmesa: killed by signal 11"
    assert "libegl1 and libgl1-mesa-dri (egl) or libosmesa6 (osmesa)" in finding.advice


def test_what_libraries_print_is_not_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os; assert os.environ['MUJOCO_GL'] == 'osmesa'; print('driver: softpipe'); print('a library says bye')"
    )
    monkeypatch.setattr(doctor, "_RENDER", code)
    assert doctor.try_backend("osmesa") == ("softpipe", "")


def test_why_a_renderer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_RENDER", "raise RuntimeError('no display')")
    monkeypatch.setattr(doctor, "find_library", lambda name: "found" if name == "EGL" else None)
    assert doctor.try_backend("egl") == ("", "RuntimeError: no display")
    assert doctor.try_backend("osmesa") == ("", "libOSMesa is not installed")
    monkeypatch.setattr(doctor, "_RENDER", "import time; time.sleep(60)")
    monkeypatch.setattr(doctor, "RENDER_TIMEOUT_S", 0.2)
    assert doctor.try_backend("egl") == ("", "no image within 0.2 s")


@pytest.mark.sim
def test_a_platform_that_a_run_would_trip_over_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs inherit PYOPENGL_PLATFORM, so the check must, too."""
    monkeypatch.setenv("PYOPENGL_PLATFORM", "glx")
    driver, reason = doctor.try_backend("egl")
    assert driver == "" and "PYOPENGL_PLATFORM" in reason


@pytest.mark.sim
def test_the_renderer_of_this_machine_draws() -> None:
    finding = doctor.check_renderer("")
    assert finding.ok, finding.detail
    assert finding.detail.startswith(("egl: ", "osmesa: "))


def test_little_disk_space_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**12, 10**12, 10**9))
    finding = doctor.check_disk(tmp_path)
    assert not finding.ok
    assert finding.detail == f"1.0 GB in {tmp_path}"


def test_more_threads_than_cores_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "usable_cores", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert doctor.check_processor().ok
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert not doctor.check_processor().ok


def test_advice_is_printed_below_problems_only() -> None:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    doctor.render([Finding("disk", True, "fine", "hidden"), Finding("GL", False, "[no] driver", "install it")], console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "→ install it" in text and "hidden" not in text and "[no] driver" in text
    assert text.endswith("1 problem to solve\n")


@AS_REQUIRED
def test_diagnose_looks_at_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_RENDER", "print('driver: one')")
    found = [f.name for f in doctor.diagnose(tmp_path)]
    names = [
        "Python",
        "packages",
        "MUJOCO_GL",
        "renderer",
        "GPU",
        "free disk",
        "processor",
        "training",
        "numba's cache",
    ]
    assert found == names
