"""Times a lookup in each index: `python benchmarks/lookup_indexes.py`.

All run side by side on one thread. Keys are random walks on the sphere that lie as
ALT's do: consecutive frames have a similarity of about 0.9, the same phase of another
demonstration one of 0.5 to 0.7. Queries lie between demonstrations
(`altbench_policies.lookup.index.nearby_queries`).
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from altbench.api import Float32, Float64, Int64
from altbench_policies.lookup.index import IndexSpec, KeyIndex, exact_rows, nearby_queries, one_thread

EPISODE_FRAMES = 100
"""Frames of a demonstration."""
MEMORY = 0.93
"""The part of a walk's state that stays from frame to frame."""
ROWS = (
    IndexSpec(),
    IndexSpec(key_precision="float16"),
    IndexSpec(index="ivf"),
    IndexSpec(index="hnsw"),
    IndexSpec(index="pq"),
)
"""The indexes that are compared."""


def walks(frames: int, dimension: int, rng: np.random.Generator) -> tuple[Float32, Int64]:
    """Return keys float32 (frames, dimension) of length 1, and their demonstrations.

    A demonstration has 100 frames; the second array has each key's demonstration,
    int64.
    """
    demonstrations = frames // EPISODE_FRAMES
    phase, own = (_walk((count, dimension), rng) for count in (1, demonstrations))
    keys = (phase + own).reshape(-1, dimension)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    return keys.astype(np.float32), np.repeat(np.arange(demonstrations), EPISODE_FRAMES)


def row(keys: Float32, queries: Float32, expected: Int64, spec: IndexSpec) -> str:
    """Return one row of the table.

    Median and 95th percentile of the time, recall@1, bytes, time to build.
    """
    began = time.perf_counter()
    index = KeyIndex.of(keys, spec)
    built = time.perf_counter() - began
    times, found = [], []
    for query in queries:
        began = time.perf_counter()
        _, rows = index.search(query[None], 3)
        times.append(1e3 * (time.perf_counter() - began))
        found.append(rows[0, 0])
    name = index.kind if spec.key_precision == "float32" else f"{index.kind}, {spec.key_precision}"
    p50, p95 = np.percentile(times, [50, 95])
    recall = float(np.mean(np.asarray(found) == expected))
    return f"| {name} | {p50:.3f} | {p95:.3f} | {recall:.3f} | {index.bytes / 1e6:.1f} | {built:.1f} |"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description="Time a lookup in each index, on one thread.")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--queries", type=int, default=1000)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    with one_thread():
        keys, episode = walks(wanted.frames, wanted.dimension, np.random.default_rng(0))
        queries = nearby_queries(keys, episode, wanted.queries)
        expected = exact_rows(keys, queries)
        print(f"{len(keys)} keys of {wanted.dimension} numbers, {len(queries)} queries, one thread")
        print("| index | p50 ms | p95 ms | recall@1 | MB | built in s |\n|---|---|---|---|---|---|")
        for spec in ROWS:
            print(row(keys, queries, expected, spec), flush=True)


def _walk(shape: tuple[int, int], rng: np.random.Generator) -> Float64:
    """Return Ornstein-Uhlenbeck walks of unit variance, (*shape[:1], 100, *shape[1:])."""
    state, steps = rng.normal(size=shape), []
    for _ in range(EPISODE_FRAMES):
        state = MEMORY * state + (1 - MEMORY**2) ** 0.5 * rng.normal(size=shape)
        steps.append(state)
    return np.stack(steps, axis=1)


if __name__ == "__main__":
    main()
