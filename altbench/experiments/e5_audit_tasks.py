"""E5: the memorisation audit on the longer tasks, of positions and of actions."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from altbench.audit.calibration import calibrated_table
from altbench.audit.cases import CASES, evaluations
from altbench.audit.figures import MEDIAN_S, distribution, similarity_bars
from altbench.audit.tables import audit_table
from altbench.core.words import listed
from altbench.experiments.shared import expert as expert_control
from altbench.experiments.shared.audited import ACTIONS, POSITIONS, SIMILARITY, audit
from altbench.experiments.shared.audits import (
    episodes_table,
    highest,
    published_styles,
    similarity_table,
    ways_table,
)
from altbench.experiments.shared.experiment import Experiment, Say
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.expert import EXPERT
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.sections import Report, Reported, Section
from altbench.experiments.shared.sweeps import EPISODES, N, Preset, make_sweep, row
from altbench.experiments.shared.texts import prose
from altbench.stats.trajectories import find_distance
from altbench.sweeps.spec import SweepSpec

TASKS = ("Can", "Square", "ToolHang", "Transport")
POLICIES = {"small": ("diffusion", "alt"), "paper": ("diffusion", "bc", "alt")}
SMALL_EPISODES = 25
"""Episodes of a case at `small`, which has one case.

An episode of these tasks takes five to fifteen seconds of a core.
"""
PAPER = {"ToolHang": "0.962", "Transport": "0.965"}
"""Highest S of a diffusion policy on images, from notes on the paper.

Its demonstrations are people's, ours an expert's. The paper has S of observations and
of actions; the notes do not say which of the two these are.
"""

METHOD = """
    {tasks}, {n} demonstrations each. Transport has two arms; their positions stand side
    by side. The paper's demonstrations are people's (robomimic). These are a scripted
    expert's, one on each pose of the task's grid. `{expert}` is the control: that
    expert on the same episodes, with a newly drawn speed and approach.
    """
BARS = "For each policy and task, the episode with the median S, in distribution."
SUMMARY = "The diffusion policy's highest S in distribution: {tasks}."
SUMMARY_CONTROL = " (the expert, which recalls nothing: {highest})"


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Ask for a sweep per task.

    If the demonstrations of one task cannot be made, the other tasks still run.
    """
    rows = [row(policy, preset) for policy in POLICIES[preset]]
    columns = evaluations(CASES[:1], SMALL_EPISODES) if preset == "small" else evaluations(CASES, EPISODES)
    return [make_sweep(f"audit-{task.lower()}", rows, columns, tasks=(task,), collected=N) for task in TASKS]


def report(run: ExperimentRun) -> Report:
    """Report S by task, policy and case."""
    found = audit(run)
    frame, actions = found.positions, found.by_way[ACTIONS.title]
    if frame.empty:
        return Report("", (), _reported(frame, actions))
    calibrated = calibrated_table(frame, find_distance(POSITIONS.distance), POSITIONS.source)
    table = audit_table(frame, find_distance(POSITIONS.distance), POSITIONS.source)
    ways = ways_table(found.by_way, ["task", "label", "case"], ["task", "policy", "case"])
    sections = (
        Section(
            "S by task",
            prose(METHOD, tasks=listed(TASKS), n=N, expert=EXPERT),
            {"calibrated": calibrated, "audit": table, "episodes": episodes_table(frame)},
            ("distribution",),
        ),
        Section(
            "One episode beside all demonstrations",
            BARS,
            {SIMILARITY: similarity_table(found.similarity)},
            (SIMILARITY,),
        ),
        Section("The arm's positions, and its commanded positions", "", {"ways": ways}),
    )
    return Report(_summary(frame), sections, _reported(frame, actions), found.missing, found.frames())


def compute(run: ExperimentRun, say: Say) -> None:
    """Let the experts play the audited episodes."""
    expert_control.play(run, say)


def figures(tables: Tables) -> Figures:
    """Draw S of every episode by task, and the median episodes beside all demonstrations."""
    return drawn(distribution=lambda: _distribution(tables["episodes"]), similarity=lambda: _similarity(tables))


def _distribution(frame: pd.DataFrame) -> Figure:
    own = frame[frame["case"] == CASES[0].name]
    return distribution(own, f"N = {N}, {CASES[0].title}: S of each episode, by task", published_styles(own), "task")


def _similarity(tables: Tables) -> Figure:
    own = tables[SIMILARITY]
    return similarity_bars(own[own["which"] == MEDIAN_S], f"N = {N}, the episode with the median S", "label", "task")


def _summary(frame: pd.DataFrame) -> str:
    """Write the diffusion policy's highest S in distribution, task by task."""
    found = {task: highest(frame, CASES[0], task=task, label="diffusion") for task in TASKS}
    control = {task: highest(frame, CASES[0], task=task, label=EXPERT) for task in TASKS}
    there = [
        f"{task} {text}" + (SUMMARY_CONTROL.format(highest=control[task]) if control[task] else "")
        for task, text in found.items()
        if text
    ]
    return prose(SUMMARY, tasks="; ".join(there)) if there else ""


def _reported(positions: pd.DataFrame, actions: pd.DataFrame) -> tuple[Reported, ...]:
    """Set the paper's numbers beside ours, a row per task, those of the paper first.

    Ours are of the arm's positions and of its commanded actions.
    """
    rows = []
    for task in sorted(TASKS, key=lambda task: task not in PAPER):
        both = {"positions": positions, "actions": actions}
        ours = {name: highest(frame, CASES[0], task=task, label="diffusion") for name, frame in both.items()}
        text = "; ".join(f"{name} {found}" for name, found in ours.items() if found)
        rows.append(Reported(f"{task}, diffusion: highest S", PAPER.get(task, ""), text, task in PAPER))
    return tuple(rows)


EXPERIMENT = Experiment(
    id="E5",
    name="audit-tasks",
    title="Memorisation audit on Can, Square, ToolHang and Transport",
    question="Does a diffusion policy also recall its demonstrations on longer tasks?",
    report=report,
    figures=figures,
    sweeps=sweeps,
    compute=compute,
)
