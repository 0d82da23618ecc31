"""The blob store: turns, proofs and time bounds around a site, in worker threads.

Theory of operation
-------------------
Every call runs in a thread of a limiter of its own, uploads apart from the rest, so that a slow
store takes no thread that anybody else needs and uploads never keep a reader waiting.

::

    put    read the content once -> [the key's turn: is it there already? -> write -> prove]
    proof  size and tag are the content's (see `Fingerprint`), or else all of it is read back

The caller waits for `total_seconds` at most and can be cancelled at any time. The thread may be
inside a request then, which ends by its own bounds; before the next part of an upload it sees that
nobody waits, and aborts. It keeps the key's turn until it has really ended: what a cancelled put
still does can never come after what the next one did.

What was written and cannot be proved is removed again, or the next attempt would be in conflict
with it.
"""

import hashlib
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock
from typing import TypeVar

import trio

from penstock.engine.blob_port import (
    MAX_SIGNED_SECONDS,
    BlobConflictError,
    BlobInfo,
    BlobPage,
    BlobReason,
    BlobStatistics,
    BlobUnavailableError,
    Content,
    StoredBlob,
    checked_key,
    checked_prefix,
)
from penstock.storage.blobs.site import (
    PART_BYTES,
    Fingerprint,
    Site,
    Stopped,
    fingerprint,
    parts_of,
    unchanged,
)

T = TypeVar("T")

# A block of `get_range`: many readers may hold one each. Proofs read in parts instead.
READ_BYTES = 1 << 20


