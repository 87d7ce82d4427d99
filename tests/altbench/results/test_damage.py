"""Damage in records: no flipped bit and no cut passes, and what is damaged counts as missing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import published
import pyarrow.parquet as pq
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from altbench.core.errors import CheckpointError, ResultsError
from altbench.report import outputs
from altbench.report.compare import compare
from altbench.report.opened import open_run
from altbench.results import cells, checkpoints, flat, frames, history, measures, unchecked
from altbench.results.checkpoints import CheckpointCard
from altbench.results.parquet import FORMAT_KEY, HEADER_KEY, is_sealed
from altbench.sweeps.spec import SweepSpec
from altbench.system import fingerprint, sealed

SWEEP = SweepSpec.parse(
    {
        "name": "small",
        "tasks": ["Fake"],
        "policies": [{"policy": "open_loop"}],
        "evaluations": [{"split": "recall"}],
    },
    "small",
)
CARD = CheckpointCard(
    task="Fake",
    policy="open_loop",
    preset="small",
    config={"limit": float("inf")},
    n=2,
    train_seed=0,
    key="k",
    data_checksum="d",
    policy_version=1,
    image_size=(16, 16),
    train_seconds=1.5,
)
PUBLISHED = sorted(path.parent for path in published.RESULTS.rglob("episodes.parquet"))


@dataclass(frozen=True)
class Kind:
    """A kind of file: one that was just written, and how it is read. A damaged one reads as None."""

    path: Path
    read: Callable[[Path], Any]


def refused(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def none_if_refused(path: Path) -> Any:
        try:
            return read(path)
        except (ResultsError, CheckpointError):
            return None

    return none_if_refused


def cell_in(folder: Path) -> Path:
    return cells.write_cell(folder, synthetic.header("alt", 30, "recall"), [synthetic.episode(0, score=0.5, flag=True)])


def sweep_in(folder: Path) -> Path:
    history.keep(SWEEP, folder)
    return folder / history.LAST


def flat_in(folder: Path, name: str) -> Path:
    cell_in(folder)
    synthetic.build_flat(folder)
    return folder / name


def card_in(folder: Path) -> Path:
    sealed.write_json(folder / checkpoints.CARD, CARD.model_copy(update={"files": {"a": "b"}}).model_dump())
    return folder / checkpoints.CARD


def outputs_in(folder: Path) -> Path:
    sealed.write_json(folder / outputs.MADE_OF, {"made_of": "digest", "files": ["tables/success.csv"]})
    return folder / outputs.MADE_OF


KINDS: dict[str, Callable[[Path], Kind]] = {
    "cell": lambda folder: Kind(cell_in(folder), refused(cells.read_cell)),
    "measure": lambda folder: Kind(
        measures.write_measure(folder, "m", synthetic.measure("alt")), lambda _: measures.load_measures(folder) or None
    ),
    "episodes": lambda folder: Kind(flat_in(folder, frames.EPISODES_FILE), refused(flat.read_episodes)),
    "decisions": lambda folder: Kind(flat_in(folder, frames.DECISIONS_FILE), refused(flat.read_flat)),
    "sweep": lambda folder: Kind(sweep_in(folder), refused(lambda _: history.load(folder))),
    "fingerprint": lambda folder: Kind(
        fingerprint.write_fingerprint(folder, published_fingerprint()), lambda _: fingerprint.load_fingerprint(folder)
    ),
    "card": lambda folder: Kind(card_in(folder), refused(lambda _: checkpoints.read_card(folder))),
    "outputs": lambda folder: Kind(outputs_in(folder), lambda _: outputs._written(folder)["files"] or None),
}


def published_fingerprint() -> fingerprint.Fingerprint:
    found = fingerprint.load_fingerprint(published.RESULTS / "quick")
    assert found
    return found


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    """Each kind of file; warnings are off, since a test makes tens of thousands."""
    logging.disable(logging.WARNING)
    yield KINDS[request.param](tmp_path)
    logging.disable(logging.NOTSET)


@dataclass(frozen=True)
class Held:
    """A file's bytes, and how it reads if it holds others."""

    data: bytes
    read: Callable[[bytes], Any]


