"""Settings of sb3: which file, and whether it may be read at all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from altbench.api import Spec

UNTRUSTED = (
    "an SB3 checkpoint holds Python pickles, which run whatever code is in them as they are read; "
    "say `trust = true` (`--trust` to `altbench demos collect`) if you made {path} yourself or trust who did"
)


class StableBaselinesSpec(Spec):
    """Settings of sb3.

    `path`: the zip that `model.save(path)` wrote. `algo`: the algorithm, found out where it is not given. `trust`: that
    the zip's pickles may be loaded; without it nothing is read. `sha256`: of the file, found out where it is not given,
    so that results are keyed by what the file holds; another file at the same path is refused.
    """

    path: str = Field(min_length=1)
    algo: Literal["a2c", "ddpg", "ppo", "sac", "td3"] | None = None
    trust: bool = False
    sha256: str = ""

    @model_validator(mode="before")
    @classmethod
    def _name_the_contents(cls, values: Any) -> Any:
        """Reads bytes alone; and none where the file is not trusted."""
        if not isinstance(values, dict) or not values.get("trust") or not isinstance(values.get("path"), str):
            return values
        path = Path(values["path"])
        if not path.is_file():
            raise ValueError(f"path: no such file {values['path']!r}; expected the zip that model.save(path) wrote")
        return {**values, "sha256": values.get("sha256") or hashlib.sha256(path.read_bytes()).hexdigest()}

    @model_validator(mode="after")
    def _trusted(self) -> Self:
        if not self.trust:
            raise ValueError(UNTRUSTED.format(path=self.path))
        return self
