"""A report as a folder of text, tables, figures and episodes; and an index of reports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from altbench.core.words import count
from altbench.experiments.shared.experiment import Experiment
from altbench.experiments.shared.experiment_run import ExperimentRun
from altbench.experiments.shared.figures import Figures, Tables, Undrawn
from altbench.experiments.shared.limits import limits, sized
from altbench.experiments.shared.sections import Report, Reported, Section
from altbench.experiments.shared.texts import UNCONVERGED_ROWS
from altbench.report.caveats import caveats, labels_in, with_caveats
from altbench.report.drawing.layout import draw_all
from altbench.report.drawing.stars import STAR, Unconverged, unconverged_rows
from altbench.report.table import Block, Table, pipe_table, write_table
from altbench.results.parquet import write_frame
from altbench.results.training import save_training
from altbench.system.files import LEFTOVER, new_folder, write_text
from altbench.system.fingerprint import Fingerprint

REPORT, ABOUT, INDEX = "report.md", "report.json", "README.md"
MOST_NAMED = 60
"""How many missing pieces of work a report names one by one."""
_INDEX_HEAD = """# The paper's experiments

`altbench experiments` wrote these reports; `missing` counts the pieces of work that are missing."""
_SECOND_HAND = "† second-hand: from notes on the published version, not from the paper's own text."


def write_report(experiment: Experiment, report: Report, run: ExperimentRun, out: Path, made_by: Fingerprint) -> Path:
    """Write the folder of `experiment` under `out`, whole or not at all.

    Also write the index beside it. Return the report's path.
    """
    folder = out / experiment.folder
    report = _with_notes(replace(report, summary=sized(report.summary, run.preset)), run)
    with new_folder(folder) as temporary:
        tables = Tables({stem: t.data for section in report.sections for stem, t in section.tables.items()})
        report, titles = _with_figures(report, experiment.figures(tables), temporary, made_by)
        for section in report.sections:
            for stem, table in section.tables.items():
                write_table(table, temporary, stem, made_by)
        for stem, frame in report.frames.items():
            write_frame(temporary / f"{stem}.parquet", frame)
        if run.told:
            run.write_episodes(temporary)
            save_training(run.training, temporary)
            run.write_measures(temporary)
            if experiment.reads_decisions and len(run.decisions()):
                run.write_decisions(temporary)
        write_text(temporary / REPORT, to_markdown(experiment, report, run, made_by, titles))
        write_text(temporary / ABOUT, json.dumps(_about(experiment, report, run, made_by), indent=1) + "\n")
    write_index(out)
    return folder / REPORT


def checksums(run: ExperimentRun) -> str | None:
    """Return the checksums of a report's demonstrations: of those here, and those that the published report names.

    The latter count if the report stands on published records: another machine may have made
    the same demonstrations with other last bits.
    """
    known = {c.data_checksum for c in run.checkpoints if c.data_checksum}
    about = run.published / ABOUT if run.published else None
    if (run.from_published or not known) and about is not None and about.is_file():
        known |= set((json.loads(about.read_text(encoding="utf-8"))["fingerprint"]["data"] or "").split())
    return " ".join(sorted(known)) or None


def _with_notes(report: Report, run: ExperimentRun) -> Report:
    """Return the report with what each table must say of its rows below it.

    These are the caveats of policies, and, of a table without stars, which networks have
    not converged.
    """
    episodes = run.episodes()
    known, short = caveats(episodes), unconverged_rows(episodes)

    def noted(table: Table) -> Table:
        return with_caveats(_with_unconverged(table, short), known)

    sections = [replace(s, tables={stem: noted(table) for stem, table in s.tables.items()}) for s in report.sections]
    return replace(report, sections=tuple(sections))


def _with_unconverged(table: Table, short: Unconverged) -> Table:
    """Return a table that has no stars with the rows of `short` that it shows in its note."""
    texts = (text for block in table.blocks for row in block.rows for text in row)
    own = {f"{task}, {label}, N {n}" for task, label, n in short if label in labels_in(table)}
    if not own or any(text.endswith(STAR) for text in texts):
        return table
    return replace(table, note=table.note + UNCONVERGED_ROWS.format(rows="; ".join(sorted(own))))


def _with_figures(
    report: Report, figures: Figures, folder: Path, made_by: Fingerprint
) -> tuple[Report, dict[str, str]]:
    """Write the figures that sections name; return the report without those that cannot
    be drawn, and the titles of the others.

    Those that cannot be drawn are listed as missing.
    """
    named = [stem for section in report.sections for stem in section.figures]
    titles, failures = write_named(Figures({s: f for s, f in figures.items() if s in named}), folder, made_by)
    sections = [replace(s, figures=tuple(stem for stem in s.figures if stem in titles)) for s in report.sections]
    missing = [*report.missing, *(f"figure {stem}: {reason}" for stem, reason in failures.items())]
    return replace(report, sections=tuple(sections), missing=tuple(missing)), titles


def write_named(figures: Figures, folder: Path, made_by: Fingerprint) -> tuple[dict[str, str], dict[str, str]]:
    """Write figures as PNG and SVG; return the titles of those written, and why others are not."""
    failures = {stem: f.reason for stem, f in figures.items() if isinstance(f, Undrawn)}
    drawable = {stem: f for stem, f in figures.items() if not isinstance(f, Undrawn)}
    paths, failed = draw_all([(stem, partial(_same, f)) for stem, f in drawable.items()], folder, made_by)
    failures |= {name.removeprefix("figure "): reason for name, reason in failed}
    titles = {path.stem: " ".join(drawable[path.stem].get_suptitle().split()) for path in paths}
    return titles, failures


def _same(figure: Figure) -> Figure:
    return figure


def to_markdown(
    experiment: Experiment, report: Report, run: ExperimentRun, made_by: Fingerprint, titles: Mapping[str, str]
) -> str:
    """Return the whole report as Markdown: tables inline, figures by reference.

    `titles`: those of the figures, by file stem.
    """
    seeds = "".join(f" --data-seed {seed}" for seed in run.data_seeds if seed)
    command = f"`altbench reproduce {experiment.id} --preset {run.preset}{seeds}`"
    parts = [
        f"# {experiment.id}: {experiment.title}",
        f"{experiment.question} Preset `{run.preset}`; made by {command}.",
    ]
    parts += [f"**{report.summary}**"] if report.summary else []
    for section in report.sections:
        parts += _section(section, titles)
    parts += [*limits(experiment.id, bool(run.told), run.data_seeds), *_beside(report.reported)]
    parts += _published(run)
    parts += ["## What is missing", *_missing([*report.missing, *run.missing], len(run.cells))]
    if run.left_out:
        parts += ["Left out, because this installation cannot make them:", _listing(sorted(set(run.left_out)))]
    return "\n\n".join([*parts, f"<sub>{made_by.one_line()}</sub>"]) + "\n"


def write_index(out: Path) -> None:
    """Write OUT/README.md: every report, its answer, and how much of it is missing."""
    abouts = [path for path in sorted(out.glob(f"*/{ABOUT}")) if not LEFTOVER.fullmatch(path.parent.name)]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in abouts]
    rows = tuple(
        (
            f"[{about['id']}]({about['folder']}/{REPORT})",
            about["title"],
            about["summary"],
            str(len(about["missing"])) if about["missing"] else "",
        )
        for about in found
    )
    block = Block("", ("id", "experiment", "answer", "missing"), rows, names=4)
    write_text(out / INDEX, f"{_INDEX_HEAD}\n\n{pipe_table(block)}\n")


def _section(section: Section, titles: Mapping[str, str]) -> Iterator[str]:
    yield f"## {section.heading}"
    if section.text:
        yield section.text
    for stem, table in section.tables.items():
        yield from _inline(stem, table)
    for stem in section.figures:
        yield f"![{titles.get(stem) or section.heading}]({stem}.png)"


def _inline(stem: str, table: Table) -> Iterator[str]:
    for block in table.blocks:
        if len(table.blocks) > 1:
            yield f"**{block.caption}**"
        yield pipe_table(block)
    yield " ".join(part for part in (table.note, f"([{stem}.csv]({stem}.csv))") if part)


def _beside(reported: Sequence[Reported]) -> list[str]:
    if not reported:
        return []
    rows = tuple((r.quantity, r.reported + ("†" if r.second_hand else ""), r.ours) for r in reported)
    block = Block("", ("quantity", "reported in the paper", "here"), rows, names=1)
    empty = "not measured here" if all(r.reported for r in reported) else "not reported, or not measured here"
    notes = [f"Empty: {empty}.", *([_SECOND_HAND] if any(r.second_hand for r in reported) else [])]
    return ["## Beside the paper", pipe_table(block), " ".join(notes)]


def _published(run: ExperimentRun) -> list[str]:
    """Say which cells are of records that were published before."""
    if not run.from_published:
        return []
    text = (
        f"{len(run.from_published)} of {len(run.cells)} cells are of records that were published before, in the"
        " episodes.parquet beside this report."
    )
    if run.with_other_settings:
        rows = ", ".join(f"`{label}`" for label in run.with_other_settings)
        text += f" These rows have other settings now, and are shown as they were played: {rows}."
    return ["## From published records", text]


def _missing(names: Sequence[str], cells: int) -> list[str]:
    if not names:
        return [f"Nothing: all {cells} cells are recorded." if cells else "Nothing."]
    more = [f"and {len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    found = count(len(names), "piece of work is", "pieces of work are")
    begun = f"{found} missing ({cells} cells in all); their numbers are empty above."
    return [begun, _listing([*(f"`{name}`" for name in names[:MOST_NAMED]), *more])]


def _listing(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _about(experiment: Experiment, report: Report, run: ExperimentRun, made_by: Fingerprint) -> dict[str, Any]:
    return {
        "id": experiment.id,
        "folder": experiment.folder,
        "title": experiment.title,
        "preset": run.preset,
        "summary": report.summary,
        "missing": [*report.missing, *run.missing],
        "left_out": sorted(set(run.left_out)),
        "reported": [asdict(r) for r in report.reported],
        "fingerprint": asdict(made_by),
    }
