"""Debian's Chromium for tests of pages, without a window. Importing it skips a file's tests where something is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium: `apt-get install chromium`, or put one on PATH", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install 'altbench[test]'")
axe = pytest.importorskip("axe_playwright_python", reason="axe is missing: pip install 'altbench[test]'")


@contextmanager
def started() -> Iterator[Any]:
    """Yield the browser."""
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def axe_script() -> str:
    """Return axe's own script, which the package carries."""
    return next(Path(axe.__file__).parent.rglob("axe.min.js")).read_text("utf-8")
