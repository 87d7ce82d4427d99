"""openpi's own client plays an episode of Lift against `altbench serve`, both as they are installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest

pytest.importorskip("websockets", reason="needs altbench[remote]")

import altbench as ab
from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.policy import FitContext, Trainable, resolve_config
from altbench.results.checkpoints import CheckpointCard, save_checkpoint

SIZE = (32, 32)


@pytest.fixture
def shown(tmp_path: Path) -> Demonstration:
    """A demonstration of Lift."""
    return ab.collect("Lift", 1, tmp_path / "Lift.hdf5", image_size=SIZE)[0]


@pytest.fixture
def url(shown: Demonstration, tmp_path: Path) -> Iterator[str]:
    """A server of a policy that plays the demonstration, started as a user starts it."""
    kind = registry.policy("open_loop")
    config = resolve_config(kind, "small", {}, "open_loop")
    policy: Any = kind(registry.task("Lift"), config)
    assert isinstance(policy, Trainable)
    policy.fit([shown], FitContext(0, "cpu"))
    card = CheckpointCard(
        task="Lift",
        policy="open_loop",
        preset="small",
        config=config.model_dump(mode="json"),
        n=1,
        train_seed=0,
        key="lift",
        data_checksum="one",
        policy_version=policy.version,
        image_size=SIZE,
        train_seconds=0.0,
    )
    save_checkpoint(tmp_path / "checkpoint", card, policy)
    command = [
        sys.executable,
        "-m",
        "altbench",
        "serve",
        str(tmp_path / "checkpoint"),
        "--port",
        "0",
        "--device",
        "cpu",
    ]
    serving = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert serving.stdout is not None
    line = serving.stdout.readline()
    yield next(word for word in line.split() if word.startswith("ws://")).rstrip(";")
    serving.send_signal(signal.SIGINT)
    serving.communicate(timeout=30)
    assert serving.returncode == 0


@pytest.mark.sim
@pytest.mark.slow
def test_the_unmodified_openpi_client_lifts_the_cube(url: str, shown: Demonstration) -> None:
    client_module = pytest.importorskip("openpi_client.websocket_client_policy", reason="needs openpi-client")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of openpi-client with websockets 17
        client = client_module.WebsocketClientPolicy(url)
    env = gymnasium.make("altbench/Lift-v0", image_size=SIZE, disable_env_checker=True)
    start = {"split": "replay", "initial_state": shown.initial_state}
    observation, _ = env.reset(seed=0, options=start)
    steps, info = 0, {"is_success": False}
    while not info["is_success"] and steps < registry.task("Lift").horizon:
        sent = {f"observation/{camera}": image for camera, image in observation["pixels"].items()}
        answer = client.infer({**sent, "observation/state": observation["agent_pos"], "prompt": "lift the cube"})
        assert answer["actions"].shape == (8, 10)
        for action in answer["actions"]:
            observation, _, _, _, info = env.step(action)
            steps += 1
            if info["is_success"]:
                break
    env.close()
    assert info["is_success"] and steps == len(shown)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client._ws.close()
