"""A sweep with fewer episodes, other N, some tasks, rows or splits only, or another device or seed.

`altbench run` and scripts call `override`. An overridden sweep has a name of its own, so
that it has a folder of its own, `results/quick-5ep`, and never replaces the tables of the
sweep that it came from. Cells that both ask for have equal keys: in a shared folder they
are played once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from altbench.core import registry
from altbench.core.errors import ConfigError, UnknownNameError
from altbench.core.spec import digest
from altbench.sweeps.rows import takes_part
from altbench.sweeps.spec import EvaluationEntry, PolicyEntry, SweepSpec
from altbench.system.devices import ALSO_CALLED, DEVICES

LONGEST_SUFFIX = 40
"""Characters that an override may add to a sweep's name; a longer one is its digest."""


def override(
    sweep: SweepSpec,
    *,
    policies: Sequence[str] = (),
    adapter: str | None = None,
    episodes: int | None = None,
    n: Sequence[int] = (),
    tasks: Sequence[str] = (),
    only: Sequence[str] = (),
    splits: Sequence[str] = (),
    device: str | None = None,
    seed: int | None = None,
    data_seeds: Sequence[int] = (),
) -> SweepSpec:
    """Return `sweep` with other settings; what is not given stays.

    `policies`, `adapter`: further rows, as `with_policies`. `episodes`: of each evaluation; `replay`
    has at most one for each demonstration. `n`: the numbers of demonstrations of each
    row; more are collected if the sweep collects fewer. An evaluation of N that are no
    longer there is played with the largest. `tasks`: the tasks to keep. `only`: labels of
    the rows to keep. `splits`: the splits to keep. Evaluations that no row takes part in
    are left out. `device`: auto, cpu or cuda. `seed`: the root of all seeds but that of
    collecting. `data_seeds`: of several data sets, in place of the sweep's own.

    All but `policies` change the sweep's name: `quick` with 5 episodes is `quick-5ep`.
    Raise ConfigError, with the valid names, for what the sweep does not have.
    """
    changed = with_policies(sweep, policies, adapter)
    if n:
        changed = _with_n(changed, n)
    if tasks:
        changed = _with_tasks(changed, tasks)
    if only:
        changed = _with_rows(changed, only)
    if splits:
        changed = _with_splits(changed, splits)
    if episodes is not None:
        changed = _with_episodes(changed, episodes)
    values = {"device": device, "seed": seed}
    changed = _checked(changed, {k: v for k, v in values.items() if v is not None})
    if data_seeds:
        shown = changed.demonstrations.model_dump() | {"seed": 0, "seeds": tuple(data_seeds)}
        changed = _checked(changed, {"demonstrations": shown})
    chosen = [*dict.fromkeys(tasks), *dict.fromkeys(only), *dict.fromkeys(splits)]
    suffix = _suffix(episodes=episodes, n=n, chosen=chosen, device=device, seed=seed, data_seeds=data_seeds)
    return _checked(changed, {"name": f"{sweep.name}-{suffix}"}) if suffix else changed


def with_policies(sweep: SweepSpec, extra: Sequence[str], adapter: str | None = None) -> SweepSpec:
    """Return `sweep` with each of `extra` as one more policy, behind `adapter` if given.

    `extra`: a registered name, `file.py:Class`, the URL of a server, or the folder of a
    checkpoint, which the bench serves from a process of its own. Each has the sweep's
    largest N and takes part in every evaluation. `adapter`: a TOML file; ConfigError
    without `extra`.
    """
    if adapter is not None and not extra:
        raise ConfigError("--adapter goes with --policy: it says how that policy's conventions differ from ours")
    for spec in extra:
        n = (max(n for entry in sweep.policies for n in entry.n),)
        entry = PolicyEntry(policy=spec, n=n, adapter=adapter, **_made_as(spec))
        if entry.name in [p.name for p in sweep.policies]:
            raise ConfigError(f"--policy {spec}: the sweep already has a policy called {entry.name!r}")
        evaluations = [
            e if e.policies is None else e.model_copy(update={"policies": (*e.policies, entry.name)})
            for e in sweep.evaluations
        ]
        sweep = sweep.model_copy(update={"policies": (*sweep.policies, entry), "evaluations": tuple(evaluations)})
    return sweep


def _made_as(spec: str) -> dict[str, Any]:
    """Return the settings of a row by which the policy that `spec` names is made."""
    folder = Path(spec)
    if not folder.is_dir():
        return {"preset": next(iter(registry.policy(spec).presets), "small")}
    # A checkpoint is ready to act. The row's own process loads it, as `altbench serve` does.
    return {"label": folder.resolve().name, "isolate": "process"}


def _checked(sweep: SweepSpec, changes: dict[str, Any]) -> SweepSpec:
    """Return `sweep` with `changes`; ConfigError, in one line, for a value it cannot have."""
    if not changes:
        return sweep
    device = changes.get("device", "auto")
    if device not in DEVICES:
        raise UnknownNameError("device", device, DEVICES, like=ALSO_CALLED.get(device.lower(), ""))
    parsed = SweepSpec.parse({**sweep.model_dump(), **changes}, sweep.name)
    return sweep.model_copy(update={key: getattr(parsed, key) for key in changes})


