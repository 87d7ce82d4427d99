"""Records what `altbench doctor --run` compares with: `python benchmarks/record_installation.py`.

It lets the experts play the fixed episodes and draws the images, with the pinned
versions, and writes `altbench/system/installation.npz`. Run it again only if a task's
version changed: another file hides that installations compute something else.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from altbench.core import registry
from altbench.system import installation
from altbench.system.files import replacing
from altbench.system.fingerprint import cpu_model, package_version
from altbench.system.installation import PACKAGES, FixedEpisode, Played

EPISODES = (
    FixedEpisode("Lift", "uniform", 1),
    FixedEpisode("Lift", "extrapolate_back", 2),
    FixedEpisode("Can", "uniform", 4),
)
"""The episodes: a cube that is lifted, and a can that falls into its bin."""


def main() -> None:
    """Record all episodes and images, and write them into one file."""
    renderer = registry.select_backend()
    arrays: dict[str, Any] = {}
    for number, episode in enumerate(EPISODES):
        played = demonstrate(episode)
        arrays |= {f"actions{number}": played.actions, f"states{number}": played.states}
        arrays[f"success{number}"] = played.success
        print(f"{episode.title}: {len(played.actions)} steps, success {played.success}")
        if not any(name.startswith(f"{episode.task}.") for name in arrays):
            images = installation.draw(episode, played.states[len(played.states) // 2])
            arrays |= {f"{episode.task}.{camera}": image for camera, image in images.items()}
    arrays["about"] = json.dumps(about(renderer), sort_keys=True)
    write(installation.RECORDED, arrays)


def demonstrate(episode: FixedEpisode) -> Played:
    """Let the task's expert play an episode until it succeeds."""
    with closing(gymnasium.make(registry.task(episode.task).env_id, obs_type="state")) as env:
        task, expert, actions = episode.begin(env), registry.expert(episode.task), []
        expert.reset(task, episode.seed)
        terminated = truncated = False
        while not (terminated or truncated):
            actions.append(expert.act(task))
            _, terminated, truncated, _ = task.advance(actions[-1])
        return installation.play(episode, env, np.stack(actions).astype(np.float32))


def about(renderer: str) -> dict[str, Any]:
    """Return what records: versions of packages and tasks, processor, renderer."""
    return {
        "episodes": [asdict(episode) for episode in EPISODES],
        "versions": {name: package_version(name) for name in PACKAGES},
        "tasks": {episode.task: registry.task(episode.task).version for episode in EPISODES},
        "processor": cpu_model(),
        "renderer": renderer,
    }


def write(path: Path, arrays: dict[str, Any]) -> None:
    """Write the arrays as one npz file, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
