"""Does this installation compute what it should? Fixed episodes and images, beside recorded ones.

The recorded ones ship with altbench, in `installation.npz`. Each episode is begun from
its seed, and the recorded actions are executed; the states must be the recorded ones.
Each camera draws a recorded state; the image must be like the recorded one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from altbench.core import registry
from altbench.core.demonstration import RestorableTask
from altbench.core.errors import AltbenchError
from altbench.core.task import TaskEnv, task_of
from altbench.core.types import Float32, Float64, UInt8
from altbench.system.console import debugging, error_line
from altbench.system.doctor import Finding
from altbench.system.fingerprint import package_version

RECORDED = Path(__file__).with_name("installation.npz")
"""The recorded episodes; `benchmarks/record_installation.py` makes the file."""
STATE_TOLERANCE = 1e-6
"""The largest difference of a number of the state: m, rad, m/s or rad/s.

Instruction sets of other processors (OpenBLAS's kernels for SSE2, AVX2 and AVX-512)
change these episodes by 6e-11 at most. mujoco 3.3.7 in place of 3.9.0 changes each of
them by 0.01 or more.
"""
FAR = 16
"""The difference of a pixel's channel, of 255, from which on the pixel is unlike."""
UNLIKE_SHARE = 0.005
"""The share of pixels that may be unlike.

Mesa's other software renderers (llvmpipe with SSE2, softpipe) give 0.001 at most. Another
render profile, a mirrored image, swapped colours and a shift by one pixel give 0.01 or more.
"""
MEAN_TOLERANCE = 6.0
"""The largest mean difference of an image's channels, of 255; those renderers give 4.1."""
PACKAGES = ("mujoco", "robosuite", "numpy")
"""The packages whose versions may change an episode."""


@dataclass(frozen=True)
class FixedEpisode:
    """An episode that is always the same: a task, a split and the seed of `reset`."""

    task: str
    split: str
    seed: int

    @property
    def title(self) -> str:
        """The episode's name in the doctor's table."""
        return f"{self.task}, {self.split}"

    def begin(self, env: gymnasium.Env[Any, Any]) -> TaskEnv:
        """Begin the episode in an environment of its task."""
        env.reset(seed=self.seed, options={"split": self.split})
        return task_of(env)


@dataclass(frozen=True)
class Played:
    """What an episode was: the executed actions (T, Da), and the states (T + 1, Ds).

    `success`: whether the last action solved the task.
    """

    actions: Float32
    states: Float64
    success: bool


def check_installation() -> list[Finding]:
    """Play the fixed episodes and draw the images; a finding for each.

    Takes a few seconds, and a minute once, when robosuite's functions are compiled.
    """
    episodes = read_episodes()
    tasks = dict.fromkeys(episode.task for episode in episodes)
    return [*map(check_episode, episodes), *map(check_images, tasks)]


def check_episode(episode: FixedEpisode) -> Finding:
    """Execute an episode's recorded actions, and compare the states."""
    recorded = read_played(read_episodes().index(episode))
    try:
        with closing(gymnasium.make(registry.task(episode.task).env_id, obs_type="state")) as env:
            played = play(episode, env, recorded.actions)
            names = _names(task_of(env))
    except Exception as error:
        return _failed(episode.title, error)
    ok, detail = compare_states(played, recorded, names)
    return Finding(episode.title, ok, detail, "" if ok else _advice())


def play(episode: FixedEpisode, env: gymnasium.Env[Any, Any], actions: Float32) -> Played:
    """Execute `actions` (T, Da) in an episode."""
    task = episode.begin(env)
    states, success = [task.sim_state()], False
    for action in actions:
        success = bool(task.advance(action)[3]["is_success"])
        states.append(task.sim_state())
    return Played(actions, np.stack(states), success)


def compare_states(played: Played, recorded: Played, names: Mapping[int, str]) -> tuple[bool, str]:
    """Return whether two episodes agree within `STATE_TOLERANCE`, and what was found.

    `names`: a state's index -> what the number is.
    """
    if played.states.shape != recorded.states.shape:
        return False, f"expected states {recorded.states.shape}, got {played.states.shape}"
    gap = np.abs(played.states - recorded.states)
    steps = f"{len(recorded.actions)} steps"
    if played.success != recorded.success:
        steps += f", success {played.success} where {recorded.success} was recorded"
    ok, found = _compare(gap, names)
    return ok and played.success == recorded.success, f"{steps}: {found}"


def _compare(gap: Float64, names: Mapping[int, str]) -> tuple[bool, str]:
    """Return whether differences (T + 1, Ds) are within the tolerance, in words."""
    if not gap.any():
        return True, "identical"
    beyond = ~(gap <= STATE_TOLERANCE)
    step = int(np.argmax((beyond if beyond.any() else gap).any(axis=1)))
    index = int(np.argmax(gap[step]))
    if not beyond.any():
        return True, f"equal within {STATE_TOLERANCE:g} (different since step {step}, by {gap.max():.1g} at most)"
    first = f"{names.get(index, f'number {index}')} by {gap[step, index]:.1g}"
    return False, f"different by more than {STATE_TOLERANCE:g} since step {step} ({first}), by {gap.max():.1g} at most"


def check_images(task: str) -> Finding:
    """Draw a recorded state with every camera of `task`, and compare the images."""
    name = f"{task}, images"
    episode, state = _drawn(task)
    try:
        images = draw(episode, state)
    except Exception as error:
        return _failed(name, error)
    found = {camera: compare_images(image, read_image(task, camera)) for camera, image in images.items()}
    detail = "; ".join(f"{camera}: {text}" for camera, (_, text) in found.items())
    allowed = f"allowed: {MEAN_TOLERANCE:g} of 255, {UNLIKE_SHARE:.1%} of pixels by more than {FAR}"
    return Finding(name, all(ok for ok, _ in found.values()), detail, f"{allowed}; {_advice()}")


def draw(episode: FixedEpisode, state: Float64) -> dict[str, UInt8]:
    """Return each camera's image of a state (Ds,) of an episode."""
    with closing(gymnasium.make(registry.task(episode.task).env_id)) as env:
        start = replace(episode.begin(env).initial_state(), sim_state=state)
        observation, _ = env.reset(seed=0, options={"split": "replay", "initial_state": start})
        images: dict[str, UInt8] = observation["pixels"]
        return images


def compare_images(image: UInt8, recorded: UInt8) -> tuple[bool, str]:
    """Return whether an image is like the recorded one, and what was found."""
    if image.shape != recorded.shape:
        return False, f"expected an image {recorded.shape}, got {image.shape}"
    gap = np.abs(image.astype(np.int64) - recorded)
    if not gap.any():
        return True, "identical"
    mean, unlike = float(gap.mean()), float((gap.max(axis=-1) > FAR).mean())
    ok = mean <= MEAN_TOLERANCE and unlike <= UNLIKE_SHARE
    found = f"mean difference {mean:.1f}, {100 * unlike:.2g} % of pixels unlike"
    return ok, f"{'alike' if ok else 'different'} ({found})"


# --------------------------------------------------------------------------------------------------- what was recorded


def read_episodes() -> tuple[FixedEpisode, ...]:
    """Return which episodes were recorded, in order."""
    return tuple(FixedEpisode(**episode) for episode in read_about()["episodes"])


def read_played(number: int) -> Played:
    """Return what recorded episode `number` was, counted from 0."""
    found = _recorded()
    return Played(found[f"actions{number}"], found[f"states{number}"], bool(found[f"success{number}"]))


def read_image(task: str, camera: str) -> UInt8:
    """Return a camera's recorded image, uint8 (H, W, 3)."""
    image: UInt8 = _recorded()[f"{task}.{camera}"]
    return image


def read_about() -> dict[str, Any]:
    """Return `episodes`, and what recorded them: `versions`, `tasks`, `processor`, `renderer`."""
    about: dict[str, Any] = json.loads(str(_recorded()["about"]))
    return about


@cache
def _recorded() -> dict[str, Any]:
    with np.load(RECORDED, allow_pickle=False) as found:
        return dict(found)


def _drawn(task: str) -> tuple[FixedEpisode, Float64]:
    """Return the state that is drawn: the middle of the task's first episode."""
    number, episode = next((i, one) for i, one in enumerate(read_episodes()) if one.task == task)
    states = read_played(number).states
    return episode, states[len(states) // 2]


# ----------------------------------------------------------------------------------------------------------- in words


def _names(task: TaskEnv) -> dict[int, str]:
    """Return what each number of a state is, as far as the task can say."""
    if not isinstance(task, RestorableTask):
        return {}
    return {0: "the time", **dict(_joint_numbers(task))}


def _joint_numbers(task: RestorableTask) -> Iterator[tuple[int, str]]:
    for joint, ranges in task.native_model().joints.items():
        for kind, numbers in (("position", ranges.positions), ("velocity", ranges.velocities)):
            yield from ((index, f"{kind} of {joint}") for index in range(numbers.start, numbers.stop))


def _failed(name: str, error: Exception) -> Finding:
    if debugging():
        raise error
    advice = "solve this first" if isinstance(error, AltbenchError) else _advice()
    return Finding(name, False, f"failed: {error_line(error)}", advice)


def _advice() -> str:
    """Say which versions differ from the recorded ones, or else what to report."""
    versions = read_about()["versions"]
    other = [f"{name} {package_version(name)}, recorded with {versions[name]}" for name in PACKAGES if _differs(name)]
    if other:
        return f"{'; '.join(other)}: run `pip install -c constraints.txt .` to compare with published results"
    return "results here cannot be compared with published ones; report this, with the output of `altbench doctor`"


def _differs(package: str) -> bool:
    return bool(package_version(package) != read_about()["versions"][package])
