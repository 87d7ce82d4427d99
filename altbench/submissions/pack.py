"""Packing a row of a run as one archive."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from altbench.core import registry
from altbench.core.errors import ConfigError, ResultsError, UnknownNameError
from altbench.core.spec import canonical, digest
from altbench.dataset.files import Dataset, read
from altbench.dataset.format import physics_versions
from altbench.dataset.subsets import subset
from altbench.results import cells, history, measures
from altbench.results.checkpoints import CARD, read_card
from altbench.results.run import Run
from altbench.rollout.episode import PROTOCOL_VERSION
from altbench.rollout.records import CellResult
from altbench.runner.episodes import episode_plans
from altbench.submissions.archive import archive_bytes
from altbench.submissions.manifest import (
    DEMONSTRATIONS,
    MANIFEST,
    Manifest,
    Point,
    PolicyCard,
    Shown,
    ShownFile,
    Start,
    part_bytes,
)
from altbench.submissions.simulate import begin, control_mode, simulators
from altbench.submissions.starts import States, write_starts
from altbench.submissions.suite import SCHEMA, SUITE_VERSION
from altbench.submissions.verification.rules import broken_rules, claim_of
from altbench.sweeps.keys import checkpoint_specification
from altbench.sweeps.plan import Cell, Checkpoint
from altbench.sweeps.rows import make_evaluations, make_row
from altbench.sweeps.spec import SweepSpec
from altbench.system import fingerprint, sealed
from altbench.system.files import file_name
from altbench.system.fingerprint import package_version


def pack(
    root: Path,
    label: str,
    out: Path | None = None,
    with_checkpoint: bool = False,
    card: PolicyCard | None = None,
    *,
    renderer: str | None = None,
) -> Path:
    """Write the archive of the row `label` of the run in `root`; return its path.

    `out`: None is LABEL.zip in the working directory. `with_checkpoint`: with what the
    policy learned, so that others can play it. `renderer`: of the run; None: this
    machine's. The initial states are computed again
    from the seeds; nothing is rendered and no policy plays. Errors, each before anything
    is written: UnknownNameError for a label that the run lacks, ResultsError for
    episodes that are missing, ConfigError for a run that the suite does not allow.
    """
    target = out or Path(f"{file_name(label)}.zip")
    if target.is_dir():
        raise ConfigError(f"{target}: is a folder; expected the name of a file, such as mine.zip")
    run = _run_with(root, label, renderer)
    own = [cell for cell in run.plan.cells if cell.label == label]
    found = _recorded(run, own)
    with tempfile.TemporaryDirectory(prefix="altbench-pack-") as place:
        folder = Path(place)
        manifest = _fill(folder, run, own, found, with_checkpoint, card or PolicyCard())
        if faults := broken_rules([one for _, one in found]):
            raise ConfigError(f"{root}, row {label!r}: {faults[0]}")
        parts = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    parts[MANIFEST] = part_bytes(manifest.model_copy(update={"parts": sums}))
    sealed.write_bytes(target, archive_bytes(parts))
    return target


def _run_with(root: Path, label: str, renderer: str | None) -> Run:
    """Return the run of the last sweep in `root` that has the row `label`."""
    sweeps = history.load(root)
    for sweep in sweeps:
        if label in [entry.name for entry in sweep.policies]:
            return Run.begin(root, sweep, renderer, needs_data=True).with_data("that its episodes began from")
    labels = {entry.name for sweep in sweeps for entry in sweep.policies}
    raise UnknownNameError(f"row of {root}", label, labels)


def _recorded(run: Run, own: Sequence[Cell]) -> list[tuple[Cell, CellResult]]:
    """Return the row's cells with their records; ResultsError if some are missing."""
    lacking = [cell.name for cell in own if not cells.is_finished(run.root, cell.key)]
    if lacking:
        raise ResultsError(
            f"{run.root}: {len(lacking)} of {len(own)} cells have no finished record made with these versions, device "
            f"and renderer, such as {lacking[0]}; `altbench run` with the sweep {run.sweep.name!r} makes them"
        )
    return [(cell, cells.read_cell(cells.cell_path(run.root, cell.key))) for cell in own]


