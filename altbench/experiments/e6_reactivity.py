"""E6: which policies follow the object after it is moved in the middle of an episode."""

from __future__ import annotations

from collections.abc import Sequence

from altbench.core.words import listed
from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, drawn
from altbench.experiments.shared.matrix import Matrix, chosen, clean, dot_plot, label_rows, matrix, matrix_table
from altbench.experiments.shared.paired import better, paired_table
from altbench.experiments.shared.sections import Report, Reported, Section
from altbench.experiments.shared.sweeps import EPISODES, POLICIES, N, Preset, evaluation, make_sweep, row
from altbench.experiments.shared.texts import prose
from altbench.report.table import Table
from altbench.stats.rates import RANKED_FROM, countable
from altbench.sweeps.spec import EventEntry, SweepSpec

ROWS = (*POLICIES, "fisher")
"""The rows of every experiment, and a lookup that looks again before the grasp."""
MOVE_AT = 10
"""Control step of the move, after half a second.

The arm of a demonstration is then above the cube, on its way down.
"""
DISTANCES = (0.05, 0.1)
"""How far the cube is moved, in metres.

The gripper opens 8 cm and the cube is 4 cm wide. A hand that goes on as before
therefore misses the cube after a move of 5 cm.
"""
BLIND = "open_loop"
"""The policy that looks once, at the start; a policy that does not react is like it."""
TO_DEMONSTRATED = EventEntry(move_at=MOVE_AT, to="demonstrated")
"""A move to a pose that a policy can solve by recall: what it fails there, it fails for not reacting."""
EVENTS = (TO_DEMONSTRATED, *(EventEntry(move_at=MOVE_AT, by=distance) for distance in DISTANCES))

METHOD = """
    Lift, {n} demonstrations, split `recall`, {episodes} episodes. Before control step
    {move_at} the cube is moved at once to another place on the table: to the nearest pose
    of another demonstration, its turn included, or by a distance in a direction that is
    drawn for each episode. It is the same for all policies, unless an arm is in the way.
    A move by a distance ends at a pose that nobody demonstrated, where a lookup fails
    unmoved as well (`uniform`). So reactivity is read off the move between demonstrated
    poses, beside `recall`, where nothing is moved. A policy sees the move at its next
    decision, which may be as many steps later as its executed chunk is long.
    """
MOVED = "It was moved {counts}. It is not moved if the episode has ended or a gripper touches it."
MOVED_COUNT = "{how} in {moved} of {episodes} episodes"
BLINDLY = """
    A policy reacts if it succeeds significantly more often than `{blind}`, which looks
    once, at the start.
    """
SUMMARY = "{policies}: significantly more successes than playing open loop ({blind}) with the cube {moved}."
SUMMARY_NONE = (
    "No policy reacts: none succeeds significantly more often than playing open loop ({blind}) with the cube {moved}."
)
SUMMARY_FEW = "Too few episodes (fewer than {least}) to say which policies react."


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Ask for every policy with the object at rest and with each move."""
    rows = [row(policy, preset) for policy in ROWS]
    moved = [evaluation("recall", event=event) for event in EVENTS]
    return [make_sweep("reactivity", rows, [evaluation("recall"), *moved])]


def report(run: ExperimentRun) -> Report:
    """Report success with and without a move, and each policy against open loop."""
    columns = {"not moved": clean("recall"), **{_head(event): clean(_split(event)) for event in EVENTS}}
    found = matrix(run, label_rows(run, ROWS), columns)
    paired = {event: _against_blind(run, event) for event in EVENTS}
    sections = (
        Section(
            "When the object is moved",
            f"{prose(METHOD, n=N, episodes=EPISODES, move_at=MOVE_AT)} {_took_place(run)}".strip(),
            {"moved": matrix_table("Success when the object is moved", found)},
            ("success",),
        ),
        Section(
            "Compared with playing open loop",
            prose(BLINDLY, blind=BLIND),
            {f"against_blind_{_stem(event)}": table for event, table in paired.items()},
        ),
    )
    return Report(_summary(found, paired[EVENTS[0]]), sections, _reported(found))


def figures(tables: Tables) -> Figures:
    """Draw success with and without a move."""
    title = "Lift, 30 demonstrations, recall: success when the cube is moved"
    return drawn(success=lambda: dot_plot(title, tables["moved"]))


def _against_blind(run: ExperimentRun, event: EventEntry) -> Table:
    frame = chosen(run.episodes(), clean(_split(event)))
    groups = {str(label): group for label, group in frame.groupby("label")}
    return paired_table(f"Cube {_head(event)}", groups, BLIND, "policy", f"`recall`, {_head(event)}")


def _split(event: EventEntry) -> str:
    return f"recall+{event.title}"


def _stem(event: EventEntry) -> str:
    return event.to or f"{100 * event.by:g}cm"


def _how(event: EventEntry) -> str:
    return "to another demonstrated pose" if event.to else f"by {100 * event.by:g} cm"


def _head(event: EventEntry) -> str:
    return f"moved {_how(event)}"


def _took_place(run: ExperimentRun) -> str:
    """Say in how many episodes the cube was moved.

    An episode that ended before, or in which a gripper touched the cube, has no move.
    """
    frame, counts = countable(run.episodes()), []
    for event in EVENTS:
        moved = chosen(frame, clean(_split(event)))["moved"].dropna()
        numbers = {"how": _how(event), "moved": int(moved.sum()), "episodes": len(moved)}
        counts += [prose(MOVED_COUNT, **numbers)] if len(moved) else []
    return prose(MOVED, counts=listed(counts)) if counts else ""


def _summary(found: Matrix, paired: Table) -> str:
    if paired.data.empty:
        return ""
    if paired.data["pairs"].max() < RANKED_FROM:
        return prose(SUMMARY_FEW, least=RANKED_FROM)
    react, head = better(paired), found.columns[1]
    blind = found.text(BLIND, head) if BLIND in found.rows else ""
    if not react:
        return prose(SUMMARY_NONE, blind=blind, moved=head)
    policies = f"{listed(react)} {'react' if len(react) > 1 else 'reacts'}"
    return prose(SUMMARY, policies=policies, blind=blind, moved=head)


def _reported(found: Matrix) -> tuple[Reported, ...]:
    ours = {name: found.text(name, found.columns[1]) for name in found.rows}
    return tuple(
        Reported(f"{name}: reacts to a moved object", "yes", ours.get(name, "")) for name in ("diffusion", "alt")
    )


EXPERIMENT = Experiment(
    id="E6",
    name="reactivity",
    title="Reactivity to a moved object",
    question="When the object is moved in the middle of an episode, does a policy that recalls trajectories follow it?",
    report=report,
    figures=figures,
    sweeps=sweeps,
)
