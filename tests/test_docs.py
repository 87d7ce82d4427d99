"""The pages in docs/: generated ones are up to date, and all that they name is there."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main

import altbench
from altbench.cli.app import app
from altbench.core.docstrings import meanings
from altbench.core.spec import Spec
from altbench.stats.rates import wilson_interval
from altbench.sweeps.spec import SweepSpec
from altbench.system import installation
from altbench.system.devices import DEVICES
from altbench.system.doctor import LIBRARIES

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXT = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
COMMANDS = sorted(
    {c for text in TEXT.values() for c in re.findall(r"^    (altbench [^|>\n]*)", text, flags=re.MULTILINE)}
)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/document_sweep.py."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return pytest.importorskip("document_sweep")


def test_the_page_of_sweeps_is_what_the_code_says(script: Any) -> None:
    assert TEXT["sweep.md"] == script.page(), "run `python benchmarks/document_sweep.py`"


def test_every_key_of_a_sweep_has_its_meaning(script: Any) -> None:
    for kind in script.SECTIONS:
        unsaid = [name for name, text in meanings(kind).items() if not text]
        assert unsaid == [], f"{kind.__name__}: its docstring must say what {unsaid} mean"
    assert models(SweepSpec) == set(script.SECTIONS), "a model without a table"


def models(kind: type[Spec]) -> set[type[Spec]]:
    """Return a model and all models that its fields hold."""
    inner = kind.model_json_schema().get("$defs", {})
    return {kind} | {
        one for one in Spec.__subclasses__() if one.__name__ in inner and one.__module__.startswith("altbench.")
    }


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 0}, "whole number from 0"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 5}, "number above 0 to 5"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, "list, each text, not empty"),
        ({"anyOf": [{"type": "integer"}, {"const": "each"}, {"type": "null"}]}, 'whole number or `"each"`'),
        ({"enum": ["a", "b"], "type": "string"}, '`"a"`, `"b"`'),
        ({"$ref": "#/$defs/EventEntry"}, "table, see [event](#event)"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "table, name = whole number"),
        ({"type": "object"}, "table"),
    ],
)
def test_a_schema_is_put_into_words(script: Any, schema: dict[str, Any], words: str) -> None:
    assert script.in_words(schema) == words


def test_examples_of_sweeps_are_sweeps() -> None:
    for text in re.findall(r"```toml\n(.*?)```", TEXT["sweep.md"], flags=re.DOTALL):
        SweepSpec.parse(tomllib.loads(text), "docs/sweep.md")


@pytest.mark.parametrize("text", COMMANDS)
def test_the_bench_understands_every_command(text: str) -> None:
    command: click.Command = typer.main.get_command(app)
    arguments, context = shlex.split(text)[1:], None
    while hasattr(command, "resolve_command"):
        context = command.make_context("altbench", arguments, parent=context)
        _, command, arguments = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context("altbench", arguments, parent=context)  # refuses what it does not know


@pytest.mark.parametrize("page", TEXT)
def test_links_and_files_exist(page: str) -> None:
    for link in re.findall(r"\]\((?!generated/)([^)#]+)(?:#[^)]*)?\)", TEXT[page]):  # the site's build checks those
        assert (ROOT / "docs" / link).is_file(), link
    for name in re.findall(r"`((?:altbench|benchmarks|tests|envs|policies|demos|docs)/[\w/.-]+)`", TEXT[page]):
        assert (ROOT / name).exists(), name


def test_the_page_of_gpus_names_the_devices() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", TEXT["gpu.md"], flags=re.MULTILINE)
    assert tuple(rows) == DEVICES


def test_the_glossary_explains_what_was_asked_for() -> None:
    heads = " ".join(re.findall(r"^\| \*\*.*?\|", TEXT["glossary.md"], flags=re.MULTILINE))
    for word in ("N", "split", "cell", "row", "checkpoint", "key", "chunk", "To", "Tp", "Ta", "flag", "S", "γ"):
        assert f"**{word}**" in heads, word
    for word in ("Wilson", "Holm"):
        assert word in heads
    low, high = wilson_interval(9, 10)
    assert f"9 of 10 gives [{100 * low:.0f}, {100 * high:.0f}] %" in TEXT["glossary.md"]


def test_the_citation_is_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {altbench.__version__}\n" in text and "\nlicense: MIT\n" in text


def test_troubleshooting_states_the_tolerances_of_doctor() -> None:
    text = TEXT["troubleshooting.md"]
    assert f"`equal within {installation.STATE_TOLERANCE:g}`" in text
    allowed = (
        f"at most {installation.MEAN_TOLERANCE:g} of 255, and at most {100 * installation.UNLIKE_SHARE:g} % of pixels"
    )
    assert f"{allowed} differ by more than {installation.FAR}." in text


def test_troubleshooting_says_what_is_untested() -> None:
    text = TEXT["troubleshooting.md"]
    for system in ("a GPU", "WSL 2", "macOS", "Windows"):
        assert re.search(rf"^\| {system}.*never tried", text, flags=re.MULTILINE), system
    assert all(f"MUJOCO_GL={name}" in text for name in LIBRARIES)
