"""Which precision training is fast in here: bfloat16 where the hardware multiplies it, float32 elsewhere.

On a CPU it is oneDNN that computes torch's convolutions and matrix products. On a processor without bfloat16
instructions oneDNN emulates them, which costs twice (AVX-512) to six times (AVX2) a step in float32.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that hold oneDNN to older instruction sets: the first one that is not empty counts.

oneDNN compares their values without regard to case (developer guide, "CPU dispatcher control").
"""
NO_LIMIT = frozenset({"all", "default"})
WITHOUT_BF16 = frozenset(
    {"sse41", "avx", "avx2", "avx2_vnni", "avx2_vnni_2"}
    | {"avx512_mic", "avx512_mic_4ops", "avx512_core", "avx512_core_vnni"}
)
"""Limits below AVX512_CORE_BF16. AVX2_VNNI_2 converts bfloat16 but does not multiply it."""
WITH_BF16 = frozenset({"avx512_core_bf16", "avx512_core_fp16", "avx10_1_512", "avx10_2_512"})
WITH_AMX = frozenset(
    {"avx512_core_amx", "avx512_core_amx_fp16", "avx10_1_512_amx", "avx10_1_512_amx_fp16", "avx10_2_512_amx_2"}
)
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class PrecisionChoice:
    """The precision to train in on a device, and why, in words."""

    precision: Literal["bf16", "fp32"]
    reason: str


def choose_precision(device: str) -> PrecisionChoice:
    """Return the faster training precision on `device` ("cpu" or "cuda") of this machine, as torch would run it."""
    if device == "cuda":
        return gpu_choice(_gpu_multiplies_bf16())
    import torch

    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):  # type: ignore[no-untyped-call]
        return PrecisionChoice("fp32", "torch computes without oneDNN")
    return cpu_choice(cpu_flags(), os.environ)


def likely_choice() -> PrecisionChoice:
    """Return what `choose_precision("cpu")` most likely returns, without loading torch, which takes seconds."""
    return cpu_choice(_kernel_flags(CPU_INFO) if sys.platform == "linux" else None, os.environ)


def gpu_choice(native: bool) -> PrecisionChoice:
    """Return the choice for a GPU that multiplies bfloat16 or does not."""
    if native:
        return PrecisionChoice("bf16", "the GPU multiplies bfloat16")
    return PrecisionChoice("fp32", "the GPU has no bfloat16 units")


def cpu_choice(flags: frozenset[str] | None, environment: Mapping[str, str]) -> PrecisionChoice:
    """Return the choice for a processor with `flags` (None: not known) under the variables in `environment`."""
    if flags is None:
        return PrecisionChoice("fp32", "the processor's instruction sets are not known")
    has_amx = {"amx_tile", "amx_bf16"} <= flags
    if not (has_amx or "avx512_bf16" in flags):
        return PrecisionChoice("fp32", "the processor has no bfloat16 instructions (AVX512_BF16 or AMX)")
    variable, limit = onednn_limit(environment)
    if limit.lower() in WITHOUT_BF16:
        return PrecisionChoice("fp32", f"{variable}={limit} keeps oneDNN from the processor's bfloat16 instructions")
    if limit and limit.lower() not in NO_LIMIT | WITH_BF16 | WITH_AMX:
        return PrecisionChoice("fp32", f"{variable}={limit} is not a known value, so oneDNN's choice is not known")
    if has_amx and limit.lower() not in WITH_BF16:
        return PrecisionChoice("bf16", "oneDNN may use the processor's AMX")
    if "avx512_bf16" in flags:
        return PrecisionChoice("bf16", "oneDNN may use the processor's AVX512_BF16")
    return PrecisionChoice("fp32", f"{variable}={limit} keeps oneDNN from the processor's AMX")


def onednn_limit(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the variable that limits oneDNN and its value; two empty texts if none does."""
    return next(((name, environment[name]) for name in LIMITS if environment.get(name)), ("", ""))


def cpu_flags() -> frozenset[str] | None:
    """Return the processor's instruction sets, named as in /proc/cpuinfo; None if they cannot be found out."""
    import torch

    # Public from torch 2.13 on; the names of the sets that matter here are the kernel's.
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        return frozenset(name for name, value in capabilities().items() if value is True)
    return _kernel_flags(CPU_INFO) if sys.platform == "linux" else None


def _kernel_flags(path: Path) -> frozenset[str] | None:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    named = [line.partition(":")[2].split() for line in lines if line.startswith("flags")]
    return frozenset(named[0]) if named else None


def _gpu_multiplies_bf16() -> bool:
    """Return whether the GPU has units for bfloat16; torch alone would also count emulation."""
    import torch

    try:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    except TypeError:  # a torch that does not know the argument
        return torch.cuda.get_device_capability() >= (8, 0)
