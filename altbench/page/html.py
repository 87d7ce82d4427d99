"""What every page has in common: its templates, its style sheet, and what the browser may do."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from altbench.report.table import percentage, significant

PACKAGE = "altbench.page"
"""The package of the templates that pages share."""


@cache
def environment(package: str = PACKAGE) -> Environment:
    """Return the templates of `package`, and behind them those that pages share.

    Every value is escaped, so that no name and no message becomes markup.
    """
    made = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, PACKAGE))]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": _percent,
        "significant": _significant,
        "signed": _signed,
        "thousands": lambda n: f"{n:,}",
    }
    made.globals["p_text"] = _p_text
    return made


@cache
def source(name: str) -> str:
    """Return a style sheet or script that pages share, to be put into a page."""
    return (Path(__file__).parent / "templates" / name).read_text("utf-8")


def content_policy(style: str, script: str) -> str:
    """Return the policy that the browser holds a page to: nothing is fetched, nothing else runs."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    of_style, of_script = hashes
    return (
        f"default-src 'none'; style-src 'sha256-{of_style}'; script-src 'sha256-{of_script}'; img-src data:; "
        "media-src data: file: 'self'; base-uri 'none'; form-action 'none'"
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{percentage(share)} %"


def _significant(value: float | None, digits: int = 3) -> str:
    return significant(value, digits)


def _signed(share: float, digits: int = 0) -> str:
    """Return a difference in points with its sign, a true minus; 0 has none."""
    text = f"{100 * share:+.{digits}f}".replace("-", "−")
    return "0" if not text.strip("+−0.") else text


def _p_text(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else "< 0.0001"
