"""Where blobs lie, as blocking calls; and what tells one content from another.

A site does one thing at a time and knows nothing of conflicts, turns or proofs: those are the same
everywhere and stand once, in `store`. It raises BlobUnavailableError, and nothing of what is below.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from penstock.engine.blob_port import BlobInfo, BlobPage, BlobSourceError, Content

# The least that S3 takes as a part of many. Larger parts cost memory: a few are held at a time.
PART_BYTES = 5 << 20
# S3 takes no more parts.
MAX_BLOB_BYTES = PART_BYTES * 10_000


class Site(Protocol):
    """A place for blobs. Every call blocks, and ends in bounded time."""

    def write(self, key: str, parts: Iterator[bytes], size: int) -> None:
        """Store the parts as one blob, in place of another; whole, or not at all.

        All but the last part have PART_BYTES. What the iterator raises comes out as it is.
        """
        ...

    def find(self, key: str) -> BlobInfo | None:
        """Tell what is there now; None when nothing is."""
        ...

    def read(self, blob: BlobInfo, start: int, end: int) -> bytes:
        """Give bytes of this version, fewer at its end; BlobMissingError, or CHANGED."""
        ...

    def delete(self, key: str) -> None:
        """Remove; what is not there is fine."""
        ...

    def page(self, prefix: str, after: str | None) -> BlobPage:
        """Give a page of what is there."""
        ...

    def sign(self, key: str, expires_seconds: int) -> str | None:
        """Sign a URL, where this kind of place can."""
        ...

    def url(self, key: str) -> str:
        """Name a blob."""
        ...

    def probe(self) -> None:
        """Write, read back and remove something small."""
        ...


@dataclass(slots=True, frozen=True)
class Fingerprint:
    """What identifies a content. `tag` is the ETag that S3 gives to it, in parts of PART_BYTES.

    S3 computes the tag from the bytes it received (MD5, of several parts the MD5 of their MD5s), so
    an object of that size and tag is that content. Other stores, and encryption with keys of KMS,
    give tags of another kind: those never match and prove nothing.
    """

    size: int
    sha256: str
    tag: str


class Stopped(Exception):  # noqa: N818 - a word from the caller, not an error
    """Nobody waits for this call any more."""


def parts_of(content: Content, stopped: Callable[[], bool]) -> Iterator[bytes]:
    """Give the content in parts of PART_BYTES; BlobSourceError for whatever its source raises."""
    pending = bytearray()
    for block in _read(content):
        if stopped():
            raise Stopped
        pending += block
        while len(pending) >= PART_BYTES:
            yield bytes(pending[:PART_BYTES])
            del pending[:PART_BYTES]
    if pending:
        yield bytes(pending)


def fingerprint(parts: Iterable[bytes]) -> Fingerprint:
    """Read the parts to the end; BlobSourceError when no store would take them."""
    whole, tags, size, count = hashlib.sha256(), b"", 0, 0
    for part in parts:
        whole.update(part)
        tags += hashlib.md5(part, usedforsecurity=False).digest()
        size += len(part)
        count += 1
        if size > MAX_BLOB_BYTES:
            raise BlobSourceError(f"a blob of more than {MAX_BLOB_BYTES} bytes, which is the limit")
    if not size:
        raise BlobSourceError("a blob of no bytes")
    tag = f'"{tags.hex()}"'
    if count > 1:
        tag = f'"{hashlib.md5(tags, usedforsecurity=False).hexdigest()}-{count}"'
    return Fingerprint(size, whole.hexdigest(), tag)


def unchanged(parts: Iterable[bytes], known: Fingerprint) -> Iterator[bytes]:
    """Pass the parts on; BlobSourceError at the end, before it counts, if they were others."""
    whole, size = hashlib.sha256(), 0
    for part in parts:
        whole.update(part)
        size += len(part)
        # The last part is held back until it is sure: a store completes what has come to its end.
        if size >= known.size and (size, whole.hexdigest()) != (known.size, known.sha256):
            break
        yield part
    if (size, whole.hexdigest()) != (known.size, known.sha256):
        raise BlobSourceError("the content changed while it was being stored")


def _read(content: Content) -> Iterator[bytes]:
    try:
        yield from content()
    except BlobSourceError:
        raise
    except Exception as error:
        raise BlobSourceError(f"the content cannot be read: {error}") from error
