"""Tables of a run's episodes: success, failures, out-of-distribution flags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

import numpy as np
import pandas as pd

from altbench.report.table import Block, Table, interval_text, pivot
from altbench.rollout.records import Status
from altbench.stats.paired import paired_tests
from altbench.stats.rates import RANKED_FROM, Rate, countable, ranked, split_order, success_rate, success_rates
from altbench.stats.scores import auroc
from altbench.sweeps.spec import CLEAN

ROW = ["task", "label", "policy", "preset", "n"]
CONDITION = ["split", "perturbation", "severity"]
STATUSES = get_args(Status)
SIGNIFICANT = 0.05

SEEDS_NOTE = (
    " Of several training seeds: the counts are of all, and seeds that play the same episode count as a cluster: Wilson's"
    " interval has the effective counts (Rao and Scott 1992), the test flips the signs of each episode's difference over the"
    " seeds that both have (which for one seed is McNemar's). Neither says anything of further seeds."
)
_RATES = "Successes/episodes, rate and Wilson 95 % interval, over all training seeds."
_RANKING = (
    f" Bold: better than every other policy of the same N (exact McNemar test on the same episodes, Holm-corrected,"
    f" p < {SIGNIFICANT}); fewer than {RANKED_FROM} episodes are not ranked."
)
_FLAGS = (
    "Flagged/episodes, rate and Wilson 95 % interval (false alarms where unperturbed, detections elsewhere);"
    " AUROC of an episode's highest score against the same policy's unperturbed episodes on the same split."
)


def success_table(frame: pd.DataFrame) -> Table:
    """Success by policy × N (rows) and split × perturbation × severity (columns) from `results.load_episodes`.

    `infra_error` episodes are left out and counted in the CSV; every other failure is a failure.
    """
    rates = success_rates(frame, [*ROW, *CONDITION])
    retried = frame.assign(infra=frame["status"] == "infra_error").groupby([*ROW, *CONDITION])["infra"].sum()
    data = rates.assign(infra_errors=retried.to_numpy(int), best=_best(frame, rates))
    texts = _rate_texts(data["successes"], data["episodes"], data["rate"], data["low"], data["high"])
    several = SEEDS_NOTE if frame["train_seed"].nunique() > 1 else ""
    return Table("Success", data, condition_blocks(data, texts), _RATES + _RANKING + several)


def failures_table(frame: pd.DataFrame) -> Table:
    """How episodes ended, by policy × N over all conditions, with the first message of each row."""
    rows = []
    for row, group in frame.groupby(ROW):
        counts = group["status"].value_counts()
        messages = group.loc[group["message"] != "", "message"].to_list()
        rows.append(
            (*row, len(group), *(int(counts.get(status, 0)) for status in STATUSES), messages[0] if messages else "")
        )
    columns = ["episodes", *STATUSES, "first_message"]
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
        "All but ok count as failures of the policy, except infra_error, which is tried again and never counted, and"
        " unsupported: the task has nothing for the perturbation to change."
    )
    return Table("Failures", data, (block,), note)


def ood_table(frame: pd.DataFrame) -> Table:
    """Flagged episodes and AUROC by policy × N and condition, for the policies that give a score or raise flags."""
    counted = countable(frame)
    told = counted[counted["max_ood_score"].notna() | counted["flagged"].notna()]
    rows = []
    for key, group in told.groupby([*ROW, *CONDITION]):
        found = flag_rate(group)
        rows.append((*key, found.successes, found.episodes, found.value, found.low, found.high, _auroc(told, group)))
    numbers = ["flagged", "episodes", "rate", "low", "high", "auroc"]
    data = pd.DataFrame(rows, columns=[*ROW, *CONDITION, *numbers]).astype(dict.fromkeys(numbers[2:], "float64"))
    rates = _rate_texts(data["flagged"], data["episodes"], data["rate"], data["low"], data["high"])
    areas = [f"AUROC {value:.2f}" if pd.notna(value) else "" for value in data["auroc"]]
    texts = [" · ".join(filter(None, pair)) for pair in zip(rates, areas, strict=True)]
    return Table("Out-of-distribution flags", data, condition_blocks(data, texts), _FLAGS)


def flag_rate(frame: pd.DataFrame) -> Rate:
    """How many of the episodes that count have a flag, of a policy that raises flags; clustered as `success_rate`."""
    told = frame[frame["flagged"].notna()]
    return success_rate(told.assign(success=told["flagged"].astype(bool), status="ok"))


def _auroc(told: pd.DataFrame, group: pd.DataFrame) -> float | None:
    """AUROC of a perturbed group against its unperturbed episodes: the mean over training seeds, whose scores differ."""
    if group["perturbation"].iloc[0] == CLEAN:
        return None
    same = told["perturbation"] == CLEAN
    for column in [*ROW, "split"]:
        same &= told[column] == group[column].iloc[0]
    own = dict(iter(told[same].groupby("train_seed")["max_ood_score"]))
    areas = [auroc(own[seed], part) for seed, part in group.groupby("train_seed")["max_ood_score"] if seed in own]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else None


def _best(frame: pd.DataFrame, rates: pd.DataFrame) -> pd.Series[bool]:
    """True for the one policy that beats all others of its N in a condition, False for those, NA where unranked."""
    episodes = dict(iter(frame.groupby([*ROW, *CONDITION])))
    keys = list(rates[[*ROW, *CONDITION]].itertuples(index=False, name=None))
    marks: list[bool | None] = [None] * len(rates)
    enough = np.array([ranked(episodes[key]) for key in keys], dtype=bool)  # an empty list would choose no columns
    for _, group in rates[enough].groupby(["task", "n", *CONDITION]):
        if len(group) < 2:
            continue
        places = [int(i) for i in group.index]
        winner = places[int(group["rate"].to_numpy().argmax())]
        others = [episodes[keys[i]] for i in places if i != winner]
        for i in places:
            marks[i] = i == winner and beats_all(episodes[keys[i]], others)
    return pd.Series(pd.array(marks, dtype="boolean"), index=rates.index)


def beats_all(own: pd.DataFrame, others: Sequence[pd.DataFrame]) -> bool:
    """Whether `own` succeeds significantly more often than each of `others` on the same episodes.

    `stats.paired_tests` over the training seeds that both have (McNemar's test for one).
    """
    tests = paired_tests(own, others)
    return all(test.pairs >= RANKED_FROM and test.gain > 0 and test.p < SIGNIFICANT for test in tests)


# ----------------------------------------------------------------------------------------------------------- layout


def condition_blocks(data: pd.DataFrame, texts: Iterable[str]) -> tuple[Block, ...]:
    """A block of the unperturbed splits, and one per split and perturbation with the unperturbed rate in front."""
    data = data.assign(text=list(texts))
    clean = data[data["perturbation"] == CLEAN].sort_values("split", kind="stable", key=split_order)
    blocks = [conditions_block("Unperturbed, by split", clean, list(clean["split"]))]
    for (split, perturbation), part in data[data["perturbation"] != CLEAN].groupby(["split", "perturbation"]):
        own = clean[clean["split"] == split].merge(part[ROW].drop_duplicates(), on=ROW)
        both = pd.concat([own, part]).sort_values("severity", kind="stable")
        heads = [f"severity {severity}" if severity else CLEAN for severity in both["severity"]]
        blocks.append(conditions_block(f"Split {split}, {perturbation}", both, heads))
    return tuple(block for block in blocks if block.rows)


def conditions_block(caption: str, data: pd.DataFrame, heads: list[str]) -> Block:
    """Policies as rows, `heads` as columns, `data`'s column `text` in the table, and `best`, where there is one, in bold."""
    best = data["best"].fillna(False).astype(bool).to_list() if "best" in data else None
    return pivot(caption, _names(data), heads, list(data["text"]), best)


def _names(data: pd.DataFrame) -> dict[str, list[str | int]]:
    """What a row is called: policy and N, and the task where there are several."""
    names = {"policy": data["label"].to_list(), "N": data["n"].to_list()}
    return {"task": data["task"].to_list(), **names} if data["task"].nunique() > 1 else names


def _rate_texts(*columns: pd.Series) -> list[str]:
    """`36/40 90 % [77, 96]` per row of successes, episodes, rate, low, high; empty without episodes."""
    return [
        f"{k}/{n} {interval_text(rate, low, high)}" if n else "" for k, n, rate, low, high in zip(*columns, strict=True)
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"
