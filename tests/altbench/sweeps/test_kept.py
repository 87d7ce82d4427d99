"""A kept sweep means the same settings on another machine and under later defaults, so that its keys stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import published
import pytest

from altbench.core.errors import ResultsError
from altbench.results import history
from altbench.results.run import Run
from altbench.sweeps.kept import as_kept, continued, entry_as_kept, load_kept
from altbench.sweeps.plan import Plan, make_plan
from altbench.sweeps.rows import Provenance
from altbench.sweeps.spec import PolicyEntry, SweepSpec
from altbench.system import precision

PROVENANCE = Provenance({"torch": "0"}, "cpu", "egl", {("Lift", 30): "a"}, 1)
TRAINED = ("act", "alt", "alt_plus", "bc", "bc_gmm", "bc_rnn_gmm", "diffusion")


def sweep_of(*policies: dict[str, Any]) -> SweepSpec:
    evaluations = [{"split": "recall", "episodes": 2}]
    values = {"name": "mine", "tasks": ["Lift"], "policies": list(policies), "evaluations": evaluations}
    return SweepSpec.parse(values, "mine.toml")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`machine("fp32")`: from now on training is faster in fp32 here."""

    def become(value: Any) -> None:
        for module in ("altbench.system.precision", "altbench_policies.training"):
            monkeypatch.setattr(f"{module}.choose_precision", lambda device: precision.PrecisionChoice(value, "a test"))

    return become


def settings(plan: Plan) -> dict[str, Any]:
    return {cell.label: cell.config for cell in plan.cells}


@pytest.mark.parametrize("policy", TRAINED)
def test_plans_hold_the_resolved_precision_in_settings_and_keys(policy: str, machine: Any) -> None:
    keys = {}
    for value in ("bf16", "fp32"):
        machine(value)
        automatic = make_plan(sweep_of({"policy": policy}), PROVENANCE)
        asked = make_plan(sweep_of({"policy": policy, "config": {"precision": value}}), PROVENANCE)
        assert automatic.checkpoints[0].config["precision"] == value == settings(automatic)[policy]["precision"]
        assert automatic.checkpoints[0].key == asked.checkpoints[0].key
        keys[value] = automatic.checkpoints[0].key
    assert keys["bf16"] != keys["fp32"]


def test_a_kept_sweep_has_the_same_keys_on_another_machine(machine: Any, tmp_path: Path) -> None:
    machine("bf16")
    plan = make_plan(sweep_of(*({"policy": policy} for policy in (*TRAINED, "open_loop"))), PROVENANCE)
    history.keep(plan.sweep, tmp_path)
    machine("fp32")
    (kept,) = history.load(tmp_path)
    assert kept == plan.sweep
    again = make_plan(kept, PROVENANCE)
    assert [c.key for c in again.checkpoints] == [c.key for c in plan.checkpoints]
    assert [c.key for c in again.cells] == [c.key for c in plan.cells]
    assert [m.key for m in again.measurements] == [m.key for m in plan.measurements]


def test_a_kept_sweep_of_before_means_bf16_and_logits_as_they_were(machine: Any) -> None:
    machine("fp32")
    plan = make_plan(
        as_kept(sweep_of({"policy": "alt"}, {"policy": "bc", "config": {"precision": "fp32"}})), PROVENANCE
    )
    assert settings(plan)["alt"]["precision"] == "bf16" and "logits" not in settings(plan)["alt"]
    assert settings(plan)["bc"]["precision"] == "fp32"


@pytest.mark.parametrize("name", published.SWEEPS)
def test_published_runs_keep_their_keys_on_a_machine_without_bf16(name: str, machine: Any) -> None:
    machine("fp32")
    found = published.load(name)
    plan = make_plan(found.sweep, found.provenance)
    known = [c for c in plan.cells if (c.checkpoint.task, c.checkpoint.n) in plan.data]
    assert known
    for cell in known:
        assert cell.checkpoint.key == found.cells.loc[cell.name].checkpoint_key, cell.name


