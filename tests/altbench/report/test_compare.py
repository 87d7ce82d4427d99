"""Comparing runs: what is seen, how often by mistake, and what is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compared import NAME, episodes_of, frame, run
from synthetic import build_flat, episode

from altbench.core.errors import ResultsError
from altbench.report.compare import Comparison, Gate, compare, compare_frames, judge
from altbench.report.opened import open_run
from altbench.results.cells import CELLS
from altbench.rollout.records import EpisodeRecord, Status
from altbench.stats.paired import PairedCounts


def status_of(base: pd.DataFrame, new: pd.DataFrame, gate: Gate | None = None) -> int:
    return judge(compare_frames(base, new), gate).status


def broken(numbers: Sequence[int], status: Status, success: bool = False, of: int = 100) -> list[EpisodeRecord]:
    """Episodes that all succeed, but for some of a given status."""
    return [
        dataclasses.replace(episode(i, success), status=status) if i in numbers else episode(i, True) for i in range(of)
    ]


def test_outcomes_are_counted_in_pairs(tmp_path: Path) -> None:
    base = run(tmp_path / "a", {"alt": [True, True, True, False, False]})
    new = run(tmp_path / "b", {"alt": [True, False, False, True, False]})
    cell = compare(base, new).cells[0]
    assert cell.counts == PairedCounts(both=1, only_first=2, only_second=1, neither=1)
    assert cell.counts.difference == pytest.approx(-0.2)
    assert cell.low < -0.2 < cell.high
    assert cell.p == pytest.approx(0.5)
    assert not cell.can_decide


def test_the_same_run_is_the_same(tmp_path: Path) -> None:
    folder = run(tmp_path, {"alt": [True, False] * 20, "bc": [True] * 40})
    found = compare(folder, folder)
    assert judge(found).status == 0
    assert "all 80 shared episodes ended alike" in judge(found).headline
    assert not any(test.changed for test in found.tests)
    assert found.versions == found.lost == found.statuses == ()


def test_a_cell_that_fell_to_nothing_is_seen_among_many_equal_ones() -> None:
    names = [f"alt/recall/p{i}" for i in range(56)]
    base = frame({name: [True] * 10 for name in names})
    new = frame({name: [name != names[7]] * 10 for name in names})
    found = compare_frames(base, new)
    assert judge(found).status == 1
    assert [cell.name for cell in found.cells if cell.worse] == [names[7]]
    assert sum(cell.can_decide for cell in found.cells) == 1


def test_a_few_episodes_lost_in_each_cell_are_seen_together() -> None:
    rng = np.random.default_rng(3)
    names = [f"{label}/recall/p{i}" for label in ("alt", "bc", "diffusion") for i in range(10)][:29]
    base = frame({name: [True] * 10 for name in names})
    scattered = frame({name: np.isin(range(10), rng.permutation(10)[:3], invert=True) for name in names})
    same_poses = frame({name: [i >= 3 for i in range(10)] for name in names})
    for new in (scattered, same_poses):
        found = compare_frames(base, new)
        assert found.overall.counts.only_first == 87
        assert found.overall.worse
        assert not any(cell.worse for cell in found.cells)
        assert judge(found).status == 1
    assert compare_frames(base, scattered).overall.clusters == "pose"
    assert compare_frames(base, same_poses).overall.clusters == "pose and checkpoint"


def test_cells_of_one_checkpoint_are_no_independent_evidence() -> None:
    once = {"alt/recall/p0": [i >= 5 for i in range(40)]}
    copies = {f"alt/recall/p{i}": once["alt/recall/p0"] for i in range(20)}
    base = {name: [True] * 40 for name in copies}
    assert compare_frames(frame(base), frame(copies)).overall.p == pytest.approx(2**-5)
    assert status_of(frame(base), frame(copies)) == 0


def test_an_event_in_mid_episode_leaves_the_initial_pose() -> None:
    lost = [i >= 7 for i in range(40)]
    names = ("alt/recall/clean", "alt/recall+move15by0.08/clean", "alt/uniform/clean")
    base = frame({name: [True] * 40 for name in names})
    found = compare_frames(base, frame(dict.fromkeys(names, lost)))
    assert found.overall.p == pytest.approx(2**-14)  # seven poses of recall, seven of uniform


@pytest.mark.parametrize(
    ("split", "n", "collected", "poses"),
    [
        ("recall", 10, 30, 10),
        ("recall+move15by0.08", 10, 30, 10),
        ("recall", 40, 40, 30),
        ("recall", 5, 30, 5),
        ("interpolate", 30, 30, 20),
        ("uniform", 10, 30, 50),
    ],
)
def test_episodes_of_one_pose_are_one_unit(split: str, n: int, collected: int, poses: int) -> None:
    base = frame({f"alt/{split}/clean": [True] * 50}).assign(n=n, spec_json='{"seed": 3}', collected=collected)
    found = compare_frames(base, base.assign(success=False)).overall
    assert found.p == pytest.approx(0.5**poses)
    assert found.units <= poses
    assert (found.smallest is None) == (poses < 7)  # five poses show nothing


def test_cells_of_two_n_share_the_poses_that_both_show() -> None:
    cells = [frame({f"a{n}/recall/clean": [True] * 60}).assign(n=n, spec_json="{}", collected=30) for n in (10, 30)]
    base = pd.concat(cells, ignore_index=True)
    assert compare_frames(base, base.assign(success=False)).overall.p == pytest.approx(0.5**30)


@pytest.mark.parametrize("status", ["policy_error", "policy_timeout", "sim_diverged", "policy_crash"])
@pytest.mark.parametrize("success", [True, False])
def test_errors_of_the_policy_are_failures(tmp_path: Path, status: Status, success: bool) -> None:
    base = episodes_of(tmp_path / "a", "alt", broken([], "ok"))
    new = episodes_of(tmp_path / "b", "alt", broken([], "ok"))
    table = compare_frames(open_run(base).episodes(), changed_status(open_run(new).episodes(), status, success))
    assert table.overall.counts == PairedCounts(24, 76, 0, 0)
    assert judge(table).status == 1
    (change,) = table.statuses
    assert (change.base, change.new, change.episodes, change.succeeded) == ("ok", status, 76, 76)


def changed_status(episodes: pd.DataFrame, status: str, success: bool) -> pd.DataFrame:
    """The first 76 episodes with another status."""
    hit = episodes["episode"] < 76
    return episodes.assign(
        status=np.where(hit, status, episodes["status"]), success=np.where(hit, success, episodes["success"])
    )


def test_more_errors_are_a_regression_although_nothing_succeeded_before() -> None:
    base = frame({"alt/recall/clean": [False] * 100})
    found = compare_frames(base, changed_status(base, "policy_error", False))
    assert not found.overall.changed and found.unbroken.worse
    assert judge(found).status == 1
    assert judge(compare_frames(changed_status(base, "policy_error", False), base)).status == 0


def test_episodes_that_infrastructure_lost_are_named(tmp_path: Path) -> None:
    base = episodes_of(tmp_path / "a", "alt", broken([], "ok"))
    new = episodes_of(tmp_path / "b", "alt", broken([3, 5, 8, 13, 21], "infra_error"))
    found = compare(base, new)
    (lost,) = found.lost
    assert (lost.name, lost.reason, lost.episodes, lost.of) == (NAME, "infra_error", (3, 5, 8, 13, 21), 100)
    assert found.overall.counts.total == 95
    assert judge(found).status == 2 and "5 episodes" in judge(found).headline
    assert judge(found, Gate(allow_missing=True)).status == 0
    back = compare(new, base)
    assert back.only_new_counts == 5 and judge(back).status == 0


def test_missing_cells_and_episodes_and_other_versions_are_named(tmp_path: Path) -> None:
    base = run(tmp_path / "a", {"alt": [True] * 5, "bc": [True]})
    new = run(tmp_path / "b", {"alt": [True] * 3, "random": [False]}, renderer="OSMesa", packages={"mujoco": "3.8.1"})
    found = compare(base, new)
    assert found.only_base == ("lift/bc/n30/s0/recall/clean",)
    assert found.only_new == ("lift/random/n30/s0/recall/clean",)
    assert [(lost.reason, lost.episodes) for lost in found.lost] == [("missing", (3, 4))]
    assert {"mujoco: 3.9.0 -> 3.8.1", "renderer: EGL: llvmpipe -> OSMesa"} <= set(found.versions)
    assert "1 cell and 2 episodes" in judge(found).headline
    for part in ("1 cell only in the base run", "mujoco: 3.9.0 -> 3.8.1", "differ for that reason alone"):
        assert part in str(found)


def test_a_regression_is_named_although_episodes_are_missing() -> None:
    base = frame({"alt/recall/clean": [True] * 40, "bc/recall/clean": [True] * 40})
    assert status_of(base, frame({"alt/recall/clean": [False] * 40})) == 1


def test_a_small_drop_passes_under_a_margin() -> None:
    base = frame({"alt/recall/clean": [True] * 100})
    new = frame({"alt/recall/clean": [i >= 10 for i in range(100)]})
    assert status_of(base, new) == 1
    assert status_of(base, new, Gate(min_drop=10)) == 1
    found = judge(compare_frames(base, new), Gate(min_drop=10.5))
    assert found.status == 0 and "less than the margin" in found.reasons[0]


def test_a_weak_comparison_is_inconclusive_if_power_is_required() -> None:
    few, many = (frame({"alt/recall/clean": [i % 10 > 0 for i in range(n)]}) for n in (10, 1000))
    assert status_of(few, few) == 0
    assert status_of(few, few, Gate(require_power=20)) == 3
    assert status_of(many, many, Gate(require_power=20)) == 0
    assert status_of(many, many, Gate(require_power=0.5)) == 3
    nothing = frame({"alt/recall/clean": [False] * 1000})
    assert status_of(nothing, nothing, Gate(require_power=20)) == 3


def test_policies_that_cannot_drop_by_as_much_need_no_power() -> None:
    both = frame({"alt/recall/clean": [True] * 1000, "random/recall/clean": [False] * 1000})
    assert status_of(both, both, Gate(require_power=20)) == 0


def test_no_difference_is_not_called_equality() -> None:
    base = frame({"alt/recall/clean": [True, False] * 20})
    found = compare_frames(base, frame({"alt/recall/clean": [True] * 2 + [False, True] + [True, False] * 18}))
    assert judge(found).status == 0
    assert "does not show that the runs are equally good" in judge(found).headline
    assert "Could not see a drop" in str(found)


def test_a_rise_is_no_regression_and_is_shown() -> None:
    base, new = frame({"alt/recall/clean": [False] * 40}), frame({"alt/recall/clean": [True] * 40})
    found = compare_frames(base, new)
    assert found.overall.better and not found.worse
    assert judge(found).status == 0


@pytest.mark.slow
def test_equal_runs_raise_few_alarms_over_all_tests() -> None:
    rng, alarms = np.random.default_rng(0), 0
    names = [f"{label}/{split}/p{i}" for label in "abc" for split in ("recall", "uniform") for i in range(2)]
    blank = frame({name: [False] * 30 for name in names})
    for _ in range(100):
        ease, pose = rng.normal(0.5, 1, (len(names), 1)), rng.normal(0, 1.5, 30)
        chance = (1 / (1 + np.exp(-ease - pose))).ravel()
        alarms += status_of(*(blank.assign(success=rng.random(len(blank)) < chance) for _ in range(2))) == 1
    # At 5 % each, 12 of 100 or more have a probability below 0.005; the seed is fixed.
    assert alarms < 12


def test_runs_of_other_sweeps_are_refused(tmp_path: Path) -> None:
    base, new = run(tmp_path / "a", {"alt": [True]}), run(tmp_path / "b", {"bc": [True]})
    with pytest.raises(ResultsError, match=r"no episode in common .*base has 'lift/alt/.*new has 'lift/bc/"):
        compare(base, new)
    with pytest.raises(ResultsError, match="missing: no such folder"):
        compare(base, tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError, match="empty: holds no finished cell"):
        compare(tmp_path / "empty", base)


def test_a_run_without_any_counted_episode_is_refused() -> None:
    base = frame({"alt/recall/clean": [True] * 5})
    with pytest.raises(ResultsError, match=r"none of the 5 shared episodes counts .*infra_error"):
        compare_frames(base, frame({"alt/recall/clean": [False] * 5}, "infra_error"))
    with pytest.raises(ResultsError, match="twice"):
        compare_frames(base, pd.concat([base, base]))


def test_a_published_table_is_compared_with_a_fresh_run(tmp_path: Path) -> None:
    base = run(tmp_path / "a", {"alt": [True, False]})
    build_flat(base)
    for path in (base / CELLS).iterdir():
        path.unlink()
    new = run(tmp_path / "b", {"alt": [True, True]})
    assert compare(base, new).cells[0].counts == PairedCounts(1, 0, 1, 0)


def test_an_opened_run_is_compared_and_shows_what_came_out(tmp_path: Path) -> None:
    base, new = run(tmp_path / "a", {"alt": [True] * 40}), run(tmp_path / "b", {"alt": [False] * 40})
    for other in (new, str(new), open_run(new)):
        found = open_run(base).compare(other)
        assert isinstance(found, Comparison)
    assert repr(found) == ("<Comparison of 40 episodes in 1 cells: 40 lost, 0 gained; regression: significantly worse>")


def test_missing_episodes_are_counted_on_both_sides_and_no_rise_is_significant() -> None:
    base, new = frame({"alt/recall/clean": [False] * 100}), frame({"alt/recall/clean": [True] * 100})
    assert compare_frames(base, new).overall.better
    for lacking, whole in ((0, 1), (1, 0)):
        sides = [base, new]
        sides[lacking] = sides[lacking].assign(
            status=sides[lacking]["status"].mask(sides[lacking]["episode"] < 3, "infra_error")
        )
        found = compare_frames(*sides)
        assert [test.missing for test in found.tests] == [3] * 4
        assert not any(test.better for test in found.tests)
        assert (found.unplayed_base, found.unplayed_new) == ((3, 0) if whole else (0, 3))
        text = " ".join(str(found).split())
        assert f"{found.unplayed_base} episode{'s' if found.unplayed_base != 1 else ''} of the base run" in text
