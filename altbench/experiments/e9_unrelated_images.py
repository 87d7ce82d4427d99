"""E9: a photograph for the camera's image: what policies execute, and what they flag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from altbench.core.words import listed
from altbench.experiments.e9_motions import CHUNKS, FALLBACK, TOPS, Fallback, Recalled, chunks, expert_chunks, fallback
from altbench.experiments.shared import expert as expert_control
from altbench.experiments.shared.experiment import Experiment, Say
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.matrix import Matrix, Where, chosen, clean, label_rows, matrix, matrix_table
from altbench.experiments.shared.recall import without_intervals
from altbench.experiments.shared.sections import Report, Reported, Section
from altbench.experiments.shared.sweeps import (
    EPISODES,
    HOLD,
    KEY,
    POLICIES,
    N,
    Preset,
    evaluation,
    make_sweep,
    row,
    that_holds,
    without_thumbnails,
)
from altbench.experiments.shared.texts import frame_table, percent, prose
from altbench.report.drawing.order import labels_in_order
from altbench.report.drawing.stacks import Stacks, draw_stacks
from altbench.report.flags import flag_rate, thumbnails_note
from altbench.report.style import styled
from altbench.report.table import Table, rate_text
from altbench.stats.chunks import LENGTH, PASSED
from altbench.stats.rates import Rate, countable, rate_of
from altbench.sweeps.spec import PerturbationEntry, SweepSpec

ROWS = (*POLICIES, "fisher")
"""The rows of every experiment, and the lookup whose flag is calibrated."""
PHOTOGRAPH = "photograph"
SEVERITY = 5
"""Severity of the photograph: at 5 nothing is left of the camera's image."""
SHOWN = (*ROWS, HOLD, KEY)
"""The rows of the tables, in their order."""
METHOD = """
    Lift, {n} demonstrations, split `recall`, {episodes} episodes. Each camera shows an
    unrelated photograph, one of twelve, for the whole episode. Each episode is assigned
    to the demonstration nearest to its motion (mean position distance after
    resampling). Episodes of `recall` begin at all demonstrations equally often, so that
    a policy that sees the scene executes all of them.
    """
CHUNKS_TEXT = """
    A nearest demonstration always exists, also for a policy that does not move: read the
    table above beside its control, `{hold}`. Here the chunks of {length} commanded positions
    that a policy executes are compared with all training chunks. One is recalled if it is
    nearer to some training chunk than {passed:.0f} % of another demonstration's are, when
    each demonstration is left out in turn. Whoever repeats demonstrations has 100 %. But
    demonstrations are of different poses, and an episode of `recall` begins at a demonstrated
    one, where any good motion is near a demonstration. So read the shares beside the control
    `{expert}`: the scripted expert on the same episodes, which has seen no demonstration.
    """
HOLDING = "`{hold}` is ALT's checkpoint with another setting: it keeps its pose while its flag is raised."
WITHOUT = " `{key}` is ALT without plain thumbnails: its flag has the learned key alone."
NOTE = """
    If all {n} demonstrations were equally frequent, the entropy would be {bits:.1f}
    bits. {intervals} They take the most common demonstrations as given.
    """
INTERVALS = """
    95 % intervals, Wilson's of the effective counts: initial poses are random, and with a
    photograph also which one each camera shows (clusters of several ways).
    """
CHUNKS_NOTE = f"Chunks, their share, and the median distance to a training chunk. {INTERVALS.strip()}"
FLAGS_NOTE = """
    Empty: not measured, or the policy raises no flags. An episode is flagged if any of
    its decisions is.
    """
SUMMARY_CHUNKS = """
    Shown a photograph, these shares of the chunks that a policy executes are near a
    training chunk: {shares}.
    """
