"""mp4 files: frames in, the same frames out; captions; nothing half-written."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from altbench.core.errors import ConfigError, ContractError
from altbench.report import video


def gradient(frames: int, height: int, width: int) -> np.ndarray:
    """Smooth frames that grow brighter, uint8 (T, H, W, 3)."""
    ramp = np.linspace(0, 120, width)[None, None, :, None] + np.linspace(0, 100, frames)[:, None, None, None]
    return np.broadcast_to(ramp, (frames, height, width, 3)).astype(np.uint8)


def decode(path: Path) -> tuple[np.ndarray, float]:
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate)
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]), rate


@pytest.mark.parametrize("codecs", [av.codecs_available, {"mpeg4"}])
def test_the_same_frames_come_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codecs: set[str]) -> None:
    monkeypatch.setattr(av, "codecs_available", codecs)
    frames = gradient(12, 64, 96)
    video.write_mp4(tmp_path / "new" / "a.mp4", frames, 12.5)
    found, rate = decode(tmp_path / "new" / "a.mp4")
    assert found.shape == frames.shape
    assert rate == 12.5
    assert np.abs(found.astype(int) - frames).mean() < 4


def test_odd_sizes_grow_by_one(tmp_path: Path) -> None:
    video.write_mp4(tmp_path / "a.mp4", gradient(3, 33, 47), 20)
    found, _ = decode(tmp_path / "a.mp4")
    assert found.shape == (3, 34, 48, 3)


@pytest.mark.parametrize(
    "frames",
    [np.zeros((2, 8, 8, 3)), np.zeros((8, 8, 3), np.uint8), np.zeros((2, 8, 8, 4), np.uint8), gradient(1, 8, 8)[:0]],
)
def test_other_arrays_are_refused(tmp_path: Path, frames: np.ndarray) -> None:
    with pytest.raises(ContractError, match="expected frames uint8"):
        video.write_mp4(tmp_path / "a.mp4", frames, 20)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("old")

    def failing(temporary: Path, *args: object) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(video, "_encode", failing)
    with pytest.raises(ConfigError, match=r"a\.mp4: cannot be written: No space left"):
        video.write_mp4(path, gradient(1, 8, 8), 20)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_views_stand_side_by_side_enlarged_by_whole_factors() -> None:
    a, b = gradient(2, 84, 84), 255 - gradient(2, 84, 84)
    joined = video.side_by_side([a, b], height=256)
    assert joined.shape == (2, 4 * 84, 2 * 4 * 84, 3)
    np.testing.assert_array_equal(joined[:, ::4, ::4], np.concatenate([a, b], axis=2))


def test_a_caption_stands_above_the_picture() -> None:
    frames = gradient(2, 30, 400)
    found = video.caption(frames, "lift/alt/n30 recall ep 3 – success")
    np.testing.assert_array_equal(found[:, -30:], frames)
    strip = found[0, :-30]
    assert 0.02 < (strip > 128).mean() < 0.5
    np.testing.assert_array_equal(found[1, :-30], strip)


def test_captions_may_differ_by_frame_and_long_ones_are_cut() -> None:
    frames = gradient(3, 30, 90)
    found = video.caption(frames, ["a", "b", "a very long caption " * 20])
    assert found.shape == (3, 54, 90, 3)
    assert not np.array_equal(found[0, :24], found[1, :24])
    with pytest.raises(ContractError, match="a text for each of 3 frames, got 1"):
        video.caption(frames, ["a"])
