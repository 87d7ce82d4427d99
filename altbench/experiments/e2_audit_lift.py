"""E2: the memorisation audit of the policies on Lift, in the paper's five cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from altbench.audit.cases import CASES, AuditedEpisode, evaluations, frame_of
from altbench.audit.figures import distribution, similarity_bars
from altbench.audit.tables import audit_table, score
from altbench.experiments.shared import expert as expert_control
from altbench.experiments.shared.audits import (
    POSITIONS,
    Gap,
    audited,
    episodes_table,
    frames,
    highest,
    paired_gap,
    ways_table,
)
from altbench.experiments.shared.experiment import Experiment, ExperimentRun, Preset, Report, Reported, Say, Section
from altbench.experiments.shared.expert import EXPERT
from altbench.experiments.shared.sweeps import EPISODES, N, make_sweep, row
from altbench.experiments.shared.texts import prose
from altbench.report.style import policy_styles, styled
from altbench.report.table import Table
from altbench.stats.scores import summarise
from altbench.stats.trajectories import find_distance
from altbench.sweeps.spec import SweepSpec

POLICIES = ("alt", "alt_plus", "kdtree", "open_loop", "diffusion", "act", "bc")
SHOWN = (*POLICIES, EXPERT)
PAPER = {
    "alt": (1.0, 1.0, 1.0, 1.0, 1.0),
    "diffusion": (0.935, 0.837, 0.690, 0.838, 0.875),
    "act": (0.465, 0.278, 0.406, 0.428, 0.355),
}
"""Highest S in the order of the cases, as reported; ALT's second-hand. GR00T-N1.5 is not part of this bench."""
SECOND_HAND = ("alt",)
RANKED = ("diffusion", "act", "bc")
"""A diffusion policy recalls more than ACT, says the paper; the bench asks the same of behaviour cloning."""

METHOD = """
    Lift, {n} demonstrations, one on each pose of the grid, {episodes} episodes a case, the same for all policies. Cases:
    {cases}. Absolute poses cancel the arm's starting noise, so a policy that plays the right demonstration blindly
    (`open_loop`) shows how high S can be where the arm starts elsewhere than the demonstration's did. `{expert}` is the
    control: the scripted expert on the same episodes, at a speed and approach drawn afresh, which has seen no
    demonstration and looks at no image.
    """
RANKING = "- {case}: by highest S {by_highest}; by mean S {by_mean}"
RANKING_GAPS = "The same episodes in distribution, difference of mean S with its 95 % interval: {gaps}."
CONTROL = """
    The expert recalls nothing, and still comes near a demonstration wherever it does the same thing from nearly the same
    place: a high S alone is no proof of recall. What speaks for recall is the S that a policy has beyond the expert's on
    the same episodes (it varies less than people do, whose own S may be lower); differences of mean S with 95 % intervals:

    {lines}
    """
CONTROL_LINE = "- {case}: the expert's highest S {highest}, mean {mean}; {gaps}"
CONTROL_MISSING = "The expert has not played these episodes yet."
BARS = "Above: the episode with the highest S, which the paper's number is made of; below: the median one."
SUMMARY_RANKING = "By S, {verdicts}; the paper ranks diffusion above ACT."
SUMMARY_VERDICT = "{first} {verdict} {second} (mean S in distribution {mean} apart)"
SUMMARY_CONTROL = "The expert, which recalls nothing, has {highest} there."


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """The policies, 30 demonstrations, the five cases."""
    rows = [row(policy, preset) for policy in POLICIES]
    return [make_sweep("audit-lift", rows, evaluations(CASES, EPISODES))]


def report(run: ExperimentRun) -> Report:
    """S by policy and case, the ranking, and how much the way of comparing matters."""
    episodes = audited(run, POSITIONS)
    if not episodes:
        return Report("", (), _reported(frame_of([])))
    frame = frame_of(episodes)
    sections = (
        Section("S by policy and case", _method(), _tables(frame), {"distribution": _distribution(frame)}),
        Section("The ranking", _ranking(frame), {}),
        Section("What S does not say", _control(frame)),
        Section("One episode beside all demonstrations", BARS, {}, _bars(episodes)),
        Section(
            "The way of comparing", "", {"ways": ways_table(frames(run, frame), ["label", "case"], ["policy", "case"])}
        ),
    )
    return Report(_summary(frame), sections, _reported(frame), expert_control.missing(run))


