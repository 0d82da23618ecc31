"""Finals on their way: the replay to the blob store, the aggregates to Core.

Theory of operation
-------------------
::

    final and order in the ledger, one transaction  ->  replay stored and verified
    ->  aggregates published  ->  progress in the ledger  ->  the spool file may go

The order (the outbox's row) is there from the final's commit on, so that a crash anywhere leaves
something that says what is still to be done. Each step can be done twice without harm: the blob
store knows content that it has, Core knows revisions that it has, and the ledger's progress only
goes forward.

A final is brought on its way at once, by whoever committed it; what fails is tried again from the
ledger, in longer and longer steps, until it is done or `dead`. No revision is under way twice in
one process. One loop looks into the ledger for what is due: after a start that is everything that
an earlier process left. It takes more as soon as what it took has been delivered; as long as things
fail, it takes a handful a second.

Storing and publishing have room of their own each. A Core that hangs keeps no replay waiting: a
final that finds Core's room taken is published later, which is as good for its client. A replay
that finds too many waiting is stored later as well, and its client is told so.

The session of a provisional final may go on, and its file grow, before the replay is stored. Then
nothing is delivered: its next end has everything, and supersedes this delivery.

Whatever goes wrong with one delivery, also a fault of this software, is that delivery's.
"""

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import trio

from penstock.engine.blob_port import (
    BlobConflictError,
    BlobReason,
    BlobSourceError,
    BlobStore,
    BlobUnavailableError,
    replay_key,
)
from penstock.engine.core_port import Core, CoreUnavailableError
from penstock.engine.delivery_records import (
    Delivery,
    DueDeliveries,
    OutboxCounts,
    OutboxState,
    Progress,
    ProgressEntry,
    StoredReplay,
)
from penstock.engine.ledger_port import Ledger, LedgerUnavailableError
from penstock.engine.ports import Clock, Spool
from penstock.engine.receipts import Committed, Lane
from penstock.engine.records import FinalEntry
from penstock.engine.writer import Writer

logger = logging.getLogger(__name__)

_AT_ONCE = 16
# More than a disk stores in the time that a client waits. What is over is taken from the ledger.
_MOST_UNDER_WAY = 2048
_LOOK_SECONDS = 1.0
# Until what was put off, and did not fail, is looked at again.
_PUT_OFF_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 300.0
# Sessions that are withheld: whoever read of one before it was erased has come here long before so
# many others were.
_WITHHELD_KEPT = 100_000
# What is told of an error; the rest is in the log.
_LONGEST_ERROR = 300


@dataclass(slots=True, frozen=True)
class DeliveryLimits:
    """The bounds, by their settings' names."""

    outbox_max_attempts: int


@dataclass(slots=True, frozen=True)
class DeliveriesStatistics:
    """What is on its way and what was done. `outbox` is None until the ledger was looked into."""

    under_way: int
    replays_stored: int
    published: int
    failed_attempts: int
    died: int
    last_stored_unix: float | None
    last_published_unix: float | None
    outbox: OutboxState | None


@dataclass(slots=True, eq=False)
class Attempt:
    """One delivery that is under way. `stored` is set when the replay is, or will not be now.

    A replay counts as soon as the store has proved it, a publication once the ledger knows of it:
    whoever asks again must be told the same time.
    """

    progress: Progress
    published_unix_ms: int | None = None
    stored: trio.Event = field(default_factory=trio.Event)
    finished: trio.Event = field(default_factory=trio.Event)
    blob_reason: BlobReason | None = None


class _Setback(NamedTuple):
    """Why a delivery is not done now. What was only put off does not count as an attempt."""

    error: str
    counts: bool = True


_GOES_ON = _Setback("the session goes on; its next end has the whole replay", counts=False)
_NO_ROOM = _Setback("core: as many publications as may are under way", counts=False)


