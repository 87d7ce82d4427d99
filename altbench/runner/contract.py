"""Whether the policies of a run keep their contract: tried on real observations before they play.

Built-in policies are tested with the bench, and are not tried. A result is kept in the
run's folder, so that a run that goes on does not pay again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from altbench.checks.at_work import check_at_work
from altbench.checks.policy import observations_of
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ContractError, ResultsError
from altbench.core.policy import Observation, Policy
from altbench.core.seeds import derive_seed
from altbench.core.spec import digest
from altbench.results.run import Run
from altbench.rollout.chunking import ChunkWrapper, as_batch
from altbench.rollout.episode import decision_limit, only_required
from altbench.runner.worker import Worker
from altbench.sweeps.plan import Cell, Checkpoint
from altbench.system import sealed

CHECKED = "checked"
"""The folder of results in a run's folder."""
OBSERVATIONS = 2
"""How many observations a policy is tried on: the first ones of two episodes."""
_ADVICE = "the next run of the sweep writes it anew"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checked:
    """What a check found: a `fault`, or `notes` on what the bench mends itself."""

    fault: str = ""
    notes: tuple[str, ...] = ()


def is_own(checkpoint: Checkpoint) -> bool:
    """Return whether the bench tests the checkpoint's policy itself."""
    return not checkpoint.sources.policy


def check_key(cell: Cell) -> str:
    """Return what tells the policy of a cell, with its row's settings, from all others."""
    return digest({"checkpoint": cell.checkpoint.key, "runtime": cell.runtime})


def load_checked(root: Path, key: str) -> Checked | None:
    """Return what the check `key` found; None if it was not done, or its file is damaged."""
    path = _path(root, key)
    try:
        values = sealed.read_json(path, ("fault", "notes"), _ADVICE) if path.is_file() else None
    except ResultsError as error:
        log.warning("counts as missing: %s", error)
        return None
    return None if values is None else Checked(str(values["fault"]), tuple(map(str, values["notes"])))


def check_ready(run: Run, cell: Cell, worker: Worker, asks: Callable[[], None]) -> None:
    """Check the policy of a cell that learns nothing, and keep what was found.

    `asks` is called just before the policy is asked.
    """
    with closing(run.policy(cell.checkpoint, cell.runtime)) as policy:
        found = _check(policy, _first_observations(run, cell.checkpoint, policy, worker), run, asks)
    _keep(run.root, check_key(cell), found)


def check_fitted(
    run: Run,
    checkpoint: Checkpoint,
    demonstrations: Sequence[Demonstration],
    worker: Worker,
    asks: Callable[[], None],
) -> None:
    """Check a policy that was fitted just now; ContractError if it breaks its contract."""
    policy = run.policy(checkpoint)
    try:
        shown = observations_of(demonstrations, policy.requirements, OBSERVATIONS)
    except ContractError:  # they may lack the state
        shown = _first_observations(run, checkpoint, policy, worker)
    found = _check(policy, shown, run, asks)
    if found.fault:
        raise ContractError(f"policy {checkpoint.label!r}: {found.fault}")
    _keep(run.root, checkpoint.key, found)


def pass_over(run: Run, checkpoint: Checkpoint) -> None:
    """Keep that the check of a fitted policy found nothing, since it lost its worker."""
    _keep(run.root, checkpoint.key, Checked())


def is_unchecked(run: Run, checkpoint: Checkpoint) -> bool:
    """Return whether a fitted policy still has to be checked."""
    return not is_own(checkpoint) and load_checked(run.root, checkpoint.key) is None


def _check(policy: Policy, shown: Sequence[Observation], run: Run, asks: Callable[[], None]) -> Checked:
    """Check a policy, for no longer than one decision may take.

    What it raises itself is no fault here: its episodes record that, with the traceback.
    A file that it lacks is one, since no episode can find it either.
    """
    asks()
    seed = derive_seed(run.sweep.seed, "policy", 0)
    try:
        with decision_limit(run.sweep.decision_timeout_s):
            notes = check_at_work(policy, shown, seed, run.device)
            served = () if policy.server_cost() is None else (f"another process decides: {policy.inference_note()}",)
            return Checked(notes=(*notes, *served))
    except ContractError as error:
        return Checked(str(error))
    except FileNotFoundError as error:
        return Checked(f"it reads the file {error.filename!r}, which is missing")
    except (Exception, SystemExit):
        return Checked()


def _first_observations(run: Run, checkpoint: Checkpoint, policy: Policy, worker: Worker) -> list[Observation]:
    """Return the first observations of episodes, as `rollout.episode` shows them."""
    needs = policy.requirements
    env = worker.environment(checkpoint.task, needs, run.sweep)
    chunked = ChunkWrapper(env, needs.obs_horizon, needs.action_horizon, pixels=bool(needs.cameras))
    seeds = [derive_seed(run.sweep.seed, "evaluate", index) for index in range(OBSERVATIONS)]
    return [only_required(as_batch(chunked.reset(seed=seed)[0]), needs) for seed in seeds]


def _keep(root: Path, key: str, found: Checked) -> None:
    sealed.write_json(_path(root, key), {"fault": found.fault, "notes": list(found.notes)})


def _path(root: Path, key: str) -> Path:
    return root / CHECKED / f"{key}.json"


def refuse(faults: Sequence[tuple[str, str]]) -> None:
    """Raise ContractError if there are `faults`: (label, fault) of each row that has one."""
    if faults:
        raise ContractError("; ".join(f"policy {label!r}: {fault}" for label, fault in faults))
