"""E9: a photograph in place of the camera's image: which training trajectory comes out, and who says that it is strange."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from altbench.core import registry
from altbench.experiments.shared.experiment import Experiment, ExperimentRun, Preset, Report, Reported, Section
from altbench.experiments.shared.matrix import Matrix, Where, cells_of, chosen, clean, matrix, matrix_table
from altbench.experiments.shared.sweeps import EPISODES, POLICIES, N, evaluation, make_sweep, row
from altbench.experiments.shared.texts import frame_table, listed, prose, rate_text
from altbench.report.style import headline, styled
from altbench.report.table import Table
from altbench.rollout.records import NOT_COUNTED
from altbench.stats.memorisation import TrainingSet
from altbench.stats.rates import Rate, countable, rate_of
from altbench.stats.trajectories import demonstration_trajectory, episode_trajectory, find_distance
from altbench.sweeps.plan import Cell
from altbench.sweeps.spec import PerturbationEntry, SweepSpec

PHOTOGRAPH = "photograph"
SEVERITY = 5
"""At 5 nothing is left of the camera's image."""
HOLD = "alt-hold"
FEW = 0.5
"""Share of the episodes that one demonstration must account for (lower end of the interval), to be fallen back to."""

METHOD = """
    Lift, {n} demonstrations, split `recall`, {episodes} episodes: each camera shows an unrelated photograph, one of twelve,
    for the whole episode. For each episode, the demonstration nearest to its motion (mean position distance after
    resampling). Episodes of `recall` begin at all demonstrations equally often, so that a policy that sees brings out all
    of them.
    """
HOLDING = "`{hold}` is ALT's checkpoint with another setting: it keeps its pose while its flag is up."
NOTE = "With {n} demonstrations, equal shares of all would have an entropy of {bits:.1f} bits. Wilson 95 % intervals."
FLAGS_NOTE = "Empty: not measured, or the policy raises no flags. An episode is flagged where any of its decisions is."
SUMMARY = "Shown a photograph: {policies} mostly {repeat} one demonstration; ALT flags {flagged}, false alarms {false}."
REPORTED = "{count}; the two most common make {share}"