@dataclass(slots=True, frozen=True)
class BlobLimits:
    """How long a store may take, and how many calls may be under way.

    `connect_seconds`, `read_seconds` (without a byte of an answer; for an upload's part that is the
    whole time until the answer) and `request_seconds` bound a request to an object store. It is
    tried again up to `retries` times, and not after `request_seconds`. `total_seconds` bounds what
    a caller waits for one call, of `get_range` for one block; waiting until fewer than `uploads` or
    `reads` are under way is part of it.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 20.0
    request_seconds: float = 30.0
    total_seconds: float = 120.0
    retries: int = 3
    uploads: int = 4
    reads: int = 8


class Blobs:
    """The port `BlobStore` over a site. Made by `opening.open_blobs`."""

    def __init__(self, site: Site, limits: BlobLimits) -> None:
        self._site = site
        self._total_seconds = limits.total_seconds
        self._uploads = trio.CapacityLimiter(limits.uploads)
        self._reads = trio.CapacityLimiter(limits.reads)
        self._turns = _Turns()
        self._unavailable: BlobUnavailableError | None = None
        self._puts = self._repeated = self._conflicts = self._put_bytes = 0
        self._read_bytes = self._deletes = self._failures = 0

    async def put(self, key: str, content: Content, *, supersede: bool = False) -> StoredBlob:
        """Store content whole and prove it; see the port."""
        checked_key(key)
        try:
            known, repeated = await self._run(
                partial(self._put, key, content, supersede=supersede), self._uploads
            )
        except BlobConflictError:
            self._conflicts += 1
            raise
        self._puts += 1
        self._repeated += repeated
        self._put_bytes += 0 if repeated else known.size
        return StoredBlob(key, known.size, known.sha256, self._site.url(key))

    async def head(self, key: str) -> BlobInfo | None:
        """Tell what is stored under a key; None when nothing is."""
        checked_key(key)
        return await self._run(lambda _: self._site.find(key), self._reads)

    async def get_range(self, blob: BlobInfo, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Give the bytes from `start` up to `end`, block by block; see the port.

        Each block is a request of its own: a client that reads slowly lets none of them time out.
        """
        checked_key(blob.key)
        end = min(end, blob.size)
        while start < end:
            until = min(start + READ_BYTES, end)
            block = await self._run(partial(self._read, blob, start, until), self._reads)
            self._read_bytes += len(block)
            yield block
            start = until

    async def list(self, prefix: str = "", after: str | None = None) -> BlobPage:
        """Give a page of blobs in the order of their keys."""
        checked_prefix(prefix)
        return await self._run(lambda _: self._site.page(prefix, after), self._reads)

    async def delete(self, key: str) -> None:
        """Remove a blob for good. One that is not there is fine."""
        checked_key(key)
        await self._run(partial(self._delete, key, None), self._reads)
        self._deletes += 1

    async def delete_unchanged(self, blob: BlobInfo) -> bool:
        """Remove a blob unless it is another version by now; say whether it was there."""
        checked_key(blob.key)
        deleted = await self._run(partial(self._delete, blob.key, blob.version), self._reads)
        self._deletes += deleted
        return deleted

    async def sign(self, key: str, expires_seconds: int) -> str | None:
        """Give a URL that reads the blob until it expires; None where the store cannot."""
        checked_key(key)
        if not 0 < expires_seconds <= MAX_SIGNED_SECONDS:
            raise ValueError(f"a link for {expires_seconds} s; 1 to {MAX_SIGNED_SECONDS} are valid")
        return await self._run(lambda _: self._site.sign(key, expires_seconds), self._reads)

    def url(self, key: str) -> str:
        """Give the store's own name of a blob."""
        return self._site.url(checked_key(key))

    async def probe(self) -> None:
        """Return when something can be written, read back and removed."""
        await self._run(lambda _: self._site.probe(), self._reads)

    def statistics(self) -> BlobStatistics:
        """Count what was done since the start."""
        broken = self._unavailable
        return BlobStatistics(
            self._puts,
            self._repeated,
            self._conflicts,
            self._put_bytes,
            self._read_bytes,
            self._deletes,
            self._failures,
            self._uploads.borrowed_tokens,
            broken.reason if broken else None,
            broken.detail if broken else "",
        )

    async def _run(self, work: Callable[[Event], T], limiter: trio.CapacityLimiter) -> T:
        """Work in a thread, for as long as there is time; the event tells it to give up."""
        stop = Event()
        try:
            with trio.move_on_after(self._total_seconds):
                done = await trio.to_thread.run_sync(
                    work, stop, limiter=limiter, abandon_on_cancel=True
                )
                self._unavailable = None
                return done
        except BlobUnavailableError as error:
            self._note_failure(error)
            raise
        finally:
            stop.set()
        late = BlobUnavailableError(
            BlobReason.TIMED_OUT, f"no answer within {self._total_seconds:g} s"
        )
        self._note_failure(late)
        raise late

    def _note_failure(self, error: BlobUnavailableError) -> None:
        self._failures += 1
        self._unavailable = error

    # In a thread.

    def _put(
        self, key: str, content: Content, stop: Event, *, supersede: bool
    ) -> tuple[Fingerprint, bool]:
        """Store it; say whether it was there already."""
        known = fingerprint(parts_of(content, stop.is_set))
        with self._turns.of(key):
            _go_on(stop)
            there = self._site.find(key)
            if there is not None:
                if self._is(there, known, stop):
                    return known, True
                if not supersede:
                    raise BlobConflictError(key, stored_size=there.size, offered_size=known.size)
            _go_on(stop)
            self._site.write(key, unchanged(parts_of(content, stop.is_set), known), known.size)
            there = self._site.find(key)
            if there is None or not self._is(there, known, stop):
                if there is not None:
                    self._site.delete(key)
                raise BlobUnavailableError(BlobReason.CORRUPT, f"{key} is not what was written")
        return known, False

    def _is(self, there: BlobInfo, known: Fingerprint, stop: Event) -> bool:
        """Prove that the blob has this content, or that it has not."""
        if there.size != known.size:
            return False
        if there.version == known.tag:
            return True
        whole = hashlib.sha256()
        for start in range(0, there.size, PART_BYTES):
            _go_on(stop)
            whole.update(self._read(there, start, min(start + PART_BYTES, there.size), stop))
        return whole.hexdigest() == known.sha256

    def _read(self, blob: BlobInfo, start: int, end: int, _stop: Event) -> bytes:
        block = self._site.read(blob, start, end)
        if len(block) != end - start:
            raise BlobUnavailableError(BlobReason.CORRUPT, f"{blob.key} ends before its size")
        return block

    def _delete(self, key: str, version: str | None, stop: Event) -> bool:
        with self._turns.of(key):
            _go_on(stop)
            if version is not None:
                there = self._site.find(key)
                if there is None or there.version != version:
                    return False
            self._site.delete(key)
        return True


class _Turns:
    """A lock for each key in use."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._locks: dict[str, tuple[Lock, int]] = {}

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        """Wait for the key's turn, and have it. Its holders end in bounded time."""
        with self._guard:
            lock, users = self._locks.get(key, (Lock(), 0))
            self._locks[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks.pop(key)
                if users > 1:
                    self._locks[key] = (lock, users - 1)


def _go_on(stop: Event) -> None:
    if stop.is_set():
        raise Stopped
