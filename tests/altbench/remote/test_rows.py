"""Rows of a sweep whose policy runs in another process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakes
import pytest
from running import run_bare
from typer.testing import CliRunner

pytest.importorskip("websockets", reason="needs altbench[remote]")
pytest.importorskip("msgpack", reason="needs altbench[remote]")

from plain_server import PlainServer

from altbench.cli.app import app
from altbench.core.errors import AltbenchError, ConfigError
from altbench.measure.untrained import Untrained, write_untrained
from altbench.report import outputs
from altbench.results import frames
from altbench.results.run import Run
from altbench.results.served import load_served
from altbench.results.targets import check_playable
from altbench.runner.executors import InlineExecutor
from altbench.sweeps.kept import load_kept
from altbench.sweeps.overrides import with_policies
from altbench.sweeps.spec import SweepSpec
from altbench.system import sealed

SCRIPT = str(Path(fakes.__file__).with_name("plain_server.py"))


@pytest.fixture(autouse=True)
def fake_task() -> None:
    fakes.register()


@pytest.fixture
def server() -> Iterator[PlainServer]:
    one = PlainServer().start()
    yield one
    one.stop()


def sweep(*policies: dict[str, Any], **changes: Any) -> SweepSpec:
    spec = {
        "name": "fake",
        "tasks": ["Fake"],
        "image_size": [16, 16],
        "device": "cpu",
        "policies": policies,
        "evaluations": [{"split": "uniform", "episodes": 2}],
        "measure": False,
        **changes,
    }
    return SweepSpec.parse(spec, "fake.toml")


def keys(spec: SweepSpec, root: Path) -> list[str]:
    return [cell.key for cell in Run.begin(root, spec, "egl").plan.cells]


def test_servers_and_scripts_are_rows_like_others(server: PlainServer, tmp_path: Path) -> None:
    upset = PlainServer("text").start()
    rows = [
        {"policy": server.url, "label": "far"},
        {"process": {"script": SCRIPT}},
        {"policy": upset.url, "label": "upset"},
    ]
    summary = run_bare(sweep(*rows), tmp_path, InlineExecutor())
    frame = frames.load_episodes(tmp_path)
    statuses = {label: list(rows["status"]) for label, rows in frame.groupby("label")}
    assert statuses == {"far": ["ok"] * 2, "plain_server": ["ok"] * 2, "upset": ["policy_error"] * 2}
    assert [name for name, _ in summary.failed] == ["fake/upset/n30"]
    assert set(frame["policy"]) == {server.url, upset.url, "process:plain_server"}
    again = run_bare(sweep(*rows), tmp_path, InlineExecutor())
    assert (again.ran, again.found) == (0, 3)
    upset.stop()


def test_a_server_that_dies_costs_its_episode_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIED", str(tmp_path / "died"))
    row = {"process": {"script": SCRIPT, "args": ["--mode", "dies-once"]}, "label": "own"}
    monkeypatch.setattr("altbench.runner.contract.is_own", lambda _: True)  # else it dies in its check
    run_bare(sweep(row), tmp_path / "run", InlineExecutor())
    frame = frames.load_episodes(tmp_path / "run")
    assert list(frame["status"]) == ["policy_error", "ok"]
    assert "exit status 3" in frame["message"].iloc[0] and "about to die" in frame["message"].iloc[0]


def test_the_key_holds_the_address_what_is_told_and_the_script(server: PlainServer, tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(Path(SCRIPT).read_text())
    own = {"process": {"script": str(script)}, "label": "own"}
    far = {"policy": server.url, "label": "far"}
    first = keys(sweep(far, own), tmp_path)
    assert keys(sweep(far, own), tmp_path) == first
    assert keys(sweep({**far, "remote": {"image_size": [24, 24]}}), tmp_path)[0] != first[0]
    script.write_text(script.read_text() + "\n# edited\n")
    assert keys(sweep(far, own), tmp_path)[1] != first[1]


def test_what_a_run_keeps_says_the_same(server: PlainServer, tmp_path: Path) -> None:
    rows = [{"policy": server.url}, {"process": {"script": SCRIPT}, "remote": {"prompt": "go", "horizon": 3}}]
    spec = sweep(*rows)
    run = Run.begin(tmp_path, spec, "egl")
    sealed.write_json(tmp_path / "sweep.json", run.sweep.model_dump(mode="json"))
    kept = load_kept(tmp_path / "sweep.json")
    assert keys(kept, tmp_path) == [cell.key for cell in run.plan.cells]
    assert [entry.name for entry in kept.policies] == [server.url.partition("://")[2], "plain_server"]


def test_a_url_may_be_one_more_policy_of_any_sweep(server: PlainServer, tmp_path: Path) -> None:
    spec = with_policies(sweep({"policy": "random"}), [server.url])
    assert [entry.policy for entry in spec.policies] == ["random", server.url]
    assert len(keys(spec, tmp_path)) == 2


def a_checkpoint(folder: Path) -> Path:
    """Write a checkpoint of Lift that learned nothing."""
    write_untrained(Untrained(str(folder), "Lift", "bc", "small", (84, 84), 20, "cpu"), threads=1)
    return folder


@pytest.mark.slow
def test_a_checkpoint_may_be_one_more_policy_of_any_sweep(tmp_path: Path) -> None:
    folder = a_checkpoint(tmp_path / "run" / "checkpoints" / "lift-bc")
    spec = with_policies(sweep({"policy": "random"}, tasks=["Lift"]), [str(folder)])
    added = spec.policies[1]
    assert (added.name, added.policy, added.isolate) == ("lift-bc", str(folder), "process")
    check_playable(["random", "ws://h:1", str(folder)], spec.tasks)
    with pytest.raises(ConfigError, match="a policy of the task Lift, and the sweep plays Can, Lift"):
        check_playable([str(folder)], ["Can", "Lift"])
    with pytest.raises(ConfigError, match=r"expected a checkpoint's folder, .*it has the checkpoints lift-bc"):
        CliRunner().invoke(app, ["run", "smoke", "--policy", str(tmp_path / "run")], catch_exceptions=False)
    shown = CliRunner().invoke(app, ["show", str(folder)], catch_exceptions=False).output
    assert "checkpoint" in shown and "policy" in shown and "bc" in shown


def test_tables_say_which_rows_are_stateless(server: PlainServer, tmp_path: Path) -> None:
    told = {"protocol": 1, "supports_reset": True, "action_space": "ee_delta", "horizon": 4}
    heard = PlainServer(metadata={"altbench": told}).start()
    spec = sweep({"policy": server.url, "label": "plain"}, {"policy": heard.url, "label": "heard"})
    run = run_bare(spec, tmp_path, InlineExecutor()).run
    outputs.write(run)
    assert {row["server"].split(",")[0] for row in load_served(tmp_path).values()} == {
        "served",
        "served by plain openpi",
    }
    text = (tmp_path / "tables" / "success.md").read_text()
    assert "Stateless: plain. The server hears nothing of episodes" in text
    outputs.redraw(tmp_path)
    assert "Stateless: plain." in (tmp_path / "tables" / "success.md").read_text()
    heard.stop()


def test_rows_of_before_keep_their_settings_without_new_words() -> None:
    kept = sweep({"policy": "random"}).policies[0].model_dump()
    assert set(kept) == {"policy", "label", "preset", "n", "config"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "expected a `policy`, or a `process` that serves one"),
        ({"policy": "random", "process": {"script": "x.py"}}, "not both"),
        ({"policy": "ws://h:1", "isolate": "process"}, "the bench does not start the server at ws://h:1"),
        ({"policy": "random", "remote": {}}, "remote: expected a policy in another process"),
        ({"policy": "ws://h:1", "config": {"a": 1}}, "config: a server has its settings"),
        ({"policy": "random", "isolate": "network"}, "isolate"),
        ({"process": {"scrip": "x"}}, "did you mean 'script'"),
        ({"policy": "ws://h:1", "remote": {"imagesize": 1}}, "did you mean 'image_size'"),
        ({"policy": "ws://h:1", "remote": {"images": {"prompt": "wrist"}}}, "expected keys of their own"),
        ({"policy": "ws://h:1", "remote": {"key_from": "a b"}}, "key_from"),
    ],
)
def test_a_row_that_means_nothing_is_refused(row: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        sweep(row)
    assert "\n" not in str(caught.value)


def test_rows_that_cannot_be_played_are_refused_before_any_work(server: PlainServer, tmp_path: Path) -> None:
    cases = [
        ({"policy": "ws://127.0.0.1:9"}, "Connection refused; start it"),
        ({"policy": server.url, "remote": {"images": {"x": "front"}}}, r"cameras \('front',\), but Fake has"),
        ({"process": {"script": "missing.py"}}, "'missing.py' is missing"),
        (
            {"process": {"script": SCRIPT, "args": ["--mode", "dies-at-start"]}},
            "(?s)the last lines of its log.*no such",
        ),
        ({"policy": "bc", "isolate": "process"}, "'bc' must be fitted first"),
        ({"policy": "wss://", "label": "x"}, "expected a URL such as"),
    ]
    for row, words in cases:
        with pytest.raises(AltbenchError, match=words):
            keys(sweep(row), tmp_path)


ISOLATED = """
import numpy as np
from altbench.api import Decision, Policy, Requirements, Spec