@dataclass(frozen=True)
class Fallback:
    """Which demonstrations the motions of a cell's episodes are nearest to: `counts` by number, most common first.

    `entropy`: of that distribution, in bits; log2 of the number of demonstrations where all come out equally often.
    """

    counts: tuple[tuple[int, int], ...]
    entropy: float

    @property
    def total(self) -> int:
        """Episodes."""
        return sum(count for _, count in self.counts)

    def top(self, k: int) -> Rate:
        """Episodes that the `k` most common demonstrations account for."""
        return rate_of(sum(count for _, count in self.counts[:k]), self.total)


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Every policy, and ALT that holds when it flags, with and without the photograph."""
    rows = [*(row(policy, preset) for policy in POLICIES), row("alt", preset, label=HOLD, when_ood="hold")]
    photograph = PerturbationEntry(name=PHOTOGRAPH, severities=(SEVERITY,))
    evaluations = [evaluation("recall"), evaluation("recall", perturbations=[photograph])]
    return [make_sweep("unrelated-images", rows, evaluations)]


def report(run: ExperimentRun) -> Report:
    """What comes out, how often it is flagged, and what that does to success."""
    labels = [label for label in (*POLICIES, HOLD) if cells_of(run, {"label": label})]
    conditions: dict[str, Where] = {"camera": clean("recall"), "photograph": _photograph()}
    found = matrix(run, {label: {"label": label} for label in labels}, conditions)
    fallen = {
        (label, condition): fallback(run, cells_of(run, {**where, "label": label}))
        for label in labels
        for condition, where in conditions.items()
    }
    flags = flag_rates(run, labels, conditions)
    figure = draw({key: value for key, value in fallen.items() if value is not None}, labels)
    sections = (
        Section(
            "Which demonstration comes out",
            prose(METHOD, n=N, episodes=EPISODES),
            {"fallback": _table(fallen, labels)},
            {"fallback": figure} if figure else {},
        ),
        Section("Who says so, and what follows", prose(HOLDING, hold=HOLD), {"flags": _flag_table(found, flags)}),
        Section("Success", "", {"success": matrix_table("Success with a photograph", found)}),
    )
    return Report(_summary(fallen, flags), sections, _reported(fallen, flags))


def _photograph() -> Where:
    return {"split": "recall", "perturbation": PHOTOGRAPH, "severity": SEVERITY}


def fallback(run: ExperimentRun, cells: Sequence[Cell]) -> Fallback | None:
    """The nearest demonstrations to the motions of all episodes of `cells`; None where nothing was recorded."""
    nearest = [number for cell in cells if cell in run.recorded for number in _nearest(run, cell)]
    if not nearest:
        return None
    counts = tuple(sorted(Counter(nearest).items(), key=lambda item: (-item[1], item[0])))
    shares = np.array([count for _, count in counts]) / len(nearest)
    return Fallback(counts, abs(float((shares * np.log2(shares)).sum())))


def _nearest(run: ExperimentRun, cell: Cell) -> list[int]:
    """By mean position distance after resampling (`altbench.trajectories`)."""
    arms, demonstrations = registry.task(cell.checkpoint.task).arms, run.demonstrations(cell.checkpoint)
    paths = [demonstration_trajectory(d, arms) for d in demonstrations]
    known = TrainingSet(paths, [d.index for d in demonstrations], find_distance("resampled"))
    counted = [record for record in run.records(cell) if record.status not in NOT_COUNTED]
    moved = [episode_trajectory(record.trajectory, arms) for record in counted]
    return [known.audit(path).nearest for path in moved if len(path) > 1]


def flag_rates(
    run: ExperimentRun, labels: Sequence[str], conditions: Mapping[str, Where]
) -> dict[tuple[str, str], Rate]:
    """Flagged episodes by row and condition; without episodes for policies that raise no flags."""
    frame = run.episodes()
    rates = {}
    for label in labels:
        for condition, where in conditions.items():
            flags = countable(chosen(frame, {**where, "label": label}))["flagged"].dropna()
            rates[label, condition] = rate_of(int(flags.sum()), len(flags))
    return rates


def _table(fallen: Mapping[tuple[str, str], Fallback | None], labels: Sequence[str]) -> Table:
    rows: list[dict[str, Any]] = []
    texts: dict[str, list[str]] = {head: [] for head in _HEADS}
    for label in labels:
        for condition in ("camera", "photograph"):
            found = fallen[label, condition]
            rows.append({"policy": label, "image": condition, **_numbers(found)})
            values = [label, condition, *_texts(found)]
            for head, value in zip(_HEADS, values, strict=True):
                texts[head].append(value)
    note = prose(NOTE, n=N, bits=np.log2(N))
    return frame_table("Which demonstration comes out", pd.DataFrame(rows), texts, note, names=2)


_HEADS = ("policy", "image", "episodes", "demonstrations", "the most common", "the two most common", "entropy, bits")


def _numbers(found: Fallback | None) -> dict[str, Any]:
    if found is None:
        return {"episodes": None, "demonstrations": None, "top1": None, "top2": None, "entropy_bits": None}
    top = [found.top(k).value for k in (1, 2)]
    return {
        "episodes": found.total,
        "demonstrations": len(found.counts),
        "top1": top[0],
        "top2": top[1],
        "entropy_bits": found.entropy,
    }


def _texts(found: Fallback | None) -> list[str]:
    if found is None:
        return [""] * 5
    tops = [rate_text(found.top(k), counts=False) for k in (1, 2)]
    return [str(found.total), str(len(found.counts)), *tops, f"{found.entropy:.1f}"]


def _flag_table(found: Matrix, flags: Mapping[tuple[str, str], Rate]) -> Table:
    texts = {
        "policy": list(found.rows),
        "flagged, camera (false alarms)": [rate_text(flags[label, "camera"]) for label in found.rows],
        "flagged, photograph": [rate_text(flags[label, "photograph"]) for label in found.rows],
        "success, camera": [found.text(label, "camera") for label in found.rows],
        "success, photograph": [found.text(label, "photograph") for label in found.rows],
    }
    return frame_table("Flags and success", pd.DataFrame(texts), texts, FLAGS_NOTE)


def draw(fallen: Mapping[tuple[str, str], Fallback], labels: Sequence[str]) -> Figure | None:
    """Share of episodes by demonstration (columns) for each policy (rows), with the camera and with the photograph."""
    shown = [label for label in labels if any(key[0] == label for key in fallen)]
    if not shown:
        return None
    numbers = sorted({number for found in fallen.values() for number, _ in found.counts})
    with styled():
        figure = Figure(figsize=(9.5, 1.5 + 0.34 * len(shown)), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        for axis, condition in zip(axes, ("camera", "photograph"), strict=True):
            shares = np.full((len(shown), len(numbers)), np.nan)
            for i, label in enumerate(shown):
                found = fallen.get((label, condition))
                if found is not None:
                    counts = dict(found.counts)
                    shares[i] = [counts.get(number, 0) / found.total for number in numbers]
            shares = -np.sort(-shares, axis=1)
            image = axis.imshow(
                shares, aspect="auto", cmap="mako_r", norm=PowerNorm(0.5, 0, 1), interpolation="nearest"
            )
            axis.grid(visible=False)
            axis.set(title=f"the {condition}'s image" if condition == "camera" else "a photograph instead")
            axis.set(xlabel="demonstrations, most common first")
            axis.set_xticks(sorted({0, *range(9, len(numbers), 10)}), sorted({1, *range(10, len(numbers) + 1, 10)}))
        axes[0].set_yticks(range(len(shown)), shown)
        bar = figure.colorbar(image, ax=list(axes), pad=0.01, ticks=[0, 0.05, 0.25, 0.5, 1])
        bar.ax.set_yticklabels(["0", "5 %", "25 %", "50 %", "100 %"])
        bar.set_label("share of episodes")
        headline(figure, "Which demonstration an episode's motion is nearest to")
    return figure


def _summary(fallen: Mapping[tuple[str, str], Fallback | None], flags: Mapping[tuple[str, str], Rate]) -> str:
    tops = {
        label: found.top(1) for (label, image), found in fallen.items() if image == "photograph" and found is not None
    }
    if not tops:
        return ""
    stuck = [label for label, top in tops.items() if (top.low or 0.0) >= FEW and label != HOLD]
    nothing = rate_of(0, 0)
    flagged, false = (rate_text(flags.get(("alt", image), nothing)) for image in ("photograph", "camera"))
    return prose(
        SUMMARY,
        policies=listed(stuck) or "no policy",
        repeat="repeat" if len(stuck) > 1 else "repeats",
        flagged=flagged or "(not measured)",
        false=false or "(not measured)",
    )


def _reported(
    fallen: Mapping[tuple[str, str], Fallback | None], flags: Mapping[tuple[str, str], Rate]
) -> tuple[Reported, ...]:
    diffusion = fallen.get(("diffusion", "photograph"))
    ours = ""
    if diffusion is not None:
        share = rate_text(diffusion.top(2), counts=False)
        ours = prose(REPORTED, count=len(diffusion.counts), share=share)
    alt = flags.get(("alt", "photograph"))
    return (
        Reported("diffusion: training trajectories fallen back to", "one or two", ours),
        Reported("alt: flags unrelated photographs", "yes", rate_text(alt) if alt else ""),
    )


EXPERIMENT = Experiment(
    id="E9",
    name="unrelated-images",
    title="Unrelated photographs in place of the camera's image",
    question="Shown what it never saw, does a policy fall back to a training trajectory, and does it know?",
    report=report,
    sweeps=sweeps,
)
