"""`altbench serve` and `altbench check-policy`, as a user calls them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fakes
import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("websockets", reason="needs altbench[remote]")
pytest.importorskip("msgpack", reason="needs altbench[remote]")

from plain_server import PlainServer

import altbench as ab
from altbench.cli.app import app
from altbench.core.errors import AltbenchError

MINE = """
import numpy as np
from altbench.api import Decision, Policy, Requirements, Spec

class Good(Policy[Spec]):
    name = "good"
    requirements = Requirements((), 1, 4, 4)
    def reset(self, slots, seeds):
        pass
    def act(self, observation, slots):
        return Decision(np.repeat(observation.agent_pos[:, -1:, :10], 4, axis=1))

class Draws(Good):
    def act(self, observation, slots):
        return Decision(np.random.rand(len(slots), 4, 10).astype(np.float32))

class Raises(Good):
    def act(self, observation, slots):
        return self.nothing

class Wide(Good):
    def act(self, observation, slots):
        return Decision(np.zeros((len(slots), 4, 3), np.float32))

class Wants(Good):
    requirements = Requirements(("front",))
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    fakes.register()
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return str(path)


@pytest.fixture
def server() -> Iterator[PlainServer]:
    told = {"protocol": 1, "supports_reset": True, "action_space": "ee_delta", "horizon": 4, "cameras": []}
    one = PlainServer(metadata={"altbench": told}).start()
    yield one
    one.stop()


def check(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["check-policy", *args, "--task", "Fake"])
    if isinstance(done.exception, AltbenchError):
        return 2, str(done.exception)
    return done.exit_code, done.output


def test_a_sound_policy_is_checked_part_by_part(mine: str) -> None:
    status, text = check(f"{mine}:Good")
    assert status == 0 and "It keeps the contract." in text and text.count("kept:") == 6


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Draws", "broken: the same seeds and observations gave other decisions"),
        ("Raises", "broken: it raises AttributeError: 'Raises' object has no attribute 'nothing'"),
        ("Wide", "broken: act: expected actions float32 (4, 4, 10), got float32 (4, 4, 3)"),
    ],
)
def test_the_first_fault_is_named(mine: str, name: str, words: str) -> None:
    status, text = check(f"{mine}:{name}")
    assert status == 1 and words in text and "keeps the contract" not in text


def test_a_server_is_checked_too(server: PlainServer) -> None:
    fakes.register()
    status, text = check(server.url)
    assert status == 0 and "note:   served, contents not held by the key" in text
    server.mode = "text"
    status, text = check(server.url)
    assert status == 1 and "broken: it fails" in text and "the model is upset" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("{mine}:Goood", "did you mean 'Good'"),
        ("{mine}:Wants", "requires cameras ('front',), but Fake has"),
        ("ws://127.0.0.1:9", "Connection refused"),
        ("{folder}", "expected a checkpoint's folder"),
        ("rndom", "did you mean 'random'"),
    ],
)
def test_what_is_no_policy_is_wrong_input(mine: str, name: str, words: str) -> None:
    status, text = check(name.format(mine=mine, folder=Path(mine).parent))
    assert status == 2 and words in text


def test_a_policy_that_learns_is_fitted_first(tmp_path: Path) -> None:
    from altbench.dataset import files

    fakes.register()
    path = tmp_path / "Fake.hdf5"
    files.write(path, fakes.make_demonstrations(6), fakes.make_meta())
    status, text = check("open_loop", "--demos", str(path))
    assert status == 0 and "it is fitted to 6 demonstrations" in text


def start(*args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "altbench", "serve", *args]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_a_policy_is_served_until_ctrl_c() -> None:
    serving = start("random", "--task", "Lift", "--port", "0", "--device", "cpu")
    assert serving.stdout is not None
    line = serving.stdout.readline()
    assert "serving random on Lift (ee_pose, 8 actions an answer) at ws://127.0.0.1:" in line
    url = next(word for word in line.split() if word.startswith("ws://")).rstrip(";")
    policy = ab.connect(url, "Lift")
    policy.reset([0], [1])
    shown = ab.Observation({}, np.zeros((1, policy.requirements.obs_horizon, 11), np.float32))
    assert policy.act(shown, [0]).actions.shape == (1, 8, 10) and policy.server_cost().pid == serving.pid
    second = start("random", "--task", "Lift", "--port", url.rpartition(":")[2], "--device", "cpu")
    out, err = second.communicate(timeout=60)
    assert (second.returncode, out) == (2, "") and "choose another --port" in err and err.count("\n") == 1
    serving.send_signal(signal.SIGINT)
    rest, err = serving.communicate(timeout=30)
    assert serving.returncode == 0 and "all that had arrived was answered" in rest and err == ""
    policy.close()


def test_show_tells_what_a_server_is(server: PlainServer) -> None:
    plain = PlainServer(metadata={"model": "[bold]pi0[/bold]"}).start()
    for one, words in ((server, "action_space"), (plain, "[bold]pi0[/bold]")):
        done = CliRunner().invoke(app, ["show", one.url], catch_exceptions=False)
        assert done.exit_code == 0 and one.url in done.output and words in done.output
        assert ("stateless" in done.output) == (one is plain)
    plain.stop()
    with pytest.raises(AltbenchError, match="expected a policy server, got Connection refused"):
        CliRunner().invoke(app, ["show", "ws://127.0.0.1:9"], catch_exceptions=False)


@pytest.mark.slow
def test_a_server_is_measured_beside_policies(tmp_path: Path) -> None:
    server = PlainServer().start()
    options = ["--policy", server.url, "--decisions", "2", "--threads", "1", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, ["bench", "policies", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    table = (tmp_path / "latency.md").read_text()
    assert server.url in table and "server's p50 ms" in table and "84×84" in table
    server.stop()
