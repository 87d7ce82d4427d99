"""Names for the shell's completion: sweeps, policies, tasks and the others.

They come from tables: no task and no policy is imported, so that a completion takes as
long as `altbench --help`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from altbench.core import registry
from altbench.core.registry import Kind


def sweeps(incomplete: str) -> list[str]:
    """Return the built-in sweeps and the TOML files that begin with `incomplete`."""
    folder = Path(__file__).parents[1] / "sweeps"
    return _beginning(incomplete, [*sorted(p.stem for p in folder.glob("*.toml")), *_files(incomplete, "*.toml")])


def policies(incomplete: str) -> list[str]:
    """Return the policies that begin with `incomplete`."""
    return _named("policy", incomplete)


def tasks(incomplete: str) -> list[str]:
    """Return the tasks that begin with `incomplete`."""
    return _named("task", incomplete)


def experiments(incomplete: str) -> list[str]:
    """Return the ids of the experiments that begin with `incomplete`."""
    from altbench.experiments import EXPERIMENTS

    return _beginning(incomplete, EXPERIMENTS)


def kinds(incomplete: str) -> list[str]:
    """Return the kinds of names that `altbench list` takes and that begin with `incomplete`."""
    return _beginning(incomplete, ("tasks", "policies", "perturbations", "sweeps", "experiments"))


def everything(incomplete: str) -> list[str]:
    """Return all names that `altbench show` knows and that begin with `incomplete`."""
    found = [name for kind in ("task", "policy", "perturbation") for name in registry.names(kind)]
    return _beginning(incomplete, dict.fromkeys([*found, *sweeps(incomplete), *experiments(incomplete)]))


def _named(kind: Kind, incomplete: str) -> list[str]:
    return _beginning(incomplete, registry.names(kind))


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _files(incomplete: str, pattern: str) -> list[str]:
    """Return the files of the folder that `incomplete` names, spelt as it spells them."""
    folder, slash, _ = incomplete.rpartition("/")
    place = Path(folder + slash) if slash else Path()
    return sorted(f"{folder}{slash}{path.name}" for path in place.glob(pattern)) if place.is_dir() else []