def test_a_policy_that_is_not_known_any_more_stays_as_it_is() -> None:
    for name in ("no_such_policy", "./gone.py:Mine"):
        entry = PolicyEntry(policy=name, config={"a": 1})
        assert entry_as_kept(entry) == entry


def test_what_a_preset_names_was_never_the_former_default() -> None:
    assert entry_as_kept(PolicyEntry(policy="bc")).config == {"precision": "bf16", "train_steps": 1500}
    assert entry_as_kept(PolicyEntry(policy="bc", preset="published_size")).config == {"precision": "bf16"}


def test_a_card_of_before_is_met_with_the_logits_that_it_was_trained_with() -> None:
    entry = entry_as_kept(PolicyEntry(policy="alt", config={"precision": "fp32"}))
    lookup = {"lookup": "nearest", "first_key": "learned", "score_against": "followed"}
    assert entry.config == {"precision": "fp32", "logits": "autocast", **lookup}


def test_a_run_goes_on_with_the_precision_that_it_began_with(machine: Any) -> None:
    machine("bf16")
    wanted = sweep_of({"policy": "bc"}, {"policy": "alt", "config": {"precision": "fp32"}}, {"policy": "kdtree"})
    begun = make_plan(wanted, PROVENANCE)
    machine("fp32")
    assert settings(make_plan(continued(wanted, [begun.sweep]), PROVENANCE)) == settings(begun)
    assert settings(make_plan(wanted, PROVENANCE))["bc"]["precision"] == "fp32"


@pytest.mark.parametrize(
    "change", [{"policy": "diffusion", "label": "bc"}, {"config": {"train_steps": 7}}, {"preset": "paper"}]
)
def test_a_row_that_means_something_else_now_is_not_bound_by_what_it_was(change: dict[str, Any], machine: Any) -> None:
    machine("bf16")
    begun = make_plan(sweep_of({"policy": "bc"}), PROVENANCE).sweep
    machine("fp32")
    wanted = sweep_of({"policy": "bc", **change})
    assert continued(wanted, [begun]) == wanted
    assert continued(wanted.model_copy(update={"name": "other"}), [begun]).policies == wanted.policies


def test_a_folder_without_checkpoints_binds_no_new_run(machine: Any, tmp_path: Path) -> None:
    machine("bf16")
    wanted = sweep_of({"policy": "bc"})
    history.keep(make_plan(wanted, PROVENANCE).sweep, tmp_path)
    assert history.continue_sweep(wanted, tmp_path) == wanted  # as a published run is
    (tmp_path / "checkpoints").mkdir()
    assert history.continue_sweep(wanted, tmp_path).policies[0].config == {"precision": "bf16", "train_steps": None}
    (tmp_path / "sweep.json").write_text("{")
    assert history.continue_sweep(wanted, tmp_path) == wanted


def test_a_run_that_is_opened_elsewhere_is_planned_as_it_began(machine: Any, tmp_path: Path) -> None:
    machine("bf16")
    wanted = sweep_of({"policy": "bc"}, {"policy": "alt"})
    begun = Run.begin(tmp_path, wanted, "none")
    assert begun.sweep.policies[0].config == {"precision": "bf16", "train_steps": None}  # which is what the run keeps
    history.keep(begun.sweep, tmp_path)
    begun.folder.checkpoints.mkdir()
    machine("fp32")
    for again in (Run.begin(tmp_path, wanted, "none"), Run.open(tmp_path, wanted, "none")):
        assert again.sweep == begun.sweep
        assert [cell.key for cell in again.plan.cells] == [cell.key for cell in begun.plan.cells]


def test_a_published_sweep_can_be_run_from_its_json(tmp_path: Path) -> None:
    path = published.RESULTS / "quick" / "sweep.json"
    assert load_kept(path).policies[0].config == {"precision": "bf16", "train_steps": 5000}
    assert json.loads(path.read_text())["policies"][0]["config"] == {}
    with pytest.raises(ResultsError, match=r"no such file; the command that made the run writes it anew"):
        load_kept(tmp_path / "sweep.json")
