"""One request and its answer, without the transport: what both lanes speak with the surfaces.

What is made for every request is a named tuple: as unchangeable as a frozen dataclass, and made in
a third of the time.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    from penstock.http.session_tokens import SessionClaims

JSON = b"application/json"
PROBLEM = b"application/problem+json"
_NO_STORE = (b"cache-control", b"no-store")


@dataclass(slots=True)
class Head:
    """What a surface may want to know of a request before it has the body.

    Header values are as they came, empty when the header is absent. `content_length` is None for a
    chunked body.
    """

    query: bytes = b""
    authorization: bytes = b""
    content_type: bytes = b""
    content_length: int | None = None
    sidecar: bytes = b""
    request_id: bytes = b""
    origin: bytes = b""
    client_dropped: bytes = b""
    user_agent: bytes = b""
    cmcd: tuple[tuple[bytes, bytes], ...] = ()
    # Who connected to us, and all of X-Forwarded-For; not told of pose batches.
    peer: str = ""
    forwarded: bytes = b""
    # See `known_heads`: the key of a head that may be known again, or what the token of one that is
    # known said when it was verified.
    key: bytes = b""
    claims: "SessionClaims | None" = None


class Answer(NamedTuple):
    """What goes back. `code` is what metrics count it under; `retry_after` is in whole seconds."""

    status: int
    body: bytes
    code: str
    content_type: bytes = JSON
    retry_after: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


def json_answer(status: int, document: object, *, code: str = "ok") -> Answer:
    """Answer with a JSON document."""
    return Answer(status, orjson.dumps(document), code)


def unkept(answer: Answer) -> Answer:
    """Mark what is between one person and the service: no cache may keep it."""
    return answer._replace(headers=(*answer.headers, _NO_STORE))
