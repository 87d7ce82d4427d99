"""An adapter as TOML, with comments that say what each key means for the policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from altbench.adapters.spec import Adapter
from altbench.system.files import write_text

HEAD = (
    "# How this policy's conventions differ from altbench's (docs/adapters.md). What is missing is as altbench has it."
)


def to_toml(adapter: Adapter) -> str:
    """Return the TOML that `read_adapter` reads as the same adapter."""
    tables = adapter.tables()
    lines = [HEAD, *(f"{key} = {_value(value)}" for key, value in tables.items() if not isinstance(value, dict))]
    for name, table in tables.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]", *(f"{_key(key)} = {_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def write_adapter(path: Path, adapter: Adapter) -> None:
    """Write an adapter whole, or not at all."""
    write_text(path, to_toml(adapter))


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)


def _value(value: Any) -> str:
    # JSON's texts, numbers and lists are TOML's, as adapters have neither null nor NaN.
    return json.dumps(value, ensure_ascii=False)
