"""Ratios of time and memory of two runs, where the machine is the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from altbench.core.words import count
from altbench.report.compare.records import CostRatio
from altbench.rollout.records import MeasureRecord
from altbench.system.fingerprint import Fingerprint

_Key = tuple[object, ...]


def machine_of(fingerprint: Fingerprint | None) -> str | None:
    """Return processor and GPU of a run; None if they are unknown."""
    return f"{fingerprint.cpu}, {fingerprint.gpu or 'no GPU'}" if fingerprint else None


def cost_ratios(
    base: Sequence[MeasureRecord], new: Sequence[MeasureRecord], machines: tuple[str | None, str | None]
) -> tuple[tuple[CostRatio, ...], str]:
    """Return the ratios of the measurements that both runs have, and why they are missing.

    `machines`: of the base run and the new one, for records that name no machine.
    """
    if not base or not new:
        return (), "time and memory: not measured in both runs"
    sides = [_by_setting(side, machine) for side, machine in zip((base, new), machines, strict=True)]
    shared = [key for key in sides[0] if key in sides[1]]
    if shared:
        return tuple(_ratio(sides[0][key], sides[1][key]) for key in shared), ""
    if {_setting(record) for record in base} & {_setting(record) for record in new}:
        return (), "time and memory: not compared, because they were measured on other or unknown machines"
    return (), "time and memory: the runs measured no policy in the same setting"


def _by_setting(records: Sequence[MeasureRecord], machine: str | None) -> Mapping[_Key, MeasureRecord]:
    """Return the records by setting and machine, without those of unknown machines."""
    named = [replace(record, machine=record.machine or machine or "") for record in records]
    return {(record.machine, *_setting(record)): record for record in named if record.machine}


def _setting(r: MeasureRecord) -> _Key:
    return (r.label, r.policy, r.preset, r.n, r.task, r.train_seed, r.device, r.threads, r.image_size)


def _ratio(base: MeasureRecord, new: MeasureRecord) -> CostRatio:
    image = f"{base.image_size[0]}×{base.image_size[1]}" if base.image_size else "no images"
    threads = count(base.threads, "thread")
    return CostRatio(
        base.label,
        (base.task, base.preset, f"N {base.n}", f"seed {base.train_seed}", base.device, threads, image),
        _over(new.latency_p50_s, base.latency_p50_s),
        _over(_held(new), _held(base)),
        _over(new.disk_bytes, base.disk_bytes),
        _over(new.peak_rss_bytes, base.peak_rss_bytes),
        _over(new.peak_vram_bytes, base.peak_vram_bytes),
    )


def _held(record: MeasureRecord) -> int | None:
    if record.weights_bytes is None or record.table_bytes is None:
        return None
    return record.weights_bytes + record.table_bytes


def _over(new: float | None, base: float | None) -> float | None:
    return None if new is None or not base else float(new) / float(base)
