"""Tables: what counts, what is ranked, what stays empty, and the three formats."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from synthetic import FINGERPRINT, episode, header, measure, write_run

from altbench.report import costs, flags, tables
from altbench.report import success as success_module
from altbench.report.table import Block, percentage, significant, to_csv, to_latex, to_markdown
from altbench.results import cells as cells_module
from altbench.results import frames
from altbench.results import measures as measures_module
from altbench.rollout.records import CellHeader, EpisodeRecord
from altbench.stats.rates import wilson_interval


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run like `quick`."""
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def frame(run: Path) -> pd.DataFrame:
    """Its episodes."""
    return frames.load_episodes(run)


def outcomes(folder: Path, cells: Sequence[tuple[CellHeader, Sequence[bool]]]) -> pd.DataFrame:
    """The flat episodes of cells with the given successes."""
    for head, successes in cells:
        cells_module.write_cell(folder, head, [episode(i, success) for i, success in enumerate(successes)])
    return frames.load_episodes(folder)


def test_success_cells_show_counts_rate_and_interval(tmp_path: Path) -> None:
    head = header("alt", 30, "recall")
    table = success_module.success_table(outcomes(tmp_path, [(head, [True] * 36 + [False] * 4)]))
    assert table.blocks[0].header == ("policy", "N", "recall")
    assert table.blocks[0].rows == (("alt", "30", "36/40 90 % [77, 96]"),)


def test_success_has_a_block_per_perturbation_with_the_clean_rate_in_front(frame: pd.DataFrame) -> None:
    blocks = success_module.success_table(frame).blocks
    assert [b.caption for b in blocks] == [
        "Unperturbed, by split",
        "Split recall, brightness",
        "Split recall, gaussian_noise",
        "Split recall, occlusion",
        "Split recall, photograph",
    ]
    assert blocks[0].header == ("policy", "N", "replay", "recall", "uniform")
    assert blocks[1].header == ("policy", "N", "clean", "severity 2", "severity 5")
    assert [row[:2] for row in blocks[0].rows][:3] == [("alt", "10"), ("alt", "30"), ("alt-hold", "30")]
    clean = {row[:2]: row[3] for row in blocks[0].rows}
    assert all(row[2] == clean[row[:2]] for row in blocks[1].rows)


def test_infrastructure_errors_leave_the_denominator_and_other_errors_do_not(tmp_path: Path) -> None:
    episodes: list[EpisodeRecord] = [episode(i, True) for i in range(4)]
    episodes += [dataclasses.replace(episode(4, False), status="infra_error", message="worker died")]
    episodes += [dataclasses.replace(episode(5, False), status="policy_error", message="NaN | in actions")]
    cells_module.write_cell(tmp_path, header("alt", 30, "recall"), episodes)
    frame = frames.load_episodes(tmp_path)
    row = success_module.success_table(frame).data.iloc[0]
    assert (row["successes"], row["episodes"], row["infra_errors"]) == (4, 5, 1)
    failures = success_module.failures_table(frame)
    assert failures.data.iloc[0][["ok", "policy_error", "infra_error"]].to_list() == [4, 1, 1]
    assert failures.data.iloc[0]["first_message"] == "worker died"
    said = " ".join(shown(tables.render_terminal(frame, [])).split())
    assert "1 episode failed by an error" in said
    assert "1 episode of 6 could not be played and is missing" in said and "4/5 80 %, 1 missing" in said
    assert ", 1 missing" in success_module.success_table(frame).blocks[0].rows[0][2]
    assert "no row of the same condition" in success_module.success_table(frame).note


def test_failures_have_columns_for_later_statuses_only_if_these_occur(tmp_path: Path) -> None:
    ended = [dataclasses.replace(episode(i, False), status=s) for i, s in enumerate(["policy_crash", "given_up"])]
    cells_module.write_cell(tmp_path, header("alt", 30, "recall"), ended)
    table = success_module.failures_table(frames.load_episodes(tmp_path))
    assert table.data.iloc[0][["policy_crash", "given_up"]].to_list() == [1, 1] and "three times" in table.note
    cells_module.write_cell(tmp_path, header("alt", 30, "recall"), [episode(0, True)])
    table = success_module.failures_table(frames.load_episodes(tmp_path))
    assert not {"policy_crash", "given_up"} & set(table.data) and "given_up" not in table.note


