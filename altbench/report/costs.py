"""What a decision costs: tables of time, memory, and both as fractions of the diffusion policy's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, fields

import pandas as pd

from altbench.report.table import Block, Table, significant
from altbench.rollout.records import MeasureRecord

REFERENCE = "diffusion"
PAPER_RATIOS = {"alt": (0.0034, 0.0085)}
"""Policy -> decision time and memory over the diffusion policy's, as reported in arXiv 2505.05787."""
MEGABYTES = 1e-6
MILLISECONDS = 1e3
PER_CENT = 1e2

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
_BYTES = ["weights_bytes", "table_bytes", "weights_and_table_bytes", "disk_bytes", "peak_rss_bytes", "peak_vram_bytes"]
_LATENCY = {"latency_p50_s": "p50 ms", "latency_p95_s": "p95 ms", "latency_p99_s": "p99 ms"}
_RATIOS = {
    "time": ("latency_p50_s", "time"),
    "weights_and_table": ("weights_and_table_bytes", "weights + table"),
    "disk": ("disk_bytes", "on disk"),
    "peak_rss": ("peak_rss_bytes", "peak RSS"),
}


def measures_frame(measures: Sequence[MeasureRecord]) -> pd.DataFrame:
    """One row per measurement: the record's fields, `image_size` as "84×84", and `weights_and_table_bytes`."""
    rows = []
    for m in measures:
        image = f"{m.image_size[0]}×{m.image_size[1]}" if m.image_size else None
        held = None if m.weights_bytes is None or m.table_bytes is None else m.weights_bytes + m.table_bytes
        rows.append({**asdict(m), "image_size": image, "weights_and_table_bytes": held})
    columns = [*(f.name for f in fields(MeasureRecord)), "weights_and_table_bytes"]
    numbers = ["hz", "train_seconds", "data_share", *_LATENCY]
    types = {**dict.fromkeys(_BYTES, "Int64"), **dict.fromkeys(numbers, "float64")}
    return pd.DataFrame(rows, columns=columns).astype(types)


def latency_table(measures: Sequence[MeasureRecord]) -> Table:
    """Time of one decision at batch 1, in a fresh process with fixed threads, warmed up, and of training.

    In the CSV, seconds, and the wait for data as a fraction.
    """
    frame = measures_frame(measures)
    heads = {**SETTING, **_LATENCY, "hz": "decisions/s", "decisions_timed": "timed"}
    heads |= {"train_seconds": "training s", "data_share": "data wait %"}
    # Records of before have neither: their tables stay as they were published.
    known = {"precision": "trained in", "trained_on": "trained on"}
    heads |= {name: head for name, head in known.items() if frame[name].notna().any()}
    shown = frame.assign(**{name: frame[name] * MILLISECONDS for name in _LATENCY})
    shown = shown.assign(data_share=frame["data_share"] * PER_CENT)
    block = _block("One decision at batch 1", shown, {**heads, "inference": "inference"})
    data = frame[["label", "policy", *list(heads)[1:], "inference"]]
    note = "Data wait: the part of training spent waiting for data. Empty: not measured."
    return Table("Decision time", data, (block,), note)


def memory_table(measures: Sequence[MeasureRecord]) -> Table:
    """Bytes of weights and table, on disk, and the peak of the process over an empty one (of the GPU, where used)."""
    frame = measures_frame(measures)
    names = ["weights", "table", "weights + table", "checkpoint on disk", "peak RSS", "peak VRAM"]
    heads = {**SETTING, **dict(zip(_BYTES, names, strict=True))}
    shown = frame.assign(**{name: frame[name].astype("Float64") * MEGABYTES for name in _BYTES})
    block = _block("In MB (10^6 bytes)", shown, heads)
    data = frame[["label", "policy", *list(heads)[1:]]]
    return Table("Memory", data, (block,), "Peak RSS is over that of an empty process. Empty: not measured.")


def ratios_table(measures: Sequence[MeasureRecord]) -> Table:
    """Each policy's decision time (p50) and memory, three definitions, over the diffusion policy's.

    The reference is a diffusion policy of the same machine, device, threads and image size, if possible of the same preset
    (`alt`'s `compact` has none), measured at the same N or else at the largest. Policies without one are left out, as is
    a reference beside itself.
    """
    frame = measures_frame(measures)
    rows = [r for _, own in frame.iterrows() if (r := _ratio_row(own, frame))]
    columns = ["label", "policy", *list(SETTING)[1:], "against", *_RATIOS, "paper_time", "paper_memory"]
    numbers = [*_RATIOS, "paper_time", "paper_memory"]
    data = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(numbers, "float64"))
    heads = {**SETTING, "against": "against", "time": "time", "paper_time": "time, paper"}
    heads |= {name: head for name, (_, head) in _RATIOS.items()} | {"paper_memory": "memory, paper"}
    note = "Paper: arXiv 2505.05787 as reported; it does not say what its memory footprint counts."
    block = _block("Fractions of the diffusion policy's", data, heads, digits=2)
    return Table("Against the diffusion policy", data, (block,), note if rows else "No diffusion policy was measured.")


def _ratio_row(own: pd.Series, frame: pd.DataFrame) -> dict[str, object] | None:
    reference = _reference(own, frame)
    if reference is None or reference.name == own.name:
        return None
    time, memory = PAPER_RATIOS.get(own["policy"], (None, None))
    other_preset = f" {reference['preset']}" if reference["preset"] != own["preset"] else ""
    return {
        **{name: own[name] for name in ("policy", *SETTING)},
        "against": f"{reference['label']}{other_preset}, N {reference['n']}",
        **{name: _over(own[column], reference[column]) for name, (column, _) in _RATIOS.items()},
        "paper_time": time,
        "paper_memory": memory,
    }


def _reference(own: pd.Series, frame: pd.DataFrame) -> pd.Series | None:
    """The diffusion policy to compare with: of the same preset, then the one that keeps its own name, nearest in N."""
    same = frame["policy"] == REFERENCE
    for column in ("task", "train_seed", "device", "threads", "machine"):
        same &= frame[column] == own[column]
    if own["image_size"] is not None:
        same &= frame["image_size"] == own["image_size"]
    ranked = sorted(
        (row for _, row in frame[same].iterrows()),
        key=lambda r: (r["preset"] != own["preset"], r["label"] != REFERENCE, r["label"], r["n"] != own["n"], -r["n"]),
    )
    return ranked[0] if ranked else None


def _over(value: float, reference: float) -> float | None:
    return None if pd.isna(value) or pd.isna(reference) or not reference else float(value) / float(reference)


def _block(caption: str, frame: pd.DataFrame, heads: dict[str, str], digits: int = 3) -> Block:
    """The columns of `heads` as text: fractional numbers with so many significant digits, missing ones empty."""
    rows = tuple(tuple(_text(row[column], digits) for column in heads) for _, row in frame.iterrows())
    return Block(caption, tuple(heads.values()), rows, names=len(SETTING) + ("against" in heads))


def _text(value: object, digits: int) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA:
        return ""
    return significant(value, digits) if isinstance(value, float) else str(value)
