# /// script
# requires-python = ">=3.11"
# dependencies = ["onnxruntime>=1.20", "msgpack>=1.0.5", "numpy>=1.26", "websockets>=15"]
# ///
"""Serve a network that was exported to ONNX (`.onnx`) or TorchScript (`.pt`, which also needs torch).

    python torchscript_or_onnx.py --model policy.onnx --inputs inputs.toml

`inputs.toml` says what each input of the network is:

    horizon = 8                                  # actions that an answer has
    obs_horizon = 1                              # frames that an observation has
    image_size = [84, 84]

    [inputs.image]                               # the network's name of the input; TorchScript: in this order
    from = "agentview"                           # a camera, or "state", or "environment_state"
    layout = "CHW"                               # or "HWC"
    range = [0.0, 1.0]                           # what 0 and 255 become

The network gets batches of one, (1, ...), with a further axis for frames if obs_horizon is over 1. It answers
(1, H, D) or (1, D).
"""

import argparse
import contextlib
import importlib
import itertools
import math
import os
import re
import signal
import sys
import threading
import time
import tomllib
import traceback
from http import HTTPStatus
from pathlib import Path

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve as serve_websockets

VALUES = ("state", "environment_state")


class ExportedPolicy:
    """A stateless network, and how its inputs are made from observations."""

    def __init__(self, model, described, device, action_space):
        self.run = _onnx(model, device) if Path(model).suffix == ".onnx" else _torchscript(model, device)
        self.inputs, self.frames = described["inputs"], int(described.get("obs_horizon", 1))
        cameras = [one["from"] for one in self.inputs.values() if one["from"] not in VALUES]
        self.metadata = {
            "supports_reset": False,
            "deterministic": True,
            "horizon": int(described.get("horizon", 1)),
            "obs_horizon": self.frames,
            "obs_keys": [f"observation/{one['from']}" for one in self.inputs.values()],
            "cameras": list(dict.fromkeys(cameras)),
            "policy": Path(model).name,
            **({"image_size": described["image_size"]} if "image_size" in described else {}),
            **({"action_space": action_space} if action_space else {}),
        }

    def begin(self, slot, seed):
        """Do nothing: the network has no state."""

    def end(self, slot):
        """Do nothing: the network has no state."""

    def act(self, slot, observation):
        actions = self.run({name: self._input(observation, one) for name, one in self.inputs.items()})
        actions = np.asarray(actions, np.float32)
        return actions[0] if actions.ndim == 3 else actions

    def _input(self, observation, described):
        more = self.frames > 1
        if described["from"] in VALUES:
            return needed(observation, f"observation/{described['from']}", 1 + more)[None].astype(np.float32)
        images = needed(observation, f"observation/{described['from']}", 3 + more).astype(np.float32)
        low, high = described.get("range", (0.0, 1.0))
        images = low + images / 255 * (high - low)
        return (np.moveaxis(images, -1, -3) if described.get("layout", "CHW") == "CHW" else images)[None]


def _onnx(model, device):
    runtime = package("onnxruntime", "install it with: pip install onnxruntime")
    providers = ["CUDAExecutionProvider"] if device.startswith("cuda") else ["CPUExecutionProvider"]
    session = runtime.InferenceSession(model, providers=providers)
    names = {one.name for one in session.get_inputs()}

    def run(inputs):
        if set(inputs) != names:
            raise Refused(f"expected the inputs {sorted(names)}, got {sorted(inputs)}")
        return session.run(None, {name: np.ascontiguousarray(value) for name, value in inputs.items()})[0]

    return run


def _torchscript(model, device):
    torch = package("torch", "install it with: pip install torch")
    module = torch.jit.load(model, map_location=device).eval()

    def run(inputs):
        with torch.inference_mode():
            tensors = [torch.from_numpy(np.ascontiguousarray(value)).to(device) for value in inputs.values()]
            return module(*tensors).float().cpu().numpy()

    return run


def described_in(path):
    """Return the table of `inputs.toml`; leave in one line if it is not one."""
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"--inputs {path}: cannot be read: {error}") from None
    unknown = sorted(set(found) - {"horizon", "obs_horizon", "image_size", "inputs"})
    inputs = found.get("inputs")
    good = isinstance(inputs, dict) and inputs and all(isinstance(v, dict) and "from" in v for v in inputs.values())
    if unknown or not good:
        raise SystemExit(
            f"--inputs {path}: expected horizon, obs_horizon, image_size and inputs.NAME.from, got {found}"
        )
    return found


# --------------------------------------------------------- serving: the same text in every script of this folder
# openpi's protocol with altbench's extension: docs/remote.md of altbench. Nothing is unpickled.

PROTOCOL, LARGEST_FRAME = 1, 64 * 2**20
DTYPE = re.compile(r"\|b1|\|[iu]1|[<>][iu][248]|[<>]f[248]")


class Refused(Exception):
    """An input that cannot be used; the text says what was expected and what came."""


def encode(message):
    """Return `message` as one frame."""
    return msgpack.packb(message, default=_packed)


def decode(frame):
    """Return what `frame` holds; Refused for anything but one allowed value."""
    try:
        return msgpack.unpackb(frame, object_hook=_unpacked, strict_map_key=False)
    except Refused:
        raise
    except Exception as error:  # msgpack raises many kinds
        raise Refused(f"expected a frame of msgpack, got one that is not: {type(error).__name__}") from None


def _packed(value):
    if isinstance(value, np.ndarray) and DTYPE.fullmatch(value.dtype.str):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    raise TypeError(f"expected numbers, texts, lists, maps and arrays, got {type(value).__name__}")


