"""The device that policies compute on, and the OpenGL back end that renders."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from altbench.core import registry
from altbench.core.errors import ConfigError, UnknownNameError

DEVICES = ("auto", "cpu", "cuda")
"""The devices that a sweep or command may name."""
ALSO_CALLED = {"gpu": "cuda", "nvidia": "cuda"}
"""Common synonyms. Without them the nearest name to "gpu" would be "cpu"."""


def resolve_device(device: str) -> str:
    """Return `cpu` or `cuda`; `auto` is CUDA if torch finds a CUDA device.

    Raise UnknownNameError for another name, ConfigError for a missing CUDA device.
    """
    if device not in DEVICES:
        raise UnknownNameError("device", device, DEVICES, like=ALSO_CALLED.get(device.lower(), ""))
    available = device != "cpu" and _finds_cuda()
    if device == "cuda" and not available:
        raise ConfigError('device = "cuda", but torch finds no CUDA device; use "auto" or "cpu"')
    return "cuda" if available else "cpu"


def _finds_cuda() -> bool:
    """Return whether torch finds a CUDA device.

    Loading torch takes over a second, so a torch that was built for CPUs alone is not
    loaded to be asked.
    """
    if "torch" not in sys.modules and _built_for_cpus_alone():
        return False
    import torch

    return torch.cuda.is_available()


def _built_for_cpus_alone() -> bool:
    """Return whether the installed torch says so in its file `version.py`; False if it
    cannot be read.
    """
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        return False
    try:
        told = runpy.run_path(str(Path(torch.origin).with_name("version.py")))
        return told["cuda"] is None and told["hip"] is None
    except Exception:
        return False


def require_renderer() -> str:
    """Return the OpenGL back end; raise RenderingUnavailable if it does not work.

    The first call tries it, which takes under a second. So a run with a bad driver is
    refused before any work.
    """
    renderer = registry.select_backend()
    registry.check_backend()
    return renderer


def set_threads(threads: int) -> None:
    """Fix what the same computation may otherwise round differently from run to run.

    Where nothing has loaded torch, this happens as soon as something loads it: a policy
    in NumPy shall not wait for it.
    """
    _WHEN_LOADED.threads = threads
    if "torch" in sys.modules:
        import torch

        _set_threads_of(torch, threads)
    elif _WHEN_LOADED not in sys.meta_path:
        sys.meta_path.insert(0, _WHEN_LOADED)


def _set_threads_of(torch: Any, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True


class _WhenLoaded(MetaPathFinder, Loader):
    """A finder that loads torch as usual, and sets its threads before anyone uses it."""

    threads = 1
    _real: Loader
    _asks = False

    def find_spec(self, fullname: str, _path: object, _target: object = None, /) -> ModuleSpec | None:
        if fullname != "torch" or self._asks:
            return None
        self._asks = True
        try:
            spec = importlib.util.find_spec("torch")
        finally:
            self._asks = False
        if spec is not None and spec.loader is not None:
            self._real, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._real
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        self._real.exec_module(module)
        sys.meta_path.remove(self)
        _set_threads_of(module, self.threads)


_WHEN_LOADED = _WhenLoaded()
