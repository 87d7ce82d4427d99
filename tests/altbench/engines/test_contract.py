"""One contract for every way to run a sweep: the same cells, the same tables to the byte, whoever does the work.

The fakes run in this process: workers that join by the folder alone, and a cluster that shares no folder and loses
nodes. test_processes.py kills real workers and heads; Ray and SLURM have files of their own.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic
from rich.console import Console

from altbench import page
from altbench.core.errors import AltbenchError, ResultsError
from altbench.engines import node, parcels
from altbench.engines.machine import Machine, refuse_mixed
from altbench.engines.offer import load_offer, make_offer
from altbench.engines.together import Terms, summarise, work
from altbench.report import figures, outputs
from altbench.results import cells, load_published, measures
from altbench.results.folder import RunFolder
from altbench.results.run import Run
from altbench.runner import executors, main
from altbench.runner import work as work_module
from altbench.runner.executors import InlineExecutor, Outcome
from altbench.runner.jobs import Job, RolloutJob
from altbench.runner.progress import Board
from altbench.runner.worker import Worker
from altbench.sweeps.spec import SweepSpec, load_sweep
from altbench.system import files, lease
from altbench.system.fingerprint import load_fingerprint

Finish = Callable[[SweepSpec, Path], None]


@pytest.fixture
def sweep(place: Any, monkeypatch: pytest.MonkeyPatch) -> SweepSpec:
    """A sweep with a policy that learns, one that cannot, and one that knows all: 3 fits and 12 cells."""
    monkeypatch.chdir(place.folder)
    monkeypatch.setattr(figures, "write_figures", lambda *args: ([], ()))
    # Pages have tests of their own, and no machine crashes here: nothing must reach the disk.
    monkeypatch.setattr(page, "write_page_of_run", lambda root: (root / page.PAGE).touch() or ())
    monkeypatch.setattr(files, "_flush", lambda path: None)
    policies = [{"policy": f"./own.py:{name}", "n": [3]} for name in ("Goes", "Learns")]
    return load_sweep(str(place.sweep(policies=policies)))


def board() -> Board:
    return Board(Console(file=io.StringIO()))


def plain(sweep: SweepSpec, root: Path) -> None:
    """`altbench run`, in this process."""
    with RunFolder(root).locked():
        summary = main.complete(Run.begin(root, sweep, "none"), InlineExecutor(), board())
    assert summary.failed == ()
    outputs.write(summary.run)


def joined(sweep: SweepSpec, root: Path, executor: InlineExecutor | None = None, **terms: Any) -> dict[str, str]:
    """One worker, which joins by the folder alone."""
    make_offer(root, sweep, mixed=False)
    return dict(work(load_offer(root), executor or InlineExecutor(), board(), "none", Terms(**terms)))


def one_worker(sweep: SweepSpec, root: Path) -> None:
    assert joined(sweep, root) == {}
    assert (root / "report.html").is_file(), "a run that workers finish has its page, like any other"


class StopsAfter(InlineExecutor):
    """An executor whose worker is stopped by Ctrl-C in its job number `jobs`, or whose machine vanishes there."""

    def __init__(self, jobs: int) -> None:
        super().__init__()
        self._left = jobs

    def submit(self, run: Run, job: Job) -> None:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        super().submit(run, job)


def many_in_turn(sweep: SweepSpec, root: Path) -> None:
    """Workers that each do a little from another end and leave, until one finds the rest."""
    for turn, shard in enumerate(("3/3", "1/3", "2/3")):
        with pytest.raises(KeyboardInterrupt):
            joined(sweep, root, StopsAfter(5 if turn == 0 else 3), shard=shard)
    # A big plan takes a minute: nobody waits for others that make theirs.
    with lease.held(load_offer(root).folder / "prepare.lease"):
        assert joined(sweep, root) == {}


class Suspended(InlineExecutor):
    """An executor whose machine is suspended in its first cell, until another worker has taken that over."""

    played: Path | None = None

    def submit(self, run: Run, job: Job) -> None:
        if isinstance(job, RolloutJob) and self.played is None and job.proof is not None:
            self.played = cells.cell_path(run.root, job.key)
            holder = replace(lease._own_holder(), token="other", place="elsewhere")
            job.proof.path.write_bytes(b"%012d\n%s\n" % (7, json.dumps(holder.__dict__).encode()))
        super().submit(run, job)


def test_a_worker_that_was_suspended_writes_nothing_into_a_cell_that_is_another_s(sweep: SweepSpec, place: Any) -> None:
    executor = Suspended()
    with pytest.raises(AltbenchError, match="taken over by process"):
        joined(sweep, place.folder / "run", executor)
    assert executor.played is not None and not executor.played.exists()


class FakeCluster(InlineExecutor):
    """Nodes that see nothing of the run's folder; each third job loses its node at first."""

    supervises = True

    def __init__(self, scratch: Path) -> None:
        super().__init__()
        self._scratch, self._count = scratch, 0

    def submit(self, run: Run, job: Job) -> None:
        self._count += 1
        if self._count % 3 == 0:
            self._ended.append(Outcome(job, died="the node is gone"))
            return
        found = [parcels.recorded(run, job)]
        if task := parcels.data_of(job):
            found.append(parcels.demonstrations(run, task))
        if folder := parcels.checkpoint(run, job):
            found.append(parcels.folder(folder))
        sent = pickle.loads(pickle.dumps((run.for_worker(), job, found)))
        error, files = node.do_by_value(*sent[:2], *sent[2])
        parcels.bring_home(run, pickle.loads(pickle.dumps(files)))
        self._ended.append(Outcome(job, error))


