"""Disturbed images and scenes: which policy still succeeds where pictures differ from the demonstrations'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from altbench.experiments.shared.experiment import Experiment, ExperimentRun, Preset, Report, Section
from altbench.experiments.shared.matrix import Where, cells_of, clean, heat_map, matrix, matrix_table
from altbench.experiments.shared.sweeps import EPISODES, POLICIES, N, evaluation, make_sweep, row
from altbench.experiments.shared.texts import frame_table, listed, percent, prose, rate_text
from altbench.report.style import words
from altbench.report.success import SIGNIFICANT, flag_rate
from altbench.report.table import Table
from altbench.stats.paired import paired_tests
from altbench.stats.rates import countable, success_rate
from altbench.sweeps.spec import CLEAN, EvaluationEntry, PerturbationEntry, SweepSpec

SEVERITY = 3
"""Of 1 to 5, for every family."""
EACH = 50
"""Episodes per family and policy: the first of the unperturbed ones."""
FAMILIES = {
    "images": (
        *("brightness", "contrast", "saturation", "fog", "gaussian_noise", "shot_noise", "impulse_noise"),
        *("gaussian_blur", "defocus_blur", "motion_blur", "pixelate", "jpeg"),
        *("shift", "rotation", "occlusion", "photograph", "black_camera", "frozen_frame"),
    ),
    "scene": (
        *("light_strength", "light_direction", "light_colour", "object_colour", "table_texture", "room_texture"),
        *("distractors", "camera_pose"),
    ),
}
"""What is disturbed -> families: pictures as they come from the camera, and the scene before it is drawn."""
UNDISTURBED = "undisturbed"
AUGMENTATION: dict[str, Any] = {
    **{"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.05},
    **{"disturbed": 0.5, "overlay": 0.5, "erase": 1},
}
"""What `alt_plus`'s preset `robust` does to its training images."""
ROBUST, AUGMENTED = "alt_plus_robust", "bc_augmented"
"""ALT+ with that preset's settings; and behaviour cloning with its augmentation, which tells what that alone is worth."""
ROBUST_SETTINGS = {**AUGMENTATION, "appearance": 0.5, "familiar": 0.2, "shrinkage": 0.5, "shrinkage_unit": "miss"}
ROBUST_STEPS = 6000
"""At `small`."""
ROWS = (*POLICIES, ROBUST, AUGMENTED)

METHOD = """
    Lift, {n} demonstrations, split `recall`: only the picture differs from what was shown. {each} episodes a family,
    severity {severity} of 5, the same starts and the same disturbance for all policies ({episodes} undisturbed episodes
    beside them). Training shifts or crops pictures a little, and ALT's jitters their colours too. `{robust}` is `alt_plus`
    trained on disturbed images (colours jittered, fields of random colours blended in, rectangles painted over, in half of
    the samples), and `{augmented}` is `bc` trained so: contrast, occlusion, fog and noise are no news to these two;
    photographs, distractors, textures, blur and other viewpoints are.
    """
POOLED_NOTE = """
    Successes/episodes and rate; the interval has the effective counts (Rao and Scott 1992): an episode comes once per
    family, from the same start. p: signs of each episode's difference over all families flipped, exactly, Holm-corrected.
    Only policies that have played every family.
    """
FLAGS = """
    Does a raised flag mean that the policy will fail? Thresholds are calibrated for 5 % of unperturbed episodes; the
    policies act on all the same.
    """
