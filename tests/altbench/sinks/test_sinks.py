"""Sinks: what they are sent, TensorBoard for real, the others for real where they are installed and against fakes."""

from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from altbench.cli import run as commands
from altbench.core.errors import ConfigError, UnknownNameError
from altbench.results.run import Run
from altbench.sinks import log, sink
from altbench.system import sealed

SUCCESS = pd.DataFrame(
    {
        "task": ["Lift", "Lift", "Lift"],
        "label": ["alt", "alt", "b<c>"],
        "n": [30, 30, 30],
        "split": ["recall"] * 3,
        "perturbation": ["clean", "fog", "clean"],
        "severity": [0, 2, 0],
        "rate": [0.5, 0.25, None],
    }
)
RATES = {"success/Lift/alt/n30/recall/clean": 0.5, "success/Lift/alt/n30/recall/fog-2": 0.25}
CURVE = "train/lift/alt/n30/s0"


class Notes:
    """A sink that remembers what it is sent."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        self.name, self.config = name, dict(config)
        self.points: list[tuple[str, int, dict[str, float]]] = []
        self.numbers: dict[str, float] = {}
        self.tables: dict[str, pd.DataFrame] = {}
        self.closed = 0

    def scalars(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        self.points.append((curve, step, dict(values)))

    def summary(self, values: Mapping[str, float]) -> None:
        self.numbers |= values

    def table(self, name: str, data: pd.DataFrame) -> None:
        self.tables[name] = data

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """A run with one fitted checkpoint of two points, and a table of success."""
    logs = tmp_path / "checkpoints" / "one" / "logs"
    with SummaryWriter(logs) as writer:
        for step, loss in ((10, 2.0), (20, 1.0)):
            writer.add_scalar("train/loss", loss, step)
            writer.add_scalar("train/learning_rate", 0.5, step)
    (tmp_path / "tables").mkdir()
    SUCCESS.to_csv(tmp_path / "tables" / "success.csv", index=False)
    sealed.write_json(tmp_path / "outputs.json", {"made_of": "0123456789abcdef", "files": []})
    points = [
        SimpleNamespace(name="lift/alt/n30/s0", folder="one"),
        SimpleNamespace(name="lift/bc/n30/s0", folder="no"),
    ]

    def folder(point: Any) -> Path | None:
        found = tmp_path / "checkpoints" / point.folder
        return found if found.is_dir() else None

    sweep = SimpleNamespace(name="quick", model_dump=lambda mode: {"name": "quick", "tasks": ["Lift"]})
    return SimpleNamespace(sweep=sweep, plan=SimpleNamespace(checkpoints=points), checkpoint_folder=folder)


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[Notes]:
    """The sinks that were opened, as `tensorboard`."""
    opened: list[Notes] = []

    def open_(name: str, folder: Path, title: str, config: Mapping[str, Any]) -> Notes:
        opened.append(Notes(folder, title, config))
        return opened[-1]

    monkeypatch.setattr(log, "open_sink", open_)
    return opened


def test_a_run_is_sent_once_with_curves_rates_and_tables(run: Run, notes: list[Notes], tmp_path: Path) -> None:
    assert log.log_run(run, tmp_path, "tensorboard")
    (sent,) = notes
    assert sent.name == "quick-01234567" and sent.config["tasks"] == ["Lift"] and sent.closed == 1
    assert sent.points == [
        (CURVE, 10, {"loss": 2.0, "learning_rate": 0.5}),
        (CURVE, 20, {"loss": 1.0, "learning_rate": 0.5}),
    ]
    assert sent.numbers == RATES and list(sent.tables) == ["success"] and len(sent.tables["success"]) == 3
    assert not log.log_run(run, tmp_path, "tensorboard") and len(notes) == 1
    assert log.log_run(run, tmp_path, "mlflow"), "another sink does not have it"
    sealed.write_json(tmp_path / "outputs.json", {"made_of": "fedcba9876543210", "files": []})
    assert log.log_run(run, tmp_path, "tensorboard") and notes[-1].name == "quick-fedcba98"
    assert not log.log_run(run, tmp_path, "none")


def test_every_point_of_a_long_curve_is_read(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path) as writer:
        for step in range(1500):
            writer.add_scalar("train/loss", step, step)
    found = log.read_curves(tmp_path)
    assert len(found) == 1500 and found[1499] == {"loss": 1499.0}


def test_unknown_and_missing_sinks_are_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'wandb'"):
        commands.choose_sink("wandbb")
    monkeypatch.setattr(sink.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"--log wandb needs the package wandb.*pip install 'altbench\[wandb\]'"):
        commands.choose_sink("wandb")
    assert commands.choose_sink("none") == "none"


def test_a_sink_that_fails_costs_the_run_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ConnectionError("no [red]route\nto host")

    monkeypatch.setattr(log, "open_sink", fails)
    text = io.StringIO()
    commands._log(run, tmp_path, "wandb", Console(file=text, width=200))
    assert text.getvalue() == "warning --log wandb: ConnectionError: no [red]route to host\n"
    assert not (tmp_path / log.LOGGED).exists()


# ---------------------------------------------------------------------------------------------------------- for real


def test_tensorboard_holds_what_was_sent(run: Run, tmp_path: Path) -> None:
    assert log.log_run(run, tmp_path, "tensorboard")
    found = log.read_curves(tmp_path / "tensorboard" / "quick-01234567")
    assert found[10][f"{'lift/alt/n30/s0'}/loss"] == 2.0 and found[20]["lift/alt/n30/s0/loss"] == 1.0
    assert {name: found[0][name] for name in RATES} == RATES
    events = EventAccumulator(str(tmp_path / "tensorboard" / "quick-01234567"), {"tensors": 0}).Reload()
    (told,) = events.Tensors("sweep/text_summary")[0].tensor_proto.string_val
    assert (
        told.startswith(b"```json\n") and json.loads(told.decode().strip("`").removeprefix("json"))["name"] == "quick"
    )


def test_wandb_offline_keeps_a_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs altbench[wandb]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    assert log.log_run(run, tmp_path, "wandb")
    (kept,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    records = list(_wandb_records(kept))
    points = [p for p in records if f"{CURVE}/loss" in p]
    assert [(p[f"{CURVE}/step"], p[f"{CURVE}/loss"]) for p in points] == [(10, 2.0), (20, 1.0)]
    assert any(key.startswith("tables/success") for p in records for key in p)


def _wandb_records(path: Path) -> Any:
    """Yield what was logged, from wandb's file: LevelDB's log format after a head of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    data, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # the rest of a block is filling
            place += 32768 - place % 32768
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            if record.WhichOneof("record_type") == "history":
                yield {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}


