"""Fixtures of the bench's own tests: the fake task is registered, and policies that misbehave lie in files."""

from __future__ import annotations

from pathlib import Path

import fakes
import pytest

POLICIES = '''
"""Policies of a user's own, for tests: one that works, and one for each way to break the contract."""

import sys
import time

import numpy as np

from altbench.api import Decision, Policy, Requirements, Trainable
from altbench.api import Spec


class Config(Spec):
    pass


class Good(Policy):
    """Goes to where the target is seen from above."""

    name = "good"
    config_type = Config

    @property
    def requirements(self):
        return Requirements(self.task.cameras)

    def reset(self, slots, seeds):
        self.seeds = dict(zip(slots, seeds))
        self.calls = 0

    def act(self, observation, slots):
        self.calls += 1
        return Decision(np.stack([self.chunk(image[-1]) for image in observation.pixels["agentview"]]))

    def chunk(self, image):
        rows, columns = np.nonzero((image == (220, 40, 40)).all(-1))
        size = image.shape[0]
        spot = [np.mean(i) if len(i) else size / 2 for i in (rows, columns)]
        xy = [(2 * (s + 0.5) / size - 1) * 0.25 for s in spot]
        action = np.array([*xy, 0.0, 1, 0, 0, 0, 1, 0, -1], np.float32)
        return np.tile(action, (8, 1))


class Raises(Good):
    def act(self, observation, slots):
        if self.seeds[0] % 2:
            raise ValueError("no idea")
        return super().act(observation, slots)


class Fails(Good):
    def act(self, observation, slots):
        raise ValueError("no idea at all")


class Nan(Good):
    def act(self, observation, slots):
        return Decision(super().act(observation, slots).actions * np.nan)


class WrongShape(Good):
    def act(self, observation, slots):
        return Decision(super().act(observation, slots).actions[:, :3])


class Hangs(Good):
    def act(self, observation, slots):
        time.sleep(60)


class Leaves(Good):
    def act(self, observation, slots):
        sys.exit(3)


class CannotFit(Good, Trainable):
    def fit(self, demonstrations, context):
        raise RuntimeError(f"no fit to {len(demonstrations)}")

    def save(self, folder):
        pass

    def load(self, folder, device="cpu"):
        pass


class Gain(Config):
    gain: float | None = 1.0


class Tuned(Good):
    """Has a setting that does not concern the fit: without a gain it fails."""

    config_type = Gain
    runtime_fields = frozenset({"gain"})

    def act(self, observation, slots):
        actions = super().act(observation, slots).actions
        actions[..., :2] *= self.config.gain
        return Decision(actions)


class TunedAfterFit(Tuned, Trainable):
    def fit(self, demonstrations, context):
        pass

    def save(self, folder):
        pass

    def load(self, folder, device="cpu"):
        pass


class Hungry(Good):
    """Wants more memory than there is."""

    def act(self, observation, slots):
        raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory") if self.seeds[0] % 2 else MemoryError


class WantsOtherCameras(Good):
    @property
    def requirements(self):
        return Requirements(("birdview",))
'''


@pytest.fixture(autouse=True)
def _fake_task() -> None:
    fakes.register()


@pytest.fixture(scope="session")
def own_policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with policies of a user's own."""
    path = tmp_path_factory.mktemp("own") / "own_policies.py"
    path.write_text(POLICIES)
    return path
