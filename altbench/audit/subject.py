"""The subject of an audit: a checkpoint, found in its run, with the cells that the
audit's cases need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from altbench.audit.cases import Case, choose_cases, evaluations
from altbench.audit.expert import EXPERT
from altbench.core import registry
from altbench.core.errors import CheckpointError, ConfigError, UnknownNameError
from altbench.results import cells as results
from altbench.results import history
from altbench.results.checkpoints import CARD, is_checkpoint, read_card
from altbench.results.run import Run
from altbench.sweeps.kept import entry_as_kept
from altbench.sweeps.plan import Cell, Checkpoint
from altbench.sweeps.rows import KEY_PACKAGES
from altbench.sweeps.spec import PolicyEntry, SweepSpec
from altbench.system import fingerprint


@dataclass(frozen=True)
class Subject:
    """A row of a run with the cells of its audit, one per case.

    The first `episodes` episodes of each count.
    """

    run: Run
    checkpoint: Checkpoint
    cells: tuple[Cell, ...]
    episodes: int

    @property
    def name(self) -> str:
        """The row's readable name, such as `lift/alt/n30/s0`.

        Rows that share a checkpoint have their own.
        """
        return self.cells[0].name.removesuffix(f"/{self.cells[0].column.name}")

    @property
    def title(self) -> str:
        """The name in figures."""
        return f"{self.checkpoint.task}, {self.cells[0].label}, N = {self.checkpoint.n}"


def find_subject(
    checkpoint: str, root: Path | None, renderer: str, case_names: Sequence[str], episodes: int
) -> Subject:
    """Return the subject that `checkpoint` names.

    That is a folder RUN/checkpoints/NAME, or a readable name in the run under `root`.
    CheckpointError, ResultsError or DatasetError if something needed is missing;
    ConfigError for a label that the control has.
    """
    folder = Path(checkpoint)
    if root is None:
        _check_folder(folder)
        root = folder.resolve().parent.parent
    sweeps = history.load(root)
    by_folder = is_checkpoint(folder)
    row = _row_of(folder) if by_folder else _row_called(checkpoint, sweeps, root)
    sweep = next((one for one in sweeps if row.name in _rows(one)), sweeps[0])
    if row.entry.name == EXPERT:
        raise ConfigError(f"{row.name}: the audit's control is called {EXPERT!r}; give the policy another `label`")
    cases = choose_cases(case_names, registry.task(row.task))
    subject = _subject(root, narrowed(sweep, row), cases, episodes, renderer)
    if by_folder and subject.checkpoint.key != read_card(folder).key:
        raise CheckpointError(_changed(folder, root))
    _check_fitted(subject)
    return subject


def _changed(folder: Path, root: Path) -> str:
    """Say why the checkpoint in `folder` would have another key now."""
    made_by = fingerprint.load_fingerprint(root)
    changes = fingerprint.differences(made_by, fingerprint.collect()) if made_by else []
    changed = [line for line in changes if line.split(":")[0] in (*KEY_PACKAGES, "gpu")]
    return (
        f"{folder}: made with other versions, data or settings than {root} would fit it with now"
        f"{' (' + '; '.join(changed) + ')' if changed else ''}; `altbench run` fits it anew"
    )


def _check_folder(folder: Path) -> None:
    """Raise CheckpointError, with what to do, unless `folder` is RUN/checkpoints/NAME."""
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: no such folder; expected a checkpoint's, such as results/quick/checkpoints/lift-alt-n30-s0-..., "
            "or its name, such as lift/alt/n30/s0, with --run RUN"
        )
    if not is_checkpoint(folder):
        inside = sorted(path.name for path in (folder / "checkpoints").glob("*") if is_checkpoint(path))
        hint = f"; this run has the checkpoints {', '.join(inside)}" if inside else ""
        raise CheckpointError(f"{folder}: not a checkpoint; expected a {CARD} in it{hint}")
    if not (folder.resolve().parent.parent / "sweep.json").is_file():
        raise CheckpointError(
            f"{folder}: not inside a run, so its demonstrations are not known; expected RUN/checkpoints/NAME beside "
            "RUN/sweep.json, or --run RUN"
        )


@dataclass(frozen=True)
class _Row:
    """A row for a task, with one N and one training seed."""

    task: str
    entry: PolicyEntry
    train_seed: int

    @property
    def name(self) -> str:
        """The readable name, such as `lift/alt/n30/s0`."""
        return f"{self.task.lower()}/{self.entry.name}/n{self.entry.n[0]}/s{self.train_seed}"


def _row_called(name: str, sweeps: Sequence[SweepSpec], root: Path) -> _Row:
    """Return the row called `name` in the first of the run's sweeps that has it."""
    known = [_rows(sweep) for sweep in sweeps]
    for rows in known:
        if name in rows:
            return rows[name]
    raise UnknownNameError(f"checkpoint of {root}", name, {name for rows in known for name in rows})


def _rows(sweep: SweepSpec) -> dict[str, _Row]:
    """Return name -> row."""
    rows = [
        _Row(task, entry.model_copy(update={"n": (n,)}), seed)
        for task in sweep.tasks
        for entry in sweep.policies
        for n in entry.n
        for seed in sweep.train_seeds
    ]
    return {row.name: row for row in rows}


def _row_of(folder: Path) -> _Row:
    """Return the row of the checkpoint in `folder`, from its own card: the run's sweep
    may have changed since.
    """
    card = read_card(folder)
    label = folder.resolve().name.rsplit("-", 3)[0].removeprefix(f"{card.task.lower()}-")
    entry = PolicyEntry(policy=card.policy, label=label, preset=card.preset, n=(card.n,), config=dict(card.config))
    return _Row(card.task, entry_as_kept(entry), card.train_seed)


def narrowed(sweep: SweepSpec, row: _Row) -> SweepSpec:
    """Return `sweep` for one row alone.

    Its fit, its episodes and their keys stay the same.
    """
    n = max(sweep.demonstrations.n, *row.entry.n)
    update = {
        "tasks": (row.task,),
        "policies": (row.entry,),
        "train_seeds": (row.train_seed,),
        "demonstrations": sweep.demonstrations.model_copy(update={"n": n}),
    }
    return sweep.model_copy(update=update)


def _subject(root: Path, sweep: SweepSpec, cases: Sequence[Case], episodes: int, renderer: str) -> Subject:
    # Episodes depend on their number alone: a longer cell that is finished holds those
    # of a shorter one.
    longer = sorted({e.episodes for e in sweep.evaluations if isinstance(e.episodes, int) and e.episodes > episodes})
    audited = sweep.model_copy(update={"evaluations": evaluations(cases, episodes)})
    run = Run.begin(root, audited, renderer, needs_data=True).with_data("that the policy is to be compared with")
    plans = [run.plan, *(run.with_evaluations(evaluations(cases, count)).plan for count in longer)]
    columns = zip(*(plan.cells for plan in plans), strict=True)
    cells = [next((c for c in column if results.is_finished(root, c.key)), column[0]) for column in columns]
    return Subject(run, cells[0].checkpoint, tuple(cells), episodes)


def _check_fitted(subject: Subject) -> None:
    point, run = subject.checkpoint, subject.run
    if point.n < 2:
        raise ConfigError(f"{subject.name}: S compares with two demonstrations, the policy was trained on {point.n}")
    if point.trainable and not run.checkpoint_folder(point):
        raise CheckpointError(
            f"{run.folder.checkpoints}: no fit of {point.name} made with these versions and data; `altbench run` makes it"
        )
