"""E3: the main table: which policies recall, which generalise, what a decision costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.matrix import (
    NOTE,
    PLAIN_NOTE,
    Matrix,
    clean,
    dot_plot,
    label_rows,
    matrix,
    matrix_table,
)
from altbench.experiments.shared.recall import RECALLS, pooled, recalls_table, trajectory_recall, without_intervals
from altbench.experiments.shared.sections import Report, Reported, Section
from altbench.experiments.shared.sweeps import (
    COLLECTED,
    EPISODES,
    OUT_OF_DISTRIBUTION,
    POLICIES,
    N,
    Preset,
    evaluation,
    make_sweep,
    row,
)
from altbench.experiments.shared.texts import cost_text, frame_table, prose
from altbench.report.cost_figures import costs_figure, with_costs
from altbench.report.costs import MEGABYTES, MILLISECONDS, measures_frame, ratios_table
from altbench.report.drawing.stars import STAR
from altbench.report.lookups import lookups_table
from altbench.report.privileged import marked
from altbench.report.style import policy_styles, styled
from altbench.report.table import Table, rate_of_text, rate_text, significant
from altbench.results.training import COLUMN
from altbench.stats.rates import Rate
from altbench.sweeps.spec import DemonstrationEntry, SweepSpec

ROWS = (*POLICIES, "fisher", "vinn", "regressor", "blind")
"""The rows of every experiment, then what tells them apart.

`fisher` is a lookup without training, `vinn` averages what ALT looks up, `regressor` is
ALT+'s network alone, and `blind` plays the right demonstration.
"""
SHOWN = ("replay", "recall")
"""Splits with demonstrated poses."""
SPLITS = (*SHOWN, "uniform", *OUT_OF_DISTRIBUTION)
MORE = ("bc_gmm", "bc_rnn_gmm", "act_ensemble")
"""Baselines beside the main table.

They have a sweep of their own, because all its rows play fewer splits.
"""
MORE_SPLITS = ("recall", "uniform", "interpolate")
METHOD = """
    Lift, {n} demonstrations, one on each pose of the grid. `replay`: each
    demonstration's exact initial state, once. `recall`: its cube pose with new noise in
    the arm's start, which is closest to the paper's in-distribution test. `uniform`:
    new poses over the whole range. Splits other than `replay` have {episodes} episodes,
    the same for all policies. Trajectory recall: the share of `recall` episodes whose
    motion is nearest to the demonstration that they began from.
    """
LOOKUPS = """
    Whether a lookup found the demonstration that a `recall` episode began from, and how it
    failed. Rows whose decisions are not known are left out.
    """
BEYOND = "Between the demonstrated poses (`uniform`, `interpolate`) and outside their range (`extrapolate`)."
BASELINES: Mapping[str, str] = {
    "small": """
        `bc_gmm` is behaviour cloning with a mixture of Gaussians. Its recurrent form,
        `bc_rnn_gmm`, does not fit its training frames at `small` (its README), and has no
        row. `act_ensemble` is the main table's `act`, with the same checkpoint; it
        decides at every step and executes the mean of what all its chunks say of that step.
        Demonstrations and episodes are those above. These rows are not compared with those
        above.
        """,
    "paper": """
        `bc_gmm` is behaviour cloning with a mixture of Gaussians. `bc_rnn_gmm` is its
        recurrent form. At `paper` the main table's `act` already has its temporal ensemble.
        Demonstrations and episodes are those above. These rows are not compared with those
        above.
        """,
}
COSTS = " Decision: median at batch 1. Peak RSS: over an empty process."
SUMMARY = "Success with its interval (one checkpoint of each, one data set). {splits}."
SUMMARY_SPLIT = "{split}: {policies}"


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Ask for the policies at 30 demonstrations on every split; then more baselines."""
    rows = [row(policy, preset) for policy in ROWS]
    more = [row("bc_gmm", preset)]
    if preset == "paper":  # `act` itself has the ensemble, and the recurrent form is trained until it fits
        more.append(row("bc_rnn_gmm", preset))
    else:
        more.append(row("act", preset, "act_ensemble", temporal_ensemble=True, action_horizon=1))
    return [
        make_sweep("main-table", rows, [evaluation(split) for split in SPLITS]),
        make_sweep("more-baselines", more, [evaluation(split) for split in MORE_SPLITS]),
    ]


def report(run: ExperimentRun) -> Report:
    """Report the main table, success out of distribution, costs, and more baselines."""
    rows = label_rows(run, ROWS)
    found = matrix(run, rows, {split: clean(split) for split in SPLITS})
    recalls = {name: pooled(run, name, trajectory_recall) for name in (*rows, *label_rows(run, MORE))}
    costs, ratios = measures_frame(run.measures()), ratios_table(run.measures())
    beyond = {split: clean(split) for split in ("uniform", *OUT_OF_DISTRIBUTION)}
    sections = (
        Section(
            "The main table",
            prose(METHOD, n=N, episodes=EPISODES),
            {
                "main": _main("Main table", found, (*SHOWN, "uniform"), recalls, costs, ratios),
                "costs": _costs(costs, rows),
                RECALLS: recalls_table({trajectory_recall.__name__: recalls}),
            },
            ("latency_memory",),
        ),
        Section("First lookups", prose(LOOKUPS), {"lookups": _lookups(run)}),
        Section(
            "Beyond what was demonstrated",
            BEYOND,
            {"out_of_distribution": matrix_table("Success between and beyond", matrix(run, rows, beyond))},
            ("success",),
        ),
        Section("More baselines", prose(BASELINES[run.preset]), {"more_baselines": _more(run, recalls, costs, ratios)}),
    )
    return Report(_summary(found), sections, _reported(found, recalls, costs, ratios.data))


