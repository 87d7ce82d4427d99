"""Checkpoints: what is written beside a policy's own files, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fakes
import pytest

from altbench.core import registry
from altbench.core.errors import CheckpointError, ConfigError
from altbench.core.policy import FitContext, Trainable
from altbench.core.spec import former_defaults
from altbench.results.checkpoints import (
    CARD,
    CheckpointCard,
    build_policy,
    find_checkpoint,
    is_checkpoint,
    is_whole,
    load_checkpoint,
    read_card,
    save_checkpoint,
)
from altbench.results.folder import RunFolder, remove_leftovers
from altbench.system import sealed
from altbench.system.files import new_folder


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, CheckpointCard]:
    cls = registry.policy("open_loop")
    policy = cls(fakes.TASK, cls.config_type())
    assert isinstance(policy, Trainable)
    policy.fit(fakes.make_demonstrations(2), FitContext(seed=0))
    config = policy.config.model_dump(mode="json")
    card = CheckpointCard(
        task="Fake",
        policy="open_loop",
        preset="small",
        config=config,
        n=2,
        train_seed=0,
        key="k" * 64,
        data_checksum="d",
        policy_version=policy.version,
        image_size=(16, 16),
        train_seconds=1.5,
    )
    save_checkpoint(tmp_path / "made", card, policy)
    return tmp_path / "made", card


def test_a_card_is_read_back_as_it_was(saved: tuple[Path, CheckpointCard]) -> None:
    folder, card = saved
    assert _without_files(read_card(folder)) == card and list(read_card(folder).files) == files_of(folder)
    odd = {"train_steps": None, "epochs": 3, "limit": float("inf")}
    nothing = card.model_copy(update={"config": odd, "data_share": 0.03})
    policy = load_checkpoint(folder)
    assert isinstance(policy, Trainable)
    save_checkpoint(folder.with_name("none"), nothing, policy)
    assert _without_files(read_card(folder.with_name("none"))) == nothing


def test_damage_and_other_versions_are_refused(saved: tuple[Path, CheckpointCard]) -> None:
    folder, card = saved
    text = (folder / CARD).read_text()
    sealed.write_json(folder / CARD, {**card.model_dump(), "policy_version": 99})
    with pytest.raises(CheckpointError, match=f"made by open_loop version 99, this is {card.policy_version}"):
        load_checkpoint(folder)
    for damaged in (text[: len(text) // 2], "[]", text.replace('"n": 2', '"n": 3'), text.replace(card.key, "j" * 64)):
        (folder / CARD).write_text(damaged)
        with pytest.raises(CheckpointError, match=r"policy\.json: damaged .*; delete the folder and run the sweep"):
            read_card(folder)
        assert find_checkpoint(folder.parent, folder.name) is None and not is_whole(folder)
    (folder / CARD).write_text(json.dumps({**card.model_dump(), "n": "many"}))
    with pytest.raises(CheckpointError, match=r"policy\.json: not a checkpoint's card"):
        read_card(folder)


def test_a_damaged_or_missing_file_of_a_policy_is_found_by_the_cards_digests(
    saved: tuple[Path, CheckpointCard], caplog: pytest.LogCaptureFixture
) -> None:
    folder, _ = saved
    assert is_whole(folder) and caplog.text == ""
    path = folder / files_of(folder)[0]
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 7)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match=f"{path.name}: damaged .expected the SHA-256 .*, got "):
            load_checkpoint(folder)
        assert not is_whole(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=f"{path.name}: no such file; delete the folder and run"):
        load_checkpoint(folder)


def test_a_checkpoint_from_before_digests_is_used_unchecked(saved: tuple[Path, CheckpointCard]) -> None:
    folder, card = saved
    (folder / CARD).write_text(json.dumps(card.model_dump()))
    assert is_whole(folder) and read_card(folder) == card and load_checkpoint(folder)


def files_of(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != CARD)


def _without_files(card: CheckpointCard) -> CheckpointCard:
    return card.model_copy(update={"files": {}})


OLD = """
task = "Fake"
policy = "open_loop"
preset = "small"
n = 2
train_seed = 0
key = "%s"
data_checksum = "d"
policy_version = %d
image_size = [
    16,
    16,
]
train_seconds = 1.5
unset = [
    "train_steps",
]

[config]
epochs = 3
"""
"""A card as it was written before cards were JSON."""


def test_a_card_from_before_json_is_read(saved: tuple[Path, CheckpointCard]) -> None:
    folder, card = saved
    (folder / CARD).unlink()
    assert not is_checkpoint(folder)
    text = OLD % (card.key, card.policy_version)
    (folder / "policy.toml").write_text(text)
    assert is_checkpoint(folder)
    assert read_card(folder) == card.model_copy(update={"config": {"epochs": 3, "train_steps": None}})
    (folder / "policy.toml").write_text(text.replace("unset", "unknown"))
    with pytest.raises(CheckpointError, match=r"policy\.toml: not a checkpoint's card"):
        read_card(folder)


def test_a_checkpoint_is_found_by_its_key_whatever_row_it_was_fitted_for(saved: tuple[Path, CheckpointCard]) -> None:
    made, _ = saved
    wanted = made.parent / "fake-row-n2-s0-0123456789ab"
    assert find_checkpoint(made.parent, wanted.name) is None
    other = made.rename(made.parent / "fake-other-n2-s0-0123456789ab")
    (made.parent / "fake-again-n2-s0-0123456789ab").mkdir()  # no checkpoint
    assert find_checkpoint(made.parent, wanted.name) == other and is_checkpoint(other)
    assert find_checkpoint(made.parent, "fake-row-n2-s0-ba9876543210") is None
    shutil.copytree(other, wanted)
    assert find_checkpoint(made.parent, wanted.name) == wanted


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN["policy"]))
def test_a_dump_of_former_settings_makes_the_policy_that_it_was(name: str) -> None:
    kind = registry.policy(name).config_type
    former = former_defaults(kind)
    if not former:
        pytest.skip("no default of its settings has changed")
    meant = kind.parse({**former, **({"checkpoint": "x.zip"} if name == "sb3" else {})}, "meant")
    made = build_policy("Fake", name, meant.model_dump(mode="json"), "card")
    assert made.config == meant
    assert build_policy("Fake", name, {}, "card of before").config == meant


def test_only_runtime_settings_may_be_changed(saved: tuple[Path, CheckpointCard]) -> None:
    with pytest.raises(ConfigError, match="'anything' is part of the fit"):
        load_checkpoint(saved[0], runtime={"anything": 1})


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "made") as temporary:
        (temporary / "part").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "left.0a1b2c3d.tmp").mkdir()
    (tmp_path / ".left.0a1b2c3d.tmp").write_text("x")
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert RunFolder(tmp_path).demonstrations("Lift").name == "Lift.hdf5"
