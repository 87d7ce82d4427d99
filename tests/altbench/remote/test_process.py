"""Servers that the bench starts: they begin, are waited for, are closed off, and always end."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import psutil
import pytest

pytest.importorskip("websockets", reason="needs altbench[remote]")
pytest.importorskip("msgpack", reason="needs altbench[remote]")

from altbench.core import registry
from altbench.core.errors import AltbenchError, ConfigError
from altbench.core.policy import Observation
from altbench.remote.client import RemotePolicy
from altbench.remote.connection import ServerFailed
from altbench.remote.settings import RemoteConfig

SCRIPT = Path(fakes.__file__).with_name("plain_server.py")


def served(*args: str, isolate: str = "", **process: Any) -> RemotePolicy:
    """The policy of the plain server, started with `args`."""
    fakes.register()
    values = {"process": {"script": str(SCRIPT), "args": args, "start_timeout_s": 30, **process}, "isolate": isolate}
    return RemotePolicy(registry.task("Fake"), RemoteConfig.parse(values, "test"))


def seen(dimension: int = 11) -> Observation:
    images = {camera: np.zeros((1, 1, 16, 16, 3), np.uint8) for camera in fakes.TASK.cameras}
    return Observation(images, np.ones((1, 1, dimension), np.float32))


def decide(policy: RemotePolicy) -> Any:
    policy.reset([0], [0])
    return policy.act(seen(), [0])


def eventually(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_script_is_started_asked_and_ended() -> None:
    policy = served()
    assert decide(policy).actions.shape == (1, 8, 7)
    pid = policy.server_cost().pid
    assert pid and not gone(pid) and "served by plain openpi" in policy.inference_note()
    assert "not held" not in policy.inference_note()  # the key holds the script
    policy.close()
    assert gone(pid)


def test_a_policy_that_nobody_closes_ends_its_server_with_itself() -> None:
    policy = served()
    policy.place("cpu")
    pid = policy._process.pid if policy._process else None
    assert pid
    del policy
    gc.collect()
    assert eventually(lambda: gone(pid))


def test_what_a_server_starts_ends_with_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    policy = served("--mode", "child")
    policy.place("cpu")
    assert policy._process and policy._process._running
    running = policy._process._running
    children = psutil.Process(running._guardian.pid).children(recursive=True)
    assert len(children) == 2, "the server and its child, which has a session of its own"
    policy.close()
    assert all(gone(one.pid) for one in children)


def test_a_server_that_dies_costs_an_episode_and_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIED", str(tmp_path / "died"))
    policy = served("--mode", "dies-once")
    with pytest.raises(ServerFailed, match=r"(?s)exit status 3.*about to die") as caught:
        decide(policy)
    assert "serving" in str(caught.value)
    assert decide(policy).actions.shape == (1, 8, 7)
    policy.close()


def test_the_last_lines_of_a_script_that_dies_at_start_are_shown() -> None:
    policy = served("--mode", "dies-at-start")
    with pytest.raises(ServerFailed, match=r"died before it answered .exit status 1.; the last lines") as caught:
        policy.place("cpu")
    lines = str(caught.value).splitlines()[1:]
    assert lines[-1] == "no such weights" and len(lines) == 20 and lines[0] == "line 11"


def test_a_server_that_never_answers_is_not_waited_for_for_ever() -> None:
    policy = served("--mode", "never", start_timeout_s=0.5)
    began = time.monotonic()
    with pytest.raises(ServerFailed, match=r"no answer within 0\.5 s"):
        policy.place("cpu")
    policy.close()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("process", "words"),
    [
        ({"script": "missing.py"}, "'missing.py' is missing"),
        ({"python": "/no/such/python"}, "'/no/such/python' is missing or cannot be executed"),
        ({"python": str(SCRIPT)}, "is missing or cannot be executed"),
    ],
)
def test_what_cannot_be_started_is_refused(process: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        served(**process).place("cpu")
    assert "\n" not in str(caught.value)


def test_an_interpreter_without_the_package_shows_its_own_words(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text("import no_such_package\n")
    with pytest.raises(ServerFailed, match="No module named 'no_such_package'"):
        served(script=str(script)).place("cpu")


def test_an_argument_may_say_where_the_port_goes(tmp_path: Path) -> None:
    wrapper = tmp_path / "server.py"
    code = f"import sys; sys.argv[1:] = ['--port', sys.argv[1][5:]]; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
    wrapper.write_text(code + "import plain_server; plain_server.main()\n")
    policy = served("PORT={port}", script=str(wrapper))
    assert decide(policy).actions.shape == (1, 8, 7)
    policy.close()


OWNER = """
import sys
sys.path.insert(0, {tests!r})
import test_process as t
policy = t.served("--mode", "child", isolate={isolate!r})
t.decide(policy)
import psutil
running = policy._process._running
family = [running._guardian, *psutil.Process(running._guardian.pid).children(recursive=True)]
print(*[one.pid for one in family], flush=True)
import time; time.sleep(60)
"""


@pytest.mark.parametrize("isolate", ["", "no-network"])
def test_the_server_ends_also_if_the_bench_is_killed(tmp_path: Path, isolate: str) -> None:
    if isolate:
        needs_namespaces()
    code = OWNER.format(tests=str(Path(__file__).parent), isolate=isolate)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPT.parent), os.environ.get("PYTHONPATH", "")])}
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert owner.stdout is not None
    pids = [int(word) for word in owner.stdout.readline().split()]
    assert len(pids) == (4 if isolate else 3) and not any(gone(pid) for pid in pids)
    owner.kill()
    owner.wait()
    assert eventually(lambda: all(gone(pid) for pid in pids), 5.0)
    owner.stdout.close()


def test_the_server_ends_also_if_its_guardian_is_killed() -> None:
    policy = served()
    policy.place("cpu")
    assert policy._process and policy._process._running and policy._process.pid
    pid = policy._process.pid
    policy._process._running._guardian.send_signal(signal.SIGKILL)
    assert eventually(lambda: gone(pid), 5.0)
    with pytest.raises(ServerFailed):
        policy.act(seen(), [0])
    assert decide(policy).actions.shape == (1, 8, 7)
    policy.close()


def needs_namespaces() -> None:
    """Skip the test where the machine cannot close a server off."""
    policy = served(isolate="no-network")
    try:
        policy.place("cpu")
    except ConfigError as error:
        pytest.skip(str(error))
    finally:
        policy.close()


PROBE = """
import json, os, socket, sys
sys.path.insert(0, {tests!r})
found = {{}}
def tried(name, what):
    try:
        what()
        found[name] = "done"
    except OSError as error:
        found[name] = type(error).__name__ + " " + str(error.errno)
