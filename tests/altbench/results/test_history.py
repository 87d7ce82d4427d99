"""Sweeps that share a folder: all of them stay known, so that audits and films find every row and cell by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fakes
import pytest
from running import run_bare

from altbench.audit.subject import find_subject
from altbench.core.errors import DatasetError, ResultsError, UnknownNameError
from altbench.results import cells, history
from altbench.runner import film
from altbench.sweeps.spec import SweepSpec


def sweep(name: str, policy: str, label: str = "", split: str = "recall", episodes: int = 3) -> SweepSpec:
    values: dict[str, Any] = {
        "name": name,
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "demonstrations": {"n": 6},
        "policies": [{"policy": policy, "label": label, "n": [6]}],
        "evaluations": [{"split": split, "episodes": episodes}],
        "measure": False,
    }
    return SweepSpec.parse(values, name)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sweeps in one folder; the last one asks for a cell called as the first one's, but longer, and is not run."""
    fakes.register()
    root = tmp_path_factory.mktemp("shared") / "run"
    for one in (sweep("first", "open_loop"), sweep("second", "random", "wander", "uniform")):
        run_bare(one, root)
    history.keep(sweep("third", "open_loop", episodes=5), root)
    return root


@pytest.fixture(autouse=True)
def _no_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film.registry, "select_backend", lambda: "none")


def test_every_sweep_is_known_the_last_one_first(run: Path) -> None:
    assert [one.name for one in history.load(run)] == ["third", "first", "second"]
    assert sorted(path.name for path in (run / "sweeps").iterdir()) == ["first.json", "second.json"]


def test_one_sweep_alone_is_kept_as_ever_and_a_changed_one_takes_its_place(tmp_path: Path) -> None:
    for one in (sweep("own", "open_loop"), sweep("own", "random")):
        history.keep(one, tmp_path)
        assert history.load(tmp_path) == (one,)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.json"]


def test_a_sweep_that_is_run_again_is_the_last_and_known_once(tmp_path: Path) -> None:
    for name in ("a", "b", "a"):
        history.keep(sweep(name, "open_loop"), tmp_path)
    assert [one.name for one in history.load(tmp_path)] == ["a", "b"]


def test_what_is_damaged_is_not_kept_and_told(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(ResultsError, match=r"sweep\.json: damaged"):
        history.load(tmp_path)
    history.keep(sweep("a", "open_loop"), tmp_path)
    assert not (tmp_path / "sweeps").exists() and len(history.load(tmp_path)) == 1


@pytest.mark.parametrize("name", ["fake/open_loop/n6/s0", "fake/wander/n6/s0"])
def test_an_audit_knows_the_rows_of_all_sweeps(run: Path, name: str) -> None:
    subject = find_subject(name, run, "none", ("in_distribution",), 3)
    assert subject.name == name


def test_an_audit_of_an_unknown_row_names_those_of_all_sweeps(run: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'fake/wander/n6/s0'\?.*fake/open_loop/n6/s0, fake/wander/n6/s0"):
        find_subject("fake/wandr/n6/s0", run, "none", (), 3)


def test_a_film_finds_the_recorded_cell_of_any_sweep(run: Path) -> None:
    for name in ("fake/open_loop/n6/s0/recall/clean", "fake/wander/n6/s0/uniform/clean"):
        found, cell = film.find_cell(run, name)
        assert cell.name == name and cell.episodes == 3 and cells.is_recorded(run, cell.key)
        assert film.find_cell(run, cell.key[:12]) == (found, cell)
    with pytest.raises(UnknownNameError, match=r"unknown cell of .*wander/n6/s0/uniform/clean"):
        film.find_cell(run, "fake/open_loop/n6/s0/replay/clean")


@pytest.fixture
def published(run: Path, tmp_path: Path) -> Path:
    """The run without its demonstrations."""
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("demonstrations"))
    return tmp_path / "run"


def test_a_misspelt_cell_is_told_before_demonstrations_are_missed(published: Path) -> None:
    told = r"unknown cell of .*recal/clean'; did you mean 'fake/open_loop/n6/s0/recall/clean'\?"
    with pytest.raises(UnknownNameError, match=told):
        film.find_cell(published, "fake/open_loop/n6/s0/recal/clean")


@pytest.mark.parametrize("name", ["fake/open_loop/n6/s0/recall/clean", "0123abc"])
def test_a_film_without_its_demonstrations_says_which_sweep_collects_them(published: Path, name: str) -> None:
    told = r"Fake\.hdf5: no such file; it held the demonstrations that its episodes began from; `altbench run` with the"
    with pytest.raises(DatasetError, match=told):
        film.find_cell(published, name)


def test_a_file_of_demonstrations_that_a_sweep_names_is_to_be_put_back(tmp_path: Path) -> None:
    values = sweep("own", "open_loop").model_dump()
    own = SweepSpec.parse({**values, "demonstrations": {"n": 6, "file": "mine.hdf5"}}, "own")
    with pytest.raises(DatasetError, match=r"sweep 'own' names it as demonstrations\.file; put it back"):
        history.check_demonstrations(own, tmp_path / "mine.hdf5", "that it held")