def _unpacked(found):
    if b"__ndarray__" not in found:
        return found
    data, dtype, shape = found.get(b"data"), found.get(b"dtype"), found.get(b"shape")
    if not isinstance(dtype, str) or not DTYPE.fullmatch(dtype) or not isinstance(data, bytes):
        raise Refused(f"expected an array of kind b, i, u or f, got dtype {str(dtype)[:20]!r}")
    if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape) or len(shape) > 8:
        raise Refused(f"expected a shape of at most 8 whole numbers, got {str(shape)[:60]}")
    if math.prod(shape) * np.dtype(dtype).itemsize != len(data):
        raise Refused(f"expected {shape} of {dtype} to fill {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape).copy()


def serve(policy, host, port):
    """Serve `policy` until Ctrl-C or SIGTERM.

    `policy.metadata`: what stands under `altbench`. `policy.begin(slot, seed)` begins an
    episode, `policy.act(slot, observation)` returns actions (H, D), `policy.end(slot)`
    forgets the slot. A slot is one of one connection, so that none shares its state.
    """
    lock, numbers, key = threading.Lock(), itertools.count(), os.environ.get("ALTBENCH_API_KEY", "")

    def on_request(connection, request):
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if key and request.headers.get("Authorization") != f"Api-Key {key}":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "expected the header Authorization: Api-Key KEY\n")
        return None

    def on_connection(connection):
        number, seen = next(numbers), set()
        try:
            connection.send(encode({"altbench": {"protocol": PROTOCOL, **policy.metadata}}))
            for frame in connection:
                connection.send(encode(_answer(policy, lock, number, seen, frame)))
        except ConnectionClosed:
            pass
        except Exception as error:
            if not isinstance(error, Refused):
                traceback.print_exc()
            with contextlib.suppress(ConnectionClosed):
                connection.send(f"{type(error).__name__}: {error}" if not isinstance(error, Refused) else str(error))
                connection.close(1011, "the policy failed")
        finally:
            with lock:
                for slot in seen:
                    policy.end(slot)

    limits = {"compression": None, "max_size": LARGEST_FRAME}
    try:
        server = serve_websockets(on_connection, host, port, process_request=on_request, **limits)
    except OSError as error:
        raise SystemExit(f"--port {port}: cannot be used: {error.strerror or error}; choose another") from None
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"serving at ws://{host}:{port}; Ctrl-C ends it", flush=True)
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


def _answer(policy, lock, number, seen, frame):
    if not isinstance(frame, bytes):
        raise Refused("expected a binary frame, got a text")
    observation = decode(frame)
    if not isinstance(observation, dict):
        raise Refused(f"expected an observation as a map, got {type(observation).__name__}")
    told = observation.pop("altbench", None) or {}
    slot = (number, told.get("slot", 0))
    with lock:
        began = time.perf_counter()
        if told.get("reset") or slot not in seen:
            seen.add(slot)
            policy.begin(slot, int(told.get("seed", 0)))
        if told.get("reset"):
            return {"altbench": {"reset": True}}
        actions = np.ascontiguousarray(policy.act(slot, observation), dtype=np.float32)
        spent = 1e3 * (time.perf_counter() - began)
    return {"actions": actions, "server_timing": {"infer_ms": spent}, "altbench": {"pid": os.getpid()}}


def needed(observation, key, ndim):
    """Return the array `key` of an observation; Refused if it is missing or has another rank."""
    value = observation.get(key)
    if not isinstance(value, np.ndarray) or value.ndim != ndim:
        came = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else sorted(map(str, observation))[:9]
        raise Refused(f"expected {key} as an array of {ndim} dimensions, got {came}")
    return value


def package(name, hint):
    """Import a package of this script's own; leave in one line if the interpreter lacks it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SystemExit(f"{sys.executable}: {name} cannot be imported ({error}); {hint}") from None


def parser(text):
    """Return a parser with the arguments of all these scripts."""
    made = argparse.ArgumentParser(description=text)
    made.add_argument("--host", default="127.0.0.1")
    made.add_argument("--port", type=int, default=8000)
    made.add_argument("--device", default="cpu", help="cpu or cuda")
    made.add_argument("--action-space", choices=("ee_pose", "ee_delta"), help="default: by the number of actions")
    made.add_argument(
        "--camera", action="append", default=[], metavar="NAME=CAMERA", help="the policy's name of a camera"
    )
    return made


def cameras_of(names, said):
    """Return the policy's name of each image -> altbench's camera; `said`: NAME=CAMERA texts."""
    given = dict(one.partition("=")[::2] for one in said)
    if unknown := sorted(set(given) - set(names)):
        raise SystemExit(f"--camera {unknown[0]}: expected one of {sorted(names)}")
    return {name: given.get(name, short) for name, short in names.items()}


def action_space_of(dim, said):
    """Return what actions of `dim` numbers are: 10 an arm are poses, 7 an arm are deltas."""
    found = said or ("ee_pose" if dim % 10 == 0 else "ee_delta" if dim % 7 == 0 else None)
    if found is None:
        raise SystemExit(f"expected actions of 10 or 7 numbers an arm, got {dim}; the policy needs an adapter")
    return found


# ------------------------------------------------------------------------------------------------------ end of serving


def main():
    made = parser("Serve a network in ONNX or TorchScript.")
    made.add_argument("--model", required=True, help="the file, .onnx or .pt")
    made.add_argument("--inputs", required=True, help="what its inputs are (TOML)")
    args = made.parse_args()
    if not Path(args.model).is_file():
        raise SystemExit(f"--model {args.model}: missing")
    policy = ExportedPolicy(args.model, described_in(args.inputs), args.device, args.action_space)
    serve(policy, args.host, args.port)


if __name__ == "__main__":
    main()
