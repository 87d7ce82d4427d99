"""The checks that need no simulator: what records say of themselves, and whether the suite allows it.

Each returns its faults in words; none means that the check is passed.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence

from altbench.core.seeds import Stream, derive_seed
from altbench.core.spec import digest
from altbench.results.frames import episodes_frame
from altbench.rollout.records import CellResult, EpisodeRecord
from altbench.stats.rates import countable, succeeded
from altbench.submissions.cellspec import PlayedCell
from altbench.submissions.manifest import Claim, Manifest, Point
from altbench.submissions.suite import LEAST_EPISODES, ROOT_SEED, SPLITS
from altbench.sweeps.needs import CALIBRATE
from altbench.sweeps.spec import CLEAN


def broken_rules(found: Sequence[CellResult]) -> list[str]:
    """Return what the suite does not allow of records that are to be packed."""
    cells = [PlayedCell(one) for one in found]
    return [*columns(cells), *seeds(cells), *episodes(cells)]


def columns(cells: Sequence[PlayedCell]) -> list[str]:
    """Check that every checkpoint was played on the suite's splits, under the suite's settings."""
    faults = []
    points = sorted({(c.header.task, c.header.n, c.header.train_seed) for c in cells})
    for task, n, train_seed in points:
        own = [c for c in cells if (c.header.task, c.header.n, c.header.train_seed) == (task, n, train_seed)]
        clean = {c.spec.split: len(c.episodes) for c in own if c.is_clean}
        for split in SPLITS:
            if clean.get(split, 0) < LEAST_EPISODES:
                faults.append(
                    f"{task}, N {n}, training seed {train_seed}: expected at least {LEAST_EPISODES} unperturbed "
                    f"episodes of {split}, got {clean.get(split, 0)}"
                )
    per_task: dict[str, set[tuple[int, ...]]] = {}
    for task, n, _ in points:
        per_task.setdefault(task, set()).add(tuple(sorted(s for t, m, s in points if (t, m) == (task, n))))
    for task, sets in per_task.items():
        if len(sets) > 1:
            faults.append(f"{task}: expected the same training seeds for every N, got {sorted(sets)}")
    faults += [
        f"{c.header.name}: expected the task's own horizon, got {c.spec.horizon} steps" for c in cells if c.spec.horizon
    ]
    return faults


def keys(cells: Sequence[PlayedCell], manifest: Manifest) -> list[str]:
    """Check that every key is the digest of its specification, and that all parts name the same."""
    points = {point.key: point for point in manifest.points}
    faults = [fault for point in manifest.points for fault in _point_faults(point, manifest)]
    for cell in cells:
        head, spec, name = cell.header, cell.spec, cell.header.name
        if digest(json.loads(head.spec_json)) != head.key:
            faults.append(f"{name}: its key is not the digest of its specification")
        point = points.get(spec.checkpoint)
        if point is None or spec.checkpoint != head.checkpoint_key:
            faults.append(f"{name}: the manifest does not name its checkpoint")
            continue
        told = (head.task, head.n, head.train_seed, head.policy.rpartition("/")[2])
        column = cell.column
        shown = (head.split, head.perturbation, head.severity)
        whole = f"{head.task.lower()}/{head.label}/n{head.n}/s{head.train_seed}/{column.where}/{column.entry.title}"
        whole += "" if column.entry.name == CLEAN else f"-{column.severity}"
        if (
            told != (point.task, point.n, point.train_seed, point.policy)
            or shown != (column.where, column.entry.title, column.severity)
            or {head.label, spec.label} != {manifest.label}
            or head.name != whole
        ):
            faults.append(f"{name}: its header names another cell than its specification")
        if spec.render_profile != manifest.render_profile:
            faults.append(f"{name}: the manifest names another render profile than its specification")
    twice = [name for name, count in Counter(c.header.name for c in cells).items() if count > 1]
    return faults + [f"{name}: the cell is there twice" for name in twice]


def _point_faults(point: Point, manifest: Manifest) -> list[str]:
    try:
        found = json.loads(point.specification)
        if digest(found) != point.key:
            return [f"{point.name}: its key is not the digest of its specification"]
        task, version = found["task"][:2]
        told = (task, found["policy"][0], found["policy"][1], found["n"], found["train_seed"])
        config = {**point.config, **found["config"]}
        if not isinstance(found.get("adapter", {}), dict):
            raise TypeError("an adapter is a table")
    except (ValueError, TypeError, KeyError, RecursionError):
        return [f"{point.name}: not a checkpoint's specification"]
    if told != (point.task, point.policy, manifest.policy_version, point.n, point.train_seed):
        return [f"{point.name}: the manifest names another checkpoint than its specification"]
    if manifest.tasks.get(task) != version:
        return [f"{point.name}: fitted on version {version} of {task}, the manifest names {manifest.tasks.get(task)}"]
    if config != point.config:
        return [f"{point.name}: the manifest names other settings than its specification"]
    return []


def episodes(cells: Sequence[PlayedCell]) -> list[str]:
    """Check that every cell holds each of its episodes once: none left out, none twice, none unplayed."""
    faults = []
    for cell in cells:
        found, wanted = [e.episode for e in cell.episodes], list(range(cell.spec.episodes))
        if found != wanted:
            lacking = sorted(set(wanted) - set(found))
            what = f"{len(lacking)} are missing, such as {lacking[0]}" if lacking else f"got {len(found)}"
            faults.append(f"{cell.header.name}: expected the episodes 0 to {cell.spec.episodes - 1}, each once; {what}")
        lost = [e.episode for e in cell.episodes if e.status == "infra_error"]
        if lost:
            faults.append(f"{cell.header.name}: {len(lost)} episodes were not played, such as {lost[0]}")
        out = [e.status == "unsupported" for e in cell.episodes]
        if any(out) and (cell.is_clean or not all(out)):
            faults.append(f"{cell.header.name}: some episodes are left out as unsupported, and others are not")
    return faults


def seeds(cells: Sequence[PlayedCell]) -> list[str]:
    """Check that all seeds follow from the suite's root."""
    faults = []
    for cell in cells:
        if cell.spec.seed != ROOT_SEED:
            faults.append(
                f"{cell.header.name}: expected episodes of the root seed {ROOT_SEED}, got {cell.spec.seed}; other "
                "episodes may be easier"
            )
            continue
        stream: Stream = "calibrate" if cell.spec.split == CALIBRATE else "evaluate"
        for one in cell.episodes:
            if one.seed != derive_seed(ROOT_SEED, stream, one.episode):
                faults.append(f"{cell.header.name}, episode {one.episode}: its seed is not the suite's")
    return faults


