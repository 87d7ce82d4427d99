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


class Spec(pydantic.BaseModel):
    """A frozen model of settings that refuses unknown keys, infinity and NaN.

    Defaults are validated in the same way as given values.
    """

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=False, validate_default=True, allow_inf_nan=False
    )

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


def added(default: Any, **rules: Any) -> Any:
    """Declare a `Spec` field that was added after results had been published.

    At its default the field is left out of `model_dump`. So it does not enter a key, a
    card or a fingerprint that was computed before the field existed. Its default must
    mean what was done then, and may never change. Do not use it for
    `Policy.runtime_fields`: a row's default would not override a card's value. `rules`:
    further arguments of `pydantic.Field`, such as `ge`.
    """
    return pydantic.Field(default=default, exclude_if=lambda value: bool(value == default), **rules)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the parsed file; ConfigError if it is missing or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected a sweep in TOML") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


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
