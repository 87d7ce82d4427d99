"""Writes docs/sweep.md, every key of a sweep: `python benchmarks/document_sweep.py`.

Types, limits and defaults are read from the models in `altbench.sweeps.spec`, meanings
from their docstrings. `tests/test_docs.py` compares the page with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from altbench.core.docstrings import meanings
from altbench.core.spec import Spec
from altbench.remote.settings import ProcessEntry, RemoteEntry
from altbench.sweeps.spec import (
    BUILT_IN_SWEEPS,
    DemonstrationEntry,
    EvaluationEntry,
    EventEntry,
    MeasureEntry,
    PerturbationEntry,
    PolicyEntry,
    SweepSpec,
)

PAGE = Path(__file__).parents[1] / "docs" / "sweep.md"
SECTIONS: dict[type[Spec], tuple[str, str]] = {
    SweepSpec: ("The sweep", "Keys at the top of the file."),
    DemonstrationEntry: ("demonstrations", "`[demonstrations]`, once."),
    PolicyEntry: ("policies", "`[[policies]]`, one for each row of the tables."),
    ProcessEntry: ("process", "In a policy: `process = { script = ..., python = ... }`."),
    RemoteEntry: ("remote", "In a policy: `remote = { image_size = [224, 224] }`."),
    EvaluationEntry: ("evaluations", "`[[evaluations]]`, one for each split to play."),
    PerturbationEntry: ("perturbations", "In an evaluation: `perturbations = [{ name = ... }]`."),
    EventEntry: ("event", "In an evaluation: `event = { move_at = 15, by = 0.08 }`."),
    MeasureEntry: ("measure", "`[measure]`, once; or `measure = false`."),
}
"""Each model -> the heading of its table, and where its keys stand in a file."""
HEAD = """# Every key of a sweep

A sweep is a TOML file: what to collect, which policies to train, what to play. `altbench run FILE.toml` runs it,
`altbench run FILE.toml --dry-run` checks it. In Python it is `altbench.Sweep`, with the same keys. An unknown key is
refused, with the nearest valid one. A number in the tables belongs to one cell: a row (policy, N, training seed) and a
column (split, perturbation, severity). [glossary.md](glossary.md) explains the words.

`python benchmarks/document_sweep.py` writes this page from the code; a test compares the two.
"""
EXAMPLE = """## Example

`altbench/sweeps/smoke.toml`, the smallest built-in sweep:

```toml
{smoke}```
"""
BOUNDS = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}"}
"""JSON schema's limits of a number, in words and in order."""
KINDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "object": "table"}
"""JSON schema's types in words."""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE}: {len(PAGE.read_text(encoding='utf-8').splitlines())} lines")


def page() -> str:
    """Return the page as Markdown."""
    smoke = (BUILT_IN_SWEEPS / "smoke.toml").read_text(encoding="utf-8")
    return "\n".join([HEAD, *(section(kind) for kind in SECTIONS), EXAMPLE.format(smoke=smoke)])


def section(kind: type[Spec]) -> str:
    """Return a model's heading and the table of its keys."""
    heading, place = SECTIONS[kind]
    schema, said = kind.model_json_schema(), meanings(kind)
    rows = [
        f"| `{name}` | {in_words(schema['properties'][name])} | {default(field)} | {said[name]} |"
        for name, field in kind.model_fields.items()
    ]
    return "\n".join(
        [f"## {heading}", "", place, "", "| key | value | default | meaning |", "|:--|:--|:--|:--|", *rows, ""]
    )


def in_words(schema: Mapping[str, Any]) -> str:
    """Return what a JSON schema allows, in words."""
    if "$ref" in schema:
        kind = next(one for one in SECTIONS if one.__name__ == schema["$ref"].rpartition("/")[2])
        return f"table, see [{SECTIONS[kind][0]}](#{SECTIONS[kind][0]})"
    if "anyOf" in schema:
        return " or ".join(in_words(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema or "const" in schema:
        return ", ".join(f'`"{value}"`' for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return _list(schema)
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"table, name = {in_words(schema['additionalProperties'])}"
    limits = [text.format(schema[name]) for name, text in BOUNDS.items() if name in schema]
    return " ".join([KINDS[schema["type"]], *limits])


def _list(schema: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])}, each {in_words(schema['prefixItems'][0])}"
    items = in_words(schema["items"])
    return f"list, each {items}" + (", not empty" if schema.get("minItems") else "")


def default(field: pydantic.fields.FieldInfo) -> str:
    """Return a field's default as TOML writes it, or **required**."""
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    return "its defaults" if isinstance(value, Spec) else _toml(value)


def _toml(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return f"`[{', '.join(str(one) for one in value)}]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


if __name__ == "__main__":
    main()
