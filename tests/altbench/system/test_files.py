"""Files and folders that are whole or missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from altbench.system.files import LEFTOVER, new_folder, replacing, write_text


def stop_half_way(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_a_file_that_could_not_be_written_whole_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError):
        stop_half_way(path)
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("durable", [True, False])
def test_what_is_being_written_has_the_name_of_a_leftover(tmp_path: Path, durable: bool) -> None:
    with replacing(tmp_path / "file.txt", durable) as temporary:
        temporary.write_text("whole")
        assert LEFTOVER.fullmatch(temporary.name) and not (tmp_path / "file.txt").exists()
    with new_folder(tmp_path / "folder") as temporary:
        assert LEFTOVER.fullmatch(temporary.name) and not (tmp_path / "folder").exists()
    assert not any(LEFTOVER.fullmatch(path.name) for path in tmp_path.iterdir())
    assert (tmp_path / "file.txt").read_text() == "whole" and (tmp_path / "folder").is_dir()


def test_only_what_must_survive_a_crash_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    with replacing(tmp_path / "beat.json", durable=False) as temporary:
        temporary.write_text("1")
    assert not flushed
    with new_folder(tmp_path / "folder") as temporary:
        (temporary / "inside").mkdir()
        write_text(temporary / "inside" / "file.txt", "1")
        flushed.clear()
    names = [str(path) for path in (temporary / "inside", temporary / "inside" / "file.txt", temporary, tmp_path)]
    assert flushed == names


def test_a_folder_takes_the_place_of_an_older_one_as_a_whole(tmp_path: Path) -> None:
    for name in ("old.txt", "new.txt"):
        with new_folder(tmp_path / "made") as temporary:
            write_text(temporary / name, name)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["new.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_folder_does_not_take_the_place_of_a_file(tmp_path: Path) -> None:
    write_text(tmp_path / "mine", "text")
    with pytest.raises(NotADirectoryError), new_folder(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").read_text() == "text" and len(list(tmp_path.iterdir())) == 1
