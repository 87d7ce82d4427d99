"""Latency and memory, measured in processes of their own on checkpoints of random weights."""

from __future__ import annotations

import os
from pathlib import Path

import fakes
import pandas as pd
import pytest
from rich.console import Console

from altbench.core.errors import AltbenchError, CheckpointError, ConfigError, UnknownNameError
from altbench.measure import policies, probe
from altbench.measure.probe import measure_checkpoint, run_python
from altbench.measure.untrained import Untrained, check, write_untrained
from altbench.report.costs import latency_table, memory_table
from altbench.results.checkpoints import CheckpointCard, read_card
from altbench.rollout.episode import state_length
from altbench.sweeps.spec import MeasureEntry
from altbench.system.fingerprint import cpu_model

ENTRY = MeasureEntry(decisions=4, warmup=1)


def wanted(folder: Path, policy: str = "alt", preset: str = "small") -> Untrained:
    return Untrained(str(folder), "Lift", policy, preset, (84, 84), 20, "cpu")


@pytest.mark.slow
def test_an_untrained_checkpoint_is_measured_as_a_trained_one_would_be(tmp_path: Path) -> None:
    folder = tmp_path / "alt"
    write_untrained(wanted(folder), threads=1)
    record = measure_checkpoint(folder, "mine", ENTRY, "cpu")
    assert (record.label, record.policy, record.preset, record.threads) == ("mine", "alt", "small", 1)
    assert record.image_size == (84, 84) and record.decisions_timed == 4
    p50, p95, p99 = record.latency_p50_s, record.latency_p95_s, record.latency_p99_s
    assert p50 and p95 and p99 and 0 < p50 <= p95 <= p99 and record.hz == pytest.approx(1 / p50)
    assert record.weights_bytes and record.table_bytes and record.disk_bytes and record.peak_rss_bytes
    assert record.disk_bytes > record.weights_bytes > record.table_bytes > 20 * 10 * 4
    assert record.peak_rss_bytes > record.weights_bytes and record.peak_vram_bytes is None
    assert read_card(folder).data_checksum == "noise"
    assert read_card(folder).config["precision"] in ("bf16", "fp32")  # never "auto"
    assert cpu_model() in record.machine


READY = '''
import time
import numpy as np
from altbench.api import Decision, Policy, Requirements, Spec, Trainable


class Settings(Spec):
    weights: str = ""


class Ready(Policy[Settings]):
    """Was trained elsewhere, and says nothing of its footprint."""

    name = "ready"

    @property
    def requirements(self):
        return Requirements((), 1, 1, 1, needs_state=True)

    def place(self, device):
        self.device = device

    def reset(self, slots, seeds):
        assert self.device == "cpu"

    def act(self, observation, slots):
        assert observation.environment_state.dtype == np.float32
        assert observation.environment_state.shape[:2] == (1, 1)
        return Decision(np.full((1, 1, 10), observation.environment_state.shape[2], np.float32))


class Hangs(Ready):
    def act(self, observation, slots):
        time.sleep(60)


class Learns(Trainable[Settings]):
    name = "learns"
    requirements, act = Ready.requirements, Ready.act

    def reset(self, slots, seeds):
        pass

    def fit(self, demonstrations, context):
        self.length = demonstrations[0].environment_state.shape[1]

    def save(self, folder):
        (folder / "length.txt").write_text(str(self.length))

    def load(self, folder, device="cpu"):
        self.length = int((folder / "length.txt").read_text())
'''


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    (tmp_path / "weights.pt").write_bytes(b"0" * 1234)
    path = tmp_path / "ready.py"
    path.write_text(READY)
    return path


def ready_card(policy: str, **config: str) -> CheckpointCard:
    return CheckpointCard(
        task="Lift",
        policy=policy,
        preset="small",
        config=config,
        n=30,
        train_seed=0,
        key="key",
        data_checksum="",
        policy_version=1,
        image_size=(84, 84),
        train_seconds=0.0,
    )


