"""Tables of a run's episodes: success, failures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import pandas as pd

from altbench.report.drawing.stars import Unconverged, not_converged, starred, unconverged_note, unconverged_rows
from altbench.report.privileged import is_privileged, marked
from altbench.report.splits import by_split
from altbench.report.table import Block, Table, pivot, rate_text
from altbench.results.served import stateless_rows
from altbench.rollout.records import Status
from altbench.stats.clustering import SHOWN, start_of
from altbench.stats.paired import paired_tests
from altbench.stats.parts import Episodes, gathered, parts_of
from altbench.stats.rates import RANKED_FROM, Rate, missing, ranked, success_rates
from altbench.sweeps.spec import CLEAN
from altbench.system.console import one_line

ROW = ["task", "label", "policy", "preset", "n"]
"""Columns whose values make a row of a table."""
CONDITION = ["split", "perturbation", "severity"]
"""Columns whose values make a column of a table."""
STATUSES = get_args(Status)
"""The ways in which an episode can end."""
_PLACE = ["train_seed", "split", "perturbation", "severity", "name", "key", "episode"]
"""Columns that order the episodes of a row."""
_LAST = (math.inf,)
"""A place after all others."""
_LATER = ("policy_crash", "given_up")
"""Statuses that tables of earlier runs have no column for."""
SIGNIFICANT = 0.05
"""A Holm-corrected p below this makes a row the best: the usual level."""

POSES_NOTE = (
    " Episodes that begin from one pose of the object are one cluster, over all seeds: the interval is Wilson's of the"
    " effective counts (Rao and Scott 1992; Korn and Graubard 1998), and if all episodes end alike, a pose counts as one."
)
TEST = "exact sign-flip test over initial poses, on the same episodes"
HOLM = (
    "Holm's correction covers the comparisons within one {part}; the row that others are compared with is the best observed"
    " on these same episodes, a choice that no p counts."
)
"""What the correction counts and what it does not; `part`: condition, or table."""
SEEDS_NOTE = (
    " With several training seeds, the counts are over all seeds; the test sums each pose's differences over the seeds"
    " that both policies have. Neither says anything about further seeds."
)
_RATES = "Successes/episodes, rate and Wilson 95 % interval, over all training seeds." + POSES_NOTE
_RANKING = (
    f" Bold: better than every other row ({TEST}, Holm-corrected, p < {SIGNIFICANT}); fewer than {RANKED_FROM} episodes"
    f" are not ranked. {HOLM.format(part='condition')} All of this is about these checkpoints and these demonstrations."
)
_OWN_N = (
    " On splits that begin from the demonstrations (recall, replay), a row is ranked among those of its N: other N play"
    " other episodes."
)
_INCOMPLETE = (
    " Missing: episodes that could not be played, for reasons other than the policy (infra_error); the next run tries"
    " them again. While a row lacks any, no row of the same condition is ranked."
)
_NOT_BEATEN = " Nothing is said to beat such a row: no row of its condition is bold."
_STATELESS = " Stateless: {rows}. The server hears nothing of episodes: it is not told when one begins, nor its seed."


def success_table(episodes: Episodes) -> Table:
    """Return the table of success by policy and N (rows) and by condition (columns).

    A condition is a split, a perturbation and a severity; `episodes` are those of
    `results.load_episodes`, or parts of them. Episodes with `infra_error` are missing:
    left out and counted. Every other error is a failure.
    """
    short, seeds, unheard = _facts(episodes)
    data = gathered(episodes, lambda part: _success_part(part, short), [*ROW, *CONDITION])
    texts = rate_texts(
        data["successes"], data["episodes"], data["rate"], data["low"], data["high"], data["infra_errors"]
    )
    texts = [starred(text, late) for text, late in zip(texts, not_converged(short, data), strict=True)]
    lacks = _INCOMPLETE if data["infra_errors"].any() else ""
    several = SEEDS_NOTE if len(seeds) > 1 else ""
    several += unconverged_note(short) + _NOT_BEATEN if short else ""
    several += _STATELESS.format(rows=", ".join(sorted(unheard))) if unheard else ""
    own = _shown_n(data)
    ranking = _RANKING + (_OWN_N if own[own > 0].nunique() > 1 else "")
    return Table("Success", data, condition_blocks(data, texts), _RATES + ranking + lacks + several)


def _facts(episodes: Episodes) -> tuple[set[tuple[str, str, int]], set[int], set[str]]:
    """Return the rows that have not converged, the training seeds, and stateless labels."""
    short: set[tuple[str, str, int]] = set()
    seeds: set[int] = set()
    unheard: set[str] = set()
    for part in parts_of(episodes):
        short |= unconverged_rows(part)
        seeds |= set(map(int, part["train_seed"].unique()))
        unheard |= set(stateless_rows(part))
    return short, seeds, unheard


def _success_part(part: pd.DataFrame, short: Unconverged) -> pd.DataFrame:
    """Return the rates of one condition, and which of its rows are the best."""
    rates = success_rates(part, [*ROW, *CONDITION])
    return rates.rename(columns={"missing": "infra_errors"}).assign(best=_best(part, rates, short))


def failures_table(episodes: Episodes) -> Table:
    """Return the table of how episodes ended, by policy and N over all conditions.

    Each row has the first message of its episodes.
    """
    ended = _endings(episodes)
    statuses = [s for s in STATUSES if s not in _LATER or any(one.counts[s] for one in ended.values())]
    rows = [(*row, one.counts.total(), *(one.counts[s] for s in statuses), one.first[-1]) for row, one in ended.items()]
    columns = ["episodes", *statuses, "first_message"]
    data = pd.DataFrame(rows, columns=[*ROW, *columns])
    names = _names(data)
    texts = tuple(
        (*map(str, name), *(_shortened(str(value)) for value in values))
        for name, values in zip(
            zip(*names.values(), strict=True), data[columns].itertuples(index=False, name=None), strict=True
        )
    )
    block = Block("How episodes ended", (*names, *(c.replace("_", " ") for c in columns)), texts, names=len(names))
    note = (
        "Every status but ok counts as a failure of the policy, with two exceptions: infra_error is tried again and never"
        " counted; unsupported means that the task has nothing that the perturbation could change."
    )
    if {"policy_crash", "given_up"} & set(statuses):
        note += (
            " policy_crash: the worker process died, three times, while the policy was asked. given_up: not played, since"
            " the policy had failed too often in a row."
        )
    return Table("Failures", data, (block,), note)


@dataclass
class _Endings:
    """How the episodes of a row ended, and the first message with its place."""

    counts: Counter[str] = field(default_factory=Counter)
    first: tuple[Any, ...] = (_LAST, "")


def _endings(episodes: Episodes) -> dict[tuple[Any, ...], _Endings]:
    """Return row -> how its episodes ended, rows in order."""
    found: dict[tuple[Any, ...], _Endings] = {}
    for part in parts_of(episodes):
        for row, group in part.groupby(ROW):
            one = found.setdefault(row, _Endings())
            one.counts.update(group["status"])
            told = group[group["message"] != ""].head(1)
            for place in told[[*_PLACE, "message"]].itertuples(index=False, name=None):
                one.first = min(one.first, (place[:-1], place[-1]), key=lambda first: first[0])
    return dict(sorted(found.items()))


def _best(frame: pd.DataFrame, rates: pd.DataFrame, short: Unconverged) -> pd.Series[bool]:
    """Return which rows beat all other rows in a condition; NA: not ranked.

    They are of any N; where episodes begin from the demonstrations, of the same N. A row
    with too few episodes, or whose network has not converged, is not ranked, and nothing is
    said to beat it.
    """
    episodes = dict(iter(frame.groupby([*ROW, *CONDITION])))
    keys = list(rates[[*ROW, *CONDITION]].itertuples(index=False, name=None))
    marks: list[bool | None] = [None] * len(rates)
    enough = [ranked(episodes[key]) for key in keys]
    rates = rates.assign(shown_n=_shown_n(rates))
    condition = ["task", *CONDITION, "shown_n"]
    # "Best" means better than all: a row that lacks episodes might be as good.
    complete = (rates.groupby(condition)["missing"].transform("sum") == 0).to_numpy(bool)
    sees_images = np.array([not is_privileged(policy) for policy in rates["policy"]], dtype=bool)
    converged = ~np.array(not_converged(short, rates), dtype=bool)
    rates = rates.assign(converged=converged)
    all_converged = rates.groupby(condition)["converged"].transform("all").to_numpy(bool)
    for _, group in rates[complete & sees_images & converged].groupby(condition):
        places = [int(i) for i in group.index]
        able = [i for i in places if enough[i]]
        if len(able) < 2:
            continue
        winner = places[int(group["rate"].to_numpy().argmax())]
        others = [episodes[keys[i]] for i in places if i != winner]
        for i in able:
            marks[i] = bool(i == winner and all_converged[i] and beats_all(episodes[keys[i]], others))
    return pd.Series(pd.array(marks, dtype="boolean"), index=rates.index)


def _shown_n(rates: pd.DataFrame) -> pd.Series[int]:
    """Return the N that a row's episodes depend on; 0: they are the same for every N."""
    shown = rates["split"].map(lambda split: start_of(split) in SHOWN).astype(bool)
    return rates["n"].where(shown, 0)


