"""The index that searches a table's keys.

The search is exact, or, for more than about 10^4 frames, approximate and faster. All
indexes are FAISS's, built in one thread from fixed seeds, so that equal keys make equal
indexes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from altbench.api import CheckpointError, Float32, Int64, Spec, added

Kind = Literal["flat", "ivf", "hnsw", "pq"]
FLAT_NUMBERS = 1_500_000
"""Numbers (N · D) up to which "auto" is flat: it then takes 0.08 ms, 0.15 ms for twice that (README.md)."""
TRAINING_POINTS = 64
"""Points per centroid of k-means; more cost time and gain nothing."""
SEED = 1
"""Seed of k-means and of `nearby_queries`. Another one makes other indexes of equal keys."""
HNSW_BUILD = 80
"""FAISS's efConstruction: candidates at each step of building a graph."""
PQ_BITS = 4
"""Bits of a code; FAISS's fast scan, in registers, is made for 4."""
CLASSES = {"ivf": "IndexIVFFlat", "hnsw": "IndexHNSWFlat", "pq": "IndexRefine"}
"""Kind of index -> FAISS's class, as index.npy holds it."""
RERANKED = 30
"""Candidates of the fast scan that are compared again in 8 bits, for each frame asked for."""


class IndexSpec(Spec):
    """Config of the index.

    `index`: "flat" is exact. "ivf" looks into the `nprobe` nearest of `nlist` cells (0:
    4·√N cells). "hnsw" walks a graph with `hnsw_m` links per frame, `ef_search`
    candidates wide. "pq" compares `pq_m` parts of 4 bits, then the best candidates
    again in 8 bits per number; it takes a quarter of the memory. "auto" is flat as long
    as that is fast, then ivf. `key_precision`: precision of a flat index's keys, in
    memory and in the checkpoint.
    """

    index: Literal["flat", "ivf", "hnsw", "pq", "auto"] = added("flat")
    nlist: int = added(0, ge=0)
    nprobe: int = added(16, ge=1)
    hnsw_m: int = added(16, ge=2)
    ef_search: int = added(64, ge=1)
    pq_m: int = added(32, ge=1)
    key_precision: Literal["float32", "float16"] = added("float32")

    def kind(self, frames: int, dimension: int) -> Kind:
        """Return the index for `frames` keys of `dimension` numbers.

        "auto" is resolved; too few keys for codes are kept flat.
        """
        if self.index == "pq" and frames < 2**PQ_BITS:
            return "flat"
        if self.index == "auto":
            return "flat" if frames * dimension <= FLAT_NUMBERS else "ivf"
        return self.index


