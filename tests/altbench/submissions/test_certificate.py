"""The certificate: its rule on published numbers, and the whole protocol on the fake task."""

from __future__ import annotations

import io
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from altbench.cli.app import app
from altbench.core.errors import ConfigError
from altbench.runner import main
from altbench.stats.rates import Rate, rate_of
from altbench.submissions.certificates.certify import Certificate, certify, protocol
from altbench.submissions.certificates.pages import badge
from altbench.submissions.certificates.rule import CERTIFICATE_VERSION, Evidence, decide, difference
from altbench.sweeps.spec import SweepSpec
from altbench.system import sealed

ROOT = Path(__file__).parents[3]
E2 = ROOT / "results" / "paper-small" / "E2-audit-lift" / "calibrated.csv"
BLIND_UNIFORM = rate_of(18, 50)
"""Blind playback of Lift on `uniform`: results/lookups/tables/success.md."""
NOTHING = Rate(0, 0, None, None, None)


def published() -> dict[str, Evidence]:
    """Return label -> evidence, from the published audit of Lift; `interpolate` stands for new poses."""
    frame = pd.read_csv(E2)
    found = {}
    for label, rows in frame.groupby("label"):
        case = {str(row["case"]): row for row in rows.to_dict("records")}
        seen, new = case["in_distribution"], case["interpolate"]
        copies = Rate(int(seen["memorised"]), int(seen["solved"]), seen["rate"], seen["low"], seen["high"])
        rates = [rate_of(int(row["solved"]), int(row["episodes"])) for row in (seen, new)]
        found[str(label)] = Evidence(copies, *rates, BLIND_UNIFORM)
    return found


def test_the_rule_on_the_published_audit_of_lift() -> None:
    """Lookups recall, networks and the expert generalise, and what is between is undecided."""
    words = {label: decide(evidence).word for label, evidence in published().items()}
    assert words == {
        "open_loop": "recalls",
        "alt": "recalls",
        "kdtree": "recalls",
        "bc": "generalises",
        "diffusion": "generalises",
        "expert": "generalises",
        "alt_plus": "undecided",
        "act": "undecided",
    }


WORDS = {"bc": "generalises", "fisher": "recalls", "open_loop": "recalls"}
CERTIFICATES = sorted((ROOT / "leaderboard" / "certificates").glob("*.json"))


@pytest.mark.parametrize("path", CERTIFICATES, ids=lambda path: path.stem)
def test_the_rule_on_certificates_of_lift(path: Path) -> None:
    """Lookups recall, and so does blind playback; a network and the expert on the same episodes generalise."""
    record = sealed.read_json(path, ("format",), "")
    rows = [record["policy"], *record["controls"]]

    def rate(numbers: list[Any]) -> Rate:
        won, of, low, high = numbers
        return Rate(won, of, won / of, low, high)

    floor = rate(rows[1]["rates"]["uniform"])
    words = []
    for row in rows:
        rates = row["rates"]
        found = decide(Evidence(rate(row["copies"]), rate(rates["recall"]), rate(rates["uniform"]), floor))
        assert found.word == row["word"] and [r.text for r in found.recalls] == [text for text, _ in row["recalls"]]
        words.append((row["label"], found.word))
    assert words == [(path.stem, WORDS[path.stem]), ("blind", "recalls"), ("expert", "generalises")]
    assert record["certificate_version"] == CERTIFICATE_VERSION


def test_there_are_certificates_of_lookups_and_of_a_network() -> None:
    assert [path.stem for path in CERTIFICATES] == list(WORDS)
    for path in CERTIFICATES:
        record = sealed.read_json(path, ("format",), "")
        assert path.with_suffix(".svg").read_text() == badge(record["badge"], WORDS[path.stem])


def evidence(copies: int, recall: int, uniform: int, floor: int = 14, of: int = 40) -> Evidence:
    return Evidence(rate_of(copies, recall), rate_of(recall, of), rate_of(uniform, of), rate_of(floor, of))


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (evidence(38, 40, 13), "recalls"),
        (evidence(38, 40, 38), "undecided"),  # copies, and yet it loses nothing
        (evidence(2, 40, 13), "undecided"),  # it loses, and its motions are no copies
        (evidence(2, 40, 38), "generalises"),
        (evidence(2, 40, 38, floor=38), "undecided"),  # blind playback does as well
        (evidence(9, 40, 38), "undecided"),  # too many copies
        (evidence(0, 4, 4, floor=0, of=4), "undecided"),  # too few episodes for anything
    ],
)
def test_each_condition_decides(found: Evidence, word: str) -> None:
    assert decide(found).word == word


def test_nothing_known_is_undecided_and_says_why() -> None:
    assert "expert" in decide(Evidence(NOTHING, rate_of(9, 9), rate_of(9, 9), rate_of(0, 9))).why
    assert "missing" in decide(Evidence(rate_of(1, 9), NOTHING, NOTHING, NOTHING)).why


def test_no_evidence_is_both() -> None:
    """Whatever the numbers, the two words' conditions never hold together."""
    for copies in range(0, 41, 4):
        for uniform in range(0, 41, 4):
            decision = decide(evidence(copies, 40, uniform, floor=0))
            both = [all(one.holds for one in side) for side in (decision.recalls, decision.generalises)]
            assert both != [True, True]


def test_the_difference_of_two_rates_is_newcombes() -> None:
    """Newcombe (1998), Table II, example (a): 56/70 against 48/80, method 10: 0.0524 to 0.3339."""
    low, high = difference(rate_of(48, 80), rate_of(56, 70))
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)
    with pytest.raises(ValueError, match="two rates"):
        difference(NOTHING, rate_of(1, 2))


