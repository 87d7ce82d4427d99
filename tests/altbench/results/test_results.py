"""Cells and measurements on disk: round trips, damage, and the flat tables."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import build_flat, episode, header, measure

from altbench.core.errors import ResultsError
from altbench.results import cells, frames, measures
from altbench.rollout.records import CellHeader, DecisionRecord, EpisodeRecord, MeasureRecord, StepRecord
from altbench.system import sealed

FLOAT64 = st.floats(allow_nan=False, allow_infinity=False)
FLOAT32 = st.floats(allow_nan=False, allow_infinity=False, width=32)
COUNT = st.integers(0, 2**62)
DECISIONS = st.builds(
    DecisionRecord,
    step=COUNT,
    latency_s=FLOAT64,
    ood_score=st.none() | FLOAT64,
    is_ood=st.none() | st.booleans(),
    matches=st.lists(st.tuples(COUNT, COUNT), max_size=3).map(tuple),
    similarities=st.lists(FLOAT32, max_size=3).map(tuple),
)
STEPS = st.builds(
    StepRecord,
    action=st.lists(FLOAT32, max_size=10).map(tuple),
    agent_pos=st.lists(FLOAT32, max_size=11).map(tuple),
)
EPISODES = st.builds(
    EpisodeRecord,
    episode=COUNT,
    seed=COUNT,
    status=st.sampled_from(["ok", "policy_error", "policy_timeout", "sim_diverged", "infra_error"]),
    success=st.booleans(),
    steps=COUNT,
    episode_return=FLOAT64,
    max_ood_score=st.none() | FLOAT64,
    first_flagged_step=st.none() | COUNT,
    wall_s=FLOAT64,
    message=st.text(),
    decisions=st.lists(DECISIONS, max_size=3).map(tuple),
    trajectory=st.lists(STEPS, max_size=3).map(tuple),
    perturbation_status=st.sampled_from([None, "applied", "skipped", "unsupported"]),
    ood_threshold=st.none() | FLOAT64,
    moved=st.none() | st.booleans(),
)
TEXT = st.text(alphabet=st.characters(codec="utf-8"))
HEADERS = st.builds(
    CellHeader, key=st.just("k"), **dict.fromkeys(("name", "task", "label", "policy", "spec_json"), TEXT)
)


@settings(max_examples=60, deadline=None)
@given(head=HEADERS, episodes=st.lists(EPISODES, max_size=3, unique_by=lambda e: e.episode))
def test_a_cell_reads_back_as_it_was_written(head: CellHeader, episodes: list[EpisodeRecord]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = cells.write_cell(Path(folder), head, episodes)
        found = cells.read_cell(path)
    assert found.header == head
    assert found.episodes == tuple(sorted(episodes, key=lambda e: e.episode))


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    """A finished cell of three episodes."""
    return cells.write_cell(tmp_path, header("alt", 30, "recall"), [episode(i, score=0.5, flag=True) for i in range(3)])


def test_a_whole_cell_is_finished(cell: Path) -> None:
    assert cells.is_finished(cell.parents[1], cell.stem)


def test_a_cell_is_unfinished_when_missing_empty_renamed_or_awaiting_another_try(cell: Path) -> None:
    folder, head = cell.parents[1], header("bc", 30, "recall")
    assert not cells.is_finished(folder, "missing")
    shutil.copy(cell, cells.cell_path(folder, "renamed"))
    assert not cells.is_finished(folder, "renamed")
    cells.write_cell(folder, head, [])
    assert not cells.is_finished(folder, head.key)
    cells.write_cell(folder, head, [episode(0), dataclasses.replace(episode(1), status="infra_error")])
    assert not cells.is_finished(folder, head.key)
    cells.write_cell(folder, head, [episode(0), dataclasses.replace(episode(1), status="policy_error")])
    assert cells.is_finished(folder, head.key)


def test_a_cell_cut_off_anywhere_is_unfinished_and_left_out(cell: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = cell.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        cell.write_bytes(whole[:length])
        assert not cells.is_finished(cell.parents[1], cell.stem), length
    assert frames.load_episodes(cell.parents[1]).empty
    assert "left out" in caplog.text and "counts as missing" in caplog.text
    with pytest.raises(ResultsError, match=r"damaged .*run the sweep again"):
        cells.read_cell(cell)


def test_flipped_bytes_never_pass_as_other_numbers(cell: Path) -> None:
    whole = cell.read_bytes()
    expected = cells.read_cell(cell)
    for place in range(4, len(whole) // 2, 53):
        cell.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        if cells.is_finished(cell.parents[1], cell.stem):
            assert cells.read_cell(cell) == expected, place


def test_a_foreign_parquet_is_refused(tmp_path: Path) -> None:
    path = cells.cell_path(tmp_path, "foreign")
    path.parent.mkdir()
    pd.DataFrame({"a": [1]}).to_parquet(path)
    with pytest.raises(ResultsError, match="expected a cell of format 2, found 0"):
        cells.read_cell(path)


def test_episodes_are_flat_and_ordered_with_nullable_flags(tmp_path: Path) -> None:
    cells.write_cell(tmp_path, header("bc", 10, "recall"), [episode(1), episode(0)])
    cells.write_cell(tmp_path, header("alt", 30, "recall"), [episode(0, score=0.5, flag=True)])
    cells.write_cell(tmp_path, header("alt", 10, "recall"), [episode(0, score=0.25, flag=False)])
    frame = frames.load_episodes(tmp_path)
    assert list(zip(frame["label"], frame["n"], frame["episode"], strict=True)) == [
        ("alt", 10, 0),
        ("alt", 30, 0),
        ("bc", 10, 0),
        ("bc", 10, 1),
    ]
    assert frame["flagged"].to_list() == [False, True, pd.NA, pd.NA]
    assert frame["first_flagged_step"].to_list() == [pd.NA, 8, pd.NA, pd.NA]
    np.testing.assert_array_equal(frame["max_ood_score"], [0.25, 0.5, np.nan, np.nan])
    assert set(CellHeader.__dataclass_fields__) <= set(frame.columns)


def test_decisions_are_flat_with_their_episode(tmp_path: Path) -> None:
    cells.write_cell(tmp_path, header("alt", 30, "recall"), [episode(i, score=0.5, flag=True) for i in range(2)])
    cells.write_cell(tmp_path, header("bc", 30, "recall"), [dataclasses.replace(episode(0), decisions=())])
    frame = frames.load_decisions(tmp_path)
    assert frame[["label", "episode", "seed", "step", "ood_score", "is_ood"]].to_numpy().tolist() == [
        ["alt", 0, 1000, 0, 0.25, False],
        ["alt", 0, 1000, 8, 0.5, True],
        ["alt", 1, 1001, 0, 0.25, False],
        ["alt", 1, 1001, 8, 0.5, True],
    ]
    assert [[list(pair) for pair in matches] for matches in frame["matches"][2:]] == [[[1, 0]], [[1, 8], [3, 4]]]


def test_the_same_records_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    heads = [header("bc", 30, "recall"), header("alt", 30, "uniform"), header("alt", 10, "recall")]
    for name, order in (("a", heads), ("b", heads[::-1])):
        for head in order:
            cells.write_cell(tmp_path / name, head, [episode(i, score=0.5) for i in range(3)])
        build_flat(tmp_path / name)
    for file in (frames.EPISODES_FILE, frames.DECISIONS_FILE):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_published_run_needs_no_cells(cell: Path) -> None:
    folder = cell.parents[1]
    episodes, decisions = frames.load_episodes(folder), frames.load_decisions(folder)
    build_flat(folder)
    shutil.rmtree(cell.parent)
    pd.testing.assert_frame_equal(frames.load_episodes(folder), episodes)
    pd.testing.assert_frame_equal(frames.load_published(folder), episodes)
    pd.testing.assert_frame_equal(frames.load_decisions(folder), decisions)


def test_files_from_before_a_column_came_are_read_with_nulls_in_it(cell: Path) -> None:
    folder, added = cell.parents[1], list(cells.ADDED)
    build_flat(folder)
    for path in (cell, folder / frames.EPISODES_FILE):
        table = pq.read_table(path).drop_columns(added)
        if path == cell:
            table = table.replace_schema_metadata({**table.schema.metadata, "altbench.format": "1"})
        pq.write_table(table, path, write_page_checksum=True)
    assert {getattr(e, name) for e in cells.read_cell(cell).episodes for name in added} == {None}
    assert frames.load_episodes(folder)[added].isna().all(axis=None)
    assert frames.load_published(folder)[added].isna().all(axis=None)
    shutil.rmtree(cell.parent)
    assert frames.load_episodes(folder)["flagged"].all()


def test_cells_of_an_earlier_configuration_are_told_apart_by_their_keys(tmp_path: Path) -> None:
    new = header("alt", 30, "recall")
    old = dataclasses.replace(new, key="old")
    cells.write_cell(tmp_path, new, [episode(0)])
    cells.write_cell(tmp_path, old, [episode(0), episode(1)])
    with pytest.raises(ResultsError, match="two cells are called 'lift/alt/n30/s0/recall/clean'"):
        frames.load_episodes(tmp_path)
    assert len(frames.load_episodes(tmp_path, keys=[new.key])) == 1
    frames.load_recorded(tmp_path, [new.key]).build_parquet(tmp_path)
    assert len(frames.load_published(tmp_path)) == 1


def test_a_folder_may_be_a_text(cell: Path) -> None:
    folder, text = cell.parents[1], str(cell.parents[1])
    measures.write_measure(text, "m", measure("alt"))
    assert cells.is_finished(text, cell.stem) and cells.is_recorded(text, cell.stem)
    assert len(cells.outcomes(text, cell.stem)) == len(cells.read_cell(str(cell)).episodes) == 3
    assert list(frames.load_cells(text)) == list(frames.load_cells(folder))
    for _ in range(2):  # from the cells, then as published
        for load in (
            frames.load_episodes,
            frames.load_decisions,
            frames.load_published,
            frames.load_published_decisions,
        ):
            pd.testing.assert_frame_equal(load(text), load(folder))
        assert measures.load_measures(text) == measures.load_measures(folder) != []
        frames.load_recorded(text, [cell.stem]).build_parquet(text)
        frames.load_recorded(text, [cell.stem]).write_episodes(text)
        shutil.rmtree(cell.parent, ignore_errors=True)


def test_a_run_without_cells_has_empty_tables(tmp_path: Path) -> None:
    build_flat(tmp_path)
    assert frames.load_episodes(tmp_path).empty
    assert frames.load_decisions(tmp_path).empty
    assert measures.load_measures(tmp_path) == []


def test_measurements_read_back_in_order_and_keep_what_is_missing(tmp_path: Path) -> None:
    records = [measure("bc", p50=None, weights=None), measure("alt", 30), measure("alt", 10)]
    records[0] = dataclasses.replace(records[0], image_size=None, train_seconds=None)
    records[1] = dataclasses.replace(records[1], data_share=0.03)
    for key, record in zip("abc", records, strict=True):
        measures.write_measure(tmp_path, key, record)
    assert measures.load_measures(tmp_path) == records[::-1]
    assert measures.load_measures(tmp_path, keys=["a", "missing"]) == [records[0]]


@pytest.mark.parametrize(("field", "value"), [("hz", "fast"), ("image_size", [84])])
def test_a_measurement_with_a_wrong_field_counts_as_missing(
    tmp_path: Path, field: str, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    path = measures.measure_path(tmp_path, "a")
    sealed.write_json(path, {**dataclasses.asdict(measure("alt")), field: value})
    assert measures.load_measures(tmp_path) == [] and not measures.is_measured(tmp_path, "a")
    assert f"a.json: not a measurement ({field}" in caplog.text and "run the sweep again" in caplog.text


def test_a_measurement_older_than_the_wait_for_data_is_read(tmp_path: Path) -> None:
    path = measures.write_measure(tmp_path, "a", measure("alt"))
    values = dataclasses.asdict(measure("alt"))
    del values["data_share"]
    path.write_text(json.dumps(values))
    assert measures.load_measures(tmp_path) == [measure("alt")]


def test_every_field_of_a_measurement_is_kept(tmp_path: Path) -> None:
    path = measures.write_measure(tmp_path, "a", measure("alt"))
    names = {f.name for f in dataclasses.fields(MeasureRecord)}
    assert set(json.loads(path.read_text())) == {"format", "sha256"} | names
