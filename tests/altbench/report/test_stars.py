"""Stars of figures: exactly on rows that have not converged where the figure shows them, and then explained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from synthetic import FINGERPRINT, episode, header, measure

from altbench.experiments.shared.matrix import dot_plot, heat_map, row_styles, stars_in
from altbench.experiments.shared.texts import UNCONVERGED_NOTE, frame_table
from altbench.report import figures
from altbench.report.drawing.stars import NO_STARS, STAR, UNCONVERGED, Shown, Stars, stars_of
from altbench.report.style import styled
from altbench.results import cells, frames

LATE = {("Can", "alt", 30), ("Can", "alt_plus", 10)}
"""Rows (task, label, N) that have not converged: on one task, at one N, and where only one of two has a score."""


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Two tasks, two N, three rows; on one perturbation `alt` and `bc` have scores."""
    root = tmp_path_factory.mktemp("stars")
    for n in (10, 30):
        for label in ("alt", "alt_plus", "bc"):
            for name, severity in (("clean", 0), ("occlusion", 2)):
                score = 0.5 if label != "alt_plus" else None
                records = [episode(i, i < 2, score=score) for i in range(4)]
                cells.write_cell(root, header(label, n, "recall", name, severity), records)
    own = frames.load_episodes(root)
    return pd.concat([own, own.assign(task="Can")], ignore_index=True)


def late(frame: pd.DataFrame, rows: Iterable[tuple[str, str, int]]) -> pd.DataFrame:
    """The episodes; those of `rows` are by networks that have not converged."""
    keys = list(zip(frame["task"], frame["label"], frame["n"], strict=True))
    return frame.assign(converged=[key not in set(rows) for key in keys])


class Drawn(Mapping[str, Figure]):
    """The figures of a run by stem; each is drawn when it is first asked for."""

    def __init__(self, each: Iterable[tuple[str, Callable[[], Figure]]]) -> None:
        self._each = dict(each)
        self._drawn: dict[str, Figure] = {}

    def __getitem__(self, stem: str) -> Figure:
        if stem not in self._drawn:
            with styled():
                self._drawn[stem] = self._each[stem]()
        return self._drawn[stem]

    def __iter__(self) -> Iterator[str]:
        return iter(self._each)

    def __len__(self) -> int:
        return len(self._each)


@pytest.fixture(scope="module")
def drawn() -> dict[str, Drawn]:
    """What was drawn of each table of episodes: several rows that are late elsewhere give the same table."""
    return {}


@pytest.fixture
def draw(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, drawn: dict[str, Drawn]
) -> Callable[[pd.DataFrame], Mapping[str, Figure]]:
    """Give the figures of a run by stem."""

    def run(frame: pd.DataFrame) -> Mapping[str, Figure]:
        episodes = frame.to_json()

        def keep(each: Iterable[tuple[str, Callable[[], Figure]]], *_: Any) -> tuple[list[Path], tuple[()]]:
            drawn[episodes] = Drawn(each)
            return [], ()

        if episodes not in drawn:
            monkeypatch.setattr(figures, "draw_all", keep)
            figures.write_figures(frame, [measure(label) for label in set(frame["label"])], tmp_path, FINGERPRINT)
        return drawn[episodes]

    return run


def names(figure: Figure) -> list[str]:
    """What stands beside a figure's rows: in legends and beside lanes and panels."""
    texts = [text.get_text() for shown in figure.legends for text in shown.get_texts()]
    for axis in figure.axes:
        texts += [text.get_text() for text in (*axis.get_yticklabels(), *axis.get_xticklabels())]
        texts += axis.get_ylabel().split("\n")
    return texts


def starred(figure: Figure) -> list[str]:
    return [text for text in names(figure) if text.split(", N = ")[0].endswith(STAR)]


def explained(figure: Figure) -> str:
    """The explanation of stars in a figure's title, on one line; empty without."""
    title = " ".join(figure.get_suptitle().split())
    return title[title.index(UNCONVERGED) :] if UNCONVERGED in title else ""


def test_a_figure_of_one_task_stars_the_rows_that_have_not_converged_on_it(draw: Any, frame: pd.DataFrame) -> None:
    shown = draw(late(frame, LATE))
    assert starred(shown["success_by_n_can"]) == ["alt *", "alt_plus *"]
    assert explained(shown["success_by_n_can"]) == f"{UNCONVERGED} (alt: N = 30; alt_plus: N = 10)"
    assert starred(shown["success_by_n_lift"]) == [] == starred(shown["success_by_perturbation_lift_recall"])
    assert starred(shown["success_by_perturbation_can_recall"]) == ["alt *", "alt_plus *"]


