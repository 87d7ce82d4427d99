"""Every exception that altbench raises on purpose.

Each message says what was expected, what came, and what to do about it. `main` in cli.py prints them as one line;
anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_SHOWN = 30
"""Of valid names, in an error about another."""
LIKENESS = 0.6
"""Of two names, from 0 to 1 (difflib's ratio), from which on one may be meant by the other."""


class AltbenchError(Exception):
    """Base of all errors whose message alone is enough for the user."""


class ConfigError(AltbenchError):
    """A sweep file, option or configuration value that cannot be used."""


class UnknownNameError(ConfigError):
    """A name that is in no registry; the message carries the valid one nearest to it, or to `like` where that is given."""

    def __init__(self, kind: str, name: str, valid: Iterable[str], like: str = "") -> None:
        self.kind, self.name, self.valid, self.like = kind, name, tuple(sorted(valid)), like
        super().__init__(f"unknown {kind} {name!r}{suggestion(like or name, self.valid)}")

    def __reduce__(self) -> tuple[object, ...]:
        """So that it can travel between processes."""
        return type(self), (self.kind, self.name, self.valid, self.like)


class DatasetError(AltbenchError):
    """A demonstrations file that is missing, truncated, foreign or inconsistent."""


class CheckpointError(AltbenchError):
    """A checkpoint folder that is missing, incomplete or made for something else."""


class ResultsError(AltbenchError):
    """A record or table of a run that is missing, truncated, foreign or ambiguous."""


class ContractError(AltbenchError):
    """A task or policy whose outputs break the contract in altbench.api (wrong shape, dtype, NaN, mismatch)."""


class PolicyTimeout(AltbenchError):
    """A policy that took longer over one decision than it may."""


class SimulationDiverged(AltbenchError):
    """The physics became unstable (MuJoCo's BADQPOS, BADQVEL or BADQACC warnings)."""


class PerturbationUnsupported(AltbenchError):
    """A perturbation of the scene for which a task has nothing to change."""


class RenderingUnavailable(AltbenchError):
    """No off-screen OpenGL back end works; the message names the Debian package to install."""


def suggestion(name: str, valid: Iterable[str]) -> str:
    """`; did you mean 'x'? (valid: ...)` for an error about `name`."""
    choices = list(valid)
    near = difflib.get_close_matches(name.lower(), [c.lower() for c in choices], n=1, cutoff=LIKENESS)
    nearest = next((c for c in choices if near and c.lower() == near[0]), None)
    shown = choices if len(choices) <= MOST_SHOWN else [*choices[:MOST_SHOWN], f"and {len(choices) - MOST_SHOWN} more"]
    listing = f" (valid: {', '.join(shown)})" if choices else ""
    return f"; did you mean {nearest!r}?{listing}" if nearest else listing
