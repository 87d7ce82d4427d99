"""Running a sweep: it becomes jobs, and jobs make the checkpoints, cells and
measurements of a run's folder.

`run` is loaded when it is first used: a worker process needs the jobs alone, and would
wait for what writes tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from altbench.runner.main import run

__all__ = ["run"]


def __getattr__(name: str) -> Any:
    """Load `run` when it is first used (PEP 562)."""
    if name != "run":
        raise AttributeError(f"module 'altbench.runner' has no attribute {name!r}")
    from altbench.runner.main import run

    return run
