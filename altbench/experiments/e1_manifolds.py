"""E1: which networks return their training points, and which draw the whole curve."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from altbench.core.words import listed
from altbench.experiments.shared.arrays import read_arrays, write_arrays
from altbench.experiments.shared.experiment import Experiment, Say
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.sections import Report, Reported, Section
from altbench.experiments.shared.sweeps import Preset
from altbench.experiments.shared.texts import frame_table, percent, prose
from altbench.report.drawing.layout import headline, legend
from altbench.report.style import COLOURS, styled
from altbench.report.table import Table, rate_text
from altbench.stats.rates import rate_of
from altbench.system.devices import resolve_device

if TYPE_CHECKING:
    from altbench.experiments.e1_diffusion import ToyResult, ToySettings

TOLERANCE = 0.05
"""Distance within which a sample counts as at a training point, or on the curve.

In the plane's units; the curves are 2 to 4 wide and high.
"""
RECALLS = 0.5
"""Least share recalled beyond chance of a model that is called a lookup table."""
FOLLOWS = 0.5
"""Least share of samples on the curve of a model that is said to draw it."""

NETWORKS = ("small net", "large net")
DATA = {"small data": 20, "large data": 100_000}
"""Training points."""
EPOCHS = {"small data": 1000, "large data": 100}
"""Epochs of training, as in the paper."""
SHOWN = 1000
"""How many of a model's samples are published and drawn: the first ones."""
REPEATS = {"small data": 1000, "large data": 1}
"""How often an epoch sees each point."""
LARGE: Mapping[str, tuple[int, int]] = {"small": (128, 6), "paper": (1024, 10)}
"""Width and number of hidden layers of the large net, by preset.

The small net is the paper's in both presets.
"""

SIZES: Mapping[str, str] = {
    "paper": "Settings are the paper's throughout.",
    "small": """
        `small` keeps the paper's small net, points and schedule; its large net has 6 hidden layers of 128 (the paper's:
        10 of 1,024), batches of 512 and a learning rate of 1e-3, and trains for 120 or 10 epochs.
        """,
}
METHOD = """
    {size} A model is called a lookup table if it puts more of its samples at training
    points than chance does: at least {recalls} of what chance leaves. It is said to
    draw the curve if at least {follows} of its samples are on it. With 100,000 points
    every part of the curve is at a training point, so that recall says nothing there.
    """
CAPTION = """
    Each dot is a sample, of {shown:,}: vermilion if it is within the tolerance of a training point,
    blue otherwise. Rings are the training points, if there are 20. The grey line is the
    curve that they were taken from.
    """
NOTE = """
    Share of 5,000 samples within {tolerance} of a training point or of the curve, with Wilson 95 % intervals. Chance: the
    share of the curve that is as near to a training point.
    """
SUMMARY = "Models that behave as lookup tables{so_far}: {kinds} ({count} of {known} models)."
SUMMARY_NONE = "None of {known} models behaves as a lookup table."


@dataclass(frozen=True)
class Combination:
    """A network, an amount of data and a curve."""

    network: str
    data: str
    shape: str

    @property
    def name(self) -> str:
        """Its name in reports."""
        return f"{self.shape}, {self.network}, {self.data}"


def combinations() -> Iterator[Combination]:
    """Yield all sixteen combinations."""
    from altbench.experiments.e1_diffusion import SHAPES

    return (Combination(network, data, shape) for shape in SHAPES for data in DATA for network in NETWORKS)


def settings(one: Combination, preset: Preset) -> ToySettings:
    """Return how a combination is trained.

    At `paper` as in the paper; at `small` the large net is smaller and trains less.
    """
    from altbench.experiments.e1_diffusion import ToySettings

    large, few = one.network == "large net", one.data == "small data"
    width, layers = LARGE[preset] if large else (24, 1)
    common: dict[str, Any] = {"shape": one.shape, "width": width, "layers": layers}
    common |= {"points": DATA[one.data], "repeats": REPEATS[one.data]}
    if large and preset == "small":
        return ToySettings(**common, epochs=120 if few else 10, learning_rate=1e-3, batch=512)
    return ToySettings(**common, epochs=EPOCHS[one.data], learning_rate=1e-4 if large and few else 1e-3)


def compute(run: ExperimentRun, say: Say) -> None:
    """Train and sample every combination that is missing."""
    import torch

    from altbench.experiments.e1_diffusion import fit_and_sample

    device = resolve_device("auto")
    torch.set_num_threads(1)  # results depend on the number of threads in their last bits
    for one in combinations():
        chosen = settings(one, run.preset)
        path = result_path(run, chosen, device)
        if not path.is_file():
            say(f"{one.name}: {chosen.layers} hidden layers of {chosen.width}, {chosen.epochs} epochs")
            write_result(path, fit_and_sample(chosen, device, say))


def result_path(run: ExperimentRun, chosen: ToySettings, device: str) -> Path:
    """Return where a model's samples lie.

    The name changes with whatever changes the samples: settings, torch and device.
    """
    made_with = {"settings": asdict(chosen), "torch": version("torch"), "device": device}
    digest = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()
    return run.own / f"{chosen.shape}-{digest[:16]}.npz"


