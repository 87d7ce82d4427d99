"""Frames of msgpack with NumPy arrays, as openpi's clients and servers send them.

The decoder trusts nothing: every length, shape and depth is checked before memory is
taken for it, arrays are copies, and nothing is unpickled. Extension types are refused.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from altbench.core.errors import ContractError

LARGEST_FRAME = 64 * 2**20
"""The most bytes of a frame."""
DEEPEST = 16
"""How many lists and maps may stand within one another."""
MOST_VALUES = 100_000
"""How many values a frame may hold; an array counts as five."""
MOST_DIMENSIONS = 8
"""The most dimensions of an array."""
DTYPE = re.compile(r"\|b1|\|[iu]1|[<>][iu][248]|[<>]f[248]")
"""NumPy's texts for the dtypes that are allowed: kinds b, i, u and f."""
_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"
_FORMS = (">f", ">d", ">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q")
_NUMBERS = {0xCA + i: struct.Struct(form) for i, form in enumerate(_FORMS)}
"""msgpack's codes of numbers with a width."""
_SIZES = {1: struct.Struct(">B"), 2: struct.Struct(">H"), 4: struct.Struct(">I")}
_BINARY = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_TEXT = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_LISTS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


class FrameError(ContractError):
    """A frame that is not of the protocol: what was expected, and what came."""


def encode(message: Mapping[str, Any]) -> bytes:
    """Return `message` as one frame.

    FrameError for an array of another kind than b, i, u and f, for a value that msgpack
    does not know, or if the frame is too long.
    """
    import msgpack

    try:
        frame: bytes = msgpack.packb(message, default=_packed)
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"cannot be sent: {error}") from None
    if len(frame) > LARGEST_FRAME:
        raise FrameError(f"expected a frame of at most {LARGEST_FRAME} bytes, got {len(frame)}")
    return frame


def decode(frame: bytes) -> Any:
    """Return what `frame` holds; arrays are new, writable, and in this machine's order.

    FrameError, in one line, for anything but one whole, allowed value.
    """
    if len(frame) > LARGEST_FRAME:
        raise FrameError(f"expected a frame of at most {LARGEST_FRAME} bytes, got {len(frame)}")
    reader = _Reader(frame)
    value = reader.value(0)
    if reader.left:
        raise FrameError(f"expected the end of the frame, got {reader.left} more bytes")
    return value


def _packed(value: object) -> object:
    """Return an array or a NumPy scalar as openpi's map; TypeError for anything else."""
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"expected numbers, texts, lists, maps and arrays, got {type(value).__name__}")
    if not DTYPE.fullmatch(value.dtype.str):
        raise TypeError(f"expected an array of kind b, i, u or f and up to 8 bytes, got dtype {value.dtype}")
    if isinstance(value, np.generic):
        return {_SCALAR: True, b"data": value.item(), b"dtype": value.dtype.str}
    return {_ARRAY: True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}


