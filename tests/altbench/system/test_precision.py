"""Training is in bf16 only where oneDNN, held to what the environment says, really multiplies it, or the GPU does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from altbench.system import doctor, precision
from altbench.system.precision import LIMITS, NO_LIMIT, WITH_AMX, WITH_BF16, WITHOUT_BF16, choose_precision, cpu_choice

AVX2 = frozenset({"avx", "avx2"})
AVX512 = AVX2 | {"avx512_bw", "avx512_vnni"}
ZEN4 = AVX512 | {"avx512_bf16"}
SAPPHIRE_RAPIDS = ZEN4 | {"amx_tile", "amx_int8", "amx_bf16"}


@pytest.mark.parametrize(
    ("flags", "expected"), [(AVX2, "fp32"), (AVX512, "fp32"), (ZEN4, "bf16"), (SAPPHIRE_RAPIDS, "bf16"), (None, "fp32")]
)
def test_bf16_is_for_processors_that_multiply_it(flags: frozenset[str] | None, expected: str) -> None:
    assert cpu_choice(flags, {}).precision == expected


@pytest.mark.parametrize("variable", LIMITS)
@pytest.mark.parametrize("limit", sorted(WITHOUT_BF16))
def test_a_limit_below_bf16_means_fp32_on_any_processor(variable: str, limit: str) -> None:
    for value in (limit, limit.upper()):  # oneDNN compares in lower case
        choice = cpu_choice(SAPPHIRE_RAPIDS, {variable: value})
        assert choice.precision == "fp32" and f"{variable}={value}" in choice.reason


@pytest.mark.parametrize("limit", sorted(NO_LIMIT | WITH_BF16 | WITH_AMX))
def test_a_limit_that_includes_bf16_changes_nothing(limit: str) -> None:
    for flags in (ZEN4, SAPPHIRE_RAPIDS):
        assert cpu_choice(flags, {"ONEDNN_MAX_CPU_ISA": limit.upper()}).precision == "bf16"
    assert cpu_choice(AVX512, {"ONEDNN_MAX_CPU_ISA": limit}).precision == "fp32"


def test_amx_is_not_said_to_be_used_under_a_limit_below_it() -> None:
    assert "AMX" in cpu_choice(SAPPHIRE_RAPIDS, {}).reason
    assert "AVX512_BF16" in cpu_choice(SAPPHIRE_RAPIDS, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}).reason


def test_onednns_own_variable_goes_before_its_alias_and_an_empty_one_does_not_count() -> None:
    both = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "DNNL_MAX_CPU_ISA": "AVX2"}
    assert cpu_choice(ZEN4, both).precision == "bf16"
    assert cpu_choice(ZEN4, {**both, "ONEDNN_MAX_CPU_ISA": ""}).precision == "fp32"


def test_a_limit_that_is_not_known_means_fp32() -> None:
    choice = cpu_choice(ZEN4, {"ONEDNN_MAX_CPU_ISA": "AVX1024"})
    assert choice.precision == "fp32" and "AVX1024 is not a known value" in choice.reason


def test_a_torch_without_onednn_trains_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_flags", lambda: ZEN4)
    for variable in LIMITS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert choose_precision("cpu").precision == "bf16"
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert choose_precision("cpu").precision == "fp32"


def test_capabilities_are_read_from_torch_or_else_from_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"avx2": True, "avx512_bf16": False, "cpu_name": "one", "num_physical_cores": 2, "l2_cache_size": 1}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: values, raising=False)
    assert precision.cpu_flags() == {"avx2"}
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(precision.sys, "platform", "linux")
    assert precision.cpu_flags() is None
    text = "model name\t: one\nflags\t\t: avx2 avx512_bf16\nvmx flags\t: vnmi\n\nflags\t\t: avx2\n"
    (tmp_path / "cpuinfo").write_text(text)
    assert precision.cpu_flags() == {"avx2", "avx512_bf16"}
    monkeypatch.setattr(precision.sys, "platform", "darwin")
    assert precision.cpu_flags() is None


def test_on_a_gpu_its_own_units_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose_precision("cuda").precision == "fp32"  # an emulating one would answer True by default
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert choose_precision("cuda").precision == "bf16"


def test_a_torch_that_does_not_tell_emulation_apart_is_asked_for_the_gpus_generation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def old() -> Any:
        return True

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", old)
    for capability, expected in (((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda found=capability: found)
        assert choose_precision("cuda").precision == expected


def test_the_doctor_says_what_is_used_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_flags", lambda: ZEN4)
    monkeypatch.setattr(doctor, "resolve_device", lambda device: "cpu")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    finding = doctor.check_precision()
    assert finding.ok
    assert finding.detail.startswith("in fp32 on cpu: ONEDNN_MAX_CPU_ISA=AVX2 keeps oneDNN from")


ONEDNNS_OWN = """
import torch
from altbench.system.precision import choose_precision
torch.nn.functional.conv2d(torch.rand(2, 3, 8, 8), torch.rand(4, 3, 3, 3))
print("chosen:", choose_precision("cpu").precision)
"""


@pytest.mark.parametrize("limit", ["", "avx512_core"])
def test_the_choice_is_what_onednn_says_of_itself(limit: str) -> None:
    own = {name: value for name, value in os.environ.items() if name not in LIMITS}
    environment = {**own, "ONEDNN_VERBOSE": "1", **({"DNNL_MAX_CPU_ISA": limit} if limit else {})}
    command = [sys.executable, "-c", ONEDNNS_OWN]
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    (isa,) = [line for line in lines if ",isa:" in line] or [pytest.skip("this torch computes without oneDNN")]
    assert (lines[-1] == "chosen: bf16") == ("bfloat16" in isa), isa


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only torch knows the processor")
def test_the_likely_choice_is_the_choice_and_loads_no_torch() -> None:
    assert precision.likely_choice().precision == choose_precision("cpu").precision
    code = "import sys; from altbench.system.precision import likely_choice as f; f(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
