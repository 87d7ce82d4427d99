"""Reports of the experiments that run sweeps, made from runs of the fake task with policies under their names."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from synthetic import measure
from twice import check_twice

from altbench import experiments
from altbench.core.errors import AltbenchError
from altbench.experiments import e4_encoders as encoders
from altbench.experiments import e6_reactivity as reactivity
from altbench.experiments import e9_motions, ood_scores, reproduce, robustness, scaling
from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, Undrawn
from altbench.experiments.shared.limits import limits, sized
from altbench.experiments.shared.matrix import PLAIN_NOTE, clean, dot_plot, heat_map, matrix, matrix_table
from altbench.experiments.shared.recall import lookup_recall, pooled, trajectory_recall
from altbench.experiments.shared.report import write_report
from altbench.experiments.shared.sections import Report, Section
from altbench.experiments.shared.sweeps import Preset
from altbench.experiments.shared.texts import UNCONVERGED_NOTE
from altbench.experiments.shared.tsne import tsne
from altbench.report.drawing.stars import STAR
from altbench.report.style import policy_styles
from altbench.report.success import HOLM, success_table
from altbench.results import cells as results
from altbench.results.training import save_training
from altbench.runner.episodes import cell_header
from altbench.stats.rates import clustered_interval, wilson_interval
from altbench.sweeps.spec import EventEntry
from altbench.system.fingerprint import collect
from altbench_policies.augment import AugmentSpec

Make = Callable[..., ExperimentRun]


def table(report: Report, stem: str) -> dict[str, tuple[str, ...]]:
    """First column -> the row, of the first block of the table called `stem`."""
    found = next(s.tables[stem] for s in report.sections if stem in s.tables)
    return {row[0]: row for row in found.blocks[0].rows}


EACH = [
    {"split": "replay", "episodes": "each"},
    {"split": "recall", "episodes": 6},
    {"split": "uniform", "episodes": 4},
]


def test_trajectory_recall_tells_who_does_what_the_demonstration_did(lookup: str, run_of: Make) -> None:
    rows = {"alt": {"policy": lookup}, "alt_plus": {"policy": lookup, "config": {"other": True}}}
    run = run_of(experiments.load("E3"), rows, EACH)
    cells = {cell.name: cell for cell in run.cells}
    own, other = (cells[f"fake/{label}/n6/s0/recall/clean"] for label in ("alt", "alt_plus"))
    found = {cell.label: trajectory_recall(run, cell) for cell in (own, other)}
    assert [hit for hit, _ in found["alt"]] == [True] * 6 and [hit for hit, _ in found["alt_plus"]] == [False] * 6
    assert [sorted(pose for _, pose in one) for one in found.values()] == [list(range(6))] * 2
    assert found == {cell.label: lookup_recall(run, cell) for cell in (own, other)}
    assert pooled(run, "alt", trajectory_recall).value == 1.0


def test_recall_is_over_poses(lookup: str, run_of: Make) -> None:
    """All of 18 episodes on six poses recall: that is no more than six of six."""
    one = experiments.load("E4")
    run = run_of(one, {"alt": {"policy": lookup}}, [{"split": "recall", "episodes": 18}])
    for recall in (trajectory_recall, lookup_recall):
        found = pooled(run, "alt", recall)
        assert (found.successes, found.episodes) == (18, 18) and found.low == pytest.approx(wilson_interval(6, 6)[0])
    (row,) = one.report(run).sections[0].tables["keys"].blocks[0].rows
    assert row.count("100 % [61, 100]") == 2


def test_the_main_table_has_a_row_per_policy_and_empties_where_nothing_was_measured(
    lookup: str, own_policies: Path, run_of: Make
) -> None:
    rows = {"alt": {"policy": lookup}, "diffusion": {"policy": f"{own_policies}:Good"}}
    run = run_of(experiments.load("E3"), rows, EACH)
    report = experiments.load("E3").report(run)
    main = table(report, "main")
    assert list(main) == ["alt", "diffusion"]
    head = next(s.tables["main"] for s in report.sections if "main" in s.tables).blocks[0].header
    assert main["diffusion"][head.index("recall")] == "6/6 100 % [61, 100]"
    assert main["alt"][head.index("trajectory recall")] == "6/6 100 % [61, 100]"
    assert main["alt"][head.index("decision, ms")] == ""
    ours = {r.quantity: r.ours for r in report.reported}
    assert ours["alt: success in distribution (`recall`)"].startswith("6/6") and ours["kdtree: trajectory recall"] == ""


def figures_of(one: Experiment, report: Report) -> Figures:
    """The report's figures, drawn of its tables."""
    return one.figures(Tables({stem: t.data for section in report.sections for stem, t in section.tables.items()}))