def test_a_policy_that_was_trained_elsewhere_is_measured_and_what_it_does_not_tell_is_empty(ready: Path) -> None:
    card = ready_card(f"{ready}:Ready", weights=str(ready.with_name("weights.pt")))
    record = probe.measure_ready(card, "mine", ENTRY, "cpu", state_dim=12)
    assert (record.label, record.n, record.decisions_timed, record.image_size) == ("mine", 30, 4, None)
    assert record.latency_p50_s and record.peak_rss_bytes and record.disk_bytes == 1234
    assert (record.weights_bytes, record.table_bytes, record.train_seconds, record.data_share) == (None,) * 4
    table = latency_table([record]), memory_table([record])
    assert pd.isna(table[0].data["train_seconds"][0]) and pd.isna(table[1].data["weights_and_table_bytes"][0])
    block = table[1].blocks[0]
    shown = dict(zip(block.header, block.rows[0], strict=True))
    assert [shown[name] for name in ("weights", "table", "weights + table")] == [""] * 3


def test_a_policy_that_hangs_is_not_waited_for(ready: Path) -> None:
    card = ready_card(f"{ready}:Hangs")
    with pytest.raises(AltbenchError, match=r"no decision within 0\.2 s"):
        probe.measure_ready(card, "mine", ENTRY, "cpu", state_dim=12, decision_timeout_s=0.2)


@pytest.mark.sim
@pytest.mark.slow
def test_a_policy_that_learns_from_the_state_is_measured(ready: Path, tmp_path: Path) -> None:
    folder = tmp_path / "learned"
    state_dim = write_untrained(wanted(folder, f"{ready}:Learns"), threads=1)
    assert state_dim == 12 and (folder / "length.txt").read_text() == "12"
    record = measure_checkpoint(folder, "mine", ENTRY, "cpu", state_dim=state_dim)
    assert record.decisions_timed == 4 and record.weights_bytes is None


def test_the_length_of_the_state_is_that_of_the_environments_space() -> None:
    assert state_length(fakes.FakeTask(obs_type="state")) == 5 and state_length(fakes.FakeTask()) == 0


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'alt'"):
        check(wanted(tmp_path, policy="atl"))
    with pytest.raises(ConfigError, match="unknown preset 'publishd_size'; did you mean 'published_size'"):
        check(wanted(tmp_path, preset="publishd_size"))
    with pytest.raises(ConfigError, match="'random' learns nothing, so"):
        check(wanted(tmp_path, policy="random"))
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        read_card(tmp_path)


def test_a_process_that_fails_is_quoted() -> None:
    with pytest.raises(AltbenchError, match=r"altbench\.measure\.probe failed: .*CheckpointError.*not a checkpoint"):
        request = {"folder": "nowhere", "decisions": 1, "warmup": 0, "threads": 1, "device": "cpu"}
        run_python("altbench.measure.probe", request, threads=1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("alt:compct", r"'alt': unknown preset 'compct'.*'compact'"),
        ("diffusion:compact", r"'diffusion': unknown preset 'compact'"),
        ("./nowhere.py:Mine", r"no file './nowhere.py'"),
    ],
)
def test_a_policy_to_be_timed_may_bring_its_preset_and_a_wrong_one_is_named(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        policies.policies(Console(), "paper", ["alt", name], decisions=1, threads=1, device="cpu", out=None)


NOISY = """
import json, os, sys
from altbench.measure.probe import answer
print("before", flush=True)
if sys.argv[1] == '"answers"':
    answer(json.dumps({"a": 1}))
print("after", flush=True)
print("a library that cannot close", file=sys.stderr, flush=True)
os.abort()
"""


def test_what_libraries_print_and_how_they_end_does_not_matter_after_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noisy_module.py").write_text(NOISY)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert run_python("noisy_module", "answers", threads=1) == '{"a": 1}'
    with pytest.raises(AltbenchError, match="noisy_module failed: a library that cannot close"):
        run_python("noisy_module", "does not", threads=1)


def test_a_process_that_takes_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_module.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(probe, "TIME_LIMIT_S", 0.5)
    with pytest.raises(AltbenchError, match=r"slow_module failed: no answer within 0\.5 s"):
        run_python("slow_module", "", threads=1)
