"""Section 1: three sentences by fixed rules, above the main table.

The rules, which docs/report.md repeats for readers:

1. What was measured: rows, tasks, episodes, cells, splits and perturbations.
2. What it shows: on the split whose starts were shown (`recall`, else `replay`) and on
   the farthest split with new starts (`uniform`, else the last one), the row with the
   highest rate, with n and interval, and whether it is better than all others.
3. What was not measured, and which difference could not have been seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from altbench.core.words import count, listed
from altbench.page.conditions import Condition, Row
from altbench.page.flags import audits
from altbench.page.records import RunRecords, task_info
from altbench.page.table_rows import TableRow, table_rows
from altbench.report.privileged import is_privileged
from altbench.report.success import CONDITION, ROW
from altbench.report.table import interval_text
from altbench.stats.clustering import SHOWN, start_of
from altbench.stats.paired import paired_differences
from altbench.stats.parts import EpisodeParts
from altbench.stats.power import detectable_drop
from altbench.stats.rates import RANKED_FROM

LEVEL = 0.05
"""The one-sided level at which a difference counts as seen."""
FARTHEST = "uniform"
"""The split with new starts that is spoken of if it was played."""
LISTED = 6
"""How many names a sentence lists at most."""


@dataclass(frozen=True)
class Verdict:
    """The three sentences, what was not measured, and the main table."""

    sentences: tuple[str, str, str]
    splits: tuple[str, ...]
    table: tuple[TableRow, ...]
    costs: bool
    flags: bool


def verdict(run: RunRecords) -> Verdict:
    """Return the first section's contents."""
    clean = [split for split in run.splits if any(c.clean and c.split == split for c in run.conditions)]
    table = table_rows(run, clean)
    return Verdict(
        (measured(run), shown(run), not_measured(run)),
        tuple(clean),
        table,
        any(line.cost.p50 is not None or line.cost.megabytes is not None for line in table),
        any(line.flags for line in table),
    )


# --------------------------------------------------------------------------------------------------- the sentences


def measured(run: RunRecords) -> str:
    """Return the first sentence: what was measured."""
    counted = int(run.success["episodes"].sum())
    splits = _some([split for split in run.splits if any(c.clean and c.split == split for c in run.conditions)])
    perturbed = sorted({c.perturbation.replace("_", " ") for c in run.conditions if not c.clean})
    n = sorted({row.n for row in run.rows})
    more = f", and under {count(len(perturbed), 'perturbation')} ({_some(perturbed)})" if perturbed else ""
    seeds = run.train_seeds
    return (
        f"{count(len(run.labels), 'policy', 'policies')} with {_some(map(str, n), 'or')} demonstrations played "
        f"{counted:,} episodes of {_some(run.tasks)} in {count(len(run.cells), 'cell')}: on {splits}"
        f"{more}{f', with {seeds} training seeds' if seeds > 1 else ''}."
    )


def shown(run: RunRecords) -> str:
    """Return the second sentence: who leads where starts were shown, and where they are new."""
    chosen = spoken_splits(run)
    if not chosen:
        return "No unperturbed episode counts, so that nothing can be said about success."
    said = [_leaders(run, split, kind) for split, kind in chosen]
    return f"{said[0][0].upper()}{said[0][1:]}" + (f"; {said[1]}" if len(said) > 1 else "") + "."


def spoken_splits(run: RunRecords) -> list[tuple[str, str]]:
    """Return the splits that the second sentence speaks of, each with what its starts are."""
    clean = [s for s in run.splits if any(c.clean and c.split == s and c.rate is not None for c in run.conditions)]
    own = [s for s in clean if start_of(s) in SHOWN and s == start_of(s)]
    new = [s for s in clean if start_of(s) not in SHOWN]
    said = [(next((s for s in own if s == SHOWN[1]), own[0]), "starts that were shown")] if own else []
    return said + ([(next((s for s in new if s == FARTHEST), new[-1]), "new starts")] if new else [])


def leaders(run: RunRecords, split: str) -> list[Condition]:
    """Return the best row of each task on an unperturbed split; ties: the first.

    Privileged policies, which see the task's state, do not compete.
    """
    found = []
    for task in run.tasks:
        own = [c for c in run.conditions if c.clean and c.split == split and c.row.task == task and c.rate is not None]
        able = [c for c in own if not is_privileged(c.row.policy)] or own
        found += [max(able, key=lambda c: (c.rate or 0.0, -c.number))] if able else []
    return found


def _leaders(run: RunRecords, split: str, kind: str) -> str:
    best = leaders(run, split)
    if len(best) == 1:
        return f"on {split} ({kind}) {_led(run, best[0])}"
    low, high = min(best, key=lambda c: c.rate or 0.0), max(best, key=lambda c: c.rate or 0.0)
    return (
        f"on {split} ({kind}) the best policy of each task solves from {_rate(low)} ({low.row.label} on {low.row.task})"
        f" to {_rate(high)} ({high.row.label} on {high.row.task})"
    )


