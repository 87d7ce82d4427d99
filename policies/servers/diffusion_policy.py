# /// script
# requires-python = ">=3.9"
# dependencies = ["torch", "hydra-core", "omegaconf", "dill", "safetensors", "msgpack>=1.0.5", "websockets>=15"]
# ///
"""Serve a checkpoint of diffusion_policy (Chi et al., 2023), of a robomimic image task with absolute actions.

    python diffusion_policy.py --checkpoint latest.ckpt --trust --convert converted   # once
    python diffusion_policy.py --checkpoint converted

The authors' checkpoints are dill pickles of a workspace: loading one can run any code. So they need `--trust`.
`--convert` writes the weights as safetensors and the settings as YAML, which load without it. The package
`diffusion_policy` itself is on no registry: install it from its sources, and put this script's requirements beside it.

Run against the sources of 2024-12-24 (5ba07ac), with torch 2.11 and diffusers 0.39: this folder's README.md says how.
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
WEIGHTS, SETTINGS = "model.safetensors", "config.yaml"
KEPT = ("policy", "shape_meta", "n_obs_steps")
"""The settings that serving needs. The others name folders, loggers and times of the training."""
TRUSTED = ("diffusion_policy.policy.", "diffusion_policy.model.", "diffusers.schedulers.", "torch.nn.")
"""The packages whose classes and functions converted settings may name: a setting `_target_` is called."""
HINT = "install diffusion_policy and what it needs in this environment"


class DiffusionPolicy:
    """A policy of diffusion_policy: it sees To frames, and answers with a chunk."""

    def __init__(self, policy, settings, device, action_space, cameras):
        self.torch, self.policy, self.device = package("torch", HINT), policy.to(device).eval(), device
        if missing := [key for key in KEPT if key not in settings]:
            raise SystemExit(f"--checkpoint: expected a policy of an image task, got settings without {missing[0]}")
        observed, self.frames = settings.shape_meta.obs, int(settings.n_obs_steps)
        images = [key for key, one in observed.items() if one.get("type") == "rgb"]
        self.cameras = cameras_of({key: CAMERAS.get(key, key.removesuffix("_image")) for key in images}, cameras)
        self.low = [key for key in observed if key not in images]
        if others := sorted(set(self.low) - {POSITION, SITE, HAND, FINGERS}):
            raise SystemExit(f"--checkpoint: expected images, {POSITION}, {SITE}, {HAND}, {FINGERS}, got {others}")
        dim = int(settings.shape_meta.action.shape[0])
        self.slots = {}
        self.metadata = {
            "supports_reset": True,
            "deterministic": True,
            "action_space": action_space_of(dim, action_space),
            "horizon": int(settings.policy.n_action_steps),
            "obs_horizon": self.frames,
            "obs_keys": [*(f"observation/{camera}" for camera in self.cameras.values()), "observation/state"],
            "cameras": list(self.cameras.values()),
            "policy": "diffusion_policy",
            **({"image_size": [int(side) for side in observed[images[0]].shape[1:]]} if images else {}),
        }

    def begin(self, slot, seed):
        self.slots[slot] = [seed, 0]

    def act(self, slot, observation):
        seed, step = self.slots[slot]
        self.slots[slot][1] += 1
        self.torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))
        seen = {
            key: self.torch.from_numpy(value)[None].to(self.device) for key, value in self._seen(observation).items()
        }
        with self.torch.inference_mode():
            actions = self.policy.predict_action(seen)["action"][0].float().cpu().numpy()
        return columns_from_rows(actions) if actions.shape[1] % 10 == 0 else actions

    def _seen(self, observation):
        more = self.frames > 1
        seen = {}
        for key, camera in self.cameras.items():
            images = needed(observation, f"observation/{camera}", 3 + more)
            images = images if more else images[None]
            seen[key] = np.ascontiguousarray(np.moveaxis(images, -1, 1).astype(np.float32) / 255)
        state = needed(observation, "observation/state", 1 + more).astype(np.float32)
        state = state if more else state[None]
        turns = np.array([site_and_hand(row.astype(np.float64)) for row in state[:, 3:9]], np.float32)
        parts = {POSITION: state[:, :3], SITE: turns[:, 0], HAND: turns[:, 1], FINGERS: state[:, 9:11]}
        return seen | {key: np.ascontiguousarray(parts[key]) for key in self.low}

    def end(self, slot):
        self.slots.pop(slot, None)


def matrix(first, second):
    """Return the rotation whose first two columns, or rows, point along two vectors (3,)."""
    x = first / np.linalg.norm(first)
    y = second - (second @ x) * x
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def columns_from_rows(actions):
    """Return poses (H, 10 an arm) with rot6d as columns; diffusion_policy has rows (pytorch3d)."""
    turned = np.array(actions, np.float32)
    for start in range(0, actions.shape[1], 10):
        for row in turned:
            m = matrix(row[start + 3 : start + 6], row[start + 6 : start + 9]).T
            row[start + 3 : start + 9] = np.concatenate([m[:, 0], m[:, 1]])
    return turned


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


def pickled(path):
    """Load the authors' checkpoint, which can run any code; return the policy and its settings."""
    torch, hydra, dill = package("torch", HINT), package("hydra.utils", HINT), package("dill", HINT)
    package("diffusion_policy", HINT)
    try:
        with open(path, "rb") as file:
            payload = torch.load(file, pickle_module=dill, map_location="cpu", weights_only=False)
        settings = payload["cfg"]
    except (dill.UnpicklingError, EOFError, KeyError, TypeError, RuntimeError) as error:
        raise SystemExit(
            f"--checkpoint {path}: expected what save_checkpoint of diffusion_policy writes: {error!r}"
        ) from None
    workspace = hydra.get_class(settings._target_)(settings)
    workspace.load_payload(payload, exclude_keys=None, include_keys=None)
    return (workspace.ema_model if settings.training.use_ema else workspace.model), settings


