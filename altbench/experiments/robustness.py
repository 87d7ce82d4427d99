"""Perturbed images and scenes: which policies still succeed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from altbench.core import registry
from altbench.core.words import listed
from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.matrix import Where, clean, converged, heat_map, label_rows, matrix, matrix_table
from altbench.experiments.shared.sections import Report, Section
from altbench.experiments.shared.sweeps import (
    EPISODES,
    KEY,
    POLICIES,
    N,
    Preset,
    evaluation,
    make_sweep,
    row,
    without_thumbnails,
)
from altbench.experiments.shared.texts import frame_table, percent, prose
from altbench.report.drawing.stars import starred
from altbench.report.flags import thumbnails_note
from altbench.report.style import words
from altbench.report.success import HOLM, SIGNIFICANT
from altbench.report.table import Table, rate_text
from altbench.stats.paired import family_tests
from altbench.stats.rates import Rate, countable, crossed_rate, missing, success_rate
from altbench.sweeps.spec import CLEAN, EvaluationEntry, PerturbationEntry, SweepSpec

SEVERITY = 3
"""Severity of every family, of 1 to 5."""
EACH = 50
"""Episodes per family and policy; they start as the first of the unperturbed ones."""
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
"""Families by what they perturb: the camera's images, or the scene itself."""
UNPERTURBED = "undisturbed"
"""Value of published columns."""
ROBUST, AUGMENTED = "alt_plus_robust", "bc_augmented"
"""Labels of ALT+ with its preset `robust`, and of bc with its augmentation.

The second shows how much the augmentation alone is worth.
"""
UNTUNED = (*POLICIES, "fisher")
"""The rows of every experiment, and the lookup that weighs pixels: neither was trained for perturbed images."""
ROWS = (*UNTUNED, KEY, ROBUST, AUGMENTED)

METHOD = """
    Lift, {n} demonstrations, split `recall`: only the image differs from the
    demonstrations. {each} episodes per family at severity {severity} of 5, with the
    same starts and the same perturbations for all policies; {episodes} unperturbed
    episodes beside them. Training shifts or crops images a little, and ALT's also
    jitters their colours. `{robust}` is `alt_plus` trained on perturbed images: in half
    of the samples, colours are jittered, fields of random colours blended in, and
    rectangles painted over. `{augmented}` is `bc` trained in the same way. Contrast,
    occlusion, fog and noise are therefore not new to these two; photographs,
    distractors, textures, blur and other viewpoints are.
    """
WITHOUT = "`{key}` is `alt` without plain thumbnails in its key."
POOLED_NOTE = """
    Successes/episodes and rate, with a 95 % interval in which both initial poses and
    families are random (two-way clusters, Wilson's interval of the effective counts):
    it is about other families of the kind. Families better, worse: than the
    policy's that p is against. p: exact test that flips the sign of each family's
    difference, Holm-corrected; {families} families allow no p below {least:.1g} before the
    correction. {holm} Only policies that have played every family are shown, and none is
    tested whose network has not converged.
    """
CARRIES = """
    One checkpoint per policy and one set of demonstrations. `recall` rewards a policy
    that does not look again: blind playback of the right demonstration needs none of
    these images after the first. Nothing is known of `uniform`. Families are related
    (five of blur and compression, three of noise) and were not drawn at random. `{robust}`
    was tuned under eleven of these families at this severity, with other episodes;
    no other policy was tuned so. {worth}
    """
ALIKE_TRAINED = "`{augmented}` is trained as long, and acts with averaged weights as well."
UNDERTRAINED = """
    `{augmented}` has a quarter of its training steps and no averaged weights, so that it
    does not tell what the augmentation is worth.
    """
FLAGS = """
    Does a raised flag mean that the policy will fail? Thresholds are calibrated so that
    5 % of unperturbed episodes are flagged. The policies act whether or not a flag is
    raised.
    """
FLAGS_NOTE = """
    Successes/episodes and rate, with 95 % intervals: of perturbed episodes as above, over
    initial poses and families; of the others over poses.
    """