def compute(run: ExperimentRun, say: Say) -> None:
    """The expert's episodes."""
    expert_control.play(run, say)


def _tables(frame: pd.DataFrame) -> dict[str, Table]:
    table = audit_table(frame, find_distance(POSITIONS.distance), POSITIONS.source)
    return {"audit": table, "episodes": episodes_table(frame)}


def _distribution(frame: pd.DataFrame) -> Figure:
    with styled():
        return distribution(frame, f"Lift, N = {N}: S by case", policy_styles(frame["label"]))


def _bars(episodes: Sequence[AuditedEpisode]) -> dict[str, Figure]:
    """A figure per policy that has an S."""
    figures = {}
    for label in SHOWN:
        own = [one for one in episodes if one.cell.label == label]
        if any(one.s is not None for one in own):
            with styled():
                figures[f"similarity_{label}"] = similarity_bars(own, f"{label}: similarity to each demonstration")
    return figures


def _method() -> str:
    cases = ", ".join(f"{case.title} (`{case.column}`)" for case in CASES)
    return prose(METHOD, n=N, episodes=EPISODES, cases=cases, expert=EXPERT)


def _gaps(frame: pd.DataFrame) -> list[Gap]:
    """Diffusion against the other learned policies, in distribution."""
    own = frame[frame["case"] == CASES[0].name]
    found = [paired_gap(own, RANKED[0], other) for other in RANKED[1:]]
    return [gap for gap in found if gap is not None]


def _ranking(frame: pd.DataFrame) -> str:
    lines = []
    for case in CASES:
        own = frame[frame["case"] == case.name]
        found = {label: summarise(own.loc[own["label"] == label, "s"].to_list()) for label in SHOWN}
        there = {label: one for label, one in found.items() if one.n}
        if there:
            by_highest = _order({label: one.highest for label, one in there.items()})
            by_mean = _order({label: one.mean for label, one in there.items()})
            lines.append(prose(RANKING, case=case.title, by_highest=by_highest, by_mean=by_mean))
    gaps = "; ".join(gap.text for gap in _gaps(frame))
    return "\n".join(lines) + ("\n\n" + prose(RANKING_GAPS, gaps=gaps) if gaps else "")


def _control(frame: pd.DataFrame) -> str:
    """What the expert's S makes of the policies'."""
    lines = []
    for case in CASES:
        own = frame[frame["case"] == case.name]
        found = summarise(own.loc[own["label"] == EXPERT, "s"].to_list())
        gaps = [paired_gap(own, label, EXPERT) for label in POLICIES]
        if found.n:
            numbers = {"highest": score(found.highest), "mean": score(found.mean, 2)}
            texts = "; ".join(gap.text for gap in gaps if gap is not None)
            lines.append(prose(CONTROL_LINE, case=case.title, **numbers, gaps=texts))
    return prose(CONTROL, lines="\n".join(lines)) if lines else CONTROL_MISSING


def _order(values: Mapping[str, float | None]) -> str:
    """Labels with their values, the highest first."""
    labels = sorted(values, key=lambda label: -(values[label] or 0.0))
    return " > ".join(f"{label} {score(values[label], 2)}" for label in labels)


def _summary(frame: pd.DataFrame) -> str:
    """Whether the paper's order is found: diffusion recalls more than the other learned policies."""
    verdicts = "; ".join(_verdict(gap) for gap in _gaps(frame))
    own = frame[(frame["case"] == CASES[0].name) & (frame["label"] == EXPERT)]
    parts = [prose(SUMMARY_RANKING, verdicts=verdicts)] if verdicts else []
    parts += [prose(SUMMARY_CONTROL, highest=highest(own))] if len(own) else []
    return " ".join(parts)


def _verdict(gap: Gap) -> str:
    found = "recalls more than" if gap.low > 0 else "recalls less than" if gap.high < 0 else "is not told apart from"
    return prose(SUMMARY_VERDICT, first=gap.first, verdict=found, second=gap.second, mean=score(gap.mean, 2))


def _reported(frame: pd.DataFrame) -> tuple[Reported, ...]:
    """Case by case, so that the policies that the paper ranks stand below each other."""
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
    question="Does a policy generate its motion, or recall a demonstration, where it was shown, between, and beyond?",
    report=report,
    sweeps=sweeps,
    compute=compute,
)
