"""E4: which encoder and training make ALT's key, and whether learning a key pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from altbench.core.words import listed
from altbench.experiments.e4_variants import BASE, FISHER, RAW, THUMBNAILS, UNLEARNED, variants
from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.matrix import (
    NOTE,
    Matrix,
    Where,
    chosen,
    clean,
    dot_plot,
    label_rows,
    matrix,
    matrix_table,
)
from altbench.experiments.shared.paired import better, paired_table
from altbench.experiments.shared.recall import (
    RECALLS,
    lookup_recall,
    pooled,
    recalls_table,
    trajectory_recall,
    without_intervals,
)
from altbench.experiments.shared.sections import Report, Reported, Section
from altbench.experiments.shared.sweeps import EPISODES, Preset, evaluation, make_sweep
from altbench.experiments.shared.texts import cost_text, frame_table, prose
from altbench.report.costs import MEGABYTES, MILLISECONDS, measures_frame
from altbench.report.table import Table, rate_text
from altbench.stats.rates import RANKED_FROM, Rate, success_rate
from altbench.sweeps.spec import EvaluationEntry, PerturbationEntry, SweepSpec

SPLITS = ("recall", "uniform")
PERTURBED = {"contrast": 4, "fog": 2, "rotation": 4}
"""Perturbation -> severity: tone, haze and a turned camera.

Each severity is one at which retrieval among demonstrations differed between keys.
"""
PERTURBED_ROWS = (
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
PERTURBED_EPISODES = 50
"""The fewest that are ranked."""

METHOD = """
    ALT with other keys on Lift, 30 demonstrations, one training seed, {episodes}
    episodes per split. `{base}` and all `key-…` rows have no thumbnails in the key
    (`appearance = 0`), so that only what was learned counts. Each differs from `key` in
    one thing.
    """
LEARNED = """
    What does training an encoder buy? Each learned key is compared with the best row
    that trains nothing, `{fisher}` among them, on the same episodes. A key that does not
    beat `{fisher}` does not pay, whatever it beats besides; what both cost stands in the
    table of keys.

    {verdicts}
    """
PERTURBED_METHOD = """
    The first {episodes} of the same `recall` episodes with {columns}. The perturbations
    were chosen by what keys retrieve at frames of other demonstrations, not by these
    episodes. No key was trained on any of them; the contrast of the colour jitter is
    the closest.

    {verdicts}
    """
KEYS_NOTE = """
    Trajectory recall: `recall` episodes whose motion is nearest to the demonstration
    that they began from. Lookup recall: `recall` episodes in which most decisions
    retrieved that demonstration. Decision: median at batch 1. {note}
    """
VERDICT = "- {column}, better than `{against}`: {better}"
BETTER = "`{label}` ({what}: {gain:+.0f} %, p {p:.1g})"
SUMMARY = "Significantly better than {against}: {columns}."
SUMMARY_FEW = "Too few episodes (fewer than {least}) to say whether learning a key pays."


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Ask for every variant on two splits, and for some on perturbed images."""
    rows = [variant.entry(preset) for variant in variants(preset)]
    perturbed = [entry for entry in rows if entry.name in PERTURBED_ROWS]
    return [
        make_sweep("encoders", rows, [evaluation(split) for split in SPLITS]),
        make_sweep("encoders-disturbed", perturbed, [_perturbed_evaluation()]),
    ]


def _perturbed_evaluation() -> EvaluationEntry:
    entries = [PerturbationEntry(name=name, severities=(severity,)) for name, severity in PERTURBED.items()]
    return evaluation("recall", PERTURBED_EPISODES, perturbations=entries)


def report(run: ExperimentRun) -> Report:
    """Report success and recall of each key, and whether learning it pays."""
    words = {variant.label: variant.what for variant in variants(run.preset)}
    rows = label_rows(run, words)
    found = matrix(run, rows, {split: clean(split) for split in SPLITS})
    recalls = {
        recall.__name__: {label: pooled(run, label, recall) for label in found.rows}
        for recall in (trajectory_recall, lookup_recall)
    }
    paired = {split: against_best(run, found.rows, UNLEARNED, clean(split), f"split {split}") for split in SPLITS}
    perturbed = matrix(run, {label: rows[label] for label in rows if label in PERTURBED_ROWS}, _perturbed_columns())
    raw, handmade, fisher = (
        {n: against_best(run, perturbed.rows, what, where, f"recall, {n}") for n, where in _perturbed_columns().items()}
        for what in (RAW, (THUMBNAILS,), (FISHER,))
    )
    sections = (
        Section(
            "Keys",
            prose(METHOD, episodes=EPISODES, base=BASE),
            {
                "keys": _table(run, found, recalls, words),
                RECALLS: recalls_table(recalls),
            },
            ("success",),
        ),
        Section(
            "Does learning the key pay?",
            prose(LEARNED, fisher=FISHER, verdicts=_verdicts(paired, words)),
            {f"learned_{split}": table for split, table in paired.items()},
        ),
        Section(
            "Does it pay on perturbed images?",
            _perturbed_method("\n".join(_verdicts(one, words) for one in (raw, handmade, fisher))),
            {
                "disturbed": matrix_table("Success on recall, perturbed images", perturbed, "key"),
                **{f"learned_{name.replace(' ', '_')}": table for name, table in raw.items()},
            },
            ("disturbed",),
        ),
        Section("Success, with marks", "", {"success_matrix": matrix_table("Success by key", found, "key")}),
    )
    return Report(_summary(paired, raw, handmade, fisher), sections, _reported(found, recalls["trajectory_recall"]))


