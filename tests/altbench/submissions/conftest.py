"""One run of the fake task, packed once: what all tests of submissions begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fakes
import pytest
from running import run_bare
from submitted import CARD, make_sweep

from altbench.submissions.archive import read_parts
from altbench.submissions.pack import pack


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of two rows on the fake task."""
    fakes.register()
    root = tmp_path_factory.mktemp("run")
    summary = run_bare(make_sweep(), root)
    assert summary.failed == ()
    return root


@pytest.fixture(scope="session")
def archive(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest archive of the row `open_loop`, with its checkpoint."""
    out = tmp_path_factory.mktemp("archives") / "honest.zip"
    return pack(run_folder, "open_loop", out, True, CARD, renderer="none")


@pytest.fixture
def parts(archive: Path) -> dict[str, bytes]:
    """The parts of the honest archive, for a forger to change."""
    return dict(read_parts(archive)[0])


@pytest.fixture(autouse=True)
def fake_task() -> Iterator[None]:
    """The fake task is registered in every test."""
    fakes.register()
    yield
