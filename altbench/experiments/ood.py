"""The out-of-distribution flag against other detectors, and what stopping on it gains."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from altbench.experiments.ood_detected import (
    ASKED,
    DETECTED,
    SELECTED,
    Row,
    detected_rows,
    detector_table,
    selective_rows,
    selective_table,
)
from altbench.experiments.ood_figures import draw_flagged, draw_selective
from altbench.experiments.ood_scores import CONDITIONS, LATE, NEW_POSE, Fitted
from altbench.experiments.shared.arrays import read_arrays, write_arrays
from altbench.experiments.shared.detectors import DETECTORS, calibrated
from altbench.experiments.shared.embeddings import (
    embed_episodes,
    frame_keys,
    join,
    read_embedded,
    split,
    write_embedded,
)
from altbench.experiments.shared.experiment import Experiment, Say
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.matrix import (
    Where,
    cells_of,
    chosen,
    clean,
    label_rows,
    matrix,
    matrix_table,
    recorded_cells,
)
from altbench.experiments.shared.sections import Report, Section
from altbench.experiments.shared.sweeps import (
    EPISODES,
    HOLD,
    KEY,
    N,
    Preset,
    evaluation,
    make_sweep,
    row,
    that_holds,
    without_thumbnails,
)
from altbench.experiments.shared.texts import frame_table, percent, prose
from altbench.report.flags import calibrated_flags_table, flag_rate, thumbnails_note
from altbench.report.table import Table, rate_text
from altbench.stats.clustering import initial_poses
from altbench.stats.rates import countable
from altbench.sweeps.needs import CALIBRATE
from altbench.sweeps.plan import Cell, Checkpoint
from altbench.sweeps.spec import PerturbationEntry, SweepSpec

FRESH = 500
"""Unperturbed `recall` episodes: many, because the false-alarm rate is small."""
CALIBRATION = 199
"""Episodes that the calibrated threshold is set on: enough that it mostly gives 2 to 8 % false alarms."""
PERTURBATIONS = (
    PerturbationEntry(name="photograph", severities=(3, 5)),
    PerturbationEntry(name="photograph", severities=(5,), from_step=LATE),
    PerturbationEntry(name="occlusion", severities=(5,)),
)

METHOD = """
    Lift, {n} demonstrations. All detectors see the same keys: ALT's keys of the frames
    on which it decided, over {episodes} episodes per condition. {detectors}.
    """
FLAG_METHOD = """
    The flags as recorded, on {fresh} new `recall` episodes and {episodes} of each other
    condition; {thresholds}
    """
THRESHOLD = "its threshold is calibrated for {rate} false alarms per episode"
THRESHOLD_FIXED = "flags below a similarity of {gamma:g}, which is not calibrated"
FLAG_NOTE = "Episodes with any flagged decision; Wilson 95 % intervals over initial poses. Empty: not asked for."
CALIBRATED = """
    A policy's own threshold is that of a demonstration that is left out, whose object
    stands elsewhere. This one is set on {episodes} episodes of `calibrate`, which begin as
    those of `recall` do and share no draw with them. {thumbnails}
    """
THUMBNAILS = """
    {share} of `alt`'s similarity are plain grey thumbnails: what it flags, it may flag by
    these alone. `{key}` has none.
    """
HOLDING = "`{hold}` keeps its pose while its flag is raised; `alt` executes the nearest chunk nevertheless."
SELECTIVE = """
    Success if the policy refuses the strangest images before its first action: over the
    episodes that it takes on, by their share, in new poses (`uniform`).
    """
SUMMARY = "ALT flags: {conditions}."
SUMMARY_KEY = "Without thumbnails it flags: {conditions}."
SUMMARY_AREAS = "AUROC for photographs: {areas}."


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Ask for ALT that acts and for ALT that holds, unperturbed and perturbed."""
    rows = [row("alt", preset), that_holds(preset)]
    without = without_thumbnails(preset)
    keys = [entry.name for entry in without]
    evaluations = [
        evaluation(CALIBRATE, CALIBRATION, policies=["alt", *keys]),
        evaluation("recall", FRESH, policies=["alt"]),
        evaluation("recall", policies=[HOLD, *keys]),
        evaluation("uniform", policies=["alt", HOLD, *keys]),
        evaluation("recall", perturbations=PERTURBATIONS),
    ]
    rows += without
    return [make_sweep("ood", rows, evaluations)]


