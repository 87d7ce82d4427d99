"""Records in little memory: packed, in groups and in parts they give what they give whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from synthetic import build_flat, episode, header, write_run

from altbench.core.errors import ResultsError
from altbench.report import figures
from altbench.report.style import policy_styles
from altbench.report.table import to_csv
from altbench.report.tables import all_tables
from altbench.results import cells, flat, frames, packed, parquet
from altbench.results.packed import Packed
from altbench.results.recorded import Recorded
from altbench.rollout.records import CellHeader
from altbench.stats.parts import EpisodeParts, chosen, counted, gathered, parts_of
from altbench.stats.rates import countable


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with lost episodes, messages, several seeds, and scores to calibrate."""
    folder = write_run(tmp_path_factory.mktemp("run"), clean=8, perturbed=4)
    for seed in (0, 1):
        head = header("alt", 30, "calibrate")
        head = dataclasses.replace(head, key=f"{seed}" * 64, name=f"calibrate-{seed}", train_seed=seed)
        cells.write_cell(folder, head, [episode(i, score=i / 30, flag=i > 25) for i in range(30)])
    head = dataclasses.replace(header("bc", 30, "uniform"), key="f" * 64, name="again", train_seed=1)
    broken = [dataclasses.replace(episode(i), status="infra_error", message=f"lost {i}") for i in range(3)]
    cells.write_cell(
        folder, head, [*broken, dataclasses.replace(episode(3, False), status="policy_error", message="oh")]
    )
    build_flat(folder)
    return folder


def keys(run: Path) -> list[str]:
    return [path.stem for path in cells.cell_files(run)]


def recorded(run: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """The records of a run, packed three cells to a table, without decisions."""
    monkeypatch.setattr(packed, "CELLS", 3)
    found = frames.load_recorded(run, reversed(keys(run)))
    found._decisions = None
    return found


def test_rows_come_in_the_order_that_is_asked_whatever_table_they_lie_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "CELLS", 2)
    schema = pa.schema([("x", pa.int64())])
    own = Packed(schema)
    for number, key in enumerate("abcdea"):
        own.add(key, pa.table({"x": [10 * number + i for i in range(number)]}, schema))
    owner, rows = own.of(["e", "a", "none", "c"])
    assert rows["x"].to_pylist() == [40, 41, 42, 43, 50, 51, 52, 53, 54, 20, 21]
    assert owner.tolist() == [0] * 4 + [1] * 5 + [3] * 2
    assert (own.rows("a"), own.rows("none")) == (5, 0) and own.of([])[1].num_rows == 0


