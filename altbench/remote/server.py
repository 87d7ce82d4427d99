"""The server of `altbench serve`: openpi's protocol over WebSocket."""

from __future__ import annotations

import asyncio
import hmac
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from altbench.core.errors import ConfigError
from altbench.core.policy import Observation
from altbench.remote.codec import LARGEST_FRAME, decode, encode
from altbench.remote.service import Message, PolicyService, is_reset

INTERNAL_ERROR = 1011
"""WebSocket's code for a connection that the server's error ended."""
MOST_BATCHED = 64
"""The most requests that are decided at once."""
GOING_AWAY = 1001
"""WebSocket's code for a server that ends."""
CLOSING_S = 2.0
"""Seconds that clients may take to agree to the end of their connections."""
DRAIN_S = 30.0
"""Seconds in which requests that have arrived are still answered after Ctrl-C."""


@dataclass(frozen=True)
class Serving:
    """How a policy is served. `port` 0: a free one. `key`: what clients must send.

    `batch`: whether requests that arrive together are decided together.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    key: str = ""
    batch: bool = False


@dataclass
class _Request:
    """A message of one slot: an observation, or a reset if `seen` is None."""

    slot: int
    message: Message
    seen: Observation | None
    answer: asyncio.Future[Message]


class PolicyServer:
    """A server of one policy. Its policy computes in one thread of its own."""

    def __init__(self, service: PolicyService, serving: Serving) -> None:
        self._service, self._serving = service, serving
        self._requests: asyncio.Queue[_Request] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="policy")
        self._metadata = encode(service.metadata)
        self._busy: set[asyncio.Future[Message]] = set()
        self._open: set[Any] = set()
        self._leaving = asyncio.Event()
        self.address = ""

    async def run(self, ready: Callable[[str], None] = lambda _: None) -> None:
        """Serve until a signal comes or `stop` is called; `ready` hears the URL.

        ConfigError if the port is in use.
        """
        from websockets.asyncio.server import serve

        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            with suppress(ValueError, RuntimeError, NotImplementedError):  # not the main thread
                loop.add_signal_handler(one, self.stop)
        wanted = self._serving
        try:
            server = await serve(
                self._converse,
                wanted.host,
                wanted.port,
                compression=None,
                max_size=LARGEST_FRAME,
                ping_interval=None,
                process_request=self._admit,
            )
        except OSError as error:
            raise ConfigError(
                f"{wanted.host}:{wanted.port} cannot be served on ({error.strerror or error}); choose another --port"
            ) from None
        port = next(iter(server.sockets)).getsockname()[1]
        self.address = f"ws://{wanted.host}:{port}"
        working = asyncio.create_task(self._work())
        ready(self.address)
        await self._leaving.wait()
        server.close(close_connections=False)
        await self._drain()
        working.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_S):
                await asyncio.gather(*(one.close(GOING_AWAY) for one in self._open), return_exceptions=True)
                await server.wait_closed()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """Take no more requests; those that have arrived are answered."""
        self._leaving.set()

    async def _drain(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self._busy:
                    await asyncio.sleep(0.02)

    def _admit(self, connection: Any, request: Any) -> Any:
        """Answer `GET /healthz`, and refuse a client with another key."""
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        came = request.headers.get("Authorization", "")
        if self._serving.key and not hmac.compare_digest(came.encode(), f"Api-Key {self._serving.key}".encode()):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "another API key is expected\n")
        if self._leaving.is_set():
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "the server is about to end\n")
        return None

    async def _converse(self, socket: Any) -> None:
        """Answer the messages of one connection, which has a slot of its own."""
        from websockets.exceptions import ConnectionClosed

        slot = self._service.open()
        self._open.add(socket)
        try:
            await socket.send(self._metadata)
            async for frame in socket:
                await socket.send(encode(await self._answer(slot, frame)))
        except ConnectionClosed:
            pass
        except Exception as error:
            with suppress(ConnectionClosed):
                await socket.send(f"{type(error).__name__}: {' '.join(str(error).split())}")
                await socket.close(INTERNAL_ERROR, "the policy failed; the reason is in the frame before")
        finally:
            self._open.discard(socket)
            self._service.close(slot)

    async def _answer(self, slot: int, frame: bytes | str) -> Message:
        message = decode(frame.encode() if isinstance(frame, str) else frame)
        if not isinstance(message, Mapping):
            raise ConfigError(f"expected an observation as a map, got {type(message).__name__}")
        if self._leaving.is_set():
            raise ConfigError("the server is about to end")
        # Read here, so that a bad observation fails its own client alone.
        seen = None if is_reset(message) else self._service.read(message)
        request = _Request(slot, message, seen, asyncio.get_running_loop().create_future())
        self._busy.add(request.answer)
        try:
            self._requests.put_nowait(request)
            return await request.answer
        finally:
            self._busy.discard(request.answer)

    async def _work(self) -> None:
        """Let the policy decide, request by request or all that wait together."""
        loop, waiting = asyncio.get_running_loop(), list[_Request]()
        while True:
            waiting.append(await self._requests.get())
            while not self._requests.empty():
                waiting.append(self._requests.get_nowait())
            while waiting:
                chosen = self._next(waiting)
                del waiting[: len(chosen)]
                try:
                    answers = await loop.run_in_executor(self._thread, self._decide, chosen)
                except Exception as error:
                    for one in chosen:
                        if not one.answer.done():
                            one.answer.set_exception(error)
                    continue
                for one, answer in zip(chosen, answers, strict=True):
                    if not one.answer.done():  # its client may have left
                        one.answer.set_result(answer)

    def _next(self, waiting: list[_Request]) -> list[_Request]:
        """Return the requests to decide at once: the first, and with `batch` those after it."""
        if not self._serving.batch or waiting[0].seen is None:
            return waiting[:1]
        count = next((i for i, one in enumerate(waiting) if one.seen is None), len(waiting))
        return waiting[: min(count, MOST_BATCHED)]

    def _decide(self, chosen: list[_Request]) -> list[Message]:
        first = chosen[0]
        if first.seen is None:
            return [self._service.reset(first.slot, first.message)]
        return self._service.act([one.slot for one in chosen], [one.seen for one in chosen if one.seen is not None])


def serve_policy(service: PolicyService, serving: Serving, ready: Callable[[str], None] = lambda _: None) -> None:
    """Serve until Ctrl-C or SIGTERM, then answer what has arrived, and return."""

    async def main() -> None:
        await PolicyServer(service, serving).run(ready)

    asyncio.run(main())
