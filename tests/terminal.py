"""The command line as a terminal sees it: exit status, standard output and standard error.

A process of its own would take a second or more to start, for each command.
"""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from unittest.mock import patch

from altbench.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


def altbench(*arguments: str) -> Ended:
    """Run `altbench ARGUMENTS...` in this process, from its entry point on.

    An exception that the command line lets through is raised: Python would print its traceback.
    """
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    status: object = None
    with (
        patch.object(sys, "argv", ["altbench", *arguments]),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
    ):
        try:
            main()
        except SystemExit as ended:
            status = ended.code
    shown = [stream.buffer.getvalue().decode() for stream in streams]  # type: ignore[attr-defined]
    return Ended(status if isinstance(status, int) else 0 if status is None else 1, *shown)
