"""`altbench bench policies`: decision time and memory of policies at a preset's size, side by side, with the two ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from altbench import fingerprint, registry
from altbench.cost_tables import latency_table, memory_table, ratios_table
from altbench.measure import Probe, measure_probe
from altbench.plan import resolve_config
from altbench.records import MeasureRecord
from altbench.table_formats import write_table
from altbench.tables import render_costs

IMAGE_SIZES = ((84, 84), (240, 320))
TABLE_FRAMES = 1000
"""About what 30 demonstrations of Lift have."""
TASK = "Lift"


def policies(
    console: Console, preset: str, names: Sequence[str], decisions: int, threads: int, device: str, out: Path | None
) -> None:
    """Measure each policy of `names`, untrained, at both image sizes; print the tables and write them into `out`."""
    probes = [_probe(name, preset, size, decisions, threads, device) for size in IMAGE_SIZES for name in names]
    records: list[MeasureRecord] = []
    for probe in probes:
        height, width = probe.image_size
        with console.status(f"{probe.policy} {probe.preset}, {height}×{width} ({len(records) + 1} of {len(probes)})"):
            records.append(measure_probe(probe, probe.policy, n=30))
    console.print(render_costs(records))
    made_by = fingerprint.collect()
    console.print(made_by.one_line(), style="dim")
    if out is not None:
        for stem, table in (("latency", latency_table), ("memory", memory_table), ("ratios", ratios_table)):
            write_table(table(records), out, stem, made_by)
        console.print(f"tables in {out}", highlight=False)


def _probe(name: str, preset: str, image_size: tuple[int, int], decisions: int, threads: int, device: str) -> Probe:
    """Untrained: time and memory do not depend on what the weights are, only on how many frames a table holds."""
    cls = registry.policy(name)
    config = {"train_steps": 0} if "train_steps" in cls.config_type.model_fields else {}
    resolve_config(cls, preset, config, f"policy {name!r}")  # refuse a bad name before minutes of measuring
    probe = Probe(decisions, 2, threads, device, image_size, task=TASK, policy=name, preset=preset, config=config)
    return replace(probe, frames=TABLE_FRAMES if image_size == IMAGE_SIZES[0] else TABLE_FRAMES // 5)
