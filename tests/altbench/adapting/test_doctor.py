"""The doctor on the fake task: what it finds, what it cannot tell apart, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import seeker
from typer.testing import CliRunner

from altbench import dataset
from altbench.adapters.foreign import ForeignPolicy
from altbench.adapters.policy import AdaptedPolicy
from altbench.adapters.spec import Actions, Adapter, read_adapter
from altbench.adapting import action_search, targets
from altbench.adapting.diagnosis import Diagnosis, diagnose
from altbench.adapting.errors import Judge
from altbench.adapting.evidence import gather
from altbench.adapting.lattice import facts_of
from altbench.adapting.proof import Proof
from altbench.cli.app import app
from altbench.core.demonstration import Demonstration
from altbench.core.errors import AltbenchError, ContractError, DatasetError
from altbench.core.policy import Observation
from altbench.core.spec import Spec
from altbench.stats.paired import PairedCounts

SIZE = (32, 32)
BASE = (-0.5, 0.1, 0.2)
HERE = Path(seeker.__file__)


@pytest.fixture(scope="module")
def shown() -> tuple[Demonstration, ...]:
    fakes.register()
    return fakes.make_demonstrations(12, image_size=SIZE, placement="uniform")


@pytest.fixture(scope="module")
def file(shown: tuple[Demonstration, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demos") / "Fake.hdf5"
    dataset.write(path, shown, fakes.make_meta(SIZE, "uniform"))
    return path


@pytest.fixture(scope="module")
def own(shown: tuple[Demonstration, ...]) -> Diagnosis:
    """What is found of a policy that has our conventions."""
    return diagnose(sound(), shown, base=BASE)


def sound() -> seeker.Seeker:
    return seeker.Seeker(fakes.TASK, Spec())


def found_for(planted: dict[str, Any], shown: tuple[Demonstration, ...]) -> Diagnosis:
    adapter = Adapter.model_validate({"base": BASE, **planted})
    return diagnose(ForeignPolicy(sound(), adapter, shown), shown, base=BASE)


def test_a_sound_policy_needs_no_adapter(own: Diagnosis) -> None:
    assert own.is_identity and own.explained
    assert own.error == pytest.approx(own.unadapted or 0.0)
    assert own.error < 0.5 * min(own.nearest, own.constant)


@pytest.mark.parametrize(
    "planted",
    [
        pytest.param(
            {"images": {"layout": "chw", "range": "-1..1"}, "cameras": {"agentview": "wrist", "wrist": "agentview"}},
            marks=pytest.mark.slow,
        ),
        {"images": {"flip_vertical": True, "order": "bgr"}, "actions": {"gripper": (0, 1)}},
        pytest.param({"state": {"order": ("fingers", "rotation", "position"), "unit": "mm"}}, marks=pytest.mark.slow),
        {"state": {"frame": "base"}, "actions": {"frame": "base", "position": "cm"}},
        {"actions": {"reference": "previous", "rotation": "quat_wxyz"}},
    ],
)
def test_planted_conventions_are_found(
    planted: dict[str, Any], shown: tuple[Demonstration, ...], own: Diagnosis
) -> None:
    found = found_for(planted, shown)
    ties = {one.convention: one.ties for one in found.findings}
    values = {one.convention: one.value for one in found.findings}
    assert found.explained
    for table, settings in planted.items():
        for key in settings if table != "cameras" else ():
            name = f"{table}.{key}"
            assert values[name] != next(f.ours for f in found.findings if f.convention == name) or ties[name], name
    assert found.error <= 1.1 * own.error + 0.1


def test_other_images_are_judged_at_every_offset(shown: tuple[Demonstration, ...]) -> None:
    # Wrong images and a wrong offset hide each other: the offset must be tried anew with each candidate's answers.
    evidence = gather(shown, fakes.TASK, 2, 24)
    facts = facts_of(fakes.TASK, sound().requirements, shown, BASE)
    answers = evidence.targets[:, 2:10].reshape(len(evidence), 8, -1).astype(np.float32)  # each two steps ahead
    judge = Judge.of(evidence, evidence.targets + 0.01)
    late = judge.score(answers, Actions()).mean()
    found = action_search.best_of_each(judge, answers[None], facts, Actions())[0]
    assert found.how.offset == 2 and found.error < 0.5 * late


def test_the_more_usual_of_two_values_that_are_as_good_is_taken(shown: tuple[Demonstration, ...]) -> None:
    # The seeker answers -1 and 1 alone: 0 for closed is read as -1 is.
    found = found_for({"actions": {"gripper": (1, -1)}}, shown)
    assert found.adapter.actions is not None and found.adapter.actions.gripper == (1.0, -1.0)
    assert "1 open, 0 closed" in {one.convention: one for one in found.findings}["actions.gripper"].ties


def test_what_the_evidence_cannot_tell_apart_is_listed(own: Diagnosis) -> None:
    # The fake gripper never turns: the first rows of its matrix have the numbers of the first columns. Its commands
    # are read by their sign, which 0 for open has too.
    found = {one.convention: one for one in own.findings}
    assert set(found["actions.rotation"].ties) == {"rot6d_rows"}
    assert set(found["actions.gripper"].ties) == {"0 open, 1 closed"} and not found["images.flip_vertical"].ties


@pytest.mark.slow
def test_noise_is_explained_by_no_convention(shown: tuple[Demonstration, ...]) -> None:
    found = diagnose(seeker.Noise(fakes.TASK, Spec()), shown, base=BASE)
    assert not found.explained


def test_a_policy_that_always_fails_is_refused_with_its_own_words(shown: tuple[Demonstration, ...]) -> None:
    with pytest.raises(ContractError, match=r"fails under every input .* RuntimeError: no weights"):
        diagnose(seeker.Crashing(fakes.TASK, Spec()), shown)


def test_too_few_demonstrations_and_deltas_are_refused(shown: tuple[Demonstration, ...]) -> None:
    with pytest.raises(DatasetError, match="at least 4 demonstrations"):
        diagnose(sound(), shown[:3])
    from dataclasses import replace

    deltas = [replace(d, actions=np.zeros((len(d), 7), np.float32), control_mode="ee_delta") for d in shown]
    with pytest.raises(DatasetError, match="expected demonstrations with ee_pose actions, got ee_delta"):
        diagnose(sound(), deltas)  # type: ignore[arg-type]


def test_an_adapted_foreign_policy_decides_as_the_sound_one_over_a_whole_episode(
    shown: tuple[Demonstration, ...],
) -> None:
    adapter = Adapter.model_validate({**seeker.FOREIGN, "actions": {"reference": "previous", "rotation": "rotvec"}})
    ours, foreign = sound(), AdaptedPolicy(ForeignPolicy(sound(), adapter), adapter)
    one = shown[0]
    foreign.reset([0], [1])
    for t in (0, 3, 6):
        seen = Observation({c: i[[t, t]][None] for c, i in one.pixels.items()}, one.agent_pos[[t, t]][None])
        np.testing.assert_allclose(foreign.act(seen, [0]).actions, ours.act(seen, [0]).actions, atol=1e-4)


# ------------------------------------------------------------------------------------------ the command
def adapt(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["adapt", *map(str, arguments)], catch_exceptions=True)


@pytest.mark.slow
def test_the_command_writes_an_adapter_that_works(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter.toml"
    done = adapt(f"{HERE}:ForeignSeeker", "--task", "Fake", "--demos", file, "--out", out, "--episodes", 4, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (
        said["verdict"] == "works" and said["succeeded"] >= 3 and said["constant_succeeded"] == 0 and said["explained"]
    )
    written = read_adapter(out)
    assert written.images.order == "bgr"
    assert written.actions is not None and written.actions.reference == "pose"
    assert said["adapter"] == written.tables()


def test_the_command_says_that_a_sound_policy_needs_nothing(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter.toml"
    done = adapt(f"{HERE}:Seeker", "--task", "Fake", "--demos", file, "--out", out, "--no-rollouts")
    assert done.exit_code == 0, done.output
    assert "it needs no adapter" in done.stdout and not out.exists()
    assert "works in the demonstrations; not tried in rollouts" in done.stdout


def test_the_command_says_that_nothing_explains_noise(file: Path, tmp_path: Path) -> None:
    done = adapt(f"{HERE}:Blind", "--task", "Fake", "--demos", file, "--out", tmp_path / "a.toml")
    assert done.exit_code == 1 and "no convention explains this policy" in done.stdout


@pytest.mark.parametrize(
    ("counts", "works"),
    [
        ((0, 5, 0, 15), True),
        ((0, 4, 0, 16), False),
        ((8, 0, 0, 12), False),
        ((8, 9, 0, 3), True),
        ((0, 0, 0, 20), False),
    ],
)
def test_it_works_if_the_interval_lies_above_what_a_constant_action_does(
    counts: tuple[int, int, int, int], works: bool
) -> None:
    names = ("both", "only_first", "only_second", "neither")
    assert Proof(PairedCounts(**dict(zip(names, counts, strict=True)))).works is works


@pytest.mark.parametrize(
    ("policy", "task", "fault"),
    [
        ("none.py:Seeker", "Fake", "no file"),
        ("sekeer", "Fake", "unknown policy"),
        (f"{HERE}:Seeker", "Fak", "unknown task"),
        ("ws://127.0.0.1:1", "Fake", "expected a policy server, got Connection refused"),
        (f"{HERE.parent}", "Fake", "checkpoint's folder"),
    ],
)
def test_a_wrong_target_is_refused(policy: str, task: str, fault: str, file: Path) -> None:
    done = adapt(policy, "--task", task, "--demos", file)
    assert isinstance(done.exception, AltbenchError) and fault in str(done.exception)


def test_demonstrations_of_another_task_are_refused(file: Path) -> None:
    done = adapt(f"{HERE}:Seeker", "--task", "Lift", "--demos", file)
    assert isinstance(done.exception, AltbenchError) and "Fake" in str(done.exception)


def test_the_base_is_found_in_a_model_unless_it_is_turned() -> None:
    model = (
        '<mujoco><worldbody><body pos="1 0 0"><body name="robot0_base" pos="-0.5 0 0.9"{}/></body></worldbody></mujoco>'
    )
    assert targets.base_in(model.format("")) == (0.5, 0.0, 0.9)
    assert targets.base_in(model.format(' quat="0 0 0 1"')) is None
    assert targets.base_in("") is None
