"""The doctor: each problem is found, with advice; a renderer that crashes does not take it along."""

from __future__ import annotations

import io
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from rich.console import Console

from altbench.system import doctor
from altbench.system.doctor import Finding

Usage = namedtuple("Usage", "total used free")


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


@pytest.mark.parametrize(("value", "ok"), [("", True), ("egl", True), ("OSMesa", True), ("vulkan", False)])
def test_mujoco_gl_is_checked(value: str, ok: bool) -> None:
    finding = doctor.check_mujoco_gl(value)
    assert finding.ok is ok
    assert ok or finding.advice == "unset it, or set it to egl or osmesa"


def test_a_crashing_renderer_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_RENDER", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(doctor, "find_library", lambda name: f"lib{name}.so")
    finding = doctor.check_renderer("")
    assert not finding.ok
    assert finding.detail == "egl: killed by signal 11; osmesa: killed by signal 11"
    assert "libegl1 and libgl1-mesa-dri (egl) or libosmesa6 (osmesa)" in finding.advice


def test_the_second_back_end_is_tried_when_the_first_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os; assert os.environ['MUJOCO_GL'] == 'osmesa'; print('driver: softpipe'); print('a library says bye')"
    )
    monkeypatch.setattr(doctor, "_RENDER", code)
    assert doctor.check_renderer("") == Finding("renderer", True, "osmesa: softpipe")
    alone = doctor.check_renderer("egl")
    assert not alone.ok and "unset MUJOCO_GL" in alone.advice


def test_why_a_renderer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_RENDER", "raise RuntimeError('no display')")
    monkeypatch.setattr(doctor, "find_library", lambda name: "found" if name == "EGL" else None)
    assert doctor.try_backend("egl") == ("", "RuntimeError: no display")
    assert doctor.try_backend("osmesa") == ("", "libOSMesa is not installed")
    monkeypatch.setattr(doctor, "_RENDER", "import time; time.sleep(60)")
    monkeypatch.setattr(doctor, "RENDER_TIMEOUT_S", 0.2)
    assert doctor.try_backend("egl") == ("", "no image within 0.2 s")


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


def test_diagnose_looks_at_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_RENDER", "print('driver: one')")
    monkeypatch.delenv("MUJOCO_GL", raising=False)
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
