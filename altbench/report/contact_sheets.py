"""Contact sheets: labelled rows of small pictures under column titles, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError
from altbench.core.types import UInt8
from altbench.system.files import replacing

GAP = 2
"""Pixels between two pictures."""
GREY = 190
"""Grey level of gaps and of missing pictures; white would run into bright pictures."""
FONT_SIZE = 13
"""Size of labels and titles in points."""
LINE = 18
"""Height of the line of titles in pixels."""


def contact_sheet(rows: Sequence[tuple[str, Sequence[UInt8]]], titles: Sequence[str], height: int = 112) -> UInt8:
    """Draw one picture, uint8 (H, W, 3), of `rows`.

    A row is its label, which may have several lines, and its pictures, uint8 (h, w, 3),
    all of one size. Pictures are enlarged by a whole factor to at least `height`
    pixels. `titles` stand above the columns. Raises ConfigError unless each row has one
    picture for each title.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not rows or not titles or any(len(pictures) != len(titles) for _, pictures in rows):
        lengths = sorted({len(pictures) for _, pictures in rows})
        raise ConfigError(f"expected rows of {len(titles)} pictures, one for each title, got rows of {lengths}")
    font = ImageFont.load_default(FONT_SIZE)
    factor = max(1, -(-height // rows[0][1][0].shape[0]))
    tall, wide = (factor * side + GAP for side in rows[0][1][0].shape[:2])
    margin = int(max(font.getlength(line) for label, _ in rows for line in label.split("\n"))) + 12
    sheet = Image.new("RGB", (margin + wide * len(titles), LINE + tall * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((margin, LINE, sheet.width - GAP - 1, sheet.height - GAP - 1), fill=(GREY, GREY, GREY))
    for column, title in enumerate(titles):
        draw.text((margin + wide * column + wide / 2, LINE / 2), title, font=font, anchor="mm", fill="black")
    for row, (label, pictures) in enumerate(rows):
        draw.multiline_text((6, LINE + tall * (row + 0.5)), label, font=font, anchor="lm", fill="black")
        for column, picture in enumerate(pictures):
            enlarged = picture.repeat(factor, axis=0).repeat(factor, axis=1)
            sheet.paste(Image.fromarray(enlarged), (margin + wide * column, LINE + tall * row))
    return np.asarray(sheet, np.uint8)


def demonstrations_sheet(
    demonstrations: Sequence[Demonstration], camera: str, rows: int, columns: int, control_hz: float
) -> UInt8:
    """Draw `rows` demonstrations with `columns` frames each, as a contact sheet.

    The demonstrations are evenly spaced among all, the frames from first to last.
    """
    shares = np.linspace(0, 1, columns)
    chosen = [demonstrations[i] for i in np.unique(np.linspace(0, len(demonstrations) - 1, rows).round().astype(int))]
    lines = []
    for d in chosen:
        grid = f", grid {d.grid_index}" if d.grid_index >= 0 else ""
        label = f"demo {d.index}{grid}\n{len(d)} frames, {len(d) / control_hz:.1f} s" + (
            "" if d.success else "\nfailure"
        )
        frames = (shares * (len(d) - 1)).round().astype(int)
        lines.append((label, [d.pixels[camera][t] for t in frames]))
    return contact_sheet(lines, [f"{share:.0%}" for share in shares])


def write_png(path: Path, picture: UInt8) -> None:
    """Write `picture`, uint8 (H, W, 3); raise ConfigError if that fails."""
    from PIL import Image

    try:
        with replacing(path) as temporary:
            Image.fromarray(picture).save(temporary, format="PNG")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error