def beats_all(own: pd.DataFrame, others: Sequence[pd.DataFrame]) -> bool:
    """Return whether `own` succeeds significantly more often than each of `others`.

    By `stats.paired.paired_tests` on the same episodes, over the training seeds that
    both have. False if any of them lacks episodes.
    """
    if any(missing(frame) for frame in (own, *others)):
        return False
    tests = paired_tests(own, others)
    return all(test.pairs >= RANKED_FROM and test.gain > 0 and test.p < SIGNIFICANT for test in tests)


# ----------------------------------------------------------------------------------------------------------- layout


def condition_blocks(data: pd.DataFrame, texts: Iterable[str]) -> tuple[Block, ...]:
    """Return a block of the unperturbed splits, and one per split and perturbation.

    The latter have the unperturbed rate in front.
    """
    data = data.assign(text=list(texts))
    clean = by_split(data[data["perturbation"] == CLEAN])
    blocks = [conditions_block("Unperturbed, by split", clean, list(clean["split"]))]
    for (split, perturbation), part in data[data["perturbation"] != CLEAN].groupby(["split", "perturbation"]):
        own = clean[clean["split"] == split].merge(part[ROW].drop_duplicates(), on=ROW)
        both = pd.concat([own, part]).sort_values("severity", kind="stable")
        heads = [f"severity {severity}" if severity else CLEAN for severity in both["severity"]]
        blocks.append(conditions_block(f"Split {split}, {perturbation}", both, heads))
    return tuple(block for block in blocks if block.rows)


