"""E6: the object is moved in mid-episode: who goes where it now is, and who goes on to where it was."""

from __future__ import annotations

from collections.abc import Sequence

from altbench.experiments.shared.experiment import Experiment, ExperimentRun, Preset, Report, Reported, Section
from altbench.experiments.shared.matrix import Matrix, Where, cells_of, chosen, clean, dot_plot, matrix, matrix_table
from altbench.experiments.shared.paired import better, paired_table
from altbench.experiments.shared.sweeps import EPISODES, POLICIES, N, evaluation, make_sweep, row
from altbench.experiments.shared.texts import listed, prose
from altbench.report.table import Table
from altbench.stats.rates import RANKED_FROM, countable
from altbench.sweeps.spec import EventEntry, SweepSpec

MOVE_AT = 10
"""Control step, half a second in: the arm of a demonstration is then above the cube, on its way down."""
DISTANCES = (0.05, 0.1)
"""Metres; the gripper opens 8 cm and the cube is 4 wide, so that a hand that goes on as before misses it at 5."""
BLIND = "open_loop"
EVENTS = tuple(EventEntry(move_at=MOVE_AT, by=distance) for distance in DISTANCES)

METHOD = """
    Lift, {n} demonstrations, split `recall`, {episodes} episodes. Before control step {move_at} the cube is put elsewhere
    on the table, at once, in a direction drawn for each episode, the same for all policies unless an arm is in the way. A
    policy sees the move at its next decision, up to its executed chunk's length later.
    """
MOVED = "It was moved {counts} (not where the episode had ended or a gripper touched it)."
MOVED_COUNT = "by {centimetres} cm in {moved} of {episodes} episodes"
BLINDLY = "A policy reacts where it succeeds significantly more often than `{blind}`, which looks once, at the start."
SUMMARY = "{policies}: more successes than playing blindly ({blind}) with the cube {moved}."
SUMMARY_FEW = "Too few episodes (under {least}) to say who reacts."


def sweeps(preset: Preset) -> Sequence[SweepSpec]:
    """Every policy where the object stays and where it is moved."""
    rows = [row(policy, preset) for policy in POLICIES]
    moved = [evaluation("recall", event=event) for event in EVENTS]
    return [make_sweep("reactivity", rows, [evaluation("recall"), *moved])]


def report(run: ExperimentRun) -> Report:
    """Success with and without a move, and each policy against the one that cannot see."""
    rows: dict[str, Where] = {name: {"label": name} for name in POLICIES if cells_of(run, {"label": name})}
    columns = {"not moved": clean("recall"), **{_head(event): clean(_split(event)) for event in EVENTS}}
    found = matrix(run, rows, columns)
    paired = {event: _against_blind(run, event) for event in EVENTS}
    figure = dot_plot("Lift, 30 demonstrations: success when the cube is moved", found)
    sections = (
        Section(
            "When the object is moved",
            f"{prose(METHOD, n=N, episodes=EPISODES, move_at=MOVE_AT)} {_took_place(run)}".strip(),
            {"moved": matrix_table("Success when the object is moved", found)},
            {"success": figure} if figure else {},
        ),
        Section(
            "Against playing blindly",
            prose(BLINDLY, blind=BLIND),
            {f"against_blind_{_centimetres(event)}cm": table for event, table in paired.items()},
        ),
    )
    return Report(_summary(found, paired[EVENTS[0]]), sections, _reported(found))


def _against_blind(run: ExperimentRun, event: EventEntry) -> Table:
    frame = chosen(run.episodes(), clean(_split(event)))
    groups = {str(label): group for label, group in frame.groupby("label")}
    return paired_table(f"Cube {_head(event)}", groups, BLIND, "policy", f"`recall`, {_head(event)}")


def _split(event: EventEntry) -> str:
    return f"recall+{event.title}"


def _centimetres(event: EventEntry) -> str:
    return f"{100 * event.by:g}"


def _head(event: EventEntry) -> str:
    return f"moved by {_centimetres(event)} cm"


def _took_place(run: ExperimentRun) -> str:
    """In how many episodes the cube was moved: not in those that ended before, nor where a gripper touched it already."""
    frame, counts = countable(run.episodes()), []
    for event in EVENTS:
        moved = chosen(frame, clean(_split(event)))["moved"].dropna()
        numbers = {"centimetres": _centimetres(event), "moved": int(moved.sum()), "episodes": len(moved)}
        counts += [prose(MOVED_COUNT, **numbers)] if len(moved) else []
    return prose(MOVED, counts=listed(counts)) if counts else ""


def _summary(found: Matrix, paired: Table) -> str:
    if paired.data.empty:
        return ""
    if paired.data["pairs"].max() < RANKED_FROM:
        return prose(SUMMARY_FEW, least=RANKED_FROM)
    react, head = better(paired), found.columns[1]
    verb = "react" if len(react) > 1 else "reacts"
    policies = f"{listed(react)} {verb}" if react else "No policy significantly reacts"
    blind = found.text(BLIND, head) if BLIND in found.rows else ""
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
    question="When the object is moved in mid-episode, does a policy that recalls trajectories follow it?",
    report=report,
    sweeps=sweeps,
)
