"""How long work takes, before it is done: from the run's own times, else from measured rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import fakes
import pytest
from running import run_bare

from altbench.core import registry
from altbench.core.spec import Spec
from altbench.results.run import Run
from altbench.runner import estimate
from altbench.runner.estimate import (
    COLLECT,
    MEASURE,
    WORK,
    Cost,
    Estimator,
    first_guesses,
    in_words,
    longest_first,
    size_in_words,
    total,
)
from altbench.runner.jobs import CheckJob, CollectJob, FitJob, MeasureJob, RolloutJob
from altbench.runner.rates import PATH, Rates, shipped, slower_in, steps_of
from altbench.sweeps.spec import SweepSpec, load_sweep
from altbench.system.precision import PrecisionChoice

RATES = Rates(
    machine="a machine",
    episodes={"Fake": {"open_loop:small": 2.0, "random:small": 1.0}, "Lift": {"kdtree:small": 0.8}},
    steps={"bc:small": 0.1},
    fits={"open_loop:small": 3.0},
    demonstrations={"Fake": 0.5},
    frames={"Fake": 20},
    cell_s=1.0,
    measurement_s=7.0,
    checkpoint_bytes={"bc:small": 1000},
    step_bytes=10.0,
    pixel_bytes=0.5,
)


def sweep(*policies: dict[str, Any], episodes: int = 4, **changes: Any) -> SweepSpec:
    values = {
        "name": "fake",
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "device": "cpu",
        "demonstrations": {"n": 6},
        "policies": policies or ({"policy": "open_loop", "n": [6]}, {"policy": "random", "n": [6]}),
        "evaluations": [{"split": "recall", "episodes": episodes}],
        **changes,
    }
    return SweepSpec.parse(values, "fake.toml")


@pytest.fixture(scope="module", autouse=True)
def _fake() -> None:
    fakes.register()


def estimator(root: Path, wanted: SweepSpec | None = None) -> Estimator:
    return Estimator(Run.open(root, wanted or sweep(), "none"), RATES)


def test_what_was_never_run_has_the_measured_rates(tmp_path: Path) -> None:
    made = estimator(tmp_path)
    looked_up, chance = (made.cost(RolloutJob(cell)) for cell in made.run.plan.cells)
    assert looked_up.seconds == 4 * 2.0 + 1.0 and chance.seconds == 4 * 1.0 + 1.0
    assert looked_up.bytes == 4 * 10 * registry.task("Fake").horizon
    fit = made.cost(FitJob(made.run.plan.checkpoints[0]))
    assert fit.seconds == 3.0 and fit.makes
    assert made.cost(MeasureJob(made.run.plan.measurements[0])).seconds == 7.0
    collecting = made.cost(CollectJob("Fake"))
    assert collecting.seconds == 3.0 and collecting.bytes == 6 * 20 * 2 * 32 * 32 * 3 * 0.5


def test_a_fit_takes_as_long_as_its_gradient_steps(tmp_path: Path) -> None:
    made = estimator(tmp_path, sweep({"policy": "bc", "n": [6], "config": {"train_steps": 300}}))
    cost = made.cost(FitJob(made.run.plan.checkpoints[0]))
    assert cost.seconds == pytest.approx(30.0) and cost.bytes == 1000


@pytest.mark.parametrize(("here", "seconds"), [("bf16", 30.0), ("fp32", 60.0)])
def test_gradient_steps_are_counted_in_the_precision_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Literal["bf16", "fp32"], seconds: float
) -> None:
    monkeypatch.setattr(estimate, "likely_choice", lambda: PrecisionChoice(here, "a test"))
    rates = RATES.model_copy(update={"precision": "bf16", "fp32_times": 2.0})
    wanted = sweep({"policy": "bc", "n": [6], "config": {"train_steps": 300}}, {"policy": "open_loop", "n": [6]})
    made = Estimator(Run.open(tmp_path, wanted, "none"), rates)
    learned, lookup = (made.cost(FitJob(point)) for point in made.run.plan.checkpoints)
    assert learned.seconds == pytest.approx(seconds) and lookup.seconds == 3.0
    assert slower_in("bf16", rates.model_copy(update={"precision": "fp32"})) == 0.5


def test_settings_tell_the_gradient_steps_that_training_asks_of_them(tmp_path: Path) -> None:
    """One rule for both: a policy that has another one is estimated by its own."""

    class Mine(Spec):
        def total_steps(self, frames: int) -> int:
            return 7 * frames

    assert steps_of(Mine(), 10) == 70 and steps_of(Spec(), 10) == 0
    entry = {"policy": "bc", "n": [6], "config": {"epochs": 800, "batch_size": 32}}
    made = estimator(tmp_path, sweep(entry))
    assert made.cost(FitJob(made.run.plan.checkpoints[0])).seconds == pytest.approx(0.1 * 800 * 6 * 20 / 32)


def test_settings_that_cannot_tell_their_steps_stop_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = estimator(tmp_path, sweep({"policy": "open_loop", "n": [3, 6]})).run
    monkeypatch.setattr(estimate, "steps_of", lambda settings, frames: 1 // 0)
    assert longest_first(run.plan.checkpoints, Rates()) == list(run.plan.checkpoints)
    assert first_guesses(run, map(FitJob, run.plan.checkpoints), Rates()) == {}


def test_first_guesses_are_by_the_rates_alone_and_leave_out_what_these_do_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "episodes", lambda run: pytest.fail("a first guess reads no record"))
    run = estimator(tmp_path, sweep({"policy": "open_loop", "n": [6]}, {"policy": "kdtree", "n": [6]})).run
    fits, cells = [FitJob(point) for point in run.plan.checkpoints], [RolloutJob(cell) for cell in run.plan.cells]
    found = first_guesses(run, [*fits, *cells, CheckJob(run.plan.cells[0]), CollectJob("Fake")], RATES)
    assert found == {fits[0].key: 3.0, cells[0].key: 9.0, cells[1].key: 7.0, "collect-Fake": 3.0}


def test_the_longest_fit_begins_first_and_one_of_unknown_length_before_it(tmp_path: Path) -> None:
    """So that no worker is without work while another one ends a long fit that began last."""
    short, long = ({"policy": "bc", "label": str(k), "n": [6], "config": {"train_steps": k}} for k in (20, 500))
    known = {"policy": "open_loop", "n": [3, 6]}
    points = estimator(tmp_path, sweep(known, short, long, {"policy": "kdtree", "n": [6]})).run.plan.checkpoints
    assert [point.name for point in longest_first(points, RATES)] == [
        f"fake/{name}/s0" for name in ("kdtree/n6", "500/n6", "open_loop/n3", "open_loop/n6", "20/n6")
    ]
    assert longest_first(reversed(points), RATES)[2].n == 6, "fits of one length keep their order"


def test_a_policy_without_a_rate_plays_like_others_and_its_fit_is_not_counted(tmp_path: Path) -> None:
    made = estimator(tmp_path, sweep({"policy": "kdtree", "n": [6]}))
    assert made.cost(RolloutJob(made.run.plan.cells[0])).seconds == 4 * 1.5 + 1.0
    fit = made.cost(FitJob(made.run.plan.checkpoints[0]))
    assert fit.seconds is None
    assert total([fit], 2).unknown == ("fake/kdtree/n6/s0/fit",)


def test_a_run_that_has_begun_goes_by_its_own_times(tmp_path: Path) -> None:
    run_bare(sweep(measure=False), tmp_path)
    more = estimator(tmp_path, sweep(episodes=40, measure=False))
    own = more.run.episodes()
    assert own.empty  # other cells, of the same rows: nothing of this plan is recorded
    again = estimator(tmp_path, sweep(measure=False))
    slow = {name: 1000 * s for name, s in RATES.episodes["Fake"].items()}
    scaled = Estimator(again.run, RATES.model_copy(update={"episodes": {"Fake": slow}}))
    played = again.run.episodes().groupby("policy").wall_s.mean()
    cost = scaled.cost(RolloutJob(scaled.run.plan.cells[0]))
    assert cost.seconds == pytest.approx(4 * played["open_loop"] + RATES.cell_s * scaled.speed)
    assert scaled.speed < 0.01  # this machine does the fake task far faster than those rates


def test_workers_share_the_work_of_a_stage_but_not_a_fit_and_what_waits_for_it() -> None:
    cells = [Cost(f"cell {i}", WORK, 10.0, after="other") for i in range(4)]
    assert total(cells, 2).seconds == 20.0 and total(cells, 0).seconds == 40.0
    chain = [Cost("fit", WORK, 100.0, after="a", makes=True), Cost("cell", WORK, 10.0, 5.0, after="a")]
    assert total([*chain, *cells], 4).seconds == 110.0
    stages = [Cost("demonstrations", COLLECT, 8.0), Cost("one", MEASURE, 3.0), Cost("two", MEASURE, 3.0)]
    assert total([*chain, *stages], 4).seconds == 8.0 + 110.0 + 6.0
    assert total(chain, 4).bytes == 5.0


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5000, "83 min"), (7200, "2 h"), (12600, "3.5 h")]
)
def test_durations_are_said_in_units_that_one_can_grasp(seconds: float, said: str) -> None:
    assert in_words(seconds) == said


def test_sizes_are_said_in_units_that_one_can_grasp() -> None:
    assert [size_in_words(size) for size in (0, 12.4e6, 1.44e9)] == ["1 MB", "12 MB", "1.44 GB"]


def test_the_shipped_rates_name_their_machine_and_cover_each_task_and_the_built_in_sweeps() -> None:
    found = shipped()
    assert PATH.name == "rates.toml" and found.machine and found.measured
    assert set(registry.BUILT_IN["task"]) <= set(found.demonstrations) & set(found.frames)
    assert found.precision == "bf16" and 1.0 < found.fp32_times < 4.0
    assert min(found.cell_s, found.measurement_s, found.step_bytes, found.pixel_bytes) > 0
    for name in ("smoke", "quick"):
        for entry in load_sweep(name).policies:
            known = {*found.steps, *found.fits, *found.episodes["Lift"]}
            assert f"{entry.policy}:{entry.preset}" in known
