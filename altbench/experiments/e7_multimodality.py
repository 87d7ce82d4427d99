"""E7: whether a lookup's nearest matches come from several demonstrations of a pose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.sections import Report, Reported, Section
from altbench.experiments.shared.sweeps import EPISODES, N, Preset, evaluation, make_sweep, row
from altbench.experiments.shared.texts import frame_table, prose
from altbench.report.drawing.stacks import Stacks, draw_stacks
from altbench.report.style import styled
from altbench.report.table import Table
from altbench.stats.scores import clustered_mean
from altbench.sweeps.plan import Cell
from altbench.sweeps.spec import SweepSpec

MANY = 120
"""Demonstrations: four passes over Lift's grid, so four of each pose."""
TOP = 3
"""How many matches of a decision are looked at; ALT reports that many."""
MATCHES = "matched"
"""The file stem of the decisions that a later report reads, for episodes that were not played there."""
ORIGINS = ("same demonstration", "same pose, another demonstration", "another pose")
"""Where a match after the first comes from.

The pose is the one at which the cube stands.
"""

ORIGINS_SHORT = ("same demonstration", "same pose", "another pose")
"""`ORIGINS` as the figure's legend has them."""

METHOD = """
    ALT on `recall`: the cube stands at a demonstrated pose; {episodes} episodes. With
    {many} demonstrations each pose was shown {per_pose} times, at other speeds and from
    other starts of the arm; with {n} demonstrations, once. A decision's matches are its
    {top} nearest training frames. Several frames of one demonstration count as one
    demonstration.
    """
NOTE = """
    Means over episodes of `recall` with 95 % bootstrap intervals over initial poses.
    Followed: a decision's first match is of it.
    """
SUMMARY = """
    With {per_pose} demonstrations per pose, {share} of decisions have more than one
    demonstration among their top {top} matches; the mean is {distinct}. {same_pose:.0f}
    % of the second and third matches are of the same pose from another demonstration.
    """
REPORTED = "{distinct} of {top}; several in {several}"


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Ask for ALT on 120 demonstrations, four per pose, and on 30, one per pose."""
    return [make_sweep("multimodality", [row("alt", preset, n=(N, MANY))], [evaluation("recall", EPISODES)])]


def report(run: ExperimentRun) -> Report:
    """Report how many demonstrations a decision's top three matches come from."""
    own = pd.concat([_decisions(run, cell) for cell in run.recorded] or [pd.DataFrame()], ignore_index=True)
    told = run.published_frame(MATCHES)
    further = told[told["cell"].isin([cell.name for cell in run.from_published])] if len(told) else told
    decisions = pd.concat([own, further], ignore_index=True)
    if decisions.empty:
        return Report("", (), _reported({}))
    found = {n: _measured(decisions[decisions["n"] == n]) for n in (N, MANY) if (decisions["n"] == n).any()}
    section = Section("The top three matches", _method(), {"multimodality": _table(found)}, ("matches",))
    return Report(_summary(found), (section,), _reported(found), frames={MATCHES: decisions})


def _decisions(run: ExperimentRun, cell: Cell) -> pd.DataFrame:
    """Return one row per decision with `TOP` matches: where these come from."""
    demonstrations = run.demonstrations(cell.checkpoint)
    pose = {d.index: d.grid_index for d in demonstrations}
    rows = []
    for record in run.records(cell):
        own = demonstrations[record.episode % len(demonstrations)].grid_index
        for decision in record.decisions:
            matched = [episode for episode, _ in decision.matches[:TOP]]
            if len(matched) == TOP:
                rows.append(
                    {
                        "cell": cell.name,
                        "n": cell.checkpoint.n,
                        "episode": record.episode,
                        "pose": own,
                        "step": decision.step,
                        "first": matched[0],
                        "distinct": len(set(matched)),
                        "at_pose": sum(pose[m] == own for m in matched),
                        **{f"origin_{i}": _origin(matched[0], m, pose, own) for i, m in enumerate(matched)},
                    }
                )
    return pd.DataFrame(rows)


def _origin(first: int, match: int, pose: dict[int, int], own: int) -> str:
    if match == first:
        return ORIGINS[0]
    return ORIGINS[1] if pose[match] == pose[first] == own else ORIGINS[2]


