"""Two runs of the same episodes, compared pair by pair. `python examples/compare_runs.py`

Without arguments it makes two small runs that differ in one setting of one policy. With
two folders it compares those: `python examples/compare_runs.py results/quick results/new`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import altbench as ab


def main(task: str = "Lift", episodes: int = 20, root: Path | str = "results", workers: int | None = None) -> None:
    """Make a run with chunks of 8 and one with chunks of 4, and compare them."""
    runs = []
    for horizon in (8, 4):
        sweep = ab.Sweep(
            name=f"chunks-of-{horizon}",
            tasks=[task],
            demonstrations={"n": 10},
            policies=[{"policy": "kdtree", "n": [10], "config": {"action_horizon": horizon}}],
            evaluations=[{"split": "recall", "episodes": episodes}],
            measure=None,
        )
        runs.append(ab.run(sweep, Path(root) / sweep.name, workers))
    print(runs[0].compare(runs[1]))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(ab.open_run(sys.argv[1]).compare(sys.argv[2]))
    else:
        main()
