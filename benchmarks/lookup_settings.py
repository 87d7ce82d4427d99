"""Plays the split `calibrate` with several settings of a lookup: `python benchmarks/lookup_settings.py`.

The settings are ALT's `margin`, and vinn's `neighbours` and `bandwidth`. Neither changes
what is trained. So each policy is trained once per task, and loaded with every value.
vinn's first row has the values that its fit chose. `calibrate` begins as `recall` does, with draws of
its own: what is chosen here was not chosen on `recall`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

import altbench as ab
from altbench.core.seeds import derive_seed
from altbench_policies import checkpoint

MARGINS = (0.0, 0.02, 0.05, 0.1, 0.2, 2.0)
"""ALT's margins. A similarity is at most 1, so that 2 never leaves a demonstration."""
NEIGHBOURS = (1, 3, 8, 20)
BANDWIDTHS = (0.05, 0.2)
"""vinn's settings; its own are among the finer values that its fit tries."""


def train(policy: str, task: str, shown: Sequence[ab.Demonstration], folder: Path) -> None:
    """Train `policy` as a sweep of seed 0 does, and save it."""
    made = ab.make_policy(policy, task)
    made.fit(shown, ab.FitContext(seed=derive_seed(0, "train", 0)))
    folder.mkdir()
    made.save(folder)


def alt_rows(task: str, folder: Path) -> Iterator[tuple[str, ab.Policy]]:
    """Load ALT with each margin."""
    for margin in MARGINS:
        policy = ab.make_policy("alt", task, margin=margin)
        policy.load(folder)
        yield f"alt, margin {margin:g}", policy


def vinn_rows(task: str, folder: Path) -> Iterator[tuple[str, ab.Policy]]:
    """Load vinn as it was fitted, then with each number of neighbours and bandwidth."""
    fitted = checkpoint.read(folder)
    own = (int(fitted.value("neighbours")), float(fitted.value("bandwidth")))
    for index, (neighbours, bandwidth) in enumerate([own, *((k, h) for k in NEIGHBOURS for h in BANDWIDTHS)]):
        values = {**fitted.values, "neighbours": neighbours, "bandwidth": bandwidth}
        copy = folder / str(index)
        copy.mkdir()
        checkpoint.write(copy, checkpoint.Checkpoint(values, fitted.tensors, fitted.arrays))
        policy = ab.make_policy("vinn", task)
        policy.load(copy)
        yield f"vinn, {neighbours} neighbours, bandwidth {bandwidth:g}" + (" (its own)" if index == 0 else ""), policy


def main() -> None:
    """Print successes of each setting, a task a column."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", help="repeatable; default: Can and Lift")
    parser.add_argument("--data-seed", type=int, default=0, help="root of the demonstrations; default: 0")
    parser.add_argument("--demonstrations", type=int, default=30)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--split", default="calibrate")
    given = parser.parse_args()
    table: dict[str, dict[str, int]] = {}
    for task in given.task or ("Can", "Lift"):
        with tempfile.TemporaryDirectory() as scratch:
            shown = ab.collect(task, given.demonstrations, seed=given.data_seed)
            for name, rows in (("alt", alt_rows), ("vinn", vinn_rows)):
                train(name, task, shown, Path(scratch) / name)
                for label, policy in rows(task, Path(scratch) / name):
                    played = ab.evaluate(
                        policy, task, split=given.split, episodes=given.episodes, demonstrations=shown, quiet=True
                    )
                    table.setdefault(label, {})[task] = int(played["success"].sum())
                    print(f"{task}: {label}: {table[label][task]} of {given.episodes}", flush=True)
    print(pd.DataFrame.from_dict(table, orient="index").astype("Int64").to_markdown())


if __name__ == "__main__":
    main()
