"""The certificate's page and its badge."""

from __future__ import annotations

from pathlib import Path

from altbench.core import registry
from altbench.page.html import environment
from altbench.submissions.certificates.certify import BADGE, PAGE_FILE, Certificate
from altbench.submissions.certificates.rule import CERTIFICATE_VERSION
from altbench.submissions.entries import megabytes
from altbench.submissions.pages import PACKAGE, page
from altbench.system.files import write_text

COLOURS = {"generalises": "#1a6f37", "recalls": "#8a4b00", "undecided": "#5a6068"}
"""The badge's colours: white text on each has a contrast of at least 5 to 1."""
FONT, SIZE, ASIDE = "fonts/ttf/DejaVuSans.ttf", 11, 7
"""The badge's font, which matplotlib carries, its size, and the room on each side (pixels)."""


def write_pages(folder: Path, found: Certificate, report: str) -> None:
    """Write certificate.html and badge.svg into `folder`. `report`: the run's page beside it; empty: none."""
    order = registry.task(found.task).splits
    splits = sorted(found.own.rates, key=order.index)
    text = page(
        "certificate.html",
        found=found,
        judged=[found.own, *found.controls],
        splits=splits,
        megabytes=megabytes(found.measure),
        rule=CERTIFICATE_VERSION,
        report=report,
        badge=BADGE,
    )
    write_text(folder / PAGE_FILE, text)
    write_text(folder / BADGE, badge(found.badge, found.own.decision.word))


def badge(words: str, word: str) -> str:
    """Return the badge as SVG, such as `altbench | recalls (Lift, N = 30)`."""
    left, right = (_width(text) + 2 * ASIDE for text in ("altbench", words))
    drawn = environment(PACKAGE).get_template("badge.svg")
    return drawn.render(words=words, left=left, right=right, colour=COLOURS[word])


def _width(text: str) -> int:
    """Return the width of a text in the badge's font (pixels)."""
    import matplotlib
    from PIL import ImageFont

    # The basic layout is the same wherever Pillow was built. Ten times the size: no hinting to whole pixels.
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), FONT), 10 * SIZE, layout_engine=ImageFont.Layout.BASIC)
    return round(font.getlength(text) / 10)