def conditions_block(caption: str, data: pd.DataFrame, heads: list[str]) -> Block:
    """Return a block with policies as rows, `heads` as columns and the texts of `data`.

    `data` has a column `text`, and may have a column `best`: its True texts are bold.
    """
    best = data["best"].fillna(False).astype(bool).to_list() if "best" in data else None
    return pivot(caption, _names(data), heads, list(data["text"]), best)


def _names(data: pd.DataFrame) -> dict[str, list[str | int]]:
    """Return a table's first columns: policy, N, and the task if there are several."""
    labels = [marked(*row) for row in zip(data["label"], data["policy"], strict=True)]
    names = {"policy": labels, "N": data["n"].to_list()}
    return {"task": data["task"].to_list(), **names} if data["task"].nunique() > 1 else names


def rate_texts(*columns: pd.Series) -> list[str]:
    """Return a text such as `36/40 90 % [77, 96]` for each row; empty without episodes.

    `columns`: successes, episodes, rate, low, high, missing.
    """
    return [
        rate_text(Rate(k, n, rate, low, high, (), lacks) if n else Rate(0, 0, None, None, None, (), lacks))
        for k, n, rate, low, high, lacks in zip(*columns, strict=True)
    ]


def _shortened(text: str) -> str:
    text = one_line(text)  # a line end would end the row of a Markdown table
    return text if len(text) <= 80 else text[:79] + "…"
