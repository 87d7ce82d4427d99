"""Packing, and the commands: what is refused before anything is written, and the exit statuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from running import run_bare
from submitted import make_sweep
from typer.testing import CliRunner

from altbench.cli.app import app
from altbench.core import registry
from altbench.core.errors import ConfigError, ResultsError, UnknownNameError
from altbench.submissions.archive import opened, read_parts
from altbench.submissions.manifest import read_manifest
from altbench.submissions.pack import pack
from altbench.submissions.verdict import read_verdict
from altbench.submissions.verification import odds, plays
from altbench.submissions.verification import verify as verify_module
from altbench.submissions.verification.contents import read_contents
from altbench.submissions.verification.plays import Wanted, draw, same_class
from altbench.submissions.verification.verify import verify
from altbench.system.fingerprint import collect


def test_the_same_records_give_the_same_bytes(archive: Path, run_folder: Path, tmp_path: Path) -> None:
    from submitted import CARD

    again = pack(run_folder, "open_loop", tmp_path / "again.zip", True, CARD, renderer="none")
    assert again.read_bytes() == archive.read_bytes()


def test_an_archive_without_its_checkpoint_holds_none(run_folder: Path, tmp_path: Path) -> None:
    names = read_parts(pack(run_folder, "open_loop", tmp_path / "bare.zip", renderer="none"))[0]
    assert not [name for name in names if name.startswith("checkpoints/")]
    found = verify(tmp_path / "bare.zip", 0.1)
    told = {one.check: one.text for one in found.findings if one.state == "unknown"}
    assert found.outcome == "verified" and "no checkpoint" in told["policy"]


def test_no_path_of_this_machine_is_in_an_archive(archive: Path, run_folder: Path) -> None:
    data = archive.read_bytes()
    assert str(run_folder).encode() not in data and str(Path.cwd()).encode() not in data


def test_an_unknown_row_is_refused_with_the_nearest(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="open_loop"):
        pack(run_folder, "openloop", tmp_path / "x.zip", renderer="none")
    assert not (tmp_path / "x.zip").exists()


def test_half_a_run_is_refused(run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "half")
    next((tmp_path / "half" / "cells").glob("*.parquet")).unlink()
    with pytest.raises(ResultsError, match="no finished record") as caught:
        for label in ("open_loop", "random"):
            pack(tmp_path / "half", label, tmp_path / f"{label}.zip", renderer="none")
    assert "altbench run" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"seed": 3}, "root seed 0, got 3"),
        ({"horizon": 90}, "own horizon, got 90"),
        ({"evaluations": [{"split": "recall", "episodes": 24}]}, "episodes of uniform, got 0"),
        ({"evaluations": [{"split": s, "episodes": 5} for s in ("recall", "uniform")]}, "at least 20"),
    ],
)
def test_a_run_that_the_suite_does_not_allow_is_refused(changes: dict[str, object], fault: str, tmp_path: Path) -> None:
    one = make_sweep(policies=[{"policy": "random", "n": [6]}], **changes)
    run_bare(one, tmp_path / "run")
    with pytest.raises(ConfigError, match=fault):
        pack(tmp_path / "run", "random", tmp_path / "x.zip", renderer="none")
    assert not (tmp_path / "x.zip").exists()


def test_the_commands_pack_verify_and_build(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "select_backend", lambda: "none")
    monkeypatch.setattr(verify_module, "require_renderer", lambda: "none")
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    packed = runner.invoke(app, ["submit", "pack", str(run_folder), "--row", "random"])
    assert packed.exit_code == 0 and packed.output.startswith("random.zip (")
    checked = runner.invoke(app, ["submit", "verify", "random.zip", "--by", "me", "--draw", "5"])
    assert checked.exit_code == 0 and "Verified: the records hold, and the policy, played again" in checked.output
    kept = read_verdict(tmp_path / "random.verdict.json")
    assert (kept.by, kept.draw, kept.outcome) == ("me", 5, "verified")
    assert (tmp_path / "random.verdict.html").is_file()
    built = runner.invoke(app, ["leaderboard", "build", "."])
    assert built.exit_code == 0 and (tmp_path / "site" / "index.html").is_file()
    Path("random.zip").write_bytes(Path("random.zip").read_bytes()[:-1])
    refuted = runner.invoke(app, ["submit", "verify", "random.zip", "--out", "other"])
    assert refuted.exit_code == 1 and "Refuted: archive failed." in refuted.output and not Path("other").exists()


def test_a_policy_may_be_named_in_place_of_the_checkpoint(run_folder: Path, tmp_path: Path) -> None:
    """The records are of another policy than the one named, and the sign test sees it."""
    path = pack(run_folder, "open_loop", tmp_path / "x.zip", renderer="none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify_module, "require_renderer", lambda: "none")
        found = verify(path, 0.5, policy="random", draw=1)
    states = {one.check: one for one in found.findings}
    assert states["policy"].state == "failed" and "sign test" in states["policy"].text


def test_code_that_is_not_built_in_is_never_run(archive: Path) -> None:
    with opened(archive) as found:
        contents = read_contents(found, read_manifest(found.folder))
        manifest = contents.manifest
        point = manifest.points[0].model_copy(update={"policy": "mine.py:Evil"})
        foreign = manifest.model_copy(update={"points": (point,)})
        changed = type(contents)(found, foreign, contents.cells, contents.shown, contents.starts)
        told = plays.policy_findings(changed, Wanted(0.1, 1), "none", lambda done, of: None)
    assert [one.state for one in told] == ["unknown", "unknown"] and "no code of an archive is run" in told[0].text


def told_of(archive: Path, **changes: object) -> str:
    """Return why a policy is not played whose checkpoint the manifest describes with `changes`."""
    with opened(archive) as found:
        contents = read_contents(found, read_manifest(found.folder))
        manifest = contents.manifest
        point = manifest.points[0].model_copy(update=changes)
        foreign = manifest.model_copy(update={"points": (point,)})
        changed = type(contents)(found, foreign, contents.cells, contents.shown, contents.starts)
        told = plays.policy_findings(changed, Wanted(0.1, 1), "none", lambda done, of: None)
    assert [one.state for one in told] == ["unknown", "unknown"]
    return told[0].text


def test_pickles_that_an_archive_names_are_never_read(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy sb3 would unpickle a file that its settings name and trust; the forger puts one beside the archive."""
    monkeypatch.chdir(tmp_path)
    Path("evil.zip").write_bytes(b"never read")
    monkeypatch.setattr(registry, "policy", lambda name: pytest.fail(f"{name} was loaded"))
    for config in ({"path": "evil.zip"}, {"path": "none.zip", "trust": True}, {"deep": [{"x": "/etc/passwd"}]}):
        assert "not read" in told_of(archive, policy="sb3", trainable=False, config=config)


