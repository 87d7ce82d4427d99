"""What a worker reports of an episode: its phases, and the tracebacks of its errors."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

from altbench.results.folder import RunFolder
from altbench.rollout.records import OF_THE_POLICY, Status
from altbench.rollout.watch import ASKED, Phase, Watch
from altbench.runner.heartbeat import Heartbeat
from altbench.system.files import replacing
from altbench.system.job_log import append

TOLD: tuple[Status, ...] = (*OF_THE_POLICY, "infra_error")
"""The statuses whose tracebacks are kept."""


@dataclass(frozen=True)
class Notes:
    """Where tracebacks of a cell go: all into its `log`, the first into `first`, too."""

    log: Path
    first: Path

    def write(self, title: str, error: BaseException) -> None:
        """Add the traceback of `error` under `title`."""
        text = f"--- {title}\n{''.join(traceback.format_exception(error))}"
        append(self.log, text)
        if not self.first.exists():
            with replacing(self.first, durable=False) as temporary:
                temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def notes_of(folder: RunFolder, name: str, key: str) -> Notes:
    """Return the notes of the cell `name` with `key`."""
    return Notes(folder.log(name), folder.progress / f"{key}.traceback")


class EpisodeWatch(Watch):
    """A watch that writes pulses and tracebacks. `raises`: it raises a policy's errors.

    `phase`: the last phase in which the episode was, when an error ended it.
    """

    def __init__(self, heartbeat: Heartbeat, notes: Notes, episode: int, raises: bool) -> None:
        self.heartbeat, self.notes, self.episode, self.raises = heartbeat, notes, episode, raises
        self.phase: Phase = "simulator"
        self.failed_in: Phase | None = None

    @property
    def policy_failed(self) -> bool:
        """True if an error ended the episode while the policy was asked."""
        return self.failed_in in ASKED

    def enter(self, phase: Phase) -> None:
        """Report the phase, so that it is known even if this process dies in it."""
        self.phase = phase
        self.heartbeat.pulse(self.episode, phase)

    def caught(self, error: BaseException, status: Status) -> None:
        """Write the traceback down; raise `error` if it is the policy's, for a debugger."""
        self.failed_in = self.phase
        if status in TOLD:
            self.notes.write(f"episode {self.episode}: {status}", error)
        if self.raises and self.policy_failed:
            raise error
