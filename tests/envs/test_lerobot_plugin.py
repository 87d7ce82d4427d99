"""The plug-in for `lerobot-eval`, with stand-ins for the three names of LeRobot that it imports.

docs/lerobot.md says how it was run with LeRobot itself.
"""

from __future__ import annotations

import enum
import importlib
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import fakes
import numpy as np
import pytest

from altbench.core.errors import ConfigError

PLUGIN = "lerobot_env_altbench"


class FeatureType(enum.Enum):
    """As LeRobot's."""

    STATE = "STATE"
    VISUAL = "VISUAL"
    ACTION = "ACTION"


@dataclass
class PolicyFeature:
    """As LeRobot's."""

    type: FeatureType
    shape: tuple[int, ...]


class EnvConfig:
    """As much of LeRobot's as the plug-in uses: its register, and the name in it."""

    known: dict[str, type] = {}  # noqa: RUF012
    type = "altbench"

    @classmethod
    def register_subclass(cls, name: str) -> Callable[[type], type]:
        def register(kind: type) -> type:
            cls.known[name] = kind
            return kind

        return register


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    fakes.register()
    modules = {
        "lerobot": types.ModuleType("lerobot"),
        "lerobot.configs": types.SimpleNamespace(FeatureType=FeatureType, PolicyFeature=PolicyFeature),
        "lerobot.envs": types.ModuleType("lerobot.envs"),
        "lerobot.envs.configs": types.SimpleNamespace(EnvConfig=EnvConfig),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, PLUGIN, raising=False)
    yield importlib.import_module(PLUGIN)
    sys.modules.pop(PLUGIN, None)


def test_importing_it_registers_the_environment_under_its_name(plugin: Any) -> None:
    assert EnvConfig.known == {"altbench": plugin.AltbenchEnv}


def test_the_features_are_the_environments_own(plugin: Any) -> None:
    config = plugin.AltbenchEnv(task="Lift", image_size=64)
    assert (config.gym_id, config.fps) == ("altbench/Lift-v0", 20)
    shapes = {name: (one.type.value, one.shape) for name, one in config.features.items()}
    assert shapes == {
        "action": ("ACTION", (10,)),
        "agent_pos": ("STATE", (11,)),
        "pixels/agentview": ("VISUAL", (64, 64, 3)),
        "pixels/wrist": ("VISUAL", (64, 64, 3)),
    }
    assert config.features_map["pixels/wrist"] == "observation.images.wrist"
    assert plugin.AltbenchEnv(task="Transport").features["action"].shape == (20,)
    assert plugin.AltbenchEnv(control_mode="ee_delta").features["action"].shape == (7,)


def test_what_it_cannot_play_is_refused(plugin: Any) -> None:
    with pytest.raises(ConfigError, match=r"--env.split: expected one of \['uniform', .*\], got 'recall'"):
        plugin.AltbenchEnv(split="recall")
    with pytest.raises(ConfigError, match="unknown task 'Lfit'; did you mean 'Lift'"):
        plugin.AltbenchEnv(task="Lfit")


def test_lerobot_gets_environments_with_the_words_that_it_asks_for(plugin: Any) -> None:
    config = plugin.AltbenchEnv(task="Fake", image_size=16, episode_length=5)
    made = config.create_envs(n_envs=2)["altbench"][0]
    assert list(made.call("task")) == ["Fake", "Fake"]
    assert all(made.call("task_description")) and list(made.call("_max_episode_steps")) == [5, 5]
    seen, _ = made.reset(seed=[3, 4], options={"lerobot_only": 1})
    assert seen["pixels"]["agentview"].shape == (2, 16, 16, 3) and seen["agent_pos"].shape == (2, 11)
    assert [env.render().shape for env in made.envs] == [(16, 16, 3)] * 2  # LeRobot films episodes
    ended = []
    for _ in range(5):
        seen, _, terminated, truncated, info = made.step(np.zeros((2, 10), np.float32))
        ended.append((terminated | truncated).tolist())
    assert ended[-1] == [True, True] and not any(map(any, ended[:-1])) and "final_info" in info
    made.close()


def test_episodes_are_of_the_split_and_seed_that_are_asked_for(plugin: Any) -> None:
    config = plugin.AltbenchEnv(task="Fake", image_size=16, split="grid")
    one = config.create_envs(n_envs=1)["altbench"][0]
    first, again, other = (one.reset(seed=[seed])[0]["pixels"]["agentview"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert other.shape == first.shape
    assert one.envs[0].split == "grid"
    one.close()
