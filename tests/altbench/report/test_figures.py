"""Figures: which are drawn, that nothing is cut or covered, that they repeat, and that matplotlib is left as it was."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from PIL import Image
from synthetic import FINGERPRINT, episode, header, measure, write_run

from altbench.core import registry
from altbench.core.spec import read_toml
from altbench.core.types import Float64
from altbench.experiments.shared.expert import EXPERT
from altbench.report import figures
from altbench.report.cost_figures import latency_memory, timed_and_weighed
from altbench.report.drawing import severities
from altbench.report.drawing.layout import WIDEST, add_footer, draw_all, footers, grid, headline, legend
from altbench.report.drawing.order import STYLES, labels_in_order, tasks_in_order
from altbench.report.style import OTHER_COLOURS, PLAIN, Style, policy_styles, shade, styled
from altbench.results import cells, frames
from altbench.results import measures as measures_module
from altbench.rollout.records import MeasureRecord

LONG_FINGERPRINT = dataclasses.replace(FINGERPRINT, packages={f"package-{i}": "1.23.4" for i in range(25)})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run like `quick`."""
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def frame(run: Path) -> pd.DataFrame:
    """Its episodes."""
    return frames.load_episodes(run)


@pytest.fixture(scope="module")
def measures() -> list[MeasureRecord]:
    """Two presets, two image sizes."""
    sizes, presets = [(84, 84), (240, 320)], [("small", 1), ("paper", 40)]
    policies = [("alt", 0.004, 3_000_000), ("bc", 0.003, 2_900_000), ("diffusion", 0.15, 26_000_000)]
    return [
        dataclasses.replace(measure(label, p50=p50 * factor, weights=size * factor), preset=preset, image_size=image)
        for image in sizes
        for preset, factor in presets
        for label, p50, size in policies
    ]


