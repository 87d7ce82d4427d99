"""What a policy says of itself below every table that shows it: its caveat at the settings that were played.

They are read from the records, so that tables of published runs say it as well.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from altbench.core import registry
from altbench.report.table import Table
from altbench.stats.parts import Episodes, parts_of

COLUMNS = ("label", "policy", "policy, seed", "row")
"""Columns of tables that name the row; the first of them that a table has."""


def caveats(episodes: Episodes) -> dict[str, str]:
    """Return label -> the caveats of its policy at the settings of its `episodes`; labels without any are left out."""
    found: dict[str, dict[str, None]] = {}
    for part in parts_of(episodes):
        if "spec_json" not in part:
            continue
        rows = part[["label", "policy", "spec_json"]].drop_duplicates()
        for label, policy, spec in rows.itertuples(index=False, name=None):
            if text := caveat_of(str(policy), json.loads(str(spec)).get("config", {})):
                found.setdefault(str(label), {})[text] = None
    return {label: "; ".join(texts) for label, texts in sorted(found.items())}


def with_caveats(table: Table, known: Mapping[str, str]) -> Table:
    """Return `table` with the caveats `known` of the rows that it shows in its note."""
    rows: dict[str, list[str]] = {}
    for label in known.keys() & labels_in(table):
        rows.setdefault(known[label], []).append(label)
    told = [f"{', '.join(sorted(labels))}: {text}." for text, labels in sorted(rows.items())]
    return dataclasses.replace(table, note=" ".join([table.note, *told])) if told else table


def labels_in(table: Table) -> set[str]:
    """Return the labels of a table's rows."""
    named = next((table.data[column] for column in COLUMNS if column in table.data), ())
    return {str(name).partition(", seed ")[0] for name in named}


def caveat_of(policy: str, settings: Mapping[str, Any]) -> str:
    """Return the caveat of a built-in policy at recorded settings; empty for others: tables run nobody else's code."""
    name = policy.removeprefix("isolate:")
    return registry.policy(name).caveat(settings) if name in registry.CAVEATED else ""
