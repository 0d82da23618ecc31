"""What the engine needs from the blob store: where replays outlive the sessions' spool files.

A blob is whole or not there, and a `put` that returned has been proved: size and content of what
the store now holds are those of what was offered. Only then may the source be removed.

Putting the same content under the same key again changes nothing and gives the same answer, so a
put whose outcome nobody learned is simply repeated. Other content is a conflict, unless the caller
says that it supersedes: a later revision of a session may hold more frames.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, Self

SUFFIX = ".bin.gz"

# No signature of S3 is valid for longer, and no link to somebody's movements should be.
MAX_SIGNED_SECONDS = 7 * 24 * 3600

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_KEY = re.compile(rf"{_UUID}/{_UUID}{re.escape(SUFFIX)}")
_PREFIX = re.compile(rf"(?:{_UUID}/)?")

# Gives the content from its beginning, each time it is called. It runs in a thread.
Content = Callable[[], Iterable[bytes]]


class BlobReason(StrEnum):
    """Why the store could not do what it was asked."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Attach the meaning to the value."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    DISK_FULL = ("blob_disk_full", "The folder's disk had no room.")
    UNREACHABLE = ("blob_unreachable", "The store could not be reached, or hung up.")
    TIMED_OUT = ("blob_timed_out", "The store did not answer in time.")
    DENIED = ("blob_denied", "The store refused the credentials or the rights.")
    BUCKET_MISSING = ("blob_bucket_missing", "The bucket or container does not exist.")
    BUSY = ("blob_busy", "More replays wait to be stored than may; this one is stored later.")
    CORRUPT = ("blob_corrupt", "The store does not hold what was written to it.")
    CHANGED = ("blob_changed", "The blob was replaced while it was being read.")
    IO_ERROR = ("blob_io_error", "The store answered with an error, or the disk failed.")


class BlobUnavailableError(Exception):
    """The store could not do it now. Asking again is always right.

    `detail` is one line for an operator, without credentials.
    """

    def __init__(self, reason: BlobReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class BlobConflictError(Exception):
    """Other content is stored under this key, and the caller did not say that his supersedes it."""

    def __init__(self, key: str, *, stored_size: int, offered_size: int) -> None:
        super().__init__(f"{key}: {stored_size} bytes are there, other {offered_size} were offered")
        self.key = key
        self.stored_size = stored_size
        self.offered_size = offered_size


class BlobMissingError(Exception):
    """There is no blob under this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key}: no such blob")
        self.key = key


class BlobSourceError(Exception):
    """The content offered cannot be stored: unreadable, empty, too large, or it has changed."""


class InvalidBlobKeyError(ValueError):
    """A key or prefix that is not made of an organisation's and a session's UUID."""


@dataclass(slots=True, frozen=True)
class StoredBlob:
    """A blob that has been proved to be there. `url` is the store's own name, for records."""

    key: str
    size: int
    sha256: str
    url: str


@dataclass(slots=True, frozen=True)
class BlobInfo:
    """A blob as the store has it now. `version` is another once the content is another."""

    key: str
    size: int
    modified_unix: float
    version: str


@dataclass(slots=True, frozen=True)
class BlobPage:
    """Some blobs in the order of their keys; `after` goes on from there, None at the end.

    A page may be empty and not the last: what is no blob of ours is passed over.
    """

    blobs: tuple[BlobInfo, ...]
    after: str | None


@dataclass(slots=True, frozen=True)
class BlobStatistics:
    """What was done since the start. `unavailable` is how the newest call failed, if it did.

    `repeated` counts the puts, among `puts`, that found their content in place.
    """

    puts: int
    repeated: int
    conflicts: int
    put_bytes: int
    read_bytes: int
    deletes: int
    failures: int
    uploading: int
    unavailable: BlobReason | None
    unavailable_detail: str


class BlobStore(Protocol):
    """The store. Every method that waits raises BlobUnavailableError, and ends in bounded time.

    A key is `replay_key`'s; anything else is InvalidBlobKeyError.
    """

    async def put(self, key: str, content: Content, *, supersede: bool = False) -> StoredBlob:
        """Store content whole and prove it; BlobConflictError, BlobSourceError.

        Cancelled or out of time, it may have taken place or not; it never leaves half a blob. Puts
        and deletions of one key in this process go one after another, also after a cancellation.
        """
        ...

    async def head(self, key: str) -> BlobInfo | None:
        """Tell what is stored under a key; None when nothing is."""
        ...

    def get_range(self, blob: BlobInfo, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Give the bytes from `start` up to `end`, of exactly the version that `blob` tells of.

        BlobMissingError when it is gone, BlobUnavailableError (CHANGED) when it was replaced. An
        async generator: whoever stops before its end closes it (`contextlib.aclosing`).
        """
        ...

    async def list(self, prefix: str = "", after: str | None = None) -> BlobPage:
        """Give a page of blobs; `prefix` is "" or `org_prefix`'s, `after` the last page's."""
        ...

    async def delete(self, key: str) -> None:
        """Remove a blob for good. One that is not there is fine."""
        ...

    async def delete_unchanged(self, blob: BlobInfo) -> bool:
        """Remove a blob unless it is another version by now; say whether it was there."""
        ...

    async def sign(self, key: str, expires_seconds: int) -> str | None:
        """Give a URL that reads the blob without credentials until it expires.

        None where the store cannot: the service then signs and serves a URL of its own.
        """
        ...

    def url(self, key: str) -> str:
        """Give the store's own name of a blob, such as `s3://bucket/prefix/<key>`. No network."""
        ...

    async def probe(self) -> None:
        """Write, read back and remove something small: return when the store can be used."""
        ...

    def statistics(self) -> BlobStatistics:
        """Count what was done. Never blocks."""
        ...


def replay_key(org_id: str, session_id: str) -> str:
    """Give the key of a session's replay; InvalidBlobKeyError unless both are UUIDs."""
    return checked_key(f"{org_id}/{session_id}{SUFFIX}")


def org_prefix(org_id: str) -> str:
    """Give the prefix of an organisation's blobs; InvalidBlobKeyError unless it is a UUID."""
    return checked_prefix(f"{org_id}/")


def checked_key(key: str) -> str:
    """Give the key back; InvalidBlobKeyError when it could name anything but a replay."""
    if not _KEY.fullmatch(key):
        raise InvalidBlobKeyError("a blob's key is <org UUID>/<session UUID>" + SUFFIX)
    return key


def checked_prefix(prefix: str) -> str:
    """Give the prefix back; InvalidBlobKeyError when it is neither empty nor an organisation's."""
    if not _PREFIX.fullmatch(prefix):
        raise InvalidBlobKeyError("a prefix of blobs is empty or <org UUID>/")
    return prefix


def is_key(text: str) -> bool:
    """Say whether a name in the store is one of ours."""
    return _KEY.fullmatch(text) is not None
