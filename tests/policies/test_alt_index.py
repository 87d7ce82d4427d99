"""The indexes of ALT's table: what they find, how they repeat, and what a checkpoint holds of them."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from altbench.core.errors import CheckpointError
from altbench_policies.lookup.index import FLAT_NUMBERS, IndexSpec, KeyIndex, recall_at_1

INEXACT = ("ivf", "hnsw", "pq")
BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "lookup_indexes.py"))


@pytest.fixture(scope="module")
def table():
    """3,000 keys of 30 demonstrations, and the demonstration of each."""
    torch.set_num_threads(1)
    return BENCHMARK["walks"](3000, 32, np.random.default_rng(0))


def everything(index):
    return next(iter(index.arrays().values()))


@pytest.mark.parametrize("kind", INEXACT)
def test_an_index_finds_nearly_what_exact_search_does(kind, table):
    keys, episode = table
    index = KeyIndex.of(keys, IndexSpec(index=kind))
    similarities, rows = index.search(keys[7:8], 5)
    assert rows[0, 0] == 7
    assert similarities[0] == pytest.approx((keys @ keys[7])[rows[0]], abs=0.01)
    assert 0.9 <= recall_at_1(index, keys, episode) <= 1.0
    np.testing.assert_allclose(index.keys, keys, atol=0.02)


def test_recall_notices_an_index_that_looks_in_too_few_places(table):
    keys, episode = table
    narrow, wide = (KeyIndex.of(keys, IndexSpec(index="ivf", nlist=300, nprobe=n)) for n in (1, 300))
    assert recall_at_1(narrow, keys, episode) < recall_at_1(wide, keys, episode) == 1.0
    assert recall_at_1(KeyIndex.of(keys, IndexSpec()), keys, episode) == 1.0


@pytest.mark.parametrize("kind", INEXACT)
def test_equal_keys_make_equal_indexes(kind, table):
    first, second = (KeyIndex.of(table[0], IndexSpec(index=kind)) for _ in range(2))
    np.testing.assert_array_equal(everything(first), everything(second))


@pytest.mark.parametrize("spec", [IndexSpec(index=kind) for kind in INEXACT] + [IndexSpec(key_precision="float16")])
def test_an_index_read_back_finds_the_same(spec, table):
    index = KeyIndex.of(table[0], spec)
    again = KeyIndex.from_arrays(index.arrays(), spec)
    assert again.bytes == index.bytes
    for row in range(0, 3000, 100):
        for found, expected in zip(
            again.search(table[0][row][None], 3), index.search(table[0][row][None], 3), strict=True
        ):
            np.testing.assert_array_equal(found, expected)


def test_half_precision_keys_are_held_and_saved_in_half(table):
    index = KeyIndex.of(table[0], IndexSpec(key_precision="float16"))
    assert index.made.code_size == 32 * 2
    assert index.arrays()["keys"].dtype == np.float16
    assert index.bytes == 3000 * 32 * 2
    assert not index.exact


def test_auto_is_exact_while_that_is_fast():
    spec = IndexSpec(index="auto")
    assert spec.kind(FLAT_NUMBERS // 128, 128) == "flat"
    assert spec.kind(FLAT_NUMBERS // 128 + 1, 128) == "ivf"
    assert IndexSpec().kind(10**9, 128) == "flat"


def test_a_table_smaller_than_the_cells_asked_for_still_answers():
    keys = np.eye(4, 8, dtype=np.float32)
    for kind in INEXACT:
        index = KeyIndex.of(keys, IndexSpec(index=kind, nlist=100, nprobe=1))
        similarities, rows = index.search(keys[2:3], 4)
        assert rows[0, 0] == 2
        assert rows.min() >= 0
        assert np.isfinite(similarities).all()


@pytest.mark.parametrize("kind", INEXACT)
def test_a_policy_with_an_index_is_the_same_once_loaded(
    kind, fit_policy, make_policy, observe, demonstrations, tmp_path
):
    policy, other, exact = fit_policy("alt", index=kind), make_policy("alt", index=kind), fit_policy("alt")
    policy.save(tmp_path)
    assert not (tmp_path / "keys.npy").exists()
    other.load(tmp_path)
    seen = observe(demonstrations[2], [0, 9], 1)
    for one in (policy, other, exact):
        one.reset([0, 1], [0, 0])
    before, after, expected = (one.act(seen, [0, 1]) for one in (policy, other, exact))
    np.testing.assert_array_equal(before.similarities, after.similarities)
    np.testing.assert_array_equal(before.matches, after.matches)
    np.testing.assert_array_equal(before.actions, expected.actions)  # a demonstrated frame finds itself
    assert other.inference_note() == policy.inference_note()
    assert f"{kind} index, 81 frames, recall@1 " in policy.inference_note()
    assert other.footprint() == policy.footprint()


def test_a_checkpoint_of_another_index_is_refused(fit_policy, make_policy, tmp_path):
    for settings in ({}, {"index": "hnsw"}, {"key_precision": "float16"}):
        folder = tmp_path / f"saved{len(settings)}{len(str(settings))}"
        folder.mkdir()
        fit_policy("alt", **settings).save(folder)
        with pytest.raises(CheckpointError, match=r"another configuration: index = 'ivf'"):
            make_policy("alt", index="ivf").load(folder)
    with pytest.raises(CheckpointError, match=r"float16 keys of a flat index.*key_precision = 'float32'"):
        make_policy("alt").load(folder)


def test_bytes_that_are_no_index_are_refused(table):
    damaged = KeyIndex.of(table[0], IndexSpec(index="ivf")).arrays()["index"][:1000]
    with pytest.raises(CheckpointError, match=r"index.npy: not an index"):
        KeyIndex.from_arrays({"index": damaged}, IndexSpec(index="ivf"))


def test_the_benchmark_prints_a_row_for_each_index(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lookup_indexes.py", "--frames", "1000", "--dimension", "32", "--queries", "5"])
    BENCHMARK["main"]()
    first, _, _, *rows = capsys.readouterr().out.splitlines()
    assert first == "1000 keys of 32 numbers, 5 queries, one thread"
    assert [row.split("|")[1].strip() for row in rows] == ["flat", "flat, float16", "ivf", "hnsw", "pq"]
    assert rows[0].split("|")[4].strip() == "1.000"
