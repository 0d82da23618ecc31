"""The writer: the one place from which anything is written that outlives a session.

Theory of operation
-------------------
Actors `submit_nowait` chunks and go on; one task takes whatever is waiting as one group, has a
thread append it, and then tells each submitter what became of its chunk. While the thread works,
the next group gathers: the slower the disk, the larger the groups. The queue is bounded; when it
is full the submitter keeps its frames, its inbox fills, and the client is told.

Frames come last in the writer's order of priority. They are all that there is to write as long as
no results are, so one queue is the whole of it.

A failure to append is an answer (the spool names the reason). Any other exception is the
infrastructure's failure: it escapes `run` and stops the process.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from penstock.engine.outcomes import Reason
from penstock.engine.ports import Clock, Spool, SpoolChunk

# A group holds up the submitters' answers for as long as its append takes; 512 appends of one
# batch are about 5 ms.
MAX_GROUP = 512

Settled = Callable[[Reason | None], None]


class WriterFullError(Exception):
    """The writer's queue is at its bound, `spool_queue_chunks`."""


@dataclass(slots=True, frozen=True)
class WriterStatistics:
    """The writer's queue and its work so far."""

    queued_chunks: int
    peak_queued_chunks: int
    in_append: int
    oldest_age_seconds: float
    groups: int
    chunks: int
    failed_chunks: int
    last_append_seconds: float


class Writer:
    """A bounded queue and its one consumer; `group_settled` is called behind a group's answers."""

    def __init__(
        self,
        spool: Spool,
        clock: Clock,
        *,
        max_queued_chunks: int,
        group_settled: Callable[[], None] = lambda: None,
        run_blocking: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync,
    ) -> None:
        self._spool = spool
        self._clock = clock
        self._max_queued = max_queued_chunks
        self._group_settled = group_settled
        self._run_blocking = run_blocking
        self._queue: deque[tuple[SpoolChunk, Settled, float]] = deque()
        self._work = trio.Event()
        self._empty = trio.Event()
        self._empty.set()
        self._in_append: Sequence[tuple[SpoolChunk, Settled, float]] = ()
        self._peak = 0
        self._groups = 0
        self._chunks = 0
        self._failed = 0
        self._last_append = 0.0

    @property
    def full(self) -> bool:
        """Say whether a submission would be turned away."""
        return len(self._queue) >= self._max_queued

    def submit_nowait(self, chunk: SpoolChunk, settled: Settled) -> None:
        """Queue a chunk. `settled` is called once, in the Trio thread, and must not fail.

        It gets None when the chunk is in the session's file, else the reason why it is not.
        """
        if self.full:
            raise WriterFullError
        self._queue.append((chunk, settled, self._clock.monotonic()))
        self._peak = max(self._peak, len(self._queue))
        if not self._work.is_set():
            self._work.set()
            self._empty = trio.Event()

    async def wait_empty(self) -> None:
        """Wait until everything submitted so far has been settled."""
        await self._empty.wait()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled. A group in the thread is finished and settled first."""
        task_status.started()
        while True:
            await self._work.wait()
            while self._queue:
                await self._append_group()
            # No await between the last look at the queue and these two.
            self._work = trio.Event()
            self._empty.set()

    def statistics(self) -> WriterStatistics:
        """Give the queue's depth and age, and the totals."""
        waiting = self._in_append or self._queue
        oldest = self._clock.monotonic() - waiting[0][2] if waiting else 0.0
        return WriterStatistics(
            len(self._queue),
            self._peak,
            len(self._in_append),
            oldest,
            self._groups,
            self._chunks,
            self._failed,
            self._last_append,
        )

    def reset_peak(self) -> None:
        """Begin a new high-water mark."""
        self._peak = len(self._queue)

    async def _append_group(self) -> None:
        queue = self._queue
        group = [queue.popleft() for _ in range(min(MAX_GROUP, len(queue)))]
        self._in_append = group
        started = self._clock.monotonic()
        try:
            # Not abandoned on cancellation: what the thread wrote must be settled as written.
            results = await self._run_blocking(self._spool.append, [entry[0] for entry in group])
        except BaseException:
            queue.extendleft(reversed(group))
            self._in_append = ()
            raise
        self._in_append = ()
        self._last_append = self._clock.monotonic() - started
        self._groups += 1
        self._chunks += len(group)
        for (_, settled, _), reason in zip(group, results, strict=True):
            self._failed += reason is not None
            settled(reason)
        self._group_settled()
