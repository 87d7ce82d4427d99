"""Files that carry a digest of all their bytes inside their own container.

A file is made with zeros in the place of its digest. The SHA-256 of the whole file then
takes that place. A reader puts the zeros back, computes the digest again and compares.
So damage anywhere in the file is found. Any reader of JSON or parquet can still read
the file.

Files from before have no digest. They are read unchecked. This module holds the digest
and JSON files; results/parquet.py holds parquet files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from altbench.core.errors import ResultsError
from altbench.system.files import replacing

FORMAT = 2
"""The number of the format of sealed files. Files without a digest are older."""
NO_DIGEST = b"0" * 64
"""What stands in the digest's place while the digest is computed."""
_NOT_FOUND = "the place of the digest was not found in a new file"
_PIECE = 2**20
"""Bytes of a file that are read at once."""
_JSON_HEAD = re.compile(rb'\{\n "format": \d+,\n "sha256": "(?=.{64}")', re.DOTALL)
"""What precedes the digest in a JSON file."""
_LONGEST_HEAD = 256
"""Bytes at the beginning of a JSON file that surely hold its digest."""


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write `values` as one JSON object to `path`, sealed and whole or not at all.

    The object begins with the format's number and the digest. Infinite numbers are
    written as Python's json writes them.
    """
    write_bytes(path, json_bytes(values))


def json_bytes(values: Mapping[str, Any]) -> bytes:
    """Return the bytes that `write_json` writes; equal values give equal bytes."""
    # ASCII alone, since a path in the values may hold bytes that are not UTF-8.
    text = json.dumps({"format": FORMAT, "sha256": NO_DIGEST.decode(), **values}, indent=1) + "\n"
    data = text.encode("ascii")
    return with_digest(data, _json_place(data))


def read_json(path: Path, names: Collection[str], advice: str) -> dict[str, Any]:
    """Return the JSON object in `path`, without its format and digest.

    `names`: the keys that the object may have. A file without a digest but with another
    key is refused, since that key may be the damaged one of a digest. ResultsError,
    with `advice` on what to do, if the file is missing or damaged.
    """
    try:
        data = path.read_bytes()
        place = _json_place(data)
        check(data, place)
        values = json.loads(data)
        if not isinstance(values, dict):
            raise ValueError(f"expected a JSON object, got {type(values).__name__}")
        _check_keys(values, names, sealed=place is not None)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise damaged(path, error, advice) from None
    return {name: value for name, value in values.items() if name not in ("format", "sha256")}


def _check_keys(values: Mapping[str, Any], names: Collection[str], sealed: bool) -> None:
    """Raise ValueError for another format, or for a key that an old file cannot have."""
    if sealed and values["format"] != FORMAT:
        raise ValueError(f"expected format {FORMAT}, found {values['format']}; a newer altbench wrote it")
    unknown = [] if sealed else sorted(set(values) - set(names))
    if unknown:
        raise ValueError(f"expected a digest at the beginning, found none that can be read, and the key {unknown[0]!r}")


def is_sealed_json(path: Path) -> bool:
    """Return whether the file carries a digest, without checking it.

    Only the file's beginning is read.
    """
    with path.open("rb") as file:
        return _json_place(file.read(_LONGEST_HEAD)) is not None


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; the file is never held whole."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def with_digest(data: bytes, place: int | None) -> bytes:
    """Return `data`, which was made with `NO_DIGEST` at `place`, with its digest there."""
    if place is None or data[place : place + len(NO_DIGEST)] != NO_DIGEST:
        raise RuntimeError(_NOT_FOUND)  # a bug, or a new pyarrow
    return data[:place] + _digest(data, place) + data[place + len(NO_DIGEST) :]


def check(data: bytes, place: int | None) -> None:
    """Raise ValueError, with both sides, if the digest at `place` is not that of `data`.

    `place`: None for a file without a digest, which passes.
    """
    if place is None:
        return
    _compare(data[place : place + len(NO_DIGEST)], _digest(data, place))


def _compare(written: bytes, computed: bytes) -> None:
    # Compared as text: hexadecimal digits have two cases, one bit apart.
    if written != computed:
        raise ValueError(f"expected the SHA-256 {_short(written)}, got {_short(computed)}")


def seal_file(path: Path, place: int | None) -> None:
    """Put the digest of a new file, which was made with `NO_DIGEST` at `place`, there; the file is never held whole."""
    if place is None:
        raise RuntimeError(_NOT_FOUND)
    digest = _digest_of_file(path, place)
    with path.open("r+b") as file:
        file.seek(place)
        if file.read(len(NO_DIGEST)) != NO_DIGEST:
            raise RuntimeError(_NOT_FOUND)
        file.seek(place)
        file.write(digest)


def check_file(path: Path, place: int | None) -> None:
    """Raise ValueError as `check` does; the file is never held whole."""
    if place is None:
        return
    with path.open("rb") as file:
        file.seek(place)
        written = file.read(len(NO_DIGEST))
    _compare(written, _digest_of_file(path, place))


def damaged(path: Path | str, error: BaseException, advice: str) -> ResultsError:
    """Return the error for a file that cannot be used, in one line."""
    if isinstance(error, FileNotFoundError):
        return ResultsError(f"{path}: no such file; {advice}")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ResultsError(f"{path}: damaged ({reason}); {advice}")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all (`replacing`)."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _json_place(data: bytes) -> int | None:
    """Return where the digest begins in a JSON file; None if it has none."""
    found = _JSON_HEAD.match(data)
    return found.end() if found else None


def _digest(data: bytes, place: int) -> bytes:
    """Return the digest of `data`, computed with `NO_DIGEST` at `place`."""
    view = memoryview(data)
    state = hashlib.sha256(view[:place])
    state.update(NO_DIGEST)
    state.update(view[place + len(NO_DIGEST) :])
    return state.hexdigest().encode()


def _digest_of_file(path: Path, place: int) -> bytes:
    """Return `_digest` of a file, read piece by piece."""
    state, left = hashlib.sha256(), place
    with path.open("rb") as file:
        while left and (data := file.read(min(left, _PIECE))):
            state.update(data)
            left -= len(data)
        state.update(NO_DIGEST)
        file.seek(place + len(NO_DIGEST))
        while data := file.read(_PIECE):
            state.update(data)
    return state.hexdigest().encode()


def _short(digest: bytes) -> str:
    return digest[:12].decode("ascii", "backslashreplace") + "..."
