# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
"""The ledger's lanes over a ledger in memory that fails and dawdles as told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from penstock.engine.lane_queue import AGED_SHARE, MAX_GROUP_ENTRIES, divide
from penstock.engine.ledger_lanes import AGEING_SECONDS, LedgerLanes
from penstock.engine.ledger_port import (
    Entry,
    EntryOutcome,
    LedgerReason,
    LedgerUnavailableError,
    Verdict,
)
from penstock.engine.receipts import Committed, Lane, Receipt, Refused
from penstock.engine.records import AuditEntry

WAIT_SECONDS = 5.0
AGED_ENTRIES = int(MAX_GROUP_ENTRIES * AGED_SHARE)


@dataclass(eq=False)
class FakeLedger:
    """The part of the port `Ledger` that writes."""

    commit_seconds: float = 0.0
    broken: LedgerReason | None = None
    failure: Exception | None = None
    outcomes: dict[str, EntryOutcome] = field(default_factory=dict)
    groups: list[list[str]] = field(default_factory=list)
    attempts: list[float] = field(default_factory=list)
    probes: int = 0
    interrupted: int = 0

    @property
    def stored(self) -> list[str]:
        return [name for group in self.groups for name in group if name not in self.outcomes]

    async def commit(self, group: Sequence[Entry]) -> list[EntryOutcome]:
        assert group
        names = [name_of(entry) for entry in group]
        await self._work()
        self.groups.append(names)
        return [self.outcomes.get(name, EntryOutcome(Verdict.STORED)) for name in names]

    async def probe(self) -> None:
        self.probes += 1
        await self._work()

    async def _work(self) -> None:
        self.attempts.append(trio.current_time())
        # Cancellable: whoever must know the outcome has to see to it.
        try:
            await trio.sleep(self.commit_seconds)
        except trio.Cancelled:
            self.interrupted += 1
            raise
        if self.failure is not None:
            raise self.failure
        if self.broken is not None:
            raise LedgerUnavailableError(self.broken, "as told")


def name_of(entry: Entry) -> str:
    assert isinstance(entry, AuditEntry)
    return entry.entry_id


class Desk:
    """The lanes with what was entered."""

    def __init__(self, ledger: Any, clock: Any, limit: int = 2000) -> None:
        self.ledger = ledger
        self.lanes = LedgerLanes(ledger, clock, max_queued_entries=limit, wait_seconds=WAIT_SECONDS)
        self.receipts: dict[str, Receipt] = {}

    def enter(self, lane: Lane, *names: str) -> None:
        for name in names:
            entry = AuditEntry(0, "actor", "act", "subject", {}, name)
            self.receipts[name] = self.lanes.enter_nowait(entry, lane)

    def final(self, *names: str) -> None:
        self.enter(Lane.FINAL, *names)

    def durable(self, *names: str) -> None:
        self.enter(Lane.DURABLE, *names)

    def answer(self, name: str) -> Any:
        return self.receipts[name].answer

    def reason(self, name: str) -> LedgerReason | None:
        answer = self.answer(name)
        return answer.reason if isinstance(answer, Refused) else None


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger(commit_seconds=0.5)


@pytest.fixture
def desk(ledger: FakeLedger, trio_clock: Any) -> Desk:
    return Desk(ledger, trio_clock)


def numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{n}" for n in range(count)]


async def test_what_waits_is_one_transaction(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """While a commit is under way the next group gathers, and goes into one transaction."""
    nursery.start_soon(desk.lanes.run)
    desk.final("a")
    await trio.sleep(0.1)
    desk.final(*numbered("f", 20))
    desk.durable(*numbered("d", 20))
    await desk.lanes.wait_empty()
    assert desk.ledger.groups == [["a"], [*numbered("f", 20), *numbered("d", 20)]]
    assert {receipt.answer for receipt in desk.receipts.values()} == {Committed()}


async def test_finals_go_first_in_the_order_of_their_coming(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Finals overtake what is only durable, never one another; a group is bounded."""
    desk.durable(*numbered("d", MAX_GROUP_ENTRIES))
    desk.final(*numbered("f", MAX_GROUP_ENTRIES + 1))
    nursery.start_soon(desk.lanes.run)
    await desk.lanes.wait_empty()
    assert desk.ledger.stored == [
        *numbered("f", MAX_GROUP_ENTRIES + 1),
        *numbered("d", MAX_GROUP_ENTRIES),
    ]
    assert [len(group) for group in desk.ledger.groups] == [
        MAX_GROUP_ENTRIES,
        MAX_GROUP_ENTRIES,
        1,
    ]


