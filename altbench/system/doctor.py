"""Can this machine run the bench? Versions, renderer, GPU, disk, processor.

Each problem comes with advice on what to do.
"""

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
from rich.text import Text

from altbench.core import registry
from altbench.core.errors import RenderingUnavailable
from altbench.core.words import count
from altbench.system.cache import usable
from altbench.system.console import FittingTable, make_console, say, show
from altbench.system.devices import resolve_device
from altbench.system.fingerprint import cpu_model, gpu_name, package_version, usable_cores
from altbench.system.numba_cache import VARIABLE as NUMBA_VARIABLE
from altbench.system.precision import choose_precision
from altbench.system.quota import cpu_quota

BACKENDS = {"egl": "libegl1 and libgl1-mesa-dri", "osmesa": "libosmesa6"}
"""MuJoCo's off-screen OpenGL back ends, and the Debian packages of each.

In the order in which they are tried: EGL may use a GPU, OSMesa never does.
"""
LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
"""The shared library of each back end, as `ctypes.util.find_library` names it."""
FREE_DISK_BYTES = 2 * 10**9
"""The free space, in bytes, below which the disk is a problem."""
RENDER_TIMEOUT_S = 60
"""Seconds that a back end may take for its first image; a broken one may hang."""

# Draws one lit sphere and prints the driver's name. It needs a process of its own:
# a bad driver does not raise, it crashes.
_RENDER = """
import importlib, os, mujoco
importlib.import_module("mujoco." + os.environ["MUJOCO_GL"])  # it says what `import mujoco` passes over
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom size='0.3'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 32, 32)
renderer.update_scene(data)
assert renderer.render().std() > 0, "the rendered image is blank"
from OpenGL.GL import GL_RENDERER, glGetString
print("driver:", glGetString(GL_RENDERER).decode(), flush=True)
renderer.close()
"""


@dataclass(frozen=True)
class Finding:
    """One checked item: whether it is `ok`, what was found, and advice if it is not."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


def diagnose(folder: Path | None = None) -> list[Finding]:
    """Check everything; takes a few seconds.

    `folder`: where runs are written, for the free space; None: the current folder.
    """
    return [
        check_python(),
        *check_packages(),
        check_mujoco_gl(os.environ.get("MUJOCO_GL", "")),
        check_renderer(os.environ.get("MUJOCO_GL", "")),
        check_gpu(),
        check_disk(folder or Path.cwd()),
        check_processor(),
        check_precision(),
        check_numba_cache(),
    ]


def render(findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print the findings as a table, with advice below each problem."""
    table = FittingTable(("", "what", "found"), "altbench doctor", names=0, prose=[2])
    for finding in findings:
        mark = Text("ok", "green") if finding.ok else Text("no", "bold red")
        detail = finding.detail if finding.ok else f"{finding.detail}\n→ {finding.advice}"
        table.add(mark, finding.name, detail)
    problems = sum(not finding.ok for finding in findings)
    out = console or make_console()
    show(out, table)
    say(out, f"{problems} problem{'s' if problems > 1 else ''} to solve" if problems else "everything is in order")


def check_python() -> Finding:
    """Compare Python's version with the one that altbench requires."""
    try:
        wanted = metadata("altbench")["Requires-Python"] or ""
    except PackageNotFoundError:
        wanted = ""
    ok = platform.python_version() in SpecifierSet(wanted)
    advice = (
        f"altbench needs Python {wanted}: make a virtual environment with such a version and install altbench there"
    )
    return Finding("Python", ok, platform.python_version(), advice)


def check_packages() -> list[Finding]:
    """Return a finding for all requirements that hold, and one for each other."""
    try:
        wanted = [Requirement(text) for text in requires("altbench") or []]
    except PackageNotFoundError:
        return [Finding("packages", False, "altbench is not installed", "run `pip install -c constraints.txt .`")]
    needed = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    problems = [found for requirement in needed if (found := check_requirement(requirement))]
    held = Finding("packages", True, f"{len(needed) - len(problems)} of {len(needed)} requirements hold")
    return [held, *problems]


def check_requirement(requirement: Requirement) -> Finding | None:
    """Return what is wrong with an installed package, or None if it is as required."""
    found = package_version(requirement.name)
    if found is not None and requirement.specifier.contains(found, prereleases=True):
        return None
    advice = f"run `pip install -c constraints.txt '{requirement}'`"
    if requirement.name == "mujoco":
        advice += "; robosuite 1.5.2 breaks on mujoco 3.10 and later"
    return Finding(requirement.name, False, f"{found or 'not installed'}, expected {requirement.specifier}", advice)


