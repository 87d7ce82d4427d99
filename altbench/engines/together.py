"""One worker of a run that many finish together: it joins, claims, works, and perhaps draws.

Nothing but the run's folder says what there is to do. Whoever comes first prepares the
run; whoever finds everything done draws the tables.
"""

from __future__ import annotations

import functools
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from altbench.core.errors import AltbenchError
from altbench.engines.blocks import Layout, keys_digest
from altbench.engines.claimed_jobs import ClaimedJobs
from altbench.engines.claims import Claims, count_done, reports, start_of
from altbench.engines.machine import Machine, refuse_mixed
from altbench.engines.offer import Offer, load_offer
from altbench.results.folder import RunFolder
from altbench.results.run import Run
from altbench.results.takeover import older_cells
from altbench.runner import main
from altbench.runner.executors import Executor
from altbench.runner.main import Summary
from altbench.runner.progress import Board
from altbench.runner.scheduler import Ended, Scheduler
from altbench.system import lease
from altbench.system.fingerprint import Fingerprint
from altbench.system.lease import BEAT_S, STALE_S

_LONG_S = 1e9
LOOK_S = 1.0
"""Seconds between two looks of a head at a run that others make."""


@dataclass(frozen=True)
class Terms:
    """How one worker takes part.

    `shard`: the part at which it begins, as `2/8`; empty: anywhere. `mixed`: whether it
    may be of another class of machines. `stale_s`, `beat_s`: as in system/lease.py.
    """

    shard: str = ""
    mixed: bool = False
    stale_s: float = STALE_S
    beat_s: float = BEAT_S


def work(
    offer: Offer, executor: Executor, board: Board, renderer: str, terms: Terms | None = None
) -> Mapping[str, str]:
    """Take part in the run until nothing is left of it; return what failed, with reasons.

    The last worker draws the tables. AltbenchError if this machine may not take part, if
    the folder is in use otherwise, or if a claim was lost.
    """
    terms = terms or Terms()
    with _presence(offer, terms):
        RunFolder(offer.root).check_free()
        run, prepared = _prepared(offer, executor, board, renderer, terms)
        claims = _claims(offer, run, terms)
        feed = ClaimedJobs(run, claims, prepared["older"], str(Machine.here(run.device)))
        try:
            Scheduler(run, executor, board).finish((), feed)
        except BaseException:
            executor.close()  # before its blocks are others': nobody plays them meanwhile
            raise
        finally:
            claims.release()
        return draw(offer, lambda: run, board, terms)


def _claims(offer: Offer, run: Run, terms: Terms) -> Claims:
    layout = Layout(run.plan)
    start = start_of(terms.shard, layout.total, uuid.uuid4().int)
    return Claims(offer.folder / "claims", layout, start, terms.stale_s, terms.beat_s)


@contextmanager
def _presence(offer: Offer, terms: Terms) -> Iterator[None]:
    """Tell others that this worker takes part, while the block runs."""
    path = offer.folder / "workers" / f"{uuid.uuid4().hex[:12]}.lease"
    try:
        with lease.held(path, beat_s=terms.beat_s):
            load_offer(offer.root, offer.id)  # since it was read, another sweep may have been offered
            yield
    finally:
        with suppress(OSError):
            path.unlink()


def _prepared(
    offer: Offer, executor: Executor, board: Board, renderer: str, terms: Terms
) -> tuple[Run, dict[str, Any]]:
    """Return the run as all its workers plan it; prepare it if nobody has.

    Before any work: this machine must be of the class of the one that prepared it.
    """
    os.chdir(_origin(offer))
    begun = Run.begin(offer.root, offer.sweep, renderer)
    here, allowed = Machine.here(begun.device), terms.mixed or offer.mixed
    with _turn_to_prepare(offer, terms) as own:
        if own:
            run = main.prepare(begun, executor, board)
            for task, reason in run.uncollected.items():
                # Those who join plan by all files that there are, and would plan another run.
                raise AltbenchError(f"{offer.root}: the demonstrations of {task} are missing: {reason}")
            return run, _keep_prepared(offer, run, here)
    return _joined(offer, begun, here, allowed), _must_be_prepared(offer)


@contextmanager
def _turn_to_prepare(offer: Offer, terms: Terms) -> Iterator[bool]:
    """Give True to the one worker that is to prepare the run, and False to others, once it
    is prepared.

    Nobody holds the lease to see that: a thousand workers would wait for each other, and
    a big plan takes a minute each.
    """
    watch = lease.Watch(terms.stale_s)
    while not offer.is_prepared:
        made = lease.claim(offer.folder / "prepare.lease", watch, terms.beat_s)
        if made is None:
            time.sleep(LOOK_S)
            continue
        try:
            yield not offer.is_prepared
        finally:
            made.release()
        return
    yield False


