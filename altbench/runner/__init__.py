"""Running a sweep: it becomes jobs, and jobs make the checkpoints, cells and
measurements of a run's folder.
"""

from altbench.runner.main import run

__all__ = ["run"]
