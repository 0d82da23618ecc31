# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.folding import new_checkpoint
from penstock.engine.ledger_port import Entry, EntryOutcome, Verdict
from penstock.engine.outcomes import Reason
from penstock.engine.ports import SpoolChunk
from penstock.engine.receipts import Committed, Lane
from penstock.engine.records import AuditEntry
from penstock.engine.writer import MAX_GROUP, Writer, WriterFullError

MakeIdentity = Callable[..., SessionIdentity]


class Desk:
    """A writer with what it was given and what it answered, in order."""

    def __init__(self, make_identity: MakeIdentity, spool: Any, clock: Any, queue: int) -> None:
        self.spool = spool
        self.writer = Writer(spool, clock, max_queued_chunks=queue, run_blocking=spool.run_blocking)
        self.answers: list[tuple[int, Reason | None]] = []
        self._identity = make_identity
        self._clock = clock

    def submit(self, *numbers: int, urgent: bool = False, session: int | None = None) -> None:
        """Submit a chunk for each number: of the session of that number, or of the one given."""
        for number in numbers:
            identity = self._identity(number if session is None else session)
            self.writer.submit_nowait(
                SpoolChunk(new_checkpoint(identity, self._clock), ()),
                lambda why, n=number: self.answers.append((n, why)),
                urgent=urgent,
            )

    def hurry(self, session: int) -> None:
        self.writer.hurry_nowait(self._identity(session).session_id)

    @property
    def written(self) -> list[int]:
        return [number for number, reason in self.answers if reason is None]


@pytest.fixture
def desk(make_identity: MakeIdentity, make_spool: Callable[..., Any], trio_clock: Any) -> Desk:
    return Desk(make_identity, make_spool(append_seconds=1.0), trio_clock, queue=2000)