SUMMARY_FLAGS = "ALT flags {flagged}; false alarms: {false}."
REPORTED = "{count}; the two most common account for {share}"


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Ask for every policy, for ALT that holds and ALT without thumbnails, with and without the photograph."""
    rows = [row(policy, preset) for policy in ROWS]
    rows += [that_holds(preset), *without_thumbnails(preset)]
    photograph = PerturbationEntry(name=PHOTOGRAPH, severities=(SEVERITY,))
    evaluations = [evaluation("recall"), evaluation("recall", perturbations=[photograph])]
    return [make_sweep("unrelated-images", rows, evaluations)]


def report(run: ExperimentRun) -> Report:
    """Report which demonstration is executed, how often it is flagged, and success."""
    rows = label_rows(run, SHOWN)
    labels = list(rows)
    conditions: dict[str, Where] = {"camera": clean("recall"), "photograph": _photograph()}
    found = matrix(run, rows, conditions)
    fallen = {
        (label, condition): fallback(run, label, condition, where)
        for label in labels
        for condition, where in conditions.items()
    }
    recalled = {
        (label, image): chunks(run, label, image, where) for label in labels for image, where in conditions.items()
    }
    flags, expert = flag_rates(run, labels, conditions), expert_chunks(run)
    if expert:
        recalled[expert_control.EXPERT, "camera"] = expert
    sections = (
        Section(
            "Which demonstration is executed",
            prose(METHOD, n=N, episodes=EPISODES),
            {FALLBACK: _table(fallen, labels)},
            (FALLBACK,),
        ),
        Section(
            "Which chunks are recalled",
            prose(CHUNKS_TEXT, hold=HOLD, expert=expert_control.EXPERT, length=LENGTH, passed=100 * PASSED),
            {CHUNKS: _chunk_table(recalled)},
        ),
        Section(
            "Flags, and success when a policy stops on its own flag",
            prose(HOLDING + (WITHOUT if KEY in rows else ""), hold=HOLD, key=KEY),
            {"flags": _flag_table(found, flags, thumbnails_note(run.episodes()))},
        ),
        Section("Success", "", {"success": matrix_table("Success with a photograph", found)}),
    )
    missing = () if expert else expert_control.missing(run)
    return Report(_summary(recalled, flags), sections, _reported(fallen, flags), missing)


def compute(run: ExperimentRun, say: Say) -> None:
    """Let the expert play the episodes with the camera's image."""
    expert_control.play(run, say)


def _chunk_table(found: Mapping[tuple[str, str], Recalled | None]) -> Table:
    """Tabulate the share of recalled chunks and their distances, by policy and image."""
    rows: list[dict[str, Any]] = []
    texts: dict[str, list[str]] = {
        head: [] for head in ("policy", "image", "recalled chunks", "distance, mm", "threshold, mm")
    }
    for (label, image), known in found.items():
        rate, median, threshold = known or (rate_of(0, 0), None, None)
        numbers = {"recalled": rate.successes, "chunks": rate.episodes, "rate": rate.value}
        numbers |= {"pose_low": rate.low, "pose_high": rate.high}
        rows.append({"policy": label, "image": image, **numbers, "median_mm": median, "threshold_mm": threshold})
        millimetres = ["" if value is None else f"{value:.1f}" for value in (median, threshold)]
        for head, value in zip(texts, (label, image, rate_text(rate), *millimetres), strict=True):
            texts[head].append(value)
    note = prose(CHUNKS_NOTE) + without_intervals(known[0] for known in found.values() if known)
    return frame_table("Recalled chunks", pd.DataFrame(rows), texts, note, names=2)


def _photograph() -> Where:
    return {"split": "recall", "perturbation": PHOTOGRAPH, "severity": SEVERITY}


def flag_rates(
    run: ExperimentRun, labels: Sequence[str], conditions: Mapping[str, Where]
) -> dict[tuple[str, str], Rate]:
    """Return flagged episodes by row and condition; empty if a policy raises no flags."""
    # `flag_rate` counts every episode that it gets, also one lost to the machine.
    frame = countable(run.episodes())
    return {
        (label, condition): flag_rate(chosen(frame, {**where, "label": label}))
        for label in labels
        for condition, where in conditions.items()
    }


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
    tops = [top for found in fallen.values() if found for top in found.tops]
    note = prose(NOTE, n=N, bits=np.log2(N), intervals=prose(INTERVALS)) + without_intervals(tops)
    return frame_table("Which demonstration is executed", pd.DataFrame(rows), texts, note, names=2)


_HEADS = ("policy", "image", "episodes", "demonstrations", "the most common", "the two most common", "entropy, bits")


_COLUMNS = (
    *("episodes", "demonstrations", *TOPS, "entropy_bits"),
    *(f"{top}_{end}" for top in TOPS for end in ("low", "high")),
)