def _lookups(run: ExperimentRun) -> Table:
    """Tabulate how often the first lookup is right, and how lookups fail on `recall`."""
    episodes = run.episodes()
    own = episodes[episodes["label"].isin(ROWS)]
    return lookups_table(own, run.decisions(), DemonstrationEntry(n=COLLECTED))


def figures(tables: Tables) -> Figures:
    """Draw success by split, and time and memory of the main table's policies."""
    title = f"Lift, {N} demonstrations: success by split"
    return drawn(
        success=lambda: dot_plot(title, pd.concat([_shown_rates(tables["main"]), tables["out_of_distribution"]])),
        latency_memory=lambda: _cost_figure(tables),
    )


def _shown_rates(main: pd.DataFrame) -> pd.DataFrame:
    """Return the rates that only the main table has, read from its texts."""
    texts = [(row["policy"], split, str(row[split])) for _, row in main.iterrows() for split in SHOWN]
    rates = [(*place, *rate_of_text(text), not text.endswith(STAR)) for *place, text in texts]
    return pd.DataFrame(rates, columns=["policy", "column", "rate", "low", "high", COLUMN])


def _costs(costs: pd.DataFrame, labels: Iterable[str]) -> Table:
    """Tabulate what the figure of time and memory shows; it is a CSV alone."""
    own = costs[costs["label"].isin(list(labels)) & (costs["n"] == N)]
    held = own["weights_and_table_bytes"].astype(float) * MEGABYTES
    times = {name: own[f"latency_{name}_s"] * MILLISECONDS for name in ("p50", "p99")}
    data = pd.DataFrame({"policy": own["label"], "ms": times["p50"], "p99_ms": times["p99"], "mb": held})
    return Table("Costs", data, (), "Costs: median and 99th percentile of a decision, weights and table.")


def _cost_figure(tables: Tables) -> Figure | None:
    """Draw time and memory; None if none was measured.

    Reports of before have no table of costs, but the median and the bytes in `main`.
    """
    if "costs" in tables:
        found = tables["costs"]
    else:
        names = {"decision, ms": "ms", "weights + table, MB": "mb"}
        found = tables["main"].rename(columns=names).assign(p99_ms=float("nan"))
    found = with_costs(found.astype({"ms": float, "mb": float}))
    if found.empty:
        return None
    shown = found.assign(label=found["policy"], task="", setting="", images="", preset="")
    with styled():
        return costs_figure(shown, policy_styles(found["policy"]))


def _more(run: ExperimentRun, recalls: Mapping[str, Rate], costs: pd.DataFrame, ratios: Table) -> Table:
    """Tabulate the baselines that are not in the main table, nor compared with it."""
    found = matrix(run, label_rows(run, MORE), {split: clean(split) for split in MORE_SPLITS})
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
    """Tabulate success on `splits`, trajectory recall, time and memory.

    Time and memory also stand as a ratio to the diffusion policy's.
    """
    names = list(found.rows)
    texts = {"policy": [marked(name, name) for name in names]}
    for split in splits:
        texts[split] = [found.text(name, split) for name in names]
    texts["trajectory recall"] = [rate_text(recalls[name]) for name in names]
    texts["decision, ms"] = [cost_text(costs, name, "latency_p50_s", MILLISECONDS) for name in names]
    texts["time / diffusion's"] = [_ratio(ratios.data, name, "time") for name in names]
    texts["weights + table, MB"] = [cost_text(costs, name, "weights_and_table_bytes", MEGABYTES) for name in names]
    texts["memory / diffusion's"] = [_ratio(ratios.data, name, "weights_and_table") for name in names]
    texts["on disk, MB"] = [cost_text(costs, name, "disk_bytes", MEGABYTES) for name in names]
    texts["peak RSS, MB"] = [cost_text(costs, name, "peak_rss_bytes", MEGABYTES) for name in names]
    data = pd.DataFrame({**texts, "policy": names})
    return frame_table(title, data, texts, note + without_intervals(recalls[name] for name in names) + COSTS)


def _ratio(ratios: pd.DataFrame, label: str, column: str) -> str:
    own = ratios.loc[(ratios["label"] == label) & (ratios["n"] == N), column].dropna()
    return significant(float(own.iloc[0]), 2) if len(own) else ""


def _summary(found: Matrix) -> str:
    measured = {split: [n for n in found.rows if found.rate(n, split).episodes] for split in ("recall", "uniform")}
    told = {s: [f"{n} {rate_text(found.rate(n, s), counts=False)}" for n in own] for s, own in measured.items() if own}
    parts = [prose(SUMMARY_SPLIT, split=split, policies=", ".join(texts)) for split, texts in told.items()]
    return prose(SUMMARY, splits="; ".join(parts)) if parts else ""


def _reported(
    found: Matrix, recalls: Mapping[str, Rate], costs: pd.DataFrame, ratios: pd.DataFrame
) -> tuple[Reported, ...]:
    """Set the paper's numbers beside ours; `recall` is closest to its test."""
    paper = {
        "kdtree": ("100 %", "63.3 %", ".09 s"),
        "diffusion": ("100 %", "100 %", "2.65 s"),
        "alt": ("100 %", "100 %", ".009 s"),
    }
    rows = []
    for name, (recall, success, seconds) in paper.items():
        there = name in found.rows
        milliseconds = cost_text(costs, name, "latency_p50_s", MILLISECONDS)
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
    figures=figures,
    sweeps=sweeps,
    reads_decisions=True,
)
