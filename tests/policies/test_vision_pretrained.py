"""Pretrained ResNet-18 weights in torchvision's layout, and the library's vision transformer."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from altbench.core.errors import ConfigError
from altbench.core.policy import FitContext
from altbench_policies.pretrained import ImageNetRange, load_resnet18, weights_file
from altbench_policies.vision import VisionSpec, make_convolutions, make_encoder

RESNET = VisionSpec(encoder="resnet18", norm="batch", pooling="average")


def torchvision_tensors():
    """Random tensors under the names and shapes of torchvision's resnet18 (its documentation's table)."""
    generator = torch.Generator().manual_seed(0)

    def norm(name, channels):
        drawn = {leaf: torch.rand(channels, generator=generator) + 0.5 for leaf in ("weight", "running_var")}
        drawn |= {leaf: torch.randn(channels, generator=generator) for leaf in ("bias", "running_mean")}
        return {f"{name}.{leaf}": tensor for leaf, tensor in drawn.items()}

    def conv(name, outputs, inputs, kernel):
        return {f"{name}.weight": torch.randn(outputs, inputs, kernel, kernel, generator=generator) * 0.05}

    tensors = {**conv("conv1", 64, 3, 7), **norm("bn1", 64)}
    inputs = 64
    for stage, outputs in enumerate((64, 128, 256, 512), start=1):
        for block in (0, 1):
            name = f"layer{stage}.{block}"
            tensors |= {**conv(f"{name}.conv1", outputs, inputs, 3), **norm(f"{name}.bn1", outputs)}
            tensors |= {**conv(f"{name}.conv2", outputs, outputs, 3), **norm(f"{name}.bn2", outputs)}
            if inputs != outputs:
                tensors |= {**conv(f"{name}.downsample.0", outputs, inputs, 1), **norm(f"{name}.downsample.1", outputs)}
            inputs = outputs
    return {**tensors, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    safetensors.torch.save_file(torchvision_tensors(), path)
    return path


def reference(tensors, images):
    """ResNet-18 (He et al. 2016) written down from torchvision's names: (B, 3, H, W) -> (B, 512, h, w)."""

    def conv(x, name, stride):
        kernel = tensors[f"{name}.weight"]
        return nn.functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def norm(x, name):
        mean, var, weight, bias = (
            tensors[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        return nn.functional.batch_norm(x, mean, var, weight, bias)

    x = nn.functional.max_pool2d(norm(conv(images, "conv1", 2), "bn1").relu(), 3, 2, 1)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = norm(conv(x, f"{name}.conv1", stride), f"{name}.bn1").relu()
            y = norm(conv(y, f"{name}.conv2", 1), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in tensors:
                x = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = (x + y).relu()
    return x


def test_torchvisions_weights_go_where_they_belong(weights):
    convolutions, _ = make_convolutions(RESNET, (64, 64))
    digest = load_resnet18(convolutions, weights)
    assert len(digest) == 64
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(convolutions.eval()(images), reference(torchvision_tensors(), images))


def test_images_are_standardised_as_imagenets():
    white, black = ImageNetRange()(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1))[:, :, 0, 0]
    torch.testing.assert_close(white, torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]))
    torch.testing.assert_close(black, torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]))


def test_alt_begins_with_the_weights_it_is_given(weights, make_policy, observe, demonstrations, tmp_path):
    settings = {"encoder": "resnet18", "norm": "batch", "width": 1, "pooling": "average", "train_steps": 0}
    policy = make_policy("alt", weights=str(weights), **settings)
    policy.fit(demonstrations, FitContext(0))
    stem = policy.fitted().network.encoder[1][0][0][0][0]
    assert torch.equal(stem.weight, torchvision_tensors()["conv1.weight"])
    policy.save(tmp_path)
    assert "weights_sha256" in (tmp_path / "checkpoint.toml").read_text()
    again = make_policy("alt", weights="gone.safetensors", **settings)  # a checkpoint holds its weights itself
    again.load(tmp_path)
    seen = observe(demonstrations[0], [3], 1)
    np.testing.assert_array_equal(policy.embed(seen), again.embed(seen))
    assert again.fitted().notes == policy.fitted().notes


