"""What this machine computes and renders with."""

from __future__ import annotations

from altbench.core import registry
from altbench.core.errors import ConfigError, RenderingUnavailable, UnknownNameError

NO_RENDERER = ("", "disable", "disabled", "off", "false", "0")
DEVICES = ("auto", "cpu", "cuda")
ALSO_CALLED = {"gpu": "cuda", "nvidia": "cuda"}
"""By its letters "gpu" is nearest to "cpu", which nobody means by it."""


def resolve_device(device: str) -> str:
    """`auto` is CUDA where there is one; UnknownNameError for other names, ConfigError for CUDA where there is none."""
    if device not in DEVICES:
        raise UnknownNameError("device", device, DEVICES, like=ALSO_CALLED.get(device.lower(), ""))
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ConfigError('device = "cuda", but torch finds no CUDA device; use "auto" or "cpu"')
    return "cuda" if device != "cpu" and available else "cpu"


def require_renderer() -> str:
    """The OpenGL back end; RenderingUnavailable where there is none."""
    renderer = registry.select_backend()
    if renderer.lower() in NO_RENDERER:
        raise RenderingUnavailable(
            "no off-screen OpenGL works here; install Debian's libegl1 and libgl1-mesa-dri (EGL), or libosmesa6 (OSMesa); "
            "`altbench doctor` says more"
        )
    return renderer


def set_threads(threads: int) -> None:
    """Fix what the same computation may otherwise round differently from run to run."""
    import torch

    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