def write_result(path: Path, result: ToyResult) -> None:
    """Write a result as plain arrays, whole or not at all."""
    write_arrays(path, **asdict(result))


def read_result(path: Path) -> ToyResult | None:
    """Read what `write_result` wrote; None if the file is missing."""
    from altbench.experiments.e1_diffusion import ToyResult

    found = read_arrays(path)
    if found is None:
        return None
    return ToyResult(found["samples"], found["training"], found["losses"], int(found["parameters"]))


def report(run: ExperimentRun) -> Report:
    """Report the table of all combinations and the picture of their samples."""
    device = resolve_device("auto")
    found = {one: read_result(result_path(run, settings(one, run.preset), device)) for one in combinations()}
    data = _measured(found, run.preset)
    there = {one: result for one, result in found.items() if result is not None}
    return Report(
        summary=_summary(data),
        sections=(
            Section(
                "Samples",
                prose(CAPTION, shown=SHOWN),
                {"samples": _samples(there)} if there else {},
                ("samples",) if there else (),
            ),
            Section("Where samples land", _method(run.preset), {"nearness": _table(data)}),
        ),
        reported=(Reported("behaves as a lookup table", "large net with small data only", _lookups(data)),),
        missing=tuple(one.name for one, result in found.items() if result is None),
    )


def _measured(found: Mapping[Combination, ToyResult | None], preset: Preset) -> pd.DataFrame:
    """Measure every combination, in a row each; without a result its numbers are empty."""
    from altbench.experiments.e1_diffusion import nearness

    rows = []
    for one, result in found.items():
        chosen = settings(one, preset)
        row: dict[str, Any] = {**asdict(one), "width": chosen.width, "layers": chosen.layers, "points": chosen.points}
        if result is not None:
            near = nearness(result, one.shape, TOLERANCE)
            row |= {"parameters": result.parameters, "loss": result.losses[-1], **asdict(near)}
            row["beyond_chance"] = _beyond(near.recalled / near.total, near.chance)
            row["verdict"] = _verdict(near.on_curve / near.total, row["beyond_chance"])
        rows.append(row)
    columns = ["parameters", "loss", "recalled", "on_curve", "total", "chance", "beyond_chance", "verdict"]
    return pd.DataFrame(rows, columns=[*asdict(next(iter(found))), "width", "layers", "points", *columns])


def _beyond(recalled: float, chance: float) -> float | None:
    """Rescale the share recalled so that chance is 0 and all is 1.

    None if chance is nearly all: then a recalled point and a drawn one are the same.
    """
    return None if chance > 0.95 else (recalled - chance) / (1 - chance)


def _verdict(on_curve: float, beyond: float | None) -> str:
    if beyond is not None and beyond >= RECALLS:
        return "lookup table"
    return "draws the curve" if on_curve >= FOLLOWS else "neither"


def _table(data: pd.DataFrame) -> Any:
    def share(column: str) -> list[str]:
        pairs = zip(data[column], data["total"], strict=True)
        return [rate_text(rate_of(int(k), int(n)), counts=False) if pd.notna(k) else "" for k, n in pairs]

    texts = {
        "curve": list(data["shape"]),
        "network": list(data["network"]),
        "data": list(data["data"]),
        "parameters": ["" if pd.isna(p) else f"{int(p):,}" for p in data["parameters"]],
        "at a training point": share("recalled"),
        "chance": ["" if pd.isna(c) else f"{100 * c:.0f} %" for c in data["chance"]],
        "on the curve": share("on_curve"),
        "verdict": ["" if pd.isna(v) else v for v in data["verdict"]],
    }
    return frame_table("Where samples land", data, texts, prose(NOTE, tolerance=TOLERANCE), names=3)


def _method(preset: Preset) -> str:
    return prose(METHOD, size=prose(SIZES[preset]), recalls=percent(RECALLS), follows=percent(FOLLOWS))


def _lookups(data: pd.DataFrame) -> str:
    known = data.dropna(subset=["verdict"])
    if known.empty:
        return ""
    texts = []
    for network in NETWORKS:
        for amount in DATA:
            own = known[(known["network"] == network) & (known["data"] == amount)]
            hits = int((own["verdict"] == "lookup table").sum())
            texts += [f"{network}, {amount}: {hits} of {len(own)}"] if len(own) else []
    return "; ".join(texts)


def _summary(data: pd.DataFrame) -> str:
    known = data.dropna(subset=["verdict"])
    if known.empty:
        return ""
    where = known[known["verdict"] == "lookup table"]
    kinds = sorted({f"{net} with {amount}" for net, amount in zip(where["network"], where["data"], strict=True)})
    if not kinds:
        return prose(SUMMARY_NONE, known=len(known))
    so_far = "" if len(known) == len(data) else f" ({len(known)} of {len(data)} models so far)"
    return prose(SUMMARY, so_far=so_far, kinds=listed(kinds), count=len(where), known=len(known))