FLAGS_NOTE = "Successes/episodes and rate, with 95 % intervals as above."
SUMMARY = "Over {families} families of disturbed {kind}: {rates}{verdict}."
ALIKE = "; {best} is not told apart from {alike}"
BEST = "; {best} is better than every other"


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Every policy, undisturbed and under each family; two of them trained for it."""
    steps: dict[str, Any] = {"train_steps": ROBUST_STEPS} if preset == "small" else {}
    rows = [row(policy, preset) for policy in POLICIES]
    rows += [
        row("alt_plus", preset, ROBUST, **ROBUST_SETTINGS, **steps),
        row("bc", preset, AUGMENTED, **AUGMENTATION),
    ]
    return [
        make_sweep(f"robustness-{kind}", rows, [evaluation("recall"), _disturbed(families)])
        for kind, families in FAMILIES.items()
    ]


def _disturbed(families: Sequence[str]) -> EvaluationEntry:
    entries = [PerturbationEntry(name=name, severities=(SEVERITY,)) for name in families]
    return evaluation("recall", EACH, perturbations=entries)


def report(run: ExperimentRun) -> Report:
    """Success by family, over all families of a kind, and what the flags say."""
    rows: dict[str, Where] = {name: {"label": name} for name in ROWS if cells_of(run, {"label": name})}
    found = {kind: matrix(run, rows, _columns(families)) for kind, families in FAMILIES.items()}
    pooled = {kind: _pooled(run, list(rows), families) for kind, families in FAMILIES.items()}
    everything = matrix(run, rows, _columns([name for families in FAMILIES.values() for name in families]))
    figure = heat_map(f"Lift, {N} demonstrations: success on recall in %, severity {SEVERITY}", everything)
    sections = (
        Section(
            "Over all families",
            _method(),
            {f"pooled_{kind}": table for kind, table in pooled.items() if not table.data.empty},
            {"success": figure} if figure else {},
        ),
        *(
            Section(
                f"Disturbed {kind}",
                "",
                {kind: matrix_table(f"Success on recall, {kind} disturbed", matrix_, "family", turned=True)},
            )
            for kind, matrix_ in found.items()
        ),
        Section("What the flag says", prose(FLAGS), {"flags": _flags(run, list(rows))}),
    )
    return Report(_summary(pooled), sections)


def _columns(families: Sequence[str]) -> dict[str, Where]:
    return {UNDISTURBED: clean("recall"), **{words(name): _where(name) for name in families}}


def _where(family: str) -> Where:
    return {"split": "recall", "perturbation": family, "severity": SEVERITY}


def _pooled(run: ExperimentRun, labels: Sequence[str], families: Sequence[str]) -> Table:
    """Success over all of `families`, and whether one policy is better than each other one."""
    frame = run.episodes()
    frame = frame[(frame["split"] == "recall") & (frame["severity"] == SEVERITY) & frame["perturbation"].isin(families)]
    groups = {label: frame[frame["label"] == label] for label in labels}
    whole = [label for label, group in groups.items() if set(group["perturbation"]) == set(families)]
    rates = {label: success_rate(groups[label]) for label in whole}
    best = max(whole, key=lambda label: rates[label].value or 0.0, default="")
    others = [label for label in whole if label != best]
    tests = paired_tests(groups[best], [groups[x] for x in others], ("train_seed", "perturbation")) if others else []
    chances = {label: test.p for label, test in zip(others, tests, strict=True)}
    data = pd.DataFrame(
        [
            {
                "policy": label,
                **{name: getattr(rates[label], name) for name in ("successes", "episodes", "low", "high")},
                "rate": rates[label].value,
                "best": label == best,
                "p_holm": chances.get(label),
            }
            for label in whole
        ]
    )
    texts = {
        "policy": whole,
        f"success over {len(families)} families": [rate_text(rates[label]) for label in whole],
        f"p against {best}" if best else "p": [f"{chances[x]:.2g}" if x in chances else "" for x in whole],
    }
    return frame_table(f"Success over all {len(families)} families", data, texts, prose(POOLED_NOTE))


def _flags(run: ExperimentRun, labels: Sequence[str]) -> Table:
    """By policy that raises flags: how often, and success of the episodes with and without one."""
    frame, rows, texts = countable(run.episodes()), [], []
    frame = frame[frame["flagged"].notna()]
    for label in labels:
        for kind, families in {UNDISTURBED: (CLEAN,), **FAMILIES}.items():
            own = frame[(frame["label"] == label) & frame["perturbation"].isin(families)]
            if own.empty:
                continue
            flagged = own["flagged"].astype(bool)
            flags, *parts = flag_rate(own), success_rate(own[flagged]), success_rate(own[~flagged])
            texts.append((label, kind, *(rate_text(part) for part in (flags, *parts))))
            values = (label, kind, flags.successes, flags.episodes, *(part.value for part in parts))
            rows.append(dict(zip(_FLAG_COLUMNS, values, strict=True)))
    heads = ("policy", "disturbed", "episodes with a flag", "success of those", "success of those without")
    columns = {head: [text[i] for text in texts] for i, head in enumerate(heads)}
    return frame_table("Flags and success", pd.DataFrame(rows), columns, FLAGS_NOTE, names=2)


_FLAG_COLUMNS = ("policy", "disturbed", "flagged", "episodes", "success_flagged", "success_unflagged")


def _method() -> str:
    return prose(METHOD, n=N, each=EACH, severity=SEVERITY, episodes=EPISODES, robust=ROBUST, augmented=AUGMENTED)


def _summary(pooled: Mapping[str, Table]) -> str:
    parts = []
    for kind, table in pooled.items():
        if table.data.empty:
            continue
        ranked = table.data.sort_values("rate", ascending=False, kind="stable")
        rates = [f"{label} {percent(rate)}" for label, rate in zip(ranked["policy"], ranked["rate"], strict=True)]
        numbers = {"families": len(FAMILIES[kind]), "kind": kind, "rates": listed(rates)}
        parts.append(prose(SUMMARY, **numbers, verdict=_verdict(ranked)))
    return " ".join(parts)


def _verdict(ranked: pd.DataFrame) -> str:
    """Whether the first is told apart from the others."""
    others = ranked.iloc[1:]
    if others.empty:
        return ""
    best, alike = ranked.iloc[0]["policy"], list(others.loc[others["p_holm"] >= SIGNIFICANT, "policy"])
    return prose(ALIKE, best=best, alike=listed(alike)) if alike else prose(BEST, best=best)


EXPERIMENT = Experiment(
    id="robustness",
    name="disturbed-images",
    title="Success where images or the scene are disturbed",
    question="Which policy still succeeds where pictures look different from the demonstrations', and does a flag say so?",
    report=report,
    sweeps=sweeps,
)
