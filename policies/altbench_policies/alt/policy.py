"""ALT: encode the present frame, look up the nearest training frame, act as it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from altbench.api import (
    ConfigError,
    Decision,
    Demonstration,
    FitContext,
    Float32,
    Footprint,
    Observation,
    Requirements,
    TaskInfo,
    Trainable,
)
from altbench_policies import checkpoint, input_checks
from altbench_policies.alt.config import PRESETS, RUNTIME_FIELDS, AltSpec
from altbench_policies.alt.demonstrations import DemonstrationObjective
from altbench_policies.alt.network import KeyNetwork, PairObjective
from altbench_policies.checkpoint import Checkpoint
from altbench_policies.frames import Frames, join
from altbench_policies.half_precision import hold_in_half
from altbench_policies.lookup.first_key import FirstKey
from altbench_policies.lookup.flag import Flag
from altbench_policies.lookup.following import Follower
from altbench_policies.lookup.frames import Demonstrated
from altbench_policies.lookup.table import Lookup, Table, leave_one_out_scores
from altbench_policies.resume import training_digest
from altbench_policies.training import train
from altbench_policies.vision import count_bytes, seeded_network

NOTES = ("weights_sha256",)
"""Values that a checkpoint may have beyond what acting needs."""
PREFIX = "first_key."
"""Before the names of the first key's tensors in a checkpoint."""


@dataclass(frozen=True)
class Fitted:
    """What fitting makes.

    `network`: the key's network. `calibration_scores`: one per demonstration. `recall`:
    how often the lookup finds what exact search finds. `notes`: what else a checkpoint
    records of the fit. `first_key`: finds the demonstration to follow, if the config
    asks for one. `first_network`: makes its key, if it is not the lookup's own.
    """

    network: KeyNetwork
    table: Table
    calibration_scores: Float32
    recall: float
    notes: Mapping[str, str] = field(default_factory=dict)
    first_key: FirstKey | None = None
    first_network: KeyNetwork | None = None


