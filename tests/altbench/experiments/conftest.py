"""Runs of the fake task, as experiments find them, and a policy that looks up."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from altbench.experiments import reproduce
from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.runner.executors import InlineExecutor
from altbench.sweeps.spec import SweepSpec

LOOKS_UP = '''
"""A policy that replays the demonstration whose target is nearest, and says so."""

import numpy as np

from altbench.api import Decision, Requirements, Trainable
from altbench.api import Spec


class Config(Spec):
    other: bool = False
    appearance: float = 0.0


class Lookup(Trainable):
    """Looks up the nearest first frame; `other`: the one after it."""

    name = "lookup"
    config_type = Config

    @property
    def requirements(self):
        return Requirements(self.task.cameras, obs_horizon=1)

    def fit(self, demonstrations, context):
        self.keys = np.stack([d.pixels["agentview"][0].astype(np.float32).ravel() for d in demonstrations])
        self.actions = [d.actions for d in demonstrations]
        self.numbers = np.array([d.index for d in demonstrations])

    def save(self, folder):
        longest = max(map(len, self.actions))
        padded = np.stack([np.concatenate([a, np.repeat(a[-1:], longest - len(a), axis=0)]) for a in self.actions])
        np.savez(folder / "table.npz", keys=self.keys, numbers=self.numbers, actions=padded)

    def load(self, folder, device="cpu"):
        with np.load(folder / "table.npz") as found:
            self.keys, self.numbers, self.actions = found["keys"], found["numbers"], list(found["actions"])

    def reset(self, slots, seeds):
        self.row, self.step = None, 0

    def embed(self, observation):
        images = observation.pixels["agentview"][:, -1].astype(np.float32)
        images = images.reshape(len(images), 8, 4, 8, 4, 3).mean(axis=(2, 4))
        keys = np.concatenate([images.reshape(len(images), -1) / 255, 10 * observation.agent_pos[:, -1]], axis=1)
        return keys / np.linalg.norm(keys, axis=1, keepdims=True)

    def act(self, observation, slots):
        if self.row is None:
            image = observation.pixels["agentview"][0, -1].astype(np.float32).ravel()
            nearest = int(np.square(self.keys - image).sum(axis=1).argmin())
            self.row = (nearest + 1) % len(self.keys) if self.config.other else nearest
        played = self.actions[self.row]
        steps = np.minimum(np.arange(self.step, self.step + 8), len(played) - 1)
        matches = np.array([[[self.numbers[self.row], self.step]]])
        self.step += 8
        score = np.array([0.1], np.float32)
        return Decision(played[steps][None], score, score > 1, matches, np.ones((1, 1), np.float32))
'''

Make = Callable[..., ExperimentRun]


@pytest.fixture(scope="session")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("lookup") / "lookup_policy.py"
    path.write_text(LOOKS_UP)
    return f"{path}:Lookup"


@pytest.fixture
def run_of(tmp_path: Path) -> Make:
    """Runs rows (label -> policy or settings) on splits of the fake task, as an experiment finds them.

    `hopeless`: whether a row has nothing but errors, with which a run fails.
    """

    def make(
        one: Experiment,
        rows: dict[str, dict[str, Any]],
        evaluations: Sequence[Any],
        hopeless: bool = False,
        **changes: Any,
    ) -> ExperimentRun:
        policies = [{"n": [6], **row, "label": label} for label, row in rows.items()]
        values = {"name": "fake", "tasks": ["Fake"], "image_size": [32, 32], "demonstrations": {"n": 6}}
        values |= {"policies": policies, "evaluations": evaluations, "measure": False, **changes}
        sweep = SweepSpec.parse(values, "fake")
        faked = dataclasses.replace(one, sweeps=lambda preset: [sweep])
        quiet = Console(file=io.StringIO())
        assert reproduce.run_sweeps(faked, "small", tmp_path, InlineExecutor(), "none", quiet) == hopeless
        return reproduce.open_run(faked, "small", tmp_path, "none")

    return make