def _with_n(sweep: SweepSpec, n: Sequence[int]) -> SweepSpec:
    wanted = tuple(dict.fromkeys(n))
    if min(wanted) < 1:
        raise ConfigError(f"n: expected numbers of demonstrations from 1, got {min(wanted)}")
    policies = tuple(entry.model_copy(update={"n": wanted}) for entry in sweep.policies)
    evaluations = list(_evaluations_for(sweep, wanted))
    shown = sweep.demonstrations
    if not shown.file and max(wanted) > shown.n:
        shown = shown.model_copy(update={"n": max(wanted)})
    return sweep.model_copy(update={"policies": policies, "evaluations": tuple(evaluations), "demonstrations": shown})


def _evaluations_for(sweep: SweepSpec, wanted: tuple[int, ...]) -> Iterator[EvaluationEntry]:
    """Yield the evaluations, each for those of its N that are `wanted`, else for the largest."""
    largest = max(wanted)
    taken = [_apart_from_n(entry) for entry in sweep.evaluations if entry.n is None or largest in entry.n]
    for entry in sweep.evaluations:
        kept = None if entry.n is None else tuple(n for n in entry.n if n in wanted)
        if kept != ():
            yield entry.model_copy(update={"n": kept})
        elif _apart_from_n(entry) not in taken:
            # Evaluations that differ in N alone would give two cells one name.
            taken.append(_apart_from_n(entry))
            yield entry.model_copy(update={"n": (largest,)})


def _apart_from_n(entry: EvaluationEntry) -> EvaluationEntry:
    return entry.model_copy(update={"n": None, "episodes": "each"})


def _with_tasks(sweep: SweepSpec, tasks: Sequence[str]) -> SweepSpec:
    """Return `sweep` on `tasks` alone, in its own order."""
    for task in tasks:
        if task not in sweep.tasks:
            raise UnknownNameError(f"task of the sweep {sweep.name}", task, sweep.tasks)
    return sweep.model_copy(update={"tasks": tuple(task for task in sweep.tasks if task in tasks)})


def _with_rows(sweep: SweepSpec, labels: Sequence[str]) -> SweepSpec:
    """Return `sweep` with the rows `labels` alone, and the evaluations that they have."""
    names = [entry.name for entry in sweep.policies]
    for label in labels:
        if label not in names:
            raise UnknownNameError(f"policy of the sweep {sweep.name}", label, names)
    policies = tuple(entry for entry in sweep.policies if entry.name in labels)
    evaluations = []
    for entry in sweep.evaluations:
        kept = None if entry.policies is None else tuple(name for name in entry.policies if name in labels)
        if kept != () and any(takes_part(entry, row.name, n) for row in policies for n in row.n):
            evaluations.append(entry.model_copy(update={"policies": kept}))
    if not evaluations:
        raise ConfigError(f"the sweep {sweep.name} evaluates none of {', '.join(labels)}; name another policy of it")
    return sweep.model_copy(update={"policies": policies, "evaluations": tuple(evaluations)})


def _with_splits(sweep: SweepSpec, splits: Sequence[str]) -> SweepSpec:
    """Return `sweep` with the evaluations on `splits` alone, and the rows that have one."""
    known = list(dict.fromkeys(entry.split for entry in sweep.evaluations))
    for split in splits:
        if split not in known:
            raise UnknownNameError(f"split of the sweep {sweep.name}", split, known)
    evaluations = [entry for entry in sweep.evaluations if entry.split in splits]
    policies = []
    for row in sweep.policies:
        n = tuple(n for n in row.n if any(takes_part(entry, row.name, n) for entry in evaluations))
        policies += [row.model_copy(update={"n": n})] if n else []
    sweep = sweep.model_copy(update={"evaluations": tuple(evaluations), "policies": tuple(policies)})
    return _with_rows(sweep, [row.name for row in policies])


def _with_episodes(sweep: SweepSpec, episodes: int) -> SweepSpec:
    if episodes < 1:
        raise ConfigError(f"episodes: expected a number from 1, got {episodes}")
    evaluations = [part for entry in sweep.evaluations for part in _parts(sweep, entry, episodes)]
    return sweep.model_copy(update={"evaluations": tuple(evaluations)})


def _parts(sweep: SweepSpec, entry: EvaluationEntry, episodes: int) -> list[EvaluationEntry]:
    """Return an evaluation with `episodes`; on `replay`, two if some rows have fewer demonstrations."""
    if entry.split != "replay":
        return [entry.model_copy(update={"episodes": episodes})]
    rows = [(row.name, n) for row in sweep.policies for n in row.n if takes_part(entry, row.name, n)]
    few = tuple(dict.fromkeys(n for _, n in rows if n <= episodes))
    many = tuple(dict.fromkeys(n for _, n in rows if n > episodes))
    made: list[tuple[tuple[int, ...], Any]] = [(few, "each"), (many, episodes)]
    if few and many:
        return [entry.model_copy(update={"n": n, "episodes": value}) for n, value in made]
    return [entry.model_copy(update={"episodes": episodes if many else "each"})]


def _suffix(
    *,
    episodes: int | None,
    n: Sequence[int],
    chosen: Sequence[str],
    device: str | None,
    seed: int | None,
    data_seeds: Sequence[int],
) -> str:
    """Return what an override adds to the sweep's name: `5ep-n10-alt-uniform-seed1`."""
    parts = [
        *([f"{episodes}ep"] if episodes is not None else []),
        *(f"n{i}" for i in dict.fromkeys(n)),
        *chosen,
        *([device] if device is not None else []),
        *([f"seed{seed}"] if seed is not None else []),
        *(f"data{seed}" for seed in data_seeds),
    ]
    suffix = "-".join(parts)
    if re.fullmatch(r"[A-Za-z0-9_.-]*", suffix) and len(suffix) <= LONGEST_SUFFIX:
        return suffix
    return digest({"override": parts})[:8]
