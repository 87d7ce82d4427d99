"""Runs of the fake task that other processes can join: the task is installed as a plug-in would be."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import fakes
import pytest
import tomli_w

POLICY = '''
"""A policy of a user's own: it goes to the target, as slowly as it is told."""

import os
import time

import numpy as np

from altbench.api import Decision, Policy, Requirements, Spec, Trainable


class Config(Spec):
    pause_s: float = 0.0
    width: int = 1


class Goes(Policy):
    name = "goes"
    config_type = Config

    @property
    def requirements(self):
        return Requirements((), needs_state=True)

    def reset(self, slots, seeds):
        time.sleep(self.config.pause_s)

    def act(self, observation, slots):
        actions = np.zeros((1, 8, 10), np.float32)
        actions[0, :, 3] = actions[0, :, 7] = 1
        actions[0, :, :2] = observation.environment_state[0, -1, :2]
        return Decision(actions)


class Learns(Goes, Trainable):
    """Keeps the mean number of steps, so that a checkpoint belongs to the run."""

    name = "learns"

    def fit(self, demonstrations, context):
        time.sleep(self.config.pause_s)
        self.mean = float(np.mean([len(one.actions) for one in demonstrations]))

    def save(self, folder):
        (folder / "mean.txt").write_text(repr(self.mean))

    def load(self, folder, device="cpu"):
        self.mean = float((folder / "mean.txt").read_text())


class CannotFit(Learns):
    def fit(self, demonstrations, context):
        raise RuntimeError("no fit today")
'''
TESTS = Path(fakes.__file__).parent


@dataclass
class Place:
    """A folder in which `altbench` is started as a user would."""

    folder: Path
    environment: Mapping[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def sweep(
        self, pause_s: float = 0.0, episodes: int = 2, seeds: int = 3, policy: str = "Goes", **more: object
    ) -> Path:
        path = self.folder / "fake.toml"
        own = {"policy": f"./own.py:{policy}", "n": [3], "config": {"pause_s": pause_s}}
        values = {
            "name": "fake",
            "tasks": ["Fake"],
            "image_size": [16, 16],
            "device": "cpu",
            "measure": False,
            "train_seeds": list(range(seeds)),
            "demonstrations": {"n": 3},
            "policies": [own],
            "evaluations": [{"split": "uniform", "episodes": episodes}, {"split": "replay", "episodes": "each"}],
            **more,
        }
        path.write_text(tomli_w.dumps(values))
        return path

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start `altbench` with `arguments`, in a session of its own."""
        made = subprocess.Popen(
            [sys.executable, "-m", "altbench", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(made)
        return made

    def call(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Return the exit status and what `altbench` printed."""
        made = self.start(*arguments, **environment)
        said = made.communicate(timeout=1500)[0]
        return made.returncode, said

    def tables(self, out: str) -> dict[str, bytes]:
        """Return the bytes of all tables of a run, and its fingerprint's."""
        own = self.folder / out
        found = {path.name: path.read_bytes() for path in (own / "tables").iterdir()}
        return {**found, "fingerprint": (own / "fingerprint.json").read_bytes()}

    def outcomes(self, out: str) -> list[tuple[object, ...]]:
        """Return the records of a run without what was timed, in their order."""
        from altbench.results import load_published

        frame = load_published(self.folder / out).drop(columns=["wall_s"])
        return [tuple(map(str, row)) for row in frame.itertuples(index=False)]


def wait_for(what: Callable[[], bool], seconds: float = 1500.0) -> None:
    """Wait until `what()`; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to this in time"
        time.sleep(0.02)


def install(folder: Path) -> dict[str, str]:
    """Install the fake task for other processes, and write the policies; return their environment."""
    plug = folder / "plug" / "fakeplug-1.0.dist-info"
    plug.mkdir(parents=True)
    (plug / "METADATA").write_text("Metadata-Version: 2.1\nName: fakeplug\nVersion: 1.0\n")
    points = "[altbench.tasks]\nFake = fakes:FakeTask\n[altbench.experts]\nFake = fakes:FakeExpert\n"
    (plug / "entry_points.txt").write_text(points)
    (folder / "own.py").write_text(POLICY)
    paths = [str(plug.parent), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path, install(tmp_path))
    yield made
    for one in made.started:
        one.kill()
        one.wait()
        if one.stdout is not None:
            one.stdout.close()  # of one that a test killed, too


@pytest.fixture
def waiting() -> Callable[..., None]:
    return wait_for
