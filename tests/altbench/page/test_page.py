"""The page of a run: its sentences and numbers, what it holds, and what may stand in names."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import FINGERPRINT, build_flat, cells, episode, header, write_run

from altbench.core.errors import ConfigError, ResultsError
from altbench.page import payload as payload_module
from altbench.page import write_page, write_page_of_run
from altbench.page.base import remembered
from altbench.page.curves import curves, pareto_front
from altbench.page.failures import HOLDING, LOST, NEVER, NOTHING, ending, failures
from altbench.page.flags import audits, flags, roc
from altbench.page.load import load
from altbench.page.pairs import pairs
from altbench.page.payload import as_json, sampled
from altbench.page.provenance import command, provenance
from altbench.page.records import RunRecords
from altbench.page.verdict import smallest_drop, unseen, verdict
from altbench.report.compare import compare
from altbench.report.video import HOLD_LAST_S, write_mp4
from altbench.results.cells import write_cell
from altbench.results.frames import load_published
from altbench.rollout.records import CellHeader, EpisodeRecord
from altbench.system import sealed
from altbench.system.fingerprint import write_fingerprint

NASTY = "</script><script>alert(1)</script> \"q\" 's' & <img src=x onerror=alert(2)> 🤖/../x"


class Parsed(HTMLParser):
    """A page's tags, and the attributes of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run like `quick`, with its flat tables and fingerprint."""
    root = write_run(tmp_path_factory.mktemp("page") / "results" / "quick")
    build_flat(root)
    write_fingerprint(root, FINGERPRINT)
    return root


@pytest.fixture(scope="module")
def run(folder: Path) -> RunRecords:
    """Its records."""
    return load(folder)


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    """Its page."""
    return write_page(folder).read_text("utf-8")


def data_of(text: str) -> dict[str, Any]:
    """The data that the page's script reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    read: dict[str, Any] = json.loads(found[1])
    return read


def write(folder: Path, cells: Sequence[tuple[CellHeader, Sequence[EpisodeRecord]]]) -> RunRecords:
    """Write cells with their episodes; return the run's records."""
    for head, episodes in cells:
        write_cell(folder, head, episodes)
    return load(folder)


def small(folder: Path, wins: int = 7) -> Path:
    """A run of two policies and 20 episodes, with its flat tables."""
    for label, count in (("alt", 8), ("bc", wins)):
        write_cell(folder, header(label, 30, "uniform"), won(count, 10))
    build_flat(folder)
    return folder


def test_a_row_that_has_not_converged_leads_on_the_page_no_more_than_in_the_tables(tmp_path: Path) -> None:
    for label, count in (("bc", 60), ("alt", 30), ("kdtree", 2)):
        write_cell(tmp_path, header(label, 30, "uniform"), won(count, 60))
    build_flat(tmp_path)
    assert {one.row.label for one in load(tmp_path).conditions if one.best} == {"bc"}
    key = load_published(tmp_path).set_index("label")["checkpoint_key"]["bc"].iloc[0]
    known = {key: {"name": "lift/bc/n30/s0", "epochs": 10.0, "converged": False}}
    sealed.write_json(tmp_path / "training.json", {"checkpoints": known})
    run = load(tmp_path)
    assert not any(one.best for one in run.conditions)  # nothing is said to beat it
    assert "not ranked, since its network has not converged" in verdict(run).sentences[1]
    other = load_published(tmp_path).set_index("label")["checkpoint_key"]["kdtree"].iloc[0]
    sealed.write_json(
        tmp_path / "training.json", {"checkpoints": {other: {**known[key], "name": "lift/kdtree/n30/s0"}}}
    )
    assert "not compared with rows whose networks have not converged" in verdict(load(tmp_path)).sentences[1]
    sealed.write_json(tmp_path / "training.json", {"checkpoints": known})
    text = write_page(tmp_path).read_text()
    assert 'bc <small class="muted">not converged</small>' in text and "marked * in legends" in text
    assert 'alt <small class="muted">not converged' not in text
    assert "</svg> bc *</span>" in text and "* Not ranked: the network has not converged</p>" in text


