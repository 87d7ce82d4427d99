"""Runs of sweeps in tests: without tables, figures and a renderer, in this process unless told otherwise."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from altbench.results.folder import RunFolder
from altbench.results.run import Run
from altbench.runner.executors import Executor, InlineExecutor
from altbench.runner.main import Summary, complete
from altbench.runner.progress import Board
from altbench.sweeps.spec import SweepSpec


def run_bare(sweep: SweepSpec, root: Path, executor: Executor | None = None, board: Board | None = None) -> Summary:
    """Do what is not finished of `sweep` under `root`, and nothing else."""
    board = board or Board(Console(file=io.StringIO()))
    with RunFolder(root).locked():
        return complete(Run.begin(root, sweep, "none"), executor or InlineExecutor(), board)
