"""The whole work of `altbench adapt`: read, search, write, prove, say."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from altbench.adapters.writing import to_toml, write_adapter
from altbench.adapting.diagnosis import Diagnosis, Finding, adapted_by, diagnose
from altbench.adapting.proof import Proof, prove
from altbench.adapting.targets import base_of, resolve
from altbench.core.demonstration import Demonstration
from altbench.core.policy import Policy
from altbench.dataset.cached import collect, read_demonstrations
from altbench.system.console import FittingTable, say, spinner, text_of
from altbench.system.console import show as print_all
from altbench.system.devices import require_renderer

N = 30
"""How many demonstrations are collected if no file is named."""
SHOWN = 4
"""Values that cannot be told apart are listed up to this number."""


@dataclass(frozen=True)
class Wanted:
    """What is asked: as the options of `altbench adapt`. `episodes`: 0 proves nothing."""

    policy: str
    task: str
    demos: Path | None = None
    out: Path = Path("adapter.toml")
    episodes: int = 20
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class Result:
    """What was found. `proof`: None if no episodes were wanted, or nothing was to be proven.

    `written`: the adapter's file; None if none is needed, or none explains the policy.
    """

    wanted: Wanted
    diagnosis: Diagnosis
    proof: Proof | None = None
    written: Path | None = None

    @property
    def works(self) -> bool:
        """Whether the adapter explains the policy, and the episodes prove it, if they were wanted."""
        return self.diagnosis.explained and (self.proof is None or self.proof.works)

    @property
    def verdict(self) -> str:
        """The result in words."""
        if not self.diagnosis.explained:
            return "no convention explains this policy"
        if self.proof is None:
            return "works in the demonstrations; not tried in rollouts"
        return "works" if self.works else "works in the demonstrations but not in rollouts"

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "policy": self.wanted.policy,
            "task": self.wanted.task,
            "verdict": self.verdict,
            "works": self.works,
            "episodes": self.proof.played if self.proof else 0,
            "succeeded": self.proof.succeeded if self.proof else 0,
            "constant_succeeded": self.proof.constant if self.proof else 0,
            "written": None if self.written is None else str(self.written),
            "toml": to_toml(self.diagnosis.adapter),
            **self.diagnosis.as_json(),
        }


def run(wanted: Wanted, console: Console) -> Result:
    """Do all that was asked, but for showing the result.

    Raise ConfigError, DatasetError, CheckpointError or ContractError for what cannot be
    used: a policy, a file, a policy that fails under every input.
    """
    with closing(resolve(wanted.policy, wanted.task, wanted.device)) as policy:
        return _examined(policy, wanted, console)


def _examined(policy: Policy[Any], wanted: Wanted, console: Console) -> Result:
    require_renderer()
    demonstrations = demonstrations_of(wanted)
    with spinner(console, "reading the robot's model"):
        base = base_of(wanted.task)
    with spinner(console, f"asking {wanted.policy}") as status:
        diagnosis = diagnose(policy, demonstrations, base=base, seed=wanted.seed, say=status)
    if not diagnosis.explained:
        return Result(wanted, diagnosis)
    written = None
    if not diagnosis.is_identity:
        write_adapter(wanted.out, diagnosis.adapter)
        written = wanted.out
    if not wanted.episodes:
        return Result(wanted, diagnosis, written=written)
    adapted = adapted_by(policy, diagnosis)
    with spinner(console, f"playing {wanted.episodes} episodes of recall, and as many of a constant action"):
        proof = prove(adapted, demonstrations, wanted.task, wanted.episodes, wanted.seed, wanted.policy)
    return Result(wanted, diagnosis, proof, written)


def demonstrations_of(wanted: Wanted) -> Sequence[Demonstration]:
    """Return the demonstrations to judge by; DatasetError for a file of another task."""
    if wanted.demos is None:
        return collect(wanted.task, N)
    return read_demonstrations(wanted.demos, wanted.task)


def show(result: Result, console: Console) -> None:
    """Print what was found, the adapter, and the verdict."""
    found = result.diagnosis
    print_all(console, _table(found.findings))
    say(
        console,
        f"error of {found.frames} held-out frames: {found.error:.1f} ({found.mm:.1f} mm, {found.degrees:.1f}°, "
        f"{100 * found.gripper:.1f} % wrong grippers); "
        + ("the policy fails as it is" if found.unadapted is None else f"as it is {found.unadapted:.1f}")
        + f"; nearest demonstration {found.nearest:.1f}, constant action {found.constant:.1f}",
    )
    if found.explained and found.is_identity:
        say(console, "the policy has altbench's conventions: it needs no adapter")
    elif found.explained:
        say(console, to_toml(found.adapter).rstrip(), wrap=False)
        say(console, f"written to {result.written}", wrap=False)
    proof = result.proof
    if proof is not None and proof.problem:
        say(console, ("note", "yellow"), f" {proof.problem}")
    played = ""
    if proof is not None:
        played = (
            f": {proof.succeeded} of {proof.played} episodes of recall succeed; a constant action: {proof.constant}"
        )
    say(console, (result.verdict, "bold green" if result.works else "bold red"), played)


def _table(findings: Sequence[Finding]) -> Table:
    heads = ("convention", "this policy", "altbench", "next best", "cannot be told apart")
    table = FittingTable(heads, "What the evidence says", prose=[4])
    for one in findings:
        ratio = "" if one.ratio is None else f"{one.ratio:.1f} x the error"
        tied = [*one.ties[:SHOWN], *([f"and {len(one.ties) - SHOWN} more"] if len(one.ties) > SHOWN else [])]
        own = text_of(one.value, style="" if one.value == one.ours else "bold")
        table.add_row(one.convention, own, one.ours, ratio, "; ".join(tied))
    return table
