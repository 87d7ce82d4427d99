"""Frozen specifications, and reading them from TOML: what a sweep is made of.

`Spec` is the base of every settings model, also of the policies': frozen, and an unknown key is refused with the nearest
valid one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import pydantic

from altbench.errors import ConfigError, suggestion


class Spec(pydantic.BaseModel):
    """A frozen settings model that knows no unknown keys."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> Self:
        """Validated settings; ConfigError in one line that begins with `where` and names the first fault."""
        try:
            return cls.model_validate(dict(values))
        except pydantic.ValidationError as error:
            raise ConfigError(f"{where}: {_first_fault(cls, error)}") from None


def _first_fault(model: type[pydantic.BaseModel], error: pydantic.ValidationError) -> str:
    fault = error.errors()[0]
    path = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        valid = _fields_at(model, fault["loc"][:-1])
        return f"unknown key {path!r}{suggestion(str(fault['loc'][-1]), valid)}"
    return f"{path or 'value'}: {fault['msg']}, got {fault['input']!r}"


def _fields_at(model: type[pydantic.BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Field names of the model reached from `model` along `path` (list indices skipped)."""
    current: type[pydantic.BaseModel] = model
    for part in path:
        field = current.model_fields.get(str(part))
        if field is not None:
            current = _model_in(field.annotation) or current
    return list(current.model_fields)


def _model_in(annotation: Any) -> type[pydantic.BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    arguments = getattr(annotation, "__args__", ())
    return next((m for m in map(_model_in, arguments) if m is not None), None)
