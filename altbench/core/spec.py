"""Checked settings: a frozen pydantic model, its canonical JSON and its digest."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Self

import pydantic

from altbench.core.errors import ConfigError
from altbench.core.spec_errors import first_fault

FORMERLY = "formerly"
"""The note on a field that holds its former default (`changed`)."""
LEFT_OUT = "left_out"
"""The note on a field that holds the value a dump leaves out, where that is not the default (`added`)."""
LARGEST_INTEGER = 2**63 - 1
"""The largest whole number in settings: the records' columns have 64 bits, with a sign."""


class Spec(pydantic.BaseModel):
    """A frozen model of settings that refuses unknown keys, infinity and NaN.

    Defaults are validated in the same way as given values.
    """

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=False, validate_default=True, allow_inf_nan=False
    )

    def resolve(self, device: str) -> Self:
        """Return these settings with everything definite that depends on the machine, for work on `device`."""
        del device
        return self

    @pydantic.model_validator(mode="before")
    @classmethod
    def _can_be_stored(cls, values: object) -> object:
        if isinstance(values, Mapping):
            for key, value in values.items():
                _check_storable(str(key), value)
        return values

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> Self:
        """Return validated settings.

        Raises ConfigError with one line that begins with `where` and names the first
        fault.
        """
        try:
            return cls.model_validate(dict(values))
        except pydantic.ValidationError as error:
            raise ConfigError(f"{where}: {first_fault(cls, error)}") from None


def _check_storable(key: str, value: object) -> None:
    """Raise ValueError for a number or a text that no table of records can hold."""
    # Parquet has integers of 64 bits with a sign and texts in UTF-8; files end names at
    # NUL. Found here, it costs one line; found later, it costs the run.
    if isinstance(value, Mapping):
        for name, part in value.items():
            _check_storable(f"{key}.{name}", part)
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            _check_storable(f"{key}.{i}", part)
    elif isinstance(value, int) and not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        raise ValueError(f"{key}: expected a whole number of at most 63 bits (up to {LARGEST_INTEGER}), got {value}")
    elif isinstance(value, str) and ("\0" in value or not _is_unicode(value)):
        raise ValueError(f"{key}: expected text without NUL and without half characters, got {value!a}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def added(default: Any, *, formerly: Any = ..., **rules: Any) -> Any:
    """Declare a `Spec` field that was added after results had been published.

    At the value that means what was done before, the field is left out of `model_dump`.
    So it does not enter a key, a card or a fingerprint that was computed before the
    field existed. That value is the default, which may never change; or `formerly`, in a
    class that has another default for a field of its base. Do not use it for
    `Policy.runtime_fields`: a row's default would not override a card's value. `rules`:
    further arguments of `pydantic.Field`, such as `ge`.
    """
    absent = default if formerly is ... else formerly
    if formerly is not ...:
        rules["json_schema_extra"] = {LEFT_OUT: formerly}
    return pydantic.Field(default=default, exclude_if=lambda value: bool(value == absent), **rules)


def changed(default: Any, formerly: Any, *, left_out: bool = False, **rules: Any) -> Any:
    """Make a `Spec` field whose default is another now than when results were published; then it was `formerly`.

    A sweep that is kept with its run names such a setting always, so that one without it is from before, and means
    `formerly` (`altbench.sweeps.kept`). `left_out`: at `formerly` it is left out of `model_dump`, as a setting that was
    `added` before its default changed. `rules`: further arguments of `pydantic.Field`.
    """
    if left_out:
        rules["exclude_if"] = lambda value: bool(value == formerly)
    return pydantic.Field(default=default, json_schema_extra={FORMERLY: formerly}, **rules)


def former_defaults(kind: type[Spec]) -> dict[str, Any]:
    """Return what each setting made by `changed` was before its default changed."""
    return _noted(kind, FORMERLY)


def _noted(kind: type[Spec], note: str) -> dict[str, Any]:
    """Return the values that fields of `kind` carry under `note`, by the field's name."""
    extras = {name: field.json_schema_extra for name, field in kind.model_fields.items()}
    return {name: extra[note] for name, extra in extras.items() if isinstance(extra, dict) and note in extra}


def complete(kind: type[Spec], dumped: Mapping[str, Any]) -> dict[str, Any]:
    """Return `dumped`, all settings of a `kind` as a card or a plan holds them, with what the dump leaves out.

    A dump leaves a setting out only if its value is the default, or the former default of
    one made by `changed` or `added`; cards of before the setting mean the former default, too.
    """
    return {**former_defaults(kind), **_noted(kind, LEFT_OUT), **dumped}


def read_toml(path: Path) -> dict[str, Any]:
    """Return the parsed file; ConfigError if it is missing or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected a sweep in TOML") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None


def digest(specification: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of `specification`."""
    return hashlib.sha256(canonical(specification).encode()).hexdigest()


def canonical(specification: Mapping[str, Any]) -> str:
    """Return JSON with sorted keys and no spaces; raise TypeError for a value that JSON cannot hold."""
    # Every published key is a digest of these bytes: a change here orphans all results.
    return json.dumps(specification, sort_keys=True, separators=(",", ":"), default=_path)


def _path(value: object) -> str:
    """Return a path as text.

    Nothing else may become text here: a long array's text is abbreviated, so two arrays could share a key.
    """
    if isinstance(value, PurePath):
        return str(value)
    kind = type(value).__name__
    raise TypeError(
        f"expected values that JSON can hold (number, text, true, false, list, table), and {kind} is not one"
    )
