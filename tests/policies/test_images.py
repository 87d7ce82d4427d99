"""Encoders and augmentation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from altbench_policies import augment
from altbench_policies.augment import AugmentSpec, ImageBank, distort, plain
from altbench_policies.vision import SpatialSoftmax, VisionSpec, make_encoder, seeded_network


def random_images(count=6, size=20):
    return torch.randint(0, 256, (count, size, size, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_resnet18_has_the_published_size():
    spec = VisionSpec(encoder="resnet18", pooling="average")
    with torch.device("meta"):
        encoder, features = make_encoder(spec, (84, 84))
    assert features == 512
    assert sum(p.numel() for p in encoder.parameters()) == 11_176_512  # torchvision's without its classifier


@pytest.mark.parametrize("encoder", ["resnet18", "cnn3", "cnn4"])
@pytest.mark.parametrize("pooling", ["average", "flat", "spatial_softmax"])
@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_encoders_give_the_features_they_promise(encoder, pooling, norm):
    spec = VisionSpec(encoder=encoder, width=0.25, pooling=pooling, norm=norm, keypoints=5)
    made, features = make_encoder(spec, (48, 44))
    out = made(torch.randn(3, 3, 48, 44))
    assert out.shape == (3, features)
    out.sum().backward()
    assert all(p.grad is not None for p in made.parameters())


def test_spatial_softmax_finds_a_peak():
    pool = SpatialSoftmax(1, 1)
    torch.nn.init.constant_(pool.maps.weight, 1.0)
    torch.nn.init.zeros_(pool.maps.bias)
    features = torch.zeros(1, 1, 5, 9)
    features[0, 0, 1, 6] = 100
    torch.testing.assert_close(pool(features), torch.tensor([[0.5, -0.5]]))


def test_spatial_softmax_is_as_exact_in_training_as_in_acting():
    pool, features = SpatialSoftmax(4, 6), torch.randn(3, 4, 9, 7, generator=generator())
    maps = pool.maps(features)
    pool.maps = torch.nn.Identity()  # autocast would take another precision for them
    with torch.autocast("cpu", torch.bfloat16):
        trained = pool(maps)
    assert trained.dtype == torch.float32
    torch.testing.assert_close(trained, pool(maps))


def test_initial_weights_come_from_the_seed_alone():
    def weights(seed):
        return seeded_network(lambda: make_encoder(VisionSpec(), (40, 40))[0], seed, "cpu").state_dict()

    first, second, other = weights(5), weights(5), weights(6)
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


def test_plain_maps_pixels_to_unit_range_and_crops_the_centre():
    images = random_images()
    expected = images.permute(0, 3, 1, 2).float() / 127.5 - 1
    torch.testing.assert_close(plain(images, AugmentSpec(shift=3)), expected)
    torch.testing.assert_close(plain(images, AugmentSpec(crop=0.8)), expected[:, :, 2:18, 2:18])


def test_shifts_are_shifts_with_the_border_repeated():
    images, pixels = random_images(), 3
    batch = ImageBank(images, AugmentSpec(shift=pixels)).augmented(torch.arange(6), generator())
    padded = F.pad(images.permute(0, 3, 1, 2).float(), (pixels,) * 4, mode="replicate") / 127.5 - 1
    offsets = set()
    for image, source in zip(batch, padded, strict=True):
        windows = {(y, x): source[:, y : y + 20, x : x + 20] for y in range(7) for x in range(7)}
        found = [offset for offset, window in windows.items() if torch.allclose(image, window, atol=1e-5)]
        assert len(found) == 1
        offsets.update(found)
    assert len(offsets) > 1


def test_every_crop_lies_inside_its_image():
    images = random_images()
    batch = ImageBank(images, AugmentSpec(crop=0.8)).augmented(torch.arange(6), generator())
    sources = plain(images, AugmentSpec())
    for image, source in zip(batch, sources, strict=True):
        assert any(torch.equal(image, source[:, y : y + 16, x : x + 16]) for y in range(5) for x in range(5))


def test_frames_of_one_sample_share_their_augmentation():
    images = random_images(1).expand(4, -1, -1, -1).contiguous()
    spec = AugmentSpec(shift=3, crop_scale=0.9, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)
    batch = ImageBank(images, spec).augmented(torch.tensor([[0, 1], [2, 3]]), generator()).view(2, 2, 3, 20, 20)
    assert torch.equal(batch[0, 0], batch[0, 1])
    assert torch.equal(batch[1, 0], batch[1, 1])
    assert not torch.equal(batch[0, 0], batch[1, 0])


def test_distorted_images_lie_in_channels_last_unchanged_by_the_copy():
    planar = torch.rand(4, 3, 6, 5, generator=generator())
    copied, expected = augment._channels_last(planar), planar.contiguous(memory_format=torch.channels_last)
    assert torch.equal(copied, expected) and copied.stride() == expected.stride()
    jittered = distort(random_images(), AugmentSpec(brightness=0.2), 6, generator())
    assert jittered.is_contiguous(memory_format=torch.channels_last)


def test_augmentation_comes_from_its_generator():
    spec = AugmentSpec(shift=2, crop_scale=0.9, brightness=0.2, hue=0.05)
    bank, rows = ImageBank(random_images(), spec), torch.arange(6)
    assert torch.equal(bank.augmented(rows, generator(1)), bank.augmented(rows, generator(1)))
    assert not torch.equal(bank.augmented(rows, generator(1)), bank.augmented(rows, generator(2)))


def test_a_resized_crop_of_the_whole_image_is_the_image():
    images = random_images()
    whole = distort(images, AugmentSpec(crop_scale=1 - 1e-7), 6, generator())
    torch.testing.assert_close(whole, plain(images, AugmentSpec()), atol=1e-3, rtol=0)


def test_resized_crops_keep_within_their_area():
    """On a ramp, the range of values seen tells the sides of the box that was cropped."""
    ramp = torch.linspace(0, 255, 64).round().to(torch.uint8)
    across, down = ramp.expand(64, 64), ramp[:, None].expand(64, 64)
    images = torch.stack([across, down, down], dim=2).expand(50, -1, -1, -1).contiguous()
    boxes = distort(images, AugmentSpec(crop_scale=0.7), 50, generator())
    sides = (boxes.amax((2, 3)) - boxes.amin((2, 3))) / 2
    area = sides[:, 0] * sides[:, 1]
    assert area.min() > 0.65
    assert area.max() <= 1.01
    assert area.std() > 0.03


def test_jitter_is_the_product_of_its_four_parts():
    images = random_images() // 4 + 96  # far from black and white, so that nothing is clipped
    grey = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    x = images.permute(0, 3, 1, 2).float()
    seed = 3

    def jitter(**strength):
        return (distort(images, AugmentSpec(**strength), 6, generator(seed)) + 1) * 127.5

    draws = torch.Generator().manual_seed(seed)
    factors = [torch.rand(6, generator=draws).mul(0.4).add(0.8).view(-1, 1, 1, 1) for _ in range(3)]
    torch.testing.assert_close(jitter(brightness=0.2), factors[0] * x)
    mean = (grey * x).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    torch.testing.assert_close(jitter(contrast=0.2), mean + factors[1] * (x - mean))
    each = (grey * x).sum(1, keepdim=True)
    torch.testing.assert_close(jitter(saturation=0.2), each + factors[2] * (x - each))


def test_erasing_paints_rectangles_over_half_of_the_images():
    spec, black = AugmentSpec(erase=1, erase_area=0.2), torch.zeros(400, 60, 60, 3, dtype=torch.uint8)
    images = distort(black, spec, 400, generator())
    painted = (images > -1).any(1)
    share = painted.flatten(1).float().mean(1)
    assert 0.4 < (share > 0).float().mean() < 0.6
    assert share.max() <= 0.23  # 0.2, and half a pixel along each side
    for image, mask in zip(images, painted, strict=True):
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns[None])
        assert len(image[:, mask].unique(dim=1).T) <= 1


def test_what_is_not_erased_is_as_it_was():
    images = random_images(40)
    erased, expected = distort(images, AugmentSpec(erase=3), 40, generator()), plain(images, AugmentSpec())
    changed = (erased != expected).any(1)
    assert 0.02 < changed.float().mean() < 0.3
    assert torch.equal(erased, torch.where(changed[:, None], erased, expected))
    assert len(erased[:, 0][changed].unique()) <= 3 * 40


def test_hue_turns_colours_and_keeps_grey():
    grey = torch.full((3, 4, 4, 3), 100, dtype=torch.uint8)
    torch.testing.assert_close(distort(grey, AugmentSpec(hue=0.5), 3, generator()), plain(grey, AugmentSpec()))
    red = torch.tensor([150, 50, 50], dtype=torch.uint8).expand(8, 4, 4, 3).contiguous()
    turned = distort(red, AugmentSpec(hue=0.3), 8, generator())
    torch.testing.assert_close(turned.mean(1), plain(red, AugmentSpec()).mean(1), atol=1e-3, rtol=0)
    assert (turned - plain(red, AugmentSpec())).abs().amax() > 0.2


def test_a_share_of_the_samples_is_disturbed_and_the_others_are_as_they_were():
    images = random_images(40)
    spec = AugmentSpec(disturbed=0.25, brightness=0.5, overlay=0.5, erase=1)
    expected, made = plain(images, AugmentSpec()), distort(images, spec, 20, generator())
    changed = (made != expected).flatten(1).any(1).view(20, 2)
    assert torch.equal(changed[:, 0], changed[:, 1]) and changed[:, 0].sum() == 5
    whole = AugmentSpec(brightness=0.5, overlay=0.5, erase=1)
    assert not torch.equal(distort(images, whole, 20, generator())[0], expected[0])


def test_an_overlay_blends_a_smooth_field_into_half_of_the_images():
    grey = torch.full((300, 32, 32, 3), 100, dtype=torch.uint8)
    made = distort(grey, AugmentSpec(overlay=0.5), 300, generator())
    changed = (made - (100 / 127.5 - 1)).abs().flatten(1).amax(1)
    assert 0.4 < (changed > 1e-4).float().mean() < 0.6
    assert changed.max() <= 0.5 * 155 / 127.5 + 1e-4
    assert torch.equal(made, distort(grey, AugmentSpec(overlay=0.5), 300, generator()))
