"""A policy that is ready to act, from what a user names: a checkpoint, a file, a name or a URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from altbench.core import registry
from altbench.core.contents import digest_of
from altbench.core.errors import ConfigError
from altbench.core.policy import Policy, Trainable, resolve_config
from altbench.core.spec import digest
from altbench.results.checkpoints import CheckpointCard, is_checkpoint, load_checkpoint, read_card


@dataclass(frozen=True)
class Target:
    """What a user named. `card`: of a checkpoint; None otherwise. `policy`: made or loaded.

    A `Trainable` that is no checkpoint is not fitted.
    """

    name: str
    policy: Policy
    card: CheckpointCard | None = None

    @property
    def needs_fit(self) -> bool:
        """Whether the policy must be fitted before it can act."""
        return self.card is None and isinstance(self.policy, Trainable)

    @property
    def image_size(self) -> tuple[int, int] | None:
        """The (H, W) of the images that a checkpoint was fitted to; None: any."""
        return self.card.image_size if self.card else None

    def identity(self) -> dict[str, str]:
        """Return what tells this policy from others: its name, version and a digest."""
        kind = type(self.policy)
        if self.card is not None:
            held = digest({"key": self.card.key, "files": dict(self.card.files)})
            return {"policy": self.card.policy, "version": str(kind.version), "digest": held}
        settings = {
            "config": self.policy.config.model_dump(mode="json"),
            "code": registry.source("policy", self.name),
            "files": digest_of(self.policy.files(), self.name),
        }
        return {"policy": self.name.rpartition("/")[2], "version": str(kind.version), "digest": digest(settings)}


def find_target(
    name: str,
    task: str | None,
    *,
    preset: str = "",
    config: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> Target:
    """Return the policy that `name` stands for, placed on `device`.

    `name`: a checkpoint's folder, `file.py:Class`, a registered name or the URL of a
    server. `task`: of a checkpoint it may be left out. `preset`, `config`: of a policy
    that is made. ConfigError or CheckpointError if there is no such policy, or if it is
    of another task.
    """
    folder = Path(name)
    if folder.is_dir():
        return _checkpoint(folder, task, preset, config or {}, device)
    if task is None:
        raise ConfigError(f"{name}: expected the task that it acts in; name one with --task")
    if registry.is_remote(name) and not registry.is_url(name):
        raise ConfigError(f"{name}: expected a policy's name, a checkpoint's folder, file.py:Class or a URL")
    kind = registry.policy(name)
    settings = resolve_config(
        kind, preset or next(iter(kind.preset_names()), "small"), config or {}, f"policy {name!r}"
    )
    policy = kind(registry.task(task), settings.resolve(device))
    if not isinstance(policy, Trainable):
        policy.place(device)
    return Target(name, policy)


def card_of(folder: Path) -> CheckpointCard:
    """Return the card of the checkpoint in `folder`; ConfigError, which names those inside, if it is not one."""
    if not is_checkpoint(folder):
        inside = sorted(path.name for path in (folder / "checkpoints").glob("*") if is_checkpoint(path))
        hint = f"; it has the checkpoints {', '.join(inside[:10])}" if inside else ""
        raise ConfigError(f"{folder}: expected a checkpoint's folder, RUN/checkpoints/NAME{hint}")
    return read_card(folder)


def check_playable(policies: Sequence[str], tasks: Sequence[str]) -> None:
    """Raise ConfigError for a folder in `policies` that is no checkpoint of one of `tasks`.

    What is no folder is left to those who know names, files and URLs.
    """
    for folder in filter(Path.is_dir, map(Path, policies)):
        card = card_of(folder)
        if list(tasks) != [card.task]:
            raise ConfigError(
                f"--policy {folder}: a policy of the task {card.task}, and the sweep plays {', '.join(tasks)}"
            )


def _checkpoint(folder: Path, task: str | None, preset: str, config: Mapping[str, Any], device: str) -> Target:
    card = card_of(folder)
    if task not in (None, card.task):
        raise ConfigError(f"{folder}: a policy of the task {card.task}, and not of {task}; leave --task out")
    if preset not in ("", card.preset) and not config:
        preset = card.preset  # a checkpoint has its own
    return Target(str(folder), load_checkpoint(folder, device, dict(config)), card)
