"""Nothing stale: whatever a policy, task or perturbation is made of is part of its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fakes
import pytest
from running import run_bare

from altbench.core import registry
from altbench.core.errors import AltbenchError, ConfigError, DatasetError
from altbench.results.run import Run
from altbench.runner.executors import InlineExecutor
from altbench.runner.jobs import Job, RolloutJob
from altbench.sweeps.spec import SweepSpec
from altbench.system.fingerprint import Fingerprint

POLICY = '''
from pathlib import Path
import numpy as np
from altbench.api import Decision, Policy, Requirements, Spec

class Settings(Spec):
    weights: str = "w.txt"

class Mine(Policy[Settings]):
    """Moves to the height that its weights say."""
    name = "mine"

    def __init__(self, task, config):
        super().__init__(task, config)
        self.height = float(Path(config.weights).read_text())
        self.device = None

    @property
    def requirements(self):
        return Requirements((), 1, 8, 8)

    def place(self, device):
        self.device = device

    def reset(self, slots, seeds):
        assert self.device == "cpu"

    def act(self, observation, slots):
        action = np.array([0, 0, self.height, 1, 0, 0, 0, 1, 0, -1], np.float32)
        return Decision(np.tile(action, (len(slots), 8, 1)))
'''


def sweep(policy: str, **changes: Any) -> SweepSpec:
    spec = {
        "name": "stale",
        "tasks": ["Fake"],
        "image_size": [16, 16],
        "device": "cpu",
        "demonstrations": {"n": 2},
        "policies": [{"policy": policy, "n": [2]}],
        "evaluations": [{"split": "uniform", "episodes": 1}],
        "measure": False,
        **changes,
    }
    return SweepSpec.parse(spec, "stale.toml")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(POLICY)
    (tmp_path / "w.txt").write_text("0.1")
    return tmp_path


def ran(spec: SweepSpec, executor: InlineExecutor | None = None) -> int:
    summary = run_bare(spec, Path("run"), executor)
    assert summary.failed == ()
    return summary.ran


def test_retrained_weights_make_new_cells(folder: Path) -> None:
    spec = sweep("mine.py:Mine")
    assert ran(spec) == 1 and ran(spec) == 0
    (folder / "w.txt").write_text("0.2")
    assert ran(spec) == 1 and ran(spec) == 0
    (folder / "w.txt").write_text("0.1")  # as it was: found
    assert ran(spec) == 0


def test_missing_weights_are_one_line_before_any_work(folder: Path) -> None:
    (folder / "w.txt").unlink()
    with pytest.raises(ConfigError, match=r"policy 'Mine': cannot be made: FileNotFoundError: .*'w.txt'"):
        run_bare(sweep("mine.py:Mine"), Path("run"))
    hidden = POLICY.replace("super().__init__(task, config)", "super().__init__(task, config); return", 1)
    (folder / "mine.py").write_text(hidden + "\n    def files(self):\n        return [self.config.weights]\n")
    with pytest.raises(ConfigError, match=r"policy 'Mine': it reads the file 'w.txt', which is missing"):
        run_bare(sweep("mine.py:Mine"), Path("run"))
    assert not Path("run/demonstrations").exists()


def test_a_policy_may_name_files_that_no_setting_does(folder: Path) -> None:
    (folder / "mine.py").write_text(POLICY + "\n    def files(self):\n        return ['table.txt']\n")
    (folder / "table.txt").write_text("1")
    assert ran(sweep("mine.py:Mine")) == 1
    (folder / "w.txt").write_text("0.2")
    assert ran(sweep("mine.py:Mine")) == 0
    (folder / "table.txt").write_text("2")
    assert ran(sweep("mine.py:Mine")) == 1


class EditsMeanwhile(InlineExecutor):
    """Somebody retrains the weights while the first cell waits."""

    def submit(self, run: Run, job: Job) -> None:
        if isinstance(job, RolloutJob):
            Path("w.txt").write_text("0.3")
        super().submit(run, job)


def test_weights_that_change_while_a_run_goes_on_are_refused(folder: Path) -> None:
    summary = run_bare(sweep("mine.py:Mine"), Path("run"), EditsMeanwhile())
    ((_, reason),) = summary.failed
    assert "have changed since the run began; run it again" in reason
    assert ran(sweep("mine.py:Mine")) == 1


def test_an_edited_package_makes_new_cells(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    (folder / "my_package").mkdir()
    (folder / "my_package" / "__init__.py").write_text(POLICY)
    monkeypatch.setitem(registry._REGISTERED["policy"], "mine", "my_package:Mine")
    assert ran(sweep("mine")) == 1 and ran(sweep("mine")) == 0
    (folder / "my_package" / "table.csv").write_text("1")
    assert ran(sweep("mine")) == 1


def test_code_of_tasks_and_perturbations_is_part_of_keys(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = {"split": "uniform", "episodes": 1}
    noise = {**clean, "perturbations": [{"name": "invert", "severities": [1]}]}
    monkeypatch.setitem(registry._REGISTERED["perturbation"], "invert", registry.perturbation("brightness"))
    spec = sweep("random", evaluations=[clean, noise])
    monkeypatch.setattr(registry, "OWN_PACKAGES", ("altbench", "altbench_policies"))
    monkeypatch.setattr(registry, "source_digest", str)

    def keys() -> dict[str, str]:
        return {cell.column.name: cell.key for cell in Run.begin("run", spec, "none").plan.cells}

    before = keys()
    monkeypatch.setattr(registry, "source_digest", lambda code: f"{code}{'+' if isinstance(code, type) else ''}")
    changed = keys()
    assert [name for name in before if before[name] != changed[name]] == ["uniform/invert-1"]
    monkeypatch.setattr(registry, "source_digest", lambda code: f"edited {code}")
    assert not set(before.values()) & set(keys().values())


def test_the_fingerprint_names_code_and_files(folder: Path) -> None:
    run = Run.begin("run", sweep("mine.py:Mine"), "none")
    found = run.fingerprint()
    assert set(found.sources) == {"policy Mine", "files of Mine", "task Fake"}
    assert found.sources["policy Mine"] == registry.source("policy", "mine.py:Mine")
    assert f"policy Mine {found.sources['policy Mine'][:12]}" in found.one_line()
    assert Fingerprint.from_json(found.to_json()) == found
    assert "sources" not in Run.begin("other", sweep("random", tasks=["Lift"]), "none").fingerprint().to_json()


def test_demonstrations_of_an_edited_expert_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = sweep("random", evaluations=[{"split": "recall", "episodes": 1}])  # which needs demonstrations
    ran(spec)
    real = registry.source
    monkeypatch.setattr(registry, "source", lambda kind, name: real(kind, name) + ("x" if kind == "expert" else ""))
    with pytest.raises(
        DatasetError, match=r"collected with expert source .* the code was edited; choose another --out"
    ):
        run_bare(spec, Path("run"))
    monkeypatch.setattr(registry, "source", real)
    assert ran(spec) == 0


def test_a_policy_that_changes_its_mind_about_files_is_told_in_one_line(folder: Path) -> None:
    (folder / "mine.py").write_text(POLICY + "\n    def files(self):\n        raise KeyError('x')\n")
    with pytest.raises(AltbenchError, match=r"policy 'Mine': cannot be made: KeyError: 'x'"):
        run_bare(sweep("mine.py:Mine"), Path("run"))


def test_fakes_are_third_parties() -> None:
    assert registry.source("task", fakes.TASK.name)
