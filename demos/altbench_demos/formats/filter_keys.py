"""robomimic's filter keys: `mask/KEY` lists the names of a subset's demonstrations.

Source: robomimic, scripts/split_train_val.py and utils/dataset.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py

from altbench.api import DatasetError, UnknownNameError, hdf5
from altbench_demos.formats import foreign_hdf5


def selected(path: Path, file: h5py.File, names: Sequence[str], key: str | None) -> list[str]:
    """Return those of `names` that the filter key lists; all if `key` is None.

    UnknownNameError with the file's keys if it has no such key. DatasetError if the key
    lists nothing, or demonstrations that the file does not have.
    """
    if key is None:
        return list(names)
    masks = hdf5.group(file, "mask") if "mask" in file else {}
    if not masks:
        raise DatasetError(f"{path}: expected filter keys in mask for --filter {key}, got a file without any")
    if key not in masks:
        raise UnknownNameError(f"filter key of {path}", key, masks)
    listed = set(foreign_hdf5.texts(masks, key))
    if missing := sorted(listed - set(names)):
        raise DatasetError(f"{path}: mask/{key}: expected names of its demonstrations, got {missing[:5]}")
    if not listed:
        raise DatasetError(f"{path}: mask/{key}: expected at least one demonstration, got none")
    return [name for name in names if name in listed]
