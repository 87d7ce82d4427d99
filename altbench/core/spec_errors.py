"""What is wrong with settings, in one line in the words of TOML: pydantic's own speak of tuples, models and validation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from altbench.core.errors import suggestion

Place = tuple[int | str, ...]
"""Where a value stands: keys, and numbers in lists from 0, such as ("policies", 0, "n")."""
MOST_SHOWN = 80
"""Characters of the value that came."""
EXPECTED = {
    "bool": "true or false",
    "dict": "a table ({ key = value })",
    "finite": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "model": "a table ({ key = value })",
    "string": "a text",
}
"""By how pydantic calls a fault, up to the first underscore."""
BOUNDS = {
    "greater_than": "a number over {gt}",
    "greater_than_equal": "a number from {ge} up",
    "less_than": "a number under {lt}",
    "less_than_equal": "a number up to {le}",
    "literal_error": "{expected}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "string_too_short": "a text of at least {min_length} characters",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
}
"""By how pydantic calls a fault, with what it tells of it."""


def first_fault(model: type[pydantic.BaseModel], error: pydantic.ValidationError) -> str:
    """The first fault of values for `model`, in one line that begins with where it is."""
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
    if choices := _choices(faults, place):
        return f"{_path(place[:-1])}: expected {' or '.join(map(_expected, choices))}, got {_shown(fault['input'])}"
    if fault["type"] in ("missing", "too_long", "tuple_type", "list_type"):
        return _list_fault(model, fault)
    return f"{_path(place)}: {_told(fault)}, got {_shown(fault['input'])}"


def _missing(faults: Sequence[ErrorDetails]) -> str:
    names = [_path(fault["loc"]) for fault in faults]
    if len(names) == 1:
        return f"expected a value for {names[0]}, but it is missing"
    return f"expected values for {', '.join(names[:-1])} and {names[-1]}, but they are missing"


def _choices(faults: Sequence[ErrorDetails], place: Place) -> list[ErrorDetails]:
    """The faults of a value that may be of several kinds, of which it is none: one for each; empty where it is not so."""
    same = [fault for fault in faults if len(fault["loc"]) == len(place) and fault["loc"][:-1] == place[:-1]]
    literal = any(str(fault["loc"][-1]).startswith("literal[") for fault in same if fault["loc"])
    return same if literal else []


def _list_fault(model: type[pydantic.BaseModel], fault: ErrorDetails) -> str:
    """A list that is none, or of the wrong length."""
    place, value = fault["loc"], fault["input"]
    if fault["type"] == "missing":
        place = place[:-1]
    field = _field_at(model, place)
    kinds = _kinds(field.annotation) if field else ()
    if isinstance(value, Mapping):
        return f"{_path(place)}: expected a list of tables, written [[{place[-1]}]], got one table"
    if isinstance(value, (list, tuple)) and Ellipsis in kinds:
        return f"{_path(place)}: {_told(fault)}, got {_shown(value)}"
    default = field.default if field and isinstance(field.default, tuple) else ()
    fixed = "" if Ellipsis in kinds else f" of {len(kinds)} items"
    example = [value] if Ellipsis in kinds else list(default) or [value] * len(kinds)
    return f"{_path(place)}: expected a list{fixed}, such as {json.dumps(example, default=str)}, got {_shown(value)}"


def _told(fault: ErrorDetails) -> str:
    if fault["type"] == "value_error":
        return fault["msg"].removeprefix("Value error, ")
    return f"expected {_expected(fault)}"


def _expected(fault: ErrorDetails) -> str:
    """What a value should have been, in words; pydantic's own where there are no better ones."""
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
    """Field names of the model reached from `model` along `place` (list indices skipped)."""
    field = _field_at(model, place)
    return list(((field and _model_in(field.annotation)) or model).model_fields)


def _field_at(model: type[pydantic.BaseModel], place: Place) -> FieldInfo | None:
    """The last field on the way along `place` from `model` (list indices skipped); None where there is none."""
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
    """The kinds of the items of a tuple's annotation, such as (int, ...); also of one that may be None."""
    inner = next((a for a in get_args(annotation) if getattr(a, "__origin__", None) is tuple), annotation)
    return get_args(inner)
