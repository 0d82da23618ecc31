"""A session's inbox: what was accepted and not yet taken by the actor.

The batches wait in a Trio memory channel. Its bounds, in batches and in bytes (a batch may be a
thousand times larger than another), are knobs of the drop policy that operators turn while patients
exercise: the actor asks the policy before it puts a batch in. The actor does not wait on the
channel: it flushes once for many batches (see `pacer`), which saves a task switch a batch.
"""

from math import inf
from typing import NamedTuple

import trio

from penstock.engine.level import Level
from penstock.engine.sidecar import NO_META, BatchMeta
from penstock.engine.unsent import Unsent
from penstock.engine.wire import FrameBatch


class Arrival(NamedTuple):
    """A batch with what came beside it. `sidecar` is the client's JSON as it came, or None.

    `unsent` tells of frames that the client could not send before it.
    """

    batch: FrameBatch
    received_unix_ms: int
    sidecar: bytes | None = None
    meta: BatchMeta = NO_META
    unsent: tuple[Unsent, ...] = ()

    @property
    def frame_count(self) -> int:
        """Give the number of frames."""
        return self.batch.frame_count

    @property
    def member(self) -> bytes:
        """Give the gzip member as it came."""
        return self.batch.member


class Inbox:
    """First in, first out. Nothing here waits."""

    __slots__ = ("_bytes", "_receive", "_send", "_waiting", "held_batches", "held_bytes")

    def __init__(self, total_bytes: Level, waiting: Level) -> None:
        """Begin empty; the levels count the bytes and the batches of all inboxes together."""
        self._bytes = total_bytes
        self._waiting = waiting
        self._send, self._receive = trio.open_memory_channel[Arrival](inf)
        self.held_batches = 0
        self.held_bytes = 0

    def put_nowait(self, arrival: Arrival) -> None:
        """Take a batch in."""
        size = arrival.batch.held_bytes
        self._send.send_nowait(arrival)
        self.held_batches += 1
        self.held_bytes += size
        self._bytes.take_nowait(size)
        self._waiting.take_nowait(1)

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
        self._bytes.give(size)
        self._waiting.give(len(taken))
        return taken