def test_a_task_column_appears_only_with_several_tasks(tmp_path: Path) -> None:
    lift = header("alt", 30, "recall")
    can = dataclasses.replace(lift, task="Can", name="can", key="can")
    block = success_module.success_table(outcomes(tmp_path, [(lift, [True]), (can, [False])])).blocks[0]
    assert block.header[:3] == ("task", "policy", "N")
    assert [row[0] for row in block.rows] == ["Lift", "Can"], "in the order of all figures"


# ---------------------------------------------------------------------------------------------------------- ranking


def ranking(folder: Path, n: int, good: int, bad: int) -> list[bool | None]:
    """Marks of two policies with `good` and `bad` successes of `n`; None: not ranked."""
    cells = [
        (header(label, 30, "recall"), [i < hits for i in range(n)]) for label, hits in (("alt", good), ("bc", bad))
    ]
    table = success_module.success_table(outcomes(folder, cells))
    marks = [None if pd.isna(mark) else bool(mark) for mark in table.data["best"]]
    assert table.blocks[0].best == {(i, 2) for i, mark in enumerate(marks) if mark}
    return marks


def test_fewer_than_fifty_episodes_are_never_ranked(tmp_path: Path) -> None:
    assert ranking(tmp_path, 49, good=49, bad=0) == [None, None]


def test_from_fifty_episodes_the_significantly_best_is_marked(tmp_path: Path) -> None:
    assert ranking(tmp_path, 50, good=40, bad=20) == [True, False]


def test_no_row_is_ranked_while_one_of_the_same_condition_lacks_an_episode(tmp_path: Path) -> None:
    frame = outcomes(
        tmp_path,
        [(header(label, 30, "recall"), [i < hits for i in range(60)]) for label, hits in (("alt", 55), ("bc", 5))],
    )
    assert success_module.success_table(frame).data["best"].to_list() == [True, False]
    for label in ("alt", "bc"):
        lost = (frame["label"] == label) & (frame["episode"] == 59)
        lacking = frame.assign(status=frame["status"].mask(lost, "infra_error"))
        table = success_module.success_table(lacking)
        assert table.data["best"].isna().all() and table.blocks[0].best == frozenset()
        groups = [lacking[lacking["label"] == name] for name in ("alt", "bc")]
        assert not success_module.beats_all(groups[0], groups[1:])


def test_a_difference_that_may_be_chance_is_not_marked(tmp_path: Path) -> None:
    assert ranking(tmp_path, 50, good=40, bad=36) == [False, False]


def test_the_best_of_its_n_is_not_marked_if_another_row_of_the_table_is_as_good(tmp_path: Path) -> None:
    cells = [
        (header(label, n, "uniform"), [i < hits for i in range(60)])
        for label, n, hits in (("alt", 10, 50), ("bc", 10, 5), ("bc", 30, 55))
    ]
    assert success_module.success_table(outcomes(tmp_path, cells)).data["best"].to_list() == [False, False, False]


@pytest.mark.parametrize("split", ["recall", "replay", "recall+move15by0.08"])
def test_rows_of_another_n_play_other_episodes_where_these_begin_from_demonstrations(
    tmp_path: Path, split: str
) -> None:
    rows = (("alt", 10, 60), ("alt", 30, 60), ("bc", 10, 5), ("bc", 30, 59), ("kdtree", 60, 0))
    cells = [(header(label, n, split), [i < hits for i in range(60)]) for label, n, hits in rows]
    table = success_module.success_table(outcomes(tmp_path, cells))
    marks = {(r["label"], r["n"]): r["best"] for r in table.data.to_dict("records")}
    assert marks["alt", 10] is True and marks["bc", 10] is False  # whatever N = 30 and N = 60 reach
    assert marks["alt", 30] is False and marks["bc", 30] is False  # one episode is no proof
    assert pd.isna(marks["kdtree", 60])  # alone with its N
    assert "among those of its N" in table.note


def test_nothing_is_best_beside_a_row_that_has_too_few_episodes(tmp_path: Path) -> None:
    cells = [
        (header(label, 30, "uniform"), [i < hits for i in range(n)])
        for label, n, hits in (("alt", 60, 59), ("bc", 60, 5), ("diffusion", 40, 40))
    ]
    found = success_module.success_table(outcomes(tmp_path, cells)).data["best"]
    assert found.to_list()[:2] == [False, False] and pd.isna(found.iloc[2])


def test_the_best_must_beat_every_other(tmp_path: Path) -> None:
    hits = {"alt": 50, "bc": 49, "diffusion": 10}
    cells = [(header(label, 30, "recall"), [i < count for i in range(60)]) for label, count in hits.items()]
    assert success_module.success_table(outcomes(tmp_path, cells)).data["best"].to_list() == [False, False, False]


