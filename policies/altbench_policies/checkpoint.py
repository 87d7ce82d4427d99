"""Checkpoints as plain files.

TOML holds values, safetensors weights, .npy arrays. Nothing is ever unpickled. Each
file is written to a temporary name and then renamed. `checkpoint.toml` is written last
and lists the others with their SHA-256. So a folder is either whole, or `read` refuses
it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import tomli_w
from numpy.typing import NDArray
from torch import Tensor, nn

from altbench import api
from altbench.api import CheckpointError, ConfigError, replacing

INDEX = "checkpoint.toml"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint.

    `values`: TOML values. `tensors`: name -> tensor; `read` puts them on the CPU.
    `arrays`: name -> plain array.
    """

    values: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def array(self, name: str) -> NDArray[Any]:
        """Return the array `name`; raise CheckpointError if it is missing."""
        if name not in self.arrays:
            raise CheckpointError(f"checkpoint: expected {name}.npy beside {INDEX}, it lists {sorted(self.arrays)}")
        return self.arrays[name]

    def value(self, name: str) -> Any:
        """Return the value `name`; raise CheckpointError if it is missing."""
        if name not in self.values:
            raise CheckpointError(f"{INDEX}: expected the key {name!r}, it has {sorted(self.values)}")
        return self.values[name]

    def only(self, prefix: str) -> Checkpoint:
        """Return the same with those tensors alone whose names begin with `prefix`, without it."""
        kept = {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}
        return Checkpoint(self.values, kept, self.arrays)

    def without(self, prefix: str) -> Checkpoint:
        """Return the same without the tensors whose names begin with `prefix`."""
        kept = {name: t for name, t in self.tensors.items() if not name.startswith(prefix)}
        return Checkpoint(self.values, kept, self.arrays)

    def fill(self, module: nn.Module) -> None:
        """Load `tensors` into `module`.

        Raises CheckpointError if names or shapes differ.
        """
        try:
            module.load_state_dict(dict(self.tensors))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{WEIGHTS}: these weights are of another configuration: {reason}") from None


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` into the existing `folder`."""
    write_tensors(folder / WEIGHTS, checkpoint.tensors)
    for name, array in checkpoint.arrays.items():
        _write_array(folder / f"{name}.npy", array)
    names = [WEIGHTS, *(f"{name}.npy" for name in checkpoint.arrays)]
    write_toml(folder / INDEX, {"values": checkpoint.values, "sha256": {n: sha256_of(folder / n) for n in names}})


def read(folder: Path) -> Checkpoint:
    """Read what `write` wrote.

    Raises CheckpointError, with the file's name, if a file is missing, damaged, or not
    of this format.
    """
    index = read_toml(folder / INDEX)
    files = index.get("sha256")
    if not isinstance(index.get("values"), dict) or not isinstance(files, dict) or WEIGHTS not in files:
        raise CheckpointError(f"{folder / INDEX}: expected [values], and [sha256] of {WEIGHTS}; fit and save again")
    for name, expected in files.items():
        if Path(name).name != name:
            raise CheckpointError(f"{folder / INDEX}: expected plain file names, got {name!r}")
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path}: missing, though {INDEX} lists it; fit and save the policy again")
        if sha256_of(path) != expected:
            raise CheckpointError(
                f"{path}: damaged, its SHA-256 is not the one in {INDEX}; fit and save the policy again"
            )
    unlisted = sorted({path.name for path in folder.glob("*.npy")} - set(files))
    if unlisted:  # cut off at the end of a line, the index is still TOML
        raise CheckpointError(
            f"{folder / INDEX}: damaged, it does not list {unlisted[0]}; fit and save the policy again"
        )
    arrays = {n.removesuffix(".npy"): _read_array(folder / n) for n in files if n.endswith(".npy")}
    return Checkpoint(index["values"], read_tensors(folder / WEIGHTS), arrays)


def write_toml(path: Path, values: Mapping[str, Any]) -> None:
    """Write `values` as TOML, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(tomli_w.dumps(values), encoding="utf-8")


def read_toml(path: Path) -> dict[str, Any]:
    """Read TOML; raise CheckpointError if the file is missing or is not valid TOML."""
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; is this a folder that a policy was saved to?")
    try:
        return api.read_toml(path)
    except ConfigError as error:
        raise CheckpointError(f"{error}; fit and save the policy again") from None


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        safetensors.torch.save_file(plain, temporary)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read safetensors to the CPU; raise CheckpointError if missing or damaged."""
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path, device="cpu")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; fit and save the policy again") from None
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: damaged ({error}); fit and save the policy again") from None
    return tensors


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def numpy_of(tensor: Tensor) -> NDArray[Any]:
    """Return the tensor as an array on the CPU."""
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def _read_array(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); fit and save the policy again") from None
    return array


def _write_array(path: Path, array: NDArray[Any]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
