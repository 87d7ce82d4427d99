"""A run's folder: cells, tables of episodes and decisions, measurements, checkpoints,
the sweeps run before.
"""

from altbench.results.frames import Recorded, load_cells, load_decisions, load_episodes, load_published, load_recorded
from altbench.results.measures import load_measures
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
