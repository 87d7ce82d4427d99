"""Grids of films: tiles begin together, wait for the last one, and are framed by flag and outcome."""

from __future__ import annotations

import numpy as np

from altbench.report.drawing.tiles import BORDER, FLAGGED, PLAIN, SUCCESS, WIDEST, Tile, grid_of, size_of, square


def tile(length: int, grey: int) -> Tile:
    frames = np.full((length, 40, 60, 3), grey, np.uint8)
    colours = (PLAIN, *[FLAGGED] * (length - 2), SUCCESS)
    return Tile(frames, "alt, recall", tuple(f"step {i}" for i in range(length)), colours)


def test_tiles_stand_in_rows_and_the_short_ones_wait() -> None:
    film = grid_of([[tile(3, 50), tile(6, 90)], [tile(4, 130)]])
    one = tile(3, 50).drawn(3)
    height, width = one.shape[1:3]
    assert film.shape == (6, 2 * height, 2 * width, 3)
    assert not film[:, height:, width:].any(), "nothing stands in the last place"
    np.testing.assert_array_equal(film[5, :height, :width], one[2])
    assert (film[0, height - BORDER - 1, width // 2] == 50).all() and (
        film[0, 2 * height - BORDER - 1, 30] == 130
    ).all()


def test_a_tile_s_frame_tells_flag_and_outcome() -> None:
    drawn = tile(4, 50).drawn(5)
    assert [tuple(picture[0, 0]) for picture in drawn] == [PLAIN, FLAGGED, FLAGGED, SUCCESS, SUCCESS]


def test_a_grid_is_no_wider_than_a_screen_and_nearly_square() -> None:
    assert [square(n) for n in (1, 2, 4, 5, 9, 10)] == [1, 2, 2, 3, 3, 4]
    assert size_of(1, 336) == 336 and 10 * (size_of(10, 336) + 2 * BORDER) <= WIDEST
