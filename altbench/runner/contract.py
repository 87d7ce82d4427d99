"""Whether the policies of a run keep their contract: tried on real observations before they play.

Built-in policies are tested with the bench, and are not tried. A result is kept in the
run's folder, so that a run that goes on does not pay again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from altbench.checks.at_work import check_at_work
from altbench.checks.policy import observations_of
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ContractError
from altbench.core.policy import Observation, Policy
from altbench.core.seeds import derive_seed
from altbench.results.checked import ELSEWHERE, Checked, check_key, keep_checked, load_checked
from altbench.results.run import Run
from altbench.rollout.chunking import ChunkWrapper, as_batch
from altbench.rollout.episode import only_required
from altbench.rollout.limits import decision_limit
from altbench.runner.worker import Worker
from altbench.sweeps.plan import Cell, Checkpoint

OBSERVATIONS = 2
"""How many observations a policy is tried on: the first ones of two episodes."""


def is_own(checkpoint: Checkpoint) -> bool:
    """Return whether the bench tests the checkpoint's policy itself."""
    return not checkpoint.sources.policy


def check_ready(run: Run, cell: Cell, worker: Worker, asks: Callable[[], None]) -> None:
    """Check the policy of a cell that learns nothing, and keep what was found.

    `asks` is called just before the policy is asked.
    """
    with closing(run.policy(cell.checkpoint, cell.runtime)) as policy:
        found = _check(policy, _first_observations(run, cell.checkpoint, policy, worker), run, asks)
    keep_checked(run.root, check_key(cell), found)


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
    keep_checked(run.root, checkpoint.key, found)


def pass_over(run: Run, checkpoint: Checkpoint) -> None:
    """Keep that the check of a fitted policy found nothing, since it lost its worker."""
    keep_checked(run.root, checkpoint.key, Checked())


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
            served = () if policy.server_cost() is None else (f"{ELSEWHERE}{policy.inference_note()}",)
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


def refuse(faults: Sequence[tuple[str, str]]) -> None:
    """Raise ContractError if there are `faults`: (label, fault) of each row that has one."""
    if faults:
        raise ContractError("; ".join(f"policy {label!r}: {fault}" for label, fault in faults))