def test_a_figure_of_several_tasks_stars_each_tasks_own_rows_at_the_n_that_it_shows(
    draw: Any, frame: pd.DataFrame
) -> None:
    figure = draw(late(frame, LATE))["success_by_task"]
    lanes = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert lanes == ["Lift", "alt", "alt_plus", "bc", "Can", "alt *", "alt_plus", "bc"]
    assert explained(figure) == UNCONVERGED


def test_a_figure_of_scores_explains_no_star_of_a_row_without_scores(draw: Any, frame: pd.DataFrame) -> None:
    shown = draw(late(frame, {("Lift", "alt_plus", 10), ("Can", "alt", 30)}))
    assert starred(shown["ood_scores_lift_recall"]) == [] and explained(shown["ood_scores_lift_recall"]) == ""
    assert starred(shown["ood_scores_can_recall"]) == ["alt *, N = 30"]
    assert starred(shown["success_by_perturbation_lift_recall"]) == ["alt_plus *"]


def test_time_and_memory_have_no_stars(draw: Any, frame: pd.DataFrame) -> None:
    figure = draw(late(frame, {("Lift", "bc", n) for n in (10, 30)}))["latency_memory"]
    assert "bc" in names(figure) and starred(figure) == [] and explained(figure) == ""


@pytest.mark.parametrize("rows", [set(), LATE, {("Lift", "bc", 10)}, {("Lift", "bc", 10), ("Lift", "bc", 30)}])
@pytest.mark.parametrize("n", [(10, 30), (30,)])
def test_a_star_is_explained_exactly_where_one_stands(
    draw: Any, frame: pd.DataFrame, rows: set[tuple[str, str, int]], n: tuple[int, ...]
) -> None:
    own = late(frame[frame["n"].isin(n)], rows)
    for part in (own, own[own["task"] == "Lift"]):
        shown = draw(part)
        assert len(shown) >= 4
        for stem, figure in shown.items():
            assert bool(starred(figure)) == bool(explained(figure)), stem


def test_a_label_that_ends_in_a_star_is_no_row_that_has_not_converged(draw: Any, frame: pd.DataFrame) -> None:
    assert not any(explained(one) for one in draw(frame.assign(label=frame["label"] + STAR)).values())


def test_the_line_says_where_a_row_has_not_converged_if_it_has_elsewhere() -> None:
    whole = [Shown("bc", "bc", "N = 10", True), Shown("bc", "bc", "N = 30", True)]
    part = [Shown("alt", "alt", place, place != "Lift") for place in ("Can", "Lift", "Door", "Can")]
    assert stars_of([]) == NO_STARS
    assert stars_of(whole) == Stars(frozenset({"bc"}), UNCONVERGED)
    assert stars_of([*part, *whole]).note == f"{UNCONVERGED} (alt: Can, Door; bc)"


DATA = pd.DataFrame(
    {
        "policy": ["alt", "alt", "bc", "bc"],
        "column": ["recall", "far_away", "recall", "far_away"],
        **{"rate": [1.0, 0.5, 0.4, 0.2], "low": 0.1, "high": 1.0},
    }
)


@pytest.mark.parametrize(
    ("converged", "note"),
    [
        ([True] * 4, ""),
        ([True, True, False, False], UNCONVERGED),
        ([True, True, True, False], f"{UNCONVERGED} (bc: far away)"),
    ],
)
def test_figures_of_experiments_explain_their_stars(converged: list[bool], note: str) -> None:
    data = DATA.assign(converged=converged)
    turned = data.rename(columns={"column": "split"})
    for figure in (
        dot_plot("T", data),
        dot_plot("T", data.rename(columns={"policy": "key"}), "key"),
        heat_map("T", {"splits": turned}, "split"),
    ):
        assert figure is not None
        assert starred(figure) == (["bc *"] if note else []) and explained(figure) == note


def test_a_number_that_was_not_measured_stars_no_row() -> None:
    data = DATA.assign(converged=[True, True, True, False], rate=[1.0, 0.5, 0.4, None])
    figure = dot_plot("T", data)
    assert figure is not None and starred(figure) == [] and explained(figure) == ""
    assert stars_in(DATA) == NO_STARS and row_styles(DATA)["bc"].name == "bc"


def test_a_table_of_texts_explains_its_stars() -> None:
    for text in ("3/4 75 % *", "3/4 75 %"):
        table = frame_table("T", DATA, {"policy": ["bc *"], "recall": [text]}, "Note.")
        assert table.note == "Note." + (UNCONVERGED_NOTE if text.endswith("*") else "")