def _joined(offer: Offer, begun: Run, here: Machine, allowed: bool) -> Run:
    """Return the run as this machine plans it; AltbenchError if that is another one."""
    found = _must_be_prepared(offer)
    first = Machine.of(found["machine"])
    refuse_mixed(first, here, f"{offer.root}: this machine", allowed)
    run = begun.with_data()
    _check_keys(offer, run, found)
    if first != here:
        with lease.held(offer.folder / "mixed.lease", patience_s=_LONG_S):
            RunFolder(offer.root).mark_mixed(sorted({str(first), str(here)}))
    return run


def _must_be_prepared(offer: Offer) -> dict[str, Any]:
    found = offer.prepared()
    if found is None:
        raise AltbenchError(f"{offer.root}: what its first worker prepared was deleted; begin the run again")
    return found


def _origin(offer: Offer) -> Path:
    path = Path(offer.origin)
    if not path.is_dir():
        raise AltbenchError(f"{path}: no such folder here; the run began in it, and its relative paths mean it")
    return path


def _keep_prepared(offer: Offer, run: Run, here: Machine) -> dict[str, Any]:
    planned = {cell.key for cell in run.plan.cells}
    found = {
        "machine": here.as_dict(),
        "fingerprint": replace(run.fingerprint(), mixed="").as_dict(),
        "keys": keys_digest(run.plan),
        "blocks": Layout(run.plan).total,
        "older": {key: list(older) for key, older in older_cells(run.root, run.plan.cells, planned).items()},
    }
    offer.keep_prepared(found)
    return found


def _check_keys(offer: Offer, run: Run, prepared: dict[str, Any]) -> None:
    """Raise AltbenchError if this machine plans other work than the one that prepared it."""
    if keys_digest(run.plan) != prepared["keys"]:
        made_by = Fingerprint.from_json(json.dumps(prepared["fingerprint"]))
        raise AltbenchError(
            f"{offer.root}: keys would differ here (device {run.device}, renderer {run.renderer}; the run has the "
            f"renderer {made_by.renderer}); give all machines the same altbench, devices, MUJOCO_GL and files"
        )


def draw(offer: Offer, plan: Callable[[], Run], board: Board, terms: Terms) -> Mapping[str, str]:
    """Draw the tables of a run that is done, unless another worker does; return what failed.

    `plan` returns the run. It is called by the one that draws, since it may take long.
    """
    made = lease.claim(offer.folder / "draw.lease", lease.Watch(terms.stale_s), terms.beat_s)
    if made is None:
        return _failed(offer)
    try:
        if offer.is_drawn:
            return _failed(offer)
        summary = summarise(offer, plan(), board)
        undrawn = main.draw(summary.run)
        made.check()
        offer.mark_drawn()
        return dict((*summary.failed, *undrawn))
    finally:
        made.release()


def _failed(offer: Offer) -> dict[str, str]:
    return {name: why for one in reports(offer.folder / "claims") for name, why in one.get("failed", ())}


def summarise(offer: Offer, run: Run, board: Board) -> Summary:
    """Return how a run stands whose blocks are all done; reads all of its cells."""
    ran = sum(int(one.get("ran", 0)) for one in reports(offer.folder / "claims"))
    summary = main.summarise(_as_made(offer, run), Ended((), _failed(offer)), ran, board)
    return replace(summary, ran=ran)


def wait_until_drawn(offer: Offer, board: Board, renderer: str, terms: Terms, ask: Callable[[], None]) -> Summary:
    """Wait until all is done and drawn; draw if nobody does. `ask` is called now and then,
    and may raise.
    """

    @functools.cache
    def planned() -> Run:
        return Run.begin(offer.root, offer.sweep, renderer).with_data()

    while not offer.is_drawn:
        ask()
        began = time.monotonic()
        prepared = offer.prepared()
        if prepared is not None and count_done(offer.folder / "claims") >= int(prepared["blocks"]):
            draw(offer, planned, board, terms)
        # A big run has many marks: the looks take a twentieth of the time at most.
        time.sleep(0.0 if offer.is_drawn else max(LOOK_S, 20 * (time.monotonic() - began)))
    return summarise(offer, planned(), board)


def _as_made(offer: Offer, run: Run) -> Run:
    """Return the run with the fingerprint of the machine that prepared it: the same
    whoever draws.
    """
    prepared = offer.prepared()
    if prepared is None:
        return run
    made_by = Fingerprint.from_json(json.dumps(prepared["fingerprint"]))
    return replace(run, made_by=replace(made_by, mixed=run.folder.mixed()))
