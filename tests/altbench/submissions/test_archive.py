"""Archives that nobody packed: refused in one line, nothing executed, nothing written outside."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from altbench.core.errors import ConfigError
from altbench.submissions import archive as module
from altbench.submissions import cellspec
from altbench.submissions.archive import archive_bytes, check_name, opened, read_parts
from altbench.submissions.manifest import MANIFEST, PolicyCard, SubmissionError, read_card
from altbench.submissions.verification.verify import verify
from altbench.system import sealed

Parts = dict[str, bytes]


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", kind) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return sink.getvalue()


def refusal(data: bytes, folder: Path) -> str:
    """Return why an archive is refused; nothing may be written beside it."""
    path = folder / "in" / "bad.zip"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    before = sorted(folder.rglob("*"))
    found = verify(path, 0.0)
    assert sorted(folder.rglob("*")) == before
    assert found.outcome == "refuted" and [one.check for one in found.findings] == ["archive"]
    text = found.findings[0].text
    assert "\n" not in text and len(text) < 600
    return text


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/x", "a/../../x", "a\\..\\x", "C:/x", "a//x", "./x", "", "a/.hidden", "a\x00b", "x" * 300, "é", "a/"],
)
def test_names_that_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    # zipfile ends a name at NUL when it writes; a forger does not.
    data = zipped((MANIFEST, b"{}"), (name.replace("\0", "Q") or "\t", b"x"))
    text = refusal(data.replace(b"aQb", b"a\0b"), tmp_path)
    assert "nothing was unpacked" in text


@given(st.text(max_size=60))
def test_a_name_that_is_taken_stays_inside(name: str) -> None:
    try:
        check_name(name, "here")
    except SubmissionError:
        return
    place = Path("/target")
    assert (place / name).resolve().is_relative_to(place) and name == (place / name).relative_to(place).as_posix()


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_refused_in_one_line(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.zip"
    path.write_bytes(data)
    with pytest.raises(SubmissionError) as caught:
        read_parts(path)
    assert "\n" not in str(caught.value)


def test_links_are_refused(tmp_path: Path, parts: Parts) -> None:
    link = zipfile.ZipInfo("cells/link")
    link.external_attr, link.create_system = (stat.S_IFLNK | 0o777) << 16, 3
    assert "link" in refusal(zipped((MANIFEST, b"{}"), (link, b"/etc/passwd")), tmp_path)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / MANIFEST).write_bytes(parts[MANIFEST])
    (folder / "cells").symlink_to("/etc")
    found = verify(folder, 0.0)
    assert found.outcome == "refuted" and "link" in found.findings[0].text


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped((MANIFEST, b"{}"), ("cells/a.parquet", bytes(10_000_000)), kind=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 20_000 and "zip bomb" in refusal(bomb, tmp_path)
    monkeypatch.setattr(module, "LARGEST", 50_000)
    assert "at most 50,000 bytes" in refusal(zipped((MANIFEST, bytes(60_000))), tmp_path)


def test_sizes_that_lie_are_refused(tmp_path: Path) -> None:
    data = zipped((MANIFEST, b"{}"), ("cells/a.parquet", bytes(1000)))
    place = data.rfind(b"PK\x01\x02")  # the directory's entry of the second part
    size = (5000).to_bytes(4, "little")
    lying = data[: place + 20] + size + size + data[place + 28 :]
    refusal(lying, tmp_path)


def test_many_parts_and_parts_that_are_there_twice_are_refused(tmp_path: Path) -> None:
    many = zipped(*((f"cells/{i}", b"") for i in range(module.MOST_PARTS + 1)))
    assert "at most 5000 parts" in refusal(many, tmp_path)
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped((MANIFEST, b"{}"), (MANIFEST, b"{}"))
    assert "twice" in refusal(twice, tmp_path)
    assert "folder of another" in refusal(zipped((MANIFEST, b"{}"), ("a", b""), ("a/b", b"")), tmp_path)
    assert "capital" in refusal(zipped((MANIFEST, b"{}"), ("a", b""), ("A", b"")), tmp_path)


def test_anything_beside_the_parts_is_refused(archive: Path, tmp_path: Path, parts: Parts) -> None:
    data = archive.read_bytes()
    assert "damaged" in refusal(b"#!/bin/sh\n" + data, tmp_path)
    assert "damaged" in refusal(data + b"trailing", tmp_path)
    assert "damaged" in refusal(zipped(*parts.items()), tmp_path)  # other dates and another order
    assert archive_bytes(parts) == data


def test_missing_parts_are_named(parts: Parts, tmp_path: Path) -> None:
    assert MANIFEST in refusal(zipped(("a", b"")), tmp_path)
    for name in ("starts.parquet", "demonstrations.json", "fingerprint.json"):
        path = tmp_path / "lacking.zip"
        path.write_bytes(archive_bytes({part: data for part, data in parts.items() if part != name}))
        found = verify(path, 0.0)
        assert found.outcome == "refuted" and found.findings[-1].check == "checksums"
        assert found.findings[-1].text == f"{name}: the part is missing"


def of_manifest(own: Parts, folder: Path, **changes: object) -> bytes:
    (folder / "part.json").write_bytes(own[MANIFEST])
    values = {**sealed.read_json(folder / "part.json", ("format",), ""), **changes}
    return archive_bytes({**own, MANIFEST: sealed.json_bytes(values)})


def test_an_unknown_schema_cannot_be_checked(parts: Parts, tmp_path: Path) -> None:
    path = tmp_path / "new.zip"
    path.write_bytes(of_manifest(parts, tmp_path, schema_version=2))
    found = verify(path, 0.0)
    assert (found.outcome, found.status) == ("unchecked", 2) and "schema_version 1, got 2" in found.findings[0].text


@pytest.mark.parametrize("version", ["suite", "protocol", "tasks"])
def test_other_versions_cannot_be_checked_here(parts: Parts, tmp_path: Path, version: str) -> None:
    """Only the manifest changes, so the keys, too, say that something is wrong with `tasks` and `protocol`."""
    path = tmp_path / "other.zip"
    path.write_bytes(of_manifest(parts, tmp_path, **{version: {"Fake": 9} if version == "tasks" else 9}))
    found = verify(path, 0.0)
    states = {one.check: one.state for one in found.findings}
    assert (found.outcome, states["versions"]) == {
        "suite": ("unchecked", "unknown"),
        "protocol": ("refuted", "failed"),
        "tasks": ("refuted", "unknown"),
    }[version]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (MANIFEST, b"[" * 100_000),
        (MANIFEST, b'{"schema_version": 1}'),
        (MANIFEST, sealed.json_bytes({"schema_version": 1, "more": 3})),
        ("demonstrations.json", sealed.json_bytes({"shown": [{"task": "Lift", "n": 10**9}]})),
    ],
)
def test_parts_that_are_no_parts_are_refused(name: str, data: bytes, parts: Parts, tmp_path: Path) -> None:
    changed = {**parts, name: data}
    if name != MANIFEST:
        sums = {part: hashlib.sha256(own).hexdigest() for part, own in changed.items() if part != MANIFEST}
        archive = of_manifest(changed, tmp_path, parts=sums)
    else:
        archive = archive_bytes(changed)
    path = tmp_path / "bad.zip"
    path.write_bytes(archive)
    found = verify(path, 0.0)
    assert found.outcome == "refuted" and "\n" not in found.findings[-1].text


def test_a_table_of_a_billion_numbers_is_refused_by_its_footer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column of equal numbers takes next to nothing in a file."""
    path = tmp_path / "big.parquet"
    pq.write_table(pa.table({"x": pa.array([0] * 3_000_000)}), path)
    assert path.stat().st_size < 100_000
    with pytest.raises(SubmissionError, match="at most 100,000 rows"):
        cellspec.check_size(path)
    pq.write_table(pa.table({"x": [[0.0] * 3_000_000]}), path)
    monkeypatch.setattr(cellspec, "MOST_VALUES", 2_000_000)
    with pytest.raises(SubmissionError, match="3,000,000 numbers"):
        cellspec.check_size(path)


def test_nothing_is_left_of_an_archive_that_was_open(archive: Path) -> None:
    with opened(archive) as found:
        assert (found.folder / MANIFEST).is_file()
    assert not found.folder.exists()


def test_an_archive_that_is_missing_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such archive"):
        verify(tmp_path / "none.zip")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('code = "javascript:alert(1)"', "https://"),
        ('name = "a\\nb"', "one line"),
        ("parameters = -1", "parameters"),
        ('naem = "x"', "naem"),
        (f"description = {json.dumps('x' * 2000)}", "1000 characters"),
    ],
)
def test_a_card_that_could_harm_or_mislead_is_refused(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(ConfigError, match=fault) as caught:
        read_card(tmp_path / "card.toml")
    assert "\n" not in str(caught.value)


def test_a_card_says_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text('name = "Mine"\nauthors = ["A", "B"]\nparameters = 1000\n')
    assert read_card(tmp_path / "card.toml") == PolicyCard(name="Mine", authors=("A", "B"), parameters=1000)
