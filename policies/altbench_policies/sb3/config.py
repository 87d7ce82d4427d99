"""The config of sb3: which file, and whether it may be read at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from altbench.api import Spec
from altbench_policies.checkpoint import sha256_of

UNTRUSTED = (
    "an SB3 checkpoint holds Python pickles, which run the code in them when they are read; "
    "set `trust = true` (`altbench demos collect`: `--trust`) if you made {path} or trust its author"
)
"""Why a file is not read without `trust`, and what to do."""


class StableBaselinesSpec(Spec):
    """Config of sb3.

    `path`: the zip that `model.save(path)` wrote. `algo`: the algorithm; found from the
    zip if not given. `trust`: whether the zip's pickles may be loaded; without it
    nothing is read. `sha256`: digest of the file, computed if it is not given, so that
    results are keyed by what the file holds; another file at the same path is refused.
    """

    path: str = Field(min_length=1)
    algo: Literal["a2c", "ddpg", "ppo", "sac", "td3"] | None = None
    trust: bool = False
    sha256: str = ""

    @model_validator(mode="before")
    @classmethod
    def _name_the_contents(cls, values: Any) -> Any:
        """Set `sha256` from the file, if it is trusted; only its bytes are read."""
        if not isinstance(values, dict) or not values.get("trust") or not isinstance(values.get("path"), str):
            return values
        path = Path(values["path"])
        if not path.is_file():
            raise ValueError(f"path: no such file {values['path']!r}; expected the zip that model.save(path) wrote")
        return {**values, "sha256": values.get("sha256") or sha256_of(path)}

    @model_validator(mode="after")
    def _trusted(self) -> Self:
        if not self.trust:
            raise ValueError(UNTRUSTED.format(path=self.path))
        return self
