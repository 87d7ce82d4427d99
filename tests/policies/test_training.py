"""The training loop: resuming bit for bit, schedules, averaged weights, logs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from altbench.core.errors import ConfigError
from altbench.core.policy import FitContext
from altbench.core.spec import complete
from altbench.system.precision import PrecisionChoice
from altbench_policies import checkpoint, resume, training
from altbench_policies.bc import BehaviourCloningSpec
from altbench_policies.plateau import Plateau
from altbench_policies.training import Learner, TrainingSpec, step_generator, train

STEPS = 12


class Line:
    """Fit a small convolutional network to noisy targets; optionally stop at a given step."""

    def __init__(self, network: nn.Module, stop_at: int | None = None) -> None:
        self.network, self.stop_at, self.calls = network, stop_at, 0

    def sample(self, generator):
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.calls += 1
        return torch.randn(4, 3, 8, 8, generator=generator)

    def loss(self, batch):
        return (self.network(batch).mean((1, 2, 3)) - batch.mean((1, 2, 3))).square().mean()


def network():
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    for i, parameter in enumerate(made.parameters()):
        with torch.no_grad():
            parameter.copy_(torch.linspace(-0.3, 0.3 + 0.1 * i, parameter.numel()).view_as(parameter))
    return made.to(memory_format=torch.channels_last)


def settings(**changes):
    return TrainingSpec(train_steps=STEPS, warmup_steps=3, ema_power=0.75, precision="fp32", **changes)


def run(folder: Path | None, stop_at: int | None = None, digest="f", seed=0, **changes):
    made = network()
    objective = Line(made, stop_at)
    context = FitContext(seed, folder=folder)
    spec = settings(**changes)
    train(made, objective, spec, context, frames=100, images_per_step=4, digest=digest)
    return made.state_dict(), objective.calls


def assert_same(first, second):
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.fixture
def save_always(monkeypatch):
    """Write the state after every step."""
    monkeypatch.setattr(resume, "LARGEST_SHARE", 1e9)
    return {"checkpoint_seconds": 1e-9}


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, save_always):
    whole, _ = run(None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_at=7, **save_always)
    resumed, steps = run(tmp_path, **save_always)
    assert steps == STEPS - 7
    assert_same(whole, resumed)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first, _ = run(tmp_path)
    second, steps = run(tmp_path)
    assert steps == 0
    assert_same(first, second)


@pytest.mark.parametrize("change", [{"digest": "other"}, {"seed": 1}])
def test_a_state_of_something_else_is_not_resumed_from(tmp_path, change):
    run(tmp_path)
    _, steps = run(tmp_path, **change)
    assert steps == STEPS


@pytest.mark.parametrize("damaged", ["state.toml", f"state-{STEPS}.safetensors"])
def test_a_damaged_state_is_not_resumed_from(tmp_path, damaged):
    whole, _ = run(tmp_path)
    path = tmp_path / damaged
    path.write_bytes(path.read_bytes()[:-20])
    again, steps = run(tmp_path)
    assert steps == STEPS
    assert_same(whole, again)


CHILD = """
import importlib.util, sys, time, torch
from pathlib import Path
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("parent", sys.argv[1])
parent = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parent)
class Line(parent.Line):
    def sample(self, generator):
        if self.calls == parent.LONG - 50:
            time.sleep(600)  # so that it is killed before its end, however slow the other process is
        return super().sample(generator)
