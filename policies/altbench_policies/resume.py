"""The state from which a killed training run resumes.

It is a safetensors file. A TOML file names it and is replaced atomically.
"""

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
LARGEST_SHARE = 0.05
"""The largest part of a run's time that is spent writing its state."""
LOGGER = logging.getLogger(__name__)


class HasTensors(Protocol):
    """An object whose whole state is a set of tensors."""

    def tensors(self) -> dict[str, Tensor]:
        """Return name -> live tensor."""
        ...


class Resumable:
    """The state of `learner` in `folder`, written from time to time and read back.

    `folder` None: nothing is written. `seconds`: time between two states, at least. A
    damaged state is not used, nor one of another `digest`; training then begins anew.
    """

    def __init__(self, folder: Path | None, learner: HasTensors, digest: str, seconds: float) -> None:
        self.folder, self.learner, self.seconds = folder, learner, seconds
        self.digest = f"{digest}-torch{torch.__version__}-threads{torch.get_num_threads()}"
        self._next = time.monotonic() + seconds

    def resume(self) -> int:
        """Restore the learner's saved state, if any; return the number of steps done."""
        if self.folder is None or not (self.folder / INDEX).is_file():
            return 0
        try:
            return self._restore(self.folder)
        except CheckpointError as error:
            LOGGER.warning("training begins anew: %s", error)
            return 0

    def save_if_due(self, step: int, last: bool) -> None:
        """Write the state if it is time for it, or if `step` was the last one."""
        if self.folder is None or not (last or time.monotonic() >= self._next):
            return
        begun = time.monotonic()
        name = f"state-{step}.safetensors"
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.write_tensors(self.folder / name, self.learner.tensors())
        # The index is written last and names the tensors, so it never names half a file.
        checkpoint.write_toml(self.folder / INDEX, {"step": step, "tensors": name, "fingerprint": self.digest})
        # A run that is killed while it writes leaves a hidden temporary file behind.
        for pattern in ("state-*.safetensors", ".state*.tmp"):
            for old in self.folder.glob(pattern):
                if old.name != name:
                    old.unlink()
        now = time.monotonic()
        self._next = now + max(self.seconds, (now - begun) / LARGEST_SHARE)

    def _restore(self, folder: Path) -> int:
        index = checkpoint.read_toml(folder / INDEX)
        if index.get("fingerprint") != self.digest:
            raise CheckpointError(f"{folder / INDEX}: it is of other data, another config, thread count or torch")
        saved, live = checkpoint.read_tensors(folder / str(index.get("tensors"))), self.learner.tensors()
        if saved.keys() != live.keys() or any(saved[k].shape != live[k].shape for k in live):
            raise CheckpointError(f"{folder / INDEX}: its tensors are of another network")
        with torch.no_grad():
            for name, tensor in live.items():
                tensor.copy_(saved[name])
        return int(index["step"])


def training_digest(policy: str, version: int, config: Mapping[str, Any], data: str) -> str:
    """Return the SHA-256 of everything that a training run depends on, in hexadecimal.

    `config` leaves out the fields that only acting reads. `data`: the digest of the
    frames.
    """
    parts = [policy, version, json.dumps(config, sort_keys=True), data]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