def figures(tables: Tables) -> Figures:
    """Draw success by key, on clean and on perturbed images."""
    where = "Lift, 30 demonstrations: success by ALT's key"
    return drawn(
        success=lambda: dot_plot(where, tables["success_matrix"], "key"),
        disturbed=lambda: dot_plot(f"{where}, recall with perturbed images", tables["disturbed"], "key"),
    )


def _perturbed_columns() -> dict[str, Where]:
    """Return the head of each perturbed column and its episodes."""
    return {
        f"{name} {severity}": {"split": "recall", "perturbation": name, "severity": severity}
        for name, severity in PERTURBED.items()
    }


def _table(
    run: ExperimentRun, found: Matrix, recalls: Mapping[str, Mapping[str, Rate]], words: Mapping[str, str]
) -> Table:
    costs = measures_frame(run.measures())
    texts = {
        "key": list(found.rows),
        "what it is": [words[label] for label in found.rows],
        **{split: [found.text(label, split) for label in found.rows] for split in SPLITS},
        "trajectory recall": [rate_text(recalls["trajectory_recall"][n], counts=False) for n in found.rows],
        "lookup recall": [rate_text(recalls["lookup_recall"][n], counts=False) for n in found.rows],
        "training, s": [cost_text(costs, label, "train_seconds") for label in found.rows],
        "decision, ms": [cost_text(costs, label, "latency_p50_s", MILLISECONDS) for label in found.rows],
        "weights + table, MB": [cost_text(costs, label, "weights_and_table_bytes", MEGABYTES) for label in found.rows],
    }
    note = prose(KEYS_NOTE, note=NOTE.replace("Bold", "Bold (last table)"))
    note += without_intervals(rate for of_rows in recalls.values() for rate in of_rows.values())
    return frame_table("Keys", pd.DataFrame(texts), texts, note, names=2)


def against_best(run: ExperimentRun, labels: Sequence[str], unlearned: Sequence[str], where: Where, what: str) -> Table:
    """Tabulate the success of each key minus that of the best of `unlearned`.

    Both on the same episodes `where`; `what` names them in words. The table leaves out
    the other rows of `unlearned` and of `RAW`.
    """
    frame = chosen(run.episodes(), where)
    groups = {label: frame[frame["label"] == label] for label in labels}
    there = [label for label in unlearned if len(groups.get(label, ()))]
    best = max(there, key=lambda label: success_rate(groups[label]).value or 0.0, default="")
    others = {label: group for label, group in groups.items() if label not in (*RAW, *unlearned) or label == best}
    return paired_table(f"Keys against {best}, {what}", others, best, "key", what.capitalize())


def _perturbed_method(verdicts: str) -> str:
    columns = listed([f"`{name}` at severity {severity}" for name, severity in PERTURBED.items()])
    return prose(PERTURBED_METHOD, episodes=PERTURBED_EPISODES, columns=columns, verdicts=verdicts)


def _verdicts(paired: Mapping[str, Table], words: Mapping[str, str]) -> str:
    """Write a line per column with the keys that are significantly better."""
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


def _summary(
    clean_images: Mapping[str, Table],
    raw: Mapping[str, Table],
    handmade: Mapping[str, Table],
    fisher: Mapping[str, Table],
) -> str:
    """Say where learning a key pays, and where it does not."""
    parts = [
        _winners(clean_images, "the best row that trains nothing"),
        _winners(raw, "untrained networks and raw pixels"),
        _winners(handmade, "thumbnails"),
        _winners(fisher, FISHER),
    ]
    if not any(parts):
        began = any(len(table.data) for table in (*clean_images.values(), *raw.values()))
        return prose(SUMMARY_FEW, least=RANKED_FROM) if began else ""
    return " ".join(filter(None, parts))


def _winners(paired: Mapping[str, Table], against: str) -> str:
    """Say which keys beat `against`, for each column with enough episodes to rank."""
    judged = {n: t for n, t in paired.items() if not t.data.empty and t.data["pairs"].max() >= RANKED_FROM}
    winners = {name: better(table) for name, table in judged.items()}
    parts = [f"on {name} {listed(labels)}" for name, labels in winners.items() if labels]
    none = [name for name, labels in winners.items() if not labels]
    parts += [f"none on {' or '.join(none)}"] if none else []
    return prose(SUMMARY, against=against, columns="; ".join(parts)) if parts else ""


def _reported(found: Matrix, recalls: Mapping[str, Rate]) -> tuple[Reported, ...]:
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
        ours = rate_text(recalls[known]) if known in recalls else ""
        rows.append(Reported(f"{name}: trajectory recall", reported, ours, second_hand=True))
    return tuple(rows)


EXPERIMENT = Experiment(
    id="E4",
    name="encoders",
    title="ALT's key: encoders, embeddings, training, and lookups that train nothing",
    question="What does a learned encoder buy a lookup over one that trains nothing, on clean and perturbed images?",
    report=report,
    figures=figures,
    sweeps=sweeps,
)