def _measured(decisions: pd.DataFrame) -> dict[str, Any]:
    """Return means over episodes, each with its 95 % bootstrap interval over initial poses."""
    by_episode = decisions.groupby("episode")
    values = {
        "distinct": by_episode["distinct"].mean(),
        "several": (decisions["distinct"] > 1).groupby(decisions["episode"]).mean(),
        "at_pose": by_episode["at_pose"].mean() / TOP,
        "switched": by_episode["first"].nunique().astype(float),
    }
    # Episodes of a pose ask the same question: intervals resample whole poses.
    poses = by_episode["pose"].first()
    found: dict[str, Any] = {name: (float(one.mean()), *clustered_mean(one, poses)) for name, one in values.items()}
    many = [_share(decisions[["distinct"]] == k, decisions) for k in range(1, TOP + 1)]
    others = decisions[[f"origin_{i}" for i in range(1, TOP)]]
    return found | {
        "decisions": len(decisions),
        "episodes": by_episode.ngroups,
        "shares": many,
        "origins": [_share(others == origin, decisions) for origin in ORIGINS],
    }


def _share(true: pd.DataFrame, decisions: pd.DataFrame) -> float:
    """Return the share of a decision's values that are true, as a mean over episodes."""
    return float(true.mean(axis=1).groupby(decisions["episode"]).mean().mean())


def _text(value: tuple[float, float | None, float | None], percent: bool = False) -> str:
    scale, digits = (100, 0) if percent else (1, 2)
    mean, low, high = (None if v is None else f"{scale * v:.{digits}f}" for v in value)
    interval = f" [{low}, {high}]" if low is not None else ""
    return f"{mean}{' %' if percent else ''}{interval}"


def _table(found: dict[int, dict[str, Any]]) -> Table:
    data = pd.DataFrame(
        [
            {
                "n": n,
                "episodes": one["episodes"],
                "decisions": one["decisions"],
                **{name: one[name][0] for name in ("distinct", "several", "at_pose", "switched")},
                **{f"share_{k}": share for k, share in enumerate(one["shares"], start=1)},
                **{_column(origin): s for origin, s in zip(ORIGINS, one["origins"], strict=True)},
            }
            for n, one in found.items()
        ]
    )
    texts = {
        "N": [str(n) for n in found],
        "decisions (episodes)": [f"{one['decisions']} ({one['episodes']})" for one in found.values()],
        "distinct demonstrations in the top 3": [_text(one["distinct"]) for one in found.values()],
        "decisions with more than one": [_text(one["several"], percent=True) for one in found.values()],
        "matches from the cube's pose": [_text(one["at_pose"], percent=True) for one in found.values()],
        "demonstrations followed in an episode": [_text(one["switched"]) for one in found.values()],
    }
    return frame_table("Multimodality", data, texts, NOTE)


def figures(tables: Tables) -> Figures:
    """Draw where the top three matches come from."""
    return drawn(matches=lambda: draw(tables["multimodality"]))


def draw(data: pd.DataFrame) -> Figure:
    """Draw two stacked bars per N.

    Left: how many demonstrations the top three matches come from. Right: where the
    second and third come from.
    """
    rows = {str(n): f"N = {n}" for n in data["n"]}
    numbers = {str(int(row["n"])): row for _, row in data.iterrows()}
    many = {n: [float(row[f"share_{k}"]) for k in range(1, TOP + 1)] for n, row in numbers.items()}
    origins = {n: [float(row[_column(origin)]) for origin in ORIGINS] for n, row in numbers.items()}
    names = [f"{k} demonstration{'s' if k > 1 else ''}" for k in range(1, TOP + 1)]
    panels = (
        Stacks("The top three matches come from", names, many),
        Stacks("The second and third match, beside the first", ORIGINS_SHORT, origins),
    )
    title = "Lift, recall: ALT's matches with one and with several demonstrations per pose"
    with styled():
        return draw_stacks(title, rows, panels, "share, mean over episodes")


def _column(origin: str) -> str:
    return origin.replace(", ", "_").replace(" ", "_")


def _method() -> str:
    return prose(METHOD, episodes=EPISODES, many=MANY, per_pose=MANY // N, n=N, top=TOP)


def _summary(found: dict[int, dict[str, Any]]) -> str:
    many = found.get(MANY)
    if many is None:
        return ""
    return prose(
        SUMMARY,
        per_pose=MANY // N,
        share=_text(many["several"], percent=True),
        top=TOP,
        distinct=_text(many["distinct"]),
        same_pose=100 * many["origins"][1],
    )


def _reported(found: dict[int, dict[str, Any]]) -> tuple[Reported, ...]:
    many = found.get(MANY)
    ours = ""
    if many is not None:
        several = _text(many["several"], percent=True)
        ours = prose(REPORTED, distinct=_text(many["distinct"]), top=TOP, several=several)
    return (Reported(f"distinct demonstrations among the top {TOP}, {MANY} demonstrations", "several", ours),)


EXPERIMENT = Experiment(
    id="E7",
    name="multimodality",
    title="Several demonstrations per pose",
    question="With several demonstrations per position, do the nearest matches come from several of them?",
    report=report,
    figures=figures,
    sweeps=sweeps,
)