@pytest.fixture
def by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finish:
    """A node does its jobs in this process, in a folder of its own."""
    scratch = tmp_path / "node"

    def do(run: Run, job: Job) -> str:
        assert run.root == scratch
        return executors.attempt(run, job, Worker())

    monkeypatch.setattr(node, "do", do)
    monkeypatch.setattr(node, "_scratch", lambda: scratch)

    def finish(sweep: SweepSpec, root: Path) -> None:
        with RunFolder(root).locked():
            summary = main.complete(Run.begin(root, sweep, "none"), FakeCluster(scratch), board())
        assert summary.failed == ()
        outputs.write(summary.run)
        assert not list(scratch.rglob("*.parquet")), "a node keeps no results"

    return finish


@pytest.mark.parametrize("adapter", ["one worker", "many in turn", "by value"])
def test_each_adapter_gives_the_cells_and_tables_of_a_plain_run(
    adapter: str, sweep: SweepSpec, place: Any, by_value: Finish
) -> None:
    finish = {"one worker": one_worker, "many in turn": many_in_turn, "by value": by_value}[adapter]
    plain(sweep, place.folder / "plain")
    finish(sweep, place.folder / "other")
    assert place.tables("other") == place.tables("plain")
    assert place.outcomes("other") == place.outcomes("plain") != []
    assert {p.name for p in cells.cell_files(place.folder / "other")} == {
        p.name for p in cells.cell_files(place.folder / "plain")
    }


def test_a_fit_that_fails_is_told_with_its_cells_and_tried_again_by_the_next_run(place: Any, sweep: SweepSpec) -> None:
    root = place.folder / "run"
    broken = load_sweep(str(place.sweep(policy="CannotFit", seeds=1)))
    failed = joined(broken, root)
    assert "no fit today" in failed["fake/CannotFit/n3/s0/fit"]
    assert failed["fake/CannotFit/n3/s0/uniform/clean"] == "its checkpoint could not be fitted"
    first = load_offer(root)
    assert first.is_drawn and joined(broken, root) == failed
    assert load_offer(root).id != first.id, "a run that has ended is begun anew"


def test_a_worker_finds_what_is_finished_and_counts_it(place: Any, sweep: SweepSpec) -> None:
    root = place.folder / "run"
    plain(sweep, root)
    joined(sweep, root)
    found = load_offer(root)
    run = Run.begin(root, found.sweep, "none").with_data()
    summary = summarise(found, run, board())
    assert (summary.ran, summary.found) == (0, 12)


