"""Feeds the codec of served policies with bad frames: `python benchmarks/fuzz_codec.py`.

Half of the frames are mutations of valid ones, half are random bytes. It counts frames
that were decoded, refusals by their first words, crashes (any other exception), refusals
of more than one line, and hangs (over `SLOW_S` for one frame). Exit status 1 if there is
a crash, a hang or a long refusal.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from collections import Counter

import numpy as np

from altbench.remote.codec import FrameError, decode, encode

SLOW_S = 1.0
"""Seconds for one frame that count as a hang."""


def valid_frames() -> list[bytes]:
    """Return frames as clients and servers send them."""
    image, state = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(8, 8, 3), np.ones(11, np.float32)
    seen = {"observation/agentview": image, "observation/state": state, "prompt": "lift the cube"}
    told = {"slot": 0, "step": 3, "seed": 2**40, "reset": False}
    return [
        encode(seen),
        encode({**seen, "altbench": told}),
        encode({"altbench": {"reset": True, "slot": 1, "seed": 7}}),
        encode(
            {"actions": np.zeros((8, 10), np.float32), "server_timing": {"infer_ms": 1.5}, "is_ood": np.bool_(True)}
        ),
        encode({"altbench": {"protocol": 1, "cameras": ["agentview", "wrist"], "image_size": [84, 84]}, "x": None}),
    ]


def mutated(frame: bytes, rng: np.random.Generator) -> bytes:
    """Return `frame` with one to six bytes changed, cut, repeated or put in."""
    out = bytearray(frame)
    for _ in range(rng.integers(1, 7)):
        at, kind = int(rng.integers(0, len(out) + 1)), rng.integers(0, 5)
        if kind == 0 and at < len(out):
            out[at] = rng.integers(0, 256)
        elif kind == 1 and at < len(out):
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 2:
            out[at:at] = rng.bytes(int(rng.integers(1, 9)))
        elif kind == 3:
            del out[at : at + int(rng.integers(1, 9))]
        else:
            out[at:at] = out[: int(rng.integers(0, 40))]
    return bytes(out)


def main() -> int:
    """Decode `--frames` frames and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    rng, valid = np.random.default_rng(wanted.seed), valid_frames()
    counts: Counter[str] = Counter()
    slowest, began = 0.0, time.perf_counter()
    tracemalloc.start()
    for i in range(wanted.frames):
        frame = rng.bytes(int(rng.integers(0, 400))) if i % 2 else mutated(valid[i // 2 % len(valid)], rng)
        started = time.perf_counter()
        try:
            decode(frame)
            counts["decoded"] += 1
        except FrameError as error:
            counts["refused"] += 1
            counts["refusal of more than one line"] += "\n" in str(error) or len(str(error)) > 300
        except Exception as error:
            counts["crash"] += 1
            print(f"crash: {type(error).__name__}: {error}; frame {frame.hex()}")
        slowest = max(slowest, time.perf_counter() - started)
    peak = tracemalloc.get_traced_memory()[1] / 2**10
    counts["hang"] = int(slowest > SLOW_S)
    took = time.perf_counter() - began
    print(f"{wanted.frames} frames in {took:.1f} s; slowest {slowest * 1e3:.1f} ms; peak memory {peak:.0f} KiB")
    for name in ("decoded", "refused", "crash", "hang", "refusal of more than one line"):
        print(f"{name}: {counts[name]}")
    return int(any(counts[name] for name in ("crash", "hang", "refusal of more than one line")))


if __name__ == "__main__":
    sys.exit(main())
