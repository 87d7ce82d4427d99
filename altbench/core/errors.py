"""Every exception that altbench raises on purpose.

Each message states what was expected, what came, and what to do. `altbench.cli:main`
prints it as one line, as it does errors of files (OSError) and of texts or numbers that
the system refuses. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_SHOWN = 30
"""How many valid names an error lists at most; more would fill the screen."""
LIKENESS = 0.6
"""The least similarity of two names (difflib's ratio, 0 to 1) for a suggestion."""


class AltbenchError(Exception):
    """Base of all errors that the command line prints as their message alone."""


class ConfigError(AltbenchError):
    """A sweep file, option or configuration value that cannot be used."""


class UnknownNameError(ConfigError):
    """A name that is not in a registry.

    The message contains the valid name nearest to it, or nearest to `like` if given.
    """

    def __init__(self, kind: str, name: str, valid: Iterable[str], like: str = "") -> None:
        self.kind, self.name, self.valid, self.like = kind, name, tuple(sorted(valid)), like
        super().__init__(f"unknown {kind} {name!r}{suggestion(like or name, self.valid)}")

    def __reduce__(self) -> tuple[object, ...]:
        """Return what pickle needs to send the error to another process."""
        return type(self), (self.kind, self.name, self.valid, self.like)


class DatasetError(AltbenchError):
    """A demonstrations file that is missing, truncated, foreign or inconsistent."""


class EpisodeUnusable(DatasetError):
    """An episode that holds NaN or infinity. The others of its file can be used."""


class CheckpointError(AltbenchError):
    """A checkpoint folder that is missing, incomplete or made for something else."""


class ResultsError(AltbenchError):
    """A record or table of a run that is missing, truncated, foreign or ambiguous."""


class ContractError(AltbenchError):
    """A task or policy that breaks its contract: a wrong shape, dtype or value."""


class PolicyTimeout(AltbenchError):
    """A policy that took longer for one decision than the limit."""


class SimulationDiverged(AltbenchError):
    """The physics became unstable (MuJoCo's BADQPOS, BADQVEL or BADQACC warnings)."""


class PerturbationUnsupported(AltbenchError):
    """A perturbation of the scene on a task that has nothing for it to change."""


class RenderingUnavailable(AltbenchError):
    """No off-screen OpenGL back end works; the message names what to install."""


def suggestion(name: str, valid: Iterable[str]) -> str:
    """Return `; did you mean 'x'? (valid: ...)` for an error about `name`."""
    choices = list(valid)
    near = difflib.get_close_matches(name.lower(), [c.lower() for c in choices], n=1, cutoff=LIKENESS)
    nearest = next((c for c in choices if near and c.lower() == near[0]), None)
    shown = choices if len(choices) <= MOST_SHOWN else [*choices[:MOST_SHOWN], f"and {len(choices) - MOST_SHOWN} more"]
    listing = f" (valid: {', '.join(shown)})" if choices else ""
    return f"; did you mean {nearest!r}?{listing}" if nearest else listing
