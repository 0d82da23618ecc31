"""What every answer carries, whichever lane gives it: request id, CORS, date."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from penstock.engine.ports import Clock
from penstock.http.exchange import Answer

_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_EXPOSED = b"Retry-After, X-Request-Id"
_WHOLE_ANSWER = (
    b"%bdate: %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b%b\r\n%b"
)
_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}


@dataclass(slots=True, frozen=True)
class CorsRules:
    """Which browser origins may read answers, by their settings' names."""

    cors_origins: Sequence[str] = ()
    cors_max_age_seconds: int = 600


class Edge:
    """Completes answers. One for the whole front."""

    def __init__(self, cors: CorsRules, clock: Clock) -> None:
        self._clock = clock
        self._any_origin = "*" in cors.cors_origins
        self._origins = frozenset(origin.encode("ascii") for origin in cors.cors_origins)
        self._max_age = b"%d" % cors.cors_max_age_seconds
        self._id_prefix = secrets.token_hex(6).encode() + b"-"
        self._id_count = 0
        self._date_second = -1
        self._date = b""

    def request_id(self, offered: bytes) -> bytes:
        """Take the client's request id if it is sane, else make one."""
        if offered and _SANE_REQUEST_ID.fullmatch(offered):
            return offered
        self._id_count += 1
        return self._id_prefix + b"%x" % self._id_count

    def cors_headers(self, origin: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """Let an allowed origin read the answer; say nothing where none is allowed."""
        if not self._origins:
            return ()
        if not origin or not (self._any_origin or origin in self._origins):
            return ((b"vary", b"Origin"),)
        return (
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        )

    def preflight_headers(self, origin: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """Answer a preflight so that the browser keeps it."""
        headers = self.cors_headers(origin)
        if len(headers) < 3:
            return headers
        return (
            *headers,
            (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
            (
                b"access-control-allow-headers",
                b"Authorization, Content-Type, X-Batch-Meta, X-Client-Dropped, X-Request-Id",
            ),
            (b"access-control-max-age", self._max_age),
        )

    def headers(
        self, answer: Answer, request_id: bytes, origin: bytes
    ) -> list[tuple[bytes, bytes]]:
        """Give all headers of an answer but those that the transport adds."""
        return [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.body)),
            (b"x-request-id", request_id),
            *self._further_headers(answer, origin),
        ]

    def stream_headers(
        self, answer: Answer, request_id: bytes, origin: bytes
    ) -> list[tuple[bytes, bytes]]:
        """Give the headers of an answer whose length is not known, or is among its own."""
        return [
            (b"content-type", answer.content_type),
            (b"x-request-id", request_id),
            *self._further_headers(answer, origin),
        ]

    def render(
        self, answer: Answer, request_id: bytes, origin: bytes, *, keep_alive: bool
    ) -> bytes:
        """Write a whole HTTP/1.1 answer."""
        further = b"".join(
            b"%b: %b\r\n" % header for header in self._further_headers(answer, origin)
        )
        return _WHOLE_ANSWER % (
            _STATUS_LINES[answer.status],
            self._date_now(),
            answer.content_type,
            len(answer.body),
            request_id,
            further,
            b"" if keep_alive else b"connection: close\r\n",
            answer.body,
        )

    def _further_headers(self, answer: Answer, origin: bytes) -> list[tuple[bytes, bytes]]:
        headers = [*answer.headers, *self.cors_headers(origin)]
        if answer.retry_after is not None:
            headers.append((b"retry-after", b"%d" % answer.retry_after))
        return headers

    def _date_now(self) -> bytes:
        """Give the Date header's value, made once a second."""
        second = int(self._clock.unix())
        if second != self._date_second:
            self._date_second = second
            self._date = formatdate(second, usegmt=True).encode()
        return self._date
