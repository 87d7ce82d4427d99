"""Success against the number of demonstrations: nested subsets, three training seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from altbench.core.words import listed
from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.matrix import (
    PLAIN_NOTE,
    Matrix,
    Where,
    clean,
    label_rows,
    matrix,
    matrix_table,
    row_styles,
    stars_in,
)
from altbench.experiments.shared.sections import Report, Section
from altbench.experiments.shared.sweeps import EPISODES, POLICIES, Preset, evaluation, make_sweep, row
from altbench.experiments.shared.texts import prose
from altbench.report.figures import rates_by_n
from altbench.report.style import styled
from altbench.sweeps.spec import SweepSpec

NUMBERS = (10, 30, 60, 120)
SEEDS = (0, 1, 2)
ROWS = (*POLICIES, "fisher")
"""The rows of every experiment, and the lookup that trains nothing."""
ONE_SEED = ("open_loop", "kdtree", "fisher", "diffusion")
"""Rows with one training seed.

The first three draw no random number in a fit, and the last takes longest.
"""
SPLITS = ("recall", "uniform")

METHOD = """
    Lift. The demonstrations of a smaller N are among those of a larger one; from 30 on
    they are whole passes over the grid. {episodes} episodes per cell and training seed.
    There are three training seeds, but one for {one_seed}; at `paper` the diffusion
    policy has three too.
    """
SUMMARY = "On `uniform`, from {first} to {last}: {gains}."


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Ask for three seeds of most rows, and for one of the rest.

    At `paper` the diffusion policy has three too.
    """
    once = [name for name in ONE_SEED if name != "diffusion" or preset == "small"]
    often = [name for name in ROWS if name not in once]
    columns = [evaluation(split) for split in SPLITS]
    return [
        make_sweep("scaling-seeds", [row(name, preset, n=NUMBERS) for name in often], columns, train_seeds=SEEDS),
        make_sweep("scaling", [row(name, preset, n=NUMBERS) for name in once], columns),
    ]


def report(run: ExperimentRun) -> Report:
    """Report success by N over all seeds, and the seeds beside each other."""
    rows = label_rows(run, ROWS)
    labels = list(rows)
    found = {split: matrix(run, rows, {f"N = {n}": clean(split, n=n) for n in NUMBERS}) for split in SPLITS}
    seeds: dict[str, Where] = {
        f"{label}, seed {seed}": {"label": label, "train_seed": seed} for label in labels for seed in SEEDS
    }
    each = {split: matrix(run, seeds, {f"N = {n}": clean(split, n=n) for n in NUMBERS}) for split in SPLITS}
    sections = (
        Section(
            "Success by number of demonstrations",
            prose(METHOD, episodes=EPISODES, one_seed=listed(ONE_SEED)),
            figures=("success_by_n",),
        ),
        *(
            Section(
                f"Split {split}",
                "",
                {
                    f"success_{split}": matrix_table(f"Success on {split}", found[split]),
                    f"seeds_{split}": matrix_table(
                        f"Success on {split}, seed by seed", each[split], "policy, seed", PLAIN_NOTE
                    ),
                },
            )
            for split in SPLITS
        ),
    )
    return Report(_summary(found["uniform"]), sections)


def figures(tables: Tables) -> Figures:
    """Draw success by the number of demonstrations, a panel per split."""
    return drawn(success_by_n=lambda: _by_n({split: tables[f"success_{split}"] for split in SPLITS}))


def _by_n(found: Mapping[str, pd.DataFrame]) -> Figure | None:
    """Draw the tables of both splits; None if nothing was measured."""
    data = pd.concat([one.assign(split=split) for split, one in found.items()]).dropna(subset=["rate"])
    if data.empty:
        return None
    numbers = data["column"].str.removeprefix("N = ").astype(int)
    rates = data.assign(n=numbers, label=data["policy"])
    with styled():
        return rates_by_n(rates, SPLITS, "Lift", row_styles(data), stars_in(data))


def _summary(uniform: Matrix) -> str:
    """Say what policies gain from more demonstrations between the poses."""
    first, last = uniform.columns[0], uniform.columns[-1]
    gains = [
        f"{row} {100 * (a.value or 0):.0f} → {100 * (b.value or 0):.0f} %"
        for row in uniform.rows
        if (a := uniform.rate(row, first)).episodes and (b := uniform.rate(row, last)).episodes
    ]
    return prose(SUMMARY, first=first, last=last, gains=listed(gains)) if gains else ""


EXPERIMENT = Experiment(
    id="scaling",
    name="demonstrations",
    title="Success against the number of demonstrations",
    question="How much do policies gain from more demonstrations, at demonstrated poses and between them?",
    report=report,
    figures=figures,
    sweeps=sweeps,
)
