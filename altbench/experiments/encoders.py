"""E4: which encoder, embedding, temperature and augmentation make ALT's key, and whether learning it pays at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from altbench.config import EvaluationEntry, PerturbationEntry, PolicyEntry, SweepSpec
from altbench.cost_tables import measures_frame
from altbench.experiments.base import Experiment, Preset, Report, Reported, Run, Section
from altbench.experiments.common import EPISODES, evaluation, make_sweep, row
from altbench.experiments.matrix import NOTE, Matrix, Where, cells_of, chosen, clean, dot_plot, matrix, matrix_table
from altbench.experiments.paired import better, paired_table
from altbench.experiments.recall import lookup_recall, trajectory_recall
from altbench.experiments.texts import frame_table, listed, rate_text
from altbench.stats import RANKED_FROM, Rate, rate_of, success_rate
from altbench.table_formats import Table, significant

SPLITS = ("recall", "uniform")
BASE = "key"
"""ALT's learned key alone, without thumbnails: what every `key-…` row is a change of."""
UNLEARNED = ("key-untrained", "key-concat-untrained", "thumbnails", "kdtree")
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
NEAR_ALL = 0.999
"""Share of thumbnails in the row that has nothing else: the setting must stay below 1."""


@dataclass(frozen=True)
class Variant:
    """A row: its label, what it is in words, and the settings that differ from the preset's."""

    label: str
    what: str
    policy: str = "alt"
    config: Mapping[str, Any] = field(default_factory=dict)

    def entry(self, preset: Preset) -> PolicyEntry:
        """The row of a sweep."""
        return row(self.policy, preset, label=self.label, **self.config)


def variants(preset: Preset) -> list[Variant]:
    """All rows; at `small` the ResNet-18 is a quarter as wide."""
    width = 0.25 if preset == "small" else 1.0
    encoders = {"cnn4": "four-layer CNN", "cnn3": "three-layer CNN", "resnet18": "ResNet-18", "vit": "ViT-Tiny"}
    narrow = {"resnet18": f", width {width:g}"} if width != 1 else {}
    base = "cnn4" if preset == "small" else "resnet18"
    rows = [
        Variant("alt", "the preset as it is", config={}),
        Variant(BASE, f"learned key alone ({encoders[base]}, 128-d)", config=_key()),
    ]
    for name, words in encoders.items():
        if name != base:
            own: dict[str, Any] = {"encoder": name}
            own |= {"width": width} if name == "resnet18" else {}
            own |= {"pooling": "flat"} if preset == "paper" else {}
            rows.append(Variant(f"key-{name}", words + narrow.get(name, ""), config=_key(**own)))
    if preset == "paper":
        imagenet = _key(weights="imagenet", norm="batch")
        rows.append(Variant("key-imagenet", "ResNet-18 from ImageNet, BatchNorm", config=imagenet))
    rows += [Variant(f"key-{size}d", f"embedding of {size}", config=_key(embedding=size)) for size in (64, 256)]
    return [*rows, *_training(preset), *_unlearned()]


def _training(preset: Preset) -> list[Variant]:
    """Other temperatures and augmentations."""
    taus = (0.05, 0.4) if preset == "small" else (0.05, 0.1)
    rows = [Variant(f"key-tau{tau:g}", f"temperature {tau:g}", config=_key(temperature=tau)) for tau in taus]
    shifts = (0, 4) if preset == "small" else (1, 4)
    rows += [Variant(f"key-shift{n}", f"random shift of {n} pixels", config=_key(shift=n)) for n in shifts]
    strong = dict.fromkeys(("brightness", "contrast", "saturation"), 0.5)
    plain = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0)
    rows += [
        Variant("key-colour0", "no colour jitter", config=_key(**plain)),
        Variant("key-colour0.5", "colour jitter 0.5", config=_key(**strong)),
        Variant("key-concat", "views side by side, no linear layer", config=_key(fuse="concat", view_features=0)),
        Variant("key-pose", "with the arm's pose", config=_key(pose=True)),
    ]
    return rows


def _unlearned() -> list[Variant]:
    """Keys that learn nothing, which a learned one must beat."""
    return [
        Variant("key-untrained", "the same network, untrained", config=_key(train_steps=0)),
        Variant(
            "key-concat-untrained",
            "views side by side, untrained",
            config=_key(fuse="concat", view_features=0, train_steps=0),
        ),
        Variant("thumbnails", "12×12 grey thumbnails alone", config=_key(NEAR_ALL, train_steps=0)),
        Variant("kdtree", "nearest observation, no encoder", policy="kdtree"),
    ]


def _key(appearance: float = 0.0, **config: Any) -> dict[str, Any]:
    return {"appearance": appearance, **config}


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