async def test_what_waits_is_written_as_one_group(
    desk: Desk, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """While a group is being written the next one gathers, and is written in one go."""
    nursery.start_soon(desk.writer.run)
    desk.submit(1)
    await trio.sleep(0.5)
    desk.submit(*range(2, 12))
    await desk.writer.wait_empty()
    assert desk.spool.groups == [1, 10]
    assert desk.answers == [(n, None) for n in range(1, 12)]


async def test_a_group_is_bounded(
    desk: Desk, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """However much waits, a group holds at most MAX_GROUP, and order is kept across groups."""
    desk.submit(*range(MAX_GROUP + 1))
    nursery.start_soon(desk.writer.run)
    await desk.writer.wait_empty()
    assert desk.spool.groups == [MAX_GROUP, 1]
    assert desk.written == list(range(MAX_GROUP + 1))


async def test_a_full_queue_turns_away_and_takes_again(
    make_identity: MakeIdentity,
    make_spool: Callable[..., Any],
    trio_clock: Any,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
) -> None:
    """At the bound a submission is refused and not remembered; once there is room it is taken."""
    desk = Desk(make_identity, make_spool(), trio_clock, queue=2)
    desk.submit(1, 2)
    assert desk.writer.full
    with pytest.raises(WriterFullError):
        desk.submit(3)
    nursery.start_soon(desk.writer.run)
    await desk.writer.wait_empty()
    assert not desk.writer.full
    desk.submit(4)
    await desk.writer.wait_empty()
    assert desk.written == [1, 2, 4]


async def test_a_failed_append_is_answered_with_its_reason(
    desk: Desk, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """A full disk is an answer to the submitter, not a failure of the writer."""
    nursery.start_soon(desk.writer.run)
    desk.spool.shed = Reason.DISK_FULL
    desk.submit(1)
    await desk.writer.wait_empty()
    desk.spool.shed = None
    desk.submit(2)
    await desk.writer.wait_empty()
    assert desk.answers == [(1, Reason.DISK_FULL), (2, None)]
    assert desk.writer.statistics().failed_chunks == 1


async def test_any_other_failure_stops_the_writer(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    """What the spool does not name escapes, and nobody was told that anything was written."""
    desk.spool.failure = ZeroDivisionError()
    desk.submit(1, 2)
    with pytest.raises(ExceptionGroup) as stopped:
        await desk.writer.run()
    assert stopped.value.subgroup(ZeroDivisionError)
    assert desk.answers == []
    assert desk.writer.statistics().queued_chunks == 2


async def test_a_group_in_the_thread_is_settled_although_the_writer_is_cancelled(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    """What the thread has written is told as written; what waited behind it is told nothing."""
    desk.submit(1)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.writer.run)
            await trio.sleep(0.5)
            desk.submit(2)
            scope.cancel()
    assert desk.answers == [(1, None)]
    assert desk.spool.groups == [1]
    assert desk.writer.statistics().queued_chunks == 1


@pytest.mark.parametrize("steps", range(12))
async def test_cancelled_anywhere_it_answers_exactly_what_it_wrote(
    desk: Desk, autojump_clock: trio.testing.MockClock, steps: int
) -> None:
    """Whenever the cancellation comes, answers and appends agree, each once, in order."""
    desk.submit(1, 2)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.writer.run)
            for step in range(steps):
                await trio.sleep(0.25)
                if step % 3 == 0:
                    desk.submit(step + 3)
            scope.cancel()
    assert sum(desk.spool.groups) == len(desk.answers)
    assert desk.written == sorted(set(desk.written))
    # A successor goes on with what was left.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.writer.run)
        await desk.writer.wait_empty()
        nursery.cancel_scope.cancel()
    assert desk.written == [1, 2, *range(3, steps + 3, 3)]


async def test_waiting_for_empty_waits_for_answers(
    desk: Desk, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """An idle writer is empty at once; a busy one only when the last chunk has been answered."""
    await desk.writer.wait_empty()
    nursery.start_soon(desk.writer.run)
    desk.submit(1)
    await desk.writer.wait_empty()
    assert desk.answers == [(1, None)]


async def test_statistics_tell_of_the_queue_and_the_work(
    desk: Desk, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Depth, peak, age of the oldest chunk and the totals are those of the moment."""
    nursery.start_soon(desk.writer.run)
    desk.submit(1, 2, 3)
    await trio.sleep(0.5)
    desk.submit(4, 5)
    busy = desk.writer.statistics()
    assert (busy.queued_chunks, busy.in_append, busy.peak_queued_chunks) == (2, 3, 3)
    assert (busy.urgent_chunks, busy.ledger) == (0, None)
    assert busy.oldest_age_seconds == pytest.approx(0.5)
    assert (busy.groups, busy.chunks) == (0, 0)
    await desk.writer.wait_empty()
    idle = desk.writer.statistics()
    assert (idle.queued_chunks, idle.in_append, idle.oldest_age_seconds) == (0, 0, 0.0)
    assert (idle.groups, idle.chunks, idle.failed_chunks) == (2, 5, 0)
    assert idle.last_append_seconds == pytest.approx(1.0)
    desk.writer.reset_peak()
    assert desk.writer.statistics().peak_queued_chunks == 0


async def test_an_urgent_chunk_waits_for_one_group_and_no_more(
    desk: Desk, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """However many chunks wait, the last frames of a session that ends are in the next group."""
    desk.submit(*range(2, 3 * MAX_GROUP + 1))
    nursery.start_soon(desk.writer.run)
    await trio.sleep(0.5)
    desk.submit(1, urgent=True)
    assert desk.writer.statistics().urgent_chunks == 1
    await trio.sleep(1)
    assert desk.writer.statistics().urgent_chunks == 0
    await desk.writer.wait_empty()
    assert desk.written.index(1) == MAX_GROUP
    assert desk.spool.groups == [MAX_GROUP] * 3


async def test_a_session_that_ends_takes_along_what_it_has_waiting(
    desk: Desk, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """A session's chunks are written in the order of their submission, urgent ones among them."""
    desk.submit(*range(10, 10 + MAX_GROUP))
    desk.submit(1, 2, session=1)
    desk.submit(3, session=1, urgent=True)
    desk.submit(4, session=1)
    nursery.start_soon(desk.writer.run)
    await desk.writer.wait_empty()
    assert desk.written[:3] == [1, 2, 3]
    assert desk.written[-1] == 4


async def test_what_waits_can_be_hurried(
    desk: Desk, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """A session that is about to end does not wait in its old place; others keep theirs."""
    desk.submit(*range(10))
    for session in (7, 3, 3, 99):
        desk.hurry(session)
    assert desk.writer.statistics().queued_chunks == 10
    nursery.start_soon(desk.writer.run)
    await desk.writer.wait_empty()
    assert desk.written == [7, 3, 0, 1, 2, 4, 5, 6, 8, 9]


async def test_urgent_chunks_have_a_bound_of_their_own(
    make_identity: MakeIdentity,
    make_spool: Callable[..., Any],
    trio_clock: Any,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
) -> None:
    """A full queue does not turn away the last frames of a session; that queue is bounded, too."""
    desk = Desk(make_identity, make_spool(), trio_clock, queue=2)
    desk.submit(1, 2)
    desk.submit(3, 4, urgent=True)
    assert desk.writer.full
    assert desk.writer.urgent_full
    with pytest.raises(WriterFullError):
        desk.submit(5, urgent=True)
    nursery.start_soon(desk.writer.run)
    await desk.writer.wait_empty()
    assert desk.written == [3, 4, 1, 2]


async def test_what_was_written_is_not_held_by_what_waits(
    desk: Desk,
    make_identity: MakeIdentity,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
) -> None:
    """A session that always has a chunk waiting does not keep all its earlier ones in memory."""
    desk.submit(1, session=1)
    desk.submit(*range(10, 10 + MAX_GROUP))
    desk.submit(2, session=1)
    nursery.start_soon(desk.writer.run)
    await trio.sleep(0.5)
    waiting = desk.writer._spool_lane._newest[make_identity(1).session_id]
    assert waiting.chunk is not None
    assert waiting.earlier is None


_STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["submit", "urgent", "hurry", "wait"])),
    max_size=30,
)


@given(steps=_STEPS)
def test_no_chunk_overtakes_another_of_its_session(
    make_identity: MakeIdentity, make_spool: Callable[..., Any], trio_clock: Any, steps: Any
) -> None:
    """Whatever is submitted and hurried and when, each session's file is written in order, once."""

    async def play() -> Desk:
        desk = Desk(make_identity, make_spool(append_seconds=1.0), trio_clock, queue=100)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(desk.writer.run)
                for number, (session, step) in enumerate(steps):
                    if step == "wait":
                        await trio.sleep(0.6)
                    elif step == "hurry":
                        desk.hurry(session)
                    else:
                        desk.submit(number, session=session, urgent=step == "urgent")
                await desk.writer.wait_empty()
                statistics = desk.writer.statistics()
                assert (statistics.queued_chunks, statistics.oldest_age_seconds) == (0, 0.0)
                assert desk.writer._spool_lane._newest == {}
                scope.cancel()
        return desk

    desk = trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))
    submitted = [n for n, (_, step) in enumerate(steps) if step in {"submit", "urgent"}]
    assert sorted(desk.written) == submitted
    for session in range(4):
        mine = [number for number in desk.written if steps[number][0] == session]
        assert mine == sorted(mine)


class QuickLedger:
    """The part of the port `Ledger` that writes, in a tenth of a second."""

    def __init__(self) -> None:
        self.stored: list[Entry] = []

    async def commit(self, group: Sequence[Entry]) -> list[EntryOutcome]:
        await trio.sleep(0.1)
        self.stored += group
        return [EntryOutcome(Verdict.STORED)] * len(group)


@pytest.fixture
def results(make_spool: Callable[..., Any], trio_clock: Any) -> Writer:
    """Give a writer with a ledger and a spool that takes an hour for each group."""
    spool = make_spool(append_seconds=3600.0)
    ledger: Any = QuickLedger()
    return Writer(
        spool, trio_clock, max_queued_chunks=10, run_blocking=spool.run_blocking, ledger=ledger
    )


ENTRY = AuditEntry(0, "actor", "act", "subject", {}, "1")


async def test_a_result_never_waits_for_the_spool(
    results: Writer,
    make_identity: MakeIdentity,
    trio_clock: Any,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
) -> None:
    """While an append takes for ever, a final is committed at once; both count for `wait_empty`."""
    nursery.start_soon(results.run)
    first = results.enter_nowait(ENTRY, Lane.DURABLE)
    await results.wait_empty()
    assert first.answer == Committed()
    settled: list[Reason | None] = []
    chunk = SpoolChunk(new_checkpoint(make_identity(1), trio_clock), ())
    results.submit_nowait(chunk, settled.append)
    await trio.sleep(1)
    receipt = results.enter_nowait(ENTRY, Lane.FINAL)
    assert await receipt.wait() == Committed()
    assert trio.current_time() == pytest.approx(1.2)
    assert settled == []
    await results.wait_empty()
    assert settled == [None]
    statistics = results.statistics()
    assert statistics.ledger is not None
    assert statistics.ledger.finals.committed == statistics.ledger.durable.committed == 1
    results.reset_peak()
    assert results.statistics().peak_queued_chunks == 0


async def test_results_are_written_at_the_end_whatever_the_spool_does(
    results: Writer,
    make_identity: MakeIdentity,
    trio_clock: Any,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """When the writer is cancelled every entry is stored before the spool has ended its group."""
    chunk = SpoolChunk(new_checkpoint(make_identity(1), trio_clock), ())
    times: list[float] = []

    async def listen(receipt: Any) -> None:
        with trio.CancelScope(shield=True):
            assert await receipt.wait() == Committed()
        times.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        await nursery.start(results.run)
        results.submit_nowait(chunk, lambda _: times.append(trio.current_time()))
        await trio.sleep(1)
        nursery.start_soon(listen, results.enter_nowait(ENTRY, Lane.DURABLE))
        nursery.cancel_scope.cancel()
    assert times == pytest.approx([1.1, 3600])


async def test_a_writer_without_a_ledger_takes_no_entries(desk: Desk) -> None:
    """It says so, rather than to keep an entry that nobody will ever write."""
    with pytest.raises(RuntimeError):
        desk.writer.enter_nowait(ENTRY, Lane.FINAL)
