"""`altbench bench rollout`: what it measures of an episode, and the table it makes of episodes."""

from __future__ import annotations

from dataclasses import astuple

import mujoco
import pytest

from altbench.core import registry
from altbench.measure import loops
from altbench.measure.loops import Measured, Played, Shares
from altbench.measure.speed import rollout_table


def test_ratios_compare_the_loops_of_one_kind() -> None:
    episodes = [
        Played("robosuite", "images", 60, 2.0, 14.0, 7.0),
        Played("altbench", "images", 60, 0.1, 0.5, 0.25),
        Played("robosuite", "images", 60, 2.0, 10.0, 7.0),
        Played("altbench", "images", 60, 0.1, 0.5, 0.25),
        Played("robosuite", "state", 60, 0.1, 0.4, 0.4),
        Played("altbench", "state", 60, 0.04, 0.1, 0.1),
    ]
    shares = (Shares("images", 0.2, 0.2, 0.5, 0.1), Shares("state", 0.4, 0.5, 0.0, 0.1))
    table = rollout_table(Measured("Lift", tuple(episodes), shares, "egl"))
    data = table.data.set_index(["observed", "loop"])
    assert data.loc[("images", "altbench"), "ratio"] == pytest.approx(24.0)
    assert tuple(data.loc[("images", "altbench"), ["ratio_low", "ratio_high"]]) == (20.0, 28.0)
    assert data.loc[("images", "altbench"), "cpu_ratio"] == pytest.approx(28.0)
    assert data.loc[("state", "altbench"), "ratio"] == pytest.approx(4.0)
    assert data.loc[("state", "altbench"), "step_ms"] == pytest.approx(1.0)
    assert data["share_physics"].isna().tolist() == [True, False, True, False]  # the stock loop's were not measured
    assert table.blocks[1].rows[0] == ("images", "20 %", "20 %", "50 %", "10 %")


@pytest.mark.sim
def test_shares_come_from_one_episode_and_leave_mujoco_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    env = loops._our_env(registry.task("Lift"), "state")
    monkeypatch.setitem(loops._PLAYERS, "state", (loops._play_ours, env))
    before = mujoco.mj_step1
    played, shares = loops._play("state", 0), loops._shares("state")
    assert mujoco.mj_step1 is before
    assert (played.loop, played.steps) == ("altbench", loops.STEPS)
    assert 0 < played.reset_s < played.wall_s
    assert sum(astuple(shares)[1:]) == pytest.approx(1.0)
    assert min(shares.physics, shares.controller, shares.rest) > 0
    assert shares.rendering == 0
    env.close()
