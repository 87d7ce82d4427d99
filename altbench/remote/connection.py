"""One connection to a policy server, with a time limit on everything."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from altbench.core.errors import AltbenchError, ConfigError, PolicyTimeout
from altbench.remote.codec import LARGEST_FRAME, decode, encode
from altbench.remote.messages import ServerInfo, read_metadata

SCHEMES = ("ws://", "wss://")
LONGEST_WORDS = 300
"""The most characters of a server's error that a message repeats."""


CLOSING_S = 0.5
"""Seconds that the server may take to agree to the end of a connection."""


class ServerFailed(AltbenchError):
    """A policy server that cannot be reached, closed the connection, or told an error.

    `last_lines`: of the log of a server that the bench had started, and that died.
    """

    def __init__(self, message: str, last_lines: tuple[str, ...] = ()) -> None:
        self.message, self.last_lines = message, last_lines
        super().__init__("\n".join([message, *last_lines]))

    def __reduce__(self) -> tuple[object, ...]:
        """Return what pickle needs to send the error to another process."""
        return type(self), (self.message, self.last_lines)


class ServerRefused(ServerFailed):
    """A server that answered, but not as a policy server, or not to this client."""


@dataclass(frozen=True)
class Address:
    """Where a server listens: a URL, or a Unix socket. `key`: sent as its API key."""

    url: str
    unix: str = ""
    key: str = ""

    def __str__(self) -> str:
        return self.url


def check_url(url: str) -> None:
    """Raise ConfigError unless `url` has the form ws://HOST:PORT, with a path if any."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        good = url.startswith(SCHEMES) and bool(parts.hostname) and not parts.username and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"policy {url!r}: expected a URL such as ws://127.0.0.1:8000, without a key in it")


class Connection:
    """A connection that is open. `info`: what the server told at its beginning.

    `timeout_s`: seconds until it must be open. `send_timeout_s`: seconds in which the
    server must take a message.
    """

    def __init__(self, address: Address, timeout_s: float, send_timeout_s: float = 60.0) -> None:
        self._address, self._send_timeout_s = address, send_timeout_s
        self._socket = _open(address, timeout_s)
        # The kernel's own limit: a server that reads nothing would else block for ever.
        limit = struct.pack("ll", int(send_timeout_s), int(send_timeout_s % 1 * 1e6))
        self._socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        try:
            self.info: ServerInfo = read_metadata(self.receive(timeout_s), str(address))
        except BaseException:
            self.close()
            raise

    def send(self, message: Mapping[str, Any]) -> None:
        """Send `message`; ServerFailed if the connection is lost, PolicyTimeout if it is not read."""
        with self._lost():
            self._socket.send(encode(message))

    def receive(self, timeout_s: float) -> Any:
        """Return the server's next message.

        PolicyTimeout after `timeout_s`; ServerFailed if the server tells an error, or if
        the connection is lost; ContractError for a frame that is not of the protocol.
        """
        with self._lost():
            try:
                frame = self._socket.recv(timeout=timeout_s)
            except TimeoutError:
                raise PolicyTimeout(f"{self._address}: no answer within {timeout_s:g} s") from None
        if isinstance(frame, str):
            raise ServerFailed(f"{self._address}: the server failed: {_last_words(frame)}")
        return decode(frame)

    @contextmanager
    def _lost(self) -> Iterator[None]:
        from websockets.exceptions import ConnectionClosed

        try:
            yield
        except ConnectionClosed as error:
            if isinstance(error.__cause__, BlockingIOError):
                limit = f"{self._send_timeout_s:g} s"
                raise PolicyTimeout(f"{self._address}: the server took no message within {limit}") from None
            said = error.rcvd.reason if error.rcvd and error.rcvd.reason else "without a word"
            raise ServerFailed(f"{self._address}: the server closed the connection ({_last_words(said)})") from None
        except (OSError, EOFError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise ServerFailed(f"{self._address}: the connection was lost: {error}") from None

    def close(self) -> None:
        """Close the connection; a server that does not answer is waited for briefly."""
        with contextlib.suppress(Exception):
            self._socket.close()


def _open(address: Address, timeout_s: float) -> Any:
    """Return an open WebSocket; ServerFailed or ConfigError, in one line, if none opens."""
    check_extra()
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync import client

    options: dict[str, Any] = {
        "compression": None,
        "max_size": LARGEST_FRAME,
        "additional_headers": {"Authorization": f"Api-Key {address.key}"} if address.key else None,
        "open_timeout": timeout_s,
        # A server that computes answers no ping; the limit of each call stands for it.
        "ping_interval": None,
        "close_timeout": CLOSING_S,
    }
    try:
        if address.unix:
            return client.unix_connect(address.unix, "ws://localhost/", **options).__enter__()
        return client.connect(address.url, proxy=None, **options).__enter__()
    except InvalidStatus as error:
        status = error.response.status_code
        reason = http.client.responses.get(status, "")
        if status in (401, 403):
            advice = "set the environment variable that remote.key_from names"
            raise ServerRefused(f"{address}: the server wants another API key ({status} {reason}); {advice}") from None
        raise ServerRefused(f"{address}: expected a policy server, got status {status} {reason}") from None
    except (WebSocketException, EOFError) as error:
        raise ServerFailed(f"{address}: expected a policy server, got {_last_words(str(error))}") from None
    except TimeoutError:
        raise ServerFailed(f"{address}: expected a policy server, got no answer within {timeout_s:g} s") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ServerFailed(
            f"{address}: expected a policy server, got {reason}; start it, or check the address"
        ) from None


def check_extra() -> None:
    """Raise ConfigError, with what to install, if the extra `remote` is missing."""
    missing = [name for name in ("websockets", "msgpack") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"policies in another process need {' and '.join(missing)}, which is not installed; "
            "pip install 'altbench[remote]'"
        )


def _last_words(text: str) -> str:
    """Return the last line of a server's error, which is what a traceback ends with."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:LONGEST_WORDS] if lines else "without words"
