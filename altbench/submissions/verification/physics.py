"""The checks that a simulator without images makes: where all began, and where actions lead."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from altbench.core import registry
from altbench.core.errors import AltbenchError
from altbench.core.seeds import derive_seed
from altbench.core.task import InitialState
from altbench.dataset.collection_plan import MAX_ATTEMPTS, MAX_DEMONSTRATIONS
from altbench.dataset.files import read
from altbench.dataset.format import digest
from altbench.dataset.subsets import collected_order, subset
from altbench.rollout.plan import EpisodePlan
from altbench.submissions.manifest import Shown, Start
from altbench.submissions.simulate import (
    POSITION_TOLERANCE,
    STATE_TOLERANCE,
    Simulators,
    begin,
    control_mode,
    replay,
)
from altbench.submissions.suite import ROOT_SEED
from altbench.submissions.verdict import Finding, judged
from altbench.submissions.verification.contents import Contents

Progress = Callable[[int, int], None]
"""Is told how many of how many episodes are done."""


def demonstrations(contents: Contents, made: Simulators) -> Finding:
    """Check that the demonstrations named are those of the checkpoints, and begin where their seeds say."""
    faults = [fault for point in contents.manifest.points for fault in _checkpoint_data(contents, point.specification)]
    foreign = []
    for one in contents.shown:
        where = f"{one.task}, N {one.n}"
        if len(one.starts) != one.n:
            faults.append(f"{where}: expected {one.n} demonstrations, got {len(one.starts)}")
        elif one.expert:
            foreign.append(f"{where}: collected by {one.expert}; that they begin as the archive says is not known")
        else:
            faults += [f"{where}: {fault}" for fault in _shown_faults(one, made)]
    if foreign and not faults:
        return Finding(check="demonstrations", state="unknown", text=foreign[0], details=tuple(foreign))
    many = sum(len(one.starts) for one in contents.shown)
    return judged(
        "demonstrations", faults, f"{many} demonstrations begin as our seeds say, in the order that they say."
    )


def _checkpoint_data(contents: Contents, specification: str) -> list[str]:
    """Return a fault if a checkpoint was fitted to other demonstrations than the archive names."""
    found = json.loads(specification)
    task, n, checksum = found["task"][0], found["n"], found["data"]
    shown = [one.checksum for one in contents.shown if (one.task, one.n) == (task, n)]
    if shown != [checksum]:
        return [f"{task}, N {n}: the checkpoint was fitted to other demonstrations than the archive names"]
    return [] if found["seed"] == ROOT_SEED else [f"{task}, N {n}: expected the root seed {ROOT_SEED} of the fit"]


def _shown_faults(one: Shown, made: Simulators) -> Iterator[str]:
    info = registry.task(one.task)
    env = made.of(one.task, "ee_pose", None)
    on_grid = one.placement == "grid"
    if on_grid and [s.index for s in one.starts] != list(
        collected_order(one.n, one.collected, info.grid_size, ROOT_SEED)
    ):
        yield "they are not the first N in the suite's order"
    for start in one.starts:
        if start.grid_index != (start.index % info.grid_size if on_grid else -1):
            yield f"demonstration {start.index}: expected another pose of the grid"
        elif start.seed not in _seeds(one.root_seed, start.index):
            yield f"demonstration {start.index}: its seed is not one of the root seed {one.root_seed}"
        else:
            options = {"split": one.placement, "episode": start.grid_index if on_grid else start.index}
            found = begin(env, EpisodePlan(index=start.index, seed=start.seed, policy_seed=0, options=options))
            if not _same(found, _state(start)):
                yield f"demonstration {start.index}: its seed gives another initial state"


def _seeds(root: int, index: int) -> list[int]:
    numbers = (index + attempt * MAX_DEMONSTRATIONS for attempt in range(MAX_ATTEMPTS))
    return [derive_seed(root, "demo", number) for number in numbers]


def _state(start: Start) -> InitialState:
    return InitialState(np.array(start.sim_state, np.float64), np.array(start.object_pose, np.float64))


def _same(first: InitialState, second: InitialState) -> bool:
    pairs = ((first.sim_state, second.sim_state), (first.object_pose, second.object_pose))
    return all(a.shape == b.shape and bool((np.abs(a - b) <= STATE_TOLERANCE).all()) for a, b in pairs)


def data_contents(contents: Contents, file: Path | None) -> Finding:
    """Check the checksum of a file of demonstrations against the archive's; `file` None: it is not given."""
    name = "contents of demonstrations"
    if file is None:
        text = "Their images and actions are known by their checksum alone; --demonstrations FILE compares it."
        return Finding(check=name, state="unknown", text=text)
    held = read(file)
    own = [one for one in contents.shown if one.task == held.meta.task and one.n <= len(held)]
    if not own:
        text = (
            f"The file given has {len(held)} demonstrations of {held.meta.task}, which is not what the archive names."
        )
        return Finding(check=name, state="unknown", text=text)
    grid = registry.task(held.meta.task).grid_size
    faults = [
        f"{one.task}, N {one.n}: the first {one.n} in the file given have another checksum"
        for one in own
        if digest(held.meta, subset(held.demonstrations, one.n, grid, ROOT_SEED)) != one.checksum
    ]
    return judged(name, faults, f"The file given has the checksum that the archive names ({own[0].checksum[:12]}).")


@dataclass
class _Replayed:
    """What came out of all episodes."""

    starts: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    steps: int = 0
    gap: float = 0.0


def trajectories(contents: Contents, made: Simulators, progress: Progress) -> tuple[Finding, Finding]:
    """Begin every episode from its seed, and execute its recorded actions.

    Return the findings on initial states and on trajectories.
    """
    found, done = _Replayed(), 0
    for cell in contents.cells:
        try:
            plans = cell.plans(contents.shown)
        except AltbenchError as error:
            found.starts.append(str(error))
            continue
        longest = max((one.trajectory for one in cell.episodes), key=len, default=())
        mode = control_mode(cell.header.task, longest)
        env = made.of(cell.header.task, mode, cell.spec.horizon)
        for record in cell.episodes:
            progress(done := done + 1, contents.episodes)
            if not 0 <= record.episode < len(plans):
                continue  # the check of the episodes says so
            where = f"{cell.header.name}, episode {record.episode}"
            began = begin(env, plans[record.episode])
            told = contents.starts.get((cell.header.key, record.episode))
            if told is None or not _same(began, told):
                found.starts.append(f"{where}: " + ("no initial state" if told is None else "its seed gives another"))
            result = replay(env, record)
            found.steps, found.gap = found.steps + len(record.trajectory), max(found.gap, result.gap)
            if fault := result.disagrees(record):
                found.ends.append(f"{where}: {fault}")
    extra = contents.starts.keys() - {(c.header.key, e.episode) for c in contents.cells for e in c.episodes}
    found.starts += [
        f"{key:.12}, episode {episode}: an initial state without records" for key, episode in sorted(extra)
    ]
    return (
        judged("initial states", found.starts, f"All {contents.episodes} episodes begin as our seeds say."),
        judged(
            "trajectories",
            found.ends,
            f"The recorded actions of all {contents.episodes} episodes ({found.steps:,} steps) lead to the recorded "
            f"outcomes; positions differ by at most {found.gap:.2g} (allowed {POSITION_TOLERANCE:g}).",
        ),
    )
