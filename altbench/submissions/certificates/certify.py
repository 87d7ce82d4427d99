"""The work of `altbench certify`: the protocol, the audit, the rule, and what is written of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from altbench.audit import expert
from altbench.audit.calibration import calibrated_table
from altbench.audit.cases import audit_episodes, frame_of, training_trajectories
from altbench.core import registry
from altbench.core.errors import ConfigError
from altbench.core.spec import read_toml
from altbench.page import PAGE, write_page_of_run
from altbench.report.caveats import caveats, with_caveats
from altbench.report.table import Table, write_table
from altbench.results import cells
from altbench.results.run import Run
from altbench.results.training import training_of_run
from altbench.rollout.records import EpisodeRecord, MeasureRecord
from altbench.runner.main import run as run_sweep
from altbench.stats.calibrated import calibrate
from altbench.stats.clustering import initial_poses
from altbench.stats.memorisation import TrainingSet
from altbench.stats.rates import Rate, success_rate
from altbench.stats.trajectories import Source, find_distance
from altbench.submissions.certificates.rule import CERTIFICATE_VERSION, Decision, Evidence, decide
from altbench.sweeps.plan import Cell
from altbench.sweeps.spec import PolicyEntry, SweepSpec
from altbench.system import sealed
from altbench.system.console import say
from altbench.system.files import file_name

PROTOCOL = Path(__file__).with_name("protocol.toml")
"""The protocol: a sweep without the policy's own row."""
RECORD, PAGE_FILE, BADGE = "certificate.json", "certificate.html", "badge.svg"
"""What is written, besides the run's own files."""
DISTANCE = "resampled"
"""The distance of the audit between two motions."""
SOURCE: Source = "positions"
"""What of a motion the audit compares."""
AUDIT = Path("audit") / "certificate"
"""Where the audit lies in the run's folder: beside those of `altbench audit`, which the run's page shows."""
NEEDED = ("recall", "uniform")
"""The splits that the rule looks at."""


@dataclass(frozen=True)
class Judged:
    """A row of the protocol as the rule sees it. `rates`: split -> success."""

    label: str
    rates: dict[str, Rate]
    evidence: Evidence
    decision: Decision


@dataclass(frozen=True)
class Certificate:
    """The certificate of a policy on a task, with the controls that the same rule judges.

    `chance`: the success of random actions by split. `audit`: the distances behind the
    shares of copies. `epochs`, `converged`: of the fit; None for a policy without a rule
    for it.
    """

    own: Judged
    controls: tuple[Judged, ...]
    chance: dict[str, Rate]
    task: str
    n: int
    flags: Rate
    false_alarms: Rate
    measure: MeasureRecord | None
    audit: Table
    fingerprint: str
    epochs: float | None = None
    converged: bool | None = None

    @property
    def badge(self) -> str:
        """The badge's words: `recalls (Lift, N = 30)`."""
        return f"{self.own.decision.word} ({self.task}, N = {self.n})"


def protocol(policy: str, task: str, preset: str = "", label: str = "") -> SweepSpec:
    """Return the protocol's sweep for a policy.

    `policy`: a registered name, `file.py:Class`, or a server's URL. ConfigError for a
    task without a scripted expert: the audit would have nothing to compare with.
    """
    if task not in registry.names("expert"):
        known = [name for name in registry.names("task") if name in registry.names("expert")]
        raise ConfigError(f"{task}: expected a task with a scripted expert: {', '.join(known)}")
    values = read_toml(PROTOCOL)
    kind = registry.policy(policy)
    chosen = preset or next(iter(kind.preset_names()), "small")
    n = values["demonstrations"]["n"]
    entry = PolicyEntry(policy=policy, label=label, preset=chosen, n=(n,))
    floors = [one["policy"] for one in values["policies"]]
    if entry.name in (*floors, expert.EXPERT):
        raise ConfigError(
            f"{entry.name!r} is one of the protocol's own rows; give the policy another name with --label"
        )
    for evaluation in values["evaluations"]:
        if "policies" in evaluation:
            evaluation["policies"] = [entry.name]
    own = entry.model_dump(mode="json", exclude_defaults=True)
    changes = {
        "name": f"certificate-{file_name(task)}",
        "tasks": [task],
        "policies": [own, *({**one, "n": [n]} for one in values["policies"])],
    }
    return SweepSpec.parse({**values, **changes}, PROTOCOL.name)


def certify(
    sweep: SweepSpec, root: Path, workers: int | None, console: Console
) -> tuple[Certificate | None, Sequence[tuple[str, str]]]:
    """Run the protocol into `root` and judge; return the certificate, and what failed.

    What is finished is not played again. Writes certificate.json, certificate.html,
    badge.svg and the audit into `root`. If not all was played, nothing is judged or written, and the
    certificate is None. A figure that cannot be drawn costs itself alone.
    """
    from altbench.submissions.certificates.pages import write_pages

    summary = run_sweep(sweep, root, workers, console)
    if not summary.played:
        return None, _told(summary.failed, console)
    found = judge(summary.run, console)
    sealed.write_json(root / RECORD, _record(found))
    write_table(found.audit, root / AUDIT, "calibrated", summary.run.fingerprint())
    # The run's page was written before the audit was made, and calls it missing.
    failed = (*(one for one in summary.failed if one[0] != PAGE), *write_page_of_run(root))
    write_pages(root, found, PAGE if (root / PAGE).is_file() else "")
    return found, _told(failed, console)


