"""Forged archives: each is caught by the check that is made for it, and an honest one by none.

The forger knows this code: all checksums, keys and seals are made anew after a change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from altbench.core.seeds import derive_seed
from altbench.core.spec import canonical, digest
from altbench.results.cells import read_cell, write_cell
from altbench.rollout.records import CellHeader, CellResult, EpisodeRecord, StepRecord
from altbench.submissions.archive import archive_bytes
from altbench.submissions.manifest import DEMONSTRATIONS, MANIFEST
from altbench.submissions.starts import STARTS
from altbench.submissions.verdict import Verdict
from altbench.submissions.verification import verify as verify_module
from altbench.submissions.verification.rules import claim_of
from altbench.submissions.verification.verify import verify
from altbench.system import sealed

Parts = dict[str, bytes]


@pytest.fixture(autouse=True)
def no_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "require_renderer", lambda: "none")


def values(parts: Parts, name: str, folder: Path) -> dict[str, Any]:
    (folder / "part.json").write_bytes(parts[name])
    return sealed.read_json(folder / "part.json", ("format",), "")


def resealed(parts: Parts, folder: Path, **changes: Any) -> bytes:
    """Return an archive of `parts` whose manifest names them, with `changes` to it."""
    manifest = {**values(parts, MANIFEST, folder), **changes}
    rest = {name: data for name, data in parts.items() if name != MANIFEST}
    manifest["parts"] = {name: hashlib.sha256(data).hexdigest() for name, data in rest.items()}
    return archive_bytes({**rest, MANIFEST: sealed.json_bytes(manifest)})


def cells_of(parts: Parts, folder: Path) -> dict[str, CellResult]:
    """Return split -> cell."""
    found = {}
    for name in [name for name in parts if name.startswith("cells/")]:
        path = folder / Path(name).name
        path.write_bytes(parts[name])
        found[read_cell(path).header.split] = read_cell(path)
    return found


def with_cell(parts: Parts, folder: Path, header: CellHeader, episodes: Sequence[EpisodeRecord]) -> Parts:
    """Return the parts with a cell replaced by another with the same name."""
    old = {
        f"cells/{one.header.key}.parquet" for one in cells_of(parts, folder).values() if one.header.name == header.name
    }
    rest = {name: data for name, data in parts.items() if name not in old}
    path = write_cell(folder / "new", header, episodes)
    return {**rest, f"cells/{path.name}": path.read_bytes()}


def claims(parts: Parts, folder: Path) -> list[dict[str, Any]]:
    """Return the numbers that follow from the cells."""
    return [claim_of(one).model_dump() for one in cells_of(parts, folder).values()]


def verdict(data: bytes, folder: Path, share: float = 0.0) -> Verdict:
    path = folder / "forged.zip"
    path.write_bytes(data)
    return verify(path, share, draw=1)


def failed(found: Verdict) -> list[str]:
    return [one.check for one in found.findings if one.state == "failed"]


def edited(parts: Parts, folder: Path, split: str, change: Callable[[EpisodeRecord], EpisodeRecord]) -> bytes:
    """Return the archive with every episode of a split changed, and claims that fit."""
    cell = cells_of(parts, folder)[split]
    made = with_cell(parts, folder, cell.header, [change(one) for one in cell.episodes])
    return resealed(made, folder, claims=claims(made, folder))


def test_an_honest_archive_is_verified_with_its_policy(archive: Path, parts: Parts, tmp_path: Path) -> None:
    found = verify(archive, 0.1, draw=3, by="me")
    assert (found.outcome, found.level, found.status, failed(found)) == ("verified", "policy", 0, [])
    assert {one.check for one in found.findings if one.state == "unknown"} == {"contents of demonstrations"}
    assert resealed(parts, tmp_path) == archive.read_bytes()


def test_without_play_the_records_alone_are_verified(archive: Path) -> None:
    found = verify(archive, 0.0)
    assert (found.outcome, found.level) == ("verified", "records") and "not played" in found.sentence


def test_a_folder_with_the_parts_is_verified_as_its_archive_is(parts: Parts, archive: Path, tmp_path: Path) -> None:
    for name, data in parts.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_bytes(data)
    found = verify(tmp_path / "own", 0.0)
    assert found.outcome == "verified" and found.digest == hashlib.sha256(archive.read_bytes()).hexdigest()


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_caught(archive: Path, place: float, bit: int) -> None:
    data = bytearray(archive.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path = archive.with_name("flipped.zip")
    path.write_bytes(bytes(data))
    found = verify(path, 0.0)
    assert found.outcome == "refuted" and failed(found) == ["archive"] and "\n" not in found.findings[0].text


def test_a_flipped_bit_in_a_folder_is_caught_by_the_checksums(parts: Parts, tmp_path: Path) -> None:
    name = next(name for name in parts if name.startswith("cells/"))
    for part, data in parts.items():
        path = tmp_path / "own" / part
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if part != name else data[:99] + bytes([data[99] ^ 1]) + data[100:])
    assert failed(verify(tmp_path / "own", 0.0)) == ["checksums"]


def test_an_edited_table_is_caught_by_its_own_seal(parts: Parts, tmp_path: Path) -> None:
    """The forger mends the manifest's checksum, and forgets the digest in the parquet file."""
    name = next(name for name in parts if name.startswith("cells/"))
    data = bytearray(parts[name])
    data[len(data) // 2] ^= 4
    found = verdict(resealed({**parts, name: bytes(data)}, tmp_path), tmp_path)
    assert failed(found) == ["archive"] and "damaged" in found.findings[0].text


def test_outcomes_edited_in_the_table_are_caught_by_the_simulator(parts: Parts, tmp_path: Path) -> None:
    """All seals are made anew, and the claim is raised with the records."""
    found = verdict(edited(parts, tmp_path, "uniform", lambda one: replace(one, success=True)), tmp_path)
    assert failed(found) == ["trajectories"]


def test_a_claim_above_the_records_is_caught_by_the_tables(parts: Parts, tmp_path: Path) -> None:
    raised = [{**one, "successes": one["episodes"]} for one in claims(parts, tmp_path)]
    assert failed(verdict(resealed(parts, tmp_path, claims=raised), tmp_path)) == ["tables"]


def test_swapped_seeds_are_caught(parts: Parts, tmp_path: Path) -> None:
    def swap(one: EpisodeRecord) -> EpisodeRecord:
        other = {0: 1, 1: 0}.get(one.episode, one.episode)
        return replace(one, seed=derive_seed(0, "evaluate", other))

    assert failed(verdict(edited(parts, tmp_path, "uniform", swap), tmp_path)) == ["seeds"]


def test_lucky_episodes_of_another_root_are_caught_by_the_seeds(parts: Parts, tmp_path: Path) -> None:
    cell = cells_of(parts, tmp_path)["uniform"]
    spec = {**json.loads(cell.header.spec_json), "seed": 7}
    header = replace(cell.header, spec_json=canonical(spec), key=digest(spec))
    lucky = [replace(one, seed=derive_seed(7, "evaluate", one.episode)) for one in cell.episodes]
    made = with_cell(parts, tmp_path, header, lucky)
    assert "seeds" in failed(verdict(resealed(made, tmp_path, claims=claims(made, tmp_path)), tmp_path))


def test_cherry_picked_episodes_are_caught(parts: Parts, tmp_path: Path) -> None:
    """Failures are left out, and what is left is numbered anew."""
    cell = cells_of(parts, tmp_path)["uniform"]
    kept = [one for one in cell.episodes if one.success or one.episode % 9 == 0]
    made = with_cell(parts, tmp_path, cell.header, kept)
    assert failed(verdict(resealed(made, tmp_path, claims=claims(made, tmp_path)), tmp_path))[:1] == ["columns"]
    kept = [one for one in cell.episodes if one.success or one.episode > 2]
    made = with_cell(parts, tmp_path, cell.header, kept)
    assert failed(verdict(resealed(made, tmp_path, claims=claims(made, tmp_path)), tmp_path)) == ["episodes"]
    numbered = [replace(one, episode=i) for i, one in enumerate(kept)]
    made = with_cell(parts, tmp_path, cell.header, numbered)
    assert failed(verdict(resealed(made, tmp_path, claims=claims(made, tmp_path)), tmp_path)) == ["episodes", "seeds"]


def test_failures_that_are_called_unplayed_are_caught_by_the_episodes(parts: Parts, tmp_path: Path) -> None:
    def hide(one: EpisodeRecord) -> EpisodeRecord:
        return one if one.success else replace(one, status="infra_error")

    assert "episodes" in failed(verdict(edited(parts, tmp_path, "uniform", hide), tmp_path))


def test_a_split_that_is_left_out_is_caught_by_the_columns(parts: Parts, tmp_path: Path) -> None:
    cell = cells_of(parts, tmp_path)["uniform"]
    made = {name: data for name, data in parts.items() if name != f"cells/{cell.header.key}.parquet"}
    assert failed(verdict(resealed(made, tmp_path, claims=claims(made, tmp_path)), tmp_path)) == ["columns"]


def test_a_renamed_cell_is_caught_by_the_keys(parts: Parts, tmp_path: Path) -> None:
    """Episodes of recall pass for episodes of uniform."""
    cells = cells_of(parts, tmp_path)
    made = with_cell(parts, tmp_path, cells["uniform"].header, cells["recall"].episodes)
    assert failed(verdict(resealed(made, tmp_path, claims=claims(made, tmp_path)), tmp_path)) == ["trajectories"]
    header = replace(cells["uniform"].header, split="recall")
    made = with_cell(parts, tmp_path, header, cells["uniform"].episodes)
    assert "keys" in failed(verdict(resealed(made, tmp_path, claims=claims(made, tmp_path)), tmp_path))


def test_other_settings_than_the_keys_are_caught(parts: Parts, tmp_path: Path) -> None:
    points = values(parts, MANIFEST, tmp_path)["points"]
    points[0]["specification"] = points[0]["specification"].replace('"n":6', '"n":5')
    assert failed(verdict(resealed(parts, tmp_path, points=points), tmp_path)) == ["keys"]


def test_a_record_that_contradicts_itself_is_caught(parts: Parts, tmp_path: Path) -> None:
    found = verdict(edited(parts, tmp_path, "uniform", lambda one: replace(one, steps=one.steps + 1)), tmp_path)
    assert failed(found) == ["records"]

    def unmeasured(one: EpisodeRecord) -> EpisodeRecord:
        last = StepRecord(one.trajectory[-1].action, (float("nan"),) * len(one.trajectory[-1].agent_pos))
        return replace(one, trajectory=(*one.trajectory[:-1], last))

    assert failed(verdict(edited(parts, tmp_path, "uniform", unmeasured), tmp_path)) == ["records"]


@pytest.mark.parametrize("change", ["seed", "sim_state", "order"])
def test_other_demonstrations_are_caught(parts: Parts, tmp_path: Path, change: str) -> None:
    shown = values(parts, DEMONSTRATIONS, tmp_path)["shown"]
    if change == "seed":
        shown[0]["starts"][2]["seed"] += 1
    elif change == "sim_state":
        shown[0]["starts"][2]["sim_state"][1] += 0.001
    else:
        shown[0]["starts"] = shown[0]["starts"][::-1]
    made = {**parts, DEMONSTRATIONS: sealed.json_bytes({"shown": shown})}
    assert failed(verdict(resealed(made, tmp_path), tmp_path)) == ["demonstrations"]


def test_a_fit_to_other_demonstrations_is_caught(parts: Parts, tmp_path: Path) -> None:
    shown = values(parts, DEMONSTRATIONS, tmp_path)["shown"]
    shown[0]["checksum"] = "0" * 64
    made = {**parts, DEMONSTRATIONS: sealed.json_bytes({"shown": shown})}
    assert failed(verdict(resealed(made, tmp_path), tmp_path)) == ["demonstrations"]


def test_the_file_of_demonstrations_is_compared(archive: Path, run_folder: Path, tmp_path: Path) -> None:
    from altbench.dataset import files

    def contents(file: Path) -> str:
        found = verify(archive, 0.0, demonstrations=file)
        return next(one.state for one in found.findings if one.check == "contents of demonstrations")

    assert contents(run_folder / "demonstrations" / "Fake.hdf5") == "passed"
    other = tmp_path / "other.hdf5"
    files.write(other, fakes.make_demonstrations(6, root_seed=9), fakes.make_meta())
    assert contents(other) == "failed"


def test_another_initial_state_is_caught(parts: Parts, tmp_path: Path) -> None:
    """The state is nearer to a demonstration than the seed's, and fits none of our seeds."""
    from altbench.core.task import InitialState
    from altbench.submissions.starts import read_starts, write_starts

    (tmp_path / STARTS).write_bytes(parts[STARTS])
    states = dict(read_starts(tmp_path))
    key = sorted(states)[3]
    states[key] = InitialState(states[key].sim_state, states[key].object_pose + 0.01)
    made = {**parts, STARTS: write_starts(tmp_path / "new", states).read_bytes()}
    assert failed(verdict(resealed(made, tmp_path), tmp_path)) == ["initial states"]


def invented(parts: Parts, folder: Path, split: str) -> bytes:
    """Return an archive whose `split` a scripted expert played in the policy's name."""
    task, expert = fakes.FakeTask(obs_type="state"), fakes.FakeExpert()

    def forge(one: EpisodeRecord) -> EpisodeRecord:
        task.reset(seed=one.seed, options={"split": split})
        expert.reset(task, one.seed)
        steps, done, won = [], False, False
        while not done:
            action = np.float32(expert.act(task))
            _, terminated, truncated, info = task.advance(action)
            position = task.observe(False)["agent_pos"]
            steps.append(StepRecord(tuple(map(float, action)), tuple(map(float, position))))
            done, won = terminated or truncated, bool(info["is_success"])
        kept = tuple(d for d in one.decisions if d.step < len(steps))
        scores = [d.ood_score for d in kept if d.ood_score is not None]
        return replace(
            one,
            success=won,
            steps=len(steps),
            trajectory=tuple(steps),
            decisions=kept,
            max_ood_score=max(scores, default=None),
            first_flagged_step=next((d.step for d in kept if d.is_ood), None),
        )

    return edited(parts, folder, split, forge)


def test_invented_trajectories_are_caught_by_the_simulator(parts: Parts, tmp_path: Path) -> None:
    """Every trajectory is the one of another episode, which succeeded."""
    cells = cells_of(parts, tmp_path)
    winner = next(one for one in cells["recall"].episodes if one.success)

    def forge(one: EpisodeRecord) -> EpisodeRecord:
        return replace(winner, episode=one.episode, seed=one.seed)

    assert failed(verdict(edited(parts, tmp_path, "uniform", forge), tmp_path)) == ["trajectories"]


def test_an_experts_actions_pass_the_simulator_and_are_caught_by_the_policy(parts: Parts, tmp_path: Path) -> None:
    data = invented(parts, tmp_path, "uniform")
    unplayed = verdict(data, tmp_path)
    assert unplayed.outcome == "verified" and unplayed.level == "records"
    played = verdict(data, tmp_path, 0.3)
    assert failed(played) == ["policy", "held-out seeds"] and played.outcome == "refuted"


def test_another_checkpoint_cannot_pass_for_the_policy(parts: Parts, tmp_path: Path) -> None:
    name = next(name for name in parts if name.startswith("checkpoints/") and not name.endswith(".json"))
    data = bytearray(parts[name])
    data[-1] ^= 1
    found = verdict(resealed({**parts, name: bytes(data)}, tmp_path), tmp_path, 0.2)
    states = {one.check: one.state for one in found.findings}
    assert states["policy"] == "unknown" and found.level == "records"
