"""Parquet files that carry a digest of all their bytes in their footer.

The pages of a parquet file have checksums, but its footer has none: a flipped bit there
can change names and settings. system/sealed.py says how the digest works.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from altbench.system import sealed
from altbench.system.files import replacing

if TYPE_CHECKING:
    import pandas as pd

FORMAT_KEY = "altbench.format"
"""The format's number in the footer: 2 beside a digest, 1 in older cells, missing in
older flat tables.
"""
HEADER_KEY = "altbench.header"
"""The header of a cell, as JSON."""
_DIGEST_KEY = "altbench.sha256"
_OLD_KEYS = {b"ARROW:schema", b"pandas", FORMAT_KEY.encode(), HEADER_KEY.encode()}
"""The footer's keys in files without a digest.

A file with any other key is damaged and not old: its digest's key may be hit.
"""
_MARK = _DIGEST_KEY.encode() + b"\x18\x40"
"""What precedes the digest: its key, then the type of a text and its length 64, as
Thrift's compact protocol writes them.
"""
_SMALL = 2**22
"""Bytes of a file that one thread reads."""
_TAIL = 8
"""The bytes at the end: the footer's length in four, and four letters."""
_FAULTS = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError)
"""What reading damaged bytes may raise."""


def write_parquet(path: Path, table: Any) -> None:
    """Write an arrow table to `path`, sealed and whole or not at all.

    The same rows and metadata give the same bytes.
    """
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(table)
        # In the footer alone. Metadata of the schema would be written twice.
        writer.add_key_value_metadata(_new_keys())
    data = sink.getvalue().to_pybytes()
    sealed.write_bytes(path, sealed.with_digest(data, _place(data)))


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write the columns of `frame` to `path` as `write_parquet` does; NaN is written as missing."""
    write_parquet(path, pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None))


def read_frame(path: Path, advice: str) -> pd.DataFrame:
    """Return what `write_frame` wrote; ResultsError as `read_parquet` if it is missing or damaged."""
    frame: pd.DataFrame = read_parquet(path, pa.schema([]), advice)[0].to_pandas()
    return frame


def write_parts(path: Path, parts: Iterable[Any]) -> None:
    """Write arrow tables of one kind one after the other, as `write_parquet` writes their rows.

    Each is a group of rows of the file, but for empty ones. No more than one is held.
    """
    parts = iter(parts)
    first = next(parts)
    with replacing(path) as temporary:
        with pq.ParquetWriter(temporary, first.schema, compression="zstd", write_page_checksum=True) as writer:
            some = False
            for part in (first, *parts) if first.num_rows else parts:
                some = True
                writer.write_table(part)
            if not some:
                writer.write_table(first)
            writer.add_key_value_metadata(_new_keys())
        sealed.seal_file(temporary, _place_in_file(temporary))


def check_parquet(path: Path, schema: Any, advice: str) -> None:
    """Raise ResultsError, as `read_parquet` does, for a file that is missing or damaged; no row is held."""
    try:
        place = _place_in_file(path)
        sealed.check_file(path, place)
        with pq.ParquetFile(path, page_checksum_verification=place is None) as file:
            metadata = dict(file.metadata.metadata or {})
            _check_format(path.read_bytes() if place is None else b"", metadata, place is not None)
            _check_types(file.schema_arrow, schema)
            for group in range(file.num_row_groups if place is None else 0):
                file.read_row_group(group)
    except _FAULTS as error:
        raise sealed.damaged(path, error, advice) from None


def row_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """Yield the groups of rows of a file that `check_parquet` has passed, as arrow tables."""
    with pq.ParquetFile(path) as file:
        known = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=known)


def read_parquet(
    path: Path | str, schema: Any, advice: str, columns: Sequence[str] | None = None
) -> tuple[Any, dict[bytes, bytes]]:
    """Return the arrow table in `path`, and the key-value metadata of its footer.

    `schema`: the types of the columns that are known; a file may lack some. `columns`:
    those to read; None: all. The format
    in the metadata is `sealed.FORMAT` if the file was checked. ResultsError, with
    `advice` on what to do, if the file is missing or damaged.
    """
    try:
        data = Path(path).read_bytes()
        place = _place(data)
        sealed.check(data, place)
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=place is None) as file:
            metadata = dict(file.metadata.metadata or {})
            _check_format(data, metadata, place is not None)
            # Threads cost a small file, such as a cell, more than they gain.
            # Without a digest all is read, so that the pages' checksums are compared.
            table = file.read(columns if place is not None else None, use_threads=len(data) > _SMALL)
        _check_types(table.schema, schema)
    except _FAULTS as error:
        raise sealed.damaged(path, error, advice) from None
    return table, metadata


def is_sealed(path: Path) -> bool:
    """Return whether the file carries a digest, without checking it.

    Only the footer is read.
    """
    return _place_in_file(path) is not None


def _place_in_file(path: Path) -> int | None:
    """Return where the digest begins in a file; None without one. Only the footer is read."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        footer = int.from_bytes(file.read(4), "little")
        begin = max(0, size - _TAIL - footer)
        file.seek(begin)
        found = _place(file.read())
        return None if found is None else begin + found


def _place(data: bytes) -> int | None:
    """Return where the digest begins; None without a digest.

    The last mark counts: the footer is at the end, and its metadata follow everything
    in it that may hold users' text.
    """
    found = data.rfind(_MARK)
    place = found + len(_MARK)
    return place if found >= 0 and place + len(sealed.NO_DIGEST) <= len(data) else None


def _check_format(data: bytes, metadata: dict[bytes, bytes], has_digest: bool) -> None:
    """Raise ValueError if the format is unknown, or if a digest is missing that the file
    had when it was written.
    """
    found = metadata.get(FORMAT_KEY.encode(), b"1").decode("ascii", "backslashreplace")
    if has_digest and found != str(sealed.FORMAT):
        raise ValueError(f"expected format {sealed.FORMAT}, found {found}; a newer altbench wrote it")
    had_one = found != "1" or _DIGEST_KEY.encode() in data or set(metadata) - _OLD_KEYS
    if not has_digest and had_one:
        raise ValueError("expected a digest in the footer, found none that can be read")


def _check_types(found: Any, expected: Any) -> None:
    """Raise ValueError if a column has another type than `expected` says."""
    for name in set(found.names) & set(expected.names):
        if found.field(name).type != expected.field(name).type:
            raise ValueError(
                f"expected {expected.field(name).type} in the column {name!r}, found {found.field(name).type}"
            )


def _new_keys() -> dict[str, str]:
    """Return what a new file's footer says; the digest's place is still empty."""
    return {FORMAT_KEY: str(sealed.FORMAT), _DIGEST_KEY: sealed.NO_DIGEST.decode()}
