"""Images are compared with their states: turned, swapped, reordered and lagging ones are named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import fakes
import numpy as np
import pytest

from altbench.core.demonstration import Demonstration
from altbench.core.types import UInt8
from altbench.dataset import image_likeness
from altbench.dataset.image_checks import ImageCheck, ImagesError, _compared
from altbench.dataset.state_viewer import TaskStateViewer

SIZE = (48, 48)
Change = Callable[[UInt8], UInt8]


@pytest.fixture(scope="module")
def demonstrations() -> tuple[Demonstration, ...]:
    return fakes.make_demonstrations(4, image_size=SIZE, placement="uniform")


@pytest.fixture(scope="module")
def viewer() -> Iterator[TaskStateViewer]:
    fakes.register()
    with TaskStateViewer(fakes.TASK) as made:
        yield made


def changed(shown: Demonstration, **cameras: Change) -> Demonstration:
    return replace(shown, pixels={**shown.pixels, **{c: change(shown.pixels[c]) for c, change in cameras.items()}})


def checked(viewer: TaskStateViewer, shown: list[Demonstration]) -> ImageCheck:
    check = ImageCheck(viewer, len(shown), "do this")
    for demonstration in shown:
        check.look(demonstration)
    check.finish()
    return check


def noisy(images: UInt8) -> UInt8:
    noise = np.random.default_rng(0).normal(0, 2, images.shape)
    return np.clip(0.8 * images + 20 + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("change", [lambda x: x, noisy])
def test_images_of_their_states_pass_with_noise_and_another_exposure(
    viewer: TaskStateViewer, demonstrations: tuple[Demonstration, ...], change: Change
) -> None:
    check = checked(viewer, [changed(d, agentview=change, wrist=change) for d in demonstrations])
    assert check.images == 4 * 4 * 2


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("upside down", lambda x: x[:, ::-1]),
        ("mirrored", lambda x: x[:, :, ::-1]),
        ("rotated by 180 degrees", lambda x: x[:, ::-1, ::-1]),
        ("transposed", lambda x: x.transpose(0, 2, 1, 3)),
        ("in BGR order", lambda x: x[..., ::-1]),
        ("upside down, in BGR order", lambda x: x[:, ::-1, :, ::-1]),
    ],
)
def test_a_wrong_reading_is_named_with_the_right_one(
    viewer: TaskStateViewer, demonstrations: tuple[Demonstration, ...], words: str, change: Change
) -> None:
    with pytest.raises(ImagesError, match=f"demonstration 0: .* agentview fit better read {words}; do this"):
        checked(viewer, [changed(d, agentview=lambda x: noisy(change(x))) for d in demonstrations])


def test_swapped_cameras_are_named(viewer: TaskStateViewer, demonstrations: tuple[Demonstration, ...]) -> None:
    swapped = [
        replace(d, pixels={"agentview": d.pixels["wrist"], "wrist": d.pixels["agentview"]}) for d in demonstrations
    ]
    with pytest.raises(ImagesError, match="agentview fit better read as those of wrist, and those of wrist fit better"):
        checked(viewer, swapped)


@pytest.mark.parametrize(("lag", "words"), [(2, "2 frames behind them"), (-1, "1 frame ahead of them")])
def test_a_lag_is_told(
    viewer: TaskStateViewer, demonstrations: tuple[Demonstration, ...], lag: int, words: str
) -> None:
    def late(images: UInt8) -> UInt8:
        return images[np.clip(np.arange(len(images)) - lag, 0, len(images) - 1)]

    with pytest.raises(ImagesError, match=words):
        checked(viewer, [changed(d, agentview=late, wrist=late) for d in demonstrations])


def test_one_wrong_demonstration_among_right_ones_is_found(
    viewer: TaskStateViewer, demonstrations: tuple[Demonstration, ...]
) -> None:
    mixed = [*demonstrations[:3], changed(demonstrations[3], wrist=lambda x: x[:, ::-1])]
    with pytest.raises(ImagesError, match=r"demonstration 3: .* wrist fit better read upside down"):
        checked(viewer, mixed)


def test_images_of_other_states_are_found(viewer: TaskStateViewer) -> None:
    shown = [d for d in fakes.make_demonstrations(12, image_size=SIZE) if len(d) > 4][:6]
    shortest = min(map(len, shown))
    cut = [
        replace(
            d,
            pixels={c: p[:shortest] for c, p in d.pixels.items()},
            states=d.states[:shortest],
            actions=d.actions[:shortest],
        )
        for d in shown
    ]
    cut = [replace(d, index=i) for i, d in enumerate(cut)]
    strangers = [replace(d, pixels=cut[(i + 1) % 6].pixels) for i, d in enumerate(cut)]
    check = ImageCheck(viewer, 6, "do this")
    check.compared = [(d, _compared(viewer, d, [1, 2])) for d in strangers]
    with pytest.raises(
        ImagesError, match="demonstration 0, frame 1 shows the state of demonstration 1, frame 1; do this"
    ):
        check.finish()
    check.compared = [(d, _compared(viewer, d, [1, 2])) for d in cut]
    check.finish()


def test_images_of_nothing_are_refused(viewer: TaskStateViewer, demonstrations: tuple[Demonstration, ...]) -> None:
    rng = np.random.default_rng(0)
    for change in (np.zeros_like, lambda x: rng.integers(0, 256, x.shape, np.uint8)):
        with pytest.raises(ImagesError, match="agentview are not like what is drawn"):
            checked(viewer, [changed(d, agentview=change) for d in demonstrations])


def test_the_render_profile_is_the_nearer_one_where_clearly_nearer(
    viewer: TaskStateViewer, demonstrations: tuple[Demonstration, ...]
) -> None:
    class Shadowed(TaskStateViewer):
        def look(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            seen = super().look(*args, **kwargs)
            return replace(seen, pixels={c: shadowed(p[None])[0] for c, p in seen.pixels.items()})

    def shadowed(images: UInt8) -> UInt8:
        darker = images.copy()
        darker[:, 30:] -= 8
        return darker

    def rough(images: UInt8) -> UInt8:
        return np.clip(images.astype(int) + np.random.default_rng(0).integers(-3, 4, images.shape), 0, 255).astype(
            np.uint8
        )

    def profile(change: Change) -> str:
        check = ImageCheck(viewer, 1, "")
        check.look(changed(demonstrations[0], agentview=change, wrist=change))
        with Shadowed(fakes.TASK) as other:
            return check.profile({"robosuite": other})

    assert profile(lambda x: x) == "fast"
    assert profile(rough) == "fast"
    assert profile(shadowed) == "robosuite"
    assert profile(lambda x: rough(shadowed(x))) == "robosuite"
    assert profile(lambda x: (x // 2).astype(np.uint8) + 120) == "unknown"


def test_preference_does_not_see_what_moves_both_alike() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 3, 16, 16, 3))
    light = 0.3 * rng.normal(size=one.shape)
    assert image_likeness.preference(one, one, other) == pytest.approx(-1)
    assert image_likeness.preference(other, one, other) == pytest.approx(1)
    assert image_likeness.preference(one + light, one, other) == pytest.approx(-1, abs=0.1)
    assert image_likeness.preference(one, one, one) == 0
