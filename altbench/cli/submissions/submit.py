"""`altbench submit`: pack a row of a run for others, and verify what others packed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from altbench.cli.help import App

if TYPE_CHECKING:
    from altbench.submissions.verdict import Verdict

app = App(help="Pack a policy's records for the leaderboard, and verify such an archive.")


@app.command("pack")
def pack(
    run: Annotated[Path, typer.Argument(help="The run's folder, such as results/mine.", show_default=False)],
    row: Annotated[str, typer.Option(help="The row of the run to pack, by its label.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The archive to write; default LABEL.zip.")] = None,
    with_checkpoint: Annotated[
        bool, typer.Option("--with-checkpoint", help="Add what the policy learned, so that it can be played again.")
    ] = False,
    card: Annotated[
        Path | None,
        typer.Option(help="A TOML file: name, authors, paper, code, training_data, licence, parameters, description."),
    ] = None,
) -> None:
    """Pack all records of one row as one archive.

    It holds every episode's initial state and executed actions, the claimed numbers,
    measurements, versions, and the demonstrations' initial states and checksums. The
    same records give the same bytes. The run must follow the suite: `recall` and
    `uniform` unperturbed, at least 20 episodes each, root seed 0, the tasks' own
    horizons.

    - `altbench submit pack results/mine --row mine`
    - `altbench submit pack results/mine --row alt --with-checkpoint --card card.toml --out alt.zip`
    """
    from altbench.submissions.manifest import read_card
    from altbench.submissions.pack import pack as write

    path = write(run, row, out, with_checkpoint, None if card is None else read_card(card))
    typer.echo(f"{path} ({path.stat().st_size / 1000:,.0f} kB)")


@app.command("verify")
def verify(
    archive: Annotated[Path, typer.Argument(help="The archive, or a folder with its parts.", show_default=False)],
    play: Annotated[
        float,
        typer.Option(min=0, max=1, help="The share of episodes that the policy plays again, if it is there; 0: none."),
    ] = 0.05,
    policy: Annotated[
        str,
        typer.Option(
            help="What plays, in place of the archive's checkpoint: a server's ws:// URL, or ./file.py:Class, whose "
            "code you trust.",
            show_default=False,
        ),
    ] = "",
    demonstrations: Annotated[
        Path | None, typer.Option(help="The demonstrations' file, to compare its checksum.", show_default=False)
    ] = None,
    draw: Annotated[
        int | None, typer.Option(min=0, help="The seed of the draw, to repeat a verdict; default: drawn now.")
    ] = None,
    by: Annotated[str, typer.Option(help="Who verifies; the leaderboard shows it.", show_default=False)] = "",
    out: Annotated[Path | None, typer.Option(help="The folder for the verdict; default: beside the archive.")] = None,
) -> None:
    """Verify an archive: its parts, its numbers, and that its actions lead where it says.

    Nothing in it is executed but built-in policies with its checkpoint. All seeds and
    initial states are computed again, and all recorded actions are played in the
    simulator, without images: 100 episodes of Lift take 16 core-seconds. If the policy is
    there, drawn episodes are played again, and seeds that nobody knew before. Writes
    NAME.verdict.json and NAME.verdict.html.

    Exit status: 0, verified; 1, refuted: a check failed; 2, it cannot be checked here.

    - `altbench submit verify alt.zip`
    - `altbench submit verify alt.zip --play 0.2 --by "J. Doe" --out verdicts`
    - `altbench submit verify mine.zip --policy ws://127.0.0.1:8000`
    """
    from altbench.submissions.pages import write_verdict_page
    from altbench.submissions.verdict import verdict_path, write_verdict
    from altbench.submissions.verification.verify import verify as check
    from altbench.system.console import make_console, say

    place = verdict_path(archive if out is None else out / archive.name)
    found = check(
        archive, play, policy=policy, demonstrations=demonstrations, draw=draw, by=by, progress=_show_progress
    )
    console = make_console()
    _show(found)
    if found.digest:
        write_verdict(place, found)
        say(console, f"wrote {place} and {write_verdict_page(place, archive, found)}", wrap=False)
    raise typer.Exit(found.status)


def _show_progress(what: str, done: int, of: int) -> None:
    """Show how far a verification is, where someone watches."""
    if sys.stderr.isatty():
        print(f"\r{what}: {done} of {of} ", end="" if done < of else "\n", file=sys.stderr, flush=True)


def _show(found: Verdict) -> None:
    """Print every finding in a line, and the outcome."""
    from altbench.system.console import make_console, say

    looks = {"passed": "green", "failed": "red", "unknown": "yellow", "note": "dim"}
    console = make_console()
    for one in found.findings:
        say(console, (f"{one.state:8}", looks[one.state]), (f"{one.check}: ", "bold"), one.text)
        for detail in one.details:
            say(console, f"         {detail}")
    say(console, (found.sentence, "bold"))
