"""Write the pages that the code and the READMEs give: tasks, policies, perturbations, experiments, commands, modules.

`python docs/generate.py FOLDER` writes them; building the site does, too.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from os.path import relpath
from pathlib import Path
from typing import Any

import pandas as pd
import reference
from reference import cell, table

from altbench import experiments
from altbench.cli import listing, show
from altbench.core import registry
from altbench.core.docstrings import first_line, meanings
from altbench.core.perturbation import ScenePerturbation
from altbench.core.policy import Trainable

DOCS = Path(__file__).parent
ROOT = DOCS.parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
KNOWN_RUNS = ("reference", "tasks-small", "alt-plus", "lookups")
"""The published runs whose clean cells the pages show, the first that has a row first."""
SPLITS = ("replay", "recall", "uniform", "grid", "interpolate", "extrapolate_side", "extrapolate_back")
KNOWN_NOTE = (
    "Successes of episodes without perturbations. Each line is one checkpoint on one set of demonstrations. The tables of a "
    "run, `results/RUN/tables/success.md`, have intervals and comparisons.\n"
)
READMES = {"envs": "Tasks and perturbations", "policies": "Policies", "demos": "Demonstrations", "results": "Results"}


def write(folder: Path) -> None:
    """Write all pages into `folder`; a page that does not change keeps its time."""
    wanted = dict(_pages(folder))
    for path in set(folder.rglob("*.md")) - set(wanted):
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _pages(folder: Path) -> Iterator[tuple[Path, str]]:
    known = _published()
    for kind, page in _KINDS.items():
        found = listing.names(kind)
        yield folder / kind / "index.md", _index(kind, found, _INTRODUCTIONS[kind])
        for name in found:
            path = folder / kind / f"{name}.md"
            yield path, page(name, path.parent, known)
    yield folder / "commands.md", reference.commands()
    yield folder / "python.md", reference.python()
    for name, title in READMES.items():
        source = ROOT / name / "README.md"
        yield folder / f"{name}.md", f"# {title}\n\n{_body(source, folder)}"
    yield folder / "changelog.md", _moved((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), ROOT, folder)
    yield folder / "known.md", _moved(_readme_section("What comes out"), ROOT, folder)


# Parts of every page


def _index(kind: str, found: Mapping[str, str], introduction: str) -> str:
    lines = [f"# {kind.capitalize()}", "", introduction, "", "| | |", "|:--|:--|"]
    lines += [f"| [{name}]({name}.md) | {text} |" for name, text in found.items()]
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *found, "```", ""])


def _rows(rows: Mapping[str, str]) -> str:
    return "\n".join(["| | |", "|:--|:--|", *(f"| {name} | {cell(text)} |" for name, text in rows.items()), ""])


def _picture(name: str, alt: str, folder: Path) -> str:
    """Return a picture of docs/pictures for a page in `folder`; empty if it is missing."""
    path = DOCS / "pictures" / name
    return f"![{alt}]({relpath(path, folder)})\n" if path.is_file() else ""


def _body(readme: Path, folder: Path) -> str:
    """Return a README below its title, its headings and links as `folder` needs them."""
    text = readme.read_text(encoding="utf-8").partition("\n")[2]
    return _moved(text, readme.parent, folder)


def _readme_section(title: str) -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)
    assert found, f"README.md has no section {title}"
    return f"# What is known\n{found[1]}"


def _moved(text: str, source: Path, folder: Path) -> str:
    """Return `text` with links as seen from `folder`; what is no page is named only."""

    def one(match: re.Match[str]) -> str:
        mark, said, target = match.groups()
        if "://" in target or target.startswith("#"):
            return match[0]
        path, _, part = target.partition("#")
        where = (source / path).resolve()
        if mark:
            return f"![{said}]({relpath(where, folder)})" if where.is_file() else said
        page = _page_of(where, folder)
        return f"[{said}]({page}{'#' * bool(part)}{part})" if page else f"{said} (`{_from_root(where)}`)"

    return LINK.sub(one, text)


def _page_of(where: Path, folder: Path) -> str:
    """Return the site's page of a file of the repository, relative to `folder`; else empty."""
    generated = DOCS / "generated"
    if where.suffix == ".md" and where.parent == DOCS:
        return relpath(where, folder)
    if where.name == "README.md" and where.parent.name in READMES and where.parent.parent == ROOT:
        return relpath(generated / f"{where.parent.name}.md", folder)
    if where.name == "README.md" and where.parent.parent == ROOT / "policies" / "altbench_policies":
        return relpath(generated / "policies" / f"{where.parent.name}.md", folder)
    return ""


def _from_root(where: Path) -> str:
    return str(where.relative_to(ROOT)) if where.is_relative_to(ROOT) else where.name


# What is published


def _published() -> pd.DataFrame:
    """Return successes and episodes of each clean cell of the published runs."""
    frames = []
    for run in KNOWN_RUNS:
        path = ROOT / "results" / run / "episodes.parquet"
        if path.is_file():
            episodes = pd.read_parquet(path, columns=["task", "label", "n", "split", "severity", "success"])
            counted = episodes[episodes.severity == 0].groupby(["task", "label", "n", "split"], observed=True)
            frames.append(counted.success.agg(["sum", "size"]).reset_index().assign(run=run))
    return pd.concat(frames) if frames else pd.DataFrame()


