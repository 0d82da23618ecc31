"""The spool's lane of the writer: frames on their way to their sessions' files.

Theory of operation
-------------------
Actors `submit_nowait` chunks and go on; one task takes whatever is waiting as one group, has a
thread append it, and then tells each submitter what became of its chunk. While the thread works,
the next group gathers: the slower the disk, the larger the groups. The queue is bounded; when it
is full the submitter keeps its frames, its inbox fills, and the client is told.

The frames of a session that is ending are *urgent*: they go before all others, so at most the group
that is being written stands before them, whatever else waits. They have a bound of their own, so
that a full queue never holds up an end. Sessions end once, so urgent chunks cannot keep the others
waiting for long, and nothing is reserved for those. A session's own chunks are never overtaken by
one another: an urgent chunk takes along what its session has waiting, and so does `hurry_nowait`.

A failure to append is an answer (the spool names the reason). Any other exception is the
infrastructure's failure: it escapes `run` and stops the process.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
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
class SpoolLaneStatistics:
    """The lane's queue and its work so far. The queued chunks include the urgent ones."""

    queued_chunks: int
    peak_queued_chunks: int
    in_append: int
    oldest_age_seconds: float
    groups: int
    chunks: int
    failed_chunks: int
    last_append_seconds: float
    urgent_chunks: int


class _Place:
    """A chunk's place in a queue; None when it has been moved to the other one.

    `earlier` is its session's place before it in the same queue, while there is one.
    """

    __slots__ = ("chunk", "earlier", "settled", "since", "urgent")

    def __init__(
        self,
        chunk: SpoolChunk | None,
        settled: Settled,
        since: float,
        earlier: "_Place | None",
        *,
        urgent: bool = False,
    ) -> None:
        self.chunk = chunk
        self.settled = settled
        self.since = since
        self.earlier = earlier
        self.urgent = urgent


class SpoolLane:
    """Two bounded queues and their one consumer; `group_settled` is called behind its answers."""

    def __init__(
        self,
        spool: Spool,
        clock: Clock,
        *,
        max_queued_chunks: int,
        group_settled: Callable[[], None],
        run_blocking: Callable[..., Awaitable[Any]],
    ) -> None:
        self._spool = spool
        self._clock = clock
        self._max_queued = max_queued_chunks
        self._group_settled = group_settled
        self._run_blocking = run_blocking
        self._urgent: deque[_Place] = deque()
        # A chunk that is hurried leaves an empty place behind: nothing is searched or shifted.
        self._ordinary: deque[_Place] = deque()
        self._empty_places = 0
        # The newest ordinary place of each session that has one.
        self._newest: dict[str, _Place] = {}
        self._work = trio.Event()
        self._empty = trio.Event()
        self._empty.set()
        self._in_append: Sequence[_Place] = ()
        self._peak = 0
        self._groups = 0
        self._chunks = 0
        self._failed = 0
        self._last_append = 0.0

    @property
    def full(self) -> bool:
        """Say whether a submission that is not urgent would be turned away."""
        return len(self._ordinary) - self._empty_places >= self._max_queued

    @property
    def urgent_full(self) -> bool:
        """Say whether an urgent submission would be turned away."""
        return len(self._urgent) >= self._max_queued

    def submit_nowait(self, chunk: SpoolChunk, settled: Settled, *, urgent: bool = False) -> None:
        """Queue a chunk. `settled` is called once, in the Trio thread, and must not fail."""
        session_id = chunk.before.identity.session_id
        if urgent:
            if self.urgent_full:
                raise WriterFullError
            self.hurry_nowait(session_id)
            self._urgent.append(_Place(chunk, settled, self._clock.monotonic(), None, urgent=True))
        else:
            # Without a call that can be spared: this happens for every batch.
            ordinary, newest = self._ordinary, self._newest
            if len(ordinary) - self._empty_places >= self._max_queued:
                raise WriterFullError
            place = _Place(chunk, settled, self._clock.monotonic(), newest.get(session_id))
            newest[session_id] = place
            ordinary.append(place)
        if not self._work.is_set():
            self._work.set()
            self._empty = trio.Event()

    def hurry_nowait(self, session_id: str) -> None:
        """Make urgent what the session has waiting, whatever the bound: it has been taken."""
        place = self._newest.pop(session_id, None)
        hurried = []
        while place is not None:
            hurried.append(_Place(place.chunk, place.settled, place.since, None, urgent=True))
            place.chunk = None
            place = place.earlier
        self._empty_places += len(hurried)
        self._urgent.extend(reversed(hurried))

    async def wait_empty(self) -> None:
        """Wait until everything submitted so far has been settled."""
        await self._empty.wait()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled. A group in the thread is finished and settled first."""
        task_status.started()
        while True:
            await self._work.wait()
            while self._queued:
                await self._append_group()
            # No await between the last look at the queues and these two.
            self._work = trio.Event()
            self._empty.set()

    def statistics(self) -> SpoolLaneStatistics:
        """Give the queues' depth and age, and the totals."""
        self._note_peak()
        now = self._clock.monotonic()
        kept = (place for place in self._ordinary if place.chunk is not None)
        heads = (self._in_append[:1], islice(self._urgent, 1), islice(kept, 1))
        oldest = min((place.since for place in chain(*heads)), default=now)
        return SpoolLaneStatistics(
            self._queued,
            self._peak,
            len(self._in_append),
            now - oldest,
            self._groups,
            self._chunks,
            self._failed,
            self._last_append,
            len(self._urgent),
        )

    def reset_peak(self) -> None:
        """Begin a new high-water mark."""
        self._peak = self._queued

    @property
    def _queued(self) -> int:
        return len(self._ordinary) - self._empty_places + len(self._urgent)

    def _note_peak(self) -> None:
        # The queues only grow between two groups, so it is enough to look when one is taken.
        self._peak = max(self._peak, self._queued)

    def _take_group(self) -> list[_Place]:
        self._note_peak()
        urgent, ordinary, newest = self._urgent, self._ordinary, self._newest
        group = [urgent.popleft() for _ in range(min(MAX_GROUP, len(urgent)))]
        while ordinary and len(group) < MAX_GROUP:
            place = ordinary.popleft()
            chunk = place.chunk
            if chunk is None:
                self._empty_places -= 1
                continue
            # First in, first out: this is its session's oldest, and the one behind it must not
            # hold it, or a session that always has one waiting would hold them all.
            session_id = chunk.before.identity.session_id
            last = newest[session_id]
            if last is place:
                del newest[session_id]
            else:
                while last.earlier is not None and last.earlier is not place:
                    last = last.earlier
                last.earlier = None
            group.append(place)
        return group

    def _put_back(self, group: list[_Place]) -> None:
        for place in reversed(group):
            (self._urgent if place.urgent else self._ordinary).appendleft(place)
        self._newest.clear()
        for place in self._ordinary:
            if place.chunk is not None:
                session_id = place.chunk.before.identity.session_id
                place.earlier = self._newest.get(session_id)
                self._newest[session_id] = place

    async def _append_group(self) -> None:
        group = self._take_group()
        self._in_append = group
        started = self._clock.monotonic()
        try:
            # Not abandoned on cancellation: what the thread wrote must be settled as written.
            results = await self._run_blocking(self._spool.append, [place.chunk for place in group])
        except BaseException:
            self._put_back(group)
            self._in_append = ()
            raise
        self._in_append = ()
        self._last_append = self._clock.monotonic() - started
        self._groups += 1
        self._chunks += len(group)
        for place, reason in zip(group, results, strict=True):
            self._failed += reason is not None
            place.settled(reason)
        self._group_settled()