def test_parts_hold_each_episode_once_with_all_its_columns(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, whole = recorded(run, monkeypatch), frames.load_published(run)
    pd.testing.assert_frame_equal(found.episodes(), whole)
    parts = list(found.parts())
    assert all(len(part[["task", "split", "perturbation", "severity"]].drop_duplicates()) == 1 for part in parts)
    joined = pd.concat([part.astype({"spec_json": whole["spec_json"].dtype}) for part in parts])
    order = [*flat.ORDER, "episode"]
    pd.testing.assert_frame_equal(joined.sort_values(order, ignore_index=True), whole)


@pytest.mark.slow
def test_tables_of_parts_are_those_of_the_whole_frame(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = all_tables(frames.load_published(run), [])
    parts = all_tables(EpisodeParts(recorded(run, monkeypatch)), [])
    assert set(parts) == set(whole) == {"success", "ood", "ood_calibrated", "failures"}
    for stem, table in whole.items():
        assert to_csv(parts[stem]) == to_csv(table), stem
        assert (parts[stem].blocks, parts[stem].note) == (table.blocks, table.note)


def test_figures_of_parts_are_those_of_the_whole_frame(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    styles = policy_styles(["alt", "alt-hold", "bc", "diffusion", "open_loop", "random"])
    found = []
    for episodes in (frames.load_published(run), EpisodeParts(recorded(run, monkeypatch))):
        played = gathered(episodes, figures._played, [*figures.PART, "label", "n"])
        names = [stem for stem, _ in figures._figures(counted(episodes), played[played["counted"] > 0], [], styles)]
        drawn = figures.success_by_perturbation(chosen(counted(episodes), split="recall"), "Lift", styles)
        lines = [line.get_xydata() for axis in drawn.axes for line in axis.get_lines()]
        found.append((names, figures._missing_note(played), np.nan_to_num(np.concatenate(lines)).tolist()))
    assert found[0] == found[1] and "3 of" in found[0][1]


def test_what_is_chosen_and_counted_is_that_of_the_whole_frame(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = frames.load_published(run), EpisodeParts(recorded(run, monkeypatch))
    wanted = {"split": "uniform", "perturbation": "clean"}
    some = pd.concat(list(parts_of(counted(chosen(parts, **wanted)))))
    assert set(some["split"]) == {"uniform"} and len(some) == len(countable(chosen(whole, **wanted)))
    assert list(parts_of(chosen(parts, task="Can"))) == []


def test_decisions_that_are_not_held_are_read_again(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, whole = recorded(run, monkeypatch), frames.load_published_decisions(run)
    pd.testing.assert_frame_equal(found.decisions(), whole)
    some = set(keys(run)[3:9])
    own = whole[whole["key"].isin(some)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.decisions(some), own)
    found.build_parquet(tmp_path)
    for name in (flat.EPISODES_FILE, flat.DECISIONS_FILE):
        assert (tmp_path / name).read_bytes() == (run / name).read_bytes()


def test_big_flat_files_are_written_and_read_in_groups(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(flat, "GROUP_ROWS", 50)
    recorded(run, monkeypatch).build_parquet(tmp_path)
    assert len(list(parquet.row_groups(tmp_path / flat.EPISODES_FILE))) > 5
    pd.testing.assert_frame_equal(frames.load_published(tmp_path), frames.load_published(run))
    pd.testing.assert_frame_equal(frames.load_published_decisions(tmp_path), frames.load_published_decisions(run))
    again = frames.load_parts(tmp_path)
    pd.testing.assert_frame_equal(again.episodes(), frames.load_published(run))
    pd.testing.assert_frame_equal(again.decisions(), frames.load_published_decisions(run))
    assert all(a == b for a, b in zip(sorted(again.headers), sorted(keys(run)), strict=True))


def test_a_damaged_file_in_groups_is_refused_and_made_of_the_cells(run: Path, tmp_path: Path) -> None:
    data = (run / flat.EPISODES_FILE).read_bytes()
    path = tmp_path / flat.EPISODES_FILE
    path.write_bytes(data)
    assert flat.check_episodes(path) == path
    for place in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(ResultsError, match="damaged"):
            flat.check_episodes(path)
    path.write_bytes(data[:-100])
    with pytest.raises(ResultsError, match="damaged"):
        Recorded.of_flat(tmp_path)
    cells.write_cell(tmp_path, header("alt", 30, "recall"), [episode(0)])
    assert len(frames.load_parts(tmp_path)) == 1


def test_a_row_whose_policy_always_failed_is_known_without_its_episodes(tmp_path: Path) -> None:
    bad = dataclasses.replace(episode(0, False), status="policy_error", message="oh")
    heads: list[CellHeader] = [header("alt", 30, split) for split in ("recall", "uniform")]
    cells.write_cell(tmp_path, heads[0], [bad, dataclasses.replace(episode(1), status="infra_error", message="gone")])
    cells.write_cell(tmp_path, heads[1], [bad, episode(1)])
    found = frames.load_recorded(tmp_path, [head.key for head in heads])
    assert [found.is_faulty(head.key) for head in heads] == [True, False]
    assert [found.lost(head.key) for head in heads] == [["gone"], []]
    assert [found.is_finished(head.key) for head in heads] == [False, True]
    assert found.endings(heads[0].key) == [("policy_error", "oh"), ("infra_error", "gone")]