def compute(run: ExperimentRun, say: Say) -> None:
    """Replay ALT's recorded episodes for their keys, and embed the demonstrations."""
    for cell in _compared(run):
        path = _path(run, cell)
        if not path.is_file():
            say(f"replaying {cell.name} for its keys")
            found = embed_episodes(run, cell, EPISODES)
            if found is not None:
                write_embedded(path, found)
    for point in {cell.checkpoint.key: cell.checkpoint for cell in _compared(run)}.values():
        path, policy = _training_path(run, point), run.policy(point)
        if policy is not None and not path.is_file():
            keys, episode, _ = join([frame_keys(policy, d) for d in run.demonstrations(point)])
            write_arrays(path, keys=keys, episode=episode, every=policy.requirements.action_horizon)


def report(run: ExperimentRun) -> Report:
    """Report the detectors, ALT's flag in use, and selective success."""
    fitted = _fitted(run)
    detected, taken_on = detected_rows(run, fitted), selective_rows(run, fitted)
    rows: dict[str, Where] = {name: {"label": name} for name in ("alt", HOLD)}
    found = matrix(run, rows, CONDITIONS)
    flags = flag_table(run)
    sections = (
        Section(
            "Detectors on the same keys",
            _method(),
            {DETECTED: detector_table(detected, _thumbnails_of_alt(run))} if detected else {},
            ("flagged",) if detected else (),
        ),
        Section("ALT's flag in use", _flag_method(run), {"flags": flags}),
        Section(
            "The same scores at a threshold from episodes of its own",
            prose(CALIBRATED, episodes=CALIBRATION, thumbnails=_thumbnails(run)),
            {"calibrated": calibrated_flags_table(run.episodes(), own="flags.md")},
        ),
        Section(
            "Stopping on the flag",
            prose(HOLDING, hold=HOLD),
            {"act_or_hold": matrix_table("Success with act and with hold", found)},
        ),
        Section(
            "Selective success",
            prose(SELECTIVE),
            {SELECTED: selective_table(taken_on)} if taken_on else {},
            ("selective",) if taken_on else (),
        ),
    )
    known = {row["condition"] for row in detected}
    missing = tuple(f"keys of {name}" for name in CONDITIONS if name not in known)
    return Report(_summary(detected, flags), sections, missing=missing)


def figures(tables: Tables) -> Figures:
    """Draw what the detectors flag, and what refusing strange episodes gains."""
    return drawn(flagged=lambda: draw_flagged(tables[DETECTED]), selective=lambda: draw_selective(tables[SELECTED]))


def _compared(run: ExperimentRun) -> list[Cell]:
    """Return ALT's recorded cells under the conditions that are compared."""
    return [cell for where in CONDITIONS.values() for cell in recorded_cells(run, {**where, "label": "alt"})]


def _path(run: ExperimentRun, cell: Cell) -> Path:
    return run.own / f"cell-{cell.key}.npz"


def _training_path(run: ExperimentRun, checkpoint: Checkpoint) -> Path:
    return run.own / f"{checkpoint.folder}.npz"


def _fitted(run: ExperimentRun) -> list[Fitted]:
    """Fit every detector; empty if training keys or clean episodes are missing."""
    embedded, poses = {}, {}
    known = countable(run.episodes())
    known = known.assign(pose=initial_poses(known))
    for name, where in CONDITIONS.items():
        cells = recorded_cells(run, {**where, "label": "alt"})
        found = read_embedded(_path(run, cells[0])) if cells else None
        if found is not None:
            embedded[name] = found
            # The first ones that count were embedded.
            own = known.loc[known["key"] == cells[0].key].sort_values("episode")
            poses[name] = own["pose"].to_numpy(np.int64)[: len(found.success)]
    points = [cell.checkpoint for cell in _compared(run)]
    training = read_arrays(_training_path(run, points[0])) if points else None
    if training is None or "recall" not in embedded:
        return []
    keys, every = training["keys"], int(training["every"])
    each = split(keys, training["episode"])
    return [Fitted(d, d.fit(keys), calibrated(d, each, every, ASKED), embedded, poses) for d in DETECTORS]