def test_the_main_table_says_what_a_policy_says_of_its_row(tmp_path: Path) -> None:
    settings = json.dumps({"config": {"pose": False, "pred_horizon": 8}})
    write_cell(tmp_path, dataclasses.replace(header("act", 30, "uniform"), spec_json=settings), won(6, 10))
    build_flat(tmp_path)
    assert "act: not the published ACT, it sees no pose of the arm" in write_page(tmp_path).read_text()


def test_a_legend_of_several_tasks_says_on_which_a_row_has_not_converged(tmp_path: Path) -> None:
    for task, label in (("Lift", "bc"), ("Can", "bc"), ("Lift", "alt"), ("Can", "alt")):
        one = dataclasses.replace(header(label, 30, "uniform"), task=task, name=f"{task.lower()}/{label}")
        write_cell(tmp_path, dataclasses.replace(one, key=task + one.key[4:], checkpoint_key=task + label), won(5, 10))
    known = {"Canbc": {"name": "can/bc/n30/s0", "epochs": 10.0, "converged": False}}
    sealed.write_json(tmp_path / "training.json", {"checkpoints": known})
    run = load(tmp_path)
    assert run.stars.rows == {"bc"} and run.stars.note == "* Not ranked: the network has not converged (bc: Can)"
    text = write_page(tmp_path).read_text()
    assert text.count("has not converged (bc: Can)</p>") == text.count("</svg> bc *</span>") >= 1


def won(count: int, of: int) -> list[EpisodeRecord]:
    """Episodes, the first `count` successful."""
    return [episode(i, i < count) for i in range(of)]


# ---------------------------------------------------------------------------------------------------------- the verdict


def test_the_first_sentence_counts_what_was_measured(run: RunRecords) -> None:
    first = verdict(run).sentences[0]
    assert first == (
        "6 policies with 10 or 30 demonstrations played 1,160 episodes of Lift in 56 cells: on replay, recall and "
        "uniform, and under 4 perturbations (brightness, gaussian noise, occlusion and photograph)."
    )


def test_the_second_sentence_names_who_leads_on_shown_and_on_new_starts(tmp_path: Path) -> None:
    cells = [
        (header("alt", 30, "recall"), won(60, 60)),
        (header("bc", 30, "recall"), won(20, 60)),
        (header("alt", 30, "uniform"), won(10, 60)),
        (header("bc", 30, "uniform"), won(50, 60)),
    ]
    second = verdict(write(tmp_path, cells)).sentences[1]
    assert "on recall (starts that were shown) alt (N = 30) solves the most, 60/60 = 100 %" in second.lower().replace(
        "n = 30", "N = 30"
    )
    assert "on uniform (new starts) bc (N = 30) solves the most, 50/60 = 83 % [72, 91], significantly more" in second


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (0, "alt (N = 30) solves 60/60 = 100 % [89, 100], with no other row to compare it with."),
        (
            49,
            "solves the most, 60/60 = 100 % [89, 100], not ranked, which takes two rows of at least 50 episodes each.",
        ),
    ],
)
def test_a_row_without_rivals_is_not_said_to_lead(tmp_path: Path, others: int, said: str) -> None:
    """With 60 episodes of its own it is not for want of these that nothing is ranked."""
    cells = [(header("alt", 30, "recall"), won(60, 60))]
    cells += [(header("bc", 30, "recall"), won(0, others))] if others else []
    assert verdict(write(tmp_path, cells)).sentences[1].endswith(said)


def test_equal_rows_lead_together(tmp_path: Path) -> None:
    cells = [(header(label, 30, "recall"), won(9, 10)) for label in ("alt", "bc")]
    assert "alt (N = 30) and bc (N = 30) solve the most, 9/10 = 90 %" in verdict(write(tmp_path, cells)).sentences[1]


