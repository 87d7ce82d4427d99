"""results/README.md, held against a run: every file and column that there is, and none that is not."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import fakes
import pytest
import synthetic

from altbench.results import cells, measures
from altbench.rollout.records import CellHeader, MeasureRecord
from altbench.runner import main, work
from altbench.runner.main import Summary
from altbench.runner.worker import Worker
from altbench.sweeps.plan import Measurement
from altbench.sweeps.spec import SweepSpec

README = (Path(__file__).parents[3] / "results" / "README.md").read_text(encoding="utf-8")
LATER = {"sweeps", "videos", "audit", "checked", "logs", ".shared", "machines.json", "served.json"}
LATER |= {"page.json", "logged.json", "tensorboard", "wandb", "mlruns"}
"""What other commands, a second sweep in the folder, or a policy that prints or is one's own add to a run's folder."""
BC = {"policy": "bc", "n": [3, 6], "config": {"train_steps": 3, "encoder": "cnn4", "width": 0.25, "batch_size": 4}}
ALT = {"policy": "open_loop", "n": [6]}


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """A run as small as possible with all that a run leaves, as `altbench run` leaves it."""
    fakes.register()
    sweep = SweepSpec.parse(
        {
            "name": "fake",
            "tasks": ["Fake"],
            "image_size": [32, 32],
            "demonstrations": {"n": 6},
            "policies": [ALT, BC],
            "evaluations": [
                {"split": "replay", "episodes": "each"},
                {"split": "recall", "episodes": 2, "perturbations": [{"name": "fog", "severities": [1]}]},
            ],
        },
        "fake",
    )

    def measure(run: main.Run, measurement: Measurement, _: Worker) -> None:
        measures.write_measure(run.root, measurement.key, synthetic.measure(measurement.label))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(work, "measure", measure)  # it starts a process that knows no fake task
        patched.setattr(main, "require_renderer", lambda: "none")
        found = main.run(sweep, tmp_path_factory.mktemp("run") / "fake", workers=0)
    assert found.failed == ()
    return found


def table(heading: str, number: int = 0) -> list[list[str]]:
    """The names in the first column of a table below `heading`, row by row."""
    below = README.partition(heading)[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^\|.*\n)+", below, flags=re.MULTILINE)
    return [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in blocks[number].splitlines()[2:]]


def test_a_runs_folder_holds_what_the_page_lists_and_nothing_else(summary: Summary) -> None:
    listed = {name.partition("/")[0] for names in table("# Results") for name in names}
    assert {path.name for path in summary.root.iterdir()} == listed - LATER
    assert {path.suffix for path in (summary.root / "cells").iterdir()} == {".parquet"}
    assert {path.suffix for path in (summary.root / "measures").iterdir()} == {".json"}


def test_every_column_of_a_cell_is_explained(summary: Summary) -> None:
    del summary
    assert [n for names in table("## Cells") for n in names] == [f.name for f in fields(CellHeader)]
    assert [n for names in table("## Cells", 1) for n in names] == cells.CELL_SCHEMA.names


def test_the_flat_tables_have_the_explained_columns(summary: Summary) -> None:
    head = [field.name for field in fields(CellHeader)]
    episodes, decisions = summary.episodes(), summary.decisions()
    explained = {*head, *cells.EPISODE_SCHEMA.names}
    assert set(episodes.columns) == explained
    below = README.partition("| `decisions` |")[2].partition("\n")[0]
    own = set(re.findall(r"`(\w+)`", below)) | {"step"}
    assert own <= set(decisions.columns) <= own | {*head, "episode", "seed"}


def test_every_number_of_a_measurement_is_explained() -> None:
    below = README.partition("## Measurements")[2].partition("\n## ")[0].partition("never zero")[2]
    assert set(re.findall(r"`(\w+)`", below)) == {field.name for field in fields(MeasureRecord)}


def test_every_table_and_figure_is_listed(summary: Summary) -> None:
    tables = {name for names in table("## Tables") for name in names}
    written = {path.stem for path in (summary.root / "tables").iterdir()}
    assert {"success", "failures", "latency", "memory"} <= written <= tables
    assert {path.suffix for path in (summary.root / "tables").iterdir()} == {".csv", ".md", ".tex", ".json"}
    below = README.partition("## Figures")[2].partition("\n## ")[0]
    listed = [re.sub(r"<\w+>", r"\\w+", name) for name in re.findall(r"`([\w<>]+)`", below)]
    drawn = [path.stem for path in (summary.root / "figures").iterdir()]
    assert drawn and all(any(re.fullmatch(name, stem) for name in listed) for stem in drawn)