# -------------------------------------------------------------------------------------------------------- OOD, costs


def test_flags_and_auroc_are_told_only_for_policies_that_have_them(frame: pd.DataFrame) -> None:
    table = flags.ood_table(frame)
    assert set(table.data["label"]) == {"alt", "alt-hold"}
    assert table.data.loc[table.data["perturbation"] == "clean", "auroc"].isna().all()
    perturbed = table.data[(table.data["label"] == "alt") & (table.data["severity"] == 5)]
    assert perturbed["rate"].tolist() == [1.0] * 4
    assert perturbed["auroc"].tolist() == [1.0] * 4
    assert table.blocks[1].rows[0][-1] == "10/10 100 % [72, 100] · AUROC 1.00"


def test_flags_of_several_training_seeds_are_clusters_and_auroc_is_within_a_seed(tmp_path: Path) -> None:
    for seed in range(3):
        for perturbation, severity in (("clean", 0), ("brightness", 5)):
            head = header("alt", 30, "recall", perturbation, severity)
            own = dataclasses.replace(head, train_seed=seed, key=f"{seed}{head.key}", name=f"{head.name}{seed}")
            base = seed + (0.5 if severity else 0.0)
            cells_module.write_cell(tmp_path, own, [episode(i, score=base + i / 100, flag=i < 5) for i in range(20)])
    data = flags.ood_table(frames.load_episodes(tmp_path)).data
    assert data["flagged"].to_list() == [15, 15] and data["episodes"].to_list() == [60, 60]
    assert data["low"].to_numpy() == pytest.approx(wilson_interval(5, 20)[0])
    assert data["auroc"].max() == 1.0


def test_scores_without_flags_have_an_auroc_but_no_rate(tmp_path: Path) -> None:
    cells_module.write_cell(tmp_path, header("alt", 30, "recall"), [episode(i, score=0.25) for i in range(3)])
    cells_module.write_cell(tmp_path, header("alt", 30, "recall", "brightness", 5), [episode(0, score=0.5)])
    table = flags.ood_table(frames.load_episodes(tmp_path))
    assert table.blocks[1].rows == (("alt", "30", "", "AUROC 1.00"),)
    assert to_csv(table).splitlines()[1].endswith(",0,0,,,,1")


def test_ratios_divide_by_the_diffusion_policy_beside_the_papers() -> None:
    measures = [measure("alt", p50=0.005, weights=1000, table=700), measure("diffusion", p50=0.1, weights=10_000)]
    row = costs.ratios_table(measures).data.iloc[0]
    assert row[["label", "against"]].to_list() == ["alt", "diffusion, N 30"]
    assert row[["time", "weights_and_table", "disk", "peak_rss"]].to_list() == pytest.approx([0.05, 0.17, 0.17, 1.0])
    assert row[["paper_time", "paper_memory"]].to_list() == [0.0034, 0.0085]
    assert len(costs.ratios_table(measures).data) == 1


def test_ratios_compare_like_with_like() -> None:
    diffusion = measure("diffusion", n=30)
    others = [
        dataclasses.replace(diffusion, preset="paper", latency_p50_s=9.0),
        dataclasses.replace(diffusion, image_size=(240, 320), latency_p50_s=8.0),
        dataclasses.replace(diffusion, threads=2, latency_p50_s=7.0),
        dataclasses.replace(diffusion, machine="another", latency_p50_s=6.0),
        dataclasses.replace(diffusion, n=60, latency_p50_s=0.04),
        dataclasses.replace(diffusion, label="diffusion-ddpm", latency_p50_s=5.0),
    ]
    data = costs.ratios_table([measure("alt", n=n, p50=0.01) for n in (10, 30, 60)] + [*others, diffusion]).data
    own = data[data["label"] == "alt"]
    assert own["against"].to_list() == ["diffusion, N 60", "diffusion, N 30", "diffusion, N 60"]
    assert own["time"].to_list() == pytest.approx([0.25, 1.0, 0.25])


def test_a_preset_of_its_own_is_compared_with_the_diffusion_policy_there_is() -> None:
    compact = dataclasses.replace(measure("alt", p50=0.001), preset="compact")
    paper = [
        dataclasses.replace(measure(name, p50=p50), preset="paper") for name, p50 in (("alt", 0.01), ("diffusion", 0.1))
    ]
    data = costs.ratios_table([compact, *paper]).data
    assert data["against"].to_list() == ["diffusion paper, N 30", "diffusion, N 30"]
    assert data["time"].to_list() == pytest.approx([0.01, 0.1])