def _numbers(found: Fallback | None) -> dict[str, Any]:
    if found is None:
        return dict.fromkeys(_COLUMNS)
    values = (found.episodes, found.demonstrations, *(top.value for top in found.tops), found.entropy)
    limits = (limit for top in found.tops for limit in (top.low, top.high))
    return dict(zip(_COLUMNS, (*values, *limits), strict=True))


def _texts(found: Fallback | None) -> list[str]:
    if found is None:
        return [""] * 5
    tops = [rate_text(top, counts=False) for top in found.tops]
    return [str(found.episodes), str(found.demonstrations), *tops, f"{found.entropy:.1f}"]


def _flag_table(found: Matrix, flags: Mapping[tuple[str, str], Rate], thumbnails: str) -> Table:
    texts = {
        "policy": list(found.rows),
        "flagged, camera (false alarms)": [rate_text(flags[label, "camera"]) for label in found.rows],
        "flagged, photograph": [rate_text(flags[label, "photograph"]) for label in found.rows],
        "success, camera": [found.text(label, "camera") for label in found.rows],
        "success, photograph": [found.text(label, "photograph") for label in found.rows],
    }
    return frame_table("Flags and success", pd.DataFrame(texts), texts, prose(FLAGS_NOTE) + thumbnails)


def figures(tables: Tables) -> Figures:
    """Draw how often the most common demonstrations are executed."""
    return drawn(fallback=lambda: draw(tables[FALLBACK]))


def draw(data: pd.DataFrame) -> Figure | None:
    """Draw the share of episodes of the two most common demonstrations, and of all others.

    A row per policy; one panel has the camera's image, the other the photograph. None
    without any record.
    """
    known = data.dropna(subset=["top1"])
    if known.empty:
        return None
    rows = {label: label for label in labels_in_order(known["policy"])}
    parts = ("the most common", "the second", "all others")
    titles = {"camera": "The camera's image", "photograph": "A photograph instead"}
    panels = [Stacks(titles[image], parts, _shares(known[known["image"] == image])) for image in titles]
    title = "Lift, recall: the demonstration that an episode's motion is nearest to"
    with styled():
        return draw_stacks(title, rows, panels, "share of episodes")


def _shares(data: pd.DataFrame) -> dict[str, list[float]]:
    """Return by policy the shares of the first, the second and all other demonstrations."""
    tops = zip(data["policy"], data["top1"], data["top2"], strict=True)
    return {label: [float(one), float(two - one), float(1 - two)] for label, one, two in tops}


def _summary(recalled: Mapping[tuple[str, str], Recalled | None], flags: Mapping[tuple[str, str], Rate]) -> str:
    """Say how many chunks each policy recalls under the photograph, and what ALT flags."""
    rates = {label: found[0].value for (label, image), found in recalled.items() if image == "photograph" and found}
    shares = listed([f"{label} {percent(rate)}" for label, rate in rates.items() if rate is not None])
    nothing = rate_of(0, 0)
    flagged, false = (rate_text(flags.get(("alt", image), nothing)) for image in ("photograph", "camera"))
    parts = [prose(SUMMARY_CHUNKS, shares=shares)] if shares else []
    parts += [prose(SUMMARY_FLAGS, flagged=flagged, false=false or "(not measured)")] if flagged else []
    return " ".join(parts)


def _reported(
    fallen: Mapping[tuple[str, str], Fallback | None], flags: Mapping[tuple[str, str], Rate]
) -> tuple[Reported, ...]:
    diffusion = fallen.get(("diffusion", "photograph"))
    ours = ""
    if diffusion is not None:
        share = rate_text(diffusion.tops[1], counts=False)
        ours = prose(REPORTED, count=diffusion.demonstrations, share=share)
    alt = flags.get(("alt", "photograph"))
    return (
        Reported("diffusion: training trajectories fallen back to", "one or two", ours),
        Reported("alt: flags unrelated photographs", "yes", rate_text(alt) if alt else ""),
    )


EXPERIMENT = Experiment(
    id="E9",
    name="unrelated-images",
    title="Unrelated photographs in place of the camera's image",
    question="Shown an image that it has never seen, does a policy fall back to a training trajectory, and does it flag it?",
    report=report,
    figures=figures,
    sweeps=sweeps,
    compute=compute,
)
