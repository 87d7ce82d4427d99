"""The device that policies compute on, and the OpenGL back end that renders."""

from __future__ import annotations

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
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ConfigError('device = "cuda", but torch finds no CUDA device; use "auto" or "cpu"')
    return "cuda" if device != "cpu" and available else "cpu"


def require_renderer() -> str:
    """Return the OpenGL back end; raise RenderingUnavailable if it does not work.

    The first call tries it, which takes under a second. So a run with a bad driver is
    refused before any work.
    """
    renderer = registry.select_backend()
    registry.check_backend()
    return renderer


def set_threads(threads: int) -> None:
    """Fix what the same computation may otherwise round differently from run to run."""
    import torch

    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
