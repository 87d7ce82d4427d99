"""Perturbations in episodes: which frames they reach, what is kept for them, and what the records say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from altbench.core import registry
from altbench.core.errors import ConfigError, PerturbationUnsupported
from altbench.core.perturbation import FrameKey, Perturbation, ScenePerturbation
from altbench.core.task import TaskEnv
from altbench.core.types import UInt8
from altbench.results import cells, frames
from altbench.rollout.chunking import ChunkWrapper
from altbench.rollout.episode import run_episode
from altbench.rollout.perturber import EpisodePerturber
from altbench.rollout.plan import EpisodePlan, PlannedPerturbation
from altbench.rollout.records import CellHeader, EpisodeRecord
from altbench.stats import rates
from altbench.sweeps.plan import make_plan
from altbench.sweeps.rows import Provenance
from altbench.sweeps.spec import PerturbationEntry, SweepSpec

PROVENANCE = Provenance({"mujoco": "0"}, "cpu", "egl", {}, 1)


class Blacken(Perturbation):
    """Black images; remembers what it was asked."""

    name = "blacken"

    def __init__(self, severity: int = 5, **options: Any) -> None:
        self.severity = severity
        self.keys: list[FrameKey] = []

    def apply(self, image: UInt8, key: FrameKey) -> UInt8:
        self.keys.append(key)
        return np.zeros_like(image) if self.severity else image.copy()


class Hold(Perturbation):
    """Shows every tenth frame until the next."""

    name = "hold"

    def __init__(self, severity: int = 5, **options: Any) -> None:
        self.severity = severity

    def keeps(self, step: int) -> bool:
        return step % 10 == 0

    def apply(self, image: UInt8, key: FrameKey) -> UInt8:
        assert key.reference is not None
        return key.reference.copy()


class Dye(ScenePerturbation):
    """Colours the target; `how` makes it fail."""

    name = "dye"
    how = ""

    def __init__(self, severity: int = 5, **options: Any) -> None:
        self.severity = severity
        self.log: list[str] = []

    def begin(self, env: TaskEnv, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        self.log.append("begin")
        if self.how == "unsupported":
            raise PerturbationUnsupported("dye: this task has no target")
        fakes.COLOURS["target"] = tuple(int(c) for c in rng.integers(0, 200, 3))

    def end(self, env: TaskEnv) -> None:
        self.log.append("end")
        fakes.COLOURS["target"] = (220, 40, 40)


class DyeNothing(Dye):
    how = "unsupported"


def play(own: Path, name: str = "Good", perturbation: Any = None, **plan: Any) -> EpisodeRecord:
    """An episode to the horizon: nothing succeeds with seed 7."""
    cls = registry.policy(name if name == "random" else f"{own}:{name}")
    policy = cls(fakes.TASK, cls.config_type())
    kind = "pixels" if policy.requirements.cameras else "state"
    env: Any = fakes.FakeTask(obs_type=kind, image_size=(32, 32), fail_seeds=frozenset({7}))
    reach = {name: plan.pop(name) for name in ("cameras", "from_step") if name in plan}
    planned = None if perturbation is None else PlannedPerturbation(perturbation, 99, **reach)
    full = {"index": 0, "seed": 7, "policy_seed": 1, "options": {"split": "uniform"}, **plan}
    return run_episode(env, policy, EpisodePlan(**full, perturbation=planned))


def test_an_unperturbed_episode_says_nothing_of_perturbations(own_policies: Path) -> None:
    assert play(own_policies).perturbation_status is None


def test_a_perturbation_reaches_the_cameras_and_steps_it_was_given(own_policies: Path) -> None:
    blacken = Blacken()
    record = play(own_policies, perturbation=blacken, cameras=("wrist",), from_step=7)
    assert record.perturbation_status == "applied"
    assert {k.camera for k in blacken.keys} == {1}
    assert min(k.step for k in blacken.keys) == 7
    assert record.trajectory == play(own_policies).trajectory  # the policy looks at the other camera only


def test_what_reaches_nothing_is_skipped(own_policies: Path) -> None:
    for plan in ({"perturbation": Blacken(0)}, {"perturbation": Blacken(), "from_step": 39}):
        assert play(own_policies, **plan).perturbation_status == "skipped"
    for perturbation in (Blacken(), Dye()):
        assert play(own_policies, "random", perturbation=perturbation).perturbation_status == "skipped"


@pytest.mark.parametrize(("horizon", "chunk"), [(2, 8), (1, 1), (3, 5)])
def test_kept_frames_do_not_depend_on_which_frames_are_seen(horizon: int, chunk: int) -> None:
    env, truth = fakes.FakeTask(image_size=(32, 32)), []
    action = np.array([0.2, 0.2, 0.0, 1, 0, 0, 0, 1, 0, -1], np.float32)
    truth.append(env.reset(seed=3)[0]["pixels"]["wrist"])
    for _ in range(39):
        truth.append(env.step(action)[0]["pixels"]["wrist"])
    perturber = EpisodePerturber(Hold(), 0, fakes.TASK.cameras, ("wrist",), from_step=3)
    chunked = ChunkWrapper(env, horizon, chunk, image_filter=perturber.change, before_frame=perturber.arrive)
    seen, step, done = chunked.reset(seed=3)[0], 0, False
    while not done:
        for back in range(min(horizon, step + 1)):
            s = step - back
            expected = truth[s] if s < 3 else truth[3 + (s - 3) // 10 * 10]
            np.testing.assert_array_equal(seen["pixels"]["wrist"][-1 - back], expected)
        seen, _, terminated, truncated, info = chunked.step(np.tile(action, (chunk, 1)))
        step, done = step + len(info["executed"]), terminated or truncated


def test_a_scene_is_perturbed_from_its_step_and_put_back(own_policies: Path) -> None:
    dye, clean = Dye(), play(own_policies)
    assert play(own_policies, perturbation=dye).perturbation_status == "applied"
    assert dye.log == ["begin", "end"]
    assert play(own_policies).trajectory == clean.trajectory
    changed, later = play(own_policies, perturbation=Dye()), play(own_policies, perturbation=Dye(), from_step=7)
    assert changed.trajectory[0].action != clean.trajectory[0].action
    assert [s.action for s in later.trajectory[:8]] == [s.action for s in clean.trajectory[:8]]
    assert later.trajectory[8:] != clean.trajectory[8:]


def test_a_scene_is_put_back_after_an_error(own_policies: Path) -> None:
    dye = Dye()
    record = play(own_policies, "Raises", perturbation=dye, policy_seed=1)
    assert (record.status, record.perturbation_status, dye.log) == ("policy_error", "applied", ["begin", "end"])


def test_what_a_task_has_nothing_for_is_not_played_and_not_counted(own_policies: Path) -> None:
    nothing = DyeNothing()
    record = play(own_policies, perturbation=nothing)
    assert (record.status, record.perturbation_status, record.steps) == ("unsupported", "unsupported", 0)
    assert record.message == "dye: this task has no target"
    assert nothing.log == ["begin", "end"]
    frame = pd.DataFrame({"status": ["ok", record.status], "success": [True, record.success]})
    assert rates.success_rate(frame).episodes == 1


def header() -> CellHeader:
    return CellHeader("k", "n", "Fake", "l", "p", "small", 1, 0, "uniform", "occlusion", 2, "c", "{}")


def test_the_status_is_kept_and_older_cells_lack_it(tmp_path: Path, own_policies: Path) -> None:
    record = play(own_policies, perturbation=Blacken())
    path = cells.write_cell(tmp_path, header(), [record])
    assert cells.read_cell(path).episodes[0].perturbation_status == "applied"
    assert list(frames.load_episodes(tmp_path)["perturbation_status"]) == ["applied"]
    old = {**pq.read_metadata(path).metadata, b"altbench.format": b"1"}
    table = pq.read_table(path).drop_columns(["perturbation_status"])
    pq.write_table(table.replace_schema_metadata({k: v for k, v in old.items() if k in OLD_KEYS}), path)
    assert cells.read_cell(path).episodes[0].perturbation_status is None
    assert frames.load_episodes(tmp_path)["perturbation_status"].isna().all()


OLD_KEYS = (b"altbench.format", b"altbench.header")
"""The metadata of a cell that was written before cells carried a digest."""


def sweep(own: Path, **entry: Any) -> SweepSpec:
    values = {
        "name": "s",
        "tasks": ["Fake"],
        "demonstrations": {"n": 6},
        "policies": [{"policy": f"{own}:Good", "n": [6]}],
        "evaluations": [{"split": "uniform", "perturbations": [{"name": "occlusion", "severities": [2], **entry}]}],
    }
    return SweepSpec.parse(values, "sweep")


def test_reach_is_part_of_a_key_only_where_it_is_narrowed(own_policies: Path) -> None:
    plain, spelt, wrist, late = (
        make_plan(sweep(own_policies, **entry), PROVENANCE).cells[0]
        for entry in ({}, {"cameras": [], "from_step": 0}, {"cameras": ["wrist"]}, {"from_step": 20})
    )
    assert plain.key == spelt.key
    assert len({plain.key, wrist.key, late.key}) == 3
    ends = [cell.name.rpartition("/")[2] for cell in (plain, wrist, late)]
    assert ends == ["occlusion-2", "occlusion@wrist-2", "occlusion@step20-2"]
    assert PerturbationEntry(name="fog", cameras=("wrist",), from_step=3).title == "fog@wrist,step3"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"cameras": ["wrst"]}, "Fake: perturbation occlusion: unknown camera 'wrst'; did you mean 'wrist'"),
        ({"from_step": 40}, "from_step: expected a step before the horizon, 40, got 40"),
        ({"from_step": -1}, "from_step"),
        (
            {"name": "light_colour", "cameras": ["wrist"]},
            "light_colour: it changes the scene, which every camera shows",
        ),
    ],
)
def test_what_means_nothing_is_refused_before_any_work(own_policies: Path, entry: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_plan(sweep(own_policies, **entry), PROVENANCE)
