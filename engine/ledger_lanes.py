"""The ledger's lanes of the writer: results on their way to where they cannot be lost.

Theory of operation
-------------------
Two lanes, each a bounded queue of its own: *finals* (a session's end) and *durable* (all else). One
task takes what waits as one group, has the ledger commit it, and tells each submitter through its
receipt. While a commit is under way the next group gathers: a slow disk makes larger groups, not
more commits. Where the last group had several entries and fewer wait now, the next one is given a
moment more to gather: its submitters have only just been answered.

Finals come first, but for one thing: durable entries that have waited for AGEING_SECONDS have the
right to AGED_SHARE of the next group, so that no number of finals can keep them waiting for ever.
What finals leave of a group is for durable entries anyway.

====================  ==========================================================================
what happens          what the submitter is told
====================  ==========================================================================
committed             Committed, once it is on disk
a lane is full        Refused(QUEUE_FULL), at once
the entry is wrong    Refused(CONFLICT or UNFIT), for good; its group's others are not concerned
the ledger is broken  nothing yet: the group waits in its old places and is tried again, in longer
                      and longer steps. Past the wait budget Refused(what was broken)
the ledger is slow    past the wait budget Refused(OVERDUE), for what has not been begun; what has
                      been begun is told when it is known
the service stops     one more attempt for everything that waits; what fails is Refused(DRAINING)
====================  ==========================================================================

So an entry is refused only when it is certain, or nobody can know better, that it was not stored.
Whether anybody waits for the receipt makes no difference to the entry.

While the ledger is known to be broken and nothing waits, it is probed: a service that tells its
load balancer to send nothing would never find out otherwise. Any other exception is a mistake of
this software: it escapes `run` and stops the process.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile

import trio

from penstock.engine.lane_queue import LaneQueue, LaneStatistics, Waiting, divide
from penstock.engine.ledger_port import (
    Entry,
    EntryOutcome,
    Ledger,
    LedgerReason,
    LedgerUnavailableError,
)
from penstock.engine.ports import Clock
from penstock.engine.receipts import Lane, Receipt, Refused, answer_of

AGEING_SECONDS = 1.0

# Where several wait for each commit, the first to come again would otherwise have a commit alone,
# and all others wait for two. A wait of this part of a commit is little beside that.
_GATHER_SHARE = 0.125
_LONGEST_GATHER_SECONDS = 0.002

_SHORTEST_PAUSE_SECONDS = 0.001
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_PROBE_SECONDS = 1.0
# What is refused is told to come back: soon where a queue was full, which drains by hundreds in one
# commit; later where something is broken that takes a person or a job to mend.
_FULL_RETRY_SECONDS = 1.0
_BROKEN_RETRY_SECONDS = 5.0


@dataclass(slots=True, frozen=True)
class LedgerLanesStatistics:
    """Both lanes and their consumer. `unavailable` says why the ledger cannot be used, if so."""

    finals: LaneStatistics
    durable: LaneStatistics
    in_commit: int
    groups: int
    entries: int
    failures: int
    last_commit_seconds: float
    last_success_unix: float | None
    unavailable: LedgerReason | None
    unavailable_detail: str


class LedgerLanes:
    """Two bounded queues and their one consumer."""

    def __init__(
        self, ledger: Ledger, clock: Clock, *, max_queued_entries: int, wait_seconds: float
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._queues = {lane: LaneQueue(max_queued_entries) for lane in Lane}
        self._work = trio.Event()
        self._empty = trio.Event()
        self._empty.set()
        self._stopped = False
        self._pause = 0.0
        self._unavailable: LedgerUnavailableError | None = None
        self._groups = 0
        self._entries = 0
        self._failures = 0
        self._last_commit = 0.0
        self._last_group = 0
        self._last_success: float | None = None

    def enter_nowait(self, entry: Entry, lane: Lane) -> Receipt:
        """Queue an entry. A lane that is full answers at once, in the receipt."""
        queue = self._queues[lane]
        if self._stopped:
            return queue.turn_away(_DRAINING)
        if queue.count >= queue.limit:
            full = Refused(
                LedgerReason.QUEUE_FULL,
                f"{queue.count} {lane.value} entries wait for the ledger",
                retry_after=_FULL_RETRY_SECONDS,
                setting="writer_queue_entries",
                limit=queue.limit,
                seen=queue.count,
            )
            return queue.turn_away(full)
        receipt = Receipt()
        queue.put(Waiting(entry, lane, receipt, self._clock.monotonic()))
        self._work.set()
        if self._empty.is_set():
            self._empty = trio.Event()
        return receipt

    async def wait_empty(self) -> None:
        """Wait until everything submitted so far has its answer."""
        await self._empty.wait()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit until cancelled, and then once more what waits."""
        self._stopped = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._refuse_in_time)
            nursery.start_soon(self._consume)
            task_status.started()

    def statistics(self) -> LedgerLanesStatistics:
        """Give the lanes' depth and age, and the totals."""
        now = self._clock.monotonic()
        broken = self._unavailable
        return LedgerLanesStatistics(
            self._queues[Lane.FINAL].statistics(now),
            self._queues[Lane.DURABLE].statistics(now),
            sum(len(queue.taken) for queue in self._queues.values()),
            self._groups,
            self._entries,
            self._failures,
            self._last_commit,
            self._last_success,
            broken.reason if broken else None,
            broken.detail if broken else "",
        )

    def reset_peak(self) -> None:
        """Begin new high-water marks."""
        for queue in self._queues.values():
            queue.peak = queue.count

    # The consumer.

    async def _consume(self) -> None:
        try:
            while True:
                await self._wait_for_work()
                while self._waiting:
                    await self._gather()
                    if not await self._commit_group():
                        await trio.sleep(self._pause)
        except trio.Cancelled:
            self._stopped = True
            await self._commit_last()
            raise

    async def _gather(self) -> None:
        """Let those come along who were told of the last group and send their next at once."""
        if 1 < self._last_group > self._waiting:
            await trio.sleep(min(_GATHER_SHARE * self._last_commit, _LONGEST_GATHER_SECONDS))

    async def _wait_for_work(self) -> None:
        while not self._waiting:
            self._work = trio.Event()
            with trio.move_on_after(math.inf if self._unavailable is None else _PROBE_SECONDS):
                await self._work.wait()
                return
            await self._attempt(())

    @property
    def _waiting(self) -> int:
        return sum(len(queue.waiting) for queue in self._queues.values())

    async def _commit_group(self) -> bool:
        """Commit the next group; say whether the ledger could be used."""
        self._refuse_overdue()
        finals, durable = self._queues[Lane.FINAL], self._queues[Lane.DURABLE]
        old = self._clock.monotonic() - AGEING_SECONDS
        aged = sum(1 for _ in takewhile(lambda waiting: waiting.since <= old, durable.waiting))
        first, second = divide(len(finals.waiting), len(durable.waiting), aged)
        finals.take(first)
        durable.take(second)
        group = finals.taken + durable.taken
        if not group:
            return True
        try:
            outcomes = await self._attempt([waiting.entry for waiting in group])
        except BaseException:
            self._return_group()
            raise
        if outcomes is None:
            self._return_group()
            self._refuse_overdue()
            return False
        self._groups += 1
        self._entries += len(group)
        self._last_group = len(group)
        finals.taken, durable.taken = [], []
        for waiting, outcome in zip(group, outcomes, strict=True):
            self._queues[waiting.lane].settle(waiting, answer_of(outcome))
        self._note_empty()
        return True

    async def _attempt(self, entries: Iterable[Entry]) -> list[EntryOutcome] | None:
        """Commit entries, or probe when there are none; None when the ledger is unavailable."""
        group = list(entries)
        outcomes: list[EntryOutcome] = []
        await trio.lowlevel.checkpoint_if_cancelled()
        started = self._clock.monotonic()
        try:
            # From here on the outcome matters to the submitters, whoever is cancelled.
            with trio.CancelScope(shield=True):
                if group:
                    outcomes = await self._ledger.commit(group)
                else:
                    await self._ledger.probe()
        except LedgerUnavailableError as unavailable:
            self._failures += 1
            self._unavailable = unavailable
            self._pause = min(_LONGEST_PAUSE_SECONDS, max(_FIRST_PAUSE_SECONDS, 2 * self._pause))
            return None
        self._last_commit = self._clock.monotonic() - started
        self._last_success = self._clock.unix()
        self._unavailable = None
        self._pause = 0.0
        return outcomes

    async def _commit_last(self) -> None:
        """Commit what waits, while that works; refuse the rest."""
        with trio.CancelScope(shield=True):
            while self._waiting and await self._commit_group():
                pass
        for queue in self._queues.values():
            while queue.waiting:
                queue.settle(queue.waiting.popleft(), _DRAINING)
        self._note_empty()

    def _return_group(self) -> None:
        for queue in self._queues.values():
            queue.put_back()

    # Refusals.

    async def _refuse_in_time(self) -> None:
        """Refuse what has waited for too long, also while a commit is under way."""
        while True:
            self._refuse_overdue()
            now = self._clock.monotonic()
            heads = (head for q in self._queues.values() for head in (q.taken, q.waiting) if head)
            # What is overdue all the same is in the ledger's hands. Nothing that comes meanwhile
            # can be due before a whole budget has passed.
            dues = (due for head in heads if (due := head[0].since + self._wait_seconds) > now)
            pause = min(dues, default=now + self._wait_seconds) - now
            await trio.sleep(max(pause, _SHORTEST_PAUSE_SECONDS))

    def _refuse_overdue(self) -> None:
        now = self._clock.monotonic()
        for queue in self._queues.values():
            while queue.waiting and queue.waiting[0].since + self._wait_seconds <= now:
                queue.settle(queue.waiting.popleft(), self._overdue())
        self._note_empty()

    def _overdue(self) -> Refused:
        broken = self._unavailable
        if broken is None:
            reason, detail = LedgerReason.OVERDUE, "the ledger has more to write than it can"
        else:
            reason, detail = broken.reason, broken.detail
        return Refused(
            reason, detail, _BROKEN_RETRY_SECONDS, "ledger_wait_seconds", self._wait_seconds
        )

    def _note_empty(self) -> None:
        if not any(queue.count for queue in self._queues.values()):
            self._empty.set()


_DRAINING = Refused(
    LedgerReason.DRAINING, "the service is shutting down", retry_after=_BROKEN_RETRY_SECONDS
)
