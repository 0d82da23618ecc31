"""A session's inbox: what was accepted and not yet taken by the actor, bounded twice.

The batches wait in a Trio memory channel, which bounds their number. Their bytes are bounded here,
because a batch may be a thousand times larger than another. The actor does not wait on the
channel: it flushes once for many batches (see `pacer`), which saves a task switch a batch.
"""

from typing import NamedTuple

import trio

from penstock.engine.level import Level
from penstock.engine.sidecar import NO_META, BatchMeta
from penstock.engine.wire import FrameBatch


class Arrival(NamedTuple):
    """A batch with what came beside it. `sidecar` is the client's JSON as it came, or None."""

    batch: FrameBatch
    received_unix_ms: int
    sidecar: bytes | None = None
    meta: BatchMeta = NO_META

    @property
    def frame_count(self) -> int:
        """Give the number of frames."""
        return self.batch.frame_count

    @property
    def member(self) -> bytes:
        """Give the gzip member as it came."""
        return self.batch.member


class InboxFullError(Exception):
    """The inbox is at its bound. Which one, and how full it was."""

    def __init__(self, setting: str, limit: int, seen: int) -> None:
        super().__init__(f"{setting}: {seen} would exceed {limit}")
        self.setting = setting
        self.limit = limit
        self.seen = seen


class Inbox:
    """First in, first out. Nothing here waits."""

    __slots__ = (
        "_level",
        "_max_batches",
        "_max_bytes",
        "_receive",
        "_send",
        "held_batches",
        "held_bytes",
    )

    def __init__(self, max_batches: int, max_bytes: int, level: Level) -> None:
        """Bound the inbox; `level` counts the bytes of all inboxes together."""
        self._level = level
        self._max_batches = max_batches
        self._max_bytes = max_bytes
        self._send, self._receive = trio.open_memory_channel[Arrival](max_batches)
        self.held_batches = 0
        self.held_bytes = 0

    def put_nowait(self, arrival: Arrival) -> None:
        """Take a batch in, or raise InboxFullError and leave everything as it was."""
        size = arrival.batch.held_bytes
        if self.held_bytes + size > self._max_bytes:
            raise InboxFullError("inbox_bytes", self._max_bytes, self.held_bytes + size)
        try:
            self._send.send_nowait(arrival)
        except trio.WouldBlock:
            raise InboxFullError(
                "inbox_batches", self._max_batches, self.held_batches + 1
            ) from None
        self.held_batches += 1
        self.held_bytes += size
        self._level.take_nowait(size)

    def take_nowait(self, max_batches: int) -> list[Arrival]:
        """Take out the oldest batches."""
        receive_nowait = self._receive.receive_nowait
        taken: list[Arrival] = []
        size = 0
        for _ in range(min(max_batches, self.held_batches)):
            arrival = receive_nowait()
            size += arrival.batch.held_bytes
            taken.append(arrival)
        self.held_batches -= len(taken)
        self.held_bytes -= size
        self._level.give(size)
        return taken
