"""One HTTP exchange after another with the service, over a connection that is kept."""

import contextlib
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import NamedTuple
from urllib.parse import urlsplit

from penstock.client.errors import UnsuitableError

# Of an answer; the service's own are far shorter.
_MOST_BYTES = 1 << 20


class Reply(NamedTuple):
    """What came back. `retry_after` is in seconds, 0 without a wish."""

    status: int
    body: bytes
    retry_after: float


class UnreachableError(Exception):
    """There was no answer, or not in time: nobody knows whether the service heard."""


class Exchange:
    """Speaks with one service. For one thread."""

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
            raise UnsuitableError(f"{url!r} is no address of a service such as http://host:8765")
        self._host, self._port, self._tls = parts.hostname, port, parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")
        self._timeout = timeout
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._link: HTTPConnection | None = None

    def ask(self, method: str, path: str, body: bytes) -> Reply:
        """Send a request and give its answer, or raise UnreachableError."""
        kept = self._link is not None
        try:
            return self._ask(method, path, body)
        except (OSError, HTTPException) as error:
            self.close()
            # A kept connection may have been closed meanwhile; every request can be sent again.
            if not kept or isinstance(error, TimeoutError):
                raise UnreachableError(f"{type(error).__name__}: {error}") from None
        try:
            return self._ask(method, path, body)
        except (OSError, HTTPException) as error:
            self.close()
            raise UnreachableError(f"{type(error).__name__}: {error}") from None

    def close(self) -> None:
        """Hang up."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _ask(self, method: str, path: str, body: bytes) -> Reply:
        link = self._link or self._connect()
        self._link = link
        link.request(method, self._prefix + path, body, self._headers)
        answer = link.getresponse()
        text = answer.read(_MOST_BYTES)
        if not answer.isclosed():  # there is more, which nobody wants
            self.close()
        retry_after = 0.0
        with contextlib.suppress(ValueError):
            retry_after = max(0.0, float(answer.headers.get("Retry-After", "0")))
        return Reply(answer.status, text, retry_after)

    def _connect(self) -> HTTPConnection:
        if self._tls:
            context = ssl.create_default_context()
            return HTTPSConnection(self._host, self._port, timeout=self._timeout, context=context)
        return HTTPConnection(self._host, self._port, timeout=self._timeout)
