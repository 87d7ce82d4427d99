"""Tables of what a decision costs: time, memory, and both over a reference policy's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

import pandas as pd

from altbench.core import registry
from altbench.core.spec import read_toml
from altbench.report.privileged import marked
from altbench.report.table import Block, Table, significant
from altbench.rollout.records import MeasureRecord

MEGABYTES = 1e-6
"""Megabytes (10^6 bytes) in a byte."""
MILLISECONDS = 1e3
"""Milliseconds in a second."""
PER_CENT = 1e2
"""Per cent in a fraction of 1."""

SETTING = {
    "label": "policy",
    "n": "N",
    "task": "task",
    "train_seed": "seed",
    "preset": "preset",
    "device": "device",
    "threads": "threads",
    "image_size": "image",
}
"""Columns that say what was measured, and their heads."""
_BYTES = ["weights_bytes", "table_bytes", "weights_and_table_bytes", "disk_bytes", "peak_rss_bytes", "peak_vram_bytes"]
_LATENCY = {"latency_p50_s": "p50 ms", "latency_p95_s": "p95 ms", "latency_p99_s": "p99 ms"}
_SERVER = {"server_p50_s": "server's p50 ms", "server_p95_s": "server's p95 ms"}
"""The part of a decision that a policy's server told; only tables with such a row show it."""
_RATIOS = {
    "time": ("latency_p50_s", "time"),
    "weights_and_table": ("weights_and_table_bytes", "weights + table"),
    "disk": ("disk_bytes", "on disk"),
    "peak_rss": ("peak_rss_bytes", "peak RSS"),
}


SERVED_NOTES = {
    "served": "Served: another process decides; the server's part of the time is what it told.",
    "stateless": "Stateless: the server hears nothing of episodes.",
    "contents not held by the key": "Contents not held by the key: the server told no digest of what it serves, so "
    "other weights at the same address make no new cells.",
}
"""Words in the column `inference` of policies in another process -> what the table says of them."""


@dataclass(frozen=True)
class Reference:
    """The policy whose costs all others are divided by.

    `reported`: policy -> {"time": ..., "memory": ...}, the ratios to `policy` that a
    paper reports. `note` names the paper.
    """

    policy: str
    note: str
    reported: Mapping[str, Mapping[str, float]]


@cache
def paper_reference() -> Reference:
    """Return the paper's reference, from reference.toml beside this file."""
    return Reference(**read_toml(Path(__file__).with_name("reference.toml")))


def measures_frame(measures: Sequence[MeasureRecord]) -> pd.DataFrame:
    """Return one row per measurement: its fields and `weights_and_table_bytes`.

    `image_size` is a text such as "84×84".
    """
    rows = []
    for m in measures:
        image = f"{m.image_size[0]}×{m.image_size[1]}" if m.image_size else None
        held = None if m.weights_bytes is None or m.table_bytes is None else m.weights_bytes + m.table_bytes
        rows.append({**asdict(m), "image_size": image, "weights_and_table_bytes": held})
    columns = [*(f.name for f in fields(MeasureRecord)), "weights_and_table_bytes"]
    numbers = ["hz", "train_seconds", "data_share", *_LATENCY, *_SERVER]
    types = {**dict.fromkeys([*_BYTES, "server_rss_bytes"], "Int64"), **dict.fromkeys(numbers, "float64")}
    return pd.DataFrame(rows, columns=columns).astype(types)


def latency_table(measures: Sequence[MeasureRecord]) -> Table:
    """Return the table of how long one decision and the training take.

    A decision is timed at batch 1, in a fresh process with fixed threads, after a
    warm-up. The CSV holds seconds, and the wait for data as a fraction.
    """
    frame = measures_frame(measures)
    served = _SERVER if frame["server_p50_s"].notna().any() else {}
    heads = {**SETTING, **_LATENCY, **served, "hz": "decisions/s", "decisions_timed": "timed"}
    heads |= {"train_seconds": "training s", "data_share": "data wait %"}
    # Records of before have neither: their tables stay as they were published.
    known = {"precision": "trained in", "trained_on": "trained on"}
    heads |= {name: head for name, head in known.items() if frame[name].notna().any()}
    shown = frame.assign(**{name: frame[name] * MILLISECONDS for name in (*_LATENCY, *served)})
    shown = shown.assign(data_share=frame["data_share"] * PER_CENT)
    block = _block("One decision at batch 1", shown, {**heads, "inference": "inference"})
    data = frame[["label", "policy", *list(heads)[1:], "inference"]]
    note = "Data wait: the part of training spent waiting for data. Empty: not measured."
    told = " ".join(frame["inference"][frame["policy"].map(registry.is_remote)])
    note = " ".join([note, *(text for words, text in SERVED_NOTES.items() if words in told)])
    return Table("Decision time", data, (block,), note)


