"""Sending what a run holds to a sink: training curves, final numbers, tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from altbench.core.errors import ResultsError
from altbench.results.run import Run
from altbench.sinks.sink import NONE, Sink, open_sink
from altbench.system import sealed

LOGGED = "logged.json"
"""Beside a run's records: sink -> what of the run it has."""
PREFIX = "train/"
"""What policies' logs put before a curve's name."""

log = logging.getLogger(__name__)


def log_run(run: Run, out: Path, name: str) -> bool:
    """Send a run to the sink `name`, unless that has it; return whether it was sent.

    `out`: where its tables are. Errors as `open_sink`; those of a sink itself are its
    own.
    """
    made_of = _made_of(out)
    if name == NONE or (made_of and _logged(out).get(name) == made_of):
        return False
    title = f"{run.sweep.name}-{made_of[:8] or 'unfinished'}"
    sink = open_sink(name, out, title, run.sweep.model_dump(mode="json"))
    try:
        send(run, out, sink)
    finally:
        sink.close()
    sealed.write_json(out / LOGGED, {"sinks": {**_logged(out), name: made_of}})
    return True


def send(run: Run, out: Path, sink: Sink) -> None:
    """Send the curves of all fitted checkpoints, the rates of success, and all tables."""
    for curve, step, values in curves_of(run):
        sink.scalars(curve, step, values)
    tables = {path.stem: pd.read_csv(path) for path in sorted((out / "tables").glob("*.csv"))}
    if "success" in tables:
        sink.summary(rates_of(tables["success"]))
    for stem, data in tables.items():
        sink.table(stem, data)


def curves_of(run: Run) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Yield name, step and values of the training curves, checkpoint by checkpoint.

    They are what policies logged for TensorBoard, beside their checkpoints.
    """
    for point in run.plan.checkpoints:
        folder = run.checkpoint_folder(point)
        logs = folder / "logs" if folder else None
        if logs is not None and logs.is_dir():
            for step, values in sorted(read_curves(logs).items()):
                yield f"train/{point.name.removesuffix('/fit')}", step, values


def read_curves(folder: Path) -> dict[int, dict[str, float]]:
    """Return the values of TensorBoard's event files in `folder` by step and name."""
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    # 0: every point; by default it draws some at random.
    read = EventAccumulator(str(folder), size_guidance={SCALARS: 0})
    read.Reload()
    found: dict[int, dict[str, float]] = {}
    for tag in read.Tags()[SCALARS]:
        for event in read.Scalars(tag):
            found.setdefault(event.step, {})[tag.removeprefix(PREFIX)] = event.value
    return found


def rates_of(success: pd.DataFrame) -> dict[str, float]:
    """Return the rates of a table of success by name: success/Lift/alt/n30/recall/clean."""
    found = {}
    for _, row in success[success["rate"].notna()].iterrows():
        condition = row["perturbation"] + (f"-{row['severity']}" if row["severity"] else "")
        found[f"success/{row['task']}/{row['label']}/n{row['n']}/{row['split']}/{condition}"] = float(row["rate"])
    return found


def _made_of(out: Path) -> str:
    try:
        return str(sealed.read_json(out / "outputs.json", ("made_of", "files"), "the next run writes it")["made_of"])
    except (ResultsError, OSError):
        return ""


def _logged(out: Path) -> dict[str, str]:
    if not (out / LOGGED).is_file():
        return {}
    try:
        return dict(sealed.read_json(out / LOGGED, ("sinks",), "everything is sent again")["sinks"])
    except ResultsError as error:
        log.warning("counts as missing: %s", error)
        return {}