def test_other_weights_at_the_same_path_are_other_settings(weights, make_policy, tmp_path):
    settings = {"encoder": "resnet18", "norm": "batch", "width": 1}
    path = tmp_path / "mine.safetensors"
    path.write_bytes(weights.read_bytes())
    first = make_policy("alt", weights=str(path), **settings).config
    safetensors.torch.save_file({"other": torch.zeros(1)}, path)
    second = make_policy("alt", weights=str(path), **settings).config
    assert len(first.weights_sha256) == 64 and first.weights_sha256 != second.weights_sha256
    assert first.parse(first.model_dump(mode="json"), "alt") == first, "a checkpoint's card keeps its own"


def test_a_file_that_changed_since_the_settings_were_made_is_refused(weights, make_policy, demonstrations, tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(weights.read_bytes())
    policy = make_policy("alt", weights=str(path), encoder="resnet18", norm="batch", width=1, train_steps=0)
    safetensors.torch.save_file({name: tensor + 1 for name, tensor in torchvision_tensors().items()}, path)
    with pytest.raises(ConfigError, match=rf"expected the file with SHA-256 {policy.config.weights_sha256}, .* got"):
        policy.fit(demonstrations, FitContext(0))


def test_weights_that_do_not_fit_are_refused(weights, make_policy, demonstrations, tmp_path):
    with pytest.raises(ConfigError, match=r"set encoder = 'resnet18', norm = 'batch' and width = 1, got 'cnn4'"):
        make_policy("alt", weights=str(weights), width=1)
    with pytest.raises(ConfigError, match=r"'nowhere.safetensors': no such file; expected 'imagenet' or the path"):
        weights_file("nowhere.safetensors")
    convolutions, _ = make_convolutions(RESNET, (64, 64))
    for change, message in (
        ({"layer3.1.bn2.bias": None}, r"'layer3.1.bn2.bias' of shape \(256,\); got 101 others"),
        (
            {"conv1.weight": torch.zeros(64, 1, 7, 7)},
            r"'conv1.weight' of shape \(64, 3, 7, 7\); got one of \(64, 1, 7, 7\)",
        ),
    ):
        changed = {name: tensor for name, tensor in {**torchvision_tensors(), **change}.items() if tensor is not None}
        safetensors.torch.save_file(changed, tmp_path / "changed.safetensors")
        with pytest.raises(ConfigError, match=message):
            load_resnet18(convolutions, tmp_path / "changed.safetensors")
    (tmp_path / "resnet18.pth").write_bytes(b"\x80\x02}q\x00." * 100)
    with pytest.raises(ConfigError, match=r"expected safetensors .* pickled .pth files are never read"):
        load_resnet18(convolutions, tmp_path / "resnet18.pth")


def test_imagenet_without_a_network_says_what_was_tried_and_what_to_do(monkeypatch):
    import huggingface_hub

    def offline(repo, name):
        raise OSError(f"no route to the host of {repo}")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(
        ConfigError, match=r"tried to fetch model.safetensors of timm/.*OSError: no route.*set weights = "
    ):
        weights_file("imagenet")


@pytest.mark.parametrize("size", [(48, 48), (40, 56)])
@pytest.mark.parametrize("pooling", ["average", "flat", "spatial_softmax"])
def test_the_vision_transformer_gives_the_features_it_promises(size, pooling):
    spec = VisionSpec(encoder="vit", width=0.34, pooling=pooling, keypoints=5, vit_depth=2)
    encoder, features = make_encoder(spec, size)
    out = encoder.to(memory_format=torch.channels_last)(torch.randn(3, 3, *size))
    assert out.shape == (3, features)
    assert features == {"average": 64, "flat": 64 * 16, "spatial_softmax": 10}[pooling]
    out.sum().backward()
    assert encoder[0].transformer.patch_embedding.positions.grad is not None
    assert "torchvision" not in sys.modules


def test_without_kornia_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia.models.vit", None)
    with pytest.raises(ConfigError, match=r"needs kornia .*pip install 'altbench\[vit\]', or choose resnet18"):
        make_encoder(VisionSpec(encoder="vit"), (48, 48))