def memory_table(measures: Sequence[MeasureRecord]) -> Table:
    """Return the table of bytes: weights, table, on disk, and the process's peak.

    The peak is that over an empty process, and of the GPU if one is used.
    """
    frame = measures_frame(measures)
    names = ["weights", "table", "weights + table", "checkpoint on disk", "peak RSS", "peak VRAM"]
    heads = {**SETTING, **dict(zip(_BYTES, names, strict=True))}
    if frame["server_rss_bytes"].notna().any():
        heads["server_rss_bytes"] = "server's peak RSS"
    in_bytes = [*_BYTES, "server_rss_bytes"]
    shown = frame.assign(**{name: frame[name].astype("Float64") * MEGABYTES for name in in_bytes})
    block = _block("In MB (10^6 bytes)", shown, heads)
    data = frame[["label", "policy", *list(heads)[1:]]]
    return Table("Memory", data, (block,), "Peak RSS is over that of an empty process. Empty: not measured.")


def ratios_table(measures: Sequence[MeasureRecord], reference: Reference | None = None) -> Table:
    """Return the table of decision time (p50) and memory over the `reference`'s.

    Memory has three definitions. `reference` None: the paper's. The other measurement
    is of the same machine, device, threads and image size; of the same preset if it
    exists; at the same N, or else at the largest. Rows without such a measurement are
    left out, and so is a reference compared with itself.
    """
    frame, reference = measures_frame(measures), reference or paper_reference()
    rows = [r for _, own in frame.iterrows() if (r := _ratio_row(own, frame, reference))]
    columns = ["label", "policy", *list(SETTING)[1:], "against", *_RATIOS, "paper_time", "paper_memory"]
    numbers = [*_RATIOS, "paper_time", "paper_memory"]
    data = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(numbers, "float64"))
    heads = {**SETTING, "against": "against", "time": "time", "paper_time": "time, paper"}
    heads |= {name: head for name, (_, head) in _RATIOS.items()} | {"paper_memory": "memory, paper"}
    policy, note = reference.policy, reference.note
    block = _block(f"Fractions of the {policy} policy's", data, heads, digits=2)
    return Table(f"Against the {policy} policy", data, (block,), note if rows else f"No {policy} policy was measured.")


def _ratio_row(own: pd.Series, frame: pd.DataFrame, reference: Reference) -> dict[str, object] | None:
    other = _nearest(own, frame, reference.policy)
    if other is None or other.name == own.name:
        return None
    reported = reference.reported.get(own["policy"], {})
    other_preset = f" {other['preset']}" if other["preset"] != own["preset"] else ""
    return {
        **{name: own[name] for name in ("policy", *SETTING)},
        "against": f"{other['label']}{other_preset}, N {other['n']}",
        **{name: _over(own[column], other[column]) for name, (column, _) in _RATIOS.items()},
        "paper_time": reported.get("time"),
        "paper_memory": reported.get("memory"),
    }


def _nearest(own: pd.Series, frame: pd.DataFrame, policy: str) -> pd.Series | None:
    """Return the measurement of `policy` to divide by, or None.

    First choice is the same preset, then the policy's own name as label, then the same
    N, then the largest N.
    """
    same = frame["policy"] == policy
    for column in ("task", "train_seed", "device", "threads", "machine"):
        same &= frame[column] == own[column]
    if pd.notna(own["image_size"]):
        same &= frame["image_size"] == own["image_size"]
    ranked = sorted(
        (row for _, row in frame[same].iterrows()),
        key=lambda r: (r["preset"] != own["preset"], r["label"] != policy, r["label"], r["n"] != own["n"], -r["n"]),
    )
    return ranked[0] if ranked else None


def _over(value: float, other: float) -> float | None:
    return None if pd.isna(value) or pd.isna(other) or not other else float(value) / float(other)


def _block(caption: str, frame: pd.DataFrame, heads: dict[str, str], digits: int = 3) -> Block:
    """Return the columns of `heads` as texts.

    Fractional numbers have so many significant `digits`; missing ones are empty.
    """
    labels = [marked(*row) for row in zip(frame["label"], frame["policy"], strict=True)]
    shown = frame.assign(label=labels)
    rows = tuple(tuple(_text(row[column], digits) for column in heads) for _, row in shown.iterrows())
    return Block(caption, tuple(heads.values()), rows, names=len(SETTING) + ("against" in heads))


def _text(value: object, digits: int) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA:
        return ""
    return significant(value, digits) if isinstance(value, float) else str(value)