def test_the_third_sentence_says_what_is_missing_and_what_could_not_be_seen(tmp_path: Path) -> None:
    lost = dataclasses.replace(episode(9), status="infra_error", success=False, message="no GPU")
    cells = [(header("alt", 30, "uniform"), [*won(9, 9), lost]), (header("bc", 30, "uniform"), won(5, 10))]
    third = verdict(write(tmp_path, cells)).sentences[2]
    for part in ("the splits replay, recall, grid", "any perturbation", "time and memory", "1 episode that could not"):
        assert part in third
    assert "A difference between the two best rows would probably have gone unseen below" in third
    assert "on uniform (9 initial poses)" in third


def test_more_episodes_show_smaller_differences(tmp_path: Path) -> None:
    few, many = (
        write(
            tmp_path / str(n),
            [(header(label, 30, "uniform"), won(k * n // 10, n)) for label, k in (("a", 9), ("b", 8))],
        )
        for n in (20, 200)
    )
    drops = [smallest_drop(one, "uniform", "Lift") for one in (few, many)]
    assert drops[0] and drops[1] and drops[0][0] == 20 and drops[1][0] == 200
    assert drops[0][1] is not None and drops[1][1] is not None and drops[1][1] < drops[0][1] / 3
    assert "below" in unseen(few)


def test_one_row_alone_shows_no_difference(tmp_path: Path) -> None:
    assert "no two rows" in unseen(write(tmp_path, [(header("alt", 30, "uniform"), won(3, 5))]))


def test_headroom_is_the_time_between_decisions_over_the_p99(run: RunRecords) -> None:
    line = next(line for line in verdict(run).table if line.row.label == "diffusion")
    assert line.cost.p99 == pytest.approx(225) and line.cost.budget_ms == pytest.approx(400)  # 8 steps at 20 Hz
    assert line.cost.headroom == pytest.approx(400 / 225)
    random = next(line for line in verdict(run).table if line.row.label == "random")
    assert random.cost.p50 is None and random.cost.headroom is None


# ------------------------------------------------------------------------------------------------------------- numbers


def test_every_number_of_the_main_table_links_to_a_condition_of_the_data(text: str) -> None:
    found = re.findall(r'<a class="num" href="#c(\d+)">', text)
    conditions = data_of(text)["conditions"]
    assert len(found) == 24 and {int(number) for number in found} <= set(range(len(conditions)))


def test_the_page_and_the_tables_agree(text: str, run: RunRecords) -> None:
    for one, shown in zip(run.conditions, data_of(text)["conditions"], strict=True):
        own = run.episodes[run.episodes["name"].isin(one.cells)]
        assert (one.successes, one.episodes) == (int(own["success"].sum()), len(own)) == tuple(shown[2:4])


def test_the_explorer_holds_every_episode(text: str, run: RunRecords) -> None:
    held = data_of(text)["episodes"]
    assert held["total"] == len(held["episode"]) == len(run.episodes)
    assert sum(held["won"]) == int(run.episodes["success"].sum())


def test_beyond_the_limit_a_sample_is_stated(run: RunRecords, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(payload_module, "MOST_EPISODES", 100)
    shown = sampled(run.episodes)
    assert len(shown) == 100 and shown["name"].nunique() > 30 and not shown.index.duplicated().any()
    monkeypatch.setattr(payload_module, "MOST_EPISODES", 15)
    monkeypatch.setattr("altbench.page.write.MOST_EPISODES", 15)
    text = write_page(small(tmp_path)).read_text("utf-8")
    assert len(data_of(text)["episodes"]["episode"]) == 15
    assert "The explorer holds 15 of them, evenly spaced" in text and "episodes.parquet</a> has all" in text


@pytest.mark.slow
def test_a_big_run_s_page_holds_a_stated_sample_and_the_rates_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_run(tmp_path / "run", clean=6, perturbed=4)
    for head in list(cells()):
        again = dataclasses.replace(head, key=head.key[::-1], name=f"{head.name}/again", train_seed=1)
        write_cell(folder, again, [episode(i, i % 3 > 0) for i in range(4)])
    build_flat(folder)
    write_fingerprint(folder, FINGERPRINT)
    whole = load(folder)
    for most, each in ((whole.total - 1, True), (20, False)):
        monkeypatch.setattr("altbench.page.load.MOST_LOADED", most)
        part = load(folder)
        assert part.sampled and len(part.episodes) < len(whole.episodes) == part.total
        assert [(c.row, c.successes, c.episodes, c.low, c.best) for c in part.conditions] == [
            (c.row, c.successes, c.episodes, c.low, c.best) for c in whole.conditions
        ]
        assert all(one.cells for one in part.conditions) == each
        assert verdict(part).sentences == verdict(whole).sentences
        assert [line.flags for line in verdict(part).table] == [line.flags for line in verdict(whole).table]
        text = write_page(folder).read_text("utf-8")
        assert f"are of all {whole.total:,} episodes" in text and f"of {len(whole.cells):,} cells, evenly" in text
        held = data_of(text)["episodes"]
        assert (held["total"], len(held["episode"])) == (whole.total, len(part.episodes))


def test_a_number_has_no_worse_rate_than_its_front(run: RunRecords) -> None:
    assert pareto_front([(1, 0.5), (2, 0.4), (3, 0.9), (3, 0.8)]) == [(1, 0.5), (3, 0.9)]
    drawn = curves(run, verdict(run))
    assert len(drawn.by_n) == 3 and len(drawn.costs) == 2
    assert [len(one.rows) for one in drawn.maps] == [4] and [len(one.curves) for one in drawn.maps] == [4]


def test_severity_curves_show_the_policies_that_do_not_look_as_floors(run: RunRecords) -> None:
    found = curves(run, verdict(run)).maps[0]
    assert found.floors == ("open_loop, N = 30", "random, N = 30")
    assert sum(line.dashed for line in found.curves[0].lines) == 2


def test_scores_become_roc_curves() -> None:
    assert roc(np.array([0.1, 0.2]), np.array([0.3, 0.4]))[:3] == [(0, 0), (0, 0.5), (0, 1)]


def test_flags_have_their_rates_areas_and_delays(run: RunRecords) -> None:
    rows = flags(run).rows
    assert [row.row.title for row in rows] == ["alt, N = 30", "alt-hold, N = 30"]
    line = rows[0].lines[-1]
    assert line.condition.perturbation == "photograph" and line.condition.severity == 5
    assert line.flagged == "10/10" and line.auroc == "1.00" and line.delay == "8"


def test_the_audit_is_shown_where_there_is_one_and_asked_for_where_not(text: str, folder: Path, tmp_path: Path) -> None:
    assert "no calibrated audit lies in this folder" in text
    copy = small(tmp_path / "run")
    place = copy / "audit" / "lift-alt-n30-s0"
    place.mkdir(parents=True)
    assert "(no audit)" in verdict(load(copy)).sentences[2], "an audit that was begun is no audit yet"
    (place / "calibrated.csv").write_text(
        "task,label,n,train_seed,case,episodes,solved,distance_m,expert_distance_m,memorised,rate,low,high,threshold,z,pairs,"
        "gap_m,gap_low_m,gap_high_m,distance,trajectory\n"
        "Lift,alt,30,0,in_distribution,100,90,0.012,0.03,81,0.9,0.8,0.95,0.4,-8.2,90,-0.018,-0.02,-0.016,resampled,positions\n"
    )
    (place / "calibrated.json").write_text(json.dumps({"title": "", "note": "How to read <it>."}))
    (found,) = audits(load(copy))
    assert "(no audit)" not in verdict(load(copy)).sentences[2]
    assert found.rows[0][:4] == ("alt", "30", "in distribution", "90/100")
    assert found.rows[0][6:] == ("81/90 90 % [80, 95]", "-18.0 [-20.0, -16.0]")
    assert "How to read &lt;it&gt;." in write_page(copy).read_text("utf-8")


# --------------------------------------------------------------------------------------------------------------- pairs


def test_a_pair_of_rows_has_counts_and_flips(tmp_path: Path) -> None:
    first = [episode(i, i < 8) for i in range(10)]
    second = [episode(i, i != 3) for i in range(10)]
    run = write(tmp_path, [(header("alt", 30, "uniform"), first), (header("bc", 30, "uniform"), second)])
    (pair,) = pairs(run).pairs
    (line,) = pair.lines
    assert (pair.first.label, pair.second.label) == ("alt", "bc")
    assert (line.counts.both, line.counts.only_first, line.counts.only_second, line.counts.neither) == (7, 1, 2, 0)
    assert line.counts.difference == pytest.approx(0.1) and line.low < 0.1 < line.high and line.p == 1.0
    assert [(flip.episode, flip.won) for flip in pair.flips] == [(3, 0), (8, 1), (9, 1)]


def test_a_page_that_is_written_again_compares_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base, other = small(tmp_path / "results" / "base", 10), small(tmp_path / "other", 0)
    page = write_page(other, compare=base)
    text = page.read_text("utf-8")
    assert write_page_of_run(other) == () and page.read_text("utf-8") == text
    page.unlink()
    assert write_page_of_run(other) == () and page.read_text("utf-8") == text
    write_page(other, out=tmp_path / "elsewhere.html")
    assert remembered(other) is not None, "a page elsewhere is another one"
    shutil.rmtree(base)
    assert write_page_of_run(other) == () and "is gone" in caplog.text
    assert page.read_text("utf-8") != text and remembered(other) is None


def test_two_runs_are_compared_as_the_command_compares_them(tmp_path: Path) -> None:
    base, other = small(tmp_path / "results" / "base", 10), small(tmp_path / "other", 0)
    found = pairs(load(other), base).run
    assert found and found.verdict.status == 1
    overall = compare(base, other).overall.counts
    assert found.comparison.overall.counts == overall and len(found.flips) == overall.only_first + overall.only_second
    text = write_page(other, compare=base).read_text("utf-8")
    assert "This run against results/base" in text and "regression: significantly worse" in text


def test_runs_without_a_common_episode_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, [(header("other", 30, "uniform"), won(1, 2))])
    with pytest.raises(ResultsError, match="have no episode in common"):
        write_page(tmp_path, compare=folder)


# ------------------------------------------------------------------------------------------------------------ failures


def motion(closed: Sequence[bool], opening: Sequence[float]) -> tuple[Any, Any]:
    """Actions (T, 10) and positions (T, 11) of a gripper that is told to close, and how far its fingers are apart."""
    actions, positions = np.zeros((len(closed), 10)), np.zeros((len(closed), 11))
    actions[:, -1] = np.where(closed, 1.0, -1.0)
    positions[:, 9], positions[:, 10] = np.array(opening) / 2, -np.array(opening) / 2
    return actions, positions


CLOSING = [0.077, 0.07, 0.063, 0.056, 0.049, 0.042]


@pytest.mark.parametrize(
    ("closed", "opening", "phase"),
    [
        ([False] * 12, [0.077] * 12, NEVER),
        ([True] * 15, [*CLOSING, 0.035, 0.028, 0.021, 0.014, 0.007, *[0.001] * 4], NOTHING),
        ([True] * 12, [*CLOSING, *[0.041] * 6], HOLDING),
        ([True] * 10 + [False] * 4, [*CLOSING, *[0.041] * 4, *[0.077] * 4], LOST),
        ([True] * 16, [*CLOSING, *[0.041] * 5, 0.02, *[0.001] * 4], LOST),
    ],
)
def test_the_phase_follows_from_the_gripper(closed: list[bool], opening: list[float], phase: str) -> None:
    assert ending(*motion(closed, opening)).phase == phase


def test_failures_are_counted_by_kind(tmp_path: Path) -> None:
    broken = dataclasses.replace(episode(5, False), status="policy_error", message="ValueError: <b>")
    late = dataclasses.replace(episode(6, False), steps=80)
    run = write(tmp_path, [(header("bc", 30, "uniform"), [*won(5, 5), broken, late])])
    found = failures(run)
    assert {(one.kind, one.count) for one in found.clusters} == {("policy_error", 1), ("ran out of time", 1)}
    example = next(one for one in found.clusters if one.kind == "policy_error").examples[0]
    assert shlex.split(example.command) == [
        *("altbench", "video", "lift/bc/n30/s0/uniform/clean", "--run", tmp_path.name, "--episodes", "6")
    ]
    assert "ValueError: &lt;b&gt;" in write_page(tmp_path).read_text("utf-8")


def test_a_film_gives_a_strip_and_stays_beside_the_page(tmp_path: Path) -> None:
    head = header("bc", 30, "uniform")
    write(tmp_path / "run", [(head, [episode(0), episode(1, False)])])
    still = round(HOLD_LAST_S * 20)
    film = np.zeros((2 * (3 + still), 64, 96, 3), np.uint8)
    film[3 + still :] = 200  # the second episode
    write_mp4(tmp_path / "run" / "videos" / "lift-bc-n30-s0-uniform-clean.mp4", film, 20)
    run = load(tmp_path / "run")
    (one,) = failures(run).clusters
    assert [src[:23] for src in one.examples[0].strip] == ["data:image/jpeg;base64,"] * 5
    beside = write_page(tmp_path / "run").read_text("utf-8")
    assert 'src="videos/lift-bc-n30-s0-uniform-clean.mp4"' in beside
    elsewhere = write_page(tmp_path / "run", tmp_path / "sent" / "my page.html").read_text("utf-8")
    assert 'src="my%20page-films/lift-bc-n30-s0-uniform-clean.mp4"' in elsewhere
    assert (tmp_path / "sent" / "my page-films" / "lift-bc-n30-s0-uniform-clean.mp4").is_file()
    held = write_page(tmp_path / "run", tmp_path / "held.html", embed_films=True).read_text("utf-8")
    assert 'src="data:video/mp4;base64,' in held and not (tmp_path / "held-films").exists()


def test_a_film_that_cannot_be_read_gives_no_strip(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, [(header("bc", 30, "uniform"), [episode(0, False)])])
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "lift-bc-n30-s0-uniform-clean.mp4").write_bytes(b"no film")
    assert failures(load(tmp_path)).clusters[0].examples[0].strip == ()
    assert "no film strip" in caplog.text


# ---------------------------------------------------------------------------------------------------- the file itself


def test_the_same_records_give_the_same_bytes(folder: Path, text: str) -> None:
    assert write_page(folder).read_text("utf-8") == text


def test_the_page_is_small_and_asks_for_nothing(text: str, folder: Path) -> None:
    assert len(text.encode()) < 1_000_000
    parsed = Parsed(text)
    assert not parsed.named("link") and not parsed.named("iframe") and not parsed.named("base")
    addresses = [value or "" for _, given in parsed.tags for name, value in given.items() if name in ("src", "href")]
    assert not [address for address in addresses if re.match(r"(https?:)?//", address)]
    assert str(folder.parents[1]) not in text  # no path of this machine
    (policy,) = [m["content"] for m in parsed.named("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy and policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert not [given for _, given in parsed.tags if "style" in given or any(name.startswith("on") for name in given)]


def test_names_and_messages_are_text_and_nothing_else(tmp_path: Path) -> None:
    bad = dataclasses.replace(episode(1, False), status="policy_error", message=NASTY)
    heads = [
        dataclasses.replace(
            header(label, 30, split), label=NASTY if label == "x" else label, name=f"lift/{NASTY}/{label}/{split}"
        )
        for label in ("x", "bc")
        for split in ("recall", "uniform")
    ]
    write(tmp_path / NASTY.replace("/", "-")[:60], [(head, [episode(0), bad]) for head in heads])
    text = write_page(tmp_path / NASTY.replace("/", "-")[:60]).read_text("utf-8")
    parsed = Parsed(text)
    assert len(parsed.named("script")) == 2 and "onerror" not in {n for _, given in parsed.tags for n in given}
    assert not [image for image in parsed.named("img") if not (image["src"] or "").startswith("data:")]
    assert [row[2] for row in data_of(text)["rows"]] == ["bc", NASTY]
    assert NASTY in data_of(text)["episodes"]["texts"]


def test_json_cannot_end_its_element() -> None:
    made = as_json({"a": "</script><!--\u2028 & \ud800"})
    assert "<" not in made and "&" not in made and "\u2028" not in made
    assert json.loads(made.encode())["a"].startswith("</script><!--\u2028 &")


def test_commands_are_quoted_for_a_shell() -> None:
    assert shlex.split(command("video", "lift/it's $(x)/n1", "--run", "my run")) == [
        *("altbench", "video", "lift/it's $(x)/n1", "--run", "my run")
    ]


def test_downloads_are_in_the_page_or_beside_it(run: RunRecords, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {one.name: one for one in provenance(run, "").downloads}
    assert held["episodes.parquet"].embedded and held["fingerprint.json"].address.startswith("data:application/json")
    monkeypatch.setattr("altbench.page.provenance.EMBEDDED", 10)
    beside = {one.name: one for one in provenance(run, "../run/").downloads}
    assert beside["episodes.parquet"].address == "../run/episodes.parquet"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "no such folder"),
        ([], "no records; expected episodes.parquet or cells/"),
        (["cells/x.txt"], "no finished cell in it"),
        (["episodes.parquet"], "damaged"),
    ],
)
def test_a_folder_without_records_is_refused_in_one_line(tmp_path: Path, files: list[str] | None, message: str) -> None:
    root = tmp_path / "run"
    for name in files or []:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    if files is not None:
        root.mkdir(exist_ok=True)
    with pytest.raises(ResultsError, match=message) as caught:
        write_page(root)
    assert "\n" not in str(caught.value)


def test_a_target_that_is_a_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; expected the name of a file"):
        write_page(folder, tmp_path)


def test_half_a_run_says_that_it_is_not_finished(tmp_path: Path) -> None:
    write(tmp_path, [(header("alt", 30, "uniform"), won(2, 3))])
    run = dataclasses.replace(load(tmp_path))
    object.__setattr__(run, "planned", ("lift/alt/n30/s0/uniform/clean", "lift/alt/n30/s0/recall/clean"))
    assert run.missing_cells == ("lift/alt/n30/s0/recall/clean",)
    assert "1 of 2 planned cells" in verdict(run).sentences[2]


def test_a_page_is_written_again_only_of_other_records(tmp_path: Path) -> None:
    root = small(tmp_path)
    assert write_page_of_run(root) == ()
    page = root / "report.html"
    page.write_text(page.read_text("utf-8").replace("<h1>", "<h1 data-kept>"), "utf-8")
    assert write_page_of_run(root) == () and "data-kept" in page.read_text("utf-8")
    (root / "episodes.parquet").unlink()
    assert write_page_of_run(root) == () and "data-kept" not in page.read_text("utf-8")


def test_a_page_that_cannot_be_made_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small(tmp_path)
    monkeypatch.setattr("altbench.page.write.verdict", lambda run: 1 / 0)
    assert write_page_of_run(root) == (("report.html", "ZeroDivisionError: division by zero"),)
