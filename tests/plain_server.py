"""A small server of openpi's kind, which shares no code with altbench.

`python plain_server.py --port PORT [--mode MODE]`. It needs websockets, msgpack and
NumPy alone. `MODES` says what it does wrong, if anything.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from websockets.sync.server import ServerConnection, serve

MODES = (
    "good",
    "hang",
    "text",
    "garbage",
    "no-actions",
    "nan",
    "wrong-shape",
    "few",
    "slow-second",
    "die",
    "dies-once",
    "no-metadata",
    "version",
    "extended",
    "child",
)
STEPS, WIDTH = 10, 7


def pack(value: Any) -> bytes:
    """Return msgpack with arrays in openpi's form."""

    def array(one: Any) -> Any:
        assert isinstance(one, np.ndarray)
        return {b"__ndarray__": True, b"data": one.tobytes(), b"dtype": one.dtype.str, b"shape": one.shape}

    return bytes(msgpack.packb(value, default=array))


def unpack(frame: bytes) -> Any:
    """Return what a frame holds."""

    def array(found: Any) -> Any:
        if b"__ndarray__" not in found:
            return found
        return np.frombuffer(found[b"data"], found[b"dtype"]).reshape(found[b"shape"])

    return msgpack.unpackb(frame, object_hook=array)


class PlainServer:
    """A server in a thread; `seen` holds the observations that came, by connection."""

    def __init__(self, mode: str = "good", port: int = 0, metadata: dict[str, Any] | None = None) -> None:
        self.mode, self.metadata = mode, {"model": "plain"} if metadata is None else metadata
        self.seen: list[list[Any]] = []
        self.died = 0
        self._server = serve(self._converse, "127.0.0.1", port, compression=None, max_size=None, process_request=health)
        self.port = self._server.socket.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}"

    def start(self) -> PlainServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        self._server.shutdown()

    def serve_forever(self) -> None:
        self._server.serve_forever()

    def _converse(self, connection: ServerConnection) -> None:
        own: list[Any] = []
        self.seen.append(own)
        connection.send(b"\xc1" if self.mode == "no-metadata" else pack(self.metadata))
        for frame in connection:
            message = unpack(frame)
            own.append(message)
            if isinstance(message.get("altbench"), dict) and message["altbench"].get("reset"):
                connection.send(pack({"altbench": {"reset": True}}))
                continue
            if not self._answer(connection, message, len(own)):
                return

    def _answer(self, connection: ServerConnection, message: Any, count: int) -> bool:
        actions = np.full((STEPS, WIDTH), 0.01, np.float64)
        actions[:, 0] = message["observation/state"].reshape(-1)[0] if "observation/state" in message else 0.0
        mode = self.mode
        if mode == "hang" or (mode == "slow-second" and count == 2):
            time.sleep(2.0)
        elif mode == "text":
            connection.send("Traceback (most recent call last):\n  ...\nValueError: the model is upset")
            connection.close(1011, "internal error")
            return False
        elif mode == "garbage":
            connection.send(b"\xdd\xff\xff\xff\xff")
            return True
        elif mode == "no-actions":
            connection.send(pack({"action": 1}))
            return True
        elif mode == "die" or (mode == "dies-once" and not Path(os.environ["DIED"]).exists()):
            if mode == "dies-once":
                Path(os.environ["DIED"]).touch()
            print("about to die", flush=True)
            os._exit(3)
        elif mode == "nan":
            actions[3, 2] = np.nan
        elif mode == "wrong-shape":
            actions = actions[:, :3]
        elif mode == "few":
            actions = actions[:2]
        timing = {"infer_ms": 1.25}
        connection.send(pack({"actions": actions, "server_timing": timing, "altbench": {"pid": os.getpid()}}))
        return True


def health(connection: ServerConnection, request: Any) -> Any:
    """Answer GET /healthz."""
    return connection.respond(200, "OK\n") if request.path == "/healthz" else None


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mode", choices=[*MODES, "dies-at-start", "never"], default="good")
    wanted = parser.parse_args()
    if wanted.mode == "dies-at-start":
        for i in range(30):
            print(f"line {i}")
        raise SystemExit("no such weights")
    if wanted.mode == "never":
        time.sleep(60)
    if wanted.mode == "child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
        print("child", child.pid, flush=True)
    print("serving", flush=True)
    PlainServer(wanted.mode, wanted.port).serve_forever()


if __name__ == "__main__":
    main()
