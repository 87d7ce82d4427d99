"""E4: which encoder, embedding, temperature and augmentation make ALT's key, and whether learning it pays at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from altbench.experiments.e4_variants import BASE, RAW, THUMBNAILS, UNLEARNED, variants
from altbench.experiments.shared.experiment import Experiment, ExperimentRun, Preset, Report, Reported, Section
from altbench.experiments.shared.matrix import (
    NOTE,
    Matrix,
    Where,
    cells_of,
    chosen,
    clean,
    dot_plot,
    matrix,
    matrix_table,
)
from altbench.experiments.shared.paired import better, paired_table
from altbench.experiments.shared.recall import lookup_recall, trajectory_recall
from altbench.experiments.shared.sweeps import EPISODES, evaluation, make_sweep
from altbench.experiments.shared.texts import frame_table, listed, prose, rate_text
from altbench.report.costs import measures_frame
from altbench.report.table import Table, significant
from altbench.stats.rates import RANKED_FROM, Rate, rate_of, success_rate
from altbench.sweeps.spec import EvaluationEntry, PerturbationEntry, SweepSpec

SPLITS = ("recall", "uniform")
DISTURBED = {"contrast": 4, "fog": 2, "rotation": 4}
"""Perturbation -> severity: tone, haze and a turned camera, each where retrieval among demonstrations told keys apart."""
DISTURBED_ROWS = (
    "alt",
    BASE,
    "key-resnet18",
    "key-tau0.4",
    "key-shift4",
    "key-colour0",
    "key-colour0.5",
    "key-concat",
    *UNLEARNED,
)
DISTURBED_EPISODES = 50

METHOD = """
    ALT with other keys, Lift, 30 demonstrations, one training seed, {episodes} episodes a split. `{base}` and all `key-…`
    rows have no thumbnails in the key (`appearance = 0`), so that what was learned stands alone; each differs from `key`
    in one thing.
    """
LEARNED = """
    Each learned key against the best of those that learn nothing, on the same episodes.

    {verdicts}
    """
DISTURBED_METHOD = """
    The first {episodes} of the same `recall` episodes with {columns}. Which perturbations, was chosen by what keys retrieve
    at frames of further demonstrations, not by these episodes. No key was trained on any of them: the closest is the
    colour jitter's contrast.

    {verdicts}
    """
KEYS_NOTE = """
    Trajectory recall: `recall` episodes whose motion is nearest to the demonstration they began from. Lookup recall: those
    most of whose decisions retrieved it. {note}
    """
VERDICT = "- {column}, better than `{against}`: {better}"
BETTER = "`{label}` ({what}: {gain:+.0f} %, p {p:.1g})"
SUMMARY = "Significantly better than {against}: {columns}."
SUMMARY_FEW = "Too few episodes (under {least}) to say whether learning a key pays."


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Every variant on the two splits that tell keys apart, and some of them on disturbed images."""
    rows = [variant.entry(preset) for variant in variants(preset)]
    disturbed = [entry for entry in rows if entry.name in DISTURBED_ROWS]
    return [
        make_sweep("encoders", rows, [evaluation(split) for split in SPLITS]),
        make_sweep("encoders-disturbed", disturbed, [_disturbed_evaluation()]),
    ]


def _disturbed_evaluation() -> EvaluationEntry:
    entries = [PerturbationEntry(name=name, severities=(severity,)) for name, severity in DISTURBED.items()]
    return evaluation("recall", DISTURBED_EPISODES, perturbations=entries)


def report(run: ExperimentRun) -> Report:
    """Success and recall of each key, and whether learning it paid."""
    words = {variant.label: variant.what for variant in variants(run.preset)}
    rows: dict[str, Where] = {label: {"label": label} for label in words if cells_of(run, {"label": label})}
    found = matrix(run, rows, {split: clean(split) for split in SPLITS})
    recalls = {label: _pooled(run, label) for label in found.rows}
    paired = {split: against_best(run, found.rows, UNLEARNED, clean(split), f"split {split}") for split in SPLITS}
    disturbed = matrix(run, {label: rows[label] for label in rows if label in DISTURBED_ROWS}, _disturbances())
    raw, handmade = (
        {n: against_best(run, disturbed.rows, what, where, f"recall, {n}") for n, where in _disturbances().items()}
        for what in (RAW, (THUMBNAILS,))
    )
    figure = dot_plot("Lift, 30 demonstrations: success by ALT's key", found)
    shaken = dot_plot("Lift, 30 demonstrations: success on recall, images disturbed, by ALT's key", disturbed)
    sections = (
        Section(
            "Keys",
            prose(METHOD, episodes=EPISODES, base=BASE),
            {"keys": _table(run, found, recalls, words)},
            {"success": figure} if figure else {},
        ),
        Section(
            "Does learning the key pay?",
            prose(LEARNED, verdicts=_verdicts(paired, words)),
            {f"learned_{split}": table for split, table in paired.items()},
        ),
        Section(
            "Does it pay where images are disturbed?",
            _disturbed_method(f"{_verdicts(raw, words)}\n{_verdicts(handmade, words)}"),
            {
                "disturbed": matrix_table("Success on recall, images disturbed", disturbed, "key"),
                **{f"learned_{name.replace(' ', '_')}": table for name, table in raw.items()},
            },
            {"disturbed": shaken} if shaken else {},
        ),
        Section("Success, with marks", "", {"success_matrix": matrix_table("Success by key", found, "key")}),
    )
    return Report(_summary(paired, raw, handmade), sections, _reported(found, recalls))


def _disturbances() -> dict[str, Where]:
    """What a disturbed column is called -> its episodes."""
    return {
        f"{name} {severity}": {"split": "recall", "perturbation": name, "severity": severity}
        for name, severity in DISTURBED.items()
    }