def records(cells: Sequence[PlayedCell]) -> list[str]:
    """Check that each episode's record agrees with itself."""
    return [
        f"{cell.header.name}, episode {one.episode}: {fault}"
        for cell in cells
        for one in cell.episodes
        if (fault := _record_fault(one))
    ]


def _record_fault(one: EpisodeRecord) -> str:
    if one.steps != len(one.trajectory):
        return f"expected {one.steps} recorded steps, got {len(one.trajectory)}"
    if one.success and (one.status != "ok" or not one.steps):
        return f"a success with the status {one.status} after {one.steps} steps"
    if not all(_finite(step.action) and _finite(step.agent_pos) for step in one.trajectory):
        return "an action or a position is not a finite number"
    places = [decision.step for decision in one.decisions]
    if places != sorted(set(places)) or any(not 0 <= step <= one.steps for step in places):
        return "its decisions are not in the order of its steps"
    if places[:1] not in ([], [0]) or (one.steps and not places):
        return "its first decision is missing"
    scores = [decision.ood_score for decision in one.decisions if decision.ood_score is not None]
    if one.max_ood_score != max(scores, default=None):
        return "its highest score is not that of its decisions"
    if one.first_flagged_step != next((d.step for d in one.decisions if d.is_ood), None):
        return "its first flag is not that of its decisions"
    if any(not math.isfinite(d.latency_s) or d.latency_s < 0 for d in one.decisions):
        return "a decision took no time that could be"
    return ""


def _finite(values: Iterable[float]) -> bool:
    return all(math.isfinite(value) for value in values)


def tables(cells: Sequence[PlayedCell], manifest: Manifest) -> list[str]:
    """Check that the claimed numbers are those of the records."""
    found = {cell.header.key: claim_of(CellResult(cell.header, cell.episodes)) for cell in cells}
    claimed = {claim.key: claim for claim in manifest.claims}
    faults = [f"{found[key].cell}: no number is claimed of it" for key in found.keys() - claimed.keys()]
    for key, claim in claimed.items():
        own = found.get(key)
        if own is None:
            faults.append(f"{claim.cell}: claimed, and its records are missing")
        elif own != claim:
            faults.append(
                f"{claim.cell}: claimed {claim.successes} of {claim.episodes}, recorded {own.successes} of {own.episodes}"
            )
    return sorted(faults)


def claim_of(result: CellResult) -> Claim:
    """Return what a cell's records come to."""
    counted = countable(episodes_frame(result.header, result.episodes))
    won = int(succeeded(counted).sum())
    return Claim(cell=result.header.name, key=result.header.key, successes=won, episodes=len(counted))
