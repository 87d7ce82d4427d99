"""Printing: users' text is shown as it is, and a table fits into any terminal."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from terminal import altbench

from altbench.cli import app
from altbench.system.console import FittingTable, counted, error_line, job_bars, one_line, plain, say, show, spinner

ODD = ["[/INST]", "altbench[vit]", "[bold]b", "$x$", "$x{", "{0}", ":smile:", "日本", "🤖", "x" * 300, "two\nlines"]
"""Texts that rich, a format string or matplotlib could read as their own."""


def console(width: int = 2000) -> Console:
    """Return a console as a script may make one: with rich's markup and emoji on."""
    return Console(file=io.StringIO(), width=width)


def written(own: Console) -> str:
    assert isinstance(own.file, io.StringIO)
    return own.file.getvalue()


@pytest.mark.parametrize("text", ODD)
def test_every_way_to_print_keeps_a_text(text: str) -> None:
    own = console()
    say(own, text, (text, "red"))
    show(own, text)
    table = FittingTable((text, "head"), text, text)
    table.add(text, text)
    show(own, table)
    assert written(own).count(text.replace("\n", " ").split()[0]) >= 6


@pytest.mark.parametrize("text", ODD)
def test_a_progress_bar_and_a_spinner_keep_a_text(text: str) -> None:
    own = Console(file=io.StringIO(), width=2000, force_terminal=True, color_system=None)
    bars = job_bars(own)
    with bars, spinner(Console(file=io.StringIO()), text):
        bars.add_task(one_line(text), total=2, detail=text)
    assert written(own).count(one_line(text)) >= 1
    assert list(counted(range(3), text, quiet=True)) == [0, 1, 2]


def test_what_would_steer_the_terminal_is_written_out() -> None:
    assert plain("a\x1b[2Jb\r\x07\n\tc\u202e") == "a\\x1b[2Jb\\r\\x07\n\tc\\u202e"
    assert plain("日本 🤖 e\u0301 \u200d") == "日本 🤖 e\u0301 \u200d"
    assert plain("\udc80") == "\\udc80"
    assert one_line("a\n  b\tc") == "a b c"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_console_of_any_encoding_prints_any_text(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    say(Console(file=stream, width=80), "2 × 3 · 日本 \udc80")
    stream.flush()
    assert raw.getvalue().decode(encoding).startswith("2 ")


def names_and_numbers(columns: int, name: str = "lift/diffusion/n30/s0") -> FittingTable:
    table = FittingTable(("policy", *(f"column {i}" for i in range(columns))), "Title", "note", numbers=True)
    for row in ("a", "b"):
        table.add(name + row, *(f"{i}/100 100 %" for i in range(columns)), style="red" if row == "a" else None)
    return table


@pytest.mark.parametrize("width", [40, 80, 110])
@pytest.mark.parametrize("name", ["lift/diffusion/n30/s0", "日本" * 20, "x" * 300])
def test_a_table_fits_and_shows_every_cell(width: int, name: str) -> None:
    own = console(width)
    show(own, names_and_numbers(9, name))
    text = written(own)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert "…" not in text
    for i in range(9):
        assert text.count(f" {i}/100 100 % ") == 2 and f"column {i}" in text


def test_blocks_repeat_the_names_and_say_how_many_there_are() -> None:
    own = console(80)
    show(own, names_and_numbers(9))
    text = written(own)
    blocks = names_and_numbers(9).blocks(80)[0]
    assert len(blocks) > 1 and all(block[0] == 0 for block in blocks)
    assert text.count("lift/diffusion/n30/s0a") == len(blocks)
    assert f"(continued: block 2 of {len(blocks)})" in text
    assert text.count("Title") == text.count("note") == 1


def test_a_table_that_fits_is_one_block() -> None:
    assert names_and_numbers(3).blocks(80)[0] == [[0, 1, 2, 3]]


def test_sentences_wrap_instead_of_splitting_the_table() -> None:
    table = FittingTable(("name", "what it is"), prose=[1])
    table.add("a", "word " * 60)
    own = console(80)
    show(own, table)
    assert written(own).count("word") == 60 and "continued" not in written(own)


def test_a_text_of_rich_keeps_its_style() -> None:
    own = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    table = FittingTable(("", "what"), names=0)
    table.add(Text("ok", "green"), "[red]")
    show(own, table)
    assert "\x1b[32mok" in written(own) and "[red]" in written(own)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "a/b"), "a/b: Permission denied (set ALTBENCH_DEBUG=1 to see where)"),
        (
            OSError(28, "No space left on device"),
            "No space left on device; make room, and give the same command again: what is finished stays",
        ),
        (OSError("odd\nerror"), "OSError: odd error (set ALTBENCH_DEBUG=1 to see where)"),
        (OverflowError("too large"), "OverflowError: too large (set ALTBENCH_DEBUG=1 to see where)"),
    ],
)
def test_an_error_of_the_system_is_one_line(error: Exception, line: str) -> None:
    assert error_line(error) == line


FAILS = """
from altbench.cli import app
def fails(**_): raise {error}
app.app = fails
app.main()
"""


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (PermissionError(13, "Permission denied", "x"), "error: x: Permission denied"),
        (NotADirectoryError(20, "Not a directory", "x/y"), "error: x/y: Not a directory"),
        (OSError(28, "No space left on device", "z"), "error: z: No space left on device"),
        (OverflowError("int too large"), "error: OverflowError: int too large"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range"), "error: UnicodeEncodeError"),
    ],
)
def test_the_border_turns_the_systems_errors_into_a_line(
    error: Exception, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: object) -> None:
        raise error

    monkeypatch.setattr(app, "app", fails)
    done = altbench()
    assert done.status == 2 and done.stderr.startswith(shown), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "debug"), [("KeyError('a bug')", ""), ("OSError('x')", "1")], ids=["a bug", "ALTBENCH_DEBUG=1"]
)
def test_a_bug_keeps_its_traceback_and_so_does_any_error_if_asked(
    error: str, debug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTBENCH_DEBUG", debug)
    command = [sys.executable, "-c", FAILS.format(error=error)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("Traceback") and done.returncode == 1
    assert len(done.stderr.strip().splitlines()) > 1


COMMANDS = """
import sys
from altbench.cli import main
status = []
for arguments in (["list"], ["experiments", "list"], ["run", sys.argv[1]]):
    sys.argv = ["altbench", *arguments]
    try:
        main()
    except SystemExit as ended:
        status.append(ended.code)
raise SystemExit(0 if status == [0, 0, 2] else f"ended with {status}")
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_commands_print_on_a_terminal_of_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process for all of them: only the streams that Python opens for it are of interest."""
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    monkeypatch.setenv("LANG", "C")
    command = [sys.executable, "-c", COMMANDS, "日本\udc80[/x].toml"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert b"Traceback" not in done.stderr and done.returncode == 0, done.stderr
    assert done.stderr.count(b"error: ") == 1 and len(done.stdout.splitlines()) > 20
