"""VINN: the mean of what followed the nearest frames, weighted by how near they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from altbench.api import (
    Decision,
    Demonstration,
    FitContext,
    Float32,
    Footprint,
    Int64,
    Observation,
    Requirements,
    TaskInfo,
    Trainable,
    added,
)
from altbench_policies import checkpoint
from altbench_policies.alt import Alt, AltSpec
from altbench_policies.alt.config import RUNTIME_FIELDS
from altbench_policies.lookup.table import Table

NEIGHBOURS = (1, 2, 3, 5, 8, 12, 20)
"""The numbers of neighbours that are tried."""
BANDWIDTHS = (0.02, 0.05, 0.1, 0.2, 0.5)
"""The bandwidths that are tried, in units of the distance between keys, which is at most 2."""
ASKED = 300
"""How many frames are asked, spread evenly over the demonstrations."""


class VinnSpec(AltSpec):
    """Config of vinn: ALT's, and how neighbours are averaged.

    `neighbours`: k, how many frames are averaged. `bandwidth`: a neighbour at distance d
    has the weight exp(−d / bandwidth).

    What is 0 is chosen when fitting: the values by which the table best predicts the
    chunks of a demonstration that is left out of it.
    """

    # Several frames of all demonstrations are averaged at each decision.
    lookup: Literal["nearest", "monotone"] = added("nearest")
    first_key: Literal["learned", "whitened", "contrast"] = added("learned")
    score_against: Literal["followed", "all"] = added("followed")

    neighbours: int = Field(default=0, ge=0)
    bandwidth: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _looks_among_all_frames(self) -> Self:
        if self.lookup != "nearest":
            raise ValueError(
                f"lookup = {self.lookup!r} follows one demonstration, and vinn averages several: leave it out"
            )
        return self


@dataclass(frozen=True)
class Averaging:
    """How many neighbours are averaged, and by what bandwidth."""

    neighbours: int
    bandwidth: float

    def weights(self, similarities: Float32) -> Float32:
        """Return the weights (B, k) of neighbours by their similarities (B, k), nearest first.

        A row sums to 1.
        """
        distances = np.sqrt(np.maximum(0, 2 - 2 * similarities[:, : self.neighbours]))
        weights = np.exp((distances[:, :1] - distances) / self.bandwidth)
        found: Float32 = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        return found


class Vinn(Trainable[VinnSpec]):
    """Locally weighted regression of the chunk over ALT's key.

    Source: Pari et al. 2021 (arXiv 2112.01511).
    """

    name: ClassVar[str] = "vinn"
    version: ClassVar[int] = 1
    runtime_fields = RUNTIME_FIELDS

    def __init__(self, task: TaskInfo, config: VinnSpec) -> None:
        super().__init__(task, config)
        self.alt = Alt(task, config)
        self._averaging = Averaging(1, 1.0)

    @property
    def requirements(self) -> Requirements:
        """What the key needs."""
        return self.alt.requirements

    @property
    def averaging(self) -> Averaging:
        """The number of neighbours and the bandwidth, as given or chosen."""
        return self._averaging

    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Train the key, and choose neighbours and bandwidth."""
        self.alt.fit(demonstrations, context)
        self._averaging = choose(self.alt.fitted().table, self.config, self.task.arms)

    def save(self, folder: Path) -> None:
        """Write what ALT writes, with neighbours and bandwidth."""
        self.alt.save(folder)
        saved, own = checkpoint.read(folder), self._averaging
        values = {**saved.values, "neighbours": own.neighbours, "bandwidth": own.bandwidth}
        checkpoint.write(folder, checkpoint.Checkpoint(values, saved.tensors, saved.arrays))

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote.

        Raises CheckpointError if it is damaged or of another config.
        """
        self.alt.load(folder, device)
        saved = checkpoint.read(folder)
        self._averaging = Averaging(int(saved.value("neighbours")), float(saved.value("bandwidth")))

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Forget the last gripper command of each slot; nothing here is random."""
        self.alt.reset(slots, seeds)

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Return chunks (B, Ta, Da) with score, flag and matches, as ALT does."""
        table = self.alt.fitted().table
        self.alt.flag.check_begun(slots)
        found = table.lookup(self.alt.embed(observation), max(self.config.top_k, self._averaging.neighbours))
        weights = self._averaging.weights(found.similarities)
        chunk = average(table, found.rows[:, : weights.shape[1]], weights, self.config.action_horizon, self.task.arms)
        return self.alt.flag.decision(observation, slots, table, found, chunk, self.alt.threshold)

    def footprint(self) -> Footprint:
        """Return the bytes of the network, and of the table with its actions."""
        return self.alt.footprint()

    def inference_note(self) -> str:
        """Return ALT's note, with neighbours and bandwidth."""
        note, own = self.alt.inference_note(), self._averaging
        return f"{note}, {own.neighbours} neighbours, bandwidth {own.bandwidth:g}" if note else ""


