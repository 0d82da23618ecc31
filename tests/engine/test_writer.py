# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.outcomes import Reason
from penstock.engine.ports import SpoolChunk
from penstock.engine.session import new_checkpoint
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

    def submit(self, *numbers: int) -> None:
        for number in numbers:
            chunk = SpoolChunk(new_checkpoint(self._identity(number), self._clock), ())
            self.writer.submit_nowait(chunk, lambda why, n=number: self.answers.append((n, why)))

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
    with pytest.raises(ZeroDivisionError):
        await desk.writer.run()
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
    assert busy.oldest_age_seconds == pytest.approx(0.5)
    assert (busy.groups, busy.chunks) == (0, 0)
    await desk.writer.wait_empty()
    idle = desk.writer.statistics()
    assert (idle.queued_chunks, idle.in_append, idle.oldest_age_seconds) == (0, 0, 0.0)
    assert (idle.groups, idle.chunks, idle.failed_chunks) == (2, 5, 0)
    assert idle.last_append_seconds == pytest.approx(1.0)
    desk.writer.reset_peak()
    assert desk.writer.statistics().peak_queued_chunks == 0