async def test_an_aged_entry_is_in_the_next_group_although_finals_could_fill_it(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """No number of finals keeps a durable entry waiting for more than its age and one commit."""
    desk.ledger.commit_seconds = 0.1
    more = (f"f{n}" for n in range(100_000))

    async def flood() -> None:
        while True:
            while desk.lanes.statistics().finals.queued < 2 * MAX_GROUP_ENTRIES:
                desk.final(next(more))
            await trio.sleep(0.01)

    nursery.start_soon(flood)
    await trio.sleep(0.005)
    nursery.start_soon(desk.lanes.run)
    desk.durable("d")
    entered = trio.current_time()
    assert await desk.receipts["d"].wait() == Committed()
    assert AGEING_SECONDS <= trio.current_time() - entered <= AGEING_SECONDS + 0.25
    (group,) = [group for group in desk.ledger.groups if "d" in group]
    assert len(group) == MAX_GROUP_ENTRIES


@given(finals=st.integers(0, 1000), durable=st.integers(0, 1000), aged=st.integers(0, 1000))
def test_a_group_is_divided_by_the_rule(finals: int, durable: int, aged: int) -> None:
    """A group is as full as it can be; finals yield only what aged entries have a right to."""
    aged = min(aged, durable)
    first, second = divide(finals, durable, aged)
    assert first <= finals
    assert second <= durable
    assert first + second == min(MAX_GROUP_ENTRIES, finals + durable)
    assert second >= min(aged, AGED_ENTRIES)
    assert first >= min(finals, MAX_GROUP_ENTRIES - min(aged, AGED_ENTRIES))


async def test_each_lane_has_a_bound_of_its_own(
    ledger: FakeLedger, trio_clock: Any, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A full lane refuses at once and says what was hit; the other one still takes entries."""
    desk = Desk(ledger, trio_clock, limit=2)
    desk.durable("1", "2", "3")
    refused = desk.answer("3")
    assert isinstance(refused, Refused)
    assert refused.reason is LedgerReason.QUEUE_FULL
    assert (refused.setting, refused.limit, refused.seen) == ("writer_queue_entries", 2, 2)
    assert refused.retry_after is not None
    desk.final("4", "5", "6")
    assert desk.reason("6") is LedgerReason.QUEUE_FULL
    nursery.start_soon(desk.lanes.run)
    await trio.sleep(0.1)
    # What is in the ledger's hands has its place still: it may come back.
    desk.durable("7")
    assert desk.reason("7") is LedgerReason.QUEUE_FULL
    await desk.lanes.wait_empty()
    desk.durable("8")
    await desk.lanes.wait_empty()
    assert desk.ledger.stored == ["4", "5", "1", "2", "8"]
    assert desk.lanes.statistics().durable.refused == {LedgerReason.QUEUE_FULL: 2}


async def test_a_wrong_entry_is_told_so_and_the_others_are_stored(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Each entry of a group has its own outcome; what is refused for good names no time."""
    desk.ledger.outcomes = {
        "again": EntryOutcome(Verdict.REPEATED),
        "other": EntryOutcome(Verdict.CONFLICT, "why"),
        "bad": EntryOutcome(Verdict.UNFIT, "how"),
    }
    nursery.start_soon(desk.lanes.run)
    desk.final("a", "again", "other", "bad", "b")
    await desk.lanes.wait_empty()
    assert desk.answer("a") == desk.answer("b") == Committed()
    assert desk.answer("again") == Committed(repeated=True)
    assert desk.answer("other") == Refused(LedgerReason.CONFLICT, "why")
    assert desk.answer("bad") == Refused(LedgerReason.UNFIT, "how")
    finals = desk.lanes.statistics().finals
    assert finals.committed == 3
    assert finals.refused == {LedgerReason.CONFLICT: 1, LedgerReason.UNFIT: 1}


async def test_a_broken_ledger_s_group_is_tried_again_until_it_is_stored(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """What is mended within the wait budget is not noticed by anybody; order is kept."""
    desk.ledger.commit_seconds = 0.0
    desk.ledger.broken = LedgerReason.DISK_FULL
    nursery.start_soon(desk.lanes.run)
    desk.final("a", "b")
    await trio.sleep(2)
    assert desk.answer("a") is None
    assert desk.lanes.statistics().unavailable is LedgerReason.DISK_FULL
    pauses = [b - a for a, b in zip(desk.ledger.attempts, desk.ledger.attempts[1:], strict=False)]
    assert pauses == sorted(pauses)
    assert len(set(pauses)) > 2
    desk.final("c")
    desk.ledger.broken = None
    await desk.lanes.wait_empty()
    assert desk.ledger.stored == ["a", "b", "c"]
    statistics = desk.lanes.statistics()
    assert statistics.unavailable is None
    assert statistics.failures == len(pauses) + 1


async def test_past_its_wait_budget_an_entry_is_refused_with_what_is_broken(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Each entry is told so when its own time is over, is never written afterwards."""
    desk.ledger.commit_seconds = 0.0
    desk.ledger.broken = LedgerReason.LOCKED
    nursery.start_soon(desk.lanes.run)
    desk.final("a")
    await trio.sleep(2)
    desk.durable("b")
    refused = await desk.receipts["a"].wait()
    assert trio.current_time() == pytest.approx(WAIT_SECONDS, abs=0.01)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.detail) == (LedgerReason.LOCKED, "as told")
    assert refused.retry_after is not None
    desk.ledger.broken = None
    assert await desk.receipts["b"].wait() == Committed()
    await trio.sleep(10)
    assert desk.ledger.stored == ["b"]


async def test_a_slow_ledger_refuses_in_time_what_it_has_not_begun(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Who waits behind an endless commit is refused in time; who is in it is told when it ends."""
    desk.ledger.commit_seconds = 60
    nursery.start_soon(desk.lanes.run)
    desk.final("in")
    await trio.sleep(1)
    desk.final("behind")
    await desk.receipts["behind"].wait()
    assert trio.current_time() == pytest.approx(1 + WAIT_SECONDS, abs=0.01)
    assert desk.reason("behind") is LedgerReason.OVERDUE
    assert await desk.receipts["in"].wait() == Committed()
    assert desk.ledger.stored == ["in"]


async def test_an_overdue_group_that_comes_back_is_refused_at_once(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """When a commit fails after its entries' time, nothing waits for another attempt."""
    desk.ledger.commit_seconds = 7
    desk.ledger.broken = LedgerReason.IO_ERROR
    nursery.start_soon(desk.lanes.run)
    desk.final("a")
    await desk.receipts["a"].wait()
    assert trio.current_time() == pytest.approx(7)
    assert desk.reason("a") is LedgerReason.IO_ERROR


# Trio starts the lanes' tasks in an order of its own.
@pytest.mark.parametrize("again", range(10))
async def test_what_is_overdue_before_it_begins_is_never_tried(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery, again: int
) -> None:
    """An entry whose time is over is refused without a word to the ledger."""
    desk.final("a")
    await trio.sleep(WAIT_SECONDS + 1)
    nursery.start_soon(desk.lanes.run)
    await desk.lanes.wait_empty()
    await trio.sleep(1)
    assert desk.reason("a") is LedgerReason.OVERDUE
    assert desk.ledger.attempts == []


async def test_an_idle_ledger_that_was_broken_is_probed_until_it_works(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The service finds out by itself; a ledger that works is never probed."""
    desk.ledger.commit_seconds = 0.0
    nursery.start_soon(desk.lanes.run)
    desk.final("a")
    await trio.sleep(10)
    assert desk.ledger.probes == 0
    desk.ledger.broken = LedgerReason.DISK_FULL
    desk.final("b")
    await trio.sleep(20)
    assert desk.reason("b") is LedgerReason.DISK_FULL
    assert desk.ledger.probes > 5
    desk.ledger.broken = None
    await trio.sleep(2)
    assert desk.lanes.statistics().unavailable is None
    probes = desk.ledger.probes
    await trio.sleep(10)
    assert desk.ledger.probes == probes
    desk.final("c")
    await desk.lanes.wait_empty()
    assert desk.ledger.stored == ["a", "c"]


async def test_new_work_does_not_wait_for_a_probe(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """An entry that comes to an idle ledger is tried at once, whatever is known of the ledger."""
    desk.ledger.commit_seconds = 0.0
    desk.ledger.broken = LedgerReason.DISK_FULL
    nursery.start_soon(desk.lanes.run)
    desk.final("a")
    await trio.sleep(10.5)
    desk.ledger.broken = None
    start = trio.current_time()
    desk.final("b")
    await desk.receipts["b"].wait()
    assert trio.current_time() == start


async def test_a_submitter_that_is_cancelled_undoes_nothing(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """An entry is written whether or not anybody still waits for its receipt."""
    nursery.start_soon(desk.lanes.run)
    desk.final("a")
    for seconds in (0, 0.1, 0.3):
        with trio.move_on_after(seconds) as scope:
            await desk.receipts["a"].wait()
        assert scope.cancelled_caught
    await desk.lanes.wait_empty()
    assert desk.ledger.stored == ["a"]
    assert await desk.receipts["a"].wait() == Committed()


async def test_when_it_is_cancelled_it_writes_what_waits(
    desk: Desk, autojump_clock: MockClock
) -> None:
    """What was submitted before the end is stored: what is in the ledger's hands, and the rest."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.lanes.run)
        desk.final("a")
        await trio.sleep(0.1)
        desk.durable(*numbered("d", MAX_GROUP_ENTRIES))
        desk.final("b")
        nursery.cancel_scope.cancel()
    assert desk.ledger.stored == ["a", "b", *numbered("d", MAX_GROUP_ENTRIES)]
    assert {receipt.answer for receipt in desk.receipts.values()} == {Committed()}
    desk.final("late")
    assert desk.reason("late") is LedgerReason.DRAINING
    await desk.lanes.wait_empty()


async def test_what_a_broken_ledger_cannot_take_at_the_end_is_refused(
    desk: Desk, autojump_clock: MockClock
) -> None:
    """The end is not held up by a ledger that does not work: one attempt, then an answer."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.lanes.run)
        await trio.sleep(1)
        desk.ledger.broken = LedgerReason.DISK_FULL
        desk.final("a")
        nursery.cancel_scope.cancel()
    assert desk.reason("a") is LedgerReason.DRAINING
    assert len(desk.ledger.attempts) == 1
    assert trio.current_time() == pytest.approx(1.5)


@pytest.mark.parametrize("broken_until", [0.0, 0.7])
@pytest.mark.parametrize("steps", range(16))
async def test_cancelled_anywhere_every_receipt_tells_the_truth(
    desk: Desk, autojump_clock: MockClock, steps: int, broken_until: float
) -> None:
    """Whenever the cancellation comes, each entry has one answer, and it agrees with the ledger."""
    desk.ledger.commit_seconds = 0.3
    desk.ledger.broken = LedgerReason.IO_ERROR if broken_until else None
    desk.final("a", "b")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.lanes.run)
        for step in range(steps):
            if trio.current_time() >= broken_until:
                desk.ledger.broken = None
            if step % 3 == 0:
                desk.enter(list(Lane)[step % 2], f"{step}")
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert desk.ledger.interrupted == 0
    stored = desk.ledger.stored
    assert len(stored) == len(set(stored))
    for name, receipt in desk.receipts.items():
        assert receipt.answer is not None
        assert isinstance(receipt.answer, Committed) == (name in stored)


async def test_any_other_failure_escapes_and_nobody_is_told_anything(
    desk: Desk, autojump_clock: MockClock
) -> None:
    """A mistake of this software stops the process; nothing is claimed to be stored or refused."""
    desk.ledger.failure = ZeroDivisionError()
    desk.final("a")
    with pytest.raises(ExceptionGroup) as stopped:
        await desk.lanes.run()
    assert stopped.value.subgroup(ZeroDivisionError)
    assert desk.answer("a") is None
    assert desk.lanes.statistics().finals.queued == 1


async def test_statistics_tell_of_each_lane_and_the_work(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Depth, peak, age, totals and the newest success are those of the moment."""
    nursery.start_soon(desk.lanes.run)
    desk.final("a", "b")
    await trio.sleep(0.2)
    desk.durable("c")
    await trio.sleep(0.2)
    busy = desk.lanes.statistics()
    assert (busy.finals.queued, busy.durable.queued, busy.in_commit) == (2, 1, 2)
    assert busy.finals.oldest_age_seconds == pytest.approx(0.4)
    assert busy.durable.oldest_age_seconds == pytest.approx(0.2)
    assert (busy.groups, busy.last_success_unix) == (0, None)
    await desk.lanes.wait_empty()
    idle = desk.lanes.statistics()
    assert (idle.finals.queued, idle.finals.peak_queued, idle.finals.committed) == (0, 2, 2)
    assert (idle.durable.peak_queued, idle.durable.committed) == (1, 1)
    assert (idle.groups, idle.entries, idle.failures, idle.in_commit) == (2, 3, 0, 0)
    assert idle.finals.oldest_age_seconds == idle.durable.oldest_age_seconds == 0.0
    assert idle.last_commit_seconds == pytest.approx(0.5)
    assert idle.last_success_unix == pytest.approx(1_700_000_001)
    desk.lanes.reset_peak()
    assert desk.lanes.statistics().finals.peak_queued == 0


async def test_any_number_may_wait_for_a_receipt(
    desk: Desk, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Everybody who holds a receipt is told the same, early or late."""
    heard: list[Any] = []
    desk.final("a")

    async def listen() -> None:
        heard.append(await desk.receipts["a"].wait())

    async with trio.open_nursery() as listeners:
        listeners.start_soon(listen)
        listeners.start_soon(listen)
        nursery.start_soon(desk.lanes.run)
    await listen()
    assert heard == [Committed()] * 3