class Alt(Trainable[AltSpec]):
    """The action lookup table: what followed the most similar training frame.

    Source: He et al. 2025 (arXiv 2505.05787).
    """

    name: ClassVar[str] = "alt"
    version: ClassVar[int] = 1
    presets = PRESETS
    renamed_presets: ClassVar = {"published_size": "paper"}
    runtime_fields = RUNTIME_FIELDS

    def __init__(self, task: TaskInfo, config: AltSpec) -> None:
        super().__init__(task, config)
        self.cameras = config.cameras or task.cameras
        foreign = [camera for camera in config.first_cameras if camera not in self.cameras]
        if foreign:
            raise ConfigError(f"alt: first_cameras: expected some of {self.cameras}, got {foreign[0]!r}")
        self._fitted: Fitted | None = None
        self.flag = Flag(config, task.arms, config.control_mode)
        self._follower = Follower(config, config.top_k)

    @property
    def requirements(self) -> Requirements:
        """Images of its cameras; the last frame alone is looked at."""
        horizon = self.config.action_horizon
        size = self._fitted.network.image_size if self._fitted else None
        mode = self.config.control_mode
        return Requirements(self.cameras, self.config.obs_horizon, horizon, horizon, mode, size)

    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Train the key, embed every frame, and calibrate the threshold.

        The frames are embedded without augmentation.
        """
        frames = join(demonstrations, self.cameras, context.device, self.config.control_mode)
        network = self._network(self.config, frames.image_size, context.seed, context.device)
        network.pose_range.fit(frames.agent_pos)
        notes = {"weights_sha256": network.load_pretrained()} if self.config.weights else {}
        train(
            network,
            PairObjective(network, frames),
            self.config,
            context,
            frames=len(frames),
            images_per_step=2 * len(self.cameras) * min(self.config.batch_size, len(frames)),
            digest=self._training_digest(frames),
        )
        self._settle(network)
        keys = network.embed_frames(frames)
        table = Table.of(frames, keys, self.config)
        scores = leave_one_out_scores(table, self.config.action_horizon)
        first = self._make_first_key(frames, keys, table.demonstrated, context)
        self._fitted = Fitted(network, table, scores, table.recall_at_1(keys), notes, *first)

    def save(self, folder: Path) -> None:
        """Write the network, the table and the calibration scores."""
        fitted = self.fitted()
        values: dict[str, Any] = {"image_size": list(fitted.network.image_size), **fitted.notes}
        if not fitted.table.index.exact:
            values["recall_at_1"] = fitted.recall
        arrays = {**fitted.table.arrays(), "calibration_scores": fitted.calibration_scores}
        tensors = fitted.network.state_dict()
        if fitted.first_key:
            arrays |= fitted.first_key.arrays()
        if fitted.first_network:
            tensors |= {f"{PREFIX}{name}": t for name, t in fitted.first_network.state_dict().items()}
        checkpoint.write(folder, checkpoint.Checkpoint(values, tensors, arrays))

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote.

        Raises CheckpointError if it is damaged or of another config.
        """
        saved = checkpoint.read(folder)
        height, width = saved.value("image_size")
        network = self._network(self.config, (height, width), 0, device)
        self._settle(network)
        saved.without(PREFIX).fill(network)
        table = Table.from_arrays(saved.arrays, self.config)
        recall = 1.0 if table.index.exact else float(saved.value("recall_at_1"))
        notes = {name: saved.values[name] for name in NOTES if name in saved.values}
        first = self._load_first_key(saved, (height, width), device)
        self._fitted = Fitted(network.eval(), table, saved.array("calibration_scores"), recall, notes, *first)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Forget what each slot followed, and its last gripper command."""
        del seeds  # nothing here is random
        self.flag.reset(slots)
        self._follower.reset(slots)

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Return chunks (B, Ta, Da) with score, flag and matches."""
        table = self.fitted().table
        self.flag.check_begun(slots)
        found = self._look_up(self.embed(observation), observation, slots)
        chunk = table.demonstrated.chunk(found.rows[:, 0], self.config.action_horizon)
        return self.flag.decision(observation, slots, table, found, chunk, self.threshold)

    def _look_up(self, keys: Float32, observation: Observation, slots: Sequence[int]) -> Lookup:
        """Find the frames for `keys` (B, D), as `lookup` says."""
        fitted = self.fitted()
        if self.config.lookup == "nearest":
            return fitted.table.lookup(keys, self.config.top_k)
        first = fitted.first_key
        fresh = [b for b, slot in enumerate(slots) if not self._follower.follows(slot)] if first else []
        begun = {}
        if first and fresh:
            own = self._embed(fitted.first_network, observation) if fitted.first_network else first.project(keys)
            begun = {slots[b]: first.nearest(own[b]) for b in fresh}
        return self._follower.lookup(fitted.table, keys, slots, begun)

    def embed(self, observation: Observation) -> Float32:
        """Return the key of each slot's last frame, float32 (B, D) of length 1."""
        return self._embed(self.fitted().network, observation)

    def _embed(self, network: KeyNetwork, observation: Observation) -> Float32:
        last = {c: input_checks.images(observation, c, network.image_size)[:, -1] for c in network.cameras}
        return network.embed(last, torch.from_numpy(observation.agent_pos[:, -1]))

    @property
    def threshold(self) -> float:
        """The score above which a frame is out of distribution."""
        return self.flag.threshold(self.fitted().calibration_scores)

    def footprint(self) -> Footprint:
        """Return the bytes of the network, and of the table with its actions."""
        if self._fitted is None:
            return Footprint()
        fitted = self._fitted
        networks = [network for network in (fitted.network, fitted.first_network) if network]
        first = fitted.first_key.bytes if fitted.first_key else 0
        return Footprint(sum(map(count_bytes, networks)), fitted.table.bytes + first)

    def inference_note(self) -> str:
        """Return the index and its size; if it is not exact, also its recall@1."""
        if self._fitted is None:
            return ""
        index = self._fitted.table.index
        note = f"{index.kind} index, {len(index)} frames"
        return note if index.exact else f"{note}, recall@1 {self._fitted.recall:.3f}"

    def fitted(self) -> Fitted:
        """Return what `fit` made; raise CheckpointError before `fit` or `load`."""
        if self._fitted is None:
            raise input_checks.not_fitted(self.name)
        return self._fitted

    def _make_first_key(
        self, frames: Frames, keys: Float32, demonstrated: Demonstrated, context: FitContext
    ) -> tuple[FirstKey | None, KeyNetwork | None]:
        """Return the key that finds the demonstration to follow, and its network.

        Without a key the learned one finds it.
        """
        if self.config.first_key == "learned":
            return None, None
        if self.config.first_key == "whitened":
            return FirstKey.whitened(keys, demonstrated, self.config.first_frames, self.config.shrinkage), None
        config = self._first_config
        network = self._network(config, frames.image_size, context.seed, context.device)
        network.pose_range.fit(frames.agent_pos)
        if self.config.weights:
            network.load_pretrained()
        objective = DemonstrationObjective(network, frames)
        train(
            network,
            objective,
            config,
            replace(context, folder=context.folder and context.folder / "first_key"),
            frames=len(frames),
            images_per_step=2 * len(network.cameras) * min(config.batch_size, len(objective.begins)),
            digest=self._training_digest(frames),
        )
        self._settle(network)
        starts = objective.begins.to(frames.agent_pos.device)
        pixels = {camera: frames.pixels[camera][starts] for camera in network.cameras}
        shown = network.embed(pixels, frames.agent_pos[starts])
        return FirstKey(shown), network

    def _load_first_key(
        self, saved: Checkpoint, image_size: tuple[int, int], device: str
    ) -> tuple[FirstKey | None, KeyNetwork | None]:
        """Return the first key of a checkpoint and its network, as far as the config has them."""
        if self.config.first_key != "contrast":
            projected = self.config.first_key == "whitened"
            return FirstKey.from_arrays(saved.arrays, projected=True) if projected else None, None
        network = self._network(self._first_config, image_size, 0, device)
        self._settle(network)
        saved.only(PREFIX).fill(network)
        return FirstKey.from_arrays(saved.arrays, projected=False), network.eval()

    @property
    def _first_config(self) -> AltSpec:
        """The config of the first key's network: its own cameras, and no thumbnails."""
        own = self.config.first_cameras or self.cameras[:1]
        return self.config.model_copy(update={"appearance": 0.0, "cameras": own})

    def _network(self, config: AltSpec, image_size: tuple[int, int], seed: int, device: str) -> KeyNetwork:
        return seeded_network(
            lambda: KeyNetwork(config, config.cameras or self.cameras, self.task.agent_pos_dim, image_size),
            seed,
            device,
        )

    def _settle(self, network: KeyNetwork) -> None:
        """Round a trained network to the precision that it is held in."""
        if self.config.weight_precision == "float16":
            hold_in_half(network)

    def _training_digest(self, frames: Frames) -> str:
        config = self.config.model_dump(exclude=set(self.runtime_fields))
        return training_digest(self.name, self.version, config, frames.digest())
