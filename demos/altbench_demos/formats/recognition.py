"""What foreign files say of themselves: their format, and which of our tasks they show."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py

from altbench.api import DatasetError, Recognised, Recogniser, hdf5
from altbench_demos.formats import foreign_hdf5

TASKS = {
    "Lift": "Lift",
    "Stack": "Stack",
    "PickPlaceCan": "Can",
    "NutAssemblySquare": "Square",
    "Door": "Door",
    "ToolHang": "ToolHang",
    "TwoArmTransport": "Transport",
}
"""robosuite's names of tasks -> ours."""
OUR_ID = re.compile(r"altbench/([\w.-]+)-v0", re.ASCII)


def of_robosuite(name: object, where: str) -> Recognised:
    """Return what robosuite's `name` of a task, or our id of one, means."""
    text = str(name)[:80]
    ours = OUR_ID.fullmatch(text)
    return Recognised(f"{where} {text!r}", ours[1] if ours else TASKS.get(text.removeprefix("MG_"), ""))


def in_hdf5(wanted: str, read: Callable[[h5py.Group], Recognised]) -> Recogniser:
    """Return a recogniser of HDF5 files whose group `data` has the attribute `wanted`."""

    def recognise(path: Path) -> Recognised | None:
        if not path.is_file():
            return None
        try:
            with foreign_hdf5.reading(path) as file:
                data = hdf5.group(file, "data")
                return read(data) if wanted in data.attrs else None
        except DatasetError:
            return None

    return recognise


def _robomimic(data: h5py.Group) -> Recognised:
    args: Mapping[str, Any] = hdf5.json_object("env_args", foreign_hdf5.text(data, "env_args"))
    return of_robosuite(args.get("env_name"), "env_args: env_name")


def _robosuite(data: h5py.Group) -> Recognised:
    return of_robosuite(foreign_hdf5.text(data, "env"), "data: env")


robomimic = in_hdf5("env_args", _robomimic)
robosuite = in_hdf5("env_info", _robosuite)
