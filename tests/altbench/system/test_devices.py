"""Devices by name: what is not one is refused, and so is CUDA where it is missing. torch is loaded by who needs it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from altbench.cli import app
from altbench.core.errors import AltbenchError, ConfigError, UnknownNameError
from altbench.measure import policies
from altbench.system import devices
from altbench.system.devices import resolve_device


@pytest.mark.parametrize(
    ("device", "meant"), [("gpu", "cuda"), ("GPU", "cuda"), ("cuda:0", "cuda"), ("CPU", "cpu"), ("atuo", "auto")]
)
def test_an_unknown_device_is_refused_with_the_one_that_is_meant(device: str, meant: str) -> None:
    told = f"unknown device '{device}'; did you mean '{meant}'\\? \\(valid: auto, cpu, cuda\\)"
    with pytest.raises(UnknownNameError, match=told) as caught:
        resolve_device(device)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("version", "alone"),
    [
        ("cuda = None\nhip = None\n", True),
        ("cuda = '12.8'\nhip = None\n", False),
        ("cuda = None\nhip = '6.4'\n", False),
        ("cuda = None\n", False),
        ("cuda = (\n", False),
        (None, False),
    ],
)
def test_only_a_torch_that_calls_itself_one_for_cpus_is_not_asked_for_cuda(
    version: str | None, alone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if version is not None:
        (tmp_path / "version.py").write_text(version)
    spec = ModuleSpec("torch", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda _: spec)
    assert devices._built_for_cpus_alone() == alone
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda _: None)
    assert not devices._built_for_cpus_alone()


def test_threads_are_set_as_soon_as_torch_is_loaded_and_nobody_loads_it_for_that() -> None:
    code = """
import importlib.util
import sys
from altbench.system.devices import resolve_device, set_threads
assert resolve_device("cpu") == "cpu"
set_threads(1)
set_threads(3)
assert importlib.util.find_spec("torch").origin  # as many libraries ask, without loading it
assert "torch" not in sys.modules
import torch.nn
assert torch.get_num_threads() == 3 and torch.backends.cudnn.deterministic
assert type(torch.__spec__.loader) is type(torch.__loader__) is type(torch.nn.__loader__)
set_threads(2)
assert torch.get_num_threads() == 2
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("there", [True, False])
def test_cuda_is_taken_where_it_is(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert resolve_device("cpu") == "cpu" and resolve_device("auto") == ("cuda" if there else "cpu")
    if there:
        assert resolve_device("cuda") == "cuda"
        return
    with pytest.raises(ConfigError, match=r'"cuda", but torch finds no CUDA device; use "auto" or "cpu"'):
        resolve_device("cuda")


def test_the_bench_refuses_a_device_before_it_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "policies", lambda *_: pytest.fail("measured"))
    with pytest.raises(AltbenchError, match="unknown device 'gpu'"):
        CliRunner().invoke(app.app, ["bench", "policies", "--device", "gpu"], catch_exceptions=False)
