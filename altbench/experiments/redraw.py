"""Drawing the figures of published reports again, from the tables that lie beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from altbench import experiments
from altbench.core.errors import ResultsError
from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.figures import Figures, Tables, Undrawn
from altbench.experiments.shared.report import ABOUT, write_named
from altbench.report.drawing.layout import Failures
from altbench.system.fingerprint import Fingerprint


def reports_in(folder: Path) -> list[Path]:
    """Return the folders of reports in `folder`: itself, or those under it; empty: none."""
    if (folder / ABOUT).is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{ABOUT}"))


def redraw_reports(folder: Path) -> tuple[list[Path], Failures, Failures]:
    """Draw the figures of the reports in `folder` again.

    Return their files; those that stay as they are, because the tables that they show
    were not published; and those that could not be drawn. Raises ResultsError if a report
    does not say what it is of.
    """
    paths: list[Path] = []
    unpublished: list[tuple[str, str]] = []
    failures: list[tuple[str, str]] = []
    for own in reports_in(folder):
        experiment, made_by = _read(own)
        figures = experiment.figures(Tables({path.stem: pd.read_csv(path) for path in sorted(own.glob("*.csv"))}))
        kept = {s: f.reason for s, f in figures.items() if isinstance(f, Undrawn) and f.unpublished}
        titles, failed = write_named(Figures({s: f for s, f in figures.items() if s not in kept}), own, made_by)
        paths += [own / f"{stem}.{suffix}" for stem in titles for suffix in ("png", "svg")]
        unpublished += [(f"{own.name}/{stem}", reason) for stem, reason in kept.items()]
        failures += [(f"{own.name}/{stem}", reason) for stem, reason in failed.items()]
    return paths, tuple(unpublished), tuple(failures)


def _read(folder: Path) -> tuple[Experiment, Fingerprint]:
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        return experiments.find(str(about["id"])), Fingerprint(**about["fingerprint"])
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{folder / ABOUT}: not what `altbench experiments` wrote: {error}") from error
