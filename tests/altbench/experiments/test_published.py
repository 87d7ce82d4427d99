"""Reports that are made twice: once with the motions, once of what was published, which has none."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from published import RESULTS
from twice import check_twice, published, published_again, tables

from altbench import experiments
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.recall import WITHOUT

Make = Callable[..., ExperimentRun]
EACH = [
    {"split": "replay", "episodes": "each"},
    {"split": "recall", "episodes": 6},
    {"split": "uniform", "episodes": 4},
]


@pytest.mark.parametrize(("name", "label", "stem"), [("E3", "alt", "main"), ("E4", "alt", "keys")])
def test_recall_is_told_without_motions(
    name: str, label: str, stem: str, lookup: str, run_of: Make, tmp_path: Path
) -> None:
    one = experiments.load(name)
    run = run_of(one, {label: {"policy": lookup}}, EACH)
    before = one.report(run)
    elsewhere = published(one, before, run, tmp_path / "once")
    (tmp_path / "once" / one.folder / "decisions.parquet").unlink(missing_ok=True)
    again = one.report(elsewhere)
    head, row = tables(before)[stem][1][0].header, tables(before)[stem][1][0].rows[0]
    assert "100 %" in row[head.index("trajectory recall")]
    assert tables(again)[stem] == tables(before)[stem]
    assert tables(again)["recalls"] == tables(before)["recalls"]
    published_again(one, again, elsewhere, tmp_path / "twice")
    assert not (tmp_path / "twice" / one.folder / "decisions.parquet").exists()


def test_what_photographs_cause_is_told_without_motions(
    lookup: str, own_policies: Path, run_of: Make, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 40), (200, 30, 90)).save(tmp_path / "one.png")
    photograph = {"name": "photograph", "severities": [5], "options": {"folder": str(tmp_path)}}
    evaluations = [{"split": "recall", "episodes": 12, "perturbations": p} for p in ([], [photograph])]
    one = experiments.load("E9")
    rows = {"alt": {"policy": lookup}, "diffusion": {"policy": f"{own_policies}:Good"}}
    run = run_of(one, rows, evaluations)
    assert one.report(run).missing, "the expert has not played"
    one.compute(run, lambda line: None)
    assert not one.report(run).missing
    shown = tables(check_twice(one, run, tmp_path))
    assert [row[:2] for row in shown["chunks"][1][0].rows[-1:]] == [("expert", "camera")]
    assert all(text for stem in ("fallback", "chunks") for row in shown[stem][1][0].rows for text in row)


def test_a_row_that_was_played_here_counts_before_what_was_published(lookup: str, run_of: Make, tmp_path: Path) -> None:
    one = experiments.load("E9")
    run = run_of(one, {"alt": {"policy": lookup}}, [{"split": "recall", "episodes": 6}])
    elsewhere = published(one, one.report(run), run, tmp_path)
    told = tmp_path / one.folder / "fallback.csv"
    told.write_text(told.read_text().replace("alt,camera,6,", "alt,camera,5,"))
    assert [tables(one.report(r))["fallback"][1][0].rows[0][2] for r in (run, elsewhere)] == ["6", "5"]
    both = dataclasses.replace(run, published=elsewhere.published)
    assert tables(one.report(both)) == tables(one.report(run))


def test_shares_that_were_published_before_poses_counted_have_no_interval(
    lookup: str, run_of: Make, tmp_path: Path
) -> None:
    one = experiments.load("E9")
    run = run_of(one, {"alt": {"policy": lookup}}, [{"split": "recall", "episodes": 6}])
    elsewhere = published(one, one.report(run), run, tmp_path)
    for stem in ("fallback", "chunks"):
        told = tmp_path / one.folder / f"{stem}.csv"
        told.write_text(re.sub("(pose|top[12])_(low|high)", "before", told.read_text()))
    found = tables(one.report(elsewhere))
    assert found["fallback"][1][0].rows[0][4:6] == ("17 %", "33 %")
    assert found["chunks"][1][0].rows[0][2].endswith(" 100 %")
    assert all(WITHOUT in found[stem][2] for stem in ("fallback", "chunks"))
    told.unlink()
    assert tables(one.report(elsewhere))["chunks"][1][0].rows[0][2:] == ("", "", "")


def test_recall_that_was_published_before_poses_counted_has_no_interval(
    lookup: str, run_of: Make, tmp_path: Path
) -> None:
    one = experiments.load("E3")
    run = run_of(one, {"alt": {"policy": lookup}}, EACH)
    elsewhere = published(one, one.report(run), run, tmp_path)
    told = tmp_path / one.folder / "recalls.csv"
    told.write_text("policy,recall,recalled,episodes\nalt,trajectory_recall,5,6\n")
    found = tables(one.report(elsewhere))["main"]
    assert "5/6 83 %" in found[1][0].rows[0] and WITHOUT in found[2]


def test_no_published_p_is_below_what_thirty_poses_allow() -> None:
    """Of Holm-corrected p over the rows of a table; episodes of `uniform` begin from a pose each."""
    files = [*RESULTS.rglob("against_*.csv"), *RESULTS.rglob("learned_*.csv")]
    for path in (file for file in files if "uniform" not in file.stem):
        found = pd.read_csv(path)["p_holm"]
        least = len(found) * 2 / 2**30
        assert found.isna().all() or found.min() > 0.999 * least, path
        told = [float(p) for p in re.findall(r"\d(?:\.\d)?e-\d+(?= +\|)", path.with_suffix(".md").read_text())]
        assert min(told, default=1.0) > 0.95 * least, path  # two digits are printed