@pytest.fixture
def held(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> Held:
    """Each kind of file; other bytes are never written to the disk, which would take minutes."""
    contents, from_disk = [kind.path.read_bytes()], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: contents[0] if path == kind.path else from_disk(path))

    def read(data: bytes) -> Any:
        contents[0] = data
        return kind.read(kind.path)

    return Held(contents[0], read)


def flipped(data: bytes, *bits: int) -> bytes:
    other = bytearray(data)
    for bit in bits:
        other[bit // 8] ^= 1 << bit % 8
    return bytes(other)


def test_a_whole_file_is_read_and_is_sealed(kind: Kind) -> None:
    assert kind.read(kind.path) is not None
    assert (is_sealed if kind.path.suffix == ".parquet" else sealed.is_sealed_json)(kind.path)


def test_no_file_with_one_flipped_bit_is_accepted(held: Held) -> None:
    assert held.read(held.data) is not None
    assert [bit for bit in range(8 * len(held.data)) if held.read(flipped(held.data, bit)) is not None] == []


def test_no_file_that_is_cut_off_is_accepted(held: Held) -> None:
    assert [length for length in range(len(held.data)) if held.read(held.data[:length]) is not None] == []
    assert held.read(held.data + b"\0") is None and held.read(held.data + held.data) is None


def test_no_file_with_two_flipped_bits_is_accepted(held: Held) -> None:
    bits = st.integers(0, 8 * len(held.data) - 1)

    @settings(max_examples=200, deadline=None)
    @given(first=bits, second=bits)
    def check(first: int, second: int) -> None:
        assert first == second or held.read(flipped(held.data, first, second)) is None

    check()


def test_no_file_whose_digest_and_format_are_both_hit_passes_as_an_old_one(held: Held) -> None:
    marks = [held.data.rindex(word) for word in (b"sha256", b"format")]
    accepted = [
        (first, second)
        for first in range(8 * marks[0], 8 * (marks[0] + len(b"sha256")))
        for second in range(8 * marks[1], 8 * (marks[1] + len(b"format")), 5)
        if held.read(flipped(held.data, first, second)) is not None
    ]
    assert accepted == []


def test_a_text_that_looks_like_a_digest_changes_nothing(tmp_path: Path) -> None:
    mark = "altbench.sha256\x18\x40" + "0" * 64
    odd = replace(synthetic.episode(0), message=mark)
    path = cells.write_cell(tmp_path, replace(synthetic.header("alt", 30, "recall"), spec_json=mark, name=mark), [odd])
    assert cells.read_cell(path).episodes == (odd,)
    assert frames.load_episodes(tmp_path)["message"].to_list() == [mark]
    sealed.write_json(tmp_path / "a.json", {"text": '{\n "format": 2,\n "sha256": "' + "0" * 64})
    assert sealed.read_json(tmp_path / "a.json", (), "")["text"].startswith("{")


def test_any_reader_reads_sealed_files_and_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (flat_in(tmp_path / name, frames.EPISODES_FILE) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert pd.read_parquet(first)["name"].to_list() == [synthetic.header("alt", 30, "recall").name]
    written = json.loads(measures.write_measure(tmp_path, "m", synthetic.measure("alt")).read_text())
    assert written.pop("format") == 2 and len(written.pop("sha256")) == 64
    assert json.dumps(written) == json.dumps(asdict(synthetic.measure("alt")))


def test_a_file_of_a_newer_format_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(sealed, "FORMAT", 3)
        cell, made = cell_in(tmp_path), tmp_path / "a.json"
        sealed.write_json(made, {"a": 1})
    for read in (lambda: cells.read_cell(cell), lambda: sealed.read_json(made, ("a",), "update")):
        with pytest.raises(ResultsError, match="expected format 2, found 3; a newer altbench wrote it"):
            read()


def test_damage_is_told_in_one_line_with_both_digests(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = cell_in(tmp_path)
    path.write_bytes(flipped(path.read_bytes(), 800))
    assert not cells.is_finished(tmp_path, path.stem)
    (line,) = caplog.messages
    assert line.startswith(f"counts as missing: {path}: damaged (expected the SHA-256 ") and "\n" not in line
    assert ", got " in line and line.endswith("; run the sweep again to make the cell anew")


def test_damaged_flat_tables_count_as_missing_beside_their_cells(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = flat_in(tmp_path, frames.EPISODES_FILE)
    whole = frames.load_published(tmp_path)
    path.write_bytes(flipped(path.read_bytes(), 800))
    pd.testing.assert_frame_equal(frames.load_published(tmp_path), whole)
    assert "counts as missing" in caplog.text and not frames.is_flat_whole(tmp_path)
    (tmp_path / "cells").rename(tmp_path / "no cells")
    with pytest.raises(ResultsError, match=r"episodes\.parquet: damaged \(expected the SHA-256 .*build the run's"):
        frames.load_published(tmp_path)


def test_a_damaged_sweep_of_before_is_left_out_and_a_damaged_last_one_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = SWEEP.model_copy(update={"name": "other"})
    for one in (SWEEP, other):
        history.keep(one, tmp_path)
    earlier = tmp_path / history.EARLIER / "small.json"
    earlier.write_bytes(flipped(earlier.read_bytes(), 800))
    assert history.load(tmp_path) == (other,) and "counts as missing" in caplog.text
    last = tmp_path / history.LAST
    last.write_bytes(flipped(last.read_bytes(), 800))
    history.keep(other, tmp_path)
    assert history.load(tmp_path) == (other,)


def old_cell(folder: Path) -> Path:
    """Write a cell as it was written before files carried digests."""
    head = synthetic.header("alt", 30, "recall")
    path = cells.cell_path(folder, head.key)
    path.parent.mkdir(parents=True)
    metadata = {FORMAT_KEY: "1", HEADER_KEY: json.dumps(asdict(head), sort_keys=True)}
    table = cells.to_table([synthetic.episode(0, score=0.5, flag=True)]).replace_schema_metadata(metadata)
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)
    return path


def test_a_damaged_old_cell_is_read_or_refused_but_never_ends_in_a_traceback(tmp_path: Path) -> None:
    path = old_cell(tmp_path)
    data = path.read_bytes()
    assert cells.read_cell(path).episodes == (synthetic.episode(0, score=0.5, flag=True),)

    @settings(max_examples=100, deadline=None)
    @given(bit=st.integers(0, 8 * len(data) - 1))
    def check(bit: int) -> None:
        path.write_bytes(flipped(data, bit))
        logging.disable(logging.WARNING)
        list(frames.load_cells(tmp_path))
        frames.load_episodes(tmp_path)
        frames.load_decisions(tmp_path)
        logging.disable(logging.NOTSET)

    check()


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: str(path.relative_to(published.RESULTS)))
def test_published_runs_are_read_as_before(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    flat = pd.read_parquet(folder / frames.EPISODES_FILE)
    assert frames.load_published(folder)["seed"].to_list() == flat["seed"].to_list()
    if (folder / frames.DECISIONS_FILE).is_file():
        assert len(frames.load_published_decisions(folder)) > 0
    assert len(measures.load_measures(folder)) == len(list((folder / "measures").glob("*.json")))
    assert not (folder / history.LAST).is_file() or history.load(folder)
    assert not (folder / fingerprint.FILE).is_file() or fingerprint.load_fingerprint(folder)
    assert caplog.text == ""


def test_who_opens_or_compares_an_old_run_is_told_once_that_it_is_unchecked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    cell_in(new)
    old_cell(old)
    for _ in range(2):
        open_run(new)
        open_run(old)
        compare(old, new)
    (line,) = caplog.messages
    assert line.startswith(f"{old}: 1 of 1 files of records carry no digest (such as cells/")
    assert unchecked.unchecked_files(new) == []


def test_files_that_a_reader_cannot_hold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ResultsError, match=r"deep\.json: damaged .*; put it back"):
        sealed.read_json(path, (), "put it back")
    with pytest.raises(ResultsError, match=r"none\.json: no such file; put it back"):
        sealed.read_json(tmp_path / "none.json", (), "put it back")
