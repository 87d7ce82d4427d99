"""Whose fault an error in an episode is: the policy's, the simulator's, or the machine's."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from altbench.core.errors import PerturbationUnsupported, PolicyTimeout, SimulationDiverged
from altbench.rollout.records import Status


class PolicyError(Exception):
    """An exception of a policy, or a decision that breaks the contract."""


@contextmanager
def policy_at_fault() -> Iterator[None]:
    """Turn errors in the block into PolicyError; a time limit, Ctrl-C and a lack of memory stay what they are."""
    try:
        yield
    except PolicyTimeout:
        raise
    except BaseException as error:
        if _out_of_memory(error) or _from_the_user(error):
            raise  # memory may be lacking due to other processes on the machine
        raise PolicyError(_one_line(error)) from error


def _from_the_user(error: BaseException) -> bool:
    """Return whether `error` is a Ctrl-C. Workers ignore it, so there it is the policy's."""
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def _out_of_memory(error: BaseException) -> bool:
    """Return whether `error` reports a lack of memory.

    torch's own error is recognised by its name, so that torch need not be imported.
    """
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def ending(error: Exception) -> tuple[Status, str]:
    """Return the status and the message of an episode that `error` ended."""
    if isinstance(error, PerturbationUnsupported):
        return "unsupported", str(error)
    if isinstance(error, SimulationDiverged):
        return "sim_diverged", str(error)
    if isinstance(error, PolicyTimeout):
        return "policy_timeout", str(error)
    if isinstance(error, PolicyError):
        return "policy_error", str(error)
    return "infra_error", _one_line(error)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500]