class Writes(Policy[Spec]):
    name = "writes"
    requirements = Requirements((), 1, 4, 4)
    def reset(self, slots, seeds):
        print("a new episode", flush=True)
    def act(self, observation, slots):
        return Decision(np.zeros((len(slots), 4, 10), np.float32))
"""


@pytest.mark.sim
@pytest.mark.slow
def test_isolated_rows_play_in_workers_with_logs_times_and_memory(tmp_path: Path) -> None:
    from altbench.runner import main

    own = tmp_path / "mine.py"
    own.write_text(ISOLATED)
    row = {"policy": f"{own}:Writes", "label": "apart", "isolate": "process"}
    spec = sweep(row, tasks=["Lift"], horizon=8, image_size=[84, 84], measure={"decisions": 3, "warmup": 1})
    spec = with_policies(spec, [str(a_checkpoint(tmp_path / "lift-bc"))])
    summary = main.run(spec, tmp_path / "run", workers=1)
    assert summary.failed == ()
    assert set(summary.episodes()["status"]) == {"ok"}
    assert set(summary.episodes()["label"]) == {"apart", "lift-bc"}
    logs = "".join(path.read_text() for path in (tmp_path / "run" / "logs").iterdir())
    assert "a new episode" in logs and "serving" in logs
    table = (tmp_path / "run" / "tables" / "latency.md").read_text()
    assert "server's p50 ms" in table and "Served: another process decides" in table
    assert "server's peak RSS" in (tmp_path / "run" / "tables" / "memory.md").read_text()