class _Reader:
    """A frame and how far it has been read."""

    def __init__(self, frame: bytes) -> None:
        self._frame, self._at, self._values = frame, 0, 0

    @property
    def left(self) -> int:
        """The bytes that are still to be read."""
        return len(self._frame) - self._at

    def value(self, depth: int) -> Any:
        """Return the next value, which stands within `depth` lists and maps."""
        self._values += 1
        if self._values > MOST_VALUES:
            raise FrameError(f"expected a frame of at most {MOST_VALUES} values, got more")
        code = self._take(1)[0]
        if code <= 0x7F or code >= 0xE0:
            return code if code <= 0x7F else code - 0x100
        if code <= 0x8F:
            return self._map(code & 0x0F, depth)
        if code <= 0x9F:
            return self._list(code & 0x0F, depth)
        if code <= 0xBF:
            return self._text(code & 0x1F)
        return self._wide(code, depth)

    def _wide(self, code: int, depth: int) -> Any:
        """Return a value whose code stands before its size."""
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code in _NUMBERS:
            return _NUMBERS[code].unpack(self._take(_NUMBERS[code].size))[0]
        if code in _BINARY:
            return self._take(self._size(_BINARY[code]))
        if code in _TEXT:
            return self._text(self._size(_TEXT[code]))
        if code in _LISTS:
            return self._list(self._size(_LISTS[code]), depth)
        if code in _MAPS:
            return self._map(self._size(_MAPS[code]), depth)
        raise FrameError(f"expected msgpack without extension types, got the code 0x{code:02x}")

    def _size(self, width: int) -> int:
        return int(_SIZES[width].unpack(self._take(width))[0])

    def _take(self, count: int) -> bytes:
        if count > self.left:
            raise FrameError(f"expected {count} more bytes, got {self.left}: the frame is cut short, or no msgpack")
        self._at += count
        return self._frame[self._at - count : self._at]

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode("utf-8")
        except UnicodeDecodeError:
            raise FrameError("expected text in UTF-8, got other bytes") from None

    def _fits(self, count: int, depth: int) -> None:
        """Raise FrameError unless `count` values may follow within `depth` others."""
        if depth >= DEEPEST:
            raise FrameError(f"expected at most {DEEPEST} lists and maps within one another, got more")
        if count > self.left or self._values + count > MOST_VALUES:
            raise FrameError(
                f"expected up to {min(self.left, MOST_VALUES)} more values, got the announcement of {count}"
            )

    def _list(self, count: int, depth: int) -> list[Any]:
        self._fits(count, depth)
        return [self.value(depth + 1) for _ in range(count)]

    def _map(self, count: int, depth: int) -> Any:
        self._fits(2 * count, depth)
        found: dict[str | bytes, Any] = {}
        for _ in range(count):
            key = self.value(depth + 1)
            if not isinstance(key, str | bytes):
                raise FrameError(f"expected keys of text, got {type(key).__name__}")
            if key in found:
                raise FrameError(f"expected each key once, got {_short(key)} twice")
            found[key] = self.value(depth + 1)
        if _ARRAY in found:
            return _array(found)
        return _scalar(found) if _SCALAR in found else found


def _array(found: Mapping[str | bytes, Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the array that openpi's map describes, as a copy."""
    dtype, data, shape = _dtype(found.get(b"dtype")), found.get(b"data"), found.get(b"shape")
    if set(found) != {_ARRAY, b"data", b"dtype", b"shape"} or not isinstance(data, bytes):
        raise FrameError(f"expected an array's data, dtype and shape, got {_short(list(found))}")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n <= LARGEST_FRAME for n in shape):
        raise FrameError(f"expected an array's shape as whole numbers from 0, got {_short(shape)}")
    # NumPy multiplies the dimensions without those that are 0.
    crowded = len(shape) > MOST_DIMENSIONS or math.prod(max(n, 1) for n in shape) > LARGEST_FRAME
    if crowded or math.prod(shape) * dtype.itemsize != len(data):
        raise FrameError(f"expected {_short(shape)} of {dtype} in its own number of bytes, got {len(data)}")
    if dtype.kind == "b" and data.strip(b"\0\1"):
        raise FrameError("expected truth values as bytes 0 and 1, got others")
    # astype copies, so nothing refers to the frame afterwards.
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _scalar(found: Mapping[str | bytes, Any]) -> np.generic:
    """Return the NumPy scalar that openpi's map describes."""
    dtype, data = _dtype(found.get(b"dtype")), found.get(b"data")
    if set(found) != {_SCALAR, b"data", b"dtype"} or not isinstance(data, bool | int | float):
        raise FrameError(f"expected a scalar's data and dtype, got {_short(list(found))}")
    fits = isinstance(data, bool) if dtype.kind == "b" else dtype.kind == "f" or type(data) is int
    if dtype.kind in "iu" and fits:
        fits = np.iinfo(dtype).min <= data <= np.iinfo(dtype).max
    if not fits:
        raise FrameError(f"expected a scalar of {dtype}, got {_short(data)}")
    with np.errstate(over="ignore"):
        made: np.generic = dtype.newbyteorder("=").type(data)
    return made


def _dtype(text: object) -> np.dtype[Any]:
    if not isinstance(text, str) or not DTYPE.fullmatch(text):
        raise FrameError(f"expected a dtype of kind b, i, u or f, such as '<f4', got {_short(text)}")
    return np.dtype(text)


def _short(value: object) -> str:
    """Return a value of the frame for an error: on one line, cut off if it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