SUMMARY = "Over {families} families of perturbed {kind}: {rates}{verdict}."
UNRANKED = "; {rows} {have} not converged, and {are} not compared"
ALIKE = "; {best} is not significantly better than {alike}"
BEST = "; {best} is significantly better than every other"


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Ask for every row, unperturbed and under each family; the last two are trained for it."""
    rows = [row(policy, preset) for policy in UNTUNED]
    rows += [
        *without_thumbnails(preset),
        row("alt_plus", preset, ROBUST, **_robust_settings(preset)),
        row("bc", preset, AUGMENTED, **_augmentation(preset)),
    ]
    return [
        make_sweep(f"robustness-{kind}", rows, [evaluation("recall"), _perturbed(families)])
        for kind, families in FAMILIES.items()
    ]


def _robust_settings(preset: Preset) -> dict[str, Any]:
    """Return what `robust` changes of ALT+; at `paper` without its number of steps."""
    # Read from the policy: a change of its preset makes this row a new one.
    robust = dict(registry.policy("alt_plus").presets["robust"])
    return robust if preset == "small" else {name: value for name, value in robust.items() if name != "train_steps"}


def _augmentation(preset: Preset) -> dict[str, Any]:
    """Return the settings of `robust` that bc has too: training images, steps and averaging."""
    known = registry.policy("bc").config_type.model_fields
    averaging = {"ema_power": registry.policy("alt_plus").config_type.model_fields["ema_power"].default}
    return {name: value for name, value in {**averaging, **_robust_settings(preset)}.items() if name in known}


def _perturbed(families: Sequence[str]) -> EvaluationEntry:
    entries = [PerturbationEntry(name=name, severities=(SEVERITY,)) for name in families]
    return evaluation("recall", EACH, perturbations=entries)


def report(run: ExperimentRun) -> Report:
    """Report success by family, over all families of a kind, and flags."""
    rows = label_rows(run, ROWS)
    found = {kind: matrix(run, rows, _columns(families)) for kind, families in FAMILIES.items()}
    pooled = {kind: _pooled(run, list(rows), families) for kind, families in FAMILIES.items()}
    sections = (
        Section(
            "Over all families",
            _method(run),
            {f"pooled_{kind}": table for kind, table in pooled.items() if not table.data.empty},
            ("success",),
        ),
        *(
            Section(
                f"Perturbed {kind}",
                "",
                {kind: matrix_table(f"Success on recall, {kind} perturbed", matrix_, "family", turned=True)},
            )
            for kind, matrix_ in found.items()
        ),
        Section("What the flag says", prose(FLAGS), {"flags": _flags(run, list(rows))}),
    )
    return Report(_summary(pooled), sections)


def figures(tables: Tables) -> Figures:
    """Draw success by family and policy."""
    title = f"Lift, {N} demonstrations, recall: success in %, severity {SEVERITY}"
    return drawn(success=lambda: heat_map(title, _groups(tables), "family"))


def _groups(tables: Tables) -> dict[str, pd.DataFrame]:
    """Return the unperturbed rates, and those of each kind of family."""
    kinds = {kind: tables[kind] for kind in FAMILIES}
    first = next(iter(kinds.values()))
    clean = first[first["family"] == UNPERTURBED].assign(family="unperturbed")
    return {" ": clean, **{kind: one[one["family"] != UNPERTURBED] for kind, one in kinds.items()}}


def _columns(families: Sequence[str]) -> dict[str, Where]:
    return {UNPERTURBED: clean("recall"), **{words(name): _where(name) for name in families}}


def _where(family: str) -> Where:
    return {"split": "recall", "perturbation": family, "severity": SEVERITY}


def _pooled(run: ExperimentRun, labels: Sequence[str], families: Sequence[str]) -> Table:
    """Tabulate success over all of `families`, and test the best against the others."""
    frame = run.episodes()
    frame = frame[(frame["split"] == "recall") & (frame["severity"] == SEVERITY) & frame["perturbation"].isin(families)]
    groups = {label: frame[frame["label"] == label] for label in labels}
    # A policy that lacks a family would be compared on easier or harder conditions.
    whole = [label for label, group in groups.items() if set(group["perturbation"]) == set(families)]
    rates = {label: crossed_rate(groups[label], "perturbation") for label in whole}
    # Nothing is tested while a row lacks episodes, which might be its hard ones.
    complete = not any(missing(groups[label]) for label in whole)
    tested = [label for label in whole if converged(groups[label])] if complete else []
    best = max(tested, key=lambda label: rates[label].value or 0.0, default="")
    others = [label for label in tested if label != best]
    tests = family_tests(groups[best], [groups[x] for x in others], "perturbation") if others else []
    chances = {label: test.p for label, test in zip(others, tests, strict=True)}
    signs = {label: _families(groups[label], groups[best]) for label in others}
    data = pd.DataFrame(
        [
            {
                "policy": label,
                **{name: getattr(rates[label], name) for name in ("successes", "episodes", "low", "high")},
                "rate": rates[label].value,
                "best": label == best,
                "p_holm": chances.get(label),
                "families_better": signs.get(label, (None, None))[0],
                "families_worse": signs.get(label, (None, None))[1],
            }
            for label in whole
        ]
    )
    texts = {
        "policy": whole,
        f"success over {len(families)} families": [
            starred(rate_text(rates[label]), not converged(groups[label])) for label in whole
        ],
        "families better, worse": [", ".join(map(str, signs[x])) if x in signs else "" for x in whole],
        f"p against {best}" if best else "p": [f"{chances[x]:.2g}" if x in chances else "" for x in whole],
    }
    note = prose(POOLED_NOTE, families=len(families), least=2 * 0.5 ** len(families), holm=HOLM.format(part="table"))
    return frame_table(f"Success over all {len(families)} families", data, texts, note)


def _families(own: pd.DataFrame, other: pd.DataFrame) -> tuple[int, int]:
    """Return in how many families `own` succeeds more often, and less often."""
    rates = [countable(frame).groupby("perturbation")["success"].mean() for frame in (own, other)]
    return int((rates[0] > rates[1]).sum()), int((rates[0] < rates[1]).sum())


def _flags(run: ExperimentRun, labels: Sequence[str]) -> Table:
    """Tabulate how often policies raise flags, and success with and without a flag."""
    frame, rows, texts = countable(run.episodes()), [], []
    frame = frame[frame["flagged"].notna()]
    for label in labels:
        for kind, families in {UNPERTURBED: (CLEAN,), **FAMILIES}.items():
            own = frame[(frame["label"] == label) & frame["perturbation"].isin(families)]
            if own.empty:
                continue
            flagged = own["flagged"].astype(bool)
            flags, *parts = (
                _rate(part, kind) for part in (own.assign(success=flagged, status="ok"), own[flagged], own[~flagged])
            )
            texts.append((label, kind, *(rate_text(part) for part in (flags, *parts))))
            values = (label, kind, flags.successes, flags.episodes, *(part.value for part in parts))
            rows.append(dict(zip(_FLAG_COLUMNS, values, strict=True)))
    heads = ("policy", "perturbed", "episodes with a flag", "success of those", "success of those without")
    columns = {head: [text[i] for text in texts] for i, head in enumerate(heads)}
    note = prose(FLAGS_NOTE) + thumbnails_note(frame[frame["label"].isin(labels)])
    return frame_table("Flags and success", pd.DataFrame(rows), columns, note, names=2)


def _rate(episodes: pd.DataFrame, kind: str) -> Rate:
    """Return the success rate of episodes; of perturbed ones over poses and families."""
    return success_rate(episodes) if kind == UNPERTURBED else crossed_rate(episodes, "perturbation")


_FLAG_COLUMNS = ("policy", "disturbed", "flagged", "episodes", "success_flagged", "success_unflagged")


def _method(run: ExperimentRun) -> str:
    worth = prose(UNDERTRAINED if AUGMENTED in run.with_other_settings else ALIKE_TRAINED, augmented=AUGMENTED)
    method = prose(METHOD, n=N, each=EACH, severity=SEVERITY, episodes=EPISODES, robust=ROBUST, augmented=AUGMENTED)
    without = [prose(WITHOUT, key=KEY)] if label_rows(run, (KEY,)) else []
    return " ".join([method, *without, prose(CARRIES, robust=ROBUST, worth=worth)])


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
    """Say whether the first is significantly better than the others."""
    others = ranked.iloc[1:]
    if others.empty or ranked["p_holm"].isna().all():
        return ""
    best = ranked.loc[ranked["best"], "policy"].iloc[0]
    alike = list(ranked.loc[ranked["p_holm"] >= SIGNIFICANT, "policy"])
    late = list(ranked.loc[ranked["p_holm"].isna() & ~ranked["best"], "policy"])
    have, are = ("have", "are") if len(late) > 1 else ("has", "is")
    unranked = prose(UNRANKED, rows=listed(late), have=have, are=are) if late else ""
    return (prose(ALIKE, best=best, alike=listed(alike)) if alike else prose(BEST, best=best)) + unranked


EXPERIMENT = Experiment(
    id="robustness",
    name="disturbed-images",
    title="Success when images or the scene are perturbed",
    question="Which policies still succeed when images look unlike the demonstrations', and do flags predict failure?",
    report=report,
    figures=figures,
    sweeps=sweeps,
)
