"""ALT in few bytes: half-precision weights and keys are what is held and saved, and find what full precision finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from altbench.core.policy import FitContext
from altbench_policies.alt import Alt, AltSpec
from altbench_policies.alt.config import PRESETS
from altbench_policies.diffusion import Diffusion, DiffusionSpec
from altbench_policies.diffusion.config import PRESETS as DIFFUSION
from altbench_policies.half_precision import hold_in_half

HALF = {"weight_precision": "float16", "key_precision": "float16"}
PAPER_RATIO = 0.0085  # memory over the diffusion policy's, as reported in arXiv 2505.05787
LIFT_FRAMES = 1100  # of 30 demonstrations


def test_half_weights_compute_in_float32_what_was_rounded():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    images = torch.randn(2, 3, 6, 6)
    rounded = {name: t.half().float() if t.ndim > 1 else t for name, t in network.state_dict().items()}
    network.load_state_dict(rounded)
    expected = network(images)
    held = hold_in_half(network)(images)
    assert held.dtype == torch.float32
    torch.testing.assert_close(held, expected, rtol=0, atol=0)
    assert {p.dtype for p in network.parameters() if p.ndim > 1} == {torch.float16}


def test_what_is_held_and_saved_is_half(fit_policy, make_policy, observe, demonstrations, tmp_path):
    policy, again, full = fit_policy("alt", **HALF), make_policy("alt", **HALF), fit_policy("alt")
    policy.save(tmp_path)
    again.load(tmp_path)
    saved = load_file(tmp_path / "weights.safetensors")
    assert {t.dtype for t in saved.values() if t.ndim > 1} == {torch.float16}
    assert np.load(tmp_path / "keys.npy").dtype == np.float16
    assert policy.footprint() == again.footprint()
    assert policy.footprint().weights < 0.6 * full.footprint().weights
    for demo in demonstrations:
        frames = list(range(len(demo)))
        for one in (policy, again, full):
            one.reset(frames, frames)
        first, second, exact = (one.act(observe(demo, frames, 1), frames) for one in (policy, again, full))
        np.testing.assert_array_equal(first.similarities, second.similarities)
        np.testing.assert_array_equal(first.actions, second.actions)
        np.testing.assert_array_equal(first.actions, exact.actions)
        np.testing.assert_allclose(first.similarities, exact.similarities, atol=5e-3)


@pytest.mark.parametrize(("preset", "fits"), [("compact", True), ("paper", False)])
def test_compact_keeps_to_the_papers_share_of_memory(preset, fits, task, demonstrations):
    alt = Alt(task, AltSpec(**{**PRESETS[preset], "train_steps": 0}))
    alt.fit(demonstrations, FitContext(0))
    frames = sum(len(d) for d in demonstrations)
    held = alt.footprint().weights + alt.footprint().table * LIFT_FRAMES / frames
    with torch.device("meta"):
        network = Diffusion(task, DiffusionSpec(**DIFFUSION["paper"])).make_network((84, 84))
    reference = sum(p.numel() * p.element_size() for p in network.parameters())
    assert reference == pytest.approx(1_112e6, rel=0.01)
    assert (held / reference <= PAPER_RATIO) is fits
