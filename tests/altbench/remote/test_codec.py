"""Frames: what is sent comes back, in openpi's own form; what is not allowed is refused in one line."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from altbench.remote.codec import DEEPEST, LARGEST_FRAME, FrameError, decode, encode

msgpack = pytest.importorskip("msgpack", reason="needs altbench[remote]")

KINDS = ["|b1", "|u1", "|i1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", ">f4", ">i8"]
ARRAYS = st.sampled_from(KINDS).flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def same(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype.newbyteorder("=") == other.dtype and np.array_equal(
            one, other, equal_nan=one.dtype.kind == "f"
        )
    return one == other


@given(ARRAYS)
def test_an_array_comes_back_as_a_copy_of_its_own(array: np.ndarray) -> None:
    frame = encode({"x": array})
    came = decode(frame)["x"]
    assert same(array, came) and came.shape == array.shape
    assert came.flags.writeable and came.flags.owndata


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_every_other_value_comes_back(message: dict[str, object]) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize("value", [np.float32(1.5), np.uint8(200), np.bool_(True), np.int64(-3)])
def test_a_numpy_scalar_comes_back_with_its_dtype(value: np.generic) -> None:
    came = decode(encode({"x": value}))["x"]
    assert came == value and came.dtype == value.dtype


@given(ARRAYS)
def test_the_frames_are_those_of_the_real_client(array: np.ndarray) -> None:
    theirs = pytest.importorskip("openpi_client.msgpack_numpy", reason="needs openpi-client")
    assert encode({"x": array}) == theirs.packb({"x": array})
    assert same(array.astype(array.dtype.newbyteorder("=")), decode(theirs.packb({"x": array}))["x"])


def array_map(**changes: object) -> bytes:
    whole = {"__ndarray__": True, "data": b"\1\2", "dtype": "|u1", "shape": [2], **changes}
    return msgpack.packb({key.encode(): value for key, value in whole.items()})


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"", "1 more bytes"),
        (b"\xc1", "code 0xc1"),
        (msgpack.packb(msgpack.ExtType(1, b"x")), "extension"),
        (b"\x01\x02", "end of the frame"),
        (b"\xdd\xff\xff\xff\xff", "announcement of 4294967295"),
        (b"\xdf\xff\xff\xff\xff", "announcement"),
        (b"\xc6\xff\xff\xff\xff", "4294967295 more bytes"),
        (b"\x91" * (DEEPEST + 1) + b"\x01", "within one another"),
        (b"\x90" * 10, "end of the frame"),
        (b"\xa1\xff", "UTF-8"),
        (b"\x81\x01\x01", "keys of text"),
        (b"\x82\xa1a\x01\xa1a\x01", "twice"),
        (array_map(dtype="|O"), "dtype of kind"),
        (array_map(dtype="<c8"), "dtype of kind"),
        (array_map(dtype="<U1"), "dtype of kind"),
        (array_map(dtype="<f16"), "dtype of kind"),
        (array_map(shape=[3]), "number of bytes"),
        (array_map(shape=[-2]), "whole numbers"),
        (array_map(shape=[2**40, 2**40]), "whole numbers"),
        (array_map(shape=[1] * 9), "number of bytes"),
        (array_map(data=b"", shape=[2**26, 0, 2**26, 2**26]), "number of bytes"),
        (array_map(shape="22"), "whole numbers"),
        (array_map(data="ab"), "data, dtype and shape"),
        (array_map(dtype="|b1"), "bytes 0 and 1"),
        (array_map(more=1), "data, dtype and shape"),
    ],
)
def test_a_bad_frame_is_refused_in_one_line(frame: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words) as caught:
        decode(frame)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_any_bytes_are_decoded_or_refused(frame: bytes) -> None:
    try:
        decode(frame)
    except FrameError as error:
        assert "\n" not in str(error)


def test_a_frame_that_announces_much_takes_no_memory() -> None:
    bombs = [b"\xdd\x00\x98\x96\x80" * 15, b"\x91" * 15 + b"\xc6\x3f\xff\xff\xff", array_map(shape=[2**26, 0, 2**26])]
    tracemalloc.start()
    try:
        for bomb in bombs:
            with pytest.raises(FrameError):
                decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_frame_of_many_small_values_is_refused_before_it_is_built() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match="values"):
            decode(b"\x9f" + (b"\xdc\x40\x00" + b"\x80" * 2**14) * 15)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


def test_a_frame_that_is_too_long_is_refused() -> None:
    with pytest.raises(FrameError, match="at most"):
        decode(b"\xc0" + bytes(LARGEST_FRAME))
    with pytest.raises(FrameError, match="at most"):
        encode({"x": np.zeros(LARGEST_FRAME, np.uint8)})


@pytest.mark.parametrize("value", [np.array([object()]), np.array(["a"]), np.zeros(2, complex), object(), {1, 2}])
def test_what_cannot_be_sent_is_refused(value: object) -> None:
    with pytest.raises(FrameError, match="cannot be sent: expected"):
        encode({"x": value})
