"""Heads that have been parsed and whose token has held: most requests of a session have the same.

What differs from one request of a session to the next is the number behind `Content-Length`. A head
is looked up by the digest of everything else, so one that is found here says, byte for byte, what a
head said that the parser took and whose token was verified. The token's times are checked again at
each use. Only heads that hold are kept, so nobody can push others out with heads that do not.
"""

import hashlib
from typing import NamedTuple

from penstock.http.exchange import Head
from penstock.http.session_tokens import SessionClaims

_LENGTH_FIELD = b"\r\nContent-Length: "
# Further digits would be more bytes than there are anywhere.
_MOST_DIGITS = 18


class KnownHead(NamedTuple):
    """What is left to know of a head. It keeps the connection open and has no sidecar."""

    content_type: bytes
    origin: bytes
    claims: SessionClaims


class KnownHeads:
    """A bounded number of heads; the oldest go first."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._heads: dict[bytes, KnownHead] = {}

    def __len__(self) -> int:
        return len(self._heads)

    def find(self, head: bytes) -> tuple[bytes, Head | None]:
        """Give the key of a head's bytes, empty when it can have none, and the head if known."""
        at = head.find(_LENGTH_FIELD)
        if at < 0:
            return b"", None
        begin = at + len(_LENGTH_FIELD)
        end = head.find(b"\r", begin)
        digits = head[begin:end]
        if not digits.isdigit() or len(digits) > _MOST_DIGITS:
            return b"", None
        key = hashlib.sha256(head[:begin] + head[end:]).digest()
        known = self._heads.get(key)
        if known is None:
            return key, None
        content_type, origin, claims = known
        return key, Head(
            content_type=content_type, content_length=int(digits), origin=origin, claims=claims
        )

    def remember(self, head: Head, claims: SessionClaims) -> None:
        """Keep a head that has a key, and whose token has just been verified."""
        if head.query or head.sidecar or head.request_id or head.client_dropped:
            return  # they differ each time
        while len(self._heads) >= self._max_entries:
            del self._heads[next(iter(self._heads))]
        self._heads[head.key] = KnownHead(head.content_type, head.origin, claims)