@dataclass(frozen=True)
class KeyIndex:
    """N keys of length 1, ready to be searched by inner product.

    `made`: FAISS's index, the only copy of the keys.
    """

    kind: Kind
    precision: str
    made: Any

    @classmethod
    def of(cls, keys: Float32, spec: IndexSpec) -> Self:
        """Build the index of `keys` (N, D)."""
        kind = spec.kind(*keys.shape)
        with one_thread():
            made = _BUILDERS[kind](np.ascontiguousarray(keys, dtype=np.float32), spec)
        return cls(kind, spec.key_precision, made)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], spec: IndexSpec) -> Self:
        """Build from what `arrays` returned.

        A flat index has `keys` (N, D), the others `index`, uint8. Raises
        CheckpointError if they are of another index than `spec` asks for.
        """
        if "keys" in arrays:
            keys = arrays["keys"]
            _check_same(f"{keys.dtype} keys of a flat index", spec, keys.shape, kind="flat", precision=str(keys.dtype))
            return cls.of(keys.astype(np.float32, copy=False), spec)
        if "index" not in arrays:
            raise CheckpointError("lookup table: expected keys.npy or index.npy; fit and save the policy again")
        made = read_index(arrays["index"])
        name = type(made).__name__
        kind = next((kind for kind, made_as in CLASSES.items() if made_as == name), name)
        _check_same(f"an index of the kind {kind!r}", spec, (made.ntotal, made.d), kind, spec.key_precision)
        return cls(spec.kind(made.ntotal, made.d), spec.key_precision, made)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `from_arrays` needs, under the names that a checkpoint gives it."""
        if self.kind == "flat":
            return {"keys": self.keys.astype(self.precision, copy=False)}
        return {"index": faiss.serialize_index(self.made)}

    def __len__(self) -> int:
        return int(self.made.ntotal)

    @property
    def exact(self) -> bool:
        """Whether it always finds the nearest key."""
        return self.kind == "flat" and self.precision == "float32"

    @property
    def keys(self) -> Float32:
        """A copy of the keys, float32 (N, D), in the precision that the index holds."""
        keys: Float32 = self.made.reconstruct_n(0, self.made.ntotal)
        return keys

    def rows(self, low: int, high: int) -> Float32:
        """Return the keys of the rows [`low`, `high`), float32 (high − low, D)."""
        keys: Float32 = self.made.reconstruct_n(low, high - low)
        return keys

    @property
    def bytes(self) -> int:
        """The number of bytes held: keys or codes, cells, links."""
        return sum(array.nbytes for array in self.arrays().values())

    def search(self, key: Float32, k: int) -> tuple[Float32, Int64]:
        """Return similarities and rows, each (1, k), of the keys nearest to one key.

        `key`: float32 (1, D), contiguous. If an approximate index finds fewer than `k`,
        the last one found is repeated.
        """
        similarities, rows = self.made.search(key, k)
        if rows[0, -1] < 0:
            found = max(1, int((rows[0] >= 0).sum()))
            rows[0, found:], similarities[0, found:] = rows[0, found - 1], similarities[0, found - 1]
        return similarities, rows


def read_index(saved: NDArray[Any]) -> Any:
    """Return FAISS's index from its own bytes, uint8 (n,).

    Raises CheckpointError if FAISS did not write them.
    """
    try:
        return faiss.deserialize_index(np.ascontiguousarray(saved, dtype=np.uint8))
    except RuntimeError as error:
        raise CheckpointError(f"index.npy: not an index that FAISS wrote: {str(error)[-200:]}") from None


def recall_at_1(index: KeyIndex, keys: Float32, episode: Int64, queries: int = 256) -> float:
    """Return how often `index` finds what exact search among `keys` (N, D) finds.

    It is asked at `nearby_queries`.
    """
    asked = nearby_queries(keys, episode, queries)
    found = [int(index.search(query[None], 1)[1][0, 0]) for query in asked]
    return float(np.mean(exact_rows(keys, asked) == found))


def nearby_queries(keys: Float32, episode: Int64, count: int) -> Float32:
    """Return at most `count` queries float32 (n, D) of length 1.

    They are the same ones each time. They are like those that arise between
    demonstrations: a key, moved in a random direction by its distance to the nearest
    key of another demonstration. So they are as far from the table as demonstrations
    are from each other. `keys`: (N, D); `episode`: int64 (N,).
    """
    rng = np.random.default_rng(SEED)
    rows = rng.choice(len(keys), min(count, len(keys)), replace=False)
    directions = rng.normal(size=(len(rows), keys.shape[1])).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    nearest = [np.where(episode == episode[row], -1.0, keys @ keys[row]).max() for row in rows]
    distances = np.sqrt(np.maximum(0.0, 2 - 2 * np.asarray(nearest, np.float32)))
    moved = keys[rows] + distances[:, None] * directions
    queries: Float32 = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return queries


def exact_rows(keys: Float32, queries: Float32) -> Int64:
    """Return the row of the key nearest to each of `queries` (n, D), int64 (n,)."""
    return np.array([(keys @ query).argmax() for query in queries])


@contextmanager
def one_thread() -> Iterator[None]:
    """Let FAISS build in one thread; afterwards it uses as many as torch.

    With one thread the order of work, and so the result, is fixed.
    """
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(torch.get_num_threads())


def _check_same(found: str, spec: IndexSpec, shape: tuple[int, ...], kind: str, precision: str) -> None:
    """Raise CheckpointError if a checkpoint's index is not the one that `spec` makes.

    It may be of another kind, or have keys of another precision. `found`: what the
    checkpoint holds, in words.
    """
    wanted = spec.kind(shape[0], shape[1])
    if wanted != kind or (kind == "flat" and spec.key_precision != precision):
        raise CheckpointError(
            f"lookup table: the checkpoint holds {found}, this config asks for another configuration: index = "
            f"{wanted!r}, key_precision = {spec.key_precision!r}; use those it was saved with, or fit again"
        )


def _flat(keys: Float32, spec: IndexSpec) -> Any:
    dimension = keys.shape[1]
    half = faiss.ScalarQuantizer.QT_fp16
    if spec.key_precision == "float16":
        index: Any = faiss.IndexScalarQuantizer(dimension, half, faiss.METRIC_INNER_PRODUCT)
    else:
        index = faiss.IndexFlatIP(dimension)
    index.add(keys)
    return index


def _ivf(keys: Float32, spec: IndexSpec) -> Any:
    cells = min(spec.nlist or round(4 * len(keys) ** 0.5), len(keys))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(keys.shape[1]), keys.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    _settle(index.cp)
    index.train(keys)
    index.add(keys)
    index.make_direct_map()
    index.nprobe = min(spec.nprobe, cells)
    return index


def _hnsw(keys: Float32, spec: IndexSpec) -> Any:
    index = faiss.IndexHNSWFlat(keys.shape[1], spec.hnsw_m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = HNSW_BUILD
    index.add(keys)
    index.hnsw.efSearch = spec.ef_search
    return index


def _pq(keys: Float32, spec: IndexSpec) -> Any:
    """Return coarse codes of `pq_m` half bytes, with a second, finer comparison.

    The coarse codes are scanned in registers; the best candidates are compared again in
    8 bits.
    """
    dimension = keys.shape[1]
    parts = next(m for m in range(min(spec.pq_m, dimension), 0, -1) if dimension % m == 0)
    coarse = faiss.IndexPQFastScan(dimension, parts, PQ_BITS, faiss.METRIC_INNER_PRODUCT)
    _settle(coarse.pq.cp)
    fine = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    index = faiss.IndexRefine(coarse, fine)
    index.k_factor = RERANKED
    index.train(keys)
    index.add(keys)
    return index


def _settle(clustering: Any) -> None:
    clustering.seed = SEED
    clustering.max_points_per_centroid = TRAINING_POINTS
    clustering.min_points_per_centroid = 1  # no warnings about few points


_BUILDERS = {"flat": _flat, "ivf": _ivf, "hnsw": _hnsw, "pq": _pq}
