"""E3: the main table: who recalls, who generalises, and what a decision costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from altbench.experiments.shared.experiment import Experiment, ExperimentRun, Preset, Report, Reported, Section
from altbench.experiments.shared.matrix import (
    NOTE,
    PLAIN_NOTE,
    Matrix,
    Where,
    cells_of,
    clean,
    dot_plot,
    matrix,
    matrix_table,
)
from altbench.experiments.shared.recall import trajectory_recall
from altbench.experiments.shared.sweeps import EPISODES, OUT_OF_DISTRIBUTION, POLICIES, N, evaluation, make_sweep, row
from altbench.experiments.shared.texts import frame_table, listed, percent, prose, rate_text
from altbench.report.cost_figures import latency_memory
from altbench.report.costs import MEGABYTES, MILLISECONDS, measures_frame, ratios_table
from altbench.report.style import policy_styles, styled
from altbench.report.table import Table, significant
from altbench.stats.rates import Rate, rate_of
from altbench.sweeps.plan import Cell
from altbench.sweeps.spec import SweepSpec

SHOWN = ("replay", "recall")
SPLITS = (*SHOWN, "uniform", *OUT_OF_DISTRIBUTION)
MORE = ("bc_gmm", "bc_rnn_gmm", "act_ensemble")
"""Baselines beside the main table, in a sweep of their own."""
MORE_SPLITS = ("recall", "uniform", "interpolate")
SOLVES = 0.9
"""Lower end of an interval from which a policy is said to solve a split."""

METHOD = """
    Lift, {n} demonstrations, one on each pose of the grid. `replay`: each demonstration's exact initial state, once;
    `recall`: its cube pose with the arm's own starting noise fresh, the closest to the paper's in-distribution test;
    `uniform`: fresh poses over the whole range; {episodes} episodes each, the same for all policies. Trajectory recall:
    `recall` episodes whose motion is nearest to the very demonstration they began from.
    """
BEYOND = "Between the demonstrated poses (`uniform`, `interpolate`) and outside their range (`extrapolate`)."
BASELINES: Mapping[str, str] = {
    "small": """
        `bc_gmm`, behaviour cloning with a mixture of Gaussians; `bc_rnn_gmm`, its recurrent form (at `small` not precise
        enough to be a baseline, as its README says); `act_ensemble`, the main table's `act` (one checkpoint) that decides
        at every step and executes the mean of what all its chunks say of it. Demonstrations and episodes as above; these
        rows take no part in the comparisons above.
        """,
    "paper": """
        `bc_gmm`, behaviour cloning with a mixture of Gaussians; `bc_rnn_gmm`, its recurrent form; the main table's `act`
        has its temporal ensemble here already. Demonstrations and episodes as above; these rows take no part in the
        comparisons above.
        """,
}
COSTS = " Decision: median at batch 1. Peak RSS: over an empty process."
SUMMARY = "Who solves what. {splits}."
SUMMARY_SPLIT = "{split}: {policies} (interval above {solves})"


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """The policies, 30 demonstrations, every split; then more baselines."""
    rows = [row(policy, preset) for policy in POLICIES]
    more = [row("bc_gmm", preset), row("bc_rnn_gmm", preset)]
    if preset != "paper":  # there, `act` itself has the ensemble
        more.append(row("act", preset, "act_ensemble", temporal_ensemble=True, action_horizon=1))
    return [
        make_sweep("main-table", rows, [evaluation(split) for split in SPLITS]),
        make_sweep("more-baselines", more, [evaluation(split) for split in MORE_SPLITS]),
    ]


def report(run: ExperimentRun) -> Report:
    """The main table, success out of distribution, costs, and more baselines."""
    labels = tuple(name for name in POLICIES if cells_of(run, {"label": name}))
    rows: dict[str, Where] = {name: {"label": name} for name in labels}
    found = matrix(run, rows, {split: clean(split) for split in SPLITS})
    recalls = {name: _recall(run, name) for name in labels}
    costs, ratios = measures_frame(run.measures()), ratios_table(run.measures())
    success = dot_plot("Lift, 30 demonstrations: success by split", found)
    beyond = {split: clean(split) for split in ("uniform", *OUT_OF_DISTRIBUTION)}
    sections = (
        Section(
            "The main table",
            prose(METHOD, n=N, episodes=EPISODES),
            {"main": _main("Main table", found, (*SHOWN, "uniform"), recalls, costs, ratios)},
            _cost_figure(run, labels),
        ),
        Section(
            "Beyond what was demonstrated",
            BEYOND,
            {"out_of_distribution": matrix_table("Success between and beyond", matrix(run, rows, beyond))},
            {"success": success} if success else {},
        ),
        Section("More baselines", prose(BASELINES[run.preset]), {"more_baselines": _more(run, costs, ratios)}),
    )
    return Report(_summary(found), sections, _reported(found, recalls, costs, ratios.data))


def _cost_figure(run: ExperimentRun, labels: Sequence[str]) -> dict[str, Figure]:
    """Time and memory of the main table's policies, where any were measured."""
    timed = [m for m in run.measures() if m.label in labels]
    with styled():
        return {"latency_memory": latency_memory(timed, policy_styles(labels))} if timed else {}