def test_without_a_diffusion_policy_there_are_no_ratios() -> None:
    table = costs.ratios_table([measure("alt")])
    assert table.data.empty
    assert table.note == "No diffusion policy was measured."


def test_costs_can_be_divided_by_another_policy_s() -> None:
    reference = costs.Reference("bc", "Made up.", {"alt": {"time": 0.5, "memory": 0.25}})
    measures = [measure("alt", p50=0.01), measure("bc", p50=0.02), measure("diffusion", p50=0.1)]
    table = costs.ratios_table(measures, reference)
    assert (table.title, table.note) == ("Against the bc policy", "Made up.")
    assert table.data["label"].to_list() == ["alt", "diffusion"]
    assert table.data["time"].to_list() == pytest.approx([0.5, 5.0])
    assert table.data.loc[0, ["paper_time", "paper_memory"]].to_list() == [0.5, 0.25]


def test_what_was_not_measured_is_empty_never_zero() -> None:
    measures = [measure("alt", p50=None, weights=None), measure("diffusion")]
    memory = costs.memory_table(measures)
    assert memory.blocks[0].rows[0][-6:] == ("", "0", "", "", "300", "")
    assert to_csv(memory).splitlines()[1].endswith(",,0,,,300000000,")
    latency = to_csv(costs.latency_table(measures)).splitlines()[1]
    assert latency == "alt,alt,30,,0,small,cpu,1,84×84,,,,,40,100,,"
    assert costs.ratios_table(measures).data.loc[0, ["time", "weights_and_table"]].isna().all()


def test_the_wait_for_data_is_shown_in_per_cent() -> None:
    block = costs.latency_table([dataclasses.replace(measure("alt"), data_share=0.0321), measure("bc")]).blocks[0]
    column = block.header.index("data wait %")
    assert [row[column] for row in block.rows] == ["3.21", ""]


def test_tables_say_what_checkpoints_were_trained_on_and_in_where_it_is_known(frame: pd.DataFrame) -> None:
    known = dataclasses.replace(measure("alt"), trained_on="CPU A", precision="bf16")
    block = costs.latency_table([known, measure("bc")]).blocks[0]
    columns = [block.header.index(name) for name in ("trained in", "trained on")]
    assert [[row[i] for i in columns] for row in block.rows] == [["bf16", "CPU A"], ["", ""]]
    assert "trained on" not in costs.latency_table([measure("bc")]).blocks[0].header  # as in published tables
    told = tables.all_tables(frame, [known, dataclasses.replace(known, trained_on="CPU B", precision="fp32")])[
        "success"
    ]
    assert told.note.endswith("Checkpoints were trained on: CPU A, bf16; CPU B, fp32.")
    assert "trained" not in tables.all_tables(frame, [measure("bc")])["success"].note


@pytest.mark.parametrize(
    ("value", "text"),
    [(18500.0, "18500"), (0.00341, "0.00341"), (0.0, "0"), (None, ""), (float("nan"), ""), (4.2, "4.20")],
)
def test_three_significant_digits_without_exponent(value: float | None, text: str) -> None:
    assert significant(value) == text


# ---------------------------------------------------------------------------------------------------------- formats


def test_tables_are_written_in_three_formats_with_the_fingerprint(
    frame: pd.DataFrame, run: Path, tmp_path: Path
) -> None:
    paths = tables.write_tables(frame, measures_module.load_measures(run), tmp_path, FINGERPRINT)
    stems = {"success", "ood", "failures", "latency", "memory", "ratios"}
    assert {p.name for p in paths} == {f"{stem}.{suffix}" for stem in stems for suffix in ("csv", "md", "tex", "json")}
    for stem in stems:
        assert FINGERPRINT.one_line() in (tmp_path / f"{stem}.md").read_text()
        assert FINGERPRINT.one_line() in (tmp_path / f"{stem}.tex").read_text()
        assert json.loads((tmp_path / f"{stem}.json").read_text())["fingerprint"]["cpu"] == FINGERPRINT.cpu
        assert len(pd.read_csv(tmp_path / f"{stem}.csv"))


