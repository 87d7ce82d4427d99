"""Digests of files that settings name, and of installed code."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from altbench.core import contents, registry
from altbench.core.contents import digest_of, file_digest, named_in, source_digest
from altbench.core.errors import ConfigError
from altbench.core.spec import Spec


class Inner(Spec):
    path: Path = Path("unknown")


class Settings(Spec):
    weights: str = ""
    more: dict[str, list[str]] = {}  # noqa: RUF012
    inner: Inner = Inner()
    size: int = 3


def test_settings_name_files_in_any_depth_and_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "checkpoint").mkdir()
    for name in ("a.pt", "b.pt", "c.pt", "checkpoint/d.pt"):
        (tmp_path / name).write_text(name)
    found = named_in(Settings(weights="a.pt", more={"x": ["~/b.pt", "checkpoint", "a.pt"]}, inner=Inner(path="c.pt")))
    assert found == (Path("a.pt"), tmp_path / "b.pt", Path("checkpoint"), Path("c.pt"))


@pytest.mark.parametrize("text", ["", ".", "./", "..", "~", "missing.pt", "a" * 5000, "/dev/null", "small", "x\ny"])
def test_what_is_no_file_is_none(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert named_in(Settings(weights=text)) == ()


def test_a_folder_of_data_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "MOST_FILES", 2)
    for name in "abc":
        (tmp_path / name).write_text(name)
    with pytest.raises(ConfigError, match=r"is a folder of more than 2 files.*override its `files`"):
        named_in(Settings(weights=str(tmp_path)))


def test_contents_and_order_count_and_places_do_not(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        (folder / "a").write_text("1")
        (folder / "b").write_text("2")
    assert digest_of([one / "a", one / "b"], "x") == digest_of([two / "a", two / "b"], "x")
    assert digest_of([one / "a", one / "b"], "x") != digest_of([one / "b", one / "a"], "x")
    assert digest_of([one], "x") == digest_of([two], "x")
    (two / "a").write_text("2")
    (two / "b").write_text("1")
    assert digest_of([one], "x") != digest_of([two], "x")  # in a folder, names count
    assert digest_of([], "x") == ""


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^policy 'mine': it reads the file '.*gone\.pt', which is missing$"):
        digest_of([tmp_path / "gone.pt"], "policy 'mine'")


def test_a_large_file_is_read_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "LARGE_BYTES", 10)
    reads: list[Path] = []
    opened = Path.open

    def counted(self: Path, *args: Any, **kwargs: Any) -> Any:
        reads.append(self)
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", counted)
    path = tmp_path / "weights.pt"
    path.write_bytes(b"0" * 20)
    reads.clear()
    first = [file_digest(path) for _ in range(3)]
    assert len(set(first)) == 1 and len(reads) == 1
    path.write_bytes(b"1" * 20)
    os.utime(path, ns=(0, 0))
    assert file_digest(path) != first[0]
    path.write_bytes(b"2" * 9)  # small: always read, whatever its time says
    small = file_digest(path)
    kept = path.stat().st_mtime_ns
    path.write_bytes(b"3" * 9)
    os.utime(path, ns=(kept, kept))
    assert file_digest(path) != small


def lay(folder: Path) -> None:
    for name, text in {"__init__": "", "policy": "class Mine: ...", "part/net": "WIDTH = 1"}.items():
        path = folder / "my_lab" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "my_lab" / "table.csv").write_text("1")


def test_all_of_an_installed_package_counts_and_its_caches_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    lay(tmp_path)
    before = source_digest("my_lab.policy")
    assert before and before == source_digest("my_lab")
    (tmp_path / "my_lab" / "__pycache__").mkdir()
    (tmp_path / "my_lab" / "__pycache__" / "policy.pyc").write_text("x")
    (tmp_path / "my_lab" / ".notes").write_text("x")
    assert source_digest("my_lab.policy") == before
    for name in ("part/net.py", "table.csv"):
        (tmp_path / "my_lab" / name).write_text("2")
        assert source_digest("my_lab.policy") != before
        shutil.rmtree(tmp_path / "my_lab")
        lay(tmp_path)
    assert source_digest("no_such_module.policy") == ""


def test_of_a_namespace_only_the_own_package_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("mine", "theirs"):
        (tmp_path / "shared_space" / name).mkdir(parents=True)
        (tmp_path / "shared_space" / name / "__init__.py").write_text("")
    before = source_digest("shared_space.mine")
    (tmp_path / "shared_space" / "theirs" / "__init__.py").write_text("X = 1")
    assert source_digest("shared_space.mine") == before
    (tmp_path / "shared_space" / "mine" / "__init__.py").write_text("X = 1")
    assert source_digest("shared_space.mine") != before


def test_built_in_names_have_versions_and_others_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: tuple[registry.Kind, ...] = ("policy", "perturbation", "expert", "task")
    for kind in kinds:
        assert {registry.source(kind, name) for name in registry.BUILT_IN[kind]} == {""}
    assert registry.source("task", "Fake") == registry.source("expert", "Fake") == source_digest("fakes") != ""
    monkeypatch.setitem(registry._REGISTERED["policy"], "again", registry.BUILT_IN["policy"]["bc"])
    monkeypatch.setitem(registry._REGISTERED["policy"], "object", Settings)
    assert registry.source("policy", "again") == "" != registry.source("policy", "object")