def _led(run: RunRecords, best: Condition) -> str:
    rivals = [c for c in run.conditions if c.clean and c.split == best.split and c.row.task == best.row.task]
    if len(rivals) == 1:
        return f"{_named(best.row)} solves {_rate(best)}, with no other row to compare it with"
    equal = [c for c in run.conditions if c.clean and (c.split, c.rate) == (best.split, best.rate)]
    if len(equal) > 1:
        return f"{_some([_named(c.row) for c in equal])} solve the most, {_rate(best)} each"
    ranked = {
        True: "significantly more than every other row",
        False: "not compared with rows whose networks have not converged"
        if any(run.is_short(c.row) for c in rivals)
        else "not significantly more than every other row",
        None: "not ranked, since its network has not converged"
        if run.is_short(best.row)
        else f"not ranked, which takes two rows of at least {RANKED_FROM} episodes each",
    }[best.best]
    return f"{_named(best.row)} solves the most, {_rate(best)}, {ranked}"


def _named(row: Row) -> str:
    return f"{row.name} (N = {row.n})"


def _rate(one: Condition) -> str:
    rate, low, high = one.rate or 0.0, one.low or 0.0, one.high or 0.0
    return f"{one.successes}/{one.episodes} = {interval_text(rate, low, high)}"


def not_measured(run: RunRecords) -> str:
    """Return the third sentence: what was not measured, and what could not be seen."""
    lacks = _lacking(run)
    first = f"Not measured: {'; '.join(lacks)}" if lacks else "All cells of the sweep were measured"
    return f"{first}. {unseen(run)}"


def _lacking(run: RunRecords) -> list[str]:
    """Return what a reader may miss, each in a few words."""
    found = []
    known = dict.fromkeys(s for task in run.tasks if (info := task_info(task)) for s in info.splits)
    played = {start_of(split) for split in run.splits}
    if left := [split for split in known if split not in played]:
        found.append(f"the split{'s' if len(left) > 1 else ''} {_some(left)}")
    if all(c.clean for c in run.conditions):
        found.append("any perturbation")
    if run.train_seeds == 1:
        found.append("other training seeds (each row was fitted once)")
    if not run.measures:
        found.append("time and memory")
    if not audits(run):
        found.append("whether motions are copies of demonstrations (no audit)")
    if lost := int(run.success["infra_errors"].sum()):
        found.append(f"{count(lost, 'episode')} that could not be played")
    if cells := run.missing_cells:
        found.append(f"{len(cells)} of {len(run.planned)} planned cells")
    return found


def unseen(run: RunRecords) -> str:
    """Return the smallest difference between the two best rows that could have been seen.

    By `stats.power`: a one-sided exact test at 5 %, seen with 80 % probability, over
    initial poses. Of several tasks, the one with the fewest poses counts.
    """
    said = []
    for split, _ in spoken_splits(run):
        found = [pair for task in run.tasks if (pair := smallest_drop(run, split, task))]
        if found:
            poses, drop = min(found, key=lambda one: one[0])
            seen = f"below {100 * drop:.0f} points" if drop is not None else "of any size"
            said.append(f"{seen} on {split} ({count(poses, 'initial pose')})")
    if not said:
        return "There are no two rows to compare, so that no difference could be seen."
    return f"A difference between the two best rows would probably have gone unseen {_some(said)}."


def smallest_drop(run: RunRecords, split: str, task: str) -> tuple[int, float | None] | None:
    """Return the poses and the smallest visible difference of a task's two best rows.

    None with fewer than two rows; a difference of None: even the largest would be missed.
    """
    own = [c for c in run.conditions if c.clean and c.split == split and c.row.task == task and c.rate is not None]
    best = sorted(own, key=lambda c: (-(c.rate or 0.0), c.number))[:2]
    if len(best) < 2:
        return None
    changes = paired_differences(episodes_of(run, best[0]), episodes_of(run, best[1]))
    if not len(changes):
        return None
    churn = min(int((changes < 0).sum()), int((changes > 0).sum())) / len(changes)
    return len(changes), detectable_drop(len(changes), churn, LEVEL)


def episodes_of(run: RunRecords, one: Condition) -> pd.DataFrame:
    """Return the episodes of a condition, of a big run all of them."""
    if not isinstance(run.everything, EpisodeParts):
        return run.episodes[run.episodes["name"].isin(one.cells)]
    wanted = (*one.row.key, one.split, one.perturbation, one.severity)
    headers = run.everything.recorded.headers.values()
    keys = [h.key for h in headers if tuple(getattr(h, name) for name in (*ROW, *CONDITION)) == wanted]
    return run.everything.add(run.everything.recorded.episodes(keys=keys))


def _some(names: Iterable[str], last: str = "and") -> str:
    """Return `a, b and c`; of more than `LISTED` names, the first and how many more."""
    return listed(names, last, most=LISTED)