def test_measurements_are_made_last_by_one_worker(
    place: Any, sweep: SweepSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def measure(run: Run, measurement: Any, worker: object) -> None:
        done.append(len(cells.cell_files(run.root)))
        measures.write_measure(run.root, measurement.key, synthetic.measure("bc"))

    monkeypatch.setattr(work_module, "measure", measure)
    measured = sweep.model_copy(update={"measure": sweep_with_measure(place)})
    assert joined(measured, place.folder / "run") == {}
    assert done == [12] * 6


def sweep_with_measure(place: Any) -> Any:
    return load_sweep(str(place.sweep(measure={"decisions": 2}))).measure


def other_machine(**changes: str) -> Machine:
    return replace(Machine.here("cpu"), **changes)


def test_another_processor_is_refused_unless_allowed_and_then_told_in_every_table(
    place: Any, sweep: SweepSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = place.folder / "run"
    with pytest.raises(KeyboardInterrupt):
        joined(sweep, root, StopsAfter(6))
    elsewhere = other_machine(cpu="Another CPU 9000")
    monkeypatch.setattr(Machine, "here", lambda device: elsewhere)
    with pytest.raises(AltbenchError, match=r"cpu: expected .*, got Another CPU 9000.*--allow-mixed") as refused:
        joined(sweep, root)
    assert "\n" not in str(refused.value)
    assert joined(sweep, root, mixed=True) == {}
    for table in (root / "tables").glob("*.md"):
        assert "MIXED MACHINES" in table.read_text() and "Another CPU 9000" in table.read_text()
    found = load_fingerprint(root)
    assert found is not None and "Another CPU 9000" in found.mixed
    plain(sweep, root)
    assert "MIXED MACHINES" in (root / "tables" / "success.md").read_text(), "a later run keeps the mark"


@pytest.mark.parametrize("what", ["altbench", "commit", "precision"])
def test_another_version_or_precision_is_refused(what: str) -> None:
    with pytest.raises(AltbenchError, match=f"{what}: expected .*, got other"):
        refuse_mixed(other_machine(), other_machine(**{what: "other"}), "the node n1", allowed=False)


def test_packages_that_enter_keys_are_refused_though_mixed_machines_are_allowed() -> None:
    with pytest.raises(AltbenchError, match="keys would differ"):
        refuse_mixed(other_machine(), other_machine(packages="mujoco 1"), "the node n1", allowed=True)


def test_another_renderer_is_refused_since_keys_would_differ(place: Any, sweep: SweepSpec) -> None:
    root = place.folder / "run"
    with pytest.raises(KeyboardInterrupt):
        joined(sweep, root, StopsAfter(6))
    with pytest.raises(AltbenchError, match=r"keys would differ here.*renderer osmesa"):
        work(load_offer(root), InlineExecutor(), board(), "osmesa", Terms())


def test_a_folder_that_is_not_shared_is_told_in_one_line(place: Any, sweep: SweepSpec) -> None:
    made = make_offer(place.folder / "run", sweep, mixed=False)
    (place.folder / "empty").mkdir()
    for other, told in (("missing", "no such folder"), ("empty", "no run is offered in it")):
        with pytest.raises(ResultsError, match=f"expected the run {made.id}.*{told}.*that all machines share"):
            load_offer(place.folder / other, made.id)
    with pytest.raises(ResultsError, match="it holds the run"):
        load_offer(place.folder / "run", "another")
    with pytest.raises(ResultsError, match="--executor worker` offers one"):
        load_offer(place.folder / "empty")


def test_a_folder_in_use_is_refused_both_ways(place: Any, sweep: SweepSpec) -> None:
    root = place.folder / "run"
    with RunFolder(root).locked(), pytest.raises(AltbenchError, match="in use by process"):
        make_offer(root, sweep, mixed=False)
    made = make_offer(root, sweep, mixed=False)
    with lease.held(made.folder / "workers" / "one.lease"):
        with pytest.raises(AltbenchError, match=r"in use by the worker.*altbench worker"), RunFolder(root).locked():
            pass
        with pytest.raises(AltbenchError, match="for the sweep 'fake'"):
            make_offer(root, sweep.model_copy(update={"name": "another"}), mixed=False)
        assert make_offer(root, sweep, mixed=False) == made, "a second head joins the first one's run"


def test_an_offer_of_another_version_is_begun_anew(
    place: Any, sweep: SweepSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = place.folder / "run"
    with pytest.raises(KeyboardInterrupt):
        joined(sweep, root, StopsAfter(6))
    old = load_offer(root).id
    newer = other_machine(altbench="99.0")
    monkeypatch.setattr(Machine, "here", lambda device: newer)
    assert joined(sweep, root) == {} and load_offer(root).id != old


def test_a_block_that_loses_three_workers_is_given_up_and_told(
    place: Any, sweep: SweepSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = place.folder / "run"
    with pytest.raises(KeyboardInterrupt):
        joined(sweep, root, StopsAfter(6))
    claims = load_offer(root).folder / "claims" / "0000"
    number = next(n for n in range(3, 15) if not (claims / f"{n}.done").is_file())
    (claims / f"{number}.lost").write_text("2")
    gone = replace(lease._own_holder(), token="dead", pid=2**22 + 1)
    (claims / f"{number}.lease").write_bytes(b"%012d\n%s\n" % (7, json.dumps(gone.__dict__).encode()))
    failed = joined(sweep, root)
    assert len(failed) == 1 and "its worker was lost 3 times" in next(iter(failed.values()))
    assert (load_published(root)["status"] == "infra_error").sum() in (2, 3)


def test_a_name_that_leads_out_of_the_folder_is_refused(place: Any, sweep: SweepSpec) -> None:
    run = Run.begin(place.folder / "run", sweep, "none")
    for name in ("../out", "/out", "checkpoints/x/../../../out"):
        with pytest.raises(AltbenchError, match="inside the run's folder"):
            parcels.bring_home(run, {name: b""})
    assert not (place.folder.parent / "out").exists()


def test_a_big_run_divides_its_cells_and_finds_those_of_before(
    place: Any, sweep: SweepSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = place.folder / "run"
    plain(sweep, place.folder / "plain")
    with pytest.raises(KeyboardInterrupt):
        joined(sweep, root, StopsAfter(9), shard="1/1")
    flat = len(list((root / "cells").glob("*.parquet")))
    monkeypatch.setattr(cells, "MOST_FLAT", 10)
    plain(sweep, root)
    assert flat and len(list((root / "cells").glob("*.parquet"))) == flat
    assert len(cells.cell_files(root)) == 12 and len(list((root / "cells").glob("??/*.parquet"))) == 12 - flat
    assert place.tables("run") == place.tables("plain")
    assert len(load_published(root)) == len(load_published(place.folder / "plain"))
