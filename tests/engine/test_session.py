# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
from collections.abc import Callable
from typing import Any

import trio
from trio.testing import MockClock

from penstock.engine.checkpoint import Checkpoint
from penstock.engine.folding import fold_recovered
from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Reason, Tally
from penstock.engine.ports import MAX_CHUNK_BATCHES, Recovered
from penstock.engine.session import Admitted, Refusal, SessionState
from penstock.engine.timeline import Timeline

MakeArrival = Callable[..., Arrival]
OpenWorld = Callable[..., Any]


async def test_an_accepted_batch_tells_the_position_in_bytes(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """The position is what the session has had accepted so far, 528 bytes a frame."""
    async with open_world() as world:
        assert await world.offer(make_arrival(3)) == Admitted(3, 3 * 528)
        assert await world.offer(make_arrival(2, 1000)) == Admitted(2, 5 * 528)
        assert await world.offer(make_arrival(2, 0), 2) == Admitted(2, 2 * 528)
        await world.sessions.drain()
        world.settled_exactly()


async def test_frames_are_settled_once_they_are_on_disk(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Until the flush they are pending; then they are used or repeated, and on disk either way."""
    async with open_world() as world:
        await world.offer(make_arrival(3, 0))
        await world.offer(make_arrival(3, 100))
        world.check()
        assert world.ledger.process.pending == 6
        await trio.sleep(1.5)
        world.check()
        assert world.ledger.process.pending == 0
        assert (world.ended(Reason.USED), world.ended(Reason.REPEATED)) == (4, 2)
        assert world.spool.frames(world.actor().identity.session_id) == 6
        assert world.actor().timeline.newest_ms == 300


async def test_one_flush_takes_many_batches(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Batches that come within the flush time travel as one chunk."""
    async with open_world() as world:
        for n in range(10):
            await world.offer(make_arrival(1, 100 * n))
            await trio.sleep(0.05)
        assert world.spool.groups == []
        await trio.sleep(1)
        assert world.spool.groups == [1]
        assert world.spool.frames(world.actor().identity.session_id) == 10


async def test_much_data_is_flushed_at_once(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """At spool_flush_bytes the actor does not wait for its turn."""
    size = make_arrival(3).batch.held_bytes
    async with open_world(flush_bytes=2 * size) as world:
        await world.offer(make_arrival(3))
        await trio.sleep(0.1)
        assert world.spool.groups == []
        await world.offer(make_arrival(3, 300))
        await trio.sleep(0.001)
        assert world.spool.groups == [1]
        assert world.ledger.process.pending == 0


async def test_a_chunk_is_bounded_and_one_at_a_time_is_under_way(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """A long queue goes in chunks of MAX_CHUNK_BATCHES, each begun after the one before is done."""
    async with open_world() as world:
        world.spool.append_seconds = 10
        count = 2 * MAX_CHUNK_BATCHES + 1
        for n in range(count):
            await world.offer(make_arrival(1, 100 * n))
        for _ in range(200):
            await trio.sleep(0.5)
            statistics = world.plant.writer.statistics()
            assert statistics.queued_chunks + statistics.in_append <= 1
            world.check()
        (chunks,) = world.spool.files.values()
        assert [len(chunk.batches) for chunk in chunks] == [MAX_CHUNK_BATCHES] * 2 + [1]
        before = [chunk.before for chunk in chunks]
        assert [one.accepted_frames for one in before] == [0, 15, 30]
        assert [one.timeline.used for one in before] == [0, 15, 30]
        assert [one.tally.seen for one in before] == [0, 15, 30]


async def test_a_full_inbox_refuses_with_its_bound(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """The refusal names setting, limit and what was seen, is counted, and takes no memory."""
    async with open_world(inbox_batches=2) as world:
        for _ in range(2):
            await world.offer(make_arrival(3))
        refusal = await world.offer(make_arrival(5))
        assert isinstance(refusal, Refusal)
        assert refusal.reason is Reason.INBOX_FULL
        assert (refusal.setting, refusal.limit, refusal.seen) == ("inbox_batches", 2, 3)
        assert refusal.retry_after == 1.0
        assert world.ended(Reason.INBOX_FULL) == 5
        world.check()
        await trio.sleep(2)
        assert isinstance(await world.offer(make_arrival(5)), Admitted)


async def test_full_frame_memory_refuses_whichever_session_asks(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """The budget of the process is one for all; it is free again once frames are on disk."""
    size = make_arrival(3).batch.held_bytes
    async with open_world(memory=2 * size + 1) as world:
        await world.offer(make_arrival(3), 1)
        await world.offer(make_arrival(3), 2)
        refusal = await world.offer(make_arrival(3), 3)
        assert refusal.reason is Reason.FRAME_MEMORY_FULL
        assert (refusal.setting, refusal.limit) == ("frame_memory_bytes", 2 * size + 1)
        assert refusal.seen == 3 * size
        world.check()
        await trio.sleep(2)
        assert isinstance(await world.offer(make_arrival(3), 3), Admitted)


async def test_what_the_disk_refuses_is_shed_and_the_session_lives_on(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Shed frames count under the disk's reason, do not enter the state, and are remembered."""
    async with open_world() as world:
        world.spool.shed = Reason.DISK_FULL
        await world.offer(make_arrival(3))
        await trio.sleep(2)
        assert world.ended(Reason.DISK_FULL) == 3
        assert world.actor().timeline.used == 0
        world.spool.shed = None
        assert await world.offer(make_arrival(2, 300)) == Admitted(2, 5 * 528)
        await trio.sleep(2)
        (chunks,) = world.spool.files.values()
        assert chunks[0].before.tally.plain() == {"disk_full": 3}
        assert (world.ended(Reason.USED), world.ledger.process.pending) == (2, 0)


async def test_with_a_full_writer_the_frames_stay_and_the_inbox_refuses(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """A slow disk is felt by the client, and nothing that was accepted is lost."""
    async with open_world(queue=1, inbox_batches=2) as world:
        world.spool.append_seconds = 10
        for number in range(1, 6):
            await world.offer(make_arrival(2), number)
        await trio.sleep(5)
        assert world.plant.writer.full
        # One is with the thread, one in the queue; the frames of three wait in their inboxes.
        outcomes = [await world.offer(make_arrival(2), n) for n in (*range(1, 6), *range(1, 6))]
        refused = [one for one in outcomes if isinstance(one, Refusal)]
        assert [one.reason for one in refused] == [Reason.INBOX_FULL] * 3
        world.check()
        await trio.sleep(150)
        assert world.ended(Reason.USED) + world.ended(Reason.REPEATED) == 2 * (5 + 7)
        world.settled_exactly()


async def test_a_session_does_not_rest_on_frames_that_the_writer_has_no_room_for(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Asked to rest while the writer is full, an actor waits until its frames are on disk."""
    async with open_world(queue=1) as world:
        world.spool.append_seconds = 10
        for number in range(1, 6):
            await world.offer(make_arrival(2), number)
        await trio.sleep(5)
        world.rest_everybody()
        await trio.sleep(5)
        world.check()
        assert world.ledger.process.pending == 10
        await trio.sleep(100)
        assert world.sessions.statistics().resting == 5
        assert world.ended(Reason.USED) == 10
        world.settled_exactly()


async def test_resting_leaves_no_task_and_forgets_nothing(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """An idle session's task ends, its file is closed; the next batch goes on where it stopped."""
    async with open_world(rest_seconds=10) as world:
        await world.offer(make_arrival(3))
        await trio.sleep(9)
        assert world.state() is SessionState.LIVE
        await trio.sleep(5)
        assert world.state() is SessionState.RESTING
        assert world.sessions._live == {}
        assert world.spool.holds(next(iter(world.spool.files)))
        assert await world.offer(make_arrival(1, 100)) == Admitted(1, 4 * 528)
        await trio.sleep(2)
        assert world.actor().tally.plain() == {"used": 3, "repeated": 1}
        assert world.spool.recoveries == []
        assert world.sessions.statistics().woken == 1


async def test_a_batch_that_comes_while_its_session_is_laid_to_rest_keeps_it_alive(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """A rest that has not happened yet is withdrawn by a batch, also with a chunk under way."""
    async with open_world() as world:
        await world.offer(make_arrival(3))
        world.actor().rest()
        await world.offer(make_arrival(3, 300))
        await trio.sleep(5)
        assert world.state() is SessionState.LIVE
        world.spool.append_seconds = 4
        await world.offer(make_arrival(3, 600))
        await trio.sleep(2)
        world.actor().rest()
        await trio.sleep(1)
        assert await world.offer(make_arrival(3, 900)) == Admitted(3, 12 * 528)
        await trio.sleep(20)
        assert world.state() is SessionState.LIVE
        assert world.ended(Reason.USED) == 12
        world.settled_exactly()


async def test_what_was_refused_is_in_the_file_before_a_session_rests(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Counts that no chunk has carried yet get a chunk of their own at the end."""
    async with open_world() as world:
        await world.offer(make_arrival(3))
        await trio.sleep(2)
        world.actor().refuse_nowait(Refusal(Reason.RATE_SESSION, ""), 7)
        world.rest_everybody()
        await trio.sleep(1)
        assert world.state() is SessionState.RESTING
        (chunks,) = world.spool.files.values()
        assert chunks[-1].batches == ()
        assert chunks[-1].before.tally.plain() == {"used": 3, "rate_session_exceeded": 7}
        assert chunks[-1].before.tally.seen == 10


async def test_counts_that_wait_for_room_in_the_writer_do_not_hold_up_the_drain(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """A session with nothing but counts to save, and a full writer: they are saved when it can."""
    async with open_world(queue=1) as world:
        await world.offer(make_arrival(3))
        await trio.sleep(2)
        world.actor().refuse_nowait(Refusal(Reason.RATE_SESSION, ""), 7)
        world.spool.append_seconds = 10
        for number in (2, 3, 4):
            await world.offer(make_arrival(1), number)
        await trio.sleep(3)
        assert world.plant.writer.full
        with trio.fail_after(60):
            await world.sessions.drain()
        chunks = world.spool.files[world.name(1)]
        assert chunks[-1].before.tally.plain() == {"used": 3, "rate_session_exceeded": 7}
        assert world.plant.pacer.statistics().waiting <= 3


async def test_a_full_writer_does_not_make_actors_ask_to_be_called_over_and_over(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """However often a session is offered to, or asked to rest, it waits once for the pacer."""
    async with open_world(queue=1, flush_bytes=1) as world:
        world.spool.append_seconds = 20
        for number in range(1, 5):
            for n in range(10):
                await world.offer(make_arrival(1, 100 * n), number)
        for _ in range(10):
            world.rest_everybody()
            await trio.sleep(0.1)
        assert world.plant.writer.full
        assert world.plant.pacer.statistics().waiting <= 4
        world.check()


async def test_the_sidecar_travels_with_its_batch(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Member, sidecar and time of receipt reach the spool as they came."""
    async with open_world() as world:
        arrival = make_arrival(3, sidecar=b'{"exercise":"squat"}')
        await world.offer(arrival)
        await world.sessions.drain()
        ((chunk,),) = world.spool.files.values()
        (batch,) = chunk.batches
        assert batch.member == arrival.batch.member
        assert batch.sidecar == b'{"exercise":"squat"}'
        assert batch.received_unix_ms == arrival.received_unix_ms


async def test_statistics_are_those_of_the_moment_and_stay_so(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """What an actor tells of itself does not change when the actor does."""
    async with open_world() as world:
        arrival = make_arrival(3)
        await world.offer(arrival)
        told = world.actor().statistics()
        await trio.sleep(2)
        assert (told.inbox_batches, told.inbox_bytes) == (1, arrival.batch.held_bytes)
        assert (told.unsettled_frames, told.accepted_frames) == (3, 3)
        assert (told.tally.pending, told.timeline.used) == (3, 0)


def test_recovery_is_the_fold_of_the_last_chunk(
    make_arrival: MakeArrival, make_identity: Callable[..., Any]
) -> None:
    """The state before a chunk and its whole batches give the state after; torn frames are lost."""
    before = _before(make_identity)
    batches = (make_arrival(3, 0), make_arrival(2, 200))
    state = fold_recovered(Recovered(before, batches, torn_frames=4), lambda _: None)
    assert state.accepted_frames == 5
    assert state.tally.plain() == {"torn_spool": 4, "used": 4, "repeated": 1}
    assert state.tally.conserved
    assert (state.timeline.used, state.timeline.newest_ms) == (4, 300)


def test_a_chunk_that_cannot_be_folded_does_not_crash_every_restart(
    make_arrival: MakeArrival, make_identity: Callable[..., Any]
) -> None:
    """Its frames are lost under the actor's reason, somebody is told, and the session goes on."""
    told: list[str] = []
    batches = (make_arrival(3, 0), make_arrival(2, 300, poisoned=True))
    state = fold_recovered(Recovered(_before(make_identity), batches, torn_frames=0), told.append)
    assert state.tally.conserved
    assert (state.tally.seen, state.tally.pending, state.accepted_frames) == (5, 0, 5)
    assert state.tally.ended == {Reason.ACTOR_CRASHED: 5}
    assert state.timeline.used == 0
    assert told


def _before(make_identity: Callable[..., Any]) -> Checkpoint:
    return Checkpoint(make_identity(), 1_700_000_000_000, 0, Timeline(), Tally())
