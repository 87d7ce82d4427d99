"""`altbench bench policies`: decision time and memory of policies, side by side.

They are untrained policies at a preset's size. The last table has their ratios to the
reference policy.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from altbench.core import registry
from altbench.measure.probe import measure_checkpoint, measure_ready
from altbench.measure.standard import standard
from altbench.measure.untrained import Untrained, check, write_untrained
from altbench.report.costs import latency_table, memory_table, ratios_table
from altbench.report.table import write_table
from altbench.report.tables import render_costs
from altbench.results.checkpoints import CheckpointCard
from altbench.rollout.records import MeasureRecord
from altbench.sweeps.spec import MeasureEntry
from altbench.system import fingerprint
from altbench.system.console import say, show, spinner

IMAGE_SIZES = ((84, 84), (240, 320))
"""Height and width in pixels: the bench's own default, and the paper's."""


def policies(
    console: Console, preset: str, names: Sequence[str], decisions: int, threads: int, device: str, out: Path | None
) -> None:
    """Measure each policy of `names`, untrained, at both image sizes.

    Print the tables, and write them into `out` unless it is None. A name may have its
    own preset, as in `alt:compact`, or be a server's URL, which is measured as it is.
    """
    usual = standard()
    wanted = [
        Untrained("", usual.task, *_with_preset(name, preset), size, usual.frames, device)
        for size in IMAGE_SIZES
        for name in names
    ]
    for one in wanted:
        if not registry.is_url(one.policy):
            check(one)
    entry = MeasureEntry(decisions=decisions, warmup=2, threads=threads)
    records: list[MeasureRecord] = []
    for one in wanted:
        height, width = one.image_size
        with spinner(console, f"{one.policy} {one.preset}, {height}×{width} ({len(records) + 1} of {len(wanted)})"):
            records.append(_measure(one, entry))
    show(console, render_costs(records))
    made_by = fingerprint.collect()
    say(console, made_by.one_line(), style="dim")
    if out is not None:
        for stem, table in (("latency", latency_table), ("memory", memory_table), ("ratios", ratios_table)):
            write_table(table(records), out, stem, made_by)
        say(console, f"tables in {out}", wrap=False)


def _served(wanted: Untrained) -> CheckpointCard:
    """Return what names the policy of a server; nothing was fitted."""
    return CheckpointCard(
        task=wanted.task,
        policy=wanted.policy,
        preset="",
        config={},
        n=standard().n,
        train_seed=0,
        key="",
        data_checksum="",
        policy_version=0,
        image_size=wanted.image_size,
        train_seconds=0.0,
    )


def _with_preset(name: str, preset: str) -> tuple[str, str]:
    """Return the policy and its preset; `alt:compact` has its own.

    In the name of a policy's file, such as `./mine.py:Mine`, the colon has another
    meaning.
    """
    if registry.is_url(name):
        return name, ""  # its settings are where it was started
    if registry.is_file(name) or ":" not in name:
        return name, preset
    policy, _, own = name.partition(":")
    return policy, own


def _measure(wanted: Untrained, entry: MeasureEntry) -> MeasureRecord:
    if registry.is_url(wanted.policy):
        return measure_ready(_served(wanted), wanted.policy, entry, wanted.device)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkpoint"
        state_dim = write_untrained(dataclasses.replace(wanted, folder=str(folder)), entry.threads)
        record = measure_checkpoint(folder, wanted.policy, entry, wanted.device, state_dim=state_dim)
    # No training was done, so none was timed.
    return dataclasses.replace(record, n=standard().n, train_seconds=None, data_share=None, precision=None)