parent.resume.LARGEST_SHARE, parent.STEPS, parent.Line = 1e9, parent.LONG, Line
parent.run(Path(sys.argv[2]), checkpoint_seconds=1e-9)
"""
LONG = 300
"""Steps of the run that is killed."""


def test_a_run_killed_at_any_moment_resumes(tmp_path, monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", CHILD, __file__, str(tmp_path)])
    deadline = time.monotonic() + 200  # importing torch takes a minute on a machine that does much else
    while not (tmp_path / "state.toml").exists() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    monkeypatch.setattr(sys.modules[__name__], "STEPS", LONG)
    resumed, steps = run(tmp_path)
    assert 0 < steps < LONG
    assert_same(run(None)[0], resumed)


def test_the_state_is_one_file_and_its_index(tmp_path, save_always):
    run(tmp_path, **save_always)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [f"state-{STEPS}.safetensors", "state.toml"]


def test_the_leftovers_of_a_killed_run_are_removed(tmp_path):
    leftovers = [tmp_path / name for name in (".state-3.safetensors.0a1b2c3d.tmp", ".state.toml.0a1b2c3d.tmp")]
    for path in (*leftovers, tmp_path / "state-3.safetensors"):
        path.write_bytes(b"half")
    run(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [f"state-{STEPS}.safetensors", "state.toml"]


def test_a_state_that_cannot_be_written_leaves_the_one_before_it(tmp_path, monkeypatch, save_always):
    def fail(tensors, path):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_at=7, **save_always)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    with monkeypatch.context() as patched, pytest.raises(OSError, match="disk full"):
        patched.setattr(checkpoint.safetensors.torch, "save_file", fail)
        run(tmp_path, **save_always)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_logs_and_progress_report_the_same_steps(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen = []
    made = network()
    context = FitContext(0, folder=tmp_path, progress=lambda done, total, metrics: seen.append((done, total, metrics)))
    train(made, Line(made), settings(), context, frames=100, images_per_step=4, digest="f")
    done, total, metrics = seen[-1]
    assert (done, total) == (STEPS, STEPS)
    assert set(metrics) == {"loss", "images_per_second", "learning_rate", "data_share"}
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    scalar = events.Scalars("train/loss")[-1]
    assert scalar.step == STEPS
    assert scalar.value == pytest.approx(metrics["loss"])


class Clocked(Line):
    """A `Line` whose data take 3 s of a clock of its own, and the rest of each step 1 s."""

    now = 0.0

    def sample(self, generator):
        self.now += 3
        return super().sample(generator)

    def loss(self, batch):
        self.now += 1
        return super().loss(batch)


def test_the_wait_for_data_is_told_as_a_share_of_the_loop_s_time(tmp_path, monkeypatch, save_always):
    def shares(stop_at=None):
        made, found = network(), []
        objective = Clocked(made, stop_at)
        monkeypatch.setattr(time, "perf_counter", lambda: objective.now)
        context = FitContext(0, folder=tmp_path, progress=lambda done, total, metrics: found.append(metrics))
        train(made, objective, settings(**save_always), context, frames=100, images_per_step=4, digest="f")
        return [metrics["data_share"] for metrics in found]

    with pytest.raises(KeyboardInterrupt):
        shares(stop_at=7)
    assert shares() == [0.75] * (STEPS - 7)


def test_the_digest_of_a_fit_takes_what_json_can_hold_alone():
    config = {"betas": (0.9, 0.999), "hidden": 3, "cameras": ()}
    digest = resume.training_digest("alt", 1, config, "d")
    assert digest == "7aa808ff3f5a413c4742bb93dad39f0276eca4738475fa76546d6d2bd1d8fd25"
    assert digest != resume.training_digest("alt", 2, config, "d") != resume.training_digest("alt", 1, config, "e")
    with pytest.raises(TypeError, match="not JSON serializable"):
        resume.training_digest("alt", 1, {"weights": torch.zeros(1)}, "d")


def test_learning_rate_warms_up_then_follows_a_half_cosine():
    learner = Learner(network(), settings(learning_rate=1.0), total=13)
    rates = [learner.learning_rate(step) for step in range(13)]
    assert rates[:4] == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert rates[8] == pytest.approx(0.5)
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 0.05


def test_averaged_weights_follow_their_formula():
    made = network()
    learner = Learner(made, settings(), total=STEPS)
    expected = [p.detach().clone() for p in made.parameters()]
    for step in range(4):
        learner.step(Line(made), step, seed=0)
        decay = 1 - (1 + step) ** -0.75
        expected = [decay * e + (1 - decay) * p.detach() for e, p in zip(expected, made.parameters(), strict=True)]
    learner.finish()
    for parameter, average in zip(made.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), average)
    assert not made.training
    assert learner.average_decay(10**9) == 0.9999


class Falling(Line):
    """A loss that falls to a hundredth over 40 steps, and not at all after that."""

    def loss(self, batch):
        step = self.calls - 1
        floor = 0.01 ** (min(step, 40) / 40)
        return floor + 1e-6 * super().loss(batch)


def fall(folder=None, stop_at=None, **changes):
    made = network()
    objective = Falling(made, stop_at)
    config = TrainingSpec(**{**PLATEAU, **changes})
    train(made, objective, config, FitContext(0, folder=folder), frames=9, images_per_step=4, digest="f")
    return made.state_dict(), objective.calls


PLATEAU = {"train_steps": 200, "plateau": 0.2, "plateau_window": 10, "precision": "fp32", "schedule": "constant"}


def test_training_ends_at_a_plateau_by_its_rule():
    # Windows 1 to 4 fall by two thirds each, the fifth is all floor: so the sixth is the first that does not fall.
    assert fall()[1] == 70
    assert fall(plateau_window=20)[1] == 100  # 41-60 is the first whole window on the floor, 61-80 does not fall
    assert fall(train_steps=65)[1] == 65  # never later than asked for
    assert fall(plateau=0.0, train_steps=90)[1] == 90


def test_after_a_plateau_the_learning_rate_falls_to_zero():
    plateau = Plateau(0.2, 10, 100, torch.device("cpu"))
    for step in range(20):
        plateau.record(step, torch.tensor(1.0))
    assert plateau.end == 30
    assert [round(plateau.cooling(step), 3) for step in (10, 20, 25, 29, 30)] == [1.0, 1.0, 0.5, 0.1, 0.0]
    learner = Learner(network(), TrainingSpec(**PLATEAU, learning_rate=1.0), total=100)
    learner.plateau = plateau
    assert learner.learning_rate(25) == 0.5 and learner.end == 30


@pytest.mark.parametrize("stop_at", [7, 45, 60, 63, 69])
def test_an_interrupted_run_ends_at_the_same_plateau_with_the_same_weights(tmp_path, save_always, stop_at):
    whole, steps = fall()
    with pytest.raises(KeyboardInterrupt):
        fall(tmp_path, stop_at=stop_at, **save_always)
    resumed, more = resumed_fall(tmp_path, stop_at, **save_always)
    assert stop_at + more == steps
    assert_same(whole, resumed)


def resumed_fall(folder, done, **changes):
    made = network()
    objective = Falling(made)
    objective.calls = done  # its loss knows the step by how often it was asked
    config = TrainingSpec(**{**PLATEAU, **changes})
    train(made, objective, config, FitContext(0, folder=folder), frames=9, images_per_step=4, digest="f")
    return made.state_dict(), objective.calls - done


def test_the_plateau_is_a_setting_that_counts_where_it_is_set():
    assert not {"plateau", "plateau_window"} & TrainingSpec().model_dump().keys()
    assert TrainingSpec(plateau=0.1).model_dump()["plateau"] == 0.1


def test_averaged_weights_stay_float32_in_bf16_training():
    learner = Learner(network(), TrainingSpec(train_steps=2, ema_power=0.75, precision="bf16"), total=2)
    seen = []
    learner.network.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs.dtype))
    for step in range(2):
        learner.step(Line(learner.network), step, seed=0)
    assert seen == [torch.bfloat16] * 2
    assert {tensor.dtype for tensor in (*learner.averages, *learner.parameters)} == {torch.float32}


@pytest.mark.parametrize("value", ["bf16", "fp32"])
def test_automatic_precision_trains_as_the_machines_own_does(value, monkeypatch):
    monkeypatch.setattr(training, "choose_precision", lambda device: PrecisionChoice(value, "a test"))
    weights = []
    for precision in ("auto", value):
        made = network()
        spec = TrainingSpec(train_steps=3, precision=precision)
        train(made, Line(made), spec, FitContext(0), frames=100, images_per_step=4, digest="f")
        weights.append(made.state_dict())
    assert_same(*weights)


def test_a_state_of_another_precision_is_not_resumed_from(tmp_path, monkeypatch):
    steps = []
    for value in ("bf16", "bf16", "fp32"):
        monkeypatch.setattr(training, "choose_precision", lambda device, v=value: PrecisionChoice(v, "a test"))
        made = network()
        objective = Line(made)
        spec = TrainingSpec(train_steps=3, precision="auto")
        train(made, objective, spec, FitContext(0, folder=tmp_path), frames=9, images_per_step=4, digest="f")
        steps.append(objective.calls)
    assert steps == [3, 0, 3]


def test_averaged_weights_are_the_interpolation_to_the_last_bit():
    made = network()
    learner = Learner(made, settings(), total=STEPS)
    expected = [p.detach().clone() for p in made.parameters()]
    for step in range(4):
        learner.step(Line(made), step, seed=0)
        for average, parameter in zip(expected, made.parameters(), strict=True):
            average.lerp_(parameter.detach(), 1 - learner.average_decay(step))
    assert all(torch.equal(a, e) for a, e in zip(learner.averages, expected, strict=True))


def test_epochs_are_passes_over_the_frames():
    assert TrainingSpec(epochs=40, batch_size=32).total_steps(1200) == 1500
    assert TrainingSpec(epochs=2, batch_size=64).total_steps(10) == 2
    assert TrainingSpec(epochs=2, train_steps=0).total_steps(10) == 0


@pytest.mark.parametrize(("frames", "steps"), [(100, 1500), (1053, 4936), (9570, 20_000)])
def test_bc_trains_by_epochs_between_a_least_and_a_most_number_of_steps(frames: int, steps: int) -> None:
    assert BehaviourCloningSpec().total_steps(frames) == steps


def test_what_means_nothing_beside_a_number_of_steps_does_not_enter_the_key() -> None:
    given = BehaviourCloningSpec(train_steps=400)
    assert given == BehaviourCloningSpec(train_steps=400, epochs=7, min_steps=3, max_steps=9)
    # as it was published, before there were limits
    assert given.epochs == 40
    assert not {"min_steps", "max_steps"} & set(given.model_dump())
    assert given.total_steps(1053) == 400
    for one in (given, BehaviourCloningSpec(), BehaviourCloningSpec(min_steps=0)):
        assert BehaviourCloningSpec.parse(complete(BehaviourCloningSpec, one.model_dump()), "a card") == one


def test_a_least_number_of_steps_above_the_most_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_steps 3 is less than min_steps 5"):
        TrainingSpec.parse({"min_steps": 5, "max_steps": 3}, "here")


def test_steps_have_their_own_generators():
    def draw(seed, step):
        return torch.randn(3, generator=step_generator(seed, step)).tolist()

    assert draw(1, 2) == draw(1, 2)
    assert draw(1, 2) != draw(2, 1) != draw(1, 3)
