"""Devices by name: what is not one is refused, and so is CUDA where there is none."""

from __future__ import annotations

import pickle

import pytest
import torch
from typer.testing import CliRunner

from altbench.cli import app
from altbench.core.errors import AltbenchError, ConfigError, UnknownNameError
from altbench.measure import policies
from altbench.system.devices import resolve_device


@pytest.mark.parametrize(
    ("device", "meant"), [("gpu", "cuda"), ("GPU", "cuda"), ("cuda:0", "cuda"), ("CPU", "cpu"), ("atuo", "auto")]
)
def test_an_unknown_device_is_refused_with_the_one_that_is_meant(device: str, meant: str) -> None:
    told = f"unknown device '{device}'; did you mean '{meant}'\\? \\(valid: auto, cpu, cuda\\)"
    with pytest.raises(UnknownNameError, match=told) as caught:
        resolve_device(device)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


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
