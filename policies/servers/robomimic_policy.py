# /// script
# requires-python = ">=3.9"
# dependencies = ["robomimic>=0.3", "msgpack>=1.0.5", "websockets>=15"]
# ///
"""Serve a checkpoint of robomimic (`RolloutPolicy`), trained on images of a data set that altbench exported.

    python robomimic_policy.py --checkpoint model_epoch_100.pth --trust

robomimic's checkpoints are pickles: loading one can run any code. So they need `--trust`. robomimic's policies answer
one action a step and may have a memory, so each slot has a policy of its own.

Run against robomimic 0.5.0; for older ones written from its sources (`utils/file_utils.py`, `algo/algo.py`).
"""

import argparse
import contextlib
import importlib
import inspect
import itertools
import math
import os
import re
import signal
import sys
import threading
import time
import traceback
from http import HTTPStatus
from pathlib import Path

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve as serve_websockets

CAMERAS = {"agentview_image": "agentview", "robot0_eye_in_hand_image": "wrist"}
POSITION, FINGERS = "robot0_eef_pos", "robot0_gripper_qpos"
# robosuite has two quaternions: of the grip site, as altbench's states, and of the hand's body, a quarter turn about z.
SITE, HAND = "robot0_eef_quat_site", "robot0_eef_quat"


class RobomimicPolicy:
    """A `RolloutPolicy` for each slot, of one checkpoint."""

    def __init__(self, path, device, action_space, cameras):
        hint = "install robomimic in this environment, or start this script with uv run"
        self.torch, self.files = package("torch", hint), package("robomimic.utils.file_utils", hint)
        self.device = self.torch.device(device)
        self.content = self.files.maybe_dict_from_checkpoint(ckpt_path=path)
        shapes = self.content["shape_metadata"]
        self.keys = list(shapes["all_shapes"])
        known = {key: CAMERAS.get(key, key.removesuffix("_image")) for key in self.keys if key.endswith("_image")}
        self.cameras = cameras_of(known, cameras)
        others = [key for key in self.keys if key not in known and key not in (POSITION, SITE, HAND, FINGERS)]
        if others:
            raise SystemExit(
                f"--checkpoint {path}: expected images, {POSITION}, {SITE}, {HAND}, {FINGERS}, got {others}"
            )
        sizes = {tuple(shapes["all_shapes"][key][-2:]) for key in known}
        self.slots = {}
        self.metadata = {
            "supports_reset": True,
            "deterministic": True,
            "action_space": action_space or "ee_delta",
            "horizon": 1,
            "obs_horizon": 1,
            "obs_keys": [*(f"observation/{camera}" for camera in self.cameras.values()), "observation/state"],
            "cameras": list(self.cameras.values()),
            "policy": f"robomimic {self.content.get('algo_name', '')}".strip(),
            **({"image_size": [int(side) for side in sizes.pop()]} if len(sizes) == 1 else {}),
        }
        self.absolute = action_space == "ee_pose"

    def begin(self, slot, seed):
        policy, _ = self.files.policy_from_checkpoint(ckpt_dict=self.content, device=self.device)
        policy.start_episode()
        self.slots[slot] = [policy, seed, 0]

    def act(self, slot, observation):
        policy, seed, step = self.slots[slot]
        self.slots[slot][2] += 1
        self.torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))
        action = np.asarray(policy(ob=self._seen(observation, policy)), np.float32).reshape(1, -1)
        return pose_action(action) if self.absolute else action

    def _seen(self, observation, policy):
        """Return the observation as robomimic's environments give it to a policy."""
        seen = {}
        for key, camera in self.cameras.items():
            image = needed(observation, f"observation/{camera}", 3)
            seen[key] = image if takes_drawn_images(policy) else np.moveaxis(image.astype(np.float32) / 255, -1, 0)
        state = needed(observation, "observation/state", 1)
        site, hand = site_and_hand(state[3:9].astype(np.float64))
        parts = {POSITION: state[:3], SITE: site, HAND: hand, FINGERS: state[9:11]}
        return seen | {key: value.astype(np.float32) for key, value in parts.items() if key in self.keys}

    def end(self, slot):
        self.slots.pop(slot, None)


def takes_drawn_images(policy):
    """Return whether a policy scales images itself, as since robomimic 0.5; before, its environments did."""
    prepare = getattr(type(policy), "_prepare_observation", None)
    return prepare is not None and "postprocess_visual_obs" in inspect.signature(prepare).parameters


def matrix(first, second):
    """Return the rotation whose first two columns, or rows, point along two vectors (3,)."""
    x = first / np.linalg.norm(first)
    y = second - (second @ x) * x
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def of_hand(rot6d):
    """Return the hand's orientation for the grip site's, both as two columns (6,)."""
    return np.concatenate([rot6d[3:], -rot6d[:3]])


def quaternion(rot6d, positive):
    """Return the quaternion (x, y, z, w) of two columns (6,), with the sign in which entry `positive` is >= 0."""
    m = matrix(rot6d[:3], rot6d[3:])
    products = np.empty((4, 4))  # of each two entries, times 4: its row with the largest diagonal is the most exact
    products[:3, :3] = m + m.T + (1 - m.trace()) * np.eye(3)
    products[3, :3] = products[:3, 3] = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    products[3, 3] = 1 + m.trace()
    found = products[np.argmax(np.diag(products))]
    return found / np.copysign(np.linalg.norm(found), found[positive])


def site_and_hand(rot6d):
    """Return robosuite's two quaternions for the grip site's orientation (6,), each with the sign that it has there.

    The site's is computed from a matrix, with w >= 0. The body's is MuJoCo's, which never jumps: of an arm whose base is
    not turned, x > 0 throughout.
    """
    return quaternion(rot6d, 3), quaternion(of_hand(rot6d), 0)


def pose_action(actions):
    """Return absolute commands (1, 7 an arm) as altbench's poses (1, 10 an arm)."""
    parts = []
    for arm in np.split(actions, actions.shape[1] // 7, axis=1):
        turn = arm[0, 3:6]
        angle = np.linalg.norm(turn)
        a, b, c = turn / max(angle, 1e-9)
        k = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
        m = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
        parts.append(np.concatenate([arm[0, :3], m[:, 0], m[:, 1], arm[0, 6:]])[None])
    return np.concatenate(parts, axis=1)


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
    made = parser("Serve a checkpoint of robomimic.")
    made.add_argument("--checkpoint", required=True, help="the file, .pth")
    made.add_argument("--trust", action="store_true", help="the checkpoint may run code when it is loaded")
    args = made.parse_args()
    if not Path(args.checkpoint).is_file():
        raise SystemExit(f"--checkpoint {args.checkpoint}: missing")
    if not args.trust:
        raise SystemExit(
            f"--checkpoint {args.checkpoint}: a pickle, which can run any code; add --trust if you trust it"
        )
    serve(RobomimicPolicy(args.checkpoint, args.device, args.action_space, args.camera), args.host, args.port)


if __name__ == "__main__":
    main()
