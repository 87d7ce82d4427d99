"""The frozen records that a run keeps: episodes, decisions, steps, cells, measurements.

They are plain dataclasses without heavy imports; `altbench.results` writes and reads
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal[
    "ok", "policy_error", "policy_timeout", "sim_diverged", "infra_error", "unsupported", "policy_crash", "given_up"
]
NOT_COUNTED: tuple[Status, ...] = ("infra_error", "unsupported")
"""The statuses that say nothing about the policy; no denominator contains them."""
MISSING: Status = "infra_error"
"""The status of an episode that should count and could not be played: it is tried again."""
OF_THE_POLICY: tuple[Status, ...] = ("policy_error", "policy_timeout", "policy_crash", "given_up")
"""The statuses of episodes that a policy's own error, time-out or crash ended."""
PerturbationStatus = Literal["applied", "skipped", "unsupported"]


@dataclass(frozen=True)
class DecisionRecord:
    """One decision, taken before control step `step`.

    `matches`: training (episode, frame), nearest first.
    """

    step: int
    latency_s: float
    ood_score: float | None
    is_ood: bool | None
    matches: tuple[tuple[int, int], ...]
    similarities: tuple[float, ...]


@dataclass(frozen=True)
class StepRecord:
    """One control step: the executed action (Da,) and `agent_pos` (Dp,) after it.

    Both are stored as float32.
    """

    action: tuple[float, ...]
    agent_pos: tuple[float, ...]


@dataclass(frozen=True)
class EpisodeRecord:
    """One episode.

    `max_ood_score`: None without a score. `first_flagged_step`: None if no flag was
    raised. `ood_threshold`: the score above which the policy raised its flags; None if
    the policy gave none or changed it during the episode. `moved`: whether the event
    took place; None without an event.

    `perturbation_status`: None without a perturbation; "skipped" if the perturbation
    changed nothing that the policy saw (severity 0, other cameras, no images, or an
    episode that ended before its step).

    The last three fields are None in records older than the field.
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
    """The identity of a cell.

    `label`: the policy entry's display name. `perturbation`: "clean" (severity 0)
    without one. `key`, `checkpoint_key`: SHA-256 of the canonical specifications.
    `spec_json`: the cell's own specification.
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
    """A cell as it was read: its header and its episodes in order."""

    header: CellHeader
    episodes: tuple[EpisodeRecord, ...]


@dataclass(frozen=True)
class MeasureRecord:
    """Time and memory of one policy for one decision at batch 1; None: not measured.

    Latencies in seconds. `image_size` (H, W): None if the policy uses no images.
    `peak_rss_bytes`: in addition to an empty process. `inference`: how decisions are
    made ("DDIM, 10 steps"). `data_share`: the fraction of training that was spent
    waiting for data. `machine`: the processor and the GPU; empty in records older than
    this field. `trained_on`: those that the checkpoint was trained on; `precision`: what
    it was trained in; None: unknown. `server_p50_s`, `server_p95_s`: the part of the
    latency that a policy's server told; `server_rss_bytes`: the server's own peak.
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
    server_p50_s: float | None = None
    server_p95_s: float | None = None
    server_rss_bytes: int | None = None