def _pooled(run: ExperimentRun, label: str) -> tuple[Rate, Rate]:
    """Trajectory and lookup recall of a row on `recall`."""
    cells = [cell for cell in cells_of(run, clean("recall", label=label)) if cell in run.recorded]
    pairs = [(trajectory_recall(run, cell), lookup_recall(run, cell)) for cell in cells]
    trajectory, lookup = [p[0] for p in pairs], [p[1] for p in pairs]
    return _sum(trajectory), _sum(lookup)


def _sum(rates: Sequence[Rate]) -> Rate:
    return rate_of(sum(r.successes for r in rates), sum(r.episodes for r in rates))


def _table(
    run: ExperimentRun, found: Matrix, recalls: Mapping[str, tuple[Rate, Rate]], words: Mapping[str, str]
) -> Table:
    costs = measures_frame(run.measures())
    seconds = costs.dropna(subset=["train_seconds"]).groupby("label")["train_seconds"].first()
    texts = {
        "key": list(found.rows),
        "what it is": [words[label] for label in found.rows],
        **{split: [found.text(label, split) for label in found.rows] for split in SPLITS},
        "trajectory recall": [rate_text(recalls[label][0], counts=False) for label in found.rows],
        "lookup recall": [rate_text(recalls[label][1], counts=False) for label in found.rows],
        "training, s": [significant(float(seconds.get(label, float("nan")))) for label in found.rows],
    }
    note = prose(KEYS_NOTE, note=NOTE.replace("Bold", "Bold (last table)"))
    return frame_table("Keys", pd.DataFrame(texts), texts, note, names=2)


def against_best(run: ExperimentRun, labels: Sequence[str], unlearned: Sequence[str], where: Where, what: str) -> Table:
    """Success of each key minus that of the best of `unlearned`, on the same episodes `where`, `what` in words.

    Without the other keys of `UNLEARNED`, but for thumbnails where they are not among `unlearned`.
    """
    frame = chosen(run.episodes(), where)
    groups = {label: frame[frame["label"] == label] for label in labels}
    there = [label for label in unlearned if len(groups.get(label, ()))]
    best = max(there, key=lambda label: success_rate(groups[label]).value or 0.0, default="")
    others = {label: group for label, group in groups.items() if label not in (*RAW, *unlearned) or label == best}
    return paired_table(f"Keys against {best}, {what}", others, best, "key", what.capitalize())


def _disturbed_method(verdicts: str) -> str:
    columns = listed([f"`{name}` at severity {severity}" for name, severity in DISTURBED.items()])
    return prose(DISTURBED_METHOD, episodes=DISTURBED_EPISODES, columns=columns, verdicts=verdicts)


def _verdicts(paired: Mapping[str, Table], words: Mapping[str, str]) -> str:
    """Per column a line: which keys are significantly better than the row that they were compared with."""
    lines = []
    for name, table in paired.items():
        if not table.data.empty:
            found = table.data.set_index("row")
            gains, chances = found["difference"].to_dict(), found["p_holm"].to_dict()
            texts = [
                prose(BETTER, label=label, what=words[label], gain=100 * gains[label], p=chances[label])
                for label in better(table)
            ]
            against = table.data["against"].iloc[0]
            lines.append(prose(VERDICT, column=name, against=against, better=listed(texts) or "none"))
    return "\n".join(lines)


def _summary(clean_images: Mapping[str, Table], raw: Mapping[str, Table], handmade: Mapping[str, Table]) -> str:
    """Where learning pays, and where it does not."""
    parts = [
        _winners(clean_images, "the best key that learns nothing"),
        _winners(raw, "untrained networks and raw pixels"),
        _winners(handmade, "thumbnails"),
    ]
    if not any(parts):
        began = any(len(table.data) for table in (*clean_images.values(), *raw.values()))
        return prose(SUMMARY_FEW, least=RANKED_FROM) if began else ""
    return " ".join(filter(None, parts))


def _winners(paired: Mapping[str, Table], against: str) -> str:
    """A sentence: which keys beat `against`, column by column, where there are enough episodes to say."""
    judged = {n: t for n, t in paired.items() if not t.data.empty and t.data["pairs"].max() >= RANKED_FROM}
    winners = {name: better(table) for name, table in judged.items()}
    parts = [f"on {name} {listed(labels)}" for name, labels in winners.items() if labels]
    none = [name for name, labels in winners.items() if not labels]
    parts += [f"none on {' or '.join(none)}"] if none else []
    return prose(SUMMARY, against=against, columns="; ".join(parts)) if parts else ""


def _reported(found: Matrix, recalls: Mapping[str, tuple[Rate, Rate]]) -> tuple[Reported, ...]:
    paper = {
        "ResNet-18": ("100 %", "key-resnet18"),
        "small CNN": ("19–23 %", "key-cnn3"),
        "ViT": ("13–16 %", "key-vit"),
        "CLIP, 128-d": ("100 %", ""),
        "Swin": ("77–90 %", ""),
    }
    rows = []
    for name, (reported, label) in paper.items():
        known = label if label in recalls else BASE if name == "ResNet-18" and "key-resnet18" not in found.rows else ""
        ours = rate_text(recalls[known][0]) if known in recalls else ""
        rows.append(Reported(f"{name}: trajectory recall", reported, ours, second_hand=True))
    return tuple(rows)


EXPERIMENT = Experiment(
    id="E4",
    name="encoders",
    title="ALT's key: encoders, embeddings, training, and none",
    question="Which encoder and training make a key that retrieves the right frame, and do they beat no learning at all?",
    report=report,
    sweeps=sweeps,
)