# ----------------------------------------------------------------------------------------------------------- tables


def flag_table(run: ExperimentRun) -> Table:
    """Tabulate the recorded flags of ALT with and without thumbnails, with the first flagged step."""
    frame, found = run.episodes(), []
    labels = list(label_rows(run, ("alt", KEY)))
    for label, (name, where) in product(labels, CONDITIONS.items()):
        own = countable(chosen(frame, {**where, "label": label}))
        steps = own["first_flagged_step"].dropna().to_numpy(float)
        found.append((label, name, flag_rate(own), float(np.median(steps)) if len(steps) else None))
    data = pd.DataFrame(
        [(label, name, r.successes, r.episodes, r.value, r.low, r.high, step) for label, name, r, step in found],
        columns=["policy", "condition", "flagged", "episodes", "rate", "low", "high", "median_first_flagged_step"],
    )
    texts = {
        "policy": [label for label, *_ in found],
        "condition": [name for _, name, *_ in found],
        "flagged": [rate_text(rate) for *_, rate, _ in found],
        "first flagged step, median": ["" if step is None else f"{step:.0f}" for *_, step in found],
    }
    note = FLAG_NOTE + thumbnails_note(frame[frame["label"].isin(labels)])
    return frame_table("ALT's flag", data, texts, note, names=2)


def _thumbnails_of_alt(run: ExperimentRun) -> str:
    frame = run.episodes()
    return thumbnails_note(frame[frame["label"] == "alt"])


# ------------------------------------------------------------------------------------------------------------ prose


def _method() -> str:
    detectors = "; ".join(f"{d.name}: {d.what}" for d in DETECTORS)
    return prose(METHOD, n=N, episodes=EPISODES, detectors=detectors)


def _flag_method(run: ExperimentRun) -> str:
    thresholds = " ".join(f"`{cell.label}`: {_threshold(cell)}." for cell in cells_of(run, clean("recall")))
    return prose(FLAG_METHOD, fresh=FRESH, episodes=EPISODES, thresholds=thresholds).strip("; ")


def _thumbnails(run: ExperimentRun) -> str:
    """Say how much of ALT's similarity thumbnails are; empty if none."""
    shares = {cell.config.get("appearance", 0.0) for cell in run.cells if cell.label == "alt"}
    return prose(THUMBNAILS, share=percent(max(shares)), key=KEY) if shares and max(shares) else ""


def _threshold(cell: Cell) -> str:
    """Say where a row of ALT raises its flag; the presets differ in it."""
    gamma = cell.config.get("gamma", "calibrated")
    if gamma != "calibrated":
        return prose(THRESHOLD_FIXED, gamma=gamma)
    return prose(THRESHOLD, rate=percent(cell.config.get("false_alarm_rate", ASKED)))


def _summary(detected: Sequence[Row], flags: Table) -> str:
    known = flags.data.dropna(subset=["rate"])
    if known.empty:
        return ""
    parts = []
    for label, template in (("alt", SUMMARY), (KEY, SUMMARY_KEY)):
        rates = {name: rate for own, name, rate, _ in flags.blocks[0].rows if own == label}
        told = [f"{name} {rates[name]}" for name in ("recall", "photograph", NEW_POSE) if rates.get(name)]
        parts += [prose(template, conditions=", ".join(told))] if told else []
    found = {row["detector"]: row["auroc"] for row in detected if row["condition"] == "photograph" and "auroc" in row}
    areas = "; ".join(f"{name} {area:.3f}" for name, area in found.items())
    return " ".join([*parts, *([prose(SUMMARY_AREAS, areas=areas)] if areas else [])])


EXPERIMENT = Experiment(
    id="ood",
    name="detectors",
    title="The out-of-distribution flag against density-based detectors",
    question="Does ALT's similarity detect strange images as well as a density, how soon, and what does stopping gain?",
    report=report,
    figures=figures,
    sweeps=sweeps,
    compute=compute,
)
