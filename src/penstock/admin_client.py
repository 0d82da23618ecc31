"""A running service's admin routes, asked over HTTP: JSON there and back, errors in whole lines."""

import json
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from penstock.engine.policy_editions import spelled_out
from penstock.errors import StartupError

_TIMEOUT_SECONDS = 30.0
_MOST_BYTES = 32 * 1024 * 1024


class ServiceUnavailableError(Exception):
    """The service cannot be reached, or cannot do it now. The message is one line."""


class AdminClient:
    """Asks one service, as one person."""

    def __init__(self, url: str, token: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise StartupError(f"--url: {url!r}: its port is no number") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise StartupError(f"--url: {url!r}; it must be such as http://127.0.0.1:8080")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise StartupError("--token: it is not a token: it has characters that no token has")
        self._url = url
        self._host, self._port = parts.hostname, port
        self._secure = parts.scheme == "https"
        self._path = parts.path.rstrip("/")
        self._token = token

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Give the answer's document; raise StartupError when refused, else ServiceUnavailable."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = self._path + path + (f"?{urlencode(given)}" if given else "")
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        status, answer = self._exchange(method, target, data, headers)
        try:
            document = json.loads(answer)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ServiceUnavailableError(
                f"{self._url} answered {status} and no JSON; is it a Penstock service?"
            )
        if status >= 500:
            raise ServiceUnavailableError(f"the service cannot do it now: {_words(document)}")
        if status >= 400:
            raise StartupError(*_refusal(document))
        return document

    def _exchange(
        self, method: str, target: str, data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        try:
            connection = self._connection()
            try:
                connection.request(method, target, data, headers)
                response = connection.getresponse()
                return response.status, response.read(_MOST_BYTES)
            finally:
                connection.close()
        except ssl.SSLError as error:
            raise ServiceUnavailableError(f"{self._url}: TLS failed: {error.reason}") from None
        except (OSError, HTTPException) as error:
            what = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ServiceUnavailableError(
                f"{self._url} cannot be reached: {what}; is the service running?"
            ) from None

    def _connection(self) -> HTTPConnection:
        if self._secure:
            return HTTPSConnection(
                self._host,
                self._port,
                timeout=_TIMEOUT_SECONDS,
                context=ssl.create_default_context(),
            )
        return HTTPConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS)


def _refusal(document: Mapping[str, Any]) -> list[str]:
    if faults := document.get("faults"):
        more = document.get("more_faults")
        return [*(_fault(fault) for fault in faults), *([f"and {more} more"] if more else [])]
    if document.get("code") != "policy_revision_stale":
        return [_words(document)]
    return [
        f"the policy was changed meanwhile, now at revision {document.get('current')}; look, and "
        "try again",
        *(
            f"revision {change['revision']}: {change['action']} {change['scope']} by "
            f"{spelled_out(change['author'])} at {change['made_at']}: "
            f"{spelled_out(change['reason'])}"
            for change in document.get("changes", ())
        ),
    ]


def _fault(fault: Mapping[str, Any]) -> str:
    # Where two knobs contradict one another, the detail has both values already.
    names = () if fault.get("other") else ("seen", "limit")
    facts = "".join(f", {name} {fault[name]}" for name in names if fault.get(name) is not None)
    return f"{fault['knob']}: {fault['detail']}{facts} ({fault['scope']})"


def _words(document: Mapping[str, Any]) -> str:
    return f"{document.get('detail', 'no reason given')} ({document.get('code', 'no code')})"
