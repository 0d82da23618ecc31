"""Links of the service's own to replays, for stores that can sign none; and what part is wanted.

A link's token is `<expiry>.<signature>`: unix seconds, and base64url (no padding) of HMAC-SHA256
over the token's purpose, the key and the expiry. The purpose is part of what is signed, so nothing
that was signed for another end with the same secret passes here.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_PURPOSE = b"penstock replay link 1"
# Twelve digits are enough for thirty thousand years; `\d` would take digits of other scripts.
_TOKEN = re.compile(r"([1-9][0-9]{0,11})\.([A-Za-z0-9_-]{43})")
# Another unit is not ours to know, and several ranges at once are not served: both are left alone.
_RANGE = re.compile(r"bytes=[ \t,]*([0-9]*)-([0-9]*)[ \t,]*", re.IGNORECASE)


class LinkVerdict(StrEnum):
    """Whether a link holds."""

    VALID = "valid"
    MALFORMED = "malformed"
    FORGED = "forged"
    EXPIRED = "expired"


def sign_link(key: str, expires_unix: int, secret: bytes) -> str:
    """Make the token of a link to a blob that expires then."""
    return f"{expires_unix}.{_signature(key, expires_unix, secret)}"


def verify_link(key: str, token: str, secrets: Sequence[bytes], *, now_unix: float) -> LinkVerdict:
    """Say whether a token is for this key, by any of the secrets, and has not expired.

    Only the holder of a true token learns that it has expired.
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        return LinkVerdict.MALFORMED
    expires_unix = int(match[1])
    genuine = False
    for secret in secrets:  # all of them, so that the time tells nothing of which it was
        genuine |= hmac.compare_digest(match[2], _signature(key, expires_unix, secret))
    if not genuine:
        return LinkVerdict.FORGED
    return LinkVerdict.VALID if now_unix < expires_unix else LinkVerdict.EXPIRED


@dataclass(slots=True, frozen=True)
class WholeBlob:
    """Answer 200 with all of it."""

    size: int


@dataclass(slots=True, frozen=True)
class PartOfBlob:
    """Answer 206 with the bytes from `start` up to `end`, and this Content-Range."""

    start: int
    end: int
    size: int

    @property
    def content_range(self) -> str:
        """Give the header's value."""
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


@dataclass(slots=True, frozen=True)
class NoSuchPart:
    """Answer 416 with this Content-Range."""

    size: int

    @property
    def content_range(self) -> str:
        """Give the header's value."""
        return f"bytes */{self.size}"


def plan_range(
    header: str | None, size: int, *, if_range: str | None = None, etag: str | None = None
) -> WholeBlob | PartOfBlob | NoSuchPart:
    """Decide what a Range header gets (RFC 9110, section 14): one range, or else the whole.

    What is malformed, of another unit, or several ranges, is answered as if there were no header.
    So is a range whose `If-Range` is not exactly the strong tag that the blob has now; a date there
    never matches, since two revisions of a replay can be stored within a second.
    """
    if header is None or (if_range is not None and not _same_tag(if_range, etag)):
        return WholeBlob(size)
    match = _RANGE.fullmatch(header.strip(" \t"))
    if match is None or match.groups() == ("", ""):
        return WholeBlob(size)
    first, last = match.groups()
    if not first:
        length = min(_number(last), size)
        return PartOfBlob(size - length, size, size) if length else NoSuchPart(size)
    start = _number(first)
    if last and _number(last) < start:
        return WholeBlob(size)
    if start >= size:
        return NoSuchPart(size)
    return PartOfBlob(start, min(_number(last) + 1, size) if last else size, size)


def _number(digits: str) -> int:
    # So many digits exceed every size there is, and Python refuses to read thousands of them.
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) < 20 else 10**20


def _same_tag(if_range: str, etag: str | None) -> bool:
    return etag is not None and not etag.startswith("W/") and if_range == etag


def _signature(key: str, expires_unix: int, secret: bytes) -> str:
    signed = b"\n".join((_PURPOSE, key.encode(), str(expires_unix).encode()))
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
