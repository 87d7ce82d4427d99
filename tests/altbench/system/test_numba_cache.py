"""numba's cache where neither the code's folders nor the home can be written, and altbench's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from variables import unset as unset_variables

from altbench.core.errors import AltbenchError
from altbench.system import cache, doctor, numba_cache

VARIABLE = numba_cache.VARIABLE
UNWRITABLE = "/dev/null/none"
COMPILE = """
import os, sys
if "early" in sys.argv:
    import numba
from pathlib import Path
from altbench.system import numba_cache
numba_cache.writable = lambda folder: False
print(numba_cache.choose_numba_cache())
import numba.core.caching as caching
def refuse(self):
    raise PermissionError
for locator in caching.CacheImpl._locator_classes:
    if "UserProvided" not in locator.__name__ and "UserWide" not in locator.__name__:
        locator.ensure_cache_path = refuse
from altbench.stats import dtw
"""


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    unset_variables(monkeypatch, VARIABLE, "XDG_CACHE_HOME")
    if (config := sys.modules.get("numba.core.config")) is not None:
        # Where numba is loaded, it is told of another folder; later tests would compile everything anew.
        monkeypatch.setattr(config, "CACHE_DIR", config.CACHE_DIR)
    monkeypatch.setenv("HOME", UNWRITABLE)
    monkeypatch.setattr(numba_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    return monkeypatch


@pytest.mark.parametrize("early", [[], ["early"]], ids=["numba later", "numba first"])
def test_functions_compile_without_any_writable_place_of_their_own(tmp_path: Path, early: list[str]) -> None:
    environment = {**os.environ, "HOME": UNWRITABLE, "TMPDIR": str(tmp_path)}
    for name in (VARIABLE, "XDG_CACHE_HOME"):
        environment.pop(name, None)
    command = [sys.executable, "-c", COMPILE, *early]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / f"altbench-numba-{os.getuid()}")


def test_nothing_is_set_where_the_code_or_the_home_can_be_written(unset: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unset.setattr(numba_cache, "writable", lambda folder: True)
    assert numba_cache.choose_numba_cache() is None
    unset.setattr(numba_cache, "writable", lambda folder: False)
    unset.setenv("HOME", str(tmp_path))
    assert numba_cache.choose_numba_cache() is None
    unset.setenv("HOME", UNWRITABLE)
    unset.setenv(VARIABLE, "/own")
    assert numba_cache.choose_numba_cache() is None and os.environ[VARIABLE] == "/own"


def test_a_folder_that_others_could_fill_is_not_used(unset: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unset.setattr(numba_cache, "writable", lambda folder: False)
    (tmp_path / f"altbench-numba-{os.getuid()}").mkdir()
    (tmp_path / f"altbench-numba-{os.getuid()}").chmod(0o777)
    chosen = numba_cache.choose_numba_cache()
    assert chosen is not None and chosen.name != f"altbench-numba-{os.getuid()}"
    assert chosen.stat().st_mode & 0o777 == 0o700
    chosen.rmdir()


def test_doctor_looks_whether_the_named_folder_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value, ok in (("", True), (str(tmp_path / "new"), True), (UNWRITABLE, False)):
        monkeypatch.setenv(VARIABLE, value)
        assert doctor.check_numba_cache().ok == ok


def test_a_user_without_a_home_has_a_cache_among_the_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    unset_variables(monkeypatch, "ALTBENCH_CACHE", "XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "expanduser", no_home)
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    assert cache.cache_folder().parent == tmp_path
    assert numba_cache._user_folder_usable() is False
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: UNWRITABLE)
    with pytest.raises(AltbenchError, match="set ALTBENCH_CACHE"):
        cache.cache_folder()