# ---------------------------------------------------------------------------------------------------------- picture


def _samples(found: Mapping[Combination, ToyResult]) -> Table:
    """Return the points that the figure shows, a CSV alone.

    `kind`: "recalled" (a sample at a training point), "sample" or "training"; training
    points only of small data.
    """
    parts = []
    for one, result in found.items():
        few = len(result.training) < 1000
        near = _near_training(result)[:SHOWN] if few else np.zeros(min(SHOWN, len(result.samples)), bool)
        points, kinds = result.samples[:SHOWN], np.where(near, "recalled", "sample")
        if few:
            points = np.concatenate([points, result.training])
            kinds = np.concatenate([kinds, np.full(len(result.training), "training")])
        x, y = points.round(3).T
        parts.append(pd.DataFrame({**asdict(one), "kind": kinds, "x": x, "y": y}))
    return Table("Samples", pd.concat(parts, ignore_index=True), (), f"The first {SHOWN:,} samples of each model.")


def figures(tables: Tables) -> Figures:
    """Draw the samples of every model."""
    return drawn(samples=lambda: draw(tables["samples"], tables["nearness"]))


def draw(samples: pd.DataFrame, nearness: pd.DataFrame) -> Figure:
    """Draw 4 × 4 panels: a row per curve, a column per network and amount of data."""
    from altbench.experiments.e1_diffusion import SHAPES

    columns = [(data, network) for data in DATA for network in NETWORKS]
    points = dict(iter(samples.groupby(["network", "data", "shape"])))
    numbers = {(r["network"], r["data"], r["shape"]): r for _, r in nearness.iterrows()}
    with styled():
        figure = Figure(figsize=(8.2, 8.4), layout="constrained")
        axes = figure.subplots(len(SHAPES), len(columns), sharex="row", sharey="row")
        for row, shape in zip(axes, SHAPES, strict=True):
            for axis, (data, network) in zip(row, columns, strict=True):
                key = (network, data, shape)
                _panel(axis, points.get(key), numbers.get(key), shape)
        for axis, (data, network) in zip(axes[0], columns, strict=True):
            # Above the panel's own title, whose smaller letters fit the width of a panel.
            place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center"}
            axis.annotate(f"{network}\n{DATA[data]:,} points", (0.5, 1.0), (0, 14), **place)
        headline(figure, "Samples of diffusion models trained on points of a curve")
        legend(figure, _legend())
    return figure


def _panel(axis: Axes, points: pd.DataFrame | None, numbers: pd.Series | None, shape: str) -> None:
    """Draw one model's points; its curve is in the middle."""
    from altbench.experiments.e1_diffusion import outline

    curve = outline(shape)
    middle, reach = (curve.min(axis=0) + curve.max(axis=0)) / 2, 0.72 * float(np.ptp(curve, axis=0).max())
    axis.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach))
    axis.set(aspect="equal", xticks=[], yticks=[])
    axis.grid(visible=False)
    seaborn.despine(ax=axis, left=True, bottom=True)
    axis.plot(*curve.T, color="0.45", linewidth=0.9, zorder=1)
    if points is None or numbers is None:
        axis.text(middle[0], middle[1], "not run", ha="center", va="center", color="0.5", fontsize=8)
        return
    for kind, colour, order in (("sample", COLOURS[0], 2), ("recalled", COLOURS[3], 3)):
        x, y = points.loc[points["kind"] == kind, ["x", "y"]].to_numpy(float).T
        axis.scatter(x, y, s=2.2, linewidths=0, color=colour, alpha=0.5, zorder=order, rasterized=True)
    x, y = points.loc[points["kind"] == "training", ["x", "y"]].to_numpy(float).T
    axis.scatter(x, y, s=26, facecolors="none", edgecolors="0.1", linewidths=0.7, zorder=4, rasterized=True)
    recalled = f"recalled {percent(numbers['recalled'] / numbers['total'])}, " if len(x) else ""
    axis.set_title(f"{recalled}on the curve {percent(numbers['on_curve'] / numbers['total'])}", fontsize=7, pad=2)


def _near_training(result: ToyResult) -> Any:
    gaps = np.linalg.norm(result.samples[:, None] - result.training[None], axis=-1)
    return gaps.min(axis=1) < TOLERANCE


def _legend() -> list[Line2D]:
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o"}
    return [
        Line2D([], [], label="sample at a training point (recalled)", color=COLOURS[3], markersize=4, **dot),
        Line2D([], [], label="other sample", color=COLOURS[0], markersize=4, **dot),
        Line2D([], [], label="training point", markerfacecolor="none", markeredgecolor="0.1", markersize=6, **dot),
        Line2D([], [], label="curve", color="0.45"),
    ]


EXPERIMENT = Experiment(
    id="E1",
    name="toy-manifolds",
    title="Diffusion models of points on curves",
    question="Which combination of network and data makes a diffusion model return its training points?",
    report=report,
    figures=figures,
    compute=compute,
)
