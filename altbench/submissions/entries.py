"""An archive as pages show it: its card, its numbers, its costs and its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pandas as pd

from altbench.core.errors import AltbenchError
from altbench.report.privileged import marked
from altbench.results.frames import load_episodes
from altbench.results.measures import load_measures
from altbench.rollout.records import MeasureRecord
from altbench.stats.rates import Rate, success_rate
from altbench.submissions.archive import opened
from altbench.submissions.cellspec import check_size
from altbench.submissions.manifest import Manifest, Shown, SubmissionError, read_manifest, read_shown
from altbench.submissions.verdict import Verdict, read_verdict, verdict_path
from altbench.submissions.verification.contents import checksums
from altbench.sweeps.spec import CLEAN
from altbench.system.fingerprint import Fingerprint, load_fingerprint

ROW = ["task", "n", "preset"]
"""The columns that tell an entry's rows apart."""
CONDITION = ["split", "perturbation", "severity"]


@dataclass(frozen=True)
class Number:
    """The success of a row of an entry in one condition."""

    task: str
    n: int
    preset: str
    split: str
    perturbation: str
    severity: int
    rate: Rate

    @property
    def condition(self) -> str:
        """The split, and what is perturbed."""
        return self.split if self.perturbation == CLEAN else f"{self.split}, {self.perturbation} {self.severity}"


@dataclass(frozen=True)
class Entry:
    """An archive that was read. `file`: its name. `verdict`: None if these very bytes have not been judged."""

    file: str
    digest: str
    size: int
    manifest: Manifest
    episodes: pd.DataFrame
    measures: Sequence[MeasureRecord]
    shown: Sequence[Shown]
    made_by: Fingerprint | None
    verdict: Verdict | None

    @property
    def slug(self) -> str:
        """The name of its page, without the suffix."""
        return self.file.removesuffix(".zip")

    @property
    def title(self) -> str:
        """The name that pages show."""
        policy = str(self.episodes["policy"].iloc[0])
        return marked(self.manifest.title, policy)

    @property
    def is_verified(self) -> bool:
        """Whether a verdict says that its records hold."""
        return self.verdict is not None and self.verdict.outcome == "verified"

    @property
    def standing(self) -> str:
        """What a reader may believe of it, in one or two words."""
        if self.verdict is None:
            return "not verified"
        words = {"refuted": "refuted", "unchecked": "not verified"}
        return words.get(self.verdict.outcome, "policy verified" if self.verdict.level == "policy" else "verified")

    @cached_property
    def numbers(self) -> tuple[Number, ...]:
        """The success of every row and condition."""
        found = []
        for key, group in self.episodes.groupby([*ROW, *CONDITION], sort=True):
            task, n, preset, split, perturbation, severity = cast("tuple[Any, ...]", key)
            rate = success_rate(group)
            found.append(Number(str(task), int(n), str(preset), str(split), str(perturbation), int(severity), rate))
        return tuple(sorted(found, key=lambda one: (one.task, one.n, one.preset, one.perturbation != CLEAN)))

    def measure(self, task: str, n: int) -> MeasureRecord | None:
        """Return how long a decision takes on a task; None if that was not measured."""
        own = [m for m in self.measures if m.n == n and m.task in (task, "") and m.latency_p50_s]
        return own[0] if own else None

    def facts(self) -> list[tuple[str, str]]:
        """Return what the manifest and the fingerprint say, as names and values."""
        manifest, made_by = self.manifest, self.made_by
        versions = {**manifest.physics, **{f"task {t}": str(v) for t, v in sorted(manifest.tasks.items())}}
        found = [
            ("suite", f"version {manifest.suite}, protocol {manifest.protocol}"),
            ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
            ("packed by", f"altbench {manifest.altbench}"),
            (
                "checkpoints",
                f"{len(manifest.points)}{'' if any(p.folder for p in manifest.points) else ', not included'}",
            ),
        ]
        for one in self.shown:
            by = one.expert or f"the task's expert, root seed {one.root_seed}"
            found.append((f"demonstrations of {one.task}", f"{one.n}, by {by}, SHA-256 {one.checksum[:16]}"))
        if made_by is not None:
            found.append(("played on", ", ".join(filter(None, (made_by.cpu, made_by.gpu, made_by.os)))))
        return [*found, ("SHA-256 of the archive", self.digest), ("size", f"{self.size / 1000:,.0f} kB")]


def read_entry(path: Path, verdict: Verdict | None = None) -> Entry:
    """Return the archive or folder at `path` for a page.

    `verdict`: None reads the one beside it, and passes over one of other bytes.
    SubmissionError if the archive is damaged.
    """
    with opened(path) as archive:
        manifest = read_manifest(archive.folder)
        if (found := checksums(archive.folder, manifest)).state == "failed":
            raise SubmissionError(f"{path}: {found.text}")
        for cell in sorted((archive.folder / "cells").glob("*.parquet")):
            check_size(cell)
        shown = read_shown(archive.folder)
        collected = {(one.task, one.n): one.collected for one in shown}
        frame = load_episodes(archive.folder)
        if frame.empty:
            raise SubmissionError(f"{path}: it holds no episodes")
        own = zip(frame["task"], frame["n"], strict=True)
        frame = frame.assign(collected=[collected.get((str(t), int(n)), int(n)) for t, n in own])
        measures = load_measures(archive.folder)
        made_by = load_fingerprint(archive.folder)
        size = path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
        if verdict is None:
            verdict = _beside(path)
        own_verdict = verdict if verdict is not None and verdict.digest == archive.digest else None
        return Entry(path.name, archive.digest, size, manifest, frame, measures, shown, made_by, own_verdict)


def _beside(path: Path) -> Verdict | None:
    """Return the verdict beside an archive; None if it is missing. A damaged one is an error."""
    place = verdict_path(path)
    if not place.is_file():
        return None
    try:
        return read_verdict(place)
    except AltbenchError as error:
        raise SubmissionError(f"{place}: not a verdict ({error})") from None


def megabytes(measure: MeasureRecord | None) -> float | None:
    """Return the weights and the table of a policy in MB; None if they were not measured."""
    if measure is None or measure.weights_bytes is None:
        return None
    total = (measure.weights_bytes + (measure.table_bytes or 0)) / 1e6
    return total if math.isfinite(total) else None
