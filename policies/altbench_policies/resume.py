"""The state that a killed training run goes on from: safetensors named by a TOML file that is replaced atomically."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from altbench.api import CheckpointError
from altbench_policies import checkpoint

INDEX = "state.toml"
LARGEST_SHARE = 0.05  # of the time that writing the state may take
LOGGER = logging.getLogger(__name__)


class HasTensors(Protocol):
    """Something whose whole state is a set of tensors."""

    def tensors(self) -> dict[str, Tensor]:
        """Name -> live tensor."""
        ...


class Resumable:
    """Writes the state of `learner` into `folder` now and then (never where it is None), and reads it back.

    A state of another `fingerprint`, and one that is damaged, is not used: training then begins anew.
    """

    def __init__(self, folder: Path | None, learner: HasTensors, fingerprint: str, seconds: float) -> None:
        self.folder, self.learner, self.seconds = folder, learner, seconds
        self.fingerprint = f"{fingerprint}-torch{torch.__version__}-threads{torch.get_num_threads()}"
        self._next = time.monotonic() + seconds

    def resume(self) -> int:
        """Restore the state into the learner, if there is one; the number of steps done so far."""
        if self.folder is None or not (self.folder / INDEX).is_file():
            return 0
        try:
            return self._restore(self.folder)
        except CheckpointError as error:
            LOGGER.warning("training begins anew: %s", error)
            return 0

    def save_if_due(self, step: int, last: bool) -> None:
        """Write the state if its time has come, or these were the last steps."""
        if self.folder is None or not (last or time.monotonic() >= self._next):
            return
        begun = time.monotonic()
        name = f"state-{step}.safetensors"
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.write_tensors(self.folder / name, self.learner.tensors())
        checkpoint.write_toml(self.folder / INDEX, {"step": step, "tensors": name, "fingerprint": self.fingerprint})
        for old in self.folder.glob("state-*.safetensors*"):
            if old.name != name:
                old.unlink()
        now = time.monotonic()
        self._next = now + max(self.seconds, (now - begun) / LARGEST_SHARE)

    def _restore(self, folder: Path) -> int:
        index = checkpoint.read_toml(folder / INDEX)
        if index.get("fingerprint") != self.fingerprint:
            raise CheckpointError(f"{folder / INDEX}: of other data, settings, thread count or torch")
        saved, live = checkpoint.read_tensors(folder / str(index.get("tensors"))), self.learner.tensors()
        if saved.keys() != live.keys() or any(saved[k].shape != live[k].shape for k in live):
            raise CheckpointError(f"{folder / INDEX}: of another network")
        with torch.no_grad():
            for name, tensor in live.items():
                tensor.copy_(saved[name])
        return int(index["step"])


def training_digest(policy: str, version: int, config: Mapping[str, Any], data: str) -> str:
    """SHA-256 of what a training run depends on, in hexadecimal; `settings` without those that only acting reads."""
    parts = [policy, version, json.dumps(config, sort_keys=True, default=str), data]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
