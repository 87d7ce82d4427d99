"""The sweeps of one data set each that a sweep with several data seeds stands for."""

from __future__ import annotations

from pathlib import Path

from altbench.core.errors import ConfigError
from altbench.sweeps.spec import SweepSpec


def replicates(sweep: SweepSpec) -> dict[int, SweepSpec]:
    """Return data seed -> the sweep with these demonstrations; empty for a sweep of one data set."""
    return {seed: with_data_seed(sweep, seed) for seed in sweep.demonstrations.seeds}


def with_data_seed(sweep: SweepSpec, seed: int) -> SweepSpec:
    """Return `sweep` on the one data set `seed`.

    Training, episodes and perturbations are drawn anew as well: their root is the
    sweep's own plus `seed`. So data sets are independent, as intervals over them assume.
    """
    shown = sweep.demonstrations.model_copy(update={"seed": seed, "seeds": ()})
    root = sweep.seed + seed
    suffix = f"-data{seed}"
    name = sweep.name if sweep.name.endswith(suffix) else sweep.name + suffix  # `--data-seed` has named it already
    return sweep.model_copy(update={"name": name, "seed": root, "demonstrations": shown})


def folder_of(root: Path, seed: int) -> Path:
    """Return the folder of a data set's run under the folder `root` of them all."""
    return root / f"data{seed}"


def data_seeds_in(root: Path) -> tuple[int, ...]:
    """Return the data seeds that have a folder under `root`, in order."""
    names = (path.name.removeprefix("data") for path in root.glob("data*") if path.is_dir())
    return tuple(sorted(int(name) for name in names if name.isdecimal() and name == str(int(name))))


def require_one_data_set(sweep: SweepSpec, advice: str) -> None:
    """Raise ConfigError, with `advice`, for a sweep of several data sets."""
    if sweep.demonstrations.seeds:
        raise ConfigError(f"the sweep {sweep.name!r} has {len(sweep.demonstrations.seeds)} data seeds; {advice}")