def report(run: Run, preset: Preset) -> Report:
    """Success and recall of each key, and whether learning it paid."""
    words = {variant.label: variant.what for variant in variants(preset)}
    rows: dict[str, Where] = {label: {"label": label} for label in words if cells_of(run, {"label": label})}
    found = matrix(run, rows, {split: clean(split) for split in SPLITS})
    recalls = {label: _pooled(run, label) for label in found.rows}
    paired = {split: against_unlearned(run, found.rows, clean(split), f"split {split}") for split in SPLITS}
    disturbed = matrix(run, {label: rows[label] for label in rows if label in DISTURBED_ROWS}, _disturbances())
    robust = {
        name: against_unlearned(run, disturbed.rows, where, f"`recall` with {name}")
        for name, where in _disturbances().items()
    }
    figure = dot_plot("Lift, 30 demonstrations: success by ALT's key", found)
    shaken = dot_plot("Lift, 30 demonstrations: success on recall, images disturbed, by ALT's key", disturbed)
    sections = (
        Section("Keys", _method(), {"keys": _table(run, found, recalls, words)}, {"success": figure} if figure else {}),
        Section(
            "Does learning the key pay?",
            f"Each learned key against the best of those that learn nothing, on the same episodes. {_verdicts(paired)}",
            {f"learned_{split}": table for split, table in paired.items()},
        ),
        Section(
            "Does it pay where images are disturbed?",
            f"{_disturbed_method()} {_verdicts(robust)}",
            {
                "disturbed": matrix_table("Success on recall, images disturbed", disturbed, "key"),
                **{f"learned_{name.replace(' ', '_')}": table for name, table in robust.items()},
            },
            {"disturbed": shaken} if shaken else {},
        ),
        Section("Success, with marks", "", {"success_matrix": matrix_table("Success by key", found, "key")}),
    )
    return Report(_summary(found, {**paired, **robust}), sections, _reported(found, recalls))


def _disturbances() -> dict[str, Where]:
    """What a disturbed column is called -> its episodes."""
    return {
        f"{name} {severity}": {"split": "recall", "perturbation": name, "severity": severity}
        for name, severity in DISTURBED.items()
    }


def _pooled(run: Run, label: str) -> tuple[Rate, Rate]:
    """Trajectory and lookup recall of a row on `recall`."""
    cells = [cell for cell in cells_of(run, clean("recall", label=label)) if cell in run.recorded]
    pairs = [(trajectory_recall(run, cell), lookup_recall(run, cell)) for cell in cells]
    trajectory, lookup = [p[0] for p in pairs], [p[1] for p in pairs]
    return _sum(trajectory), _sum(lookup)


def _sum(rates: Sequence[Rate]) -> Rate:
    return rate_of(sum(r.successes for r in rates), sum(r.episodes for r in rates))


def _table(run: Run, found: Matrix, recalls: Mapping[str, tuple[Rate, Rate]], words: Mapping[str, str]) -> Table:
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
    note = (
        "Trajectory recall: `recall` episodes whose motion is nearest to the demonstration they began from. Lookup recall:"
        " those most of whose decisions retrieved it. "
    )
    return frame_table("Keys", pd.DataFrame(texts), texts, note + NOTE.replace("Bold", "Bold (last table)"), names=2)


def against_unlearned(run: Run, labels: Sequence[str], where: Where, what: str) -> Table:
    """Each learned key's success minus the best unlearned one's on the same episodes `where`, `what` in words."""
    frame = chosen(run.episodes(), where)
    groups = {label: frame[frame["label"] == label] for label in labels}
    unlearned = [label for label in UNLEARNED if len(groups.get(label, ()))]
    best = max(unlearned, key=lambda label: success_rate(groups[label]).value or 0.0, default="")
    learned = {label: group for label, group in groups.items() if label == best or label not in UNLEARNED}
    return paired_table(f"Learned keys, {what}", learned, best, "key", what.capitalize())


def _method() -> str:
    return (
        f"ALT with other keys, Lift, 30 demonstrations, one training seed, {EPISODES} episodes a split. `{BASE}` and all"
        " `key-…` rows have no thumbnails in the key (`appearance = 0`), so that what was learned stands alone;"
        " each differs from `key` in one thing."
    )


def _disturbed_method() -> str:
    columns = listed([f"`{name}` at severity {severity}" for name, severity in DISTURBED.items()])
    return (
        f"The first {DISTURBED_EPISODES} of the same `recall` episodes with {columns}. Which perturbations, was chosen by"
        " what keys retrieve at frames of further demonstrations, not by these episodes. No key was trained on any of them:"
        " the closest is the colour jitter's contrast."
    )


def _verdicts(paired: Mapping[str, Table]) -> str:
    """Per column, which learned keys beat the best unlearned one."""
    parts = []
    for name, table in paired.items():
        if not table.data.empty:
            found, best = better(table), table.data["against"].iloc[0]
            words = listed([f"`{label}`" for label in found]) if found else "no learned key"
            parts.append(f"{name}: significantly above `{best}`: {words}")
    return f"{'; '.join(parts)}." if parts else ""


def _summary(found: Matrix, paired: Mapping[str, Table]) -> str:
    """Where learning pays, and where it does not."""
    judged = {n: t for n, t in paired.items() if not t.data.empty and t.data["pairs"].max() >= RANKED_FROM}
    if not judged:
        began = any(len(table.data) for table in paired.values())
        return f"Too few episodes (under {RANKED_FROM}) to say whether learning a key pays." if began else ""
    winners = {name: better(table) for name, table in judged.items()}
    told = [
        f"{listed(labels)} {'beat' if len(labels) > 1 else 'beats'} {judged[name].data['against'].iloc[0]} on {name}"
        for name, labels in winners.items()
        if labels
    ]
    none = [name for name, labels in winners.items() if not labels]
    parts = [f"Against the best key that learns nothing: {'; '.join(told)}."] if told else []
    parts += [f"No learned key is significantly better than it on {listed(none)}."] if none else []
    top = max(found.rows, key=lambda label: found.rate(label, "uniform").value or 0.0)
    return f"{' '.join(parts)} Highest on uniform: {top}, {found.text(top, 'uniform')}."


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
