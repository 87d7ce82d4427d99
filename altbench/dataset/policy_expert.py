"""A policy as an expert.

A policy that learned a task from its state demonstrates it to policies that see images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from altbench.core import registry
from altbench.core.contents import digest_of, named_in
from altbench.core.errors import ConfigError, ContractError
from altbench.core.policy import Observation, Policy
from altbench.core.spec import digest
from altbench.core.task import PoseTask, TaskEnv, TaskInfo
from altbench.core.types import Float32


@dataclass(frozen=True)
class ExpertChoice:
    """A policy in place of a task's expert: its registered name and complete config."""

    policy: str
    config: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str, trust: bool) -> ExpertChoice:
        """Parse `POLICY:PATH`, such as `sb3:lift.zip`.

        `trust` becomes the policy's setting of that name. ConfigError if the text or
        the policy does not fit.
        """
        name, _, path = text.partition(":")
        if not path:
            raise ConfigError(f"--expert {text!r}: expected POLICY:PATH, such as sb3:lift.zip")
        kind = registry.policy(name)
        if not {"path", "trust"} <= kind.config_type.model_fields.keys():
            raise ConfigError(
                f"--expert {text}: {name} is not made of a file alone; expected a policy with the settings path and"
                " trust, such as sb3:lift.zip"
            )
        config = kind.config_type.parse({"path": path, "trust": trust}, f"--expert {text}")
        return cls(name, config.model_dump(mode="json"))

    @property
    def label(self) -> str:
        """The expert's name in a file of demonstrations.

        It names the checkpoint's contents, not its path.
        """
        kind = registry.policy(self.policy)
        values = {k: v for k, v in self.config.items() if k not in kind.runtime_fields}
        source = registry.source("policy", self.policy)
        if source:  # of a third party: no version and no setting tells what it computes
            named = named_in(kind.config_type.parse(self.config, f"expert {self.policy}"))
            values |= {"source": source, "files": digest_of(named, f"expert {self.policy}")}
        return f"{self.policy} {digest(values)[:12]}"

    def make(self, task: TaskInfo) -> Policy:
        """Make the policy; ContractError if it cannot demonstrate `task`."""
        kind = registry.policy(self.policy)
        policy = kind(task, kind.config_type.parse(self.config, f"expert {self.policy}"))
        policy.place("cpu")
        needs = policy.requirements
        if needs.cameras or needs.obs_horizon != 1 or needs.action_horizon != 1:
            raise ContractError(
                f"expert {self.policy}: expected a policy that sees no images and decides at every step (To = Ta = 1), "
                f"got cameras {needs.cameras}, To {needs.obs_horizon}, Ta {needs.action_horizon}"
            )
        return policy


class PolicyExpert:
    """An `altbench.api.Expert` that asks a policy.

    `look(task)` returns the task's present `environment_state`, float32 (De,).
    """

    def __init__(self, policy: Policy, look: Callable[[TaskEnv], Float32]) -> None:
        self._policy, self._look = policy, look

    def reset(self, env: TaskEnv, seed: int) -> None:
        """Begin an episode."""
        del env
        self._policy.reset([0], [seed])

    def act(self, env: TaskEnv) -> Float32:
        """Return the policy's action, converted to an `ee_pose` action if needed."""
        needs = self._policy.requirements
        state = self._look(env)[None, None] if needs.needs_state else None
        seen = Observation({}, env.observe(pixels=False)["agent_pos"][None, None], state)
        action: Float32 = self._policy.act(seen, [0]).actions[0, 0]
        if needs.control_mode == "ee_pose":
            return action
        if not isinstance(env, PoseTask):
            raise ContractError(f"{env.info.name} cannot say which pose an ee_delta action leads to (no as_pose)")
        return env.as_pose(action)
