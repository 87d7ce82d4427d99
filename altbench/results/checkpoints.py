"""Checkpoints: what `Trainable.save` wrote, and a card that says what it is and how it
was made.
"""

from __future__ import annotations

import logging
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from altbench.core import registry
from altbench.core.errors import CheckpointError, ConfigError, ResultsError
from altbench.core.policy import Policy, Trainable
from altbench.core.spec import Spec, added, complete
from altbench.system import sealed
from altbench.system.files import new_folder

CARD = "policy.json"
"""The card's file in a checkpoint's folder."""
OLD_CARD = "policy.toml"
"""The card's file in checkpoints made before cards were JSON."""
_ADVICE = "delete the folder and run the sweep again to fit the policy anew"

log = logging.getLogger(__name__)


class CheckpointCard(Spec):
    """What a checkpoint is: enough to build its policy again, and what the tables say
    of it.

    `data_share`: as `TrainingClock.data_share`; None also in cards older than this
    field. `trained_on`: the processor, and the GPU if it was trained there; empty in
    cards older than this field. `files`: SHA-256 of each file that the policy wrote, by
    its path in the folder; empty in older cards, whose files are used unchecked.
    `adapter`: around a policy that learns nothing; empty: nothing.
    `epochs`: passes over the frames; None in older cards, and for a policy without a rule
    on them. `converged`: whether it kept its rule (`Trainable.least_epochs`), by them or
    by a plateau; None if that is not known.
    """

    task: str
    policy: str
    preset: str
    config: Mapping[str, Any]
    n: int
    train_seed: int
    key: str
    data_checksum: str
    policy_version: int
    image_size: tuple[int, int]
    train_seconds: float
    data_share: float | None = None
    trained_on: str = ""
    files: Mapping[str, str] = added({})
    adapter: Mapping[str, Any] = added({})
    epochs: float | None = added(None)
    converged: bool | None = added(None)


def save_checkpoint(folder: Path, card: CheckpointCard, policy: Trainable, logs: Path | None = None) -> None:
    """Write the checkpoint as `folder`, whole or not at all; `logs` (training curves)
    go along.

    The card carries the digests of the policy's files, and one of its own.
    """
    with new_folder(folder) as temporary:
        policy.save(temporary)
        # Before the logs come: they may be deleted, and no result stands on them.
        files = {path.relative_to(temporary).as_posix(): sealed.file_digest(path) for path in _files(temporary)}
        # Not pydantic's own JSON, which turns an infinite setting into null.
        sealed.write_json(temporary / CARD, card.model_copy(update={"files": files}).model_dump())
        if logs is not None and logs.is_dir():
            shutil.copytree(logs, temporary / "logs")


def is_checkpoint(folder: Path) -> bool:
    """Return whether `folder` holds a whole checkpoint."""
    return any((folder / name).is_file() for name in (CARD, OLD_CARD))


def _files(folder: Path) -> list[Path]:
    """Return all files in a folder and in those within it."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def is_whole(folder: Path) -> bool:
    """Return whether the checkpoint in `folder` is there and no file of it is damaged.

    Warn if one is. Reads all of the files.
    """
    try:
        _check_files(folder, read_card(folder))
    except CheckpointError as error:
        log.warning("counts as missing: %s", error)
        return False
    return True


def _check_files(folder: Path, card: CheckpointCard) -> None:
    """Raise CheckpointError if a file of the policy is missing or damaged."""
    for name, expected in card.files.items():
        path = folder / name
        try:
            found = sealed.file_digest(path)
        except OSError as error:
            raise CheckpointError(str(sealed.damaged(path, error, _ADVICE))) from None
        if found != expected:
            raise CheckpointError(
                f"{path}: damaged (expected the SHA-256 {expected[:12]}..., got {found[:12]}...); {_ADVICE}"
            )


def find_checkpoint(checkpoints: Path, folder: str) -> Path | None:
    """Return where the checkpoint called `folder` is in `checkpoints`.

    None if it is missing, or if its card is damaged. A folder's name ends in the checkpoint's key. Equal keys mean
    equal checkpoints, so one that was fitted for a row with another label is found too.
    """
    own = checkpoints / folder
    others = sorted(checkpoints.glob(f"*-{folder.rpartition('-')[2]}"))
    return next(filter(_has_card, dict.fromkeys((own, *others))), None)


def _has_card(folder: Path) -> bool:
    """Return whether `folder` has a card that is not damaged; warn if one is."""
    try:
        return is_checkpoint(folder) and bool(read_card(folder))
    except CheckpointError as error:
        log.warning("counts as missing: %s", error)
        return False


def read_card(folder: Path) -> CheckpointCard:
    """Return the card of the checkpoint in `folder`.

    CheckpointError if it is missing or cannot be read.
    """
    if not is_checkpoint(folder):
        raise CheckpointError(f"{folder}: not a checkpoint; expected a {CARD} in it")
    path = folder / CARD
    try:
        if not path.is_file():
            path = folder / OLD_CARD
            return CheckpointCard.parse(_read_old(path), "card")
        return CheckpointCard.parse(sealed.read_json(path, CheckpointCard.model_fields, _ADVICE), "card")
    except ResultsError as error:
        raise CheckpointError(str(error)) from None
    except (ConfigError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a checkpoint's card: {error}; {_ADVICE}") from None


def _read_old(path: Path) -> dict[str, Any]:
    """Return a card in TOML, which has no null: the settings that are None are listed
    by name in `unset`.
    """
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    values["config"] |= dict.fromkeys(values.pop("unset"))
    return values


def load_checkpoint(folder: Path, device: str = "cpu", runtime: Mapping[str, Any] | None = None) -> Policy:
    """Return the policy in `folder`, ready to act on `device`.

    `runtime` changes settings that do not concern the fit; ConfigError for any other.
    CheckpointError if another version of the policy made the checkpoint, or if a file of
    it is damaged.
    """
    card = read_card(folder)
    cls = registry.policy(card.policy)
    if cls.version != card.policy_version:
        raise CheckpointError(f"{folder}: made by {card.policy} version {card.policy_version}, this is {cls.version}")
    for name in sorted(set(runtime or {}) - cls.runtime_fields):
        raise ConfigError(f"{folder}: {name!r} is part of the fit; may be changed: {sorted(cls.runtime_fields)}")
    policy = build_policy(card.task, card.policy, {**card.config, **(runtime or {})}, str(folder))
    if isinstance(policy, Trainable):
        _check_files(folder, card)
        policy.load(folder, device)
    return policy


def build_policy(task: str, policy: str, config: Mapping[str, Any], where: str) -> Policy:
    """Return the policy called `policy` for a task with its complete settings, untrained.

    ConfigError, for settings that do not fit, begins with `where`.
    """
    cls = registry.policy(policy)
    return cls(registry.task(task), cls.config_type.parse(complete(cls.config_type, config), where))
