"""Reading two runs and comparing them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from altbench.core.errors import ResultsError
from altbench.report.compare import levels, pairing
from altbench.report.compare.costs import cost_ratios, machine_of
from altbench.report.compare.records import Comparison, CostRatio
from altbench.results.collected import with_collected
from altbench.results.frames import load_published
from altbench.results.measures import load_measures
from altbench.results.unchecked import warn_of_unchecked
from altbench.rollout.records import MISSING
from altbench.system.fingerprint import Fingerprint, differences, load_fingerprint


def compare(base: Path, new: Path) -> Comparison:
    """Pair the runs in two folders by cell name and episode seed.

    Raises ResultsError if they have no episode in common.
    """
    for folder in (base, new):
        warn_of_unchecked(folder)
    frames = [_episodes(folder) for folder in (base, new)]
    prints = [load_fingerprint(folder) for folder in (base, new)]
    machines = (machine_of(prints[0]), machine_of(prints[1]))
    costs, note = cost_ratios(load_measures(base), load_measures(new), machines)
    versions = _version_changes((base, new), prints)
    return compare_frames(frames[0], frames[1], (str(base), str(new)), versions, costs, note)


def compare_frames(
    base: pd.DataFrame,
    new: pd.DataFrame,
    names: tuple[str, str] = ("base", "new"),
    versions: tuple[str, ...] = (),
    costs: tuple[CostRatio, ...] = (),
    costs_note: str = "",
) -> Comparison:
    """Compare the episodes of two runs, as `load_episodes` returns them.

    `names`: what errors call the runs. Raises ResultsError if they have no episode in
    common that counts.
    """
    pairs = pairing.outer_pairs(base, new)
    shared = pairing.counted(pairs)
    if shared.empty:
        raise ResultsError(_nothing_shared(base, new, names, pairs))
    cells = [list(dict.fromkeys(map(str, frame["name"]))) for frame in (base, new)]
    there = [set(side) for side in cells]
    overall, unbroken = pairing.with_missing([levels.overall(shared), levels.unbroken(shared)], pairs)
    return Comparison(
        overall=overall,
        policies=pairing.with_missing(levels.by(shared, "label"), pairs, "label"),
        cells=pairing.with_missing(levels.by(shared, "name"), pairs, "name"),
        unbroken=unbroken,
        only_base=tuple(name for name in cells[0] if name not in there[1]),
        only_new=tuple(name for name in cells[1] if name not in there[0]),
        lost=pairing.lost_episodes(pairs),
        only_new_counts=int((pairs["counts_new"] & ~pairs["counts_base"]).sum()),
        unplayed_base=int((base["status"] == MISSING).sum()),
        unplayed_new=int((new["status"] == MISSING).sum()),
        statuses=pairing.status_changes(pairs),
        flags=pairing.flag_changes(shared),
        costs=costs,
        costs_note=costs_note,
        versions=versions,
    )


def _episodes(folder: Path) -> pd.DataFrame:
    if not folder.is_dir():
        raise ResultsError(f"{folder}: no such folder; expected a run's folder, such as results/quick")
    frame = with_collected(load_published(folder), folder)
    if frame.empty:
        raise ResultsError(
            f"{folder}: holds no finished cell; expected a run's folder, with cells/ or episodes.parquet"
        )
    return frame


def _version_changes(folders: tuple[Path, Path], prints: list[Fingerprint | None]) -> tuple[str, ...]:
    first, second = prints
    if first is None or second is None:
        missing = [str(folder) for folder, found in zip(folders, prints, strict=True) if found is None]
        return (f"unknown versions: no fingerprint.json in {' and '.join(missing)}",)
    return tuple(differences(first, second))


def _nothing_shared(base: pd.DataFrame, new: pd.DataFrame, names: tuple[str, str], pairs: pd.DataFrame) -> str:
    both = pairs[pairs["there_base"] & pairs["there_new"]]
    if not both.empty:
        lost = sorted({*both["status_base"], *both["status_new"]} - {"ok"})
        return (
            f"{names[0]} and {names[1]}: none of the {len(both)} shared episodes counts in both runs "
            f"({', '.join(lost)}); run the sweep again"
        )
    examples = [f"{which} has {frame['name'].iloc[0]!r}" for which, frame in (("base", base), ("new", new))]
    return (
        f"{names[0]} and {names[1]} have no episode in common (same cell name and seed); expected two runs of one "
        f"sweep; {'; '.join(examples)}"
    )
