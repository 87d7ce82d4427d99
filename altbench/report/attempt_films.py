"""Films of an expert's attempts: why does it fail?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from altbench.core.errors import UnknownNameError
from altbench.dataset.attempts import Attempt
from altbench.report import video

Which = Literal["last", "failed", "all"]
WATCHED: tuple[Which, ...] = ("failed", "all")
"""The attempts that `altbench demos collect --watch` films."""


def films_folder(path: Path) -> Path:
    """Return the folder for films of the attempts at demonstrations in the file `path`."""
    return path.with_name(path.name + ".films")


def check_watched(which: str) -> Which:
    """Return `which` if it is one of `WATCHED`; UnknownNameError if not."""
    for known in WATCHED:
        if which == known:
            return known
    raise UnknownNameError("kind of attempts to --watch", which, WATCHED)


@dataclass(frozen=True)
class AttemptFilms:
    """A `Watch` that writes attempts as films into `folder`, all cameras side by side.

    `which`: all attempts, those that failed, or only the last before the expert is
    given up.
    """

    folder: Path
    task: str
    control_hz: float
    which: Which = "last"

    @property
    def each(self) -> bool:
        """Whether every attempt must be recorded."""
        return self.which != "last"

    def __call__(self, attempt: Attempt) -> Path | None:
        """Film an attempt, if it is one to film; return the film's path."""
        wanted = {"all": True, "failed": not attempt.success, "last": not attempt.success and attempt.is_last}
        if not wanted[self.which] or not attempt.observations:
            return None
        outcome = "success" if attempt.success else "failure"
        path = self.folder / f"demo{attempt.index}-attempt{attempt.number}-{outcome}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = video.side_by_side([*attempt.pixels().values()])
        about = f"{self.task} demonstration {attempt.index}, attempt {attempt.number}"
        texts = [f"{about}, step {step}: {attempt.ended}" for step in range(len(frames))]
        video.write_mp4(path, video.caption(frames, texts), self.control_hz)
        return path