def _recall(run: ExperimentRun, label: str) -> Rate:
    """Trajectory recall over the `recall` cells of a row."""
    rates = [trajectory_recall(run, cell) for cell in _recall_cells(run, label)]
    return rate_of(sum(r.successes for r in rates), sum(r.episodes for r in rates))


def _recall_cells(run: ExperimentRun, label: str) -> list[Cell]:
    return [cell for cell in cells_of(run, clean("recall", label=label)) if cell in run.recorded]


def _more(run: ExperimentRun, costs: pd.DataFrame, ratios: Table) -> Table:
    """The baselines that are not in the main table, which they are not compared with."""
    found = matrix(run, {name: {"label": name} for name in MORE}, {split: clean(split) for split in MORE_SPLITS})
    recalls = {name: _recall(run, name) for name in found.rows}
    return _main("More baselines", found, MORE_SPLITS, recalls, costs, ratios, PLAIN_NOTE)


def _main(
    title: str,
    found: Matrix,
    splits: Sequence[str],
    recalls: Mapping[str, Rate],
    costs: pd.DataFrame,
    ratios: Table,
    note: str = NOTE.replace("Bold", "Bold (in the next table)"),
) -> Table:
    """Success on `splits`, trajectory recall, time and memory, both also over the diffusion policy's."""
    names = list(found.rows)
    texts = {"policy": names}
    for split in splits:
        texts[split] = [found.text(name, split) for name in names]
    texts["trajectory recall"] = [rate_text(recalls[name]) for name in names]
    texts["decision, ms"] = [_cost(costs, name, "latency_p50_s", MILLISECONDS) for name in names]
    texts["time / diffusion's"] = [_ratio(ratios.data, name, "time") for name in names]
    texts["weights + table, MB"] = [_cost(costs, name, "weights_and_table_bytes", MEGABYTES) for name in names]
    texts["memory / diffusion's"] = [_ratio(ratios.data, name, "weights_and_table") for name in names]
    texts["on disk, MB"] = [_cost(costs, name, "disk_bytes", MEGABYTES) for name in names]
    texts["peak RSS, MB"] = [_cost(costs, name, "peak_rss_bytes", MEGABYTES) for name in names]
    return frame_table(title, pd.DataFrame(texts), texts, note + COSTS)


def _cost(costs: pd.DataFrame, label: str, column: str, scale: float) -> str:
    own = costs.loc[(costs["label"] == label) & (costs["n"] == N), column].dropna()
    return significant(float(own.iloc[0]) * scale) if len(own) else ""


def _ratio(ratios: pd.DataFrame, label: str, column: str) -> str:
    own = ratios.loc[(ratios["label"] == label) & (ratios["n"] == N), column].dropna()
    return significant(float(own.iloc[0]), 2) if len(own) else ""


def _summary(found: Matrix) -> str:
    solved = {split: _solvers(found, split) for split in ("recall", "uniform")}
    measured = [split for split in solved if any(found.rate(name, split).episodes for name in found.rows)]
    parts = [
        prose(SUMMARY_SPLIT, split=split, policies=listed(solved[split]) or "nobody", solves=percent(SOLVES))
        for split in measured
    ]
    return prose(SUMMARY, splits="; ".join(parts)) if parts else ""


def _solvers(found: Matrix, split: str) -> list[str]:
    return [name for name in found.rows if (found.rate(name, split).low or 0.0) >= SOLVES]


def _reported(
    found: Matrix, recalls: Mapping[str, Rate], costs: pd.DataFrame, ratios: pd.DataFrame
) -> tuple[Reported, ...]:
    """The paper's numbers beside ours: its in-distribution test is closest to `recall`."""
    paper = {
        "kdtree": ("100 %", "63.3 %", ".09 s"),
        "diffusion": ("100 %", "100 %", "2.65 s"),
        "alt": ("100 %", "100 %", ".009 s"),
    }
    rows = []
    for name, (recall, success, seconds) in paper.items():
        there = name in found.rows
        milliseconds = _cost(costs, name, "latency_p50_s", MILLISECONDS)
        time = f"{milliseconds} ms" if milliseconds else ""
        rows += [
            Reported(f"{name}: trajectory recall", recall, rate_text(recalls[name]) if there else "", second_hand=True),
            Reported(
                f"{name}: success in distribution (`recall`)",
                success,
                found.text(name, "recall") if there else "",
                second_hand=True,
            ),
            Reported(f"{name}: inference time", seconds, time, second_hand=True),
        ]
    return (
        *rows,
        Reported("ALT / diffusion: inference time", "0.0034", _ratio(ratios, "alt", "time")),
        Reported("ALT / diffusion: memory (weights + table)", "0.0085", _ratio(ratios, "alt", "weights_and_table")),
        Reported("ALT / diffusion: memory (on disk)", "0.0085", _ratio(ratios, "alt", "disk")),
        Reported("ALT / diffusion: memory (peak RSS)", "0.0085", _ratio(ratios, "alt", "peak_rss")),
    )


EXPERIMENT = Experiment(
    id="E3",
    name="main-table",
    title="Success, recall, time and memory of the policies",
    question="Does a lookup table match the diffusion policy on a small data set, and at what fraction of its cost?",
    report=report,
    sweeps=sweeps,
)
