# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock.engine.endings import (
    EndConflict,
    EndDelayed,
    Ended,
    EndFailed,
    SessionUnknown,
    WrongOwner,
)
from penstock.engine.inbox import Arrival
from penstock.engine.ledger_port import LedgerReason
from penstock.engine.outcomes import Reason
from penstock.engine.session import Admitted, Refusal
from penstock.engine.unsent import Unsent

MakeArrival = Callable[..., Arrival]
OpenWorld = Callable[..., Any]
Make = Callable[..., Any]


async def test_an_end_holds_every_frame_that_was_accepted(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """What waits in the inbox is on disk and in the final before the client is answered."""
    async with open_world() as world:
        for n in range(3):
            await world.offer(make_arrival(4, 1000 * n))
        outcome = await world.end(frames_attempted=15, exercise_id="squat")
        assert isinstance(outcome, Ended)
        final = outcome.final
        assert (final.frames_received, final.frames_dropped, final.frames_lost) == (12, 3, 0)
        assert (final.completeness, final.suspicious_gap) == (0.8, False)
        assert world.spool.frames(world.name(1)) == 12
        assert world.finals.rows[world.name(1)].body == final.plain()
        assert world.state() is None
        world.settled_exactly()


async def test_the_same_end_again_is_the_same_answer(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Asked again, at once or meanwhile, it is one final, one row; another status is a conflict."""
    async with open_world() as world:
        world.finals.commit_seconds = 1.0
        await world.offer(make_arrival(4))
        outcomes = []

        async def end(status: str) -> None:
            outcomes.append(await world.end(status=status))

        async with trio.open_nursery() as nursery:
            for status in ("completed", "completed", "cancelled"):
                nursery.start_soon(end, status)
                await trio.testing.wait_all_tasks_blocked()
        again = await world.end()
        ended = [outcome for outcome in (*outcomes, again) if isinstance(outcome, Ended)]
        assert len(ended) == 3
        assert all(outcome == again for outcome in ended)
        assert isinstance(await world.end(status="cancelled"), EndConflict)
        assert len(world.finals.finals) == 1


async def test_an_ended_session_takes_no_frames(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Neither while it ends nor after, and the refused frames are counted under their reason."""
    async with open_world() as world:
        world.finals.commit_seconds = 1.0
        await world.offer(make_arrival(4))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.end)
            await trio.testing.wait_all_tasks_blocked()
            late = await world.offer(make_arrival(2, 1000))
        after = await world.offer(make_arrival(2, 2000))
        for refusal in (late, after):
            assert isinstance(refusal, Refusal)
            assert refusal.reason is Reason.SESSION_FINALIZED
        assert world.ended(Reason.SESSION_FINALIZED) == 4
        world.settled_exactly()


async def test_an_end_is_known_to_the_next_process(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Its file outlives it, and yet it does not come to life again: the ledger is asked first."""
    async with open_world() as world:
        await world.offer(make_arrival(4))
        first = await world.end()
        spool, finals = world.spool, world.finals
    spool.next_process()
    async with open_world(spool, finals) as world:
        refusal = await world.offer(make_arrival(2, 1000))
        assert isinstance(refusal, Refusal)
        assert refusal.reason is Reason.SESSION_FINALIZED
        assert await world.end() == first
        assert isinstance(await world.end(status="error"), EndConflict)
    spool.next_process()
    async with open_world(spool, finals) as world:
        assert await world.end() == first


async def test_a_session_that_a_crash_left_can_be_ended(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """What its file holds is in the final, although no batch came since the restart."""
    async with open_world() as world:
        await world.offer(make_arrival(4))
        await trio.sleep(2)
        spool = world.spool
    spool.next_process()
    async with open_world(spool) as world:
        outcome = await world.end()
        assert isinstance(outcome, Ended)
        assert outcome.final.frames_received == 4


async def test_a_session_that_never_was_is_unknown(
    autojump_clock: MockClock, open_world: OpenWorld
) -> None:
    """No frame, no session; and asking has no effect."""
    async with open_world() as world:
        assert isinstance(await world.end(), SessionUnknown)
        assert world.finals.rows == {}
        assert isinstance(await world.end(), SessionUnknown)


@pytest.mark.parametrize("resting", [False, True])
async def test_nobody_ends_another_ones_session(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, *, resting: bool
) -> None:
    """The session is untouched, live or resting, and its owner can go on."""
    async with open_world() as world:
        await world.offer(make_arrival(4))
        if resting:
            world.rest_everybody()
            await trio.sleep(2)
        assert isinstance(await world.end(principal=99), WrongOwner)
        assert await world.offer(make_arrival(2, 1000)) == Admitted(2, 6 * 528)
        assert isinstance(await world.end(), Ended)
        assert isinstance(await world.end(principal=99), WrongOwner)


async def test_a_broken_ledger_changes_nothing(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """The client is told to ask again, the session takes frames meanwhile, and then it ends."""
    async with open_world() as world:
        await world.offer(make_arrival(4))
        world.finals.broken = LedgerReason.DISK_FULL
        outcome = await world.end()
        assert isinstance(outcome, EndDelayed)
        assert outcome.code == "ledger_disk_full"
        assert outcome.retry_after > 0
        world.finals.broken = None
        await trio.sleep(2)
        assert await world.offer(make_arrival(2, 1000)) == Admitted(2, 6 * 528)
        ended = await world.end()
        assert isinstance(ended, Ended)
        assert ended.final.frames_received == 6


async def test_a_slow_end_goes_on_without_its_client(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Past `end_wait_seconds` the client is told so; asking again, it gets the end then begun."""
    async with open_world(end_wait_seconds=1.0) as world:
        await world.offer(make_arrival(4))
        world.spool.append_seconds = 3.0
        outcome = await world.end()
        assert isinstance(outcome, EndDelayed)
        assert outcome.code == "end_delayed"
        await trio.sleep(5)
        assert isinstance(await world.end(), Ended)
        assert len(world.finals.finals) == 1


async def test_a_client_that_hangs_up_has_still_ended_its_session(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Cancelling the one who asked does not cancel the end."""
    async with open_world() as world:
        await world.offer(make_arrival(4))
        world.finals.commit_seconds = 1.0
        with trio.move_on_after(0.5):
            await world.end()
        await trio.sleep(2)
        assert world.name(1) in world.finals.rows


async def test_a_fault_in_one_end_stays_there(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """The session is as it was, others end, and the process runs on."""
    async with open_world() as world:
        await world.offer(make_arrival(4))
        await world.offer(make_arrival(4), 2)
        endings = world.sessions._endings
        release, endings._release = endings._release, lambda _: 1 // 0 > 0
        assert isinstance(await world.end(2), EndFailed)
        endings._release = release
        assert isinstance(await world.end(2), Ended)
        assert isinstance(await world.end(1), Ended)


async def test_an_end_goes_before_the_frames_of_others(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Behind a slow disk with a long queue, an end waits for two appends at most."""
    async with open_world(live=2000, queue=5000) as world:
        world.spool.append_seconds = 1.0
        for number in range(1, 1601):
            await world.offer(make_arrival(1), number)
        await trio.sleep(1.5)  # all of them have been handed to the writer; one group is under way
        began = trio.current_time()
        assert isinstance(await world.end(1600), Ended)
        assert trio.current_time() - began <= 2.0
        assert world.plant.writer.statistics().queued_chunks > 0


async def test_a_full_queue_does_not_hold_up_an_end(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Ends have room of their own in the writer."""
    async with open_world(queue=1, end_wait_seconds=60) as world:
        world.spool.append_seconds = 10.0
        for number in range(1, 5):
            await world.offer(make_arrival(1), number)
        await trio.sleep(2.5)
        assert world.plant.writer.full
        began = trio.current_time()
        assert isinstance(await world.end(4), Ended)
        assert trio.current_time() - began <= 2 * 10.0


async def test_what_the_client_never_sent_is_in_the_final(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Reported frames make the session less complete, and explain what is missing."""
    async with open_world() as world:
        unsent = (Unsent(30, Reason.UNSENT_NETWORK),)
        await world.offer(make_arrival(10)._replace(unsent=unsent))
        last = (Unsent(10, Reason.UNSENT_HIDDEN),)
        outcome = await world.end(frames_attempted=50, unsent=last)
        assert isinstance(outcome, Ended)
        assert outcome.final.completeness == 0.2
        assert outcome.final.suspicious_gap is False
        assert outcome.final.tally["unsent_network"] == 30
        assert outcome.final.tally["unsent_hidden"] == 10
        assert world.ledger.process.unsent == {Reason.UNSENT_NETWORK: 30, Reason.UNSENT_HIDDEN: 10}
        assert world.ledger.process.conserved


async def test_missing_frames_that_nobody_explains_are_suspicious(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """A client that attempted many more than it sent or reported is marked."""
    async with open_world() as world:
        await world.offer(make_arrival(10))
        outcome = await world.end(frames_attempted=100)
        assert isinstance(outcome, Ended)
        assert outcome.final.suspicious_gap is True
        assert outcome.final.frames_dropped == 90


@pytest.mark.parametrize("body", [{}, {"v": 2}, {"v": 1}], ids=["empty", "newer", "cut"])
async def test_a_final_that_cannot_be_read_stays_its_sessions_trouble(
    autojump_clock: MockClock,
    open_world: OpenWorld,
    make_arrival: MakeArrival,
    body: dict[str, Any],
) -> None:
    """Late frames and ends of that session are refused; the process and the others go on."""
    async with open_world() as world:
        await world.offer(make_arrival(4))
        assert isinstance(await world.end(), Ended)
        spool, finals = world.spool, world.finals
    spool.next_process()
    finals.rows = {name: replace(row, body=body) for name, row in finals.rows.items()}
    async with open_world(spool, finals) as world:
        late = await world.offer(make_arrival(2, 1000))
        assert isinstance(late, Refusal)
        assert late.reason is Reason.RECOVERY_FAILED
        assert isinstance(await world.end(), EndDelayed)
        assert isinstance(await world.offer(make_arrival(2), 2), Admitted)
        assert isinstance(await world.end(2), Ended)


async def test_a_fault_in_a_recovery_stays_there(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """A mistake of ours on one session's way back to life does not end the process."""
    async with open_world() as world:
        await world.offer(make_arrival(4))
        await trio.sleep(2)
        spool = world.spool
    spool.next_process()
    async with open_world(spool) as world:
        world.finals.failure = ZeroDivisionError()
        refusal = await world.offer(make_arrival(2, 1000))
        assert isinstance(refusal, Refusal)
        assert refusal.reason is Reason.RECOVERY_FAILED
        world.finals.failure = None
        assert isinstance(await world.offer(make_arrival(2, 1000)), Admitted)


async def test_an_end_that_is_not_kept_in_memory_is_an_end(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """With room for one final, late frames of many ended sessions are refused all the same."""
    async with open_world(resting=1) as world:
        for number in range(1, 6):
            await world.offer(make_arrival(4), number)
            assert isinstance(await world.end(number), Ended)
        for number in (*range(1, 6), *range(1, 6)):
            late = await world.offer(make_arrival(2, 1000), number)
            assert isinstance(late, Refusal)
            assert late.reason is Reason.SESSION_FINALIZED
            assert isinstance(await world.end(number), Ended)
        world.finals.commit_seconds = 1.0
        await world.offer(make_arrival(4), 6)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.end, 6)
            await trio.testing.wait_all_tasks_blocked()
            late = await world.offer(make_arrival(2, 1000), 1)  # no room
            assert isinstance(late, Refusal)
            assert late.reason is Reason.SESSION_FINALIZED


async def test_a_session_begins_while_the_ledger_is_away(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Its frames are taken, and it ends once the ledger is back; a late frame changes no final."""
    async with open_world() as world:
        await world.offer(make_arrival(4), 2)
        ended = await world.end(2)
        spool, finals = world.spool, world.finals
    spool.next_process()
    async with open_world(spool, finals) as world:
        world.finals.broken = LedgerReason.IO_ERROR
        for number in (1, 2):
            assert isinstance(await world.offer(make_arrival(4), number), Admitted)
            assert isinstance(await world.end(number), EndDelayed)
        world.finals.broken = None
        await trio.sleep(2)
        assert isinstance(await world.end(1), Ended)
        again = await world.end(2)
        assert isinstance(again, Ended)
        assert isinstance(ended, Ended)
        assert again.final == ended.final
        assert isinstance(await world.offer(make_arrival(2, 9000), 2), Refusal)