def check_mujoco_gl(value: str) -> Finding:
    """Check that a run accepts MUJOCO_GL's value, and say which back end it leads to.

    `check_renderer` finds out whether the back end works.
    """
    advice = f"unset it, or set it to {' or '.join(BACKENDS)}"
    try:
        chosen = registry.choose_backend(value)
    except RenderingUnavailable:
        return Finding("MUJOCO_GL", False, value, advice)
    if not value.strip():
        return Finding("MUJOCO_GL", True, f"not set: runs use {_words(chosen)}")
    return Finding("MUJOCO_GL", True, value if value == chosen else f"{value!r}: {_words(chosen)}")


def _words(backend: str) -> str:
    return "no OpenGL" if backend == "disable" else backend


def check_renderer(mujoco_gl: str) -> Finding:
    """Draw an image with the back end that a run uses under this value of MUJOCO_GL.

    If that fails, the other one is tried, for the advice.
    """
    try:
        chosen = registry.choose_backend(mujoco_gl)
    except RenderingUnavailable as error:
        return Finding("renderer", False, "not tried", str(error))
    tried = {} if chosen == "disable" else {chosen: try_backend(chosen)}
    if chosen in tried and tried[chosen][0]:
        return Finding("renderer", True, f"{chosen}: {tried[chosen][0]}")
    tried |= {backend: try_backend(backend) for backend in BACKENDS if backend not in tried}
    found = [f"{backend}: {driver or reason}" for backend, (driver, reason) in tried.items()]
    if chosen == "disable":
        found.insert(0, f"MUJOCO_GL={mujoco_gl} turns it off" if mujoco_gl.strip() else "none was found")
    return Finding("renderer", False, "; ".join(found), _renderer_advice([b for b, (ok, _) in tried.items() if ok]))


def _renderer_advice(working: Sequence[str]) -> str:
    if working:
        return f"set MUJOCO_GL={working[0]}, which works"
    packages = " or ".join(f"{needed} ({backend})" for backend, needed in BACKENDS.items())
    return f"install Debian's {packages} with apt-get, and unset MUJOCO_GL and PYOPENGL_PLATFORM"


def try_backend(backend: str) -> tuple[str, str]:
    """Draw an image with a back end, in a process of its own.

    Return (driver, "") if that works, else ("", reason).
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RENDER],
            env={**os.environ, "MUJOCO_GL": backend},
            capture_output=True,
            text=True,
            timeout=RENDER_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "", f"no image within {RENDER_TIMEOUT_S} s"
    # Marked, since libraries print as well, also while the process ends.
    drivers = [line.partition("driver: ")[2] for line in done.stdout.splitlines() if line.startswith("driver: ")]
    if done.returncode == 0 and drivers:
        return drivers[-1], ""
    return "", _reason(backend, done.returncode, done.stderr)


def _reason(backend: str, status: int, stderr: str) -> str:
    """Return why a back end drew nothing.

    Its library is missing, it crashed, or Python printed an error: the last one.
    """
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
    """Return the GPU's name; a missing GPU is not a problem."""
    return Finding("GPU", True, gpu_name() or "none: everything runs on the processor")


def check_disk(folder: Path) -> Finding:
    """Check the free space in the folder where runs are written."""
    free = shutil.disk_usage(folder).free
    advice = f"free {FREE_DISK_BYTES / 1e9:.0f} GB, or write runs elsewhere with --out"
    return Finding("free disk", free > FREE_DISK_BYTES, f"{free / 1e9:.1f} GB in {folder}", advice)


def check_processor() -> Finding:
    """Check that OMP_NUM_THREADS is at most the number of usable cores."""
    cores, threads = usable_cores(), os.environ.get("OMP_NUM_THREADS", "")
    detail = f"{cpu_model()}, {count(cores, 'core')}"
    quota = cpu_quota()
    if quota is not None:
        detail += f", a quota of {quota:g}"
    if threads:
        detail += f", OMP_NUM_THREADS={threads}"
    ok = not threads.isdigit() or int(threads) <= cores
    return Finding("processor", ok, detail, f"unset OMP_NUM_THREADS, or set it to at most {cores}")


def check_precision() -> Finding:
    """Report the precision of training under `precision = "auto"`, and why; both are fine."""
    device = resolve_device("auto")
    choice = choose_precision(device)
    return Finding("training", True, f"in {choice.precision} on {device}: {choice.reason}")


def check_numba_cache() -> Finding:
    """Check that numba can keep what it compiles.

    `import altbench` sets `NUMBA_CACHE_DIR` if no usual place can be written.
    """
    named = os.environ.get(NUMBA_VARIABLE, "")
    if not named:
        return Finding("numba's cache", True, "beside the code, or in the user's cache folder")
    ok = usable(Path(named))
    detail = f"{NUMBA_VARIABLE}={named}" + ("" if ok else ", which cannot be written")
    return Finding("numba's cache", ok, detail, f"unset {NUMBA_VARIABLE}, or set it to a folder that can be written")