def test_mlflow_keeps_a_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="needs altbench[mlflow]")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert log.log_run(run, tmp_path, "mlflow")
    from mlflow.tracking import MlflowClient

    from altbench.sinks.mlflow import EXPERIMENT, store_of

    client = MlflowClient(store_of(tmp_path))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "quick-01234567" and found.info.status == "FINISHED"
    assert [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, f"{CURVE}/loss")] == [
        (10, 2.0),
        (20, 1.0),
    ]
    assert found.data.metrics["success/Lift/alt/n30/recall/clean"] == 0.5
    assert found.data.params["tasks"] == "['Lift']"
    assert [f.path for f in client.list_artifacts(found.info.run_id, "tables")] == ["tables/success.csv"]


def test_trackio_keeps_a_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio", reason="needs altbench[trackio]")
    assert log.log_run(run, tmp_path, "trackio")
    import sqlite3

    (kept,) = (tmp_path / "trackio").glob("*.db")
    rows = [json.loads(text) for (text,) in sqlite3.connect(kept).execute("select metrics from metrics order by step")]
    assert [row[f"{CURVE}/loss"] for row in rows if f"{CURVE}/loss" in row] == [2.0, 1.0]
    assert any(row.get("success/Lift/alt/n30/recall/fog-2") == 0.25 for row in rows)


# ------------------------------------------------------------------------------------------------------ against fakes


class Recorder(ModuleType):
    """A package that remembers every call, at any depth, and answers with itself."""

    def __init__(self, name: str, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]]) -> None:
        super().__init__(name)
        self.__dict__.update(_name=name, _calls=calls, __path__=[], __spec__=None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Recorder(f"{self._name}.{name}", self._calls)

    def __call__(self, *args: Any, **named: Any) -> Any:
        self._calls.append((self._name, args, named))
        return Recorder(f"{self._name}()", self._calls)


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_packages_are_called_as_they_ask(name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setitem(sys.modules, name, Recorder(name, calls))
    monkeypatch.delitem(sys.modules, f"altbench.sinks.{name}", raising=False)
    monkeypatch.setattr(sink.importlib.util, "find_spec", lambda name: object())
    assert log.log_run(run, tmp_path, name)
    monkeypatch.delitem(sys.modules, f"altbench.sinks.{name}")
    began = next(named for what, _, named in calls if what == f"{name}.init")
    assert began["name"] == "quick-01234567" and began["config"] == {"name": "quick", "tasks": ["Lift"]}
    logged = [args[0] for what, args, _ in calls if what == f"{name}.init().log"]
    assert [entry[f"{CURVE}/loss"] for entry in logged if f"{CURVE}/loss" in entry] == [2.0, 1.0]
    assert "tables/success" in logged[-1] and calls[-1][0] == f"{name}.init().finish"


def test_importing_sinks_imports_none_of_their_packages() -> None:
    before = set(sys.modules)
    importlib.reload(sink)
    assert not {"wandb", "mlflow", "trackio"} & (set(sys.modules) - before)