@pytest.mark.parametrize("identity", ["E3", "E4", "E6", "robustness", "scaling"])
def test_a_report_outlives_its_drawings(
    identity: str, lookup: str, run_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("no figure")

    one = experiments.load(identity)
    monkeypatch.setattr(scaling, "NUMBERS", (6,))
    run = run_of(one, {"alt": {"policy": lookup}}, EACH)
    monkeypatch.setattr(Figure, "__init__", fails)
    report = one.report(run)
    named = {stem for section in report.sections for stem in section.figures}
    found = figures_of(one, report)
    assert found and set(found) <= named and set(found.values()) == {Undrawn("ValueError: no figure")}
    text = write_report(one, report, run, tmp_path / "reports", collect()).read_text()
    assert "- `figure " in text and "ValueError: no figure" in text


def test_time_and_memory_stand_with_the_main_table(
    own_policies: Path, run_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(
        experiments.load("E3"), {"alt": {"policy": f"{own_policies}:Good"}}, [{"split": "recall", "episodes": 1}]
    )
    monkeypatch.setattr(ExperimentRun, "measures", lambda self: [measure("alt"), measure("elsewhere")])
    first, _, second, _ = experiments.load("E3").report(run).sections
    assert "main" in first.tables and first.figures == ("latency_memory",) and second.figures == ("success",)
    found = figures_of(experiments.load("E3"), Report("", (first, second)))["latency_memory"]
    assert isinstance(found, Figure) and [text.get_text() for text in found.axes[0].get_yticklabels()] == ["alt"]


def test_lookups_are_told_with_the_main_table(lookup: str, own_policies: Path, run_of: Make) -> None:
    rows = {"alt": {"policy": lookup}, "bc": {"policy": f"{own_policies}:Good"}}
    run = run_of(experiments.load("E3"), rows, [{"split": "recall", "episodes": 6}])
    report = experiments.load("E3").report(run)
    (found,) = (section.tables["lookups"] for section in report.sections if "lookups" in section.tables)
    assert found.data[["label", "episodes"]].values.tolist() == [["alt", 6]]


def test_more_baselines_have_a_table_of_their_own(own_policies: Path, run_of: Make) -> None:
    rows = {"alt": {"policy": f"{own_policies}:Good"}, "bc_gmm": {"policy": f"{own_policies}:Good"}}
    run = run_of(experiments.load("E3"), rows, EACH)
    report = experiments.load("E3").report(run)
    assert list(table(report, "main")) == list(table(report, "out_of_distribution")) == ["alt"]
    more = table(report, "more_baselines")
    assert list(more) == ["bc_gmm"] and more["bc_gmm"][1:4] == ("6/6 100 % [61, 100]", "4/4 100 % [51, 100]", "")
    assert "bc_gmm" not in report.summary


def test_a_matrix_pools_training_seeds_and_says_what_is_absent(own_policies: Path, run_of: Make) -> None:
    rows = {"alt": {"policy": f"{own_policies}:Good"}}
    run = run_of(experiments.load("E3"), rows, [{"split": "uniform", "episodes": 30}], train_seeds=[0, 1])
    found = matrix(run, {"alt": {"label": "alt"}, "bc": {"label": "bc"}}, {"uniform": clean("uniform")})
    assert found.rows == ("alt",) and found.text("alt", "uniform") == "60/60 100 % [89, 100], each seed 100 %"
    shown = matrix_table("T", found)
    assert "further seeds" in shown.note
    assert shown.data[["seeds", "seed_low", "seed_high"]].to_numpy().tolist() == [[2, 1, 1]]
    (run.root / "cells" / f"{run.cells[0].key}.parquet").unlink()
    fewer = ExperimentRun(run.root, run.own, run.runs)
    found = matrix(fewer, {"alt": {"label": "alt"}}, {"uniform": clean("uniform")})
    assert found.text("alt", "uniform") == "30/30 100 % [89, 100] (1 of 2 cells)"
    assert "further seeds" not in matrix_table("T", found).note
    figure = dot_plot("A title", matrix_table("T", found).data)
    assert figure is not None and figure.get_supxlabel() == "success, 95 % interval"
    assert {line.get_color() for line in figure.axes[0].get_lines()} == {policy_styles(["alt"])["alt"].colour}


def test_a_column_that_nobody_played_has_no_panel(own_policies: Path, run_of: Make) -> None:
    rows = {"alt": {"policy": f"{own_policies}:Good"}}
    run = run_of(experiments.load("E3"), rows, [{"split": "uniform", "episodes": 3}])
    columns = {split: clean(split) for split in ("recall", "uniform")}
    figure = dot_plot("A title", matrix_table("T", matrix(run, {"alt": {"label": "alt"}}, columns)).data)
    assert figure is not None and [axes.get_title() for axes in figure.axes] == ["uniform"]


def test_bold_is_who_beats_all_others_on_fifty_episodes(own_policies: Path, run_of: Make) -> None:
    rows = {"alt": {"policy": f"{own_policies}:Good"}, "bc": {"policy": f"{own_policies}:Fails"}}
    evaluations = [{"split": "uniform", "episodes": 50}, {"split": "recall", "episodes": 49}]
    run = run_of(experiments.load("E3"), rows, evaluations, hopeless=True)
    columns = {split: clean(split) for split in ("uniform", "recall")}
    found = matrix_table("T", matrix(run, {label: {"label": label} for label in rows}, columns))
    assert found.blocks[0].best == {(0, 1)}


def test_the_note_says_what_holm_covers_and_who_is_compared(own_policies: Path, run_of: Make) -> None:
    rows = {label: {"policy": f"{own_policies}:Good"} for label in ("bc", "act")}
    run = run_of(experiments.load("E3"), rows, [{"split": "recall", "episodes": 2}])
    found = matrix(run, {x: {"label": x} for x in rows}, {"recall": clean("recall")})
    for note in (matrix_table("Success", found).note, success_table(run.episodes()).note):
        assert HOLM.format(part="condition") in note


def test_no_row_is_bold_while_another_one_is_awaited(
    own_policies: Path, run_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, fails = f"{own_policies}:Good", f"{own_policies}:Fails"
    other = f"{own_policies}:Raises"
    rows = {"alt": {"policy": good}, "bc": {"policy": fails}, "act": {"policy": other}}
    run = run_of(experiments.load("E3"), rows, [{"split": "uniform", "episodes": 50}], hopeless=True)
    awaited = next(cell for cell in run.cells if cell.label == "act")
    (run.root / "cells" / f"{awaited.key}.parquet").unlink()

    def bold() -> Any:
        again = ExperimentRun(run.root, run.own, run.runs)
        found = matrix(again, {x: {"label": x} for x in rows}, {"uniform": clean("uniform")})
        return matrix_table("T", found).blocks[0].best

    assert bold() == frozenset()
    # A row that sees the task's state is not ranked, and so not awaited.
    monkeypatch.setattr("altbench.core.registry.PRIVILEGED", frozenset({other}))
    assert bold() == {(0, 1)}


def test_an_answer_that_names_the_diffusion_policy_tells_its_size() -> None:
    assert sized("alt 96, bc 95.", "small") == "alt 96, bc 95."
    assert sized("diffusion 97.", "small") == "diffusion 97. The diffusion policy has 5.8 million parameters."
    assert "278 million" in sized("diffusion 97.", "paper")
    told = "diffusion (5.8 million parameters) 97."
    assert sized(told, "small") == told


def test_a_privileged_row_is_named_and_neither_ranked_nor_in_the_way_of_others(
    own_policies: Path, run_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, fails = f"{own_policies}:Good", f"{own_policies}:Fails"
    rows = {"blind": {"policy": good}, "bc": {"policy": fails}}
    run = run_of(experiments.load("E3"), rows, [{"split": "uniform", "episodes": 50}], hopeless=True)

    def shown() -> Any:
        return matrix_table("T", matrix(run, {x: {"label": x} for x in rows}, {"uniform": clean("uniform")})).blocks[0]

    assert [row[0] for row in shown().rows] == ["blind (privileged)", "bc"] and shown().best == {(0, 1)}
    monkeypatch.setattr("altbench.core.registry.PRIVILEGED", frozenset({"blind", good}))
    assert shown().best == frozenset()


def test_a_section_whose_text_markdown_would_show_as_code_is_refused() -> None:
    with pytest.raises(ValueError, match="section 'Keys': Markdown shows indented lines as code"):
        Section("Keys", "\n    Counted in the space of the keys.\n    ")


@pytest.mark.parametrize(("seeds", "told"), [((0,), "chosen on seed 0"), ((3, 4), "No setting was chosen")])
def test_limits_say_whether_settings_were_chosen_on_the_data(seeds: tuple[int, ...], told: str) -> None:
    for identity in ("E2", "E3", "E6", "E9", "robustness"):
        text = limits(identity, True, seeds)[1]
        assert told in text and "{" not in text


def test_learned_keys_are_compared_with_the_best_unlearned_one(lookup: str, own_policies: Path, run_of: Make) -> None:
    rows = {"key": {"policy": f"{own_policies}:Good"}, "kdtree": {"policy": f"{own_policies}:Raises"}}
    rows |= {"key-untrained": {"policy": f"{own_policies}:Fails"}}
    rows |= {"key-pose": {"policy": lookup, "config": {"other": True}}}
    evaluations = [{"split": "uniform", "episodes": 60}, {"split": "recall", "episodes": 6}]
    run = run_of(experiments.load("E4"), rows, evaluations, hopeless=True)
    report = experiments.load("E4").report(run)
    found = next(s.tables["learned_uniform"] for s in report.sections if "learned_uniform" in s.tables).data
    assert found.set_index("row")["against"].to_dict() == {"key": "kdtree", "key-pose": "kdtree"}
    assert found.set_index("row").loc["key", ["pairs", "better"]].to_list() == [60, True]
    assert "on uniform key" in report.summary and "none" not in report.summary
    keys = table(report, "keys")
    assert keys["key-pose"][4] == keys["key-pose"][5] == "0 % [0, 39]" and keys["key"][5] == ""


def test_learned_keys_are_compared_on_disturbed_images(
    own_policies: Path, run_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "PERTURBED", {"fog": 0})  # the policy that succeeds here wants one exact red
    rows = {"key": {"policy": f"{own_policies}:Good"}, "kdtree": {"policy": f"{own_policies}:Raises"}}
    fog = [{"name": "fog", "severities": [0]}]
    run = run_of(experiments.load("E4"), rows, [{"split": "recall", "episodes": 50, "perturbations": fog}])
    report = experiments.load("E4").report(run)
    found = next(s.tables["learned_fog_0"] for s in report.sections if "learned_fog_0" in s.tables).data
    assert found[["row", "against", "pairs", "better"]].to_numpy().tolist() == [["key", "kdtree", 50, True]]
    assert "untrained networks and raw pixels: on fog 0 key." in report.summary
    assert "fog 0, better than `kdtree`: `key` (learned key alone" in next(
        s.text for s in report.sections if "perturbed" in s.heading
    )


def test_who_reacts_is_told_by_the_policy_that_cannot_see(
    lookup: str, own_policies: Path, run_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An early move, so that the blind policy fails from each of the six poses: fewer cannot be significant.
    monkeypatch.setattr(reactivity, "EVENTS", tuple(EventEntry(move_at=6, by=by) for by in reactivity.DISTANCES))
    rows = {"alt": {"policy": f"{own_policies}:Good"}, "open_loop": {"policy": lookup}}
    events = [event.model_dump() for event in reactivity.EVENTS]
    evaluations = [
        {"split": "recall", "episodes": 50},
        *({"split": "recall", "episodes": 50, "event": e} for e in events),
    ]
    run = run_of(experiments.load("E6"), rows, evaluations)
    report = experiments.load("E6").report(run)
    moved = table(report, "moved")
    assert moved["open_loop"][1].startswith("50/50") and moved["alt"][2].startswith("50/50")
    assert not moved["open_loop"][2].startswith("50/50")
    assert report.summary.startswith("alt reacts")
    frame = run.episodes()
    pushed = int(frame.loc[frame["split"] == f"recall+{reactivity.EVENTS[0].title}", "moved"].sum())
    assert 0 < pushed < 100 and f"moved by 5 cm in {pushed} of 100 episodes" in report.sections[0].text
    assert next(r.ours for r in report.reported if r.quantity.startswith("alt")) == moved["alt"][2]


def test_keys_are_embedded_once_and_mapped(lookup: str, run_of: Make, tmp_path: Path) -> None:
    one = experiments.load("E8")
    run = run_of(one, {"alt": {"policy": lookup}}, [{"split": "recall", "episodes": 1}])
    assert one.report(run).missing == ("keys of alt",)
    lines: list[str] = []
    one.compute(run, lines.append)
    one.compute(run, lines.append)
    assert lines == ["embedding 6 demonstrations with fake/alt/n6/s0"]
    report = check_twice(one, run, tmp_path)
    frames = sum(map(len, run.demonstrations(run.checkpoints[0])))
    assert table(report, "smoothness")["alt"][1] == str(frames)
    assert report.missing == () and "With ALT's key" in report.summary
    found = figures_of(one, report)["latent_map"]
    assert isinstance(found, Figure) and len(found.axes) == 3 and "latent_map" in report.sections[0].figures


def test_a_t_sne_keeps_clusters_apart_and_is_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(centre, 0.1, (25, 5)) for centre in (-1.0, 1.0)])
    placed = tsne(points, perplexity=8, iterations=750)
    gap = np.linalg.norm(placed[:25].mean(axis=0) - placed[25:].mean(axis=0))
    spread = max(np.linalg.norm(p - p.mean(axis=0), axis=1).max() for p in (placed[:25], placed[25:]))
    assert gap > 2 * spread
    np.testing.assert_array_equal(placed, tsne(points, perplexity=8, iterations=750))


def test_what_comes_out_of_a_photograph_is_counted_by_demonstration(lookup: str, run_of: Make, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for i in range(40):
        Image.new("RGB", (40, 40), (200, 30, 90 + i)).save(tmp_path / "many" / f"{i}.png")
    photograph = {"name": "photograph", "severities": [5], "options": {"folder": str(tmp_path / "many")}}
    evaluations = [
        {"split": "recall", "episodes": 12},
        {"split": "recall", "episodes": 12, "perturbations": [photograph]},
    ]
    one = experiments.load("E9")
    run = run_of(one, {"alt": {"policy": lookup}}, evaluations)
    report = one.report(run)
    fallen = {row[1]: row for row in report.sections[0].tables["fallback"].blocks[0].rows}
    assert fallen["camera"][2:4] == ("12", "6") and fallen["camera"][6] == "2.6"  # log2 of 6
    assert fallen["photograph"][2:5] == ("12", "1", "100 % [52, 100]") and fallen["photograph"][6] == "0.0"
    assert "near a training chunk: alt 100 %. ALT flags 0/12" in report.summary
    found = figures_of(one, report)["fallback"]
    assert isinstance(found, Figure) and "fallback" in report.sections[0].figures
    widths = [[round(bar.get_width(), 3) for bar in axis.patches] for axis in found.axes]
    assert widths == [[0.167, 0.167, 0.667], [1.0, 0.0, 0.0]]
    chunks = {row[1]: row for row in report.sections[1].tables["chunks"].blocks[0].rows}
    assert " 100 % " in chunks["photograph"][2] and chunks["photograph"][3] == "0.0"


def test_what_one_camera_shows_is_a_way_of_its_own(lookup: str, run_of: Make, tmp_path: Path) -> None:
    """Episodes that share one camera's picture share a cluster, whatever the other camera shows."""
    for name, colour in (("one", (200, 30, 90)), ("two", (10, 200, 40))):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{name}.png")
    photograph = {"name": "photograph", "severities": [5], "options": {"folder": str(tmp_path)}}
    run = run_of(
        experiments.load("E9"),
        {"alt": {"policy": lookup}},
        [{"split": "recall", "episodes": 12, "perturbations": [photograph]}],
    )
    (cell,) = run.recorded
    found = e9_motions._clusters(run, cell, list(run.records(cell)))
    ways = [set(way) for way in zip(*found, strict=True)]
    assert [len(way) for way in ways] == [6, 2, 2]


def test_one_photograph_says_nothing_of_others(lookup: str, run_of: Make, tmp_path: Path) -> None:
    """Twelve episodes under one photograph are one cluster, whatever their poses."""
    Image.new("RGB", (40, 40), (200, 30, 90)).save(tmp_path / "one.png")
    photograph = {"name": "photograph", "severities": [5], "options": {"folder": str(tmp_path)}}
    one = experiments.load("E9")
    run = run_of(one, {"alt": {"policy": lookup}}, [{"split": "recall", "episodes": 12, "perturbations": [photograph]}])
    report = one.report(run)
    (low, high) = wilson_interval(1, 1)
    for section, stem, name in ((0, "fallback", "top1"), (1, "chunks", "pose")):
        row = report.sections[section].tables[stem].data.set_index("image").loc["photograph"]
        assert (row[f"{name}_low"], row[f"{name}_high"]) == (pytest.approx(low), high)


@pytest.mark.slow
def test_detectors_are_compared_on_keys_of_episodes_played_again(lookup: str, run_of: Make, tmp_path: Path) -> None:
    one = experiments.load("ood")
    photograph = [
        {"name": "photograph", "severities": [5]},
        {"name": "photograph", "severities": [5], "from_step": ood_scores.LATE},
    ]
    evaluations = [
        {"split": "recall", "episodes": 8},
        {"split": "uniform", "episodes": 8},
        {"split": "recall", "episodes": 8, "perturbations": photograph},
    ]
    run = run_of(one, {"alt": {"policy": lookup}}, evaluations)
    assert "keys of recall" in one.report(run).missing
    lines: list[str] = []
    one.compute(run, lines.append)
    assert len(lines) == 4
    one.compute(run, lines.append)
    assert len(lines) == 4, "nothing is played twice"
    report = check_twice(one, run, tmp_path)
    assert report.missing == ("keys of blended photograph", "keys of occlusion")
    found = next(s.tables["detectors"] for s in report.sections if "detectors" in s.tables).data
    areas = found[found["condition"] == "photograph"].set_index("detector")["auroc"]
    assert areas["lookup"] == areas["k-NN"] == 1.0
    flagged = found[found["condition"] == "photograph"].set_index("detector").loc["lookup"]
    sizes = np.bincount(np.arange(8) % 6)
    assert flagged["flagged"] == 8 and flagged["flagged_low"] == pytest.approx(clustered_interval(sizes, sizes)[0])
    assert "AUROC for photographs: lookup 1.000" in report.summary
    stems = {stem for section in report.sections for stem in section.figures}
    assert stems == {"flagged", "selective"}
    drawn = figures_of(one, report)
    assert all(isinstance(drawn[stem], Figure) for stem in stems)


@pytest.mark.parametrize("name", ["E9", "robustness", "ood"])
def test_a_table_of_flags_says_how_much_of_the_similarity_thumbnails_are(name: str, lookup: str, run_of: Make) -> None:
    one = experiments.load(name)
    rows = {
        "alt": {"policy": lookup, "config": {"appearance": 0.3}},
        "alt-key": {"policy": lookup, "config": {"appearance": 0.0}},
    }
    flags = next(
        section.tables["flags"]
        for section in one.report(run_of(one, rows, [{"split": "recall", "episodes": 2}])).sections
        if "flags" in section.tables
    )
    assert "Plain grey thumbnails are a share of the similarity (30 % in alt)" in flags.note
    assert {row[0] for row in flags.blocks[0].rows} == set(rows), "a row without thumbnails stands beside"


def test_a_table_without_stars_says_below_which_networks_have_not_converged(
    lookup: str, run_of: Make, tmp_path: Path
) -> None:
    one = experiments.load("E9")
    run = run_of(one, {"alt": {"policy": lookup}}, [{"split": "recall", "episodes": 2}])
    known = {run.cells[0].checkpoint.key: {"name": "fake", "epochs": 9.0, "converged": False}}
    save_training(known, run.root)
    path = write_report(one, one.report(run), run, tmp_path / "out", collect(renderer="none", data=None))
    notes = {stem: json.loads((path.parent / f"{stem}.json").read_text())["note"] for stem in ("fallback", "success")}
    told = "Networks that have not converged (training.json): Fake, alt, N 6."
    assert notes["fallback"].endswith(told) and told not in notes["success"]
    assert UNCONVERGED_NOTE in notes["success"] and told in path.read_text()


def test_a_network_that_has_not_converged_is_not_compared_over_families(
    lookup: str, own_policies: Path, run_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robustness, "FAMILIES", {"images": ("brightness", "contrast"), "scene": ("distractors",)})
    rows = {
        "alt": {"policy": lookup, "config": {"other": True}},
        "bc": {"policy": f"{own_policies}:Good"},
        "act": {"policy": f"{own_policies}:Fails"},
    }
    entries = [{"name": name, "severities": [robustness.SEVERITY]} for name in ("brightness", "contrast")]
    evaluations = [{"split": "recall", "episodes": 6, "perturbations": entries}]
    run = run_of(experiments.load("robustness"), rows, evaluations, hopeless=True)
    late = next(cell.checkpoint.key for cell in run.cells if cell.label == "bc")
    save_training({late: {"name": "fake", "epochs": 9.0, "converged": False}}, run.root)
    report = robustness.report(run)
    pooled = next(s.tables["pooled_images"] for s in report.sections if "pooled_images" in s.tables)
    data = pooled.data.set_index("policy")
    assert data["p_holm"].notna().sum() == 1 and not data["best"]["bc"] and pd.isna(data["p_holm"]["bc"])
    assert {row[0]: row[1].endswith(STAR) for row in pooled.blocks[0].rows} == {"alt": False, "bc": True, "act": False}
    assert report.summary.endswith("; bc has not converged, and is not compared.")


def test_a_threshold_is_called_calibrated_only_where_it_is(tmp_path: Path) -> None:
    one, told = experiments.load("ood"), {}
    for preset in ("small", "paper"):
        found = one.report(reproduce.open_run(one, preset, tmp_path, "none"))
        told[preset] = next(s.text for s in found.sections if "flags" in s.tables)
    assert "`alt`: its threshold is calibrated for 5 % false alarms" in told["small"]
    assert "`alt-hold`: flags below a similarity of 0.5, which is not calibrated" in told["paper"]


def test_an_episode_that_does_not_end_as_recorded_is_refused(lookup: str, run_of: Make) -> None:
    one = experiments.load("ood")
    run = run_of(one, {"alt": {"policy": lookup}}, [{"split": "recall", "episodes": 2}])
    cell = run.cells[0]
    records = [dataclasses.replace(record, success=not record.success) for record in run.records(cell)]
    results.write_cell(run.root, cell_header(cell), records)
    run = dataclasses.replace(run)  # what the other has read is forgotten
    with pytest.raises(AltbenchError, match="does not end as recorded"):
        one.compute(run, lambda line: None)


def test_scaling_shows_pooled_rates_and_seeds(
    own_policies: Path, run_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = experiments.load("scaling")
    monkeypatch.setattr(scaling, "NUMBERS", (3, 6))
    rows = {"alt": {"policy": f"{own_policies}:Good", "n": [3, 6]}}
    run = run_of(one, rows, [{"split": "uniform", "episodes": 4}], train_seeds=[0, 1])
    report = one.report(run)
    assert [row[0] for row in table(report, "seeds_uniform").values()] == ["alt, seed 0", "alt, seed 1"]
    notes = {stem: t.note for s in report.sections for stem, t in s.tables.items()}
    assert "Rao and Scott" in notes["success_uniform"] and notes["seeds_uniform"] == PLAIN_NOTE
    assert table(report, "success_uniform")["alt"][1] == "8/8 100 % [51, 100], each seed 100 %"
    assert "success_by_n" in report.sections[0].figures
    monkeypatch.setattr(scaling, "SPLITS", ("uniform",))
    found = figures_of(one, report)["success_by_n"]
    assert isinstance(found, Figure) and [axis.get_title() for axis in found.axes] == ["uniform"]


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_bc_has_the_augmentation_steps_and_averaging_of_alt_plus_s_preset_robust_and_nothing_else(
    preset: Preset,
) -> None:
    rows = {entry.name: entry.config for entry in robustness.sweeps(preset)[0].policies}
    robust = rows[robustness.ROBUST]
    images = {name: v for name, v in robust.items() if name in AugmentSpec.model_fields}
    steps = {name: v for name, v in robust.items() if name == "train_steps"}
    assert rows[robustness.AUGMENTED] == {**images, **steps, "ema_power": 0.75}
    assert robust["shrinkage_unit"] == "miss" and robust.get("train_steps") == {"small": 6000, "paper": None}[preset]


def test_robustness_pools_families_by_episode_and_ranks_the_best(
    lookup: str, own_policies: Path, run_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robustness, "FAMILIES", {"images": ("brightness", "contrast"), "scene": ("distractors",)})
    rows = {"alt": {"policy": lookup}, "bc": {"policy": f"{own_policies}:Fails"}}
    entries = [{"name": name, "severities": [robustness.SEVERITY]} for name in ("brightness", "contrast")]
    disturbed = {"split": "recall", "episodes": 6, "perturbations": entries}
    evaluations = [{"split": "recall", "episodes": 6}, disturbed]
    run = run_of(experiments.load("robustness"), rows, evaluations, hopeless=True)
    report = robustness.report(run)
    pooled = next(s.tables["pooled_images"] for s in report.sections if "pooled_images" in s.tables)
    data = pooled.data.set_index("policy")
    assert data["successes"].to_dict() == {"alt": 12, "bc": 0} and data["episodes"].to_list() == [12, 12]
    assert data["low"]["alt"] < wilson_interval(6, 6)[0], "two families are no more than two draws of one"
    assert data["p_holm"]["bc"] == 0.5, "two families allow no less"
    assert report.summary == (
        "Over 2 families of perturbed images: alt 100 % and bc 0 %; alt is not significantly better than bc."
    ), "nobody played the scene's"
    images = table(report, "images")
    assert list(images) == ["undisturbed", "brightness", "contrast"] and images["contrast"][1].startswith("6/6")
    flags = next(s.tables["flags"] for s in report.sections if "flags" in s.tables)
    assert [row[:2] for row in flags.blocks[0].rows] == [("alt", "undisturbed"), ("alt", "images")]
    assert HOLM.format(part="table") in pooled.note
    own, crossed = (text[text.rindex("[") :] for text in (row[4] for row in flags.blocks[0].rows))
    assert own == "[61, 100]" and crossed == "[31, 100]", "families are random as well"
    assert flags.data["flagged"].to_list() == [0, 0] and flags.data["success_unflagged"].to_list() == [1.0, 1.0]


def test_a_heat_map_has_a_number_in_every_field_that_was_measured(own_policies: Path, run_of: Make) -> None:
    evaluations = [{"split": "recall", "episodes": 4, "policies": ["bc"]}, {"split": "uniform", "episodes": 4}]
    rows = {"bc": {"policy": f"{own_policies}:Good"}, "act": {"policy": f"{own_policies}:Good"}}
    run = run_of(experiments.load("E3"), rows, evaluations)
    found = matrix(run, {x: {"label": x} for x in rows}, {s: clean(s) for s in ("recall", "uniform", "interpolate")})
    data = matrix_table("success", found, "split", turned=True).data
    figure = heat_map("success", {"splits": data}, "split")
    assert figure is not None
    figure.draw_without_rendering()
    (axis,) = figure.axes
    wanted = {(j, i): found.rate(row, s).value for j, row in enumerate(found.rows) for i, s in enumerate(found.columns)}
    assert [text.get_text() for text in axis.get_xticklabels()] == ["bc", "act"]
    shown = {tuple(text.get_position()): text.get_text() for text in axis.texts}
    assert shown == {place: f"{100 * rate:.0f}" for place, rate in wanted.items() if rate is not None}
    assert len(shown) == 3 and heat_map("nothing", {"splits": data.assign(rate=None)}, "split") is None
    turned = matrix_table("success", found, "split", turned=True).blocks[0]
    assert turned.header == ("split", "bc", "act") and [row[0] for row in turned.rows] == list(found.columns)
    assert turned.rows[0][2] == "" and turned.rows[1][1] == found.text("bc", "uniform")
