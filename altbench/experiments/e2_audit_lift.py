"""E2: the memorisation audit of the policies on Lift, in the paper's five cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from altbench.audit.calibration import calibrated_table
from altbench.audit.cases import CASES, evaluations, summary_of
from altbench.audit.figures import distribution, similarity_bars
from altbench.audit.tables import audit_table, score
from altbench.core.words import listed
from altbench.experiments.shared import expert as expert_control
from altbench.experiments.shared.audited import POSITIONS, SIMILARITY, audit
from altbench.experiments.shared.audits import (
    Gap,
    episodes_table,
    highest,
    paired_gap,
    published_styles,
    similarity_table,
    ways_table,
)
from altbench.experiments.shared.experiment import Experiment, Say
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.expert import EXPERT
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.limits import SIZES, chosen_on
from altbench.experiments.shared.sections import Report, Reported, Section
from altbench.experiments.shared.sweeps import EPISODES, N, Preset, make_sweep, row
from altbench.experiments.shared.texts import percent, prose
from altbench.report.table import Table
from altbench.stats.trajectories import find_distance
from altbench.sweeps.spec import SweepSpec

POLICIES = ("alt", "alt_plus", "kdtree", "open_loop", "diffusion", "act", "bc")
"""The rows of the audit."""
SHOWN = (*POLICIES, EXPERT)
PAPER = {
    "alt": (1.0, 1.0, 1.0, 1.0, 1.0),
    "diffusion": (0.935, 0.837, 0.690, 0.838, 0.875),
    "act": (0.465, 0.278, 0.406, 0.428, 0.355),
}
"""Highest S of each case, in the order of the cases, as reported.

GR00T-N1.5 is not part of this bench.
"""
SECOND_HAND = ("alt",)
"""Rows of `PAPER` that are known from notes on the paper alone."""
RANKED = ("diffusion", "act", "bc")
"""The first is compared with the others.

The paper says that a diffusion policy recalls more than ACT; we also ask about
behaviour cloning.
"""

METHOD = """
    Lift, {n} demonstrations, one on each pose of the grid; {episodes} episodes per
    case, the same for all policies. Cases: {cases}. Actions are absolute poses, so that
    noise in the arm's start cancels. A policy that blindly plays the right
    demonstration (`open_loop`) therefore shows how high S can be if the arm starts
    elsewhere than in the demonstration. `{expert}` is the control: the scripted expert
    on the same episodes, with a newly drawn speed and approach. It has seen no
    demonstration and looks at no image.
    """
CALIBRATED = """
    A motion comes near a demonstration when it does the same thing from nearly the same
    place. An independent expert tells how near: it is the held-out sample that a test
    for copying needs. A policy that copies is nearer than the expert, and most of its
    episodes pass a threshold that 5 % of the expert's pass. `open_loop` is the positive
    control, `expert` the negative one.
    """
CALIBRATED_FEW = """
    One checkpoint per policy and one set of demonstrations. {tuned} `diffusion` has
    {diffusion}; the paper's has 278 million. `act` sees no pose of the arm and predicts chunks of 8. Whole episodes
    are compared; the paper's claim is about chunks of actions.
    """
RANKING = "- {case}: by highest S {by_highest}; by mean S {by_mean}"
RANKING_GAPS = """
    On the same episodes in distribution, the differences of mean S with 95 % intervals
    over initial poses: {gaps}.
    """
CONTROL = """
    The expert recalls nothing. It still comes near a demonstration when it does the
    same thing from nearly the same place: a high S alone is no proof of recall.
    Evidence of recall is how much higher a policy's S is than the expert's on the same
    episodes. The expert varies less than people do, whose own S may be lower.
    Differences of mean S with 95 % intervals over initial poses:

    {lines}
    """
CONTROL_LINE = "- {case}: the expert's highest S {highest}, mean {mean}; {gaps}"
CONTROL_MISSING = "The expert has not played these episodes yet."
BARS = "Above: the episode with the highest S, which is the paper's number. Below: the median episode."
SUMMARY_CALIBRATED = """
    Memorised, in distribution, at the threshold that 5 % of the expert's episodes pass:
    {shares} (one checkpoint of each, one data set; diffusion has {diffusion}).
    """
SUMMARY_RANKING = "Differences of mean S in distribution: {gaps}; the paper ranks diffusion above ACT."
SUMMARY_CONTROL = """
    S alone is no sign of recall: the expert, which recalls nothing, has a highest S of
    {highest} in distribution.
    """


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Ask for the policies at 30 demonstrations, in the five cases."""
    rows = [row(policy, preset) for policy in POLICIES]
    return [make_sweep("audit-lift", rows, evaluations(CASES, EPISODES))]


def report(run: ExperimentRun) -> Report:
    """Report S by policy and case, the ranking, and other ways of comparing."""
    found = audit(run)
    frame = found.positions
    if frame.empty:
        return Report("", (), _reported(frame))
    calibrated = calibrated_table(frame, find_distance(POSITIONS.distance), POSITIONS.source)
    sections = (
        Section("Nearer to a demonstration than an expert", _calibrated_text(run), {"calibrated": calibrated}),
        Section("S, as the paper has it", _method(), _tables(frame), ("distribution",)),
        Section("The ranking", _ranking(frame), {}),
        Section("What S does not say", _control(frame)),
        Section(
            "One episode beside all demonstrations",
            BARS,
            {SIMILARITY: similarity_table(found.similarity)},
            (SIMILARITY,),
        ),
        Section("The way of comparing", "", {"ways": ways_table(found.by_way, ["label", "case"], ["policy", "case"])}),
    )
    return Report(_summary(frame, calibrated, run.preset), sections, _reported(frame), found.missing, found.frames())