def test_a_checkpoint_outside_the_archive_is_not_read(archive: Path) -> None:
    for folder in ("../../elsewhere", "/etc", "cells/.."):
        assert "cannot be loaded" in told_of(archive, folder=folder)


def test_the_draw_depends_on_its_seed_alone(archive: Path) -> None:
    with opened(archive) as found:
        contents = read_contents(found, read_manifest(found.folder))
        drawn = [[(c.header.name, e.episode) for c, e in draw(contents, Wanted(0.2, seed))] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == 22


def test_machines_of_one_class_have_one_processor_and_one_set_of_packages() -> None:
    from dataclasses import replace

    here = collect("none")
    assert same_class(here, replace(here, cores=99, commit="x", data="y"))
    for change in ({"cpu": "other"}, {"packages": {}}, {"renderer": "egl"}, {"mixed": "two"}, {"os": "other"}):
        assert not same_class(here, replace(here, **change))


def test_the_odds_of_a_fraud_are_those_of_the_hypergeometric_distribution() -> None:
    assert odds.caught_exactly(100, 5, 0.1) == pytest.approx(1 - (90 * 89 * 88 * 87 * 86) / (100 * 99 * 98 * 97 * 96))
    assert odds.caught_exactly(100, 91, 0.1) == 1.0 and odds.caught_exactly(48, 5, 0.0) == 0.0
    assert odds.needed() == 7 and odds.sign_p(7, 0) == pytest.approx(0.5**7) and odds.sign_p(0, 9) == 1.0
    # All drawn are invented, and the policy never succeeds: seven of seven are lost.
    assert odds.caught_statistically(7, 7, 1.0, 0.0) == pytest.approx(1.0)
    assert odds.caught_statistically(100, 6, 0.5, 0.0) == 0.0
    assert odds.higher_p(3, 3, 0, 3) == pytest.approx(1 / 20)
    assert odds.caught_by_fresh(50, 20, 1.0, 0.0) == pytest.approx(1.0)
    assert odds.caught_by_fresh(50, 20, 0.5, 0.5) < 0.01


def test_the_printed_odds_are_kept_by_a_simulation(archive: Path) -> None:
    """Of 400 draws, as many hold one of a tenth of the episodes as the verdict says."""
    with opened(archive) as found:
        contents = read_contents(found, read_manifest(found.folder))
        total = contents.episodes
        pool = {
            (c.header.name, e.episode): i for i, (c, e) in enumerate((c, e) for c in contents.cells for e in c.episodes)
        }
        hits = sum(
            any(pool[c.header.name, e.episode] < round(0.1 * total) for c, e in draw(contents, Wanted(0.05, seed)))
            for seed in range(400)
        )
    expected = odds.caught_exactly(total, 6, 0.1)
    assert abs(hits / 400 - expected) < 4 * (expected * (1 - expected) / 400) ** 0.5


def test_a_policy_behind_a_server_is_played_through_its_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("websockets", reason="needs altbench[remote]")
    pytest.importorskip("msgpack", reason="needs altbench[remote]")
    from plain_server import PlainServer

    monkeypatch.setattr(verify_module, "require_renderer", lambda: "none")
    server = PlainServer().start()
    try:
        run_bare(make_sweep(policies=[{"policy": server.url, "label": "far", "n": [6]}]), tmp_path / "run")
        path = pack(tmp_path / "run", "far", tmp_path / "far.zip", renderer="none")
        unplayed, played = verify(path, 0.1, draw=1), verify(path, 0.1, draw=1, policy=server.url)
    finally:
        server.stop()
    assert (unplayed.outcome, unplayed.level) == ("verified", "records")
    assert (played.outcome, played.level) == ("verified", "policy")
    text = next(one.text for one in played.findings if one.check == "policy")
    assert "0 successes lost, 0 gained" in text
