"""What holds for every test: no test depends on another, and none waits for the disk or for garbage of the imports."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
OURS = (
    "ALTBENCH_",
    "COLUMNS",
    "CUDA_",
    "HF_",
    "HOME",
    "LANG",
    "MINARI_",
    "NUMBA_",
    "ONEDNN_",
    "PYTHON",
    "SLURM_",
    "XDG_",
)
"""Beginnings of variables that the bench or its tests set for a while. Others are set once by who loads a library."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files that mark no test as slow if only slow tests are wanted: to import them takes seconds.

    `pytest_collection_modifyitems` holds that no slow test is in such a file.
    """
    python = collection_path.suffix == ".py" and collection_path.is_file()
    return True if config.option.markexpr == "slow" and python and not says_slow(collection_path) else None


def says_slow(path: Path) -> bool:
    """Return whether the file marks tests as slow by that word."""
    return "mark.slow" in path.read_text(encoding="utf-8")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files of this folder; the short ones of the others share the end evenly.

    UsageError if a test is slow but its file does not say so: `-m slow` would not find it.
    """
    silent = {item.path for item in items if item.get_closest_marker("slow")}
    for path in sorted(path for path in silent if not says_slow(path)):
        raise pytest.UsageError(f"{path}: a test is slow, but the file does not say `pytest.mark.slow`")
    items.sort(key=lambda item: item.path.parent != ROOT)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while tests are collected: it would look at more objects each time, and free almost none."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Do not fail `-m slow` of named tests that have no slow one: tox runs it after the others of the same tests.

    Of all tests, to find no slow one is a failure.
    """
    named = session.config.args_source == pytest.Config.ArgsSource.ARGS
    if named and session.config.option.markexpr == "slow" and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


def pytest_collection_finish() -> None:
    """Hide from the garbage collector what all test modules and their libraries have made.

    It is a million objects, which stay, and a full pass over them takes half a second. Later
    it looks less often than by default, since what tests import and share stays, too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """Give the next test the environment variables and the working directory that this one found."""
    before, folder = dict(os.environ), Path.cwd()
    yield
    for name in [name for name in os.environ if name not in before and name.startswith(OURS)]:
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})
    os.chdir(folder)


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Do not flush files to the disk in this process: a run does so a hundred times, each for milliseconds.

    Only a crash of the machine could tell. system/test_files.py tests what is flushed, and processes that tests start
    do flush.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither read nor write what whoever runs the tests has in a cache."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ALTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
