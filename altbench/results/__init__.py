"""A run's folder: cells, tables of episodes and decisions, measurements, checkpoints,
the sweeps run before.
"""

from altbench.results.frames import load_cells, load_decisions, load_episodes, load_published, load_recorded
from altbench.results.measures import load_measures
from altbench.results.recorded import Recorded
from altbench.results.run import Run

__all__ = [
    "Recorded",
    "Run",
    "load_cells",
    "load_decisions",
    "load_episodes",
    "load_measures",
    "load_published",
    "load_recorded",
]
