"""Section 6: what made the run, how to repeat it, and its files to take along."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from altbench.page.records import RunRecords
from altbench.system.fingerprint import package_version
from altbench.system.sealed import file_digest

EMBEDDED = 600_000
"""The most bytes of a file that the page carries; a larger one is a link beside it."""
TYPES = {
    ".csv": "text/csv",
    ".tex": "application/x-tex",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
BIBTEX = """@software{{altbench,
  title   = {{{{altbench}}: does a manipulation policy generalise, or recall?}},
  author  = {{{{The altbench authors}}}},
  version = {{{version}}},
  note    = {{Run {run}{commit}}}
}}

@article{{he2025demystifying,
  title   = {{Demystifying Diffusion Policies: Action Memorization and Simple Lookup Table Alternatives}},
  author  = {{He and Liu and Sznaier Camps and Bruno and Sartoretti and Schwager}},
  year    = {{2025}},
  journal = {{arXiv:2505.05787}}
}}
"""


@dataclass(frozen=True)
class Download:
    """A file: its name, what it holds, its size, and a `data:` or relative address."""

    name: str
    about: str
    size: str
    address: str
    embedded: bool


@dataclass(frozen=True)
class Provenance:
    """The sixth section's contents."""

    facts: tuple[tuple[str, str], ...]
    checksums: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...]
    downloads: tuple[Download, ...]
    sweep: str
    bibtex: str


def command(*words: str) -> str:
    """Return a command of altbench as a shell reads it."""
    return shlex.join(("altbench", *words))


def provenance(run: RunRecords, beside: str) -> Provenance:
    """Return the sixth section; `beside`: how an address reaches the run's folder."""
    sweep = json.dumps(json.loads(run.sweep.model_dump_json()), indent=1, ensure_ascii=False) if run.sweep else ""
    return Provenance(
        tuple(_facts(run)),
        tuple(_checksums(run)),
        tuple(_commands(run)),
        tuple(_downloads(run, beside)),
        sweep,
        _bibtex(run),
    )


def _facts(run: RunRecords) -> Iterator[tuple[str, str]]:
    made_by = run.made_by
    yield "run", run.name
    if made_by is None:
        yield "fingerprint", "missing: this folder does not say what made it"
        return
    changed = ", with changes that are not committed" if made_by.dirty else ""
    yield "commit", f"{made_by.commit or 'unknown'}{changed}"
    yield "packages", ", ".join(f"{name} {version}" for name, version in made_by.packages.items())
    yield "python", made_by.python
    yield "machine", f"{made_by.cpu}, {made_by.cores} cores; GPU: {made_by.gpu or 'none'}"
    yield "system", made_by.os
    yield "renderer", made_by.renderer or "unknown"
    if made_by.horizon:
        yield "horizon", made_by.horizon
    yield from made_by.sources.items()
    if run.sweep:
        shown = run.sweep.demonstrations
        yield "demonstrations", f"{shown.n} for each task, {shown.file or f'from the expert, {shown.placement}'}"
        yield "seeds", f"root {run.sweep.seed}; training {', '.join(map(str, run.sweep.train_seeds))}"


def _checksums(run: RunRecords) -> Iterator[tuple[str, str]]:
    for digest in (run.made_by.data or "").split() if run.made_by else ():
        yield "demonstrations (contents)", digest
    for name in ("episodes.parquet", "decisions.parquet", "sweep.json", "fingerprint.json"):
        if (run.root / name).is_file():
            yield name, file_digest(run.root / name)


def _commands(run: RunRecords) -> Iterator[tuple[str, str]]:
    root = run.shown_root
    if run.submission:
        yield "Verify the archive that this page is made of", command("submit", "verify", root)
        return
    if run.sweep:
        yield "Run the sweep again elsewhere", command("run", f"{root}/sweep.json", "--out", f"{root}-again")
        yield "Compare the two runs, episode by episode", command("compare", root, f"{root}-again")
    yield "Make tables, figures and this page again", command("redraw", root)
    yield "Show another run beside this one", command("report", root, "--compare", "OTHER")


def _downloads(run: RunRecords, beside: str) -> Iterator[Download]:
    if run.submission:
        sizes = (path.stat().st_size for path in run.root.rglob("*") if path.is_file())
        yield Download(
            run.submission.file, "all records", f"{sum(sizes) / 1000:,.0f} kB", run.submission.archive, False
        )
        return
    for stem, about in (("success", "every rate with counts and interval"), ("latency", "time"), ("memory", "memory")):
        for suffix in ("csv", "tex"):
            yield from _download(run.root / "tables" / f"{stem}.{suffix}", f"{about}, {suffix}", run.root, beside)
    for name, about in (
        ("episodes.parquet", "one row for each episode"),
        ("decisions.parquet", "one row for each decision"),
        ("sweep.json", "what was run"),
        ("fingerprint.json", "what made it"),
    ):
        yield from _download(run.root / name, about, run.root, beside)


def _download(path: Path, about: str, root: Path, beside: str) -> Iterator[Download]:
    if not path.is_file():
        return
    size, name = path.stat().st_size, path.relative_to(root).as_posix()
    embedded = size <= EMBEDDED
    address = f"{beside}{name}"
    if embedded:
        address = f"data:{TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
    yield Download(path.name, about, f"{size / 1000:,.0f} kB" if size >= 1000 else f"{size} B", address, embedded)


def _bibtex(run: RunRecords) -> str:
    version = run.made_by.packages.get("altbench", "") if run.made_by else ""
    commit = f", commit {run.made_by.commit[:12]}" if run.made_by and run.made_by.commit else ""
    return BIBTEX.format(version=version or package_version("altbench"), run=run.name, commit=commit)
