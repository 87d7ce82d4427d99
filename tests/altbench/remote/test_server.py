"""Our server: for the real openpi client, for our own, and for those who send rubbish."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import fakes
import numpy as np
import pytest

pytest.importorskip("websockets", reason="needs altbench[remote]")
pytest.importorskip("msgpack", reason="needs altbench[remote]")

import altbench as ab
from altbench.core import registry
from altbench.core.errors import AltbenchError, ConfigError
from altbench.core.policy import Decision, Observation, Policy, Requirements
from altbench.core.spec import Spec
from altbench.core.types import Float32
from altbench.remote.codec import decode, encode
from altbench.remote.connection import Address, Connection, ServerRefused
from altbench.remote.launch import free_port
from altbench.remote.server import PolicyServer, Serving, serve_policy
from altbench.remote.service import PolicyService


class Seeker(Policy[Spec]):
    """Goes to where the target is drawn; its first action's last number is the seed's."""

    name = "seeker"

    def __init__(self, steps: int = 1, pause_s: float = 0.0) -> None:
        fakes.register()
        super().__init__(registry.task("Fake"), Spec())
        self.steps, self.pause_s = steps, pause_s
        self.seeds: dict[int, int] = {}
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()

    @property
    def requirements(self) -> Requirements:
        return Requirements(("agentview",), self.steps, 4, 4)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        self.seeds |= dict(zip(slots, seeds, strict=True))

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        self.batches.append(list(slots))
        self.threads.add(threading.get_ident())
        time.sleep(self.pause_s)
        images, poses = observation.pixels["agentview"][:, -1], observation.agent_pos[:, -1]
        if (images == 13).all():
            raise ValueError("unlucky\nimage")
        actions = np.stack([self._towards(image, pose) for image, pose in zip(images, poses, strict=True)])
        scores = np.array([self.seeds[slot] for slot in slots], np.float32)
        return Decision(np.repeat(actions[:, None], 4, axis=1), scores, scores > 5)

    def _towards(self, image: np.ndarray, pose: Float32) -> Float32:
        spots = np.argwhere(image[..., 0] == 220)
        xy = (spots.mean(axis=0) + 0.5) / 16 * 0.5 - 0.25 if len(spots) else np.zeros(2)
        return np.array([*xy, 0.0, *fakes.ROT6D, -1.0], np.float32)


class Running:
    """A server of ours in a thread."""

    def __init__(self, policy: Policy, size: tuple[int, int] | None = (16, 16), **serving: Any) -> None:
        made = Serving(port=0, **serving)
        ready = threading.Event()
        self.server: PolicyServer | None = None
        self.url = ""

        async def main() -> None:
            self.server = PolicyServer(PolicyService(policy, {"policy": "seeker", "digest": "abc"}, size), made)
            self._loop = asyncio.get_running_loop()
            await self.server.run(lambda url: (setattr(self, "url", url), ready.set())[0])

        self.thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
        self.thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        assert self.server is not None
        if self.thread.is_alive():
            self._loop.call_soon_threadsafe(self.server.stop)
        self.thread.join(10)


@pytest.fixture
def serve() -> Iterator[Any]:
    started: list[Running] = []

    def start(policy: Policy, **rest: Any) -> Running:
        started.append(Running(policy, **rest))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def message(value: int = 90, **changes: Any) -> dict[str, Any]:
    image = np.full((16, 16, 3), value, np.uint8)
    return {"observation/agentview": image, "observation/state": np.zeros(11, np.float32), "prompt": "go", **changes}


def test_the_real_openpi_client_plays_an_episode(serve: Any) -> None:
    client_module = pytest.importorskip("openpi_client.websocket_client_policy", reason="needs openpi-client")
    running = serve(Seeker(steps=2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of openpi-client with websockets 17.1
        client = client_module.WebsocketClientPolicy(running.url)
    told = client.get_server_metadata()["altbench"]
    assert (told["protocol"], told["horizon"], told["obs_horizon"], told["cameras"]) == (1, 4, 2, ["agentview"])
    env = fakes.FakeTask()
    observation, _ = env.reset(seed=3)
    success, steps = False, 0
    while not success and steps < fakes.TASK.horizon:
        sent = {
            "observation/agentview": observation["pixels"]["agentview"],
            "observation/state": observation["agent_pos"],
            "prompt": "reach the target",
        }
        answer = client.infer(sent)
        assert answer["actions"].shape == (4, 10) and answer["server_timing"]["infer_ms"] > 0
        for action in answer["actions"]:
            observation, _, success, _, _ = env.step(action)
            steps += 1
            if success:
                break
    assert success
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client._ws.close()


def test_a_served_policy_decides_as_it_does_here(serve: Any) -> None:
    here, there = Seeker(), serve(Seeker())
    own = ab.evaluate(here, "Fake", episodes=3, image_size=(16, 16), quiet=True)
    with closing(ab.connect(there.url, "Fake")) as policy:
        assert policy.inference_note() == "served"
        far = ab.evaluate(policy, "Fake", episodes=3, image_size=(16, 16), quiet=True)
    for column in ("status", "success", "steps", "max_ood_score", "first_flagged_step"):
        assert list(own[column].astype(str)) == list(far[column].astype(str)), column
    assert list(own["status"]) == ["ok"] * 3 and own["success"].any()


def test_a_served_policy_keeps_the_contract_of_policies(serve: Any) -> None:
    with closing(ab.connect(serve(Seeker(steps=2)).url, "Fake")) as policy:
        ab.check_policy(policy, fakes.make_demonstrations(4))


def test_each_connection_has_a_slot_of_its_own_that_is_given_again(serve: Any) -> None:
    policy = Seeker()
    address = Address(serve(policy).url)
    first, second = Connection(address, 5), Connection(address, 5)
    for one, seed in ((first, 3), (second, 9)):
        one.send({"altbench": {"reset": True, "slot": 0, "seed": seed}})
        assert one.receive(5)["altbench"]["reset"] is True
    assert policy.seeds == {0: 3, 1: 9}
    second.send(message())
    assert second.receive(5)["ood_score"] == 9.0
    first.close()
    time.sleep(0.1)
    third = Connection(address, 5)
    third.send(message())
    assert third.receive(5)["ood_score"] == 0.0, "an episode that no reset began has seed 0"
    assert policy.batches == [[1], [0]] and len(policy.threads) == 1
    second.close()
    third.close()


def together(address: Address, count: int) -> list[Any]:
    connections = [Connection(address, 5) for _ in range(count)]
    for one in connections:
        one.send(message())
    answers = [one.receive(10) for one in connections]
    for one in connections:
        one.close()
    return answers


@pytest.mark.parametrize(("batch", "largest"), [(False, 1), (True, 3)])
def test_requests_that_arrive_together_are_batched_only_if_asked(serve: Any, batch: bool, largest: int) -> None:
    policy = Seeker(pause_s=0.2)
    answers = together(Address(serve(policy, batch=batch).url), 4)
    assert [one["actions"].shape for one in answers] == [(4, 10)] * 4
    assert max(map(len, policy.batches)) >= largest if batch else {len(one) for one in policy.batches} == {1}
    assert sorted(slot for one in policy.batches for slot in one) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"\xc1", "code 0xc1"),
        (encode({"x": 1})[:-1], "cut short"),
        (encode({"prompt": "go"}), "observation/agentview as uint8 .16, 16, 3., got nothing"),
        (encode(message() | {"observation/state": np.zeros(3, np.float32)}), r"observation/state as float32 \(11,\)"),
        (encode(message() | {"observation/agentview": np.zeros((8, 8, 3), np.uint8)}), "got uint8 .8, 8, 3."),
        (encode(message() | {"observation/agentview": np.zeros((16, 16, 3), np.float32)}), "got float32"),
        (encode({"altbench": {"reset": True, "seed": -1}}), "seed from 0"),
        (b"\x90", "a map, got list"),
        (encode(message(13)), "ValueError: unlucky image"),
    ],
)
def test_a_bad_message_ends_its_own_connection_with_words(serve: Any, frame: bytes, words: str) -> None:
    from websockets.exceptions import ConnectionClosed

    address = Address(serve(Seeker()).url)
    other, bad = Connection(address, 5), Connection(address, 5)
    bad._socket.send(frame)
    with pytest.raises(AltbenchError, match=words):
        bad.receive(5)
    with pytest.raises(ConnectionClosed) as closed:
        bad._socket.recv(timeout=5)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1011
    other.send(message())
    assert other.receive(5)["actions"].shape == (4, 10)
    other.close()


def test_health_and_the_key(serve: Any) -> None:
    running = serve(Seeker(), key="secret")
    with urllib.request.urlopen(running.url.replace("ws", "http") + "/healthz", timeout=5) as answer:
        assert answer.status == 200
    for key in ("", "wrong"):
        with pytest.raises(ServerRefused, match="wants another API key"):
            Connection(Address(running.url, key=key), 5)
    Connection(Address(running.url, key="secret"), 5).close()


def test_the_key_comes_from_the_environment(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    running = serve(Seeker(), key="secret")
    monkeypatch.setenv("MY_KEY", "secret")
    ab.connect(running.url, "Fake", key_from="MY_KEY").close()
    with pytest.raises(AltbenchError, match=r"remote\.key_from"):
        ab.connect(running.url, "Fake")


def test_a_server_that_ends_answers_what_has_arrived(serve: Any) -> None:
    running = serve(Seeker(pause_s=0.5))
    connection = Connection(Address(running.url), 5)
    connection.send(message())
    time.sleep(0.2)
    running.stop()
    assert connection.receive(5)["actions"].shape == (4, 10)
    assert not running.thread.is_alive()
    with pytest.raises(AltbenchError, match="Connection refused"):
        Connection(Address(running.url), 5)
    connection.close()


def test_a_port_in_use_is_one_line(serve: Any) -> None:
    port = int(serve(Seeker()).url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be served on .*; choose another --port"):
        serve_policy(PolicyService(Seeker(), {}), Serving(port=port))


def test_metadata_can_be_sent_and_free_ports_differ() -> None:
    assert decode(encode(PolicyService(Seeker(), {"digest": "x"}).metadata))["altbench"]["image_size"] is None
    assert free_port() > 0