def compute(run: ExperimentRun, say: Say) -> None:
    """Let the expert play the audited episodes."""
    expert_control.play(run, say)


def _calibrated_text(run: ExperimentRun) -> str:
    few = prose(CALIBRATED_FEW, tuned=chosen_on(run.data_seeds), diffusion=_size(run.preset))
    return f"{prose(CALIBRATED)} {few}"


def _size(preset: Preset) -> str:
    return f"{SIZES[preset]} parameters"


def _tables(frame: pd.DataFrame) -> dict[str, Table]:
    table = audit_table(frame, find_distance(POSITIONS.distance), POSITIONS.source)
    return {"audit": table, "episodes": episodes_table(frame)}


def figures(tables: Tables) -> Figures:
    """Draw S of every episode, and one episode of each policy beside all demonstrations."""
    title = f"Lift, N = {N}"
    return drawn(
        distribution=lambda: _distribution(tables["episodes"], title),
        similarity=lambda: similarity_bars(tables[SIMILARITY], f"{title}, in distribution", "label"),
    )


def _distribution(frame: pd.DataFrame, title: str) -> Figure:
    return distribution(frame, f"{title}: S of each episode, by case", published_styles(frame))


def _method() -> str:
    cases = ", ".join(f"{case.title} (`{case.column}`)" for case in CASES)
    return prose(METHOD, n=N, episodes=EPISODES, cases=cases, expert=EXPERT)


def _gaps(frame: pd.DataFrame) -> list[Gap]:
    """Compare diffusion with the other learned policies, in distribution."""
    own = frame[frame["case"] == CASES[0].name]
    found = [paired_gap(own, RANKED[0], other) for other in RANKED[1:]]
    return [gap for gap in found if gap is not None]


def _ranking(frame: pd.DataFrame) -> str:
    lines = []
    for case in CASES:
        own = frame[frame["case"] == case.name]
        found = {label: summary_of(own[own["label"] == label]) for label in SHOWN}
        there = {label: one for label, one in found.items() if one.n}
        if there:
            by_highest = _order({label: one.highest for label, one in there.items()})
            by_mean = _order({label: one.mean for label, one in there.items()})
            lines.append(prose(RANKING, case=case.title, by_highest=by_highest, by_mean=by_mean))
    gaps = "; ".join(gap.text for gap in _gaps(frame))
    return "\n".join(lines) + ("\n\n" + prose(RANKING_GAPS, gaps=gaps) if gaps else "")


def _control(frame: pd.DataFrame) -> str:
    """Compare the policies' S with the expert's, case by case."""
    lines = []
    for case in CASES:
        own = frame[frame["case"] == case.name]
        found = summary_of(own[own["label"] == EXPERT])
        gaps = [paired_gap(own, label, EXPERT) for label in POLICIES]
        if found.n:
            numbers = {"highest": score(found.highest), "mean": score(found.mean, 2)}
            texts = "; ".join(gap.text for gap in gaps if gap is not None)
            lines.append(prose(CONTROL_LINE, case=case.title, **numbers, gaps=texts))
    return prose(CONTROL, lines="\n".join(lines)) if lines else CONTROL_MISSING


def _order(values: Mapping[str, float | None]) -> str:
    """Write labels with their values, the highest first."""
    labels = sorted(values, key=lambda label: -(values[label] or 0.0))
    return " > ".join(f"{label} {score(values[label], 2)}" for label in labels)


def _summary(frame: pd.DataFrame, calibrated: Table, preset: Preset) -> str:
    """Say how much is memorised, how S differs between policies, and the expert's S."""
    gaps = "; ".join(gap.text for gap in _gaps(frame))
    own = frame[(frame["case"] == CASES[0].name) & (frame["label"] == EXPERT)]
    parts = [prose(SUMMARY_RANKING, gaps=gaps)] if gaps else []
    parts += [prose(SUMMARY_CONTROL, highest=highest(own))] if len(own) else []
    return " ".join([*_shares(calibrated.data, preset), *parts])


def _shares(data: pd.DataFrame, preset: Preset) -> list[str]:
    """Write the memorised share of each policy in distribution, the largest first."""
    own = data[(data["case"] == CASES[0].name) & data["rate"].notna() & (data["label"] != EXPERT)]
    ranked = own.sort_values("rate", ascending=False, kind="stable")
    shares = [f"{label} {percent(rate)}" for label, rate in zip(ranked["label"], ranked["rate"], strict=True)]
    return [prose(SUMMARY_CALIBRATED, shares=listed(shares), diffusion=_size(preset))] if shares else []


def _reported(frame: pd.DataFrame) -> tuple[Reported, ...]:
    """Set the paper's numbers beside ours, case by case, as the paper ranks policies."""
    return tuple(
        Reported(
            f"highest S, {case.title}: {label}",
            f"{values[i]:.3f}",
            highest(frame, case, label=label),
            second_hand=label in SECOND_HAND,
        )
        for i, case in enumerate(CASES)
        for label, values in PAPER.items()
    )


EXPERIMENT = Experiment(
    id="E2",
    name="audit-lift",
    title="Memorisation audit on Lift",
    question="At demonstrated poses, between and beyond them: does a policy generate its motion, or recall a demonstration?",
    report=report,
    figures=figures,
    sweeps=sweeps,
    compute=compute,
)