def test_success_csv_is_tidy_and_the_same_for_the_same_records(frame: pd.DataFrame, tmp_path: Path) -> None:
    again = frames.load_episodes(write_run(tmp_path))
    text = to_csv(success_module.success_table(frame))
    assert text == to_csv(success_module.success_table(again.sample(frac=1, random_state=0)))
    read = pd.read_csv(io.StringIO(text))
    assert len(read) == frame["key"].nunique()
    pd.testing.assert_series_equal(read["rate"], read["successes"] / read["episodes"], check_names=False, rtol=1e-5)


def test_markdown_and_latex_embolden_the_best_and_escape(tmp_path: Path) -> None:
    cells = [(header(label, 30, "recall"), [i < n for i in range(60)]) for label, n in (("a_b", 60), ("c|d", 0))]
    table = success_module.success_table(outcomes(tmp_path, cells))
    markdown, latex = to_markdown(table, FINGERPRINT), to_latex(table, FINGERPRINT)
    assert "**60/60 100 % [89, 100]**" in markdown
    assert r"c\|d" in markdown
    assert r"a\_b & 30 & \textbf{60/60 100 \% [89, 100]} \\" in latex
    body = re.sub(r"\\[\\{}%&_#$]", "", "\n".join(line for line in latex.splitlines() if not line.startswith("%")))
    assert body.count("{") == body.count("}")
    assert body.count(r"\begin") == body.count(r"\end") == 2
    assert not re.search(r"[%#]", body)


# --------------------------------------------------------------------------------------------------------- terminal


def shown(renderable: object, width: int = 100) -> str:
    """What a terminal of `width` columns shows."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_shows_success_and_cost_without_folding_cells(frame: pd.DataFrame, run: Path) -> None:
    text = shown(tables.render_terminal(frame, measures_module.load_measures(run)))
    assert re.search(r"│ alt +│ 30 │ 30/30 100 % │ 35/40  88 % │ 24/40  60 % │ +4.50 │ +4.40 │", text)
    assert re.search(r"│ random +│ 30 │ +0/30   0 % │ +0/40   0 % │ +0/40   0 % │ +│ +│", text)
    assert re.search(r"│ alt +│ 30 │ +\d+·\d+ │ +\d+·\d+ │ +\d+·\d+ │ +\d+·\d+ │", text)
    assert re.search(r"│ alt +│ 30 │ +0.030 │ +0.0034 │ +0.17 │ +0.17 │ +1.0 │ +0.0085 │", text)
    assert "…" not in text


def test_the_terminal_shows_costs_of_several_settings() -> None:
    measures = [
        dataclasses.replace(measure(label), image_size=size)
        for size in ((84, 84), (240, 320))
        for label in ("alt", "diffusion")
    ]
    text = shown(tables.render_costs(measures), width=140)
    assert re.search(r"│ alt +│ 30 │ 240×320 │ +1.0 │ +0.0034 │", text)
    assert "preset small; device cpu; threads 1" in " ".join(text.split())


def test_a_run_without_cells_or_measurements_has_tables_too(tmp_path: Path) -> None:
    empty = frames.load_episodes(tmp_path)
    assert tables.all_tables(empty, []) == {}
    assert "Success" in shown(tables.render_terminal(empty, []))


@pytest.mark.parametrize(
    ("successes", "episodes", "text"),
    [
        *[(0, 200, "0"), (200, 200, "100"), (199, 200, "99.5"), (1, 200, "0.5"), (1999, 2000, "99.95")],
        *[(1, 2000, "0.05"), (99, 100, "99"), (1, 100, "1"), (996, 1000, "99.6"), (994, 1000, "99"), (2, 3, "67")],
    ],
)
def test_all_and_nothing_are_whole(successes: int, episodes: int, text: str) -> None:
    assert percentage(successes / episodes) == text


def test_a_block_is_literal_in_a_terminal_best_in_bold_names_folded() -> None:
    block = Block("", ("policy", "x"), (("a_policy_of_a_long_name", "[red]1[/]"), ("b", "2")), frozenset({(1, 1)}), 1)
    plain = shown(block.to_rich("[bold]title", "note [1]"), width=26)
    assert "[bold]title" in plain and "note [1]" in plain and "[red]1[/]" in plain
    assert "│ ame " in plain and "…" not in plain
    console = Console(width=60, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(block.to_rich("title", colours=["red", ""]))
    assert isinstance(console.file, io.StringIO)
    written = console.file.getvalue()
    assert re.search(r"\x1b\[1m *2\x1b", written) and re.search(r"\x1b\[31m *\[red\]1\[/\]", written)
