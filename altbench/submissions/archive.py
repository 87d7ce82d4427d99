"""The archive's bytes: a zip file without compression, sorted, with one fixed date.

The same parts always give the same bytes, and any other bytes are not an archive. So
nothing can hide between the parts, and no zip bomb is possible: what a part takes in the
file is what it takes on the disk.
"""

from __future__ import annotations

import io
import re
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from altbench.submissions.manifest import MANIFEST, SubmissionError

DATE = (1980, 1, 1, 0, 0, 0)
"""The date of every part: the earliest that a zip file can hold."""
MODE = (stat.S_IFREG | 0o644) << 16
"""The rights of every part: a file that all may read."""
MOST_PARTS = 5000
"""The most parts of an archive."""
LARGEST = 2 * 1024**3
"""The most bytes of an archive: the published checkpoints take up to 300 MB each."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@,=~-]{0,199}(/[A-Za-z0-9][A-Za-z0-9._+@,=~-]{0,199}){0,5}")
"""The names that parts may have: relative, without `..`, in letters that every system has."""


@dataclass(frozen=True)
class Opened:
    """An archive that is open in `folder`. `name`: how the user called it.

    `digest`: SHA-256 of the archive's bytes; of a folder, of the archive it would be.
    """

    name: str
    folder: Path
    digest: str


def archive_bytes(parts: Mapping[str, bytes]) -> bytes:
    """Return the archive of `parts`, name -> bytes; the same parts give the same bytes."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(parts):
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr, entry.create_system = MODE, 3
            archive.writestr(entry, parts[name])
    return sink.getvalue()


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Yield an archive, or a folder with its parts, for reading.

    An archive is unpacked into a temporary folder, which ends with the block. Nothing of
    it is executed. SubmissionError, in one line, if its form is wrong.
    """
    if path.is_dir():
        parts = _folder_parts(path)
        yield Opened(path.name, path, sha256(archive_bytes(parts)).hexdigest())
        return
    parts, data = read_parts(path)
    with tempfile.TemporaryDirectory(prefix="altbench-submission-") as place:
        folder = Path(place)
        for name, content in parts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        yield Opened(path.name, folder, sha256(data).hexdigest())


def read_parts(path: Path) -> tuple[dict[str, bytes], bytes]:
    """Return the parts of the archive in `path`, and all of its bytes.

    SubmissionError, in one line, unless `archive_bytes` of the parts are these bytes.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise SubmissionError(f"{path}: expected at most {LARGEST:,} bytes, got {size:,}")
        data = path.read_bytes()
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_entries(entries, path)
            parts = {entry.filename: _read(archive, entry) for entry in entries}
    except SubmissionError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError) as error:
        raise SubmissionError(f"{path}: damaged, or no archive of `altbench submit pack` ({_reason(error)})") from None
    if MANIFEST not in parts:
        raise SubmissionError(f"{path}: expected the part {MANIFEST}, which is missing")
    if archive_bytes(parts) != data:
        raise SubmissionError(
            f"{path}: damaged, or made by another program: expected the bytes that `altbench submit pack` writes of "
            "these parts, got others"
        )
    return parts, data


def _check_entries(entries: list[zipfile.ZipInfo], path: Path) -> None:
    """Raise SubmissionError for parts that no archive of ours has, before any is read."""
    if len(entries) > MOST_PARTS:
        raise SubmissionError(f"{path}: expected at most {MOST_PARTS} parts, got {len(entries):,}")
    names: set[str] = set()
    for entry in entries:
        # What stands after a NUL is dropped by zipfile from `filename`, and kept here.
        check_name(entry.orig_filename, str(path))
        shown = f"{path}: {entry.filename}"
        if entry.filename in names:
            raise SubmissionError(f"{shown}: the part is there twice")
        names.add(entry.filename)
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise SubmissionError(f"{shown}: expected a file, got a link or another kind")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise SubmissionError(f"{shown}: expected a part without compression; a compressed one could be a zip bomb")
        if entry.flag_bits & 1:
            raise SubmissionError(f"{shown}: expected a part without encryption")
    total = sum(entry.file_size for entry in entries)
    if total > LARGEST:
        raise SubmissionError(f"{path}: expected parts of at most {LARGEST:,} bytes together, got {total:,}")
    _check_tree(names, str(path))


def _check_tree(names: set[str], where: str) -> None:
    """Raise SubmissionError if a part is also the folder of another, or if two differ in case alone."""
    folders = {name[: i + 1].rstrip("/") for name in names for i, sign in enumerate(name) if sign == "/"}
    both = sorted(names & folders)
    if both:
        raise SubmissionError(f"{where}: {both[0]}: is a part and the folder of another")
    if len({name.lower() for name in names}) < len(names):
        raise SubmissionError(f"{where}: two parts have names that differ in capital letters alone")


def check_name(name: str, where: str) -> None:
    """Raise SubmissionError unless `name` is relative, without `..`, and in plain letters."""
    if not NAME.fullmatch(name) or any(part in (".", "..") for part in name.split("/")):
        raise SubmissionError(
            f"{where}: expected names of parts such as cells/0a1b.parquet, got {name[:80]!a}; nothing was unpacked"
        )


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as part:
        content = part.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise SubmissionError(f"{entry.filename}: expected {entry.file_size:,} bytes, got {len(content):,}")
    return content


def _folder_parts(folder: Path) -> dict[str, bytes]:
    """Return the parts in a folder; SubmissionError for a link, or a name that no part has."""
    parts: dict[str, bytes] = {}
    total = 0
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise SubmissionError(f"{folder}: {name}: expected a file, got a link or another kind")
        if path.is_dir():
            continue
        check_name(name, str(folder))
        total += path.stat().st_size
        if len(parts) >= MOST_PARTS or total > LARGEST:
            raise SubmissionError(f"{folder}: expected at most {MOST_PARTS} parts and {LARGEST:,} bytes, got more")
        parts[name] = path.read_bytes()
    if MANIFEST not in parts:
        raise SubmissionError(f"{folder}: expected the part {MANIFEST}, which is missing")
    return parts


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
