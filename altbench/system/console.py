"""The one place that prints to a terminal. Users' text is shown as it is.

Everything else calls these functions: rich reads `[...]` in a plain string as markup and
`:name:` as an emoji, so a bare call loses text, or raises. A test forbids such calls.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from altbench.core.errors import AltbenchError

if TYPE_CHECKING:
    from rich.progress import Progress

    from altbench.core.types import Progress as Report

Item = TypeVar("Item")
PIPE_WIDTH = 110
"""Columns of what is written into a file or pipe: wide enough for most tables."""
LEAST_NAME = 12
"""Columns that a cell with a name keeps at least, before a table is split instead."""
LEAST_PROSE = 28
"""Columns that a cell with sentences keeps at least, before a table is split instead."""
FRAME = 3
"""Columns that each column of a table takes beside its text: two spaces and a line."""
DEBUG = "ALTBENCH_DEBUG"
"""The environment variable that, set to 1, keeps the traceback of every error."""
UNPRINTABLE = "altbench-plain"
"""The name of the codec error handler for characters that a terminal's encoding lacks."""
_IN_ASCII = str.maketrans({"·": ".", "×": "x", "–": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "γ": "gamma"})
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

Part = str | tuple[str, str]
"""A text, or (text, style), such as ("failed", "red")."""


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that cannot be encoded, for `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    shown = lost.translate(_IN_ASCII)
    return shown.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error(UNPRINTABLE, _in_plain_letters)


def prepare_streams() -> None:
    """Let standard output and error write any text, on an ASCII terminal too.

    What the encoding lacks is written as plain letters (`x` for ×), or as an escape.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=UNPRINTABLE)


def make_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Make the console on standard output; into a file or pipe, `PIPE_WIDTH` wide."""
    console = Console(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def plain(text: str) -> str:
    """Return `text` with control characters written out, as in `\\x1b`.

    Line ends and tabs stay. Escape sequences in a label could else rewrite the screen.
    """
    return "".join(_written_out(c) if _steers(c) else c for c in text)


def one_line(text: str) -> str:
    """Return `text` on one line: each line end is a space, control characters written out."""
    return plain(" ".join(text.split()))


def debugging() -> bool:
    """Return whether every error shall keep its traceback (ALTBENCH_DEBUG=1)."""
    return os.environ.get(DEBUG, "0") not in ("", "0")


def error_line(error: Exception) -> str:
    """Return an error as one line: what it was about, what came, and what to do.

    An AltbenchError says so itself. Errors of the system are said with their file.
    """
    if isinstance(error, AltbenchError):
        # The last lines of a program's log stand on lines of their own.
        return one_line(getattr(error, "message", "") or str(error))
    hint = f"set {DEBUG}=1 to see where"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = "" if error.filename is None else f"{os.fsdecode(str(error.filename))}: "
        return one_line(f"{where}{error.strerror}; make room, and give the same command again: what is finished stays")
    if isinstance(error, OSError) and error.filename is not None:
        files = [error.filename] if error.filename2 is None else [error.filename, error.filename2]
        names = " -> ".join(os.fsdecode(file) if isinstance(file, str | bytes) else str(file) for file in files)
        return one_line(f"{names}: {error.strerror or type(error).__name__} ({hint})")
    return one_line(f"{type(error).__name__}: {error} ({hint})")


def _steers(character: str) -> bool:
    if character in "\n\t":
        return False
    return unicodedata.category(character) in ("Cc", "Cs") or character in _DIRECTION


def _written_out(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def text_of(*parts: Part, style: str = "") -> Text:
    """Return `parts` as one text of rich, each in its own style, none read as markup."""
    made = Text(style=style)
    for part in parts:
        made.append(plain(part)) if isinstance(part, str) else made.append(plain(part[0]), part[1])
    return made


def say(console: Console, *parts: Part, style: str = "", wrap: bool = True) -> None:
    """Print `parts` as one line. `wrap=False`: a long path is not broken into lines."""
    shown = _encodable(text_of(*parts, style=style), console)
    console.print(shown, soft_wrap=not wrap)


def put(console: Console, text: Text) -> None:
    """Print a text whose lines are laid out already; none of them is broken."""
    console.print(_encodable(text, console), end="", soft_wrap=True)


def show(console: Console, *renderables: RenderableType) -> None:
    """Print tables and groups; a bare string is shown as it is."""
    for one in renderables:
        console.print(text_of(one) if isinstance(one, str) else one)


def _encodable(text: Text, console: Console) -> Text:
    """Return `text`, without characters that the console's encoding lacks.

    `prepare_streams` is for the command line; a script's own stream may be strict.
    """
    written = text.plain.encode(console.encoding, UNPRINTABLE).decode(console.encoding)
    return text if written == text.plain else Text(written, text.style)


@contextmanager
def spinner(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """Show `what` with a spinner, while the block is at work.

    Yields a function that shows what is being done now behind it.
    """
    with console.status(text_of(what)) as status:
        yield lambda now: status.update(text_of(f"{what}: {now}"))


@contextmanager
def progress_bar(what: str) -> Iterator[Report]:
    """Show a bar with count, failed attempts and time left; yield its `Progress`."""
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[failed]:.0f} failed attempts", markup=False),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    bar = bars.Progress(*columns)
    task = bar.add_task(one_line(what), total=None, failed=0)

    def report(done: int, total: int, metrics: Mapping[str, float]) -> None:
        # Started by the first report, so that an earlier error appears without a bar.
        bar.start()
        bar.update(task, completed=done, total=total, failed=metrics.get("failed", 0))

    try:
        yield report
    finally:
        if bar.live.is_started:
            bar.stop()


def job_bars(console: Console) -> Progress:
    """Return the bars of a run's jobs: description, count, the field `detail`, time."""
    from rich import progress as bars

    return bars.Progress(
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(bar_width=24),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[detail]}", markup=False),
        bars.TimeElapsedColumn(),
        console=console,
    )


def counted(items: Sequence[Item], what: str, *, quiet: bool) -> Iterable[Item]:
    """Iterate over `items` with a bar on standard error, if that is a terminal."""
    from rich.progress import Progress, TextColumn

    console = make_console(stderr=True, quiet=quiet)
    if not console.is_terminal:
        yield from items
        return
    columns = TextColumn("{task.description}", markup=False), *Progress.get_default_columns()[1:]
    with Progress(*columns, console=console, transient=True) as bar:
        yield from bar.track(items, description=one_line(what))


class FittingTable(Table):
    """A table that no terminal cuts: if it is too wide, it is split into blocks.

    Each block repeats the first `names` columns. A name is folded into at most two lines
    before the table is split, sentences (`prose`, by column number) are wrapped, and any
    other cell stays on one line, because a folded number may look like two. `title` and
    `note` stand above and below, as wide as the terminal.
    """

    def __init__(
        self,
        heads: Sequence[str],
        title: str = "",
        note: str = "",
        *,
        names: int = 1,
        prose: Iterable[int] = (),
        numbers: bool = False,
    ) -> None:
        super().__init__()
        self.names, self.prose = names, frozenset(prose)
        self.heading, self.note = title, note
        for i, head in enumerate(heads):
            justify = "right" if numbers and i >= names and i not in self.prose else "left"
            self.add_column(text_of(head), overflow="fold", justify=justify)  # type: ignore[arg-type]

    def add(self, *cells: str | Text, style: str | None = None) -> None:
        """Add a row; a string is shown as it is."""
        self.add_row(*(text_of(cell) if isinstance(cell, str) else cell for cell in cells), style=style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield title, blocks and note, for rich."""
        if self.heading:
            yield text_of(self.heading, style="table.title")
        blocks, room = self.blocks(options.max_width)
        for i, chosen in enumerate(blocks):
            if i:
                yield text_of(f"(continued: block {i + 1} of {len(blocks)})", style="table.title")
            yield self._block(chosen, room)
        if self.note:
            yield text_of(self.note, style="table.caption")

    def blocks(self, width: int) -> tuple[list[list[int]], int]:
        """Return the column numbers of each block in a terminal of `width` columns.

        Also return the width that the names leave to the other columns.
        """
        # Names are folded only if that saves a block.
        whole, folded = (self._blocks(self._room(width, fold)) for fold in (False, True))
        fold = len(folded) < len(whole)
        return folded if fold else whole, self._room(width, fold)

    def _blocks(self, room: int) -> list[list[int]]:
        least = [self._least(i, natural) + FRAME for i, natural in enumerate(self._wide())]
        groups: list[list[int]] = [[]]
        for i in range(self.names, len(least)):
            if groups[-1] and sum(least[j] for j in groups[-1]) + least[i] > room:
                groups.append([])
            groups[-1].append(i)
        return [[*range(self.names), *group] for group in groups]

    def _room(self, width: int, fold: bool) -> int:
        """Return the width that names leave: half at least, however long they are."""
        names = self._wide()[: self.names]
        taken = sum((self._least(i, natural) if fold else natural) + FRAME for i, natural in enumerate(names))
        return max(width - 1 - taken, (width - 1) // 2)

    def _wide(self) -> list[int]:
        """Return the width of each column's longest line."""
        cells = [[column.header, *column.cells] for column in self.columns]
        return [max(line.cell_len for cell in own for line in _lines(cell)) for own in cells]

    def _least(self, column: int, natural: int) -> int:
        if column in self.prose:
            return min(natural, LEAST_PROSE)
        return min(natural, max(LEAST_NAME, -(-natural // 2))) if column < self.names else natural

    def _block(self, chosen: Sequence[int], room: int) -> Table:
        """Return the columns `chosen` as a table of rich.

        `room`: the width that the names leave to them.
        """
        block, wide = Table(), self._wide()
        for i in chosen:
            column = self.columns[i]
            # Alone in its block and still too wide, a cell is folded, never cut.
            rigid = i >= self.names and i not in self.prose and wide[i] + FRAME <= room
            block.add_column(column.header, overflow="fold", justify=column.justify, no_wrap=rigid)
        for row, *cells in zip(self.rows, *(self.columns[i].cells for i in chosen), strict=True):
            block.add_row(*cells, style=row.style)
        return block


def _lines(cell: RenderableType) -> Iterable[Text]:
    return (cell if isinstance(cell, Text) else Text(str(cell))).split("\n", allow_blank=True)
