"""Fingerprints: what is collected, that they read back, and which source they name."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import FINGERPRINT

from altbench import __version__
from altbench.core.errors import ResultsError
from altbench.system import fingerprint
from altbench.system.fingerprint import Fingerprint


def test_collect_tells_this_machine() -> None:
    found = fingerprint.collect(renderer="OSMesa", data="abc")
    assert found.packages["altbench"] == __version__
    assert {"numpy", "mujoco", "robosuite", "torch", "gymnasium", "faiss-cpu"} <= set(found.packages)
    assert found.python == platform.python_version()
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert found.cpu and found.os
    assert (found.renderer, found.data) == ("OSMesa", "abc")
    assert found == fingerprint.collect(renderer="OSMesa", data="abc")


def test_collect_imports_none_of_the_packages_it_names() -> None:
    code = (
        "import sys; from altbench.system import fingerprint; fingerprint.collect();"
        "print(sorted({'torch', 'mujoco', 'robosuite', 'faiss', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gpu": "NVIDIA H200, driver 1", "renderer": None, "commit": None, "dirty": None, "data": None, "packages": {}},
    ],
)
def test_json_reads_back(changes: dict[str, object], tmp_path: Path) -> None:
    made = dataclasses.replace(FINGERPRINT, **changes)
    assert Fingerprint.from_json(made.to_json()) == made
    fingerprint.write_fingerprint(tmp_path, made)
    assert fingerprint.load_fingerprint(tmp_path) == made


def test_a_folder_without_one_has_none_and_a_foreign_file_counts_as_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert fingerprint.load_fingerprint(tmp_path) is None
    (tmp_path / fingerprint.FILE).write_text('{"python": "3.11"}')
    assert fingerprint.load_fingerprint(tmp_path) is None
    assert f"{tmp_path / fingerprint.FILE}: not a fingerprint: packages" in caplog.text
    with pytest.raises(ResultsError, match="not a fingerprint: packages"):
        Fingerprint.from_json('{"python": "3.11"}')


def test_one_line_has_everything_that_is_known() -> None:
    line = FINGERPRINT.one_line()
    for part in (
        "mujoco 3.9.0",
        "Python 3.11.7",
        "2 cores",
        "no GPU",
        "renderer EGL",
        "commit 0123456789ab",
        "fedcba987654",
    ):
        assert part in line
    assert "changes" not in line
    assert "0123456789ab + changes" in dataclasses.replace(FINGERPRINT, dirty=True).one_line()
    assert "\n" not in line and "None" not in dataclasses.replace(FINGERPRINT, commit=None, data=None).one_line()
    assert (
        "data " + "a" * 12 + " " + "b" * 12
        in dataclasses.replace(FINGERPRINT, data=f"{'a' * 64} {'b' * 64}").one_line()
    )


def test_what_is_read_back_makes_the_same_line() -> None:
    for made in (FINGERPRINT, fingerprint.collect(), dataclasses.replace(FINGERPRINT, packages={"b": "1", "a": "2"})):
        assert Fingerprint.from_json(made.to_json()).one_line() == made.one_line()
    line = fingerprint.collect().one_line()
    places = [line.index(f"{name} ") for name in fingerprint.PACKAGES]
    assert places == sorted(places), "as footers have always had them"


def test_differences_name_each_change_once() -> None:
    other = dataclasses.replace(FINGERPRINT, cores=4, gpu="A100", packages={**FINGERPRINT.packages, "mujoco": "3.8.1"})
    assert fingerprint.differences(FINGERPRINT, FINGERPRINT) == []
    assert fingerprint.differences(FINGERPRINT, other) == [
        "mujoco: 3.9.0 -> 3.8.1",
        "cores: 2 -> 4",
        "gpu: none -> A100",
    ]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_the_source_s_and_only_where_the_source_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, installed = tmp_path / "checkout" / "altbench", tmp_path / "site-packages" / "altbench"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("x = 1\n")
    shutil.copytree(source, installed)
    assert not fingerprint._holds(source, installed)
    git = ["git", "-C", str(source.parent), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    assert fingerprint._holds(source, installed)
    monkeypatch.setattr(fingerprint, "__file__", str(source / "system" / "fingerprint.py"))
    commit, dirty = fingerprint._commit()
    assert commit is not None and len(commit) == 40 and dirty is False
    (source / "__init__.py").write_text("x = 2\n")
    assert fingerprint._commit() == (commit, True)
    assert not fingerprint._holds(source, installed)


def test_a_failing_or_missing_command_says_nothing() -> None:
    assert fingerprint._output("no-such-program-anywhere") == ""
    assert fingerprint._output(sys.executable, "-c", "print('a'); raise SystemExit(3)") == ""
    assert fingerprint._output(sys.executable, "-c", "print('a')") == "a\n"