def converted(folder):
    """Load what `convert` wrote; nothing is unpickled."""
    hydra, omegaconf = package("hydra.utils", HINT), package("omegaconf", HINT)
    weights = package("safetensors.torch", HINT)
    settings = omegaconf.OmegaConf.load(Path(folder, SETTINGS))
    check(omegaconf.OmegaConf.to_container(settings, resolve=False), folder, hydra.get_method)
    policy = hydra.instantiate(settings.policy)
    policy.load_state_dict(weights.load_file(Path(folder, WEIGHTS)))
    return policy, settings


def check(settings, folder, find):
    """Leave in one line if settings would run more than the trusted classes; `find` returns what a name stands for."""
    for text in leaves(settings):
        if "${" in str(text):  # diffusion_policy registers a resolver that runs Python
            raise SystemExit(f"{folder}: expected settings without references, as --convert writes them, got {text!r}")
    for target in leaves(settings, "_target_"):
        # A name may reach through a trusted module: diffusion_policy.model.x.os.system. What it finds has a home, too.
        found = find(target) if str(target).startswith(TRUSTED) else None
        plain = (inspect.isclass(found) or inspect.isfunction(found)) and "." not in found.__qualname__
        if not plain or not f"{found.__module__}.".startswith(TRUSTED):
            raise SystemExit(f"{folder}: expected classes of {', '.join(TRUSTED)}, got {target!r}")


def leaves(settings, key=None):
    """Return all keys and values of settings, or those of `key` alone."""
    if isinstance(settings, dict):
        own = [settings[key]] if key in settings else []
        names = [] if key else list(settings)
        return own + names + [one for value in settings.values() for one in leaves(value, key)]
    if isinstance(settings, list):
        return [one for value in settings for one in leaves(value, key)]
    return [] if key else [settings]


def convert(policy, settings, folder):
    """Write weights and settings so that they load without unpickling."""
    omegaconf, weights = package("omegaconf", HINT), package("safetensors.torch", HINT)
    Path(folder).mkdir(parents=True)
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in policy.state_dict().items()}
    weights.save_file(tensors, Path(folder, WEIGHTS))
    parts = {key: settings[key] for key in KEPT}
    kept = {
        key: omegaconf.OmegaConf.to_container(part, resolve=True) if omegaconf.OmegaConf.is_config(part) else part
        for key, part in parts.items()
    }
    Path(folder, SETTINGS).write_text(omegaconf.OmegaConf.to_yaml(kept), encoding="utf-8")
    print(f"{folder}: {len(tensors)} arrays; serve it with --checkpoint {folder}")


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
    made = parser("Serve a checkpoint of diffusion_policy.")
    made.add_argument("--checkpoint", required=True, help="the authors' file .ckpt, or a converted folder")
    made.add_argument("--trust", action="store_true", help="the checkpoint may run code when it is loaded")
    made.add_argument("--convert", help="write this folder, with safetensors, and end")
    args = made.parse_args()
    # This file has the name of the authors' package. Python looks into a script's folder first, and would find it there.
    here = Path(__file__).resolve().parent
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != here]
    path = Path(args.checkpoint)
    if not path.exists():
        raise SystemExit(f"--checkpoint {path}: missing")
    if path.is_file() and not args.trust:
        raise SystemExit(f"--checkpoint {path}: a pickle, which can run any code; add --trust if you trust it")
    policy, settings = pickled(path) if path.is_file() else converted(path)
    if args.convert:
        if Path(args.convert).exists():
            raise SystemExit(f"--convert {args.convert}: exists; choose another folder")
        convert(policy, settings, args.convert)
        return
    serve(DiffusionPolicy(policy, settings, args.device, args.action_space, args.camera), args.host, args.port)


if __name__ == "__main__":
    main()
