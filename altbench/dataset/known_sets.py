"""Known sets of demonstrations: did another machine collect the same set?

Actions differ in their last bits between processors, and so does everything that
follows from contact. So a set is recognised by its seeds and its initial states, which
repeat exactly except for rounding, and by where the objects end, within a tolerance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tomli_w
from pydantic import Field

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ConfigError
from altbench.core.spec import Spec, read_toml
from altbench.core.types import Float64
from altbench.dataset.files import Dataset
from altbench.system.files import replacing

TOLERANCE = 0.02
"""How far each number of the last `environment_state` (m, or part of a rot6d) may
differ. It covers how different rounding grows through contacts."""
INITIAL_DECIMALS = 9
"""Decimals of the initial states that are hashed. Further ones differ between machines,
because sine and cosine do. Another value changes every hash in the manifest."""
FINAL_DECIMALS = 4
"""Decimals of the final objects in the manifest: far finer than `TOLERANCE`."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Known(Spec):
    """A task's known set.

    Demonstration i of `root_seed` on the grid was made from `seeds[i]`.
    `initial_states[i]`: the first 16 digits of the SHA-256 of its initial state.
    `final_objects[i]`: the last frame's `environment_state`, within `tolerance`.
    """

    task_version: int
    root_seed: int
    tolerance: float = Field(gt=0)
    seeds: tuple[Seed, ...] = Field(min_length=1)
    initial_states: tuple[str, ...]
    final_objects: tuple[tuple[float, ...], ...]


def load(path: Path | None = None) -> dict[str, Known]:
    """Load the manifest: task -> known set; empty if the file is missing."""
    path = path or registry.manifest()
    if not path.exists():
        return {}
    return {task: Known.parse(entry, f"{path.name}: {task}") for task, entry in read_toml(path).items()}


def save(known: Mapping[str, Known], path: Path | None = None) -> Path:
    """Write the manifest, sorted by task; return its path."""
    path = path or registry.manifest()
    entries = {task: known[task].model_dump(mode="json") for task in sorted(known)}
    text = "# Made by `altbench demos manifest --write`; altbench/dataset/known_sets.py says what it means.\n"
    text += tomli_w.dumps(entries)
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def describe(data: Dataset) -> Known:
    """Make the entry of `data`; ConfigError unless collected on the task's grid."""
    meta = data.meta
    if meta.placement != "grid" or any(d.seed < 0 for d in data.demonstrations):
        raise ConfigError(f"expected demonstrations of {meta.task} collected on its grid, got others")
    return Known(
        task_version=meta.task_version,
        root_seed=meta.root_seed,
        tolerance=TOLERANCE,
        seeds=tuple(d.seed for d in data.demonstrations),
        initial_states=tuple(_initial(d) for d in data.demonstrations),
        final_objects=tuple(tuple(_final(d).round(FINAL_DECIMALS).tolist()) for d in data.demonstrations),
    )


def verdict(data: Dataset, known: Mapping[str, Known]) -> tuple[bool | None, str]:
    """Judge whether `data` is the known set of its task; return that and a sentence.

    None: the manifest has no set to compare with.
    """
    meta, entry = data.meta, known.get(data.meta.task)
    if entry is None:
        return None, f"the manifest knows no set of {meta.task}"
    if meta.placement != "grid" or (meta.root_seed, meta.task_version) != (entry.root_seed, entry.task_version):
        wanted = f"the grid, root seed {entry.root_seed}, task version {entry.task_version}"
        got = f"{meta.placement}, root seed {meta.root_seed}, task version {meta.task_version}"
        return None, f"the manifest knows another set of {meta.task} ({wanted}, not {got})"
    faults = _faults(data.demonstrations, entry)
    compared = min(len(data), len(entry.seeds))
    if faults:
        shown = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
        return False, f"not the set that the manifest knows: {shown}"
    return True, f"the {compared} demonstrations that the manifest knows of {meta.task}, within {entry.tolerance:g}"


def _faults(demonstrations: Sequence[Demonstration], entry: Known) -> list[str]:
    found = []
    for d, seed, initial, final in zip(
        demonstrations, entry.seeds, entry.initial_states, entry.final_objects, strict=False
    ):
        if d.seed != seed:
            found.append(f"demonstration {d.index} was made from another seed")
        elif _initial(d) != initial:
            found.append(f"demonstration {d.index} begins in another state")
        elif _final(d).shape != (len(final),):
            found.append(
                f"demonstration {d.index} ends with {_final(d).size} numbers of objects instead of {len(final)}"
            )
        elif (error := float(np.abs(_final(d) - final).max())) > entry.tolerance:
            found.append(f"demonstration {d.index} ends with an object {error:.3g} away")
    return found


def _initial(d: Demonstration) -> str:
    parts = (d.initial_state.sim_state, d.initial_state.object_pose)
    # + 0.0: rounding leaves -0.0, whose bytes differ from 0.0's.
    content = b"".join((part.round(INITIAL_DECIMALS) + 0.0).tobytes() for part in parts)
    return hashlib.sha256(content).hexdigest()[:16]


def _final(d: Demonstration) -> Float64:
    seen = np.zeros((1, 0)) if d.environment_state is None else d.environment_state
    last: Float64 = seen[-1].astype(np.float64)
    return last