def _fill(
    folder: Path,
    run: Run,
    own: Sequence[Cell],
    found: Sequence[tuple[Cell, CellResult]],
    with_checkpoint: bool,
    card: PolicyCard,
) -> Manifest:
    """Write all parts but the manifest into `folder`; return the manifest without their checksums."""
    for cell, _ in found:
        target = folder / cells.CELLS / f"{cell.key}.parquet"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(cells.cell_path(run.root, cell.key), target)
    points = {cell.checkpoint.key: cell.checkpoint for cell in own}
    for measurement in run.plan.measurements:
        path = measures.measure_path(run.root, measurement.key)
        if measurement.label == own[0].label and path.is_file():
            (folder / measures.MEASURES).mkdir(exist_ok=True)
            shutil.copyfile(path, folder / measures.MEASURES / path.name)
    made_by = fingerprint.load_fingerprint(run.root) or run.fingerprint()
    fingerprint.write_fingerprint(folder, dataclasses.replace(made_by, sources=dict(made_by.sources)))
    write_starts(folder, _initial_states(run, found))
    shown = tuple(_shown(run, point) for point in {(p.task, p.n): p for p in points.values()}.values())
    sealed.write_bytes(folder / DEMONSTRATIONS, part_bytes(ShownFile(shown=shown)))
    kept = [_point(run, point, folder, with_checkpoint) for point in points.values()]
    policy = registry.policy(own[0].checkpoint.policy)
    perturbations = [cell.column.perturbation for cell in own if cell.column.perturbation]
    return Manifest(
        schema_version=SCHEMA,
        suite=SUITE_VERSION,
        protocol=PROTOCOL_VERSION,
        altbench=package_version("altbench") or "",
        label=own[0].label,
        card=card,
        policy_version=policy.version,
        tasks={point.task: registry.task(point.task).version for point in points.values()},
        perturbations={cell.column.entry.name: one.version for cell in own if (one := cell.column.perturbation)}
        if perturbations
        else {},
        physics=physics_versions(),
        image_size=run.sweep.image_size,
        render_profile=run.sweep.render_profile,
        points=tuple(kept),
        claims=tuple(claim_of(result) for _, result in found),
        parts={},
    )


def _initial_states(run: Run, found: Sequence[tuple[Cell, CellResult]]) -> States:
    """Return the state in which every recorded episode began, from the simulator."""
    states = {}
    with simulators() as made:
        for cell, result in found:
            task = cell.checkpoint.task
            longest = max((e.trajectory for e in result.episodes), key=len, default=())
            env = made.of(task, control_mode(task, longest), run.sweep.horizon_of(task))
            for plan in episode_plans(run, cell):
                states[cell.key, plan.index] = begin(env, plan)
    return states


def _shown(run: Run, point: Checkpoint) -> Shown:
    """Return what the archive tells of the demonstrations of a checkpoint."""
    held: Dataset = read(run.data[point.task], point.task)
    chosen = subset(held.demonstrations, point.n, registry.task(point.task).grid_size, run.sweep.seed)
    starts = tuple(
        Start(
            index=one.index,
            seed=one.seed,
            grid_index=one.grid_index,
            sim_state=tuple(one.initial_state.sim_state.tolist()),
            object_pose=tuple(one.initial_state.object_pose.tolist()),
        )
        for one in chosen
    )
    imported = "an imported file" if any(one.seed < 0 for one in chosen) else ""
    return Shown(
        task=point.task,
        n=point.n,
        checksum=run.plan.data[point.task, point.n],
        collected=len(held),
        placement=held.meta.placement,
        root_seed=held.meta.root_seed,
        expert=held.meta.versions.get("expert", imported),
        starts=starts,
    )


def _point(run: Run, point: Checkpoint, folder: Path, with_checkpoint: bool) -> Point:
    """Return what the manifest says of a checkpoint; copy its files if they belong to the archive."""
    place = ""
    if with_checkpoint and point.trainable:
        place = f"checkpoints/{point.key[:16]}"
        _copy_checkpoint(run.fitted(point), folder / place)
    return Point(
        name=point.name,
        task=point.task,
        policy=point.policy.rpartition("/")[2],
        preset=point.preset,
        n=point.n,
        train_seed=point.train_seed,
        key=point.key,
        specification=canonical(_specification(run, point)),
        config=dict(point.config),
        trainable=point.trainable,
        folder=place,
    )


def _copy_checkpoint(source: Path, target: Path) -> None:
    """Copy a checkpoint's card and the files that it names: no logs, and nothing else."""
    card = read_card(source)
    if not card.files or not (source / CARD).is_file():
        raise ConfigError(f"{source}: an old checkpoint without digests of its files; fit it anew to submit it")
    for name in (CARD, *card.files):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def _specification(run: Run, point: Checkpoint) -> dict[str, object]:
    """Return the specification whose digest is the checkpoint's key."""
    sweep: SweepSpec = run.sweep
    task = registry.task(point.task)
    evaluations = make_evaluations(sweep, task)
    entries = [entry for entry in run.plan.sweep.policies if entry.name == point.label]
    row = make_row(sweep, run.provenance, task, entries[0], evaluations)
    # As JSON, so that tuples and lists are the same in the archive as in the key.
    found: dict[str, object] = json.loads(canonical(checkpoint_specification(row, point.n, point.train_seed)))
    if digest(found) != point.key:
        raise ConfigError(f"{point.name}: its code, files or settings have changed since it was planned; run it again")
    return found
