# /// script
# requires-python = ">=3.12"
# dependencies = ["lerobot[training,diffusion]==0.6.1", "msgpack>=1.0.5", "websockets>=15"]
# ///
"""Serve a policy of LeRobot 0.6: ACT, diffusion, or any other `PreTrainedPolicy`, with its processors.

    python lerobot_policy.py --checkpoint outputs/train/act/checkpoints/last/pretrained_model
    uv run lerobot_policy.py --checkpoint ... --camera observation.images.top=agentview

Each slot has a policy of its own with its own action queue; all share the weights. Policies that see one frame answer
with the actions that they queue; others, and those with temporal ensembling, answer one action a step, as at home.
"""

import argparse
import contextlib
import copy
import importlib
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


class LeRobotPolicy:
    """A checkpoint of LeRobot, a copy of its state for each slot."""

    def __init__(self, folder, device, action_space, cameras):
        hint = "install it with: pip install 'lerobot[training,diffusion]==0.6.1', or start this script with uv run"
        self.torch = package("torch", hint)
        configs, factory = package("lerobot.configs.policies", hint), package("lerobot.policies.factory", hint)
        if not Path(folder, "config.json").is_file():
            raise SystemExit(f"--checkpoint {folder}: expected LeRobot's folder pretrained_model with config.json")
        self.config = configs.PreTrainedConfig.from_pretrained(folder)
        self.config.device = device
        self.policy = factory.get_policy_class(self.config.type).from_pretrained(folder, config=self.config)
        overrides = {"device_processor": {"device": device}}
        self.before, self.after = factory.make_pre_post_processors(
            self.config, pretrained_path=folder, preprocessor_overrides=overrides
        )
        images = self.config.image_features
        self.cameras = cameras_of({name: name.rpartition(".")[2] for name in images}, cameras)
        sizes = {tuple(feature.shape[1:]) for feature in images.values()}
        if len(sizes) > 1:
            raise SystemExit(f"--checkpoint {folder}: expected images of one size, got {sorted(sizes)}")
        self.slots = {}
        self.metadata = self._metadata(sizes, action_space)

    def _metadata(self, sizes, action_space):
        config = self.config
        ensembles = getattr(config, "temporal_ensemble_coeff", None) is not None
        alone = getattr(config, "n_obs_steps", 1) > 1 or ensembles or not hasattr(config, "n_action_steps")
        self.horizon = 1 if alone else config.n_action_steps
        keys = [f"observation/{camera}" for camera in self.cameras.values()]
        keys += ["observation/state"] if config.robot_state_feature else []
        keys += ["observation/environment_state"] if config.env_state_feature else []
        return {
            "supports_reset": True,
            "deterministic": True,
            "action_space": action_space_of(config.action_feature.shape[0], action_space),
            "horizon": self.horizon,
            "obs_horizon": 1,
            "obs_keys": keys,
            "cameras": list(self.cameras.values()),
            "policy": f"lerobot {config.type}",
            **({"image_size": [int(side) for side in sizes.pop()]} if sizes else {}),
        }

    def begin(self, slot, seed):
        # Everything is copied but the weights, which all slots share.
        shared = {id(one): one for one in itertools.chain(self.policy.parameters(), self.policy.buffers())}
        policy = copy.deepcopy(self.policy, shared)
        policy.reset()
        self.slots[slot] = [policy, seed, 0]

    def act(self, slot, observation):
        torch, (policy, seed, step) = self.torch, self.slots[slot]
        self.slots[slot][2] += 1
        # What is drawn depends on the episode and the step alone, not on other slots.
        torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))
        batch = self._batch(observation)
        with torch.inference_mode():
            ready = self.before(batch)
            # With its queue empty a policy decides; then it hands out what it queued.
            actions = [self.after(policy.select_action(dict(ready))) for _ in range(self.horizon)]
        return torch.cat(actions).float().cpu().numpy()

    def _batch(self, observation):
        torch, batch = self.torch, {"task": [str(observation.get("prompt", ""))]}
        for name, camera in self.cameras.items():
            image = torch.from_numpy(needed(observation, f"observation/{camera}", 3)).permute(2, 0, 1)
            batch[name] = image.contiguous().float().div(255)[None]
        if self.config.robot_state_feature:
            batch["observation.state"] = torch.from_numpy(needed(observation, "observation/state", 1)).float()[None]
        if self.config.env_state_feature:
            state = needed(observation, "observation/environment_state", 1)
            batch["observation.environment_state"] = torch.from_numpy(state).float()[None]
        return batch

    def end(self, slot):
        self.slots.pop(slot, None)


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
    made = parser("Serve a policy of LeRobot.")
    made.add_argument("--checkpoint", required=True, help="LeRobot's folder pretrained_model")
    args = made.parse_args()
    serve(LeRobotPolicy(args.checkpoint, args.device, args.action_space, args.camera), args.host, args.port)


if __name__ == "__main__":
    main()
