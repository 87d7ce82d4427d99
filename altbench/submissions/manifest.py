"""The manifest of an archive: what it holds, who made it, and what it claims."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic

from altbench.core.errors import AltbenchError, ConfigError
from altbench.core.spec import Spec, read_toml
from altbench.submissions.suite import SCHEMA
from altbench.system import sealed

MANIFEST = "manifest.json"
"""The manifest's part of an archive."""
DEMONSTRATIONS = "demonstrations.json"
"""The part with the demonstrations' initial states and checksums."""
ADVICE = "ask the authors for a whole archive"
"""What to do about a part that is damaged."""
LONGEST_TEXT = 1000
"""The most characters of a text in a card."""
AnySpec = TypeVar("AnySpec", bound=Spec)
Count = Annotated[int, pydantic.Field(ge=0, le=10_000_000)]
Sha256 = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
Numbers = Annotated[tuple[float, ...], pydantic.Field(max_length=10_000)]


class SubmissionError(AltbenchError):
    """An archive that cannot be read: its form is wrong, it is too large, or parts are missing."""


class OtherSchema(SubmissionError):
    """An archive of another version of altbench, which may well be sound."""


class PolicyCard(Spec):
    """What its authors say of a policy; empty: they do not say.

    `paper`, `code`: web addresses. `training_data`: what it learned from, besides the
    demonstrations of the suite. `parameters`: how many numbers were learned.
    """

    name: str = ""
    authors: tuple[str, ...] = pydantic.Field(default=(), max_length=100)
    paper: str = ""
    code: str = ""
    training_data: str = ""
    licence: str = ""
    parameters: int | None = pydantic.Field(default=None, ge=0)
    description: str = ""

    @pydantic.field_validator("name", "authors", "training_data", "licence", "description", "paper", "code")
    @classmethod
    def _one_line(cls, value: Any) -> Any:
        for text in (value,) if isinstance(value, str) else value:
            if any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in text):
                raise ValueError(f"expected text of one line without control characters, got {text[:40]!a}")
            if len(text) > LONGEST_TEXT:
                raise ValueError(f"expected at most {LONGEST_TEXT} characters, got {len(text)}")
        return value

    @pydantic.field_validator("paper", "code")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value and (not value.startswith(("https://", "http://")) or any(sign.isspace() for sign in value)):
            raise ValueError(f"expected an address that begins with https://, got {value[:60]!a}")
        return value


class Start(Spec):
    """The beginning of a demonstration: its number, its seed, and the state that followed from it."""

    index: Count
    seed: int
    grid_index: int
    sim_state: Numbers
    object_pose: Numbers


class Shown(Spec):
    """The N demonstrations that policies were fitted to, in their order; their contents as a checksum.

    `collected`: how many their file holds. `placement`, `root_seed`: how they were
    collected; `expert`: by whom, empty for the task's own expert.
    """

    task: str
    n: Count
    checksum: Sha256
    collected: Count
    placement: Literal["grid", "uniform"]
    root_seed: int = pydantic.Field(ge=0)
    expert: str = ""
    starts: tuple[Start, ...] = pydantic.Field(max_length=100_000)


class ShownFile(Spec):
    """The part `demonstrations.json`."""

    shown: tuple[Shown, ...] = pydantic.Field(max_length=1000)


class Point(Spec):
    """A checkpoint: its key, and the specification whose digest the key is.

    `config`: its complete settings. `folder`: where the archive holds it; empty: it does
    not.
    """

    name: str
    task: str
    policy: str
    preset: str
    n: Count
    train_seed: Count
    key: Sha256
    specification: str = pydantic.Field(max_length=1_000_000)
    config: dict[str, Any]
    trainable: bool
    folder: str = ""


class Claim(Spec):
    """What a submission claims of a cell: so many successes of so many episodes."""

    cell: str
    key: Sha256
    successes: Count
    episodes: Count


class Manifest(Spec):
    """All that an archive says of itself.

    `schema_version`, `suite`, `protocol`: which rules were in force. `altbench`: the
    version that packed it. `tasks`, `perturbations`: name -> version. `physics`: package
    -> version. `image_size` (H, W), `render_profile`: of the images that the policy saw.
    `parts`: name of every other part -> SHA-256.
    """

    schema_version: int
    suite: int
    protocol: int
    altbench: str
    label: str
    card: PolicyCard = PolicyCard()
    policy_version: int
    tasks: dict[str, int]
    perturbations: dict[str, int] = pydantic.Field(default_factory=dict)
    physics: dict[str, str]
    image_size: tuple[int, int]
    render_profile: Literal["fast", "robosuite"]
    points: tuple[Point, ...] = pydantic.Field(max_length=1000)
    claims: tuple[Claim, ...] = pydantic.Field(max_length=10_000)
    parts: dict[str, Sha256] = pydantic.Field(max_length=10_000)

    @property
    def title(self) -> str:
        """The name that the leaderboard shows."""
        return self.card.name or self.label


def read_card(path: Path) -> PolicyCard:
    """Return the card in a TOML file; ConfigError for anything that a card does not have."""
    return PolicyCard.parse(read_toml(path), str(path))


def part_bytes(part: Spec) -> bytes:
    """Return a manifest or another part as sealed JSON; equal values give equal bytes."""
    return sealed.json_bytes(part.model_dump(mode="json"))


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the archive in `folder`.

    SubmissionError, in one line, if it is damaged or no manifest; OtherSchema if it is
    of another version.
    """
    values = _values(folder / MANIFEST)
    schema = values.get("schema_version")
    if schema != SCHEMA:
        raise OtherSchema(
            f"{MANIFEST}: expected schema_version {SCHEMA}, got {schema!r:.40}; another altbench made the archive"
        )
    return _parsed(Manifest, values, MANIFEST)


def read_shown(folder: Path) -> tuple[Shown, ...]:
    """Return the demonstrations that the archive in `folder` names; SubmissionError as `read_manifest`."""
    return _parsed(ShownFile, _values(folder / DEMONSTRATIONS), DEMONSTRATIONS).shown


def _values(path: Path) -> dict[str, Any]:
    try:
        # Only sealed files pass: without a digest none of these names is known.
        return sealed.read_json(path, ("format",), ADVICE)
    except AltbenchError as error:
        raise SubmissionError(str(error).replace(str(path), path.name, 1)) from None


def _parsed(kind: type[AnySpec], values: Mapping[str, Any], where: str) -> AnySpec:
    try:
        return kind.parse(values, where)
    except ConfigError as error:
        raise SubmissionError(str(error)) from None
    except RecursionError:
        raise SubmissionError(f"{where}: nested too deeply; {ADVICE}") from None
