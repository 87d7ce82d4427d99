"""The gate runs every test: what one command of tox leaves out, another one runs."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_is_in_one_command_that_tox_runs_by_default() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    chosen = {name: tox[f"testenv:{name}"]["commands"] for name in re.split(r",\s*", tox["tox"]["env_list"])}
    expressions = sorted(re.findall(r"-m (\"not slow\"|slow)", "\n".join(chosen.values())))
    assert expressions == ['"not slow"', "slow"]
    assert "tox" in (ROOT / ".ci" / "run").read_text().split()
