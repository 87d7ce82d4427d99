"""The parts of a comparison as plain texts, which all formats for people share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from altbench.core.words import count
from altbench.report.compare.gate import points
from altbench.report.compare.records import Comparison, CostRatio, PairedResult

TEST_HEAD = ("pairs", "base %", "new %", "lost", "gained", "points", "95 %", "p", "seen")
"""The columns of `test_row`."""
TEST_NOTE = (
    "pairs: episodes that both runs have. lost, gained: episodes that succeeded in the base run only, in the new "
    "run only. p: that of a drop by chance (one-sided exact sign-flip test over initial poses), corrected over all "
    "tests; -: no outcome could be significant. seen: a drop of so many points is found with 80 % probability, if "
    "it falls on whole poses; -: none is. Errors, time-outs and crashes of a policy are failures."
)
_COST_HEAD = ("time", "weights + table", "on disk", "peak RSS", "peak VRAM")
_SAME_MACHINE = ("cpu", "gpu", "renderer", "cores")
"""The entries of a fingerprint that describe the machine."""


def plain(text: str) -> str:
    """Return a name as one line: control characters are shown as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def test_row(test: PairedResult) -> tuple[str, ...]:
    """Return the texts of a test under `TEST_HEAD`."""
    counts = test.counts
    return (
        str(counts.total),
        f"{100 * test.base_rate:.1f}",
        f"{100 * test.new_rate:.1f}",
        str(counts.only_first),
        str(counts.only_second),
        f"{100 * counts.difference:+.1f}" if test.changed else "0",
        f"[{100 * test.low:+.0f}, {100 * test.high:+.0f}]",
        f"{test.p_worse:.2g}" if test.can_decide else "-",
        "-" if test.detectable is None else points(test.detectable),
    )


def costs(comparison: Comparison) -> tuple[str, tuple[str, ...], list[str], list[tuple[str, ...]]]:
    """Return the ratios of time and memory: title, head, names and rows of texts.

    Settings that all policies share are in the title. Columns without a number are left
    out.
    """
    found = comparison.costs
    same = {part for part in found[0].setting if part and all(part in cost.setting for cost in found)}
    names = [", ".join([cost.label, *(part for part in cost.setting if part and part not in same)]) for cost in found]
    rows = [_cost_row(cost) for cost in found]
    kept = [i for i in range(len(_COST_HEAD)) if any(row[i] for row in rows)]
    shared = ", ".join(part for part in found[0].setting if part in same)
    title = f"Time and memory, new over base, on the same machine (not tested; {shared})"
    return title, tuple(_COST_HEAD[i] for i in kept), names, [tuple(row[i] for i in kept) for row in rows]


def _cost_row(cost: CostRatio) -> tuple[str, ...]:
    values = (cost.latency, cost.weights_and_table, cost.disk, cost.peak_rss, cost.peak_vram)
    return tuple("" if value is None else f"{value:.2f}" for value in values)


def changed_cells(comparison: Comparison) -> list[PairedResult]:
    """Return the cells in which an episode ended differently, the largest drop first."""
    changed = [cell for cell in comparison.cells if cell.changed]
    return sorted(changed, key=lambda c: (c.p_worse, c.counts.difference, c.name))


_ANY = "of any size"


def unseen(comparison: Comparison) -> str:
    """Return which drops could not have been seen; it belongs to every report."""
    if _below([comparison.overall]) == _ANY:
        return "There are too few episodes: no drop, of whatever size, could have been seen."
    parts = [f"over all cells {_below([comparison.overall])}"]
    parts += [f"in a policy {_below(comparison.policies)}", f"in a cell {_below(comparison.cells)}"]
    return (
        f"Could not see a drop {'; '.join(parts)}. Below that no outcome is significant. With 80 % probability a "
        f"drop is seen over all cells from {_seen(comparison.overall)} on."
    )


def groups(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Return what else is to be said: headings, each with its lines."""
    lost = [
        f"{plain(one.name)}: {len(one.episodes)} of {one.of} ({one.reason}): {_numbers(one.episodes)}"
        for one in comparison.lost
    ]
    statuses = [
        f"{plain(one.label)}: {count(one.episodes, 'episode')} {one.base} -> {one.new}, {one.succeeded} of them had "
        "succeeded"
        for one in comparison.statuses
    ]
    flags = [
        f"{plain(one.label)}: {one.base} -> {one.new} of {count(one.episodes, 'episode')}{_ratio(one.ratio)}"
        for one in comparison.flags
        if one.base != one.new
    ]
    found = [
        (f"{count(len(comparison.only_base), 'cell')} only in the base run:", _names(comparison.only_base)),
        (f"{count(len(comparison.only_new), 'cell')} only in the new run:", _names(comparison.only_new)),
        ("Episodes that the new run lacks:", lost),
        ("Changes of status:", statuses),
        ("Flags raised:", flags),
        ("Made with (base -> new):", [plain(line) for line in comparison.versions]),
    ]
    return [(head, lines) for head, lines in found if lines] + [(text, []) for text in _remarks(comparison)]


def _remarks(comparison: Comparison) -> list[str]:
    found = []
    if comparison.only_new_counts:
        found.append(f"{count(comparison.only_new_counts, 'episode')} of shared cells count in the new run only.")
    if comparison.unplayed_base or comparison.unplayed_new:
        found.append(
            f"Missing, since they could not be played: {count(comparison.unplayed_base, 'episode')} of the base run, "
            f"{comparison.unplayed_new} of the new run. Where any is missing, no rise is significant."
        )
    if any(line.partition(":")[0] in _SAME_MACHINE for line in comparison.versions):
        found.append("The machines differ: success may differ for that reason alone.")
    if comparison.costs_note:
        found.append(f"{comparison.costs_note[:1].upper()}{comparison.costs_note[1:]}.")
    return found


def _below(tests: Sequence[PairedResult]) -> str:
    found = [test.smallest for test in tests if test.smallest is not None]
    blind = len(tests) - len(found)
    if not found:
        return _ANY
    low, high = points(min(found)), points(max(found))
    text = f"below {low} points" if low == high else f"below {low} to {high} points"
    return f"{text} ({blind} of {len(tests)}: no drop at all)" if blind else text


def _seen(test: PairedResult) -> str:
    return "no size" if test.detectable is None else f"{points(test.detectable)} points"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f" (× {ratio:.2f})"


def _numbers(episodes: Sequence[int]) -> str:
    shown = ", ".join(map(str, episodes[:10]))
    return f"episode{'' if len(episodes) == 1 else 's'} {shown}" + (
        f" and {len(episodes) - 10} more" if len(episodes) > 10 else ""
    )


def _names(names: Iterable[str]) -> list[str]:
    return [plain(name) for name in names]
