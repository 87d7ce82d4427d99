"""Errors in settings, in one line and in the words of TOML.

pydantic's own messages speak of tuples, models and validation, which a user's file does
not contain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from altbench.core.errors import suggestion

Place = tuple[int | str, ...]
"""The place of a value: keys, and list indices from 0, as in ("policies", 0, "n")."""
MOST_SHOWN = 80
"""How many characters of a wrong value an error shows at most."""
EXPECTED = {
    "bool": "true or false",
    "dict": "a table ({ key = value })",
    "finite": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "model": "a table ({ key = value })",
    "string": "a text",
}
"""What was expected, by the first word of pydantic's error type (up to the underscore).
"""
BOUNDS = {
    "greater_than": "a number over {gt}",
    "greater_than_equal": "a number from {ge} up",
    "less_than": "a number under {lt}",
    "less_than_equal": "a number up to {le}",
    "literal_error": "{expected}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "string_too_long": "a text of at most {max_length} characters",
    "string_too_short": "a text of at least {min_length} characters",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
}
"""What was expected, by pydantic's error type; the blanks are filled from its context.
"""


def first_fault(model: type[pydantic.BaseModel], error: pydantic.ValidationError) -> str:
    """Return one line about the first fault of values for `model`, its place first."""
    faults = error.errors()
    # A misspelt key also leaves a required one missing: name the misspelling.
    fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    place = fault["loc"]
    if fault["type"] == "extra_forbidden":
        return f"unknown key {_path(place)!r}{suggestion(str(place[-1]), _fields_at(model, place[:-1]))}"
    if fault["type"] == "missing" and not isinstance(place[-1], int):
        return _missing([f for f in faults if f["type"] == "missing" and f["loc"][:-1] == place[:-1]])
    if fault["type"] == "value_error" and not place:
        return fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error" and isinstance(fault["input"], Mapping):
        return f"{_path(place)}: {_expectation(fault)}"  # about a part, which it names itself
    if choices := _choices(faults, place):
        return f"{_path(place[:-1])}: expected {' or '.join(map(_expected, choices))}, got {_shown(fault['input'])}"
    if fault["type"] in ("missing", "too_long", "tuple_type", "list_type"):
        return _list_fault(model, fault)
    return f"{_path(place)}: {_expectation(fault)}, got {_shown(fault['input'])}"


def _missing(faults: Sequence[ErrorDetails]) -> str:
    names = [_path(fault["loc"]) for fault in faults]
    if len(names) == 1:
        return f"expected a value for {names[0]}, but it is missing"
    return f"expected values for {', '.join(names[:-1])} and {names[-1]}, but they are missing"


def _choices(faults: Sequence[ErrorDetails], place: Place) -> list[ErrorDetails]:
    """Return one fault for each kind that a value may have, if it has no valid kind.

    Empty if the fault is of another sort.
    """
    same = [fault for fault in faults if len(fault["loc"]) == len(place) and fault["loc"][:-1] == place[:-1]]
    literal = any(str(fault["loc"][-1]).startswith("literal[") for fault in same if fault["loc"])
    return same if literal else []


def _list_fault(model: type[pydantic.BaseModel], fault: ErrorDetails) -> str:
    """Describe a value that should be a list, or has the wrong length."""
    place, value = fault["loc"], fault["input"]
    if fault["type"] == "missing":
        place = place[:-1]
    field = _field_at(model, place)
    kinds = _kinds(field.annotation) if field else ()
    if isinstance(value, Mapping):
        return f"{_path(place)}: expected a list of tables, written [[{place[-1]}]], got one table"
    if isinstance(value, (list, tuple)) and Ellipsis in kinds:
        return f"{_path(place)}: {_expectation(fault)}, got {_shown(value)}"
    default = field.default if field and isinstance(field.default, tuple) else ()
    fixed = "" if Ellipsis in kinds else f" of {len(kinds)} items"
    example = [value] if Ellipsis in kinds else list(default) or [value] * len(kinds)
    return f"{_path(place)}: expected a list{fixed}, such as {json.dumps(example, default=str)}, got {_shown(value)}"


def _expectation(fault: ErrorDetails) -> str:
    if fault["type"] == "value_error":
        return fault["msg"].removeprefix("Value error, ")
    return f"expected {_expected(fault)}"


def _expected(fault: ErrorDetails) -> str:
    """Describe what a value should be; fall back on pydantic's own words."""
    if fault["type"] in BOUNDS:
        known = {key: f"{value:g}" if isinstance(value, float) else value for key, value in fault["ctx"].items()}
        return BOUNDS[fault["type"]].format(**known)
    return EXPECTED.get(fault["type"].partition("_")[0], f"otherwise ({fault['msg']})")


def _path(place: Place) -> str:
    return ".".join(map(str, place)) or "value"


def _shown(value: Any) -> str:
    text = "an empty list" if isinstance(value, (list, tuple)) and not value else repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _fields_at(model: type[pydantic.BaseModel], place: Place) -> list[str]:
    """Return the field names of the model at `place` under `model`.

    List indices in `place` are skipped.
    """
    field = _field_at(model, place)
    return list(((field and _model_in(field.annotation)) or model).model_fields)


def _field_at(model: type[pydantic.BaseModel], place: Place) -> FieldInfo | None:
    """Return the last field along `place` from `model`; None if missing.

    List indices in `place` are skipped.
    """
    current, found = model, None
    for part in place:
        field = current.model_fields.get(str(part))
        if field is not None:
            current, found = _model_in(field.annotation) or current, field
    return found


def _model_in(annotation: Any) -> type[pydantic.BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    return next((m for m in map(_model_in, get_args(annotation)) if m is not None), None)


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """Return the types of the items of a tuple's annotation, such as (int, ...).

    The annotation may also be the union of a tuple and None.
    """
    inner = next((a for a in get_args(annotation) if getattr(a, "__origin__", None) is tuple), annotation)
    return get_args(inner)
