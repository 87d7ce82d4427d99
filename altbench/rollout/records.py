"""The frozen records that a run keeps: episodes with their decisions and steps, cells, measurements.

Plain dataclasses without heavy imports; altbench/results.py writes and reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "policy_error", "policy_timeout", "sim_diverged", "infra_error", "unsupported"]
NOT_COUNTED: tuple[Status, ...] = ("infra_error", "unsupported")
"""What says nothing about the policy, and is out of every denominator."""
PerturbationStatus = Literal["applied", "skipped", "unsupported"]


@dataclass(frozen=True)
class DecisionRecord:
    """One decision, taken before control step `step`; `matches`: training (episode, frame), nearest first."""

    step: int
    latency_s: float
    ood_score: float | None
    is_ood: bool | None
    matches: tuple[tuple[int, int], ...]
    similarities: tuple[float, ...]


@dataclass(frozen=True)
class StepRecord:
    """One control step: the action executed (Da,) and `agent_pos` (Dp,) after it; kept as float32."""

    action: tuple[float, ...]
    agent_pos: tuple[float, ...]


@dataclass(frozen=True)
class EpisodeRecord:
    """One episode. `max_ood_score`, `first_flagged_step`: None where there was no score, or no flag was raised.

    `perturbation_status`: None where there was no perturbation (or in records older than this field); "skipped" where it
    reached nothing that the policy saw (severity 0, other cameras, no images, ended before its step).
    `ood_threshold`: the score above which the policy raised its flags; None where it told none (or in older records), or
    changed it in the episode. `moved`: whether the event took place; None where there was to be none.
    """

    episode: int
    seed: int
    status: Status
    success: bool
    steps: int
    episode_return: float
    max_ood_score: float | None
    first_flagged_step: int | None
    wall_s: float
    message: str
    decisions: tuple[DecisionRecord, ...]
    trajectory: tuple[StepRecord, ...]
    perturbation_status: PerturbationStatus | None = None
    ood_threshold: float | None = None
    moved: bool | None = None


@dataclass(frozen=True)
class CellHeader:
    """What a cell is. `label`: the policy entry's display name; `perturbation`: "clean" (severity 0) for none.

    `key`, `checkpoint_key`: SHA-256 of the canonical specifications; `spec_json`: the cell's own.
    """

    key: str
    name: str
    task: str
    label: str
    policy: str
    preset: str
    n: int
    train_seed: int
    split: str
    perturbation: str
    severity: int
    checkpoint_key: str
    spec_json: str


@dataclass(frozen=True)
class CellResult:
    """A cell as read back: its header and its episodes in order."""

    header: CellHeader
    episodes: tuple[EpisodeRecord, ...]


@dataclass(frozen=True)
class MeasureRecord:
    """Time and memory of one policy, one decision at batch 1. None: not measured.

    Latencies in seconds; `image_size` (H, W), None where the policy sees no images; `peak_rss_bytes` over an empty
    process; `inference` says how actions are made ("DDIM, 10 steps"); `data_share` is the fraction of training that was
    spent waiting for data; `machine` names the processor and the GPU, empty in records older than this field. `trained_on`
    names those that the checkpoint was trained on and `precision` what it was trained in; None: not known.
    """

    label: str
    policy: str
    preset: str
    n: int
    device: str
    threads: int
    image_size: tuple[int, int] | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p99_s: float | None
    hz: float | None
    decisions_timed: int
    weights_bytes: int | None
    table_bytes: int | None
    disk_bytes: int | None
    peak_rss_bytes: int | None
    peak_vram_bytes: int | None
    inference: str
    train_seconds: float | None
    task: str = ""
    train_seed: int = 0
    data_share: float | None = None
    machine: str = ""
    trained_on: str | None = None
    precision: str | None = None
