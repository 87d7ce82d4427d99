"""Environment variables in tests."""

from __future__ import annotations

import pytest


def unset(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Delete environment variables until the test ends; then each is what it was, or missing again.

    `monkeypatch.delenv(name, raising=False)` notes nothing about a variable that is
    missing, so that it would keep what the tested code sets.
    """
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
