"""A made-up run with the shape of a real one: records of six policies on Lift, and their measurements."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from altbench.results.cells import CELLS, write_cell
from altbench.results.frames import load_recorded
from altbench.results.measures import write_measure
from altbench.rollout.records import CellHeader, DecisionRecord, EpisodeRecord, MeasureRecord, StepRecord
from altbench.system.fingerprint import Fingerprint

FINGERPRINT = Fingerprint(
    python="3.11.7",
    packages={"altbench": "0.1.0", "robosuite": "1.5.2", "mujoco": "3.9.0", "torch": "2.13.0+cpu"},
    os="Debian GNU/Linux 12, x86_64",
    cpu="AMD EPYC 7763 & co_1",
    cores=2,
    gpu=None,
    renderer="EGL: llvmpipe",
    commit="0123456789abcdef",
    dirty=False,
    data="fedcba9876543210",
)
PERTURBATIONS = ("brightness", "gaussian_noise", "occlusion", "photograph")
RATES = {
    ("alt", 10): (0.6, 0.35),
    ("alt", 30): (0.88, 0.6),
    ("alt-hold", 30): (0.85, 0.55),
    ("bc", 10): (0.5, 0.4),
    ("bc", 30): (0.75, 0.65),
    ("diffusion", 30): (0.8, 0.7),
    ("open_loop", 30): (0.45, 0.1),
    ("random", 30): (0.0, 0.0),
}


def header(label: str, n: int, split: str, perturbation: str = "clean", severity: int = 0) -> CellHeader:
    """The header of one cell; its key follows from its name."""
    column = perturbation if perturbation == "clean" else f"{perturbation}-{severity}"
    name = f"lift/{label}/n{n}/s0/{split}/{column}"
    return CellHeader(
        key=hashlib.sha256(name.encode()).hexdigest(),
        name=name,
        task="Lift",
        label=label,
        policy=label.partition("-")[0],
        preset="small",
        n=n,
        train_seed=0,
        split=split,
        perturbation=perturbation,
        severity=severity,
        checkpoint_key=f"{label}-{n}",
        spec_json="{}",
    )


def episode(number: int, success: bool = True, score: float | None = None, flag: bool | None = None) -> EpisodeRecord:
    """One episode of two decisions; the second carries `score` and `flag`."""
    first = None if score is None else score / 2
    decisions = (
        DecisionRecord(0, 0.01, first, None if flag is None else False, ((number, 0),), (0.5,)),
        DecisionRecord(8, 0.02, score, flag, ((number, 8), (3, 4)), (0.5, 0.25)),
    )
    return EpisodeRecord(
        episode=number,
        seed=1000 + number,
        status="ok",
        success=success,
        steps=2,
        episode_return=float(success),
        max_ood_score=score,
        first_flagged_step=8 if flag else None,
        wall_s=0.5,
        message="",
        decisions=decisions,
        trajectory=(StepRecord((0.5, -0.5), (0.25,)), StepRecord((1.0, -1.0), (0.125,))),
    )


def cells(severities: tuple[int, ...] = (2, 5)) -> Iterator[CellHeader]:
    """The headers of a run like `quick`."""
    for label, n in RATES:
        for split in ("replay", "recall", "uniform"):
            yield header(label, n, split)
        if n == 30 and label not in ("open_loop", "random"):
            yield from (header(label, n, "recall", p, s) for p in PERTURBATIONS for s in severities)


def write_run(folder: Path, clean: int = 40, perturbed: int = 10, severities: tuple[int, ...] = (2, 5)) -> Path:
    """A whole run in `folder`, the same every time."""
    for head in cells(severities):
        rng = np.random.default_rng(int(head.key[:8], 16))
        recall, uniform = RATES[head.label, head.n]
        rate = {"recall": recall, "uniform": uniform, "replay": min(1.0, 1.3 * recall)}[head.split]
        count = {"replay": head.n}.get(head.split, clean) if head.severity == 0 else perturbed
        hit = rate * (1 - 0.19 * head.severity)
        write_cell(folder, head, [_drawn(rng, i, head, hit) for i in range(count)])
    for label, n, p50, weights, table in _MEASURES:
        write_measure(folder, f"{label}-{n}", measure(label, n, p50, weights, table))
    return folder


def _drawn(rng: np.random.Generator, number: int, head: CellHeader, rate: float) -> EpisodeRecord:
    score = flag = None
    if head.policy == "alt":
        score = float(np.float32(np.clip(rng.normal(0.1 + 0.12 * head.severity, 0.06), 0, 1)))
        flag = score > 0.3
    return episode(number, bool(rng.random() < rate), score, flag)


def measure(
    label: str, n: int = 30, p50: float | None = 0.01, weights: int | None = 1000, table: int | None = 0
) -> MeasureRecord:
    """One measurement on a CPU with one thread and 84×84 images."""
    return MeasureRecord(
        label=label,
        policy=label.partition("-")[0],
        preset="small",
        n=n,
        device="cpu",
        threads=1,
        image_size=(84, 84),
        latency_p50_s=p50,
        latency_p95_s=None if p50 is None else 1.2 * p50,
        latency_p99_s=None if p50 is None else 1.5 * p50,
        hz=None if p50 is None else 1 / p50,
        decisions_timed=40,
        weights_bytes=weights,
        table_bytes=table,
        disk_bytes=None if weights is None or table is None else weights + table,
        peak_rss_bytes=300_000_000,
        peak_vram_bytes=None,
        inference="DDIM, 10 steps" if label == "diffusion" else "",
        train_seconds=100.0,
    )


_MEASURES = [
    ("alt", 10, 0.0042, 2_900_000, 500_000),
    ("alt", 30, 0.0045, 2_900_000, 1_500_000),
    ("bc", 10, 0.0034, 2_950_000, 0),
    ("bc", 30, 0.0034, 2_950_000, 0),
    ("diffusion", 30, 0.15, 26_000_000, 0),
    ("open_loop", 30, 0.0009, 0, 400_000),
]


def build_flat(folder: Path) -> None:
    """Write episodes.parquet and decisions.parquet of all cells in `folder`, as a run does at its end."""
    keys = sorted(path.stem for path in (folder / CELLS).glob("*.parquet"))
    load_recorded(folder, keys).build_parquet(folder)
