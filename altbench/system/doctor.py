"""Whether this machine can run the bench: versions, renderer, GPU, disk, processor; and what to do about each problem."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from ctypes.util import find_library
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from altbench.system.devices import resolve_device
from altbench.system.fingerprint import cpu_model, gpu_name, package_version, usable_cores
from altbench.system.precision import choose_precision

BACKENDS = {"egl": "libegl1 and libgl1-mesa-dri", "osmesa": "libosmesa6"}
"""MuJoCo's off-screen OpenGL back ends in the order in which they are tried, and the Debian packages that they need."""
LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
FREE_DISK_BYTES = 2 * 10**9
RENDER_TIMEOUT_S = 60

# Draws one lit sphere and prints the driver's name. It runs in a process of its own: a bad driver crashes, not raises.
_RENDER = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom size='0.3'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 32, 32)
renderer.update_scene(data)
assert renderer.render().std() > 0, "the rendered image is blank"
from OpenGL.GL import GL_RENDERER, glGetString
print(glGetString(GL_RENDERER).decode())
renderer.close()
"""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `ok`, what was found, and what to do where it is not ok."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


def diagnose(folder: Path | None = None) -> list[Finding]:
    """Look at everything; `folder` is where runs are written (default: the current one). Takes a few seconds."""
    return [
        check_python(),
        *check_packages(),
        check_mujoco_gl(os.environ.get("MUJOCO_GL", "")),
        check_renderer(os.environ.get("MUJOCO_GL", "")),
        check_gpu(),
        check_disk(folder or Path.cwd()),
        check_processor(),
        check_precision(),
    ]


def render(findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print the findings as a table, advice below each problem."""
    table = Table("", "what", "found", title="altbench doctor", title_justify="left")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[bold red]no[/]"
        detail = finding.detail if finding.ok else f"{finding.detail}\n→ {finding.advice}"
        table.add_row(mark, finding.name, escape(detail))
    problems = sum(not finding.ok for finding in findings)
    out = console or Console()
    out.print(table)
    out.print(f"{problems} problem{'s' if problems > 1 else ''} to solve" if problems else "everything is in order")


def check_python() -> Finding:
    """Python's version against what the package asks for."""
    try:
        wanted = metadata("altbench")["Requires-Python"] or ""
    except PackageNotFoundError:
        wanted = ""
    ok = platform.python_version() in SpecifierSet(wanted)
    advice = f"altbench wants Python {wanted}: make a virtual environment with one of those and install it there"
    return Finding("Python", ok, platform.python_version(), advice)


def check_packages() -> list[Finding]:
    """One finding for all requirements that hold, and one for each that does not."""
    try:
        wanted = [Requirement(text) for text in requires("altbench") or []]
    except PackageNotFoundError:
        return [Finding("packages", False, "altbench is not installed", "run `pip install -c constraints.txt .`")]
    needed = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    problems = [found for requirement in needed if (found := check_requirement(requirement))]
    held = Finding("packages", True, f"{len(needed) - len(problems)} of {len(needed)} requirements hold")
    return [held, *problems]


def check_requirement(requirement: Requirement) -> Finding | None:
    """What is wrong with an installed package, None where it satisfies `requirement`."""
    found = package_version(requirement.name)
    if found is not None and requirement.specifier.contains(found, prereleases=True):
        return None
    advice = f"run `pip install -c constraints.txt '{requirement}'`"
    if requirement.name == "mujoco":
        advice += "; robosuite 1.5.2 breaks on mujoco 3.10 and later"
    return Finding(requirement.name, False, f"{found or 'not installed'}, wanted {requirement.specifier}", advice)


def check_mujoco_gl(value: str) -> Finding:
    """The MUJOCO_GL setting: unset, or a back end that MuJoCo knows (whether it works is the renderer's finding)."""
    if not value:
        return Finding("MUJOCO_GL", True, "not set: EGL is tried first, then OSMesa")
    ok = value.lower() in (*BACKENDS, "glfw")
    return Finding("MUJOCO_GL", ok, value, f"unset it, or set it to {' or '.join(BACKENDS)}")


def check_renderer(mujoco_gl: str) -> Finding:
    """Draw an image with each back end until one works; only with `mujoco_gl` where that is set."""
    failures = []
    for backend in [mujoco_gl.lower()] if mujoco_gl else list(BACKENDS):
        driver, reason = try_backend(backend)
        if driver:
            return Finding("renderer", True, f"{backend}: {driver}")
        failures.append(f"{backend}: {reason}")
    packages = " or ".join(f"{needed} ({backend})" for backend, needed in BACKENDS.items())
    advice = f"install Debian's {packages} with apt-get"
    if mujoco_gl:
        advice += "; or unset MUJOCO_GL, so that every back end is tried"
    return Finding("renderer", False, "; ".join(failures), advice)


def try_backend(backend: str) -> tuple[str, str]:
    """(driver, "") where the back end draws an image in a process of its own, else ("", reason)."""
    platforms = {"PYOPENGL_PLATFORM": backend} if backend in BACKENDS else {}
    environment = {**os.environ, "MUJOCO_GL": backend, **platforms}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RENDER],
            env=environment,
            capture_output=True,
            text=True,
            timeout=RENDER_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "", f"no image within {RENDER_TIMEOUT_S} s"
    if done.returncode == 0:
        return done.stdout.strip().splitlines()[-1], ""
    return "", _reason(backend, done.returncode, done.stderr)


def _reason(backend: str, status: int, stderr: str) -> str:
    """Why a back end drew nothing: its library is missing, it crashed, or the error that Python printed last."""
    library = LIBRARIES.get(backend)
    if library and find_library(library) is None:
        return f"lib{library} is not installed"
    if status < 0:
        return f"killed by signal {-status}"
    errors = [
        line for line in stderr.splitlines() if "Error" in line and not line.startswith((" ", "Exception ignored"))
    ]
    return errors[-1] if errors else f"exit status {status}"


def check_gpu() -> Finding:
    """The GPU; none is needed."""
    return Finding("GPU", True, gpu_name() or "none: everything runs on the processor")


def check_disk(folder: Path) -> Finding:
    """Free space where runs are written."""
    free = shutil.disk_usage(folder).free
    advice = f"free {FREE_DISK_BYTES / 1e9:.0f} GB, or write runs elsewhere with --out"
    return Finding("free disk", free > FREE_DISK_BYTES, f"{free / 1e9:.1f} GB in {folder}", advice)


def check_processor() -> Finding:
    """Cores that may be used, and a thread setting that would slow everything down."""
    cores, threads = usable_cores(), os.environ.get("OMP_NUM_THREADS", "")
    detail = f"{cpu_model()}, {cores} core{'s' if cores != 1 else ''}"
    if threads:
        detail += f", OMP_NUM_THREADS={threads}"
    ok = not threads.isdigit() or int(threads) <= cores
    return Finding("processor", ok, detail, f"unset OMP_NUM_THREADS, or set it to at most {cores}")


def check_precision() -> Finding:
    """Report the precision that policies are trained in here under `precision = "auto"`, and why; both are fine."""
    device = resolve_device("auto")
    choice = choose_precision(device)
    return Finding("training", True, f"in {choice.precision} on {device}: {choice.reason}")
