"""Every published variant of ALT learns its key, and comes back from a checkpoint as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from learning import assert_learns, descend

from altbench_policies.alt.config import NEAREST, AltSpec
from altbench_policies.alt.network import KeyNetwork, PairObjective, nt_xent
from altbench_policies.frames import join
from altbench_policies.vision import seeded_network

BOTH = ("agentview", "wrist")
MODES = {
    "views and pose": {"pose": True},
    "views": {},
    "one view": {"cameras": ("agentview",)},
    "one view and pose, side by side": {"cameras": ("wrist",), "pose": True, "fuse": "concat"},
}
ENCODERS = {
    "resnet18, group": {"encoder": "resnet18", "width": 0.25, "pooling": "average"},
    "resnet18, batch": {"encoder": "resnet18", "width": 0.25, "pooling": "average", "norm": "batch"},
    "cnn3": {"encoder": "cnn3", "width": 0.5},
    "cnn4": {"encoder": "cnn4", "width": 0.5},
    "vit": {"encoder": "vit", "width": 0.34, "vit_depth": 2, "vit_patch": 8, "pooling": "average"},
}
AUGMENTED = {"shift": 2, "brightness": 0.2, "crop_scale": 0.9}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_each_encoder_learns_one_batch(encoder, demonstrations):
    falls(ENCODERS[encoder], demonstrations)


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_learns_one_batch(mode, demonstrations):
    falls({"width": 0.5, **MODES[mode]}, demonstrations)


def falls(settings, demonstrations):
    """Assert that NT-Xent of one batch falls to half in thirty steps."""
    spec = AltSpec(batch_size=12, **AUGMENTED, **settings)
    cameras = spec.cameras or BOTH
    frames = join(demonstrations[:1], cameras)

    def share_left(seed):
        network = seeded_network(lambda: KeyNetwork(spec, cameras, 11, (40, 40)), seed, "cpu")
        network.pose_range.fit(frames.agent_pos)
        objective = PairObjective(network, frames)
        batch = objective.sample(torch.Generator().manual_seed(0))
        losses = descend(network.parameters(), lambda: objective.loss(batch), 30, 1e-3)
        return losses[-1] / losses[0]

    assert_learns(share_left, below=0.5)


@pytest.mark.parametrize("settings", [*ENCODERS.values(), *MODES.values(), *({"embedding": d} for d in (64, 128, 256))])
def test_each_variant_is_the_same_once_loaded(settings, fit_policy, make_policy, observe, demonstrations, tmp_path):
    settings = {**NEAREST, **settings}
    policy, other = fit_policy("alt", **settings), make_policy("alt", **settings)
    policy.save(tmp_path)
    other.load(tmp_path)
    seen = observe(demonstrations[2], [0, 5, 11], 1)
    for one in (policy, other):
        one.reset([0, 1, 2], [0, 0, 0])
    before, after = (one.act(seen, [0, 1, 2]) for one in (policy, other))
    np.testing.assert_array_equal(before.actions, after.actions)
    np.testing.assert_array_equal(before.similarities, after.similarities)
    np.testing.assert_array_equal(before.actions[1], demonstrations[2].actions[5:13])
    if "embedding" in settings:
        assert policy.fitted().network.dimension == settings["embedding"]


@pytest.mark.parametrize("temperature", [0.07, 0.4, 1.0])
def test_nt_xent_is_pytorch_metric_learnings(temperature):
    from pytorch_metric_learning.losses import NTXentLoss

    raw = torch.randn(18, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    keys = torch.nn.functional.normalize(raw, dim=1)
    ours = nt_xent(*keys.chunk(2), temperature)
    theirs = NTXentLoss(temperature)(raw, torch.arange(9).repeat(2))  # it normalises them itself
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, raw, retain_graph=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients)
