"""A policy that a server computes, against a server that shares no code with ours."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import fakes
import numpy as np
import pytest

pytest.importorskip("websockets", reason="needs altbench[remote]")
pytest.importorskip("msgpack", reason="needs altbench[remote]")


from plain_server import PlainServer

import altbench as ab
from altbench.core.errors import AltbenchError, ConfigError, ContractError, PolicyTimeout
from altbench.core.policy import Observation
from altbench.remote.client import RemotePolicy
from altbench.remote.connection import ServerFailed

TELLS = {"protocol": 1, "supports_reset": True, "action_space": "ee_delta", "horizon": 4, "deterministic": True}


@pytest.fixture(autouse=True)
def fake_task() -> None:
    fakes.register()


@pytest.fixture
def servers() -> Iterator[Any]:
    started: list[PlainServer] = []

    def start(mode: str = "good", port: int = 0, **told: Any) -> PlainServer:
        metadata = {"model": "plain", **({"altbench": {**TELLS, **told}} if told else {})}
        started.append(PlainServer(mode, port, metadata).start())
        return started[-1]

    yield start
    for one in started:
        one.stop()


def seen(frames: int = 1, slots: int = 1, size: tuple[int, int] = (16, 16)) -> Observation:
    rng = np.random.default_rng(0)
    shape = (slots, frames, *size, 3)
    images = {camera: rng.integers(0, 256, shape, np.uint8) for camera in fakes.TASK.cameras}
    return Observation(images, rng.normal(size=(slots, frames, 11)).astype(np.float32))


def decide(policy: RemotePolicy, observation: Observation | None = None) -> Any:
    policy.reset([0], [7])
    return policy.act(observation or seen(), [0])


def test_a_plain_openpi_server_plays_without_telling_anything(servers: Any) -> None:
    server = servers()
    policy, shown = ab.connect(server.url, "Fake"), seen()
    decision = decide(policy, shown)
    assert decision.actions.shape == (1, 8, 7) and decision.actions.dtype == np.float32
    assert decision.actions[0, 0, 0] == shown.agent_pos[0, -1, 0]
    message = server.seen[0][0]
    assert set(message) == {"observation/agentview", "observation/wrist", "observation/state", "prompt"}
    assert np.array_equal(message["observation/agentview"], shown.pixels["agentview"][0, -1])
    assert message["prompt"] == "reach the target"
    assert policy.inference_note() == "served by plain openpi, stateless, contents not held by the key"
    assert policy.server_cost().infer_s == 0.00125 and policy.server_cost().pid
    policy.close()


def test_a_row_gives_other_keys_sizes_and_words(servers: Any) -> None:
    server = servers()
    images = {"observation/image": "agentview"}
    policy = ab.connect(server.url, "Fake", images=images, state="state", prompt="do", image_size=(32, 48), horizon=5)
    assert policy.requirements.cameras == ("agentview",) and policy.requirements.action_horizon == 5
    decide(policy)
    message = server.seen[0][0]
    assert set(message) == {"observation/image", "state", "prompt"} and message["prompt"] == "do"
    assert message["observation/image"].shape == (32, 48, 3) and message["observation/image"].dtype == np.uint8
    assert not message["observation/image"][:, :8].any()  # black bars beside a square picture
    policy.close()


def test_a_server_that_knows_altbench_hears_of_seeds_slots_and_frames(servers: Any) -> None:
    server = servers(obs_horizon=2, cameras=["wrist"], image_size=[24, 24])
    policy = ab.connect(server.url, "Fake")
    needs = policy.requirements
    assert (needs.obs_horizon, needs.action_horizon, needs.cameras) == (2, 4, ("wrist",))
    policy.reset([0, 1], [7, 8])
    for _ in range(2):
        policy.act(seen(2, 2), [0, 1])
    first, second = server.seen
    assert [one["altbench"] for one in second] == [
        {"reset": True, "slot": 1, "seed": 8},
        {"slot": 1, "step": 0, "seed": 8, "reset": False},
        {"slot": 1, "step": 1, "seed": 8, "reset": False},
    ]
    assert first[1]["observation/wrist"].shape == (2, 24, 24, 3) and first[1]["observation/state"].shape == (2, 11)
    assert "observation/agentview" not in first[1]
    policy.close()


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("text", "ValueError: the model is upset"),
        ("garbage", "announcement of 4294967295"),
        ("no-actions", "an answer with actions, got"),
        ("nan", "finite actions"),
        ("wrong-shape", r"shape \(at least 8, 7\), got float64 \(10, 3\)"),
        ("few", "at least 8 actions"),
    ],
)
def test_a_bad_answer_costs_its_episode_alone(servers: Any, mode: str, words: str) -> None:
    server = servers(mode)
    policy = ab.connect(server.url, "Fake")
    with pytest.raises(AltbenchError, match=words) as caught:
        decide(policy)
    assert "\n" not in str(caught.value)
    server.mode = "good"
    assert decide(policy).actions.shape == (1, 8, 7)
    policy.close()


def test_a_late_answer_is_a_time_out_and_is_not_taken_for_the_next_one(servers: Any) -> None:
    server = servers("slow-second")
    policy = ab.connect(server.url, "Fake", timeout_s=0.3)
    shown = [replace(seen(), agent_pos=np.full((1, 1, 11), value, np.float32)) for value in (1.0, 2.0, 3.0)]
    policy.reset([0], [7])
    assert policy.act(shown[0], [0]).actions[0, 0, 0] == 1.0
    with pytest.raises(PolicyTimeout, match=r"no answer within 0\.3 s"):
        policy.act(shown[1], [0])
    policy.reset([0], [8])
    assert policy.act(shown[2], [0]).actions[0, 0, 0] == 3.0
    policy.close()


def never_reads(listening: socket.socket) -> None:
    """Open one WebSocket, send metadata, and read nothing afterwards."""
    connection, _ = listening.accept()
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(4096)
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", request)
    assert key
    accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    lines = (b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade")
    connection.sendall(b"\r\n".join([*lines, b"Sec-WebSocket-Accept: " + accept, b"", b""]) + b"\x82\x01\x80")
    listening.accept()[0].close()  # the test's end
    connection.close()


def test_a_server_that_reads_nothing_is_a_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server = threading.Thread(target=never_reads, args=(listening,), daemon=True)
        server.start()
        policy = ab.connect(f"ws://127.0.0.1:{listening.getsockname()[1]}", "Fake", timeout_s=0.4)
        policy.reset([0], [0])
        began = time.monotonic()
        with pytest.raises(PolicyTimeout, match=r"no answer within 0\.4 s"):
            policy.act(seen(size=(2048, 2048)), [0])
        assert time.monotonic() - began < 5
        policy.close()
        socket.create_connection(listening.getsockname()).close()
        server.join()


def test_a_server_that_comes_back_is_found_again(servers: Any) -> None:
    server = servers()
    policy = ab.connect(server.url, "Fake")
    decide(policy)
    server.stop()
    with pytest.raises(ServerFailed):
        policy.act(seen(), [0])
    servers(port=server.port)
    assert decide(policy).actions.shape == (1, 8, 7)
    policy.close()


def test_a_server_that_is_another_one_now_is_refused(servers: Any) -> None:
    server = servers()
    policy = ab.connect(server.url, "Fake")
    policy._drop([0])
    server.metadata = {"model": "another"}
    with pytest.raises(ContractError, match="other metadata"):
        policy.reset([0], [0])
    policy.close()


@pytest.mark.parametrize("url", ["ws://", "ws://:8000", "ws://user:key@host:1", "ws://host:99999", "ws://host:x"])
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected a URL such as"):
        ab.connect(url, "Fake")


def test_nobody_at_the_address_is_one_line() -> None:
    with pytest.raises(ServerFailed, match="Connection refused; start it, or check the address"):
        ab.connect("ws://127.0.0.1:9", "Fake")


def test_what_is_no_policy_server_is_refused(servers: Any) -> None:
    with pytest.raises(AltbenchError, match="code 0xc1"):
        ab.connect(servers("no-metadata").url, "Fake")
    with pytest.raises(ContractError, match="protocol 1, and the server tells 2; use the same version"):
        ab.connect(servers(protocol=2).url, "Fake")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"action_space": "joints"}, "ee_pose or ee_delta"),
        ({"horizon": 0}, "whole number from 1"),
        ({"image_size": [84]}, "height, width"),
        ({"cameras": "agentview"}, "list of texts"),
        ({"supports_reset": "yes"}, "true or false"),
    ],
)
def test_metadata_that_say_the_impossible_are_refused(servers: Any, told: dict[str, Any], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        ab.connect(servers(**told).url, "Fake")


def test_settings_that_contradict_the_server_are_refused(servers: Any) -> None:
    url = servers(**TELLS).url
    with pytest.raises(ConfigError, match="the server answers 4 actions"):
        _ = ab.connect(url, "Fake", horizon=5).requirements
    with pytest.raises(ConfigError, match="the server tells 'ee_delta'"):
        _ = ab.connect(url, "Fake", control_mode="ee_pose").requirements
    with pytest.raises(ConfigError, match="did you mean 'images'"):
        ab.connect(url, "Fake", image={})


def test_what_identifies_it_is_the_address_and_what_the_server_tells(servers: Any) -> None:
    one, other = servers(digest="a"), servers(digest="b")
    policies = [ab.connect(server.url, "Fake") for server in (one, one, other)]
    first, again, another = (policy.identity() for policy in policies)
    assert first == again != another
    assert policies[0].inference_note() == "served"
    for policy in policies:
        policy.close()


def test_all_plain_servers_and_episodes_are_scored_by_the_bench(servers: Any) -> None:
    server = servers()
    frame = ab.evaluate(server.url, "Fake", episodes=3, image_size=(16, 16), quiet=True)
    assert list(frame["status"]) == ["ok"] * 3 and set(frame["label"]) == {server.url.partition("://")[2]}
    server.mode = "nan"
    frame = ab.evaluate(server.url, "Fake", episodes=2, image_size=(16, 16), quiet=True)
    assert list(frame["status"]) == ["policy_error"] * 2
    server.mode = "hang"
    began = time.monotonic()
    frame = ab.evaluate(server.url, "Fake", episodes=1, image_size=(16, 16), quiet=True, decision_timeout_s=0.3)
    assert list(frame["status"]) == ["policy_timeout"] and time.monotonic() - began < 3
