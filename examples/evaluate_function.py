"""How often does a function succeed? `python examples/evaluate_function.py`"""

from __future__ import annotations

from typing import Any

import numpy as np

import altbench as ab


def hover(observation: dict[str, Any]) -> np.ndarray:
    """Hold the gripper where it is, open. Replace this by a policy of your own.

    `observation["pixels"]`: camera -> uint8 (84, 84, 3). `observation["agent_pos"]`: the
    gripper's position (3, metres), its rotation (6), its fingers (2). The action is a
    target: position (3), rotation (6; zeros keep the present one), gripper (-1 open,
    1 closed).
    """
    position = observation["agent_pos"][:3]
    return np.concatenate([position, np.zeros(6), [-1.0]])


def main(task: str = "Lift", episodes: int = 5) -> None:
    """Print the success of `hover`, and the longest episode."""
    played = ab.evaluate(hover, task, split="uniform", episodes=episodes)
    print(f"the longest episode took {played['steps'].max()} control steps")


if __name__ == "__main__":
    main()