def _known(known: pd.DataFrame, column: str, name: str, first: str) -> str:
    """Return what the published runs measured of a task or a policy: a line per checkpoint."""
    rows = known[known[column] == name] if len(known) else known
    if not len(rows):
        return "None is published yet.\n"
    other = "label" if column == "task" else "task"
    splits = [split for split in SPLITS if split in set(rows["split"].astype(str))]
    lines = []
    for (what, run, n), group in rows.groupby([other, "run", "n"], observed=True):
        counts = {str(cell["split"]): f"{cell['sum']}/{cell['size']}" for cell in group.to_dict("records")}
        lines.append([str(what), str(n), *(counts.get(split, "") for split in splits), f"`{run}`"])
    return table([first, "N", *splits, "in results/"], lines) + "\n" + KNOWN_NOTE


# A page each


def _task(name: str, folder: Path, known: pd.DataFrame) -> str:
    cls = registry.task_class(name)
    picture = _picture(f"task-{name}.png", f"The splits of {name}", folder)
    return "\n".join([
        f"# {name}", "", _prose(cls), "", picture,
        "## Facts", "", _rows(show.task_rows(cls)),
        "## Published results", "", _known(known, "task", name, "policy"),
        "## Try it", "", f"    altbench demos collect {name} --n 2 --out {name}.hdf5", "",
    ])  # fmt: skip


def _policy(name: str, folder: Path, known: pd.DataFrame) -> str:
    cls = registry.policy(name)
    readme = ROOT / "policies" / "altbench_policies" / name / "README.md"
    learns = "It learns from demonstrations." if issubclass(cls, Trainable) else "It learns nothing."
    said = meanings(cls.config_type)
    settings = [
        [f"`{key}`", show.type_text(field), _default(field), said[key]]
        for key, field in cls.config_type.model_fields.items()
    ]
    presets = [
        [f"`{one}`", _changes(values)] for one, values in zip(cls.preset_names(), cls.presets.values(), strict=True)
    ]
    parts = [
        f"# {name}", "", _prose(cls), "", f"{learns} Version {cls.version}.", "",
        "## Presets", "", table(["preset", "settings that differ from the defaults"], presets),
        "## Published results", "", _known(known, "label", name, "task"),
    ]  # fmt: skip
    if readme.is_file():
        parts += ["## Idea, source, deviations", "", re.sub(r"^## ", "### ", _body(readme, folder), flags=re.MULTILINE)]
    return "\n".join([*parts, "## Settings", "", table(["setting", "type", "default", "meaning"], settings)])


def _default(field: Any) -> str:
    return "required" if field.is_required() else f"`{show.written(field.get_default(call_default_factory=True))}`"


def _changes(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key} = {show.written(value)}`" for key, value in values.items()) or "none"


def _perturbation(name: str, folder: Path, known: pd.DataFrame) -> str:
    del known
    cls = registry.perturbation(name)
    kind = "the scene" if issubclass(cls, ScenePerturbation) else "camera images"
    rows = {"changes": kind, "options": show.options_text(cls), "version": str(cls.version)}
    sweep = f'```toml\nperturbations = [{{ name = "{name}", severities = [2, 5] }}]\n```\n'
    picture = _picture(f"perturbation-{name}.png", f"{name}: as it is, and severities 1 to 5", folder)
    picture += "\nBoth cameras of `Lift`, 24 control steps into an episode of the expert.\n" if picture else ""
    return "\n".join([f"# {name}", "", _prose(cls), "", picture, _rows(rows), "In a sweep:", "", sweep])


def _experiment(name: str, folder: Path, known: pd.DataFrame) -> str:
    del known
    one = experiments.load(name)
    module = sys.modules[experiments.EXPERIMENTS[name].partition(":")[0]]
    report = next(iter(sorted((ROOT / "results" / "paper-small").glob(f"{name}-*/report.md"))), None)
    report = report or next(iter(sorted((ROOT / "results" / "paper-small").glob(f"{one.name}/report.md"))), None)
    parts = [
        f"# {name}: {one.name}",
        "",
        inspect.cleandoc(module.__doc__ or ""),
        "",
        f"    altbench reproduce {name}",
        "",
    ]
    if report:
        text = re.sub(r"^(#+) ", r"#\1 ", _body(report, folder), flags=re.MULTILINE)
        parts += ["## The published report", "", f"`{_from_root(report)}`, as it was published:", "", text]
    return "\n".join(parts)


def _prose(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or first_line(cls))


_KINDS: dict[str, Any] = {
    "tasks": _task,
    "policies": _policy,
    "perturbations": _perturbation,
    "experiments": _experiment,
}
_INTRODUCTIONS = {
    "tasks": "Each is a Gymnasium environment, a scripted expert and seven ways to begin an episode. "
    "[Add one of your own](../../tutorials/add-a-task.md).",
    "policies": "Each takes the same observations and answers with chunks of actions. "
    "[Bring your own](../../tutorials/bring-your-policy.md).",
    "perturbations": "Each has severities 1 to 5. The same episodes are played with and without it. "
    "[Add one of your own](../../tutorials/add-a-perturbation.md).",
    "experiments": "The paper's figures and tables, and what goes beyond them. "
    "[How to reproduce them](../../tutorials/the-paper.md).",
}

if __name__ == "__main__":
    write(Path(sys.argv[1]))
