"""Time limits of a policy's code: of each decision, and of an episode."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from altbench.core.errors import PolicyTimeout

LONGEST_DECISION_S = 86_400.0
"""The longest time limit of a decision, in seconds: a day. The kernel's timers take no
arbitrary number, and without any limit a policy that hangs would hold a run for ever.
"""

EPISODE_TIMEOUT_S = 1800.0
"""The usual time limit of an episode, in seconds: 50 times the longest published one."""


class Limits:
    """The time limits of an episode: of each decision, and of the whole."""

    def __init__(self, decision_s: float, episode_s: float) -> None:
        self.decision_s, self.episode_s = decision_s, episode_s
        self._began = time.monotonic()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Raise PolicyTimeout if the block takes too long, alone or with what preceded."""
        left = self.episode_s - (time.monotonic() - self._began)
        of_episode = f"the episode took over {self.episode_s:g} s (episode_timeout_s)"
        if left <= 0:
            raise PolicyTimeout(of_episode)
        message = of_episode if left < self.decision_s else f"no decision within {self.decision_s:g} s"
        with _time_limit(min(left, self.decision_s), message):
            yield


def decision_limit(seconds: float) -> AbstractContextManager[None]:
    """Limit the time of a policy's code outside an episode; PolicyTimeout after `seconds`."""
    return _time_limit(seconds, f"no decision within {seconds:g} s")


@contextmanager
def _time_limit(seconds: float, message: str) -> Iterator[None]:
    """Raise PolicyTimeout in the block after `seconds`, or `LONGEST_DECISION_S` if less.

    It is raised after the block too, since a policy may swallow it. Only Python code on
    the main thread can be interrupted in this way. The runner's watchdog replaces a
    worker that hangs elsewhere.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    late = False

    def expire(*_: object) -> None:
        nonlocal late
        late = True
        raise PolicyTimeout(message)

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, min(seconds, LONGEST_DECISION_S))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    if late:
        raise PolicyTimeout(message)