@pytest.mark.slow
def test_figures_of_a_whole_run_as_png_and_svg(frame: pd.DataFrame, run: Path, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    paths, failures = figures.write_figures(frame, measures_module.load_measures(run), tmp_path, FINGERPRINT)
    stems = ("success_by_n_lift", "success_by_perturbation_lift_recall", "ood_scores_lift_recall", "latency_memory")
    assert [p.name for p in paths] == [f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")]
    assert failures == ()
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []
    for path in paths[::2]:
        image = imread(path)
        assert image.shape[1] >= 750
        assert image[..., :3].std() > 0.05


def test_a_figure_says_how_many_episodes_are_missing(frame: pd.DataFrame) -> None:
    assert figures._missing_note(figures._played(frame)) == ""
    label = frame["label"].iloc[0]
    lost = (frame["label"] == label) & (frame["episode"] == 0)
    note = figures._missing_note(figures._played(frame.assign(status=frame["status"].mask(lost, "infra_error"))))
    assert note == f"Not ranked: {lost.sum()} of {len(frame)} episodes of the run are missing ({label} {lost.sum()})"
    figure = figures._noted(lambda: grid(1, 1, 2.0, 2.0)[0], note)
    assert " ".join(figure.get_suptitle().split()) == note


@pytest.mark.slow
def test_the_same_records_draw_the_same_bytes(frame: pd.DataFrame, run: Path, tmp_path: Path) -> None:
    small = frame[frame["label"].isin(["alt", "bc"]) & frame["perturbation"].isin(["clean", "occlusion"])]
    for name in ("a", "b"):
        figures.write_figures(small, measures_module.load_measures(run), tmp_path / name, FINGERPRINT)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_figures_without_data_are_not_drawn(tmp_path: Path) -> None:
    cells.write_cell(tmp_path, header("bc", 30, "recall"), [episode(0)])
    unmeasured = [measure("bc", p50=None), measure("random", weights=0)]
    paths, failures = figures.write_figures(frames.load_episodes(tmp_path), unmeasured, tmp_path, FINGERPRINT)
    assert [p.stem for p in paths] == ["success_by_split_lift"] * 2 and failures == ()
    assert figures.write_figures(frames.load_episodes(tmp_path, keys=[]), [], tmp_path, FINGERPRINT) == ([], ())


def drawn(draw: Callable[[], Figure]) -> Figure:
    """The figure with a long footer, laid out."""
    with styled():
        figure = draw()
        add_footer(figure, LONG_FINGERPRINT)
        figure.draw_without_rendering()
    return figure


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Each text that is drawn, with its extent in pixels (ticks outside of the limits have texts that are not)."""
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for panel in figure.axes:
        texts += [panel.title]
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [axis.label, *(tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high)]
    shown = [t for t in texts if t.get_visible() and t.get_text().strip()]
    return [(t.get_text(), t.get_window_extent()) for t in shown]


@pytest.mark.parametrize(
    "which", ["by_n", "by_split", "by_perturbation", "ood", "ood_of_one", "latency_memory", "costs_by_task"]
)
def test_no_text_is_cut_and_none_covers_another(frame: pd.DataFrame, measures: list[MeasureRecord], which: str) -> None:
    style = policy_styles([*frame["label"], *(m.label for m in measures)])
    recall = frame[frame["split"] == "recall"]
    alone = recall[recall["perturbation"].isin(["clean", "photograph"])]
    costs = [dataclasses.replace(m, task=task) for task in "ABCD" for m in measures]
    draw: dict[str, Callable[[], Figure]] = {
        "by_n": lambda: figures.success_by_n(frame[frame["perturbation"] == "clean"], "Lift", style),
        "by_split": lambda: figures.success_by_split(frame[frame["n"] == 30], "Lift", style),
        "by_perturbation": lambda: figures.success_by_perturbation(recall, "Lift, split recall", style),
        "ood": lambda: figures.ood_scores(recall, "Lift, split recall", style),
        "ood_of_one": lambda: figures.ood_scores(alone, "Lift, split recall", style),
        "latency_memory": lambda: latency_memory(measures, style),
        "costs_by_task": lambda: latency_memory(costs, style),
    }
    figure = drawn(draw[which])
    found = boxes(figure)
    assert len(found) > 10
    for text, box in found:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text
    for (text, box), (other, covered) in itertools.combinations(found, 2):
        overlap = Bbox.intersection(box, covered)
        assert overlap is None or overlap.width < 1 or overlap.height < 1, (text, other)
    for axis, shown in itertools.product(figure.axes, figure.legends):
        assert not shown.get_window_extent().overlaps(axis.get_window_extent())


def test_a_legend_stands_below_the_title_and_a_common_label_above_the_footer() -> None:
    with styled():
        figure = Figure(figsize=(6, 3), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.set_ylabel("a label\nthat takes\nsome space")
        headline(figure, "a title")
        figure.supxlabel("common")
        legend(figure, [Line2D([], [], label=f"line {i}") for i in range(12)])
        add_footer(figure, LONG_FINGERPRINT)
        figure.draw_without_rendering()
    places = {text.get_text(): text.get_window_extent() for text in figure.texts}
    title, label = places.pop("a title"), places.pop("common")
    (footer,) = places.values()
    panels = [axis.get_window_extent() for axis in (left, right)]
    shown = figure.legends[0].get_window_extent()
    assert footer.y1 <= label.y0 and label.y1 < panels[0].y0
    assert panels[0].y1 < shown.y0 and shown.y1 <= title.y0 and shown.x1 <= figure.bbox.x1
    assert (label.x0 + label.x1) / 2 == pytest.approx((panels[0].x0 + panels[1].x1) / 2, abs=1)


def test_figures_without_small_print_keep_the_fingerprint_in_their_files(tmp_path: Path) -> None:
    made = []

    def draw() -> Figure:
        figure, _ = grid(1, 1, 2.0, 2.0)
        headline(figure, "title")
        made.append(figure)
        return figure

    draw_all([("with", draw)], tmp_path, FINGERPRINT)
    with footers(shown=False):
        draw_all([("without", draw)], tmp_path, FINGERPRINT)
    for name in ("with", "without"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.info["Description"] == FINGERPRINT.one_line()
    assert [[text.get_text() for text in figure.texts] for figure in made] == [
        ["title", FINGERPRINT.short()],
        ["title"],
    ]
    assert FINGERPRINT.one_line().split(" · ")[0] in (tmp_path / "without.svg").read_text()


def test_a_variant_has_a_shade_of_its_policy_s_colour_and_another_marker() -> None:
    styles = policy_styles(["alt", "alt-hold", "alt_plus_robust", "alternative"])
    assert (
        styles["alt-hold"].colour == shade(styles["alt"].colour) and styles["alt-hold"].marker != styles["alt"].marker
    )
    assert styles["alternative"].colour in OTHER_COLOURS


def test_rows_that_see_the_state_are_hollow_and_named() -> None:
    styles = policy_styles(["mine", "blind", "expert", "bc"], {"mine": "blind", "bc": "bc"})
    assert {label: (style.name, style.hollow) for label, style in styles.items()} == {
        "bc": ("bc", False),
        "blind": ("blind (privileged)", True),
        "expert": ("expert (privileged)", True),
        "mine": ("mine (privileged)", True),
    }
    (other,) = policy_styles(["expert"], {"expert": "./mine.py:Policy"}).values()
    assert not other.hollow


def test_there_is_one_order_of_tasks_and_of_policies() -> None:
    assert tasks_in_order({"Transport", "Can", "Lift", "Fake", "Stack"}) == [
        "Lift",
        "Stack",
        "Can",
        "Transport",
        "Fake",
    ]
    labels = ["random", "expert", "zebra", "bc", "alt_plus", "alt-hold", "alt", "alternative", "alt_plus_robust"]
    assert labels_in_order(labels) == [
        *("alt", "alt-hold", "alt_plus", "alt_plus_robust", "bc", "alternative", "zebra", "random", "expert")
    ]


def test_policies_have_one_style_in_every_figure_and_twenty_labels_differ() -> None:
    assert policy_styles(["bc", "alt", "bc"]) == policy_styles(["alt", "bc"])
    alone, together = policy_styles(["bc"]), policy_styles(["act_ensemble", "alt", "bc", "expert"])
    assert alone["bc"] == together["bc"] and len({style.colour for style in together.values()}) == 4
    many = [*registry.BUILT_IN["policy"], *(f"policy-{i:02}" for i in range(20))]
    for labels in (many[-20:], many):
        assert len({(style.colour, style.marker) for style in policy_styles(labels).values()}) == len(labels)


def test_a_label_without_a_style_keeps_its_own_whatever_stands_beside_it() -> None:
    alone = policy_styles(["mine"])["mine"]
    assert policy_styles(["alt", "another", "mine", "zebra"])["mine"] == alone


def test_every_built_in_policy_has_a_style_of_its_own_beside_the_code() -> None:
    styles = read_toml(STYLES)
    assert set(styles) == {*registry.BUILT_IN["policy"], EXPERT}
    assert policy_styles(["alt"])["alt"] == Style("#0072B2", "s", name="alt")
    assert not {colour for colour, _ in styles.values()} & {*OTHER_COLOURS, PLAIN.colour}


def test_a_third_party_s_policy_changes_no_style(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [*registry.BUILT_IN["policy"], "mine"]
    before = policy_styles(labels)
    more = {**registry.table("policy"), "a_first_one": "somewhere:Policy"}
    monkeypatch.setattr(registry, "table", lambda kind: more)
    assert policy_styles(labels) == before
    after = policy_styles([*labels, "a_first_one"])
    assert all(after[label] == before[label] for label in registry.BUILT_IN["policy"])
    assert len(set(after.values())) == len(after)


CONES = {  # Machado et al. 2009, of full severity, in linear RGB
    "none": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def lab(colour: str, cones: str) -> Float64:
    """CIELAB of a colour as the colour-blind see it."""
    rgb = np.array(to_rgb(colour))
    linear = np.clip(
        np.array(CONES[cones]) @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1
    )
    xyz = np.array([[0.434, 0.376, 0.190], [0.213, 0.715, 0.072], [0.018, 0.109, 0.873]]) @ linear
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("cones", CONES)
def test_the_colour_blind_can_tell_built_in_policies_and_the_expert_apart(cones: str) -> None:
    styles = policy_styles([*registry.BUILT_IN["policy"], EXPERT])
    assert len({style.marker for style in styles.values()}) == len(styles)
    for (one, a), (other, b) in itertools.combinations(styles.items(), 2):
        distance = float(np.linalg.norm(lab(a.colour, cones) - lab(b.colour, cones)))
        assert distance > 13, (one, other, distance)


def test_success_lines_stand_at_the_rates(tmp_path: Path) -> None:
    for n, hits in ((10, 2), (30, 3)):
        cells.write_cell(tmp_path, header("alt", n, "recall"), [episode(i, i < hits) for i in range(4)])
    frame = frames.load_episodes(tmp_path)
    figure = drawn(lambda: figures.success_by_n(frame, "Lift", policy_styles(["alt"])))
    line = figure.axes[0].get_lines()[0]
    np.testing.assert_allclose(line.get_xydata(), [[0, 0.5], [1, 0.75]])
    assert figure.axes[0].get_title() == "recall"
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["10", "30"]


def test_no_line_crosses_what_was_not_measured_and_dots_stay_within_the_panel(tmp_path: Path) -> None:
    for severity in (0, 1, 2, 5):
        name = "occlusion" if severity else "clean"
        cells.write_cell(tmp_path, header("alt", 30, "recall", name, severity), [episode(i) for i in range(4)])
    frame = frames.load_episodes(tmp_path)
    clean, axis = figures.success_by_perturbation(frame, "Lift", policy_styles(["alt"])).axes
    assert [t.get_text() for t in clean.get_xticklabels()] == ["clean"]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["1", "2", "5"]  # no room for what was not played
    x, y = axis.get_lines()[0].get_data()
    np.testing.assert_array_equal(x, [0, 1, np.nan, 2])
    np.testing.assert_array_equal(y, [1, 1, np.nan, 1])
    assert axis.get_ylim()[0] < 0 and axis.get_ylim()[1] > 1


def test_many_perturbations_go_on_in_the_next_row_with_the_clean_panel_before_them(tmp_path: Path) -> None:
    cells.write_cell(tmp_path, header("alt", 30, "recall"), [episode(0)])
    names = registry.names("perturbation")[:9]
    for name in names:
        cells.write_cell(tmp_path, header("alt", 30, "recall", name, 3), [episode(0)])
    figure = drawn(
        lambda: figures.success_by_perturbation(frames.load_episodes(tmp_path), "Lift", policy_styles(["alt"]))
    )
    titles = [axis.get_title() for axis in figure.axes]
    assert titles.count("") == 2 and len(titles) == 11 and figure.get_figwidth() <= WIDEST


def test_dots_at_an_n_stand_within_its_band_and_beside_each_other(frame: pd.DataFrame) -> None:
    clean = frame[frame["perturbation"] == "clean"]
    figure = figures.success_by_n(clean, "Lift", policy_styles(clean["label"]))
    asides = {}
    for container in figure.axes[0].containers:
        places = np.asarray(container.lines[0].get_xdata(), float)
        asides[container.lines[0].get_color()] = places - places.round()
    assert len({round(float(aside[0]), 6) for aside in asides.values()}) == len(asides) > 1
    assert max(float(np.abs(aside).max()) for aside in asides.values()) < 0.45


def test_with_one_n_there_is_a_row_per_policy_and_a_panel_per_split(tmp_path: Path) -> None:
    for label, split, hits in (("alt", "recall", 3), ("alt", "uniform", 1), ("bc", "uniform", 4)):
        cells.write_cell(tmp_path, header(label, 30, split), [episode(i, i < hits) for i in range(4)])
    frame = frames.load_episodes(tmp_path)
    figure = figures.success_by_split(frame, "Lift", policy_styles(["alt", "bc"]))
    assert figure.get_suptitle() == "Lift, N = 30: success by split"
    assert [axis.get_title() for axis in figure.axes] == ["recall", "uniform"]
    dots = [[tuple(line.get_xydata()[0]) for line in a.get_lines() if len(line.get_xdata()) == 1] for a in figure.axes]
    assert dots == [[(0.75, 0)], [(0.25, 0), (1.0, 1)]]


@pytest.mark.parametrize(
    ("scores", "flags", "threshold"),
    [
        ([0.1, 0.25, 0.75, 0.9], [False, False, True, True], 0.5),
        ([0.1, 0.8, 0.7], [False, False, True], None),
        ([0.1, 0.2], [False, False], None),
        ([0.1, 0.2], [True, True], None),
        ([0.1, 0.2], [pd.NA, pd.NA], None),
    ],
)
def test_the_threshold_lies_between_unflagged_and_flagged(
    scores: list[float], flags: list[object], threshold: float | None
) -> None:
    frame = pd.DataFrame({"max_ood_score": scores, "flagged": pd.array(flags, dtype="boolean")})
    assert severities.threshold_between(frame) == threshold


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [((0.3, 0.3), [0.3]), ((0.3, 0.4), [0.3, 0.4]), ((None, None), [0.5])],
)
def test_the_recorded_thresholds_are_drawn_and_others_are_said_to_be_inferred(
    tmp_path: Path, recorded: tuple[float | None, float | None], expected: list[float]
) -> None:
    heads = [header("alt", 30, "recall"), header("alt", 30, "recall", "occlusion", 2)]
    for head, score, threshold in zip(heads, (0.25, 0.75), recorded, strict=True):
        one = episode(0, score=score, flag=score > 0.5)
        cells.write_cell(tmp_path, head, [dataclasses.replace(one, ood_threshold=threshold)])
    figure = drawn(lambda: figures.ood_scores(frames.load_episodes(tmp_path), "Lift", policy_styles(["alt"])))
    lines = [float(line.get_ydata()[0]) for line in figure.axes[0].get_lines()]  # type: ignore[index,arg-type]
    assert lines == expected
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown[3:] == ["threshold" if recorded[0] else "threshold, inferred from the flags"]


def texts(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.get_yticklabels()]


def test_several_tasks_stand_in_one_figure_each_with_its_own_costs(
    frame: pd.DataFrame, measures: list[MeasureRecord], tmp_path: Path
) -> None:
    one_n = frame[(frame["n"] == 30) & (frame["perturbation"] == "clean")]
    both = pd.concat([one_n.assign(task="Can"), one_n])
    costs = [dataclasses.replace(m, task=task) for task in ("Can", "Lift") for m in measures[:3]]
    paths, failures = figures.write_figures(both, costs, tmp_path, FINGERPRINT)
    assert [p.stem for p in paths[::2]] == ["success_by_task", "latency_memory"] and failures == ()
    style = policy_styles([*both["label"], *(m.label for m in costs)])
    labels = labels_in_order(both["label"])
    assert texts(figures.success_by_task(both, style).axes[0]) == ["Lift", *labels, "Can", *labels]
    assert texts(latency_memory(costs, style).axes[0]) == [
        "Lift",
        "alt",
        "bc",
        "diffusion",
        "Can",
        "alt",
        "bc",
        "diffusion",
    ]


def test_every_number_on_the_costs_axes_has_its_line(measures: list[MeasureRecord]) -> None:
    figure = drawn(lambda: latency_memory(measures[:3], policy_styles(m.label for m in measures)))
    for axis in (figure.axes[0].xaxis, figure.axes[1].xaxis):
        assert axis.get_minorticklocs().size == 0
        low, high = sorted(axis.get_view_interval())
        shown = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        assert len(shown) >= 2 and all(tick.gridline.get_visible() and tick.label1.get_text() for tick in shown)


def test_costs_are_marked_where_they_are_with_a_bar_to_the_99th_percentile() -> None:
    costs = [dataclasses.replace(measure("alt", p50=0.004, weights=3_000_000), latency_p99_s=0.006, table_bytes=0)]
    time, memory = latency_memory(costs, policy_styles(["alt"])).axes
    bar, dot = time.get_lines()
    assert list(bar.get_xdata()) == pytest.approx([4, 6]) and list(dot.get_xdata()) == pytest.approx([4])
    assert [text.get_text() for text in (*time.texts, *memory.texts)] == ["4.0", "3.0"]
    assert time.get_xlabel() == "one decision (ms, median; bar to p99)"


def test_a_row_without_a_time_has_its_bytes_alone() -> None:
    timed, untimed = measure("alt", p50=0.004), measure("bc", p50=None, weights=3_000_000)
    time, memory = latency_memory([timed, untimed], policy_styles(["alt", "bc"])).axes
    assert texts(time) == ["alt", "bc"] and len(time.texts) == 1 and len(memory.texts) == 2
    assert timed_and_weighed([untimed]).empty


def test_settings_and_presets_that_differ_are_named_beside_the_rows(measures: list[MeasureRecord]) -> None:
    figure = latency_memory(measures, policy_styles(m.label for m in measures))
    rows = [f"{label} ({preset})" for label in ("alt", "bc", "diffusion") for preset in ("paper", "small")]
    heads = ["images 84×84", "images 240×320"]
    assert figure.get_suptitle() == "Time and memory of a decision (cpu, 1 thread): left is better"
    assert texts(figure.axes[0]) == [heads[0], *rows, heads[1], *rows]


def test_rows_without_images_stand_beside_those_with_images_of_one_size(measures: list[MeasureRecord]) -> None:
    seen, blind = measures[0], dataclasses.replace(measures[1], image_size=None)
    figure = latency_memory([seen, blind], policy_styles(["alt", "bc"]))
    assert texts(figure.axes[0]) == ["alt", "bc"]
    assert "(cpu, 1 thread, images 84×84)" in figure.get_suptitle()


def test_an_axis_of_costs_that_hardly_differ_has_few_ticks() -> None:
    costs = [measure(label, p50=p50) for label, p50 in (("alt", 0.015), ("bc", 0.016))]
    figure = drawn(lambda: latency_memory(costs, policy_styles(["alt", "bc"])))
    for axis in figure.axes:
        low, high = axis.get_xlim()
        assert 2 <= sum(low <= tick <= high for tick in axis.get_xticks()) <= 6