def _told(failed: Sequence[tuple[str, str]], console: Console) -> Sequence[tuple[str, str]]:
    """Print what failed, and return it."""
    for job, reason in failed:
        say(console, ("failed", "red"), f" {job}: {reason}")
    return failed


def judge(run: Run, console: Console) -> Certificate:
    """Return the certificate of the first row of a finished run of the protocol."""
    episodes = run.episodes()
    own_label, floor_label, chance_label = (entry.name for entry in run.sweep.policies)
    task, n = run.sweep.tasks[0], run.sweep.policies[0].n[0]
    own = {cell.split: cell for cell in run.plan.cells if cell.label == own_label and cell.column.clean}
    training = training_trajectories(
        run.demonstrations(own["recall"].checkpoint), registry.task(task), find_distance(DISTANCE), SOURCE
    )
    played = _expert(run, [own[split] for split in NEEDED], console)
    floor = _rate(episodes, floor_label, "uniform")
    control = _frame(played["recall"], training)
    clean = episodes[episodes["perturbation"] == "clean"]
    perturbed = episodes[(episodes["label"] == own_label) & (episodes["perturbation"] != "clean")]
    frames = {label: _own_frame(run, label, training) for label in (own_label, floor_label)}
    judged = [_judged(label, frame, control, _rates(clean, label), floor) for label, frame in frames.items()]
    expert_rates = {split: _rate_of(records) for split, (_, records) in played.items()}
    judged.append(_judged(expert.EXPERT, control, control, expert_rates, floor))
    audit = calibrated_table(pd.concat([*frames.values(), control]), find_distance(DISTANCE), SOURCE)
    measured = [one for one in run.measures() if one.label == own_label]
    trained = training_of_run(run).get(own["recall"].checkpoint.key, {})
    return Certificate(
        judged[0],
        tuple(judged[1:]),
        _rates(clean, chance_label),
        task,
        n,
        _flag_rate(perturbed),
        _flag_rate(clean[(clean["label"] == own_label) & (clean["split"] == "recall")]),
        measured[0] if measured else None,
        with_caveats(audit, caveats(episodes)),
        run.fingerprint().one_line(),
        trained.get("epochs"),
        trained.get("converged"),
    )


def _judged(label: str, frame: pd.DataFrame, control: pd.DataFrame, rates: dict[str, Rate], floor: Rate) -> Judged:
    copies = calibrate(frame, control, initial_poses(frame)).memorised
    evidence = Evidence(copies, rates["recall"], rates["uniform"], floor)
    return Judged(label, rates, evidence, decide(evidence))


def _own_frame(run: Run, label: str, training: TrainingSet) -> pd.DataFrame:
    """Return the audited `recall` episodes of a row."""
    cell = next(c for c in run.plan.cells if c.label == label and c.column.clean and c.split == "recall")
    return _frame((cell, cells.read_cell(cells.cell_path(run.root, cell.key)).episodes), training)


def _frame(played: tuple[Cell, Sequence[EpisodeRecord]], training: TrainingSet) -> pd.DataFrame:
    return frame_of(audit_episodes(*played, training, SOURCE))


def _expert(run: Run, wanted: Sequence[Cell], console: Console) -> dict[str, tuple[Cell, Sequence[EpisodeRecord]]]:
    """Let the task's expert play the same episodes; return split -> its cell and episodes."""
    folder = run.root / "expert"
    own = [expert.control_of(cell) for cell in wanted]
    for cell in own:
        expert.play(run, cell, folder, partial(say, console))
    return {cell.split: (cell, records) for cell, records in expert.played(folder, own)}


def _rates(clean: pd.DataFrame, label: str) -> dict[str, Rate]:
    own = clean[clean["label"] == label]
    return {str(split): success_rate(group) for split, group in own.groupby("split")}


def _rate(episodes: pd.DataFrame, label: str, split: str) -> Rate:
    own = (episodes["label"] == label) & (episodes["split"] == split) & (episodes["perturbation"] == "clean")
    return success_rate(episodes[own])


def _rate_of(records: Sequence[EpisodeRecord]) -> Rate:
    rows = [{"status": one.status, "success": one.success} for one in records]
    return success_rate(pd.DataFrame(rows))


def _flag_rate(frame: pd.DataFrame) -> Rate:
    """Return the share of episodes with a flag; empty for a policy that raises none."""
    known = frame[frame["flagged"].notna()]
    return success_rate(known.assign(success=known["flagged"].astype(bool), status="ok"))


def _record(found: Certificate) -> dict[str, Any]:
    """Return the certificate for machines: the rule's version, its answer, and all of its numbers."""

    def row(one: Judged) -> dict[str, Any]:
        return {
            "label": one.label,
            "word": one.decision.word,
            "why": one.decision.why,
            "recalls": [[reason.text, reason.holds] for reason in one.decision.recalls],
            "generalises": [[reason.text, reason.holds] for reason in one.decision.generalises],
            "copies": _numbers(one.evidence.copies),
            "rates": {split: _numbers(rate) for split, rate in sorted(one.rates.items())},
        }

    return {
        "certificate_version": CERTIFICATE_VERSION,
        "task": found.task,
        "n": found.n,
        "badge": found.badge,
        "policy": row(found.own),
        "controls": [row(one) for one in found.controls],
        "chance": {split: _numbers(rate) for split, rate in sorted(found.chance.items())},
        "training": {"epochs": found.epochs, "converged": found.converged},
        "fingerprint": found.fingerprint,
    }


def _numbers(rate: Rate) -> list[Any]:
    return [rate.successes, rate.episodes, rate.low, rate.high]
