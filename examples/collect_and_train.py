"""Demonstrations collected, a policy trained on them, both kept. `python examples/collect_and_train.py`"""

from __future__ import annotations

from pathlib import Path

import altbench as ab


def main(
    task: str = "Lift", demonstrations: int = 10, steps: int = 300, episodes: int = 10, out: Path | str = "data"
) -> None:
    """Train behaviour cloning for a short time, save it, load it again and evaluate it."""
    shown = ab.collect(task, demonstrations, Path(out) / f"{task}.hdf5")
    policy = ab.make_policy("bc", task, train_steps=steps)
    policy.fit(shown, ab.FitContext(seed=0, progress=say))
    folder = Path(out) / f"{task}-bc"
    folder.mkdir(parents=True, exist_ok=True)
    policy.save(folder)
    again = ab.make_policy("bc", task, train_steps=steps)
    again.load(folder)
    ab.evaluate(again, task, split="recall", episodes=episodes, demonstrations=shown)


def say(done: int, total: int, metrics: dict[str, float]) -> None:
    """Print how far the training is."""
    print(f"\r{done}/{total} steps, loss {metrics.get('loss', float('nan')):.4f}", end="\n" if done == total else "")


if __name__ == "__main__":
    main()
