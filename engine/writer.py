"""The writer: the one place from which anything is written that outlives a session.

Two consumers that never wait for each other: `spool_lane` brings frames to their files, and
`ledger_lanes` brings results to the ledger. Results come first by that alone: however slow the
spool's disk or long its queue, the ledger's lanes have a thread of their own (the ledger's), queues
of their own and a task of their own.

When the writer is cancelled, the spool finishes the group that it has begun, and the ledger commits
everything that still waits.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio

from penstock.engine.ledger_lanes import LedgerLanes, LedgerLanesStatistics
from penstock.engine.ledger_port import Entry, Ledger
from penstock.engine.ports import Clock, Spool, SpoolChunk
from penstock.engine.receipts import Lane, Receipt
from penstock.engine.spool_lane import MAX_GROUP, Settled, SpoolLane, WriterFullError

__all__ = ["MAX_GROUP", "Settled", "Writer", "WriterFullError", "WriterStatistics"]


@dataclass(slots=True, frozen=True)
class WriterStatistics:
    """The spool's queue and work so far, and the ledger's where the writer has one."""

    queued_chunks: int
    peak_queued_chunks: int
    in_append: int
    oldest_age_seconds: float
    groups: int
    chunks: int
    failed_chunks: int
    last_append_seconds: float
    urgent_chunks: int = 0
    ledger: LedgerLanesStatistics | None = None


class Writer:
    """The lanes of the spool and of the ledger, behind one door."""

    def __init__(
        self,
        spool: Spool,
        clock: Clock,
        *,
        max_queued_chunks: int,
        group_settled: Callable[[], None] = lambda: None,
        run_blocking: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync,
        ledger: Ledger | None = None,
        max_queued_entries: int = 1024,
        ledger_wait_seconds: float = 5.0,
    ) -> None:
        self._spool_lane = SpoolLane(
            spool,
            clock,
            max_queued_chunks=max_queued_chunks,
            group_settled=group_settled,
            run_blocking=run_blocking,
        )
        self._ledger_lanes = None
        if ledger is not None:
            self._ledger_lanes = LedgerLanes(
                ledger,
                clock,
                max_queued_entries=max_queued_entries,
                wait_seconds=ledger_wait_seconds,
            )

    @property
    def full(self) -> bool:
        """Say whether a chunk that is not urgent would be turned away."""
        return self._spool_lane.full

    @property
    def urgent_full(self) -> bool:
        """Say whether an urgent chunk would be turned away."""
        return self._spool_lane.urgent_full

    def submit_nowait(self, chunk: SpoolChunk, settled: Settled, *, urgent: bool = False) -> None:
        """Queue a chunk. `settled` is called once, in the Trio thread, and must not fail.

        It gets None when the chunk is in the session's file, else the reason why it is not. An
        urgent chunk goes before all that are not, and takes along what its session has waiting.
        """
        self._spool_lane.submit_nowait(chunk, settled, urgent=urgent)

    def hurry_nowait(self, session_id: str) -> None:
        """Make the chunks that a session has waiting urgent."""
        self._spool_lane.hurry_nowait(session_id)

    def enter_nowait(self, entry: Entry, lane: Lane) -> Receipt:
        """Queue an entry for the ledger. The receipt tells what became of it, also if at once."""
        if self._ledger_lanes is None:
            raise RuntimeError("this writer has no ledger")
        return self._ledger_lanes.enter_nowait(entry, lane)

    async def wait_empty(self) -> None:
        """Wait until everything submitted so far has been settled, in every lane."""
        if self._ledger_lanes is not None:
            await self._ledger_lanes.wait_empty()
        await self._spool_lane.wait_empty()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._spool_lane.run)
            if self._ledger_lanes is not None:
                await nursery.start(self._ledger_lanes.run)
            task_status.started()

    def statistics(self) -> WriterStatistics:
        """Give the queues' depth and age, and the totals."""
        spool = self._spool_lane.statistics()
        ledger = None if self._ledger_lanes is None else self._ledger_lanes.statistics()
        return WriterStatistics(
            queued_chunks=spool.queued_chunks,
            peak_queued_chunks=spool.peak_queued_chunks,
            in_append=spool.in_append,
            oldest_age_seconds=spool.oldest_age_seconds,
            groups=spool.groups,
            chunks=spool.chunks,
            failed_chunks=spool.failed_chunks,
            last_append_seconds=spool.last_append_seconds,
            urgent_chunks=spool.urgent_chunks,
            ledger=ledger,
        )

    def reset_peak(self) -> None:
        """Begin new high-water marks."""
        self._spool_lane.reset_peak()
        if self._ledger_lanes is not None:
            self._ledger_lanes.reset_peak()
