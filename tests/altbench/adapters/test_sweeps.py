"""Adapters in a sweep: they enter the key by their contents, and are played."""

from __future__ import annotations

from pathlib import Path

import fakes
import pytest
import seeker

from altbench.adapters.spec import Adapter
from altbench.adapters.writing import write_adapter
from altbench.core.errors import ConfigError
from altbench.results.frames import load_episodes
from altbench.runner import main
from altbench.sweeps.overrides import override
from altbench.sweeps.plan import make_plan
from altbench.sweeps.rows import provenance_of
from altbench.sweeps.spec import SweepSpec
from altbench.system.console import make_console

FOREIGN = f"{seeker.__file__}:ForeignSeeker"
PROVENANCE = provenance_of("cpu", "egl", {})


def sweep(**row: object) -> SweepSpec:
    return SweepSpec.parse(
        {
            "name": "adapted",
            "tasks": ["Fake"],
            "image_size": (48, 48),
            "measure": False,
            "policies": [{"policy": FOREIGN, "label": "foreign", **row}],
            "evaluations": [{"split": "uniform", "episodes": 4}],
        },
        "test",
    )


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    fakes.register()
    write_adapter(tmp_path / "adapter.toml", Adapter.model_validate(seeker.FOREIGN))
    return tmp_path / "adapter.toml"


def key(**row: object) -> str:
    return make_plan(sweep(**row), PROVENANCE).cells[0].key


def test_the_contents_of_an_adapter_enter_the_key_and_its_path_does_not(adapter: Path, tmp_path: Path) -> None:
    plain, with_file = key(), key(adapter=str(adapter))
    moved = adapter.rename(tmp_path / "moved.toml")
    assert with_file == key(adapter=str(moved)) == key(adapter=seeker.FOREIGN) != plain
    moved.write_text("")  # an adapter that changes nothing counts as no adapter
    assert key(adapter=str(moved)) == plain


def test_a_run_keeps_the_contents(adapter: Path) -> None:
    planned = make_plan(sweep(adapter=str(adapter)), PROVENANCE)
    kept = planned.sweep.policies[0].adapter
    adapter.unlink()
    assert isinstance(kept, dict) and make_plan(planned.sweep, PROVENANCE).cells[0].key == planned.cells[0].key


def test_an_adapted_policy_is_played(adapter: Path, tmp_path: Path) -> None:
    spec = sweep(adapter=str(adapter))
    summary = main.run(spec, tmp_path / "run", 0, make_console(quiet=True))
    assert not summary.failed
    episodes = load_episodes(tmp_path / "run")
    assert (episodes["status"] == "ok").all() and episodes["success"].mean() >= 0.75


def test_an_adapter_is_for_policies_that_bring_their_weights(adapter: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy 'foreign': it learns from our demonstrations"):
        make_plan(sweep(policy="blind", adapter=str(adapter)), PROVENANCE)


def test_a_missing_or_wrong_adapter_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy 'foreign': adapter '.*none.toml': no such file"):
        make_plan(sweep(adapter=str(tmp_path / "none.toml")), PROVENANCE)
    with pytest.raises(ConfigError, match="unknown camera 'wrst'; did you mean 'wrist'"):
        make_plan(sweep(adapter={"cameras": {"agentview": "wrst"}}), PROVENANCE)
    with pytest.raises(ConfigError, match="unknown key 'imges'"):
        make_plan(sweep(adapter={"imges": {}}), PROVENANCE)


def test_the_command_lines_adapter_is_of_its_policy(adapter: Path) -> None:
    changed = override(sweep(), policies=[f"{seeker.__file__}:Seeker"], adapter=str(adapter))
    assert [entry.adapter for entry in changed.policies] == [None, str(adapter)]
    with pytest.raises(ConfigError, match="--adapter goes with --policy"):
        override(sweep(), adapter=str(adapter))