class Deliveries:
    """Everything between a committed final and the end of its way."""

    def __init__(
        self,
        writer: Writer,
        ledger: Ledger,
        blobs: BlobStore,
        core: Core,
        source: Spool,
        clock: Clock,
        limits: DeliveryLimits,
        *,
        run_blocking: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._writer = writer
        self._ledger = ledger
        self._blobs = blobs
        self._core = core
        self._source = source
        self._clock = clock
        self._limits = limits
        self._run_blocking = run_blocking
        self._jitter = jitter
        self._storing = trio.CapacityLimiter(_AT_ONCE)
        self._publishing = trio.CapacityLimiter(_AT_ONCE)
        self._eased = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._under_way: dict[tuple[str, int], Attempt] = {}
        self._withheld: dict[str, None] = {}
        self._replays_stored = self._published = self._failed = self._died = 0
        self._last_stored: float | None = None
        self._last_published: float | None = None
        self._outbox: OutboxState | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver until cancelled. What is under way then is tried again by the next process."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                while True:
                    more = await self._look()
                    self._eased = trio.Event()
                    with trio.move_on_after(_LOOK_SECONDS):
                        if more:
                            await self._eased.wait()
                        else:
                            await trio.sleep_forever()
            finally:
                self._nursery = None

    def under_way(self, session_id: str, revision: int) -> Attempt | None:
        """Give the attempt that is being made for a final now."""
        return self._under_way.get((session_id, revision))

    def begin_nowait(self, delivery: Delivery) -> Attempt:
        """Make an attempt now, unless one is under way for this final: then give that.

        Where there is no room it is finished before it was begun, and made later; at the end of the
        process by the next one. Where the session is withheld, nobody makes it.
        """
        key = (delivery.final.session_id, delivery.final.revision)
        attempt = self._under_way.get(key)
        if attempt is None:
            attempt = Attempt(delivery.progress)
            full = len(self._under_way) >= _MOST_UNDER_WAY
            if self._nursery is None or full or delivery.final.session_id in self._withheld:
                attempt.blob_reason = BlobReason.BUSY
                attempt.stored.set()
                attempt.finished.set()
                return attempt
            self._under_way[key] = attempt
            self._nursery.start_soon(self._deliver, delivery.final, attempt)
        return attempt

    async def withhold(self, session_id: str) -> None:
        """Deliver nothing of a session any more; return when nothing of it is under way."""
        self._withheld[session_id] = None
        if len(self._withheld) > _WITHHELD_KEPT:
            del self._withheld[next(iter(self._withheld))]
        for (other, _), attempt in list(self._under_way.items()):
            if other == session_id:
                await attempt.finished.wait()

    def statistics(self) -> DeliveriesStatistics:
        """Count what is on its way and what was done."""
        return DeliveriesStatistics(
            len(self._under_way),
            self._replays_stored,
            self._published,
            self._failed,
            self._died,
            self._last_stored,
            self._last_published,
            self._outbox,
        )

    async def _look(self) -> bool:
        """Begin what is due, as much as there is room for; say whether there was more."""
        room = _AT_ONCE - len(self._under_way)
        now = int(self._clock.unix() * 1000)
        try:
            self._outbox = await self._ledger.read(OutboxCounts())
            if room <= 0 or not self._outbox.pending:
                return room <= 0
            # Those under way are among them.
            limit = room + len(self._under_way)
            due = await self._ledger.read(DueDeliveries(now, limit))
        except LedgerUnavailableError as unavailable:
            if self._outbox is not None:  # once for each time that it breaks
                logger.warning("outbox.not_read", extra={"error": unavailable.detail})
            self._outbox = None
            return False
        for delivery in due:
            self.begin_nowait(delivery)
        return len(due) == limit

    async def _deliver(self, final: FinalEntry, attempt: Attempt) -> None:
        recorded = False
        try:
            try:
                setback = await self._attempt(final, attempt)
            except Exception as error:
                # Raised further it would end the process, and the next one, and the one after.
                logger.exception("delivery.failed", extra={"session_id": final.session_id})
                setback = _Setback(f"a fault of this software: {type(error).__name__}")
            attempt.stored.set()
            recorded = await self._record(final, attempt, setback)
        finally:
            del self._under_way[final.session_id, final.revision]
            attempt.stored.set()
            attempt.finished.set()
        if recorded and attempt.progress.done and len(self._under_way) <= _AT_ONCE // 2:
            self._eased.set()
        if recorded and attempt.progress.replay is not None and not final.body.get("provisional"):
            await self._remove_file(final.session_id)

    async def _attempt(self, final: FinalEntry, attempt: Attempt) -> _Setback | None:
        """Do what is left to be done; give what was in the way."""
        if not attempt.progress.stored:
            async with self._storing:
                setback = await self._store(final, attempt)
            if setback is not None:
                return setback
        attempt.stored.set()
        if attempt.progress.published_unix_ms is not None:
            return None
        return await self._publish(final, attempt)

    async def _store(self, final: FinalEntry, attempt: Attempt) -> _Setback | None:
        key = replay_key(final.org_id, final.session_id)
        if self._source.in_use(final.session_id):
            attempt.blob_reason = BlobReason.BUSY
            return _GOES_ON
        try:
            content = self._source.content(final.session_id)
            # A later revision has all frames of the earlier one.
            blob = await self._blobs.put(key, content, supersede=True)
        except BlobUnavailableError as error:
            attempt.blob_reason = error.reason
            return _Setback(f"{error.reason}: {error.detail}")
        except (BlobSourceError, BlobConflictError) as error:
            attempt.blob_reason = BlobReason.IO_ERROR
            # It may have begun to go on while it was read.
            return _GOES_ON if self._source.in_use(final.session_id) else _Setback(str(error))
        replay = StoredReplay(blob.url, blob.size, blob.sha256)
        attempt.progress = replace(attempt.progress, replay=replay)
        self._replays_stored += 1
        self._last_stored = self._clock.unix()
        return None

    async def _publish(self, final: FinalEntry, attempt: Attempt) -> _Setback | None:
        if not final.body:
            return _Setback("the ledger's row of this final cannot be read")
        try:
            self._publishing.acquire_nowait()
        except trio.WouldBlock:
            return _NO_ROOM
        try:
            await self._core.publish(aggregation_event(final))
        except CoreUnavailableError as error:
            return _Setback(f"core: {error.detail}")
        finally:
            self._publishing.release()
        now = self._clock.unix()
        attempt.published_unix_ms = int(now * 1000)
        self._published += 1
        self._last_published = now
        return None

    async def _record(self, final: FinalEntry, attempt: Attempt, setback: _Setback | None) -> bool:
        """Write down how far it has come; say whether that is on disk. If not, it is done again."""
        published = attempt.published_unix_ms or attempt.progress.published_unix_ms
        before = attempt.progress
        after = self._after(replace(before, published_unix_ms=published), setback)
        if setback is not None and setback.counts:
            self._failed += 1
            logger.warning(
                "delivery.delayed",
                extra={
                    "session_id": final.session_id,
                    "revision": final.revision,
                    "attempts": after.attempts,
                    "error": setback.error,
                },
            )
        entry = ProgressEntry(final.session_id, final.revision, after)
        answer = await self._writer.enter_nowait(entry, Lane.FINAL).wait()
        if not isinstance(answer, Committed):
            return False
        attempt.progress = after
        if after.dead and not before.dead:
            self._died += 1
            extra = {"session_id": final.session_id, "error": after.error}
            logger.error("delivery.dead", extra=extra)
        return True

    async def _remove_file(self, session_id: str) -> None:
        """Let go of a spool file whose blob is stored. Left over, it is removed later."""
        try:
            await self._run_blocking(self._source.remove, session_id)
        except OSError as error:
            logger.warning(
                "spool.file_not_removed", extra={"session_id": session_id, "error": str(error)}
            )

    def _after(self, progress: Progress, setback: _Setback | None) -> Progress:
        now = self._clock.unix()
        if setback is None:
            return replace(progress, error="", dead=False)
        if not setback.counts:
            due = int((now + _PUT_OFF_SECONDS) * 1000)
            return replace(progress, next_unix_ms=due, error=setback.error)
        attempts = progress.attempts + 1
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(attempts - 1, 20))
        # Between half of the pause and all of it: many that failed together come apart.
        due = int((now + pause * (0.5 + 0.5 * self._jitter())) * 1000)
        return replace(
            progress,
            attempts=attempts,
            next_unix_ms=due,
            error=setback.error[:_LONGEST_ERROR],
            dead=attempts >= self._limits.outbox_max_attempts,
        )


def aggregation_event(final: FinalEntry) -> dict[str, Any]:
    """Give what Core is told of a final."""
    body = final.body
    return {
        "session_id": final.session_id,
        "principal_id": final.principal_id,
        "org_id": final.org_id,
        "revision": final.revision,
        "status": final.status,
        "provisional": body.get("provisional", False),
        "exercise_id": body.get("exercise_id"),
        "started_unix_ms": body.get("started_unix_ms"),
        "ended_unix_ms": final.ended_unix_ms,
        "completeness": body.get("completeness"),
        "session_metrics": body.get("session_metrics", {}),
        "rep_metrics": body.get("rep_metrics", []),
        "media_metrics": body.get("media_metrics"),
    }
