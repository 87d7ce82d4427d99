"""The gate runs every test: what one command of tox leaves out, another one runs."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


def test_every_test_is_in_one_command_that_tox_runs_by_default() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    chosen = {name: tox[f"testenv:{name}"]["commands"] for name in re.split(r",\s*", tox["tox"]["env_list"])}
    expressions = sorted(re.findall(r"-m (\"not slow\"|slow)", "\n".join(chosen.values())))
    assert expressions == ['"not slow"', "slow"]
    assert "tox" in (ROOT / ".ci" / "run").read_text().split()


def test_a_slow_test_whose_file_does_not_say_so_is_refused(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    # `-m slow` reads the files that say so alone.
    hooks = pytestconfig.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))
    assert hooks is not None
    slow = SimpleNamespace(option=SimpleNamespace(markexpr="slow"))
    for text, said in (("from elsewhere import test_of_an_hour", False), ("@pytest.mark.slow", True)):
        file = tmp_path / f"test_{said}.py"
        file.write_text(text)
        item = SimpleNamespace(path=file, get_closest_marker=lambda name: name == "slow")
        assert (hooks.pytest_ignore_collect(file, slow) is None) is said
        if said:
            hooks.pytest_collection_modifyitems([item])
        else:
            with pytest.raises(pytest.UsageError, match=r"test_False\.py: a test is slow"):
                hooks.pytest_collection_modifyitems([item])
