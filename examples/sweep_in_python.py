"""A sweep made in Python, and a plot of it. `python examples/sweep_in_python.py`"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import seaborn as sns

import altbench as ab


def main(
    task: str = "Lift",
    demonstrations: int = 10,
    episodes: int = 20,
    out: Path | str = "results/mine",
    workers: int | None = None,
) -> None:
    """Play three lookup policies on three splits, and plot their success."""
    sweep = ab.Sweep(
        name="mine",
        tasks=[task],
        demonstrations={"n": demonstrations},
        policies=[{"policy": name, "n": [demonstrations]} for name in ("open_loop", "kdtree", "random")],
        evaluations=[{"split": split, "episodes": episodes} for split in ("recall", "uniform")],
        measure=None,
    )
    run = ab.run(sweep, out, workers)  # the same call again plays nothing twice
    played = run.episodes()
    print(played.groupby(["label", "split"])["success"].agg(["sum", "count"]))
    axes = sns.barplot(played, x="split", y="success", hue="label", errorbar=None)
    axes.set(ylabel="success", title=f"{task}, {demonstrations} demonstrations")
    axes.figure.savefig(Path(out) / "mine.png", dpi=150)
    plt.close(axes.figure)


if __name__ == "__main__":  # workers are processes that import this file again
    main()