def average(table: Table, rows: Int64, weights: Float32, horizon: int, arms: int) -> Float32:
    """Return the weighted means (B, `horizon`, Da) of the chunks that follow `rows` (B, k).

    A gripper's command is the one with more weight: a half-closed gripper holds nothing.

    `weights`: (B, k), summing to 1.
    """
    chunks = np.stack([table.demonstrated.chunk(column, horizon) for column in rows.T])
    mean = np.einsum("kbtd,bk->btd", chunks, weights)
    by_arm = mean.reshape(*mean.shape[:2], arms, -1)
    by_arm[..., -1] = np.where(by_arm[..., -1] > 0, 1, -1)
    found: Float32 = by_arm.reshape(mean.shape).astype(np.float32)
    return found


def choose(table: Table, config: VinnSpec, arms: int) -> Averaging:
    """Return neighbours and bandwidth: those of `config`, or the best ones if it has 0.

    Best by leave-one-demonstration-out: the least mean distance between the positions of
    a left-out frame's chunk and those predicted from the other demonstrations. With one
    demonstration a single neighbour is left.
    """
    counts = (config.neighbours,) if config.neighbours else NEIGHBOURS
    widths = (config.bandwidth,) if config.bandwidth else BANDWIDTHS
    tried = [Averaging(count, width) for count in counts for width in widths]
    if len(tried) == 1 or len(np.unique(table.demonstrated.episode)) < 2:
        return tried[0]
    asked = np.unique(np.linspace(0, len(table.index) - 1, ASKED).astype(np.int64))
    rows, similarities = _others(table, asked, max(counts))
    shown = _positions(table.demonstrated.chunk(asked, config.action_horizon), arms)

    def miss(tried: Averaging) -> float:
        weights = tried.weights(similarities)
        found = average(table, rows[:, : weights.shape[1]], weights, config.action_horizon, arms)
        return float(np.linalg.norm(_positions(found, arms) - shown, axis=-1).mean())

    return min(tried, key=miss)


def _others(table: Table, asked: Int64, count: int) -> tuple[Int64, Float32]:
    """Return rows and similarities (B, k) of the frames nearest to the rows `asked` (B,).

    Frames of the same demonstration are left out; k is at most `count`.
    """
    keys, episode = table.keys, table.demonstrated.episode
    similarities = keys[asked] @ keys.T
    similarities[episode[asked][:, None] == episode] = -np.inf
    fewest = int(np.isfinite(similarities).sum(axis=1).min())
    rows = np.argsort(-similarities, axis=1, kind="stable")[:, : min(count, fewest)]
    return rows, np.take_along_axis(similarities, rows, axis=1)


def _positions(chunks: Float32, arms: int) -> Float32:
    """Return the positions in chunks (B, Ta, Da): (B, Ta, arms, 3)."""
    return chunks.reshape(*chunks.shape[:2], arms, -1)[..., :3]
