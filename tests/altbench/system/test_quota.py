"""Quotas of processor time, as containers of both versions of cgroups show them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from altbench.system import fingerprint
from altbench.system.quota import cpu_quota

V1 = "4:memory:/a\n3:cpuset:/a\n2:cpuacct,cpu:/docker/abc\n1:name=systemd:/\n"


def machine(root: Path, listing: str | None, files: dict[str, str]) -> Path:
    """A root folder with these files of the kernel."""
    for name, text in {**files, **({} if listing is None else {"proc/self/cgroup": listing})}.items():
        path = root / name if name.startswith("proc") else root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def v1(folder: str, quota: object, period: object = 100000) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("listing", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "25000 50000\n"}, 0.5),
        ("0::/on/the/host\n", {"cpu.max": "300000 100000\n"}, 3),
        ("0::/../../other\n", {"cpu.max": "300000 100000\n"}, 3),
        (V1, v1("cpu,cpuacct/docker/abc", 250000), 2.5),
        (V1, v1("cpu,cpuacct", 400000), 4),
        (V1, v1("cpu/docker", 400000) | v1("cpu/docker/abc", -1), 4),
        (V1, v1("cpu,cpuacct", -1), None),
        (V1 + "0::/x\n", {"unified/x/cpu.max": "100000 100000\n"}, 1),
        ("1:cpuset:/\n", v1("cpu", 100000), None),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("0::/\n", {"cpu.max": "0 0\n"}, None),
        ("\n:\nx\n", {"cpu.max": "100000 100000\n"}, None),
        (None, {"cpu.max": "100000 100000\n"}, None),
    ],
)
def test_the_smallest_limit_counts(
    tmp_path: Path, listing: str | None, files: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(machine(tmp_path, listing, files)) == quota


@pytest.mark.parametrize(("quota", "cores"), [(None, 8), (2.9, 2), (0.2, 1), (100.0, 8)])
def test_usable_cores_are_whole_ones_within_affinity_and_quota(
    quota: float | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(fingerprint, "cpu_quota", lambda: quota)
    assert fingerprint.usable_cores() == cores