tried("write", lambda: open({run!r} + "/cells.txt", "w"))
tried("append", lambda: open({run!r} + "/kept.txt", "a"))
tried("remove", lambda: os.unlink({run!r} + "/kept.txt"))
tried("network", lambda: socket.create_connection(("127.0.0.1", {port}), timeout=2))
tried("outside", lambda: socket.create_connection(("192.0.2.1", 80), timeout=2))
tried("scratch", lambda: open(os.environ["TMPDIR"] + "/x", "w"))
tried("signal", lambda: os.kill({bench}, 0))
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def remount():
    if libc.mount(b"none", b"/", None, 32 | 4096, None) < 0:
        raise OSError(ctypes.get_errno(), "remount")
tried("remount", remount)
def nested():
    if libc.unshare(0x10000000 | 0x20000) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if libc.mount(b"none", b"/", None, 32 | 4096, None) < 0:
        raise OSError(ctypes.get_errno(), "remount")
found["processes"] = sum(name.isdigit() for name in os.listdir("/proc"))
print("found " + json.dumps(found), flush=True)
import plain_server
metadata = {{"found": json.dumps(found)}}
server = plain_server.PlainServer("good", int(sys.argv[2]), metadata)
tried("nested", nested)
server.metadata["nested"] = found["nested"]
server.serve_forever()
"""


def test_without_network_a_server_can_neither_reach_out_nor_write(tmp_path: Path) -> None:
    needs_namespaces()
    run, script = tmp_path / "run", tmp_path / "probe.py"
    run.mkdir()
    (run / "kept.txt").write_text("kept")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        names = {"tests": str(SCRIPT.parent), "run": str(run), "port": listening.getsockname()[1], "bench": os.getpid()}
        script.write_text(PROBE.format(**names))
        policy = served(script=str(script), isolate="no-network")
        assert decide(policy).actions.shape == (1, 8, 7)
        metadata = policy.info.metadata
        policy.close()
    found = json.loads(metadata["found"])
    refused = {name: found[name] for name in ("write", "append", "remove", "network", "outside", "signal", "remount")}
    assert not [name for name, how in refused.items() if how == "done"], refused
    assert found["write"] == "OSError 30" and metadata["nested"] != "done"
    assert found["scratch"] == "done" and found["processes"] == 1
    assert (run / "kept.txt").read_text() == "kept" and sorted(p.name for p in run.iterdir()) == ["kept.txt"]


def test_a_machine_without_namespaces_refuses_and_never_downgrades(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from altbench.remote import launch

    broken = tmp_path / "guardian.py"
    broken.write_text(launch.GUARDIAN.read_text().replace("_LIBC.unshare(_NAMESPACES)", "_LIBC.unshare(1)"))
    monkeypatch.setattr(launch, "GUARDIAN", broken)
    with pytest.raises(ConfigError, match=r"no-network' is not possible on this machine .unshare: Invalid argument"):
        served(isolate="no-network").place("cpu")


def test_our_own_policies_are_served_from_a_process_of_their_own() -> None:
    values = {"serve": {"target": "random", "config": {}}, "isolate": "process"}
    policy = RemotePolicy(registry.task("Lift"), RemoteConfig.parse(values, "test"))
    here = registry.policy("random")(registry.task("Lift"), registry.policy("random").config_type())
    policy.place("cpu")
    assert policy.requirements == here.requirements and policy.info.supports_reset
    for one in (policy, here):
        one.reset([0], [5])
    shown = Observation({}, np.zeros((1, here.requirements.obs_horizon, 11), np.float32))
    assert np.array_equal(policy.act(shown, [0]).actions, here.act(shown, [0]).actions)
    assert policy.inference_note() == "served"
    policy.close()


def test_a_policy_that_must_be_fitted_says_so(tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    own.write_text(LEARNS)
    values = {"serve": {"target": f"{own}:Learns"}, "isolate": "process"}
    policy = RemotePolicy(registry.task("Lift"), RemoteConfig.parse(values, "test"))
    with pytest.raises(AltbenchError, match="must be fitted first; name the folder of its checkpoint"):
        policy.place("cpu")


LEARNS = """
from altbench.api import Requirements, Spec, Trainable

class Learns(Trainable[Spec]):
    name = "learns"
    requirements = Requirements(())
    def reset(self, slots, seeds): ...
    def act(self, observation, slots): ...
    def fit(self, demonstrations, context): ...
    def save(self, folder): ...
    def load(self, folder, device="cpu"): ...
"""
