"""The table of a sweep over several data sets: each one's success, and how they differ. `drawing.data_sets` draws it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from altbench.report.caveats import caveats, with_caveats
from altbench.report.drawing.order import row_place
from altbench.report.drawing.stars import starred, unconverged_note, unconverged_rows
from altbench.report.privileged import marked
from altbench.report.splits import splits_in_order
from altbench.report.success import CONDITION, ROW
from altbench.report.table import Block, Table, interval_text, percentage, write_table
from altbench.results import frames
from altbench.results.collected import with_collected
from altbench.results.training import COLUMN, with_training
from altbench.stats.replication import Replicated, replicated_rate
from altbench.sweeps.replicates import folder_of
from altbench.system import fingerprint

STEM = "replication"
"""The file stem of the table, and of the figure."""
NOTE = (
    "Success in % of each data set, named by its seed, then the mean of the data sets with its 95 % interval"
    " (hierarchical bootstrap: data sets, then initial poses; no narrower than that of all poses together)."
    " sd over data: standard deviation of the data sets' rates, in points. sd over training: that of the training seeds"
    " within a data set. Empty: fewer than two. With two or three data sets the interval is too narrow if they differ much:"
    " simulated coverage 75 to 97 % (`altbench.stats.replication`)."
)
PARTIAL = " Rows without some data sets are made of the others alone: their columns are empty."


def load_replicates(root: Path, seeds: tuple[int, ...]) -> pd.DataFrame:
    """Return the episodes of the data sets under `root` with a column `data_seed`.

    Data sets without records yet are left out. A column says which checkpoints have
    converged, if any has not.
    """
    folders = {seed: folder_of(root, seed) for seed in seeds}
    there = {seed: path for seed, path in folders.items() if (path / frames.EPISODES_FILE).is_file()}
    found = [_load(path).assign(data_seed=seed) for seed, path in there.items()]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _load(folder: Path) -> pd.DataFrame:
    return with_training(with_collected(frames.load_published(folder), folder), folder)


def replication_table(frame: pd.DataFrame) -> Table:
    """Return success by row, condition and data set; `frame` is of `load_replicates`.

    A star marks the rate of a data set on which the row's network has not converged, and
    the mean that it is part of.
    """
    seeds = sorted(int(seed) for seed in frame["data_seed"].unique())
    data: list[tuple[object, ...]] = []
    texts: list[tuple[str, ...]] = []
    starred: set[tuple[str, str, int]] = set()
    for key, group in _groups(frame):
        found = replicated_rate(group)
        if found is None:
            continue
        late = {seed for seed in found.by_data if unconverged_rows(group[group["data_seed"] == seed])}
        starred |= unconverged_rows(group) if late else set()
        spread = (found.data_sd, found.train_sd, found.episodes, len(found.by_data))
        data.append((*key, found.rate, found.low, found.high, *spread, not late))
        texts.append((*_names(key), *_numbers(found, seeds, late)))
    columns = ["rate", "low", "high", "data_sd", "train_sd", "episodes", "data_sets", COLUMN]
    names = ("task", "policy", "N", "split", "condition")
    header = (*names, *(f"data {seed}" for seed in seeds), "mean", "sd over data", "sd over training")
    block = Block("Success over data sets", header, tuple(texts), names=len(names))
    table = pd.DataFrame(data, columns=[*ROW, *CONDITION, *columns])
    partial = bool((table["data_sets"] < len(seeds)).any())
    table = table.astype(dict.fromkeys(("low", "high", "data_sd", "train_sd"), "float64"))
    table = table if starred else table.drop(columns=COLUMN)
    note = NOTE + (PARTIAL if partial else "") + unconverged_note(starred)
    return with_caveats(Table("Replication over data sets", table, (block,), note), caveats(frame))


def write_replication(root: Path, seeds: tuple[int, ...]) -> tuple[Table, list[Path]] | None:
    """Write the table and the figure of the data sets under `root`.

    Return the table and all files, None without records.
    """
    frame = load_replicates(root, seeds)
    made_by = [found for seed in seeds if (found := fingerprint.load_fingerprint(folder_of(root, seed)))]
    if frame.empty or not made_by:
        return None
    table = replication_table(frame)
    from altbench.report.drawing.data_sets import write_figure  # a run is planned without matplotlib

    tables = write_table(table, root / "tables", STEM, made_by[0])
    return table, [*tables, *write_figure(frame, root / "figures", made_by[0])]


def _groups(frame: pd.DataFrame) -> list[tuple[tuple[object, ...], pd.DataFrame]]:
    """Return the episodes of each row and condition: rows and splits in their usual order."""
    splits = {split: i for i, split in enumerate(splits_in_order(frame))}

    def place(one: tuple[tuple[object, ...], pd.DataFrame]) -> tuple[object, ...]:
        *row, split, perturbation, severity = one[0]
        return [row_place(name) for name in row], splits[str(split)], perturbation, severity

    return sorted(frame.groupby([*ROW, *CONDITION]), key=place)


def _names(key: tuple[object, ...]) -> tuple[str, ...]:
    task, label, policy, _, n, split, perturbation, severity = key
    condition = f"{perturbation} {severity}" if severity else str(perturbation)
    return str(task), marked(str(label), str(policy)), str(n), str(split), condition


def _numbers(found: Replicated, seeds: Sequence[int], late: Collection[int]) -> tuple[str, ...]:
    """Return a row's texts; `late`: the data sets on which its network has not converged."""
    each = [percentage(found.by_data[seed]) if seed in found.by_data else "" for seed in seeds]
    each = [starred(text, seed in late) for seed, text in zip(seeds, each, strict=True)]
    low, high = found.low, found.high
    mean = f"{percentage(found.rate)} %" if low is None or high is None else interval_text(found.rate, low, high)
    spread = ("" if sd is None else f"{100 * sd:.1f}" for sd in (found.data_sd, found.train_sd))
    return (*each, starred(mean, bool(late)), *spread)