def test_a_badge_is_an_svg_whose_text_is_text() -> None:
    drawn = ET.fromstring(badge('recalls (<b>"Lift"</b>, N = 30)', "recalls"))
    words = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert words == ["altbench", 'recalls (<b>"Lift"</b>, N = 30)']


@pytest.mark.parametrize(
    ("policy", "task", "fault"),
    [("blind", "Fake", "--label"), ("random", "Fake", "--label"), ("bc", "Nowhere", "scripted expert")],
)
def test_what_cannot_be_certified_is_refused(policy: str, task: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        protocol(policy, task)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a certificate of `open_loop` on the fake task."""
    import fakes

    fakes.register()
    root = tmp_path_factory.mktemp("certified")
    sweep = protocol("open_loop", "Fake").model_copy(update={"measure": None, "image_size": (16, 16), "device": "cpu"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "require_renderer", lambda: "none")
        found, failed = certify(sweep, root, 0, Console(file=io.StringIO()))
    assert found is not None and not failed and found.badge == f"{found.own.decision.word} (Fake, N = 30)"
    return root


def test_a_lookup_recalls_and_the_controls_are_what_they_are(certified: Path) -> None:
    """The rule is applied to the policy, to blind playback and to the expert alike."""
    record = sealed.read_json(certified / "certificate.json", ("format",), "")
    assert record["certificate_version"] == CERTIFICATE_VERSION
    words = {one["label"]: one["word"] for one in (record["policy"], *record["controls"])}
    assert words == {"open_loop": "recalls", "blind": "recalls", "expert": "generalises"}


def test_the_page_says_the_rule_and_leads_to_the_run(certified: Path) -> None:
    text = (certified / "certificate.html").read_text()
    assert "open_loop recalls" in text and "recalls (Fake, N = 30)" in text and "percentage points" in text
    for link in re.findall(r'href="([^#"]+)"', text):
        assert (certified / link).is_file(), link
    ET.parse(certified / "badge.svg")


def test_the_runs_page_has_the_audit_that_the_certificate_rests_on(certified: Path) -> None:
    """It was written before the audit, and said for good that there was none."""
    text = (certified / "report.html").read_text()
    assert "(no audit)" not in text and "no calibrated audit" not in text
    record = sealed.read_json(certified / "certificate.json", ("format",), "")
    rows = pd.read_csv(certified / "audit" / "certificate" / "calibrated.csv").set_index("label")
    assert set(rows["case"]) == {"in_distribution"} and set(rows.index) == {"open_loop", "blind", "expert"}
    for one in (record["policy"], *record["controls"]):
        copies, of, _, _ = one["copies"]
        assert (rows["memorised"][one["label"]], rows["solved"][one["label"]]) == (copies, of)
        assert f"{copies}/{of} " in text


def test_the_page_says_what_training_and_chance_gave(certified: Path) -> None:
    record = sealed.read_json(certified / "certificate.json", ("format",), "")
    assert record["training"] == {"epochs": None, "converged": None}, "it trains nothing"
    assert set(record["chance"]) == {"replay", "recall", "uniform"} and record["chance"]["uniform"][1] == 40
    text = (certified / "certificate.html").read_text()
    assert "<dt>training</dt>" not in text and text.count('<th scope="row"') == 4


def again(root: Path, sweep: SweepSpec) -> tuple[Certificate | None, Sequence[tuple[str, str]], str]:
    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "require_renderer", lambda: "none")
        return *certify(sweep, root, 0, Console(file=text, width=200)), text.getvalue()


def test_a_page_that_cannot_be_drawn_costs_no_certificate(certified: Path, tmp_path: Path) -> None:
    """What was played is judged; the run's own page is missing, and so is the link to it."""
    root = tmp_path / "undrawn"
    shutil.copytree(certified, root)
    for name in ("certificate.html", "report.html"):
        (root / name).unlink()
    sweep = protocol("open_loop", "Fake").model_copy(update={"measure": None, "image_size": (16, 16), "device": "cpu"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("altbench.page.write.render", lambda *parts: 1 / 0)
        found, failed, told = again(root, sweep)
    assert found is not None and [name for name, _ in failed] == ["report.html"] and "failed report.html" in told
    assert 'href="report.html"' not in (root / "certificate.html").read_text()


def test_what_was_not_played_gives_no_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit that failed leaves no episodes to judge: that is told, and nothing is written."""
    run: Any = None
    failed = (("fake/mine/n30/s0/fit", "no convergence at all"),)
    monkeypatch.setattr(
        "altbench.submissions.certificates.certify.run_sweep", lambda *given: main.Summary(tmp_path, run, 0, 0, failed)
    )
    found, reasons, told = again(tmp_path, protocol("open_loop", "Fake", label="mine"))
    assert found is None and reasons == failed and "failed fake/mine/n30/s0/fit: no convergence at all" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("words", "width"), [("generalises (Lift, N = 30)", 138), ("iiii", 12), ("MMMM", 38)])
def test_a_badge_is_as_wide_as_its_letters(words: str, width: int) -> None:
    """In 11 pixels of DejaVu Sans an M is three times as wide as an i."""
    drawn = ET.fromstring(badge(words, "generalises"))
    text = drawn.findall(".//{http://www.w3.org/2000/svg}text")[1]
    assert float(text.get("textLength") or 0) == pytest.approx(width, abs=1)


def test_the_help_says_the_price() -> None:
    shown = CliRunner().invoke(app, ["certify", "--help"], env={"COLUMNS": "100"}).output
    words = " ".join(re.sub(r"[│╭╰─╮╯]", " ", shown).split())
    assert "The price: 30 demonstrations" in words and "1.4 core-minutes" in words
