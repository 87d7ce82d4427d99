"""The table and the figure of a sweep over several data sets: each one's success, and how they differ."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from altbench.report.drawing.layout import draw_all
from altbench.report.figures import draw_by_split
from altbench.report.privileged import marked
from altbench.report.style import policy_styles, styled
from altbench.report.success import CONDITION, ROW
from altbench.report.table import Block, Table, interval_text, percentage, write_table
from altbench.results import frames
from altbench.results.collected import with_collected
from altbench.stats.replication import Replicated, replicated_rate
from altbench.sweeps.replicates import folder_of
from altbench.sweeps.spec import CLEAN
from altbench.system import fingerprint
from altbench.system.fingerprint import Fingerprint

log = logging.getLogger(__name__)

STEM = "replication"
"""The file stem of the table, and of the figure."""
MOST_PANELS = 8
"""Splits that a figure has room for."""
NOTE = (
    "Success in % of each data set, named by its seed, then the mean of the data sets with its 95 % interval"
    " (hierarchical bootstrap: data sets, then initial poses; no narrower than that of all poses together)."
    " sd over data: standard deviation of the data sets' rates, in points. sd over training: that of the training seeds"
    " within a data set. Empty: fewer than two. With two or three data sets the interval is too narrow if they differ much:"
    " simulated coverage 75 to 97 % (`altbench.stats.replication`)."
)
AXIS = "mean success, 95 % interval; ticks: data sets"
PARTIAL = " Rows without some data sets are made of the others alone: their columns are empty."


def load_replicates(root: Path, seeds: tuple[int, ...]) -> pd.DataFrame:
    """Return the episodes of the data sets under `root` with a column `data_seed`.

    Data sets without records yet are left out.
    """
    folders = {seed: folder_of(root, seed) for seed in seeds}
    there = {seed: path for seed, path in folders.items() if (path / frames.EPISODES_FILE).is_file()}
    found = [with_collected(frames.load_published(path), path).assign(data_seed=seed) for seed, path in there.items()]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def replication_table(frame: pd.DataFrame) -> Table:
    """Return success by row, condition and data set; `frame` is of `load_replicates`."""
    seeds = sorted(int(seed) for seed in frame["data_seed"].unique())
    data: list[tuple[object, ...]] = []
    texts: list[tuple[str, ...]] = []
    for key, group in frame.groupby([*ROW, *CONDITION]):
        found = replicated_rate(group)
        if found is None:
            continue
        data.append(
            (*key, found.rate, found.low, found.high, found.data_sd, found.train_sd, found.episodes, len(found.by_data))
        )
        texts.append((*_names(key), *_numbers(found, seeds)))
    columns = ["rate", "low", "high", "data_sd", "train_sd", "episodes", "data_sets"]
    names = ("task", "policy", "N", "split", "condition")
    header = (*names, *(f"data {seed}" for seed in seeds), "mean", "sd over data", "sd over training")
    block = Block("Success over data sets", header, tuple(texts), names=len(names))
    table = pd.DataFrame(data, columns=[*ROW, *CONDITION, *columns])
    partial = bool((table["data_sets"] < len(seeds)).any())
    table = table.astype(dict.fromkeys(("low", "high", "data_sd", "train_sd"), "float64"))
    return Table("Replication over data sets", table, (block,), NOTE + (PARTIAL if partial else ""))


def replication_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw unperturbed success by row and split: each data set's rate, and their mean with its interval.

    A row is drawn at its largest N. `frame` is of `load_replicates`. None with fewer than
    two data sets, or with more splits than there is room for. Call this inside `styled`.
    """
    clean = frame[frame["perturbation"] == CLEAN]
    clean = clean[clean["n"] == clean.groupby(["task", "label"])["n"].transform("max")]
    if clean["split"].nunique() > MOST_PANELS:
        return None
    rows = []
    for (task, label, split), group in clean.groupby(["task", "label", "split"]):
        found = replicated_rate(group)
        if found is not None and found.low is not None:
            parts = tuple(found.by_data.values())
            rows.append((task, label, split, found.rate, found.low, found.high, parts))
    if not rows:
        return None
    drawn = pd.DataFrame(rows, columns=["task", "label", "split", "rate", "low", "high", "parts"])
    policies = dict(zip(clean["label"], clean["policy"], strict=True))
    seeds = ", ".join(str(seed) for seed in sorted(clean["data_seed"].unique()))
    tasks = list(drawn["task"].unique())
    title = f"{tasks[0]}, data sets {seeds}" if len(tasks) == 1 else f"Data sets {seeds}"
    return draw_by_split(
        drawn, f"{title}: success by split", policy_styles(drawn["label"], policies), len(tasks) > 1, AXIS
    )


def write_figure(frame: pd.DataFrame, folder: Path, made_by: Fingerprint) -> list[Path]:
    """Write `replication_figure` as PNG and SVG into `folder`; return the files, none if there is nothing to draw."""
    with styled():
        figure = replication_figure(frame)
    if figure is None:
        return []
    paths, failures = draw_all([(STEM, lambda: figure)], folder, made_by)
    for name, reason in failures:
        log.warning("%s is not drawn: %s", name, reason)
    return paths


def write_replication(root: Path, seeds: tuple[int, ...]) -> tuple[Table, list[Path]] | None:
    """Write the table and the figure of the data sets under `root`.

    Return the table and all files, None without records.
    """
    frame = load_replicates(root, seeds)
    made_by = [found for seed in seeds if (found := fingerprint.load_fingerprint(folder_of(root, seed)))]
    if frame.empty or not made_by:
        return None
    table = replication_table(frame)
    tables = write_table(table, root / "tables", STEM, made_by[0])
    return table, [*tables, *write_figure(frame, root / "figures", made_by[0])]


def _names(key: tuple[object, ...]) -> tuple[str, ...]:
    task, label, policy, _, n, split, perturbation, severity = key
    condition = f"{perturbation} {severity}" if severity else str(perturbation)
    return str(task), marked(str(label), str(policy)), str(n), str(split), condition


def _numbers(found: Replicated, seeds: list[int]) -> tuple[str, ...]:
    each = [percentage(found.by_data[seed]) if seed in found.by_data else "" for seed in seeds]
    low, high = found.low, found.high
    mean = f"{percentage(found.rate)} %" if low is None or high is None else interval_text(found.rate, low, high)
    return (*each, mean, *("" if sd is None else f"{100 * sd:.1f}" for sd in (found.data_sd, found.train_sd)))
