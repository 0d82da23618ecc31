# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from penstock.engine.endings import WrongOwner
from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Reason
from penstock.engine.session import Admitted, Refusal, SessionState

MakeArrival = Callable[..., Arrival]
MakeIdentity = Callable[..., Any]
MakeSpool = Callable[..., Any]
OpenWorld = Callable[..., Any]


@pytest.fixture
async def left(make_spool: MakeSpool, make_arrival: MakeArrival, open_world: OpenWorld) -> Any:
    """Give a spool in which an earlier process left three frames of session 1."""
    spool = make_spool()
    async with open_world(spool) as world:
        await world.offer(make_arrival(3))
        await world.sessions.drain()
    spool.next_process()
    return spool


async def test_sessions_do_not_share_anything(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Each session has its own position, counts and file; the process has their sum."""
    async with open_world() as world:
        for number in range(1, 6):
            assert await world.offer(make_arrival(number), number) == Admitted(number, number * 528)
        await world.sessions.drain()
        assert sorted(world.spool.frames(name) for name in world.spool.files) == [1, 2, 3, 4, 5]
        assert world.ended(Reason.USED) == 15
        assert world.sessions.statistics().started == 5


async def test_the_next_process_goes_on_where_the_last_one_stopped(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, left: Any
) -> None:
    """Position, counts and newest time come from the file, which is read once."""
    async with open_world(left) as world:
        assert await world.offer(make_arrival(2, 100)) == Admitted(2, 5 * 528)
        await trio.sleep(2)
        assert world.actor().tally.plain() == {"used": 3, "repeated": 2}
        assert world.spool.recoveries == [world.actor().identity.session_id]
        statistics = world.sessions.statistics()
        assert (statistics.recovered, statistics.woken, statistics.started) == (1, 1, 0)


async def test_torn_frames_are_counted_and_told_to_the_next_process(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, left: Any
) -> None:
    """What a death tore is lost{torn_spool}, and the file says so even when no batch follows."""
    left.torn_frames = 4
    async with open_world(left) as world:
        with trio.move_on_after(0.0):
            await world.offer(make_arrival(2))
        await trio.sleep(1)
        assert world.state() is SessionState.RESTING
    left.torn_frames = 0
    left.next_process()
    async with open_world(left) as world:
        await world.offer(make_arrival(1))
        assert world.actor().tally.plain() == {"used": 3, "torn_spool": 4}
        await world.sessions.drain()


async def test_everybody_who_offers_waits_for_the_same_reading(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, left: Any
) -> None:
    """Ten clients at once cost one reading of the file, and all are answered."""
    left.recover_seconds = 2
    positions: list[int] = []
    async with open_world(left) as world:

        async def offer() -> None:
            positions.append((await world.offer(make_arrival(1, 300))).position_bytes // 528)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(offer)
            await trio.sleep(1)
            assert world.state() is SessionState.RECOVERING
            assert world.sessions.statistics().recovering == 1
        assert sorted(positions) == list(range(4, 14))
        assert len(left.recoveries) == 1


async def test_a_reading_goes_on_when_its_first_waiter_leaves(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, left: Any
) -> None:
    """A client that hangs up takes only itself away: those behind it get their answer."""
    left.recover_seconds = 2
    async with open_world(left) as world, trio.open_nursery() as nursery:
        first = trio.CancelScope()

        async def hang_up() -> None:
            with first:
                await world.offer(make_arrival(1))

        nursery.start_soon(hang_up)
        await trio.sleep(1)
        nursery.start_soon(_expect, world, make_arrival(2), Admitted(2, 5 * 528))
        await trio.sleep(0.5)
        first.cancel()
        await trio.sleep(1)
        assert first.cancelled_caught
        assert len(left.recoveries) == 1
        assert world.ledger.process.seen == 2


async def test_an_unreadable_file_refuses_everybody_and_is_tried_again(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, left: Any
) -> None:
    """All who wait are told recovery_failed; once the file can be read, the session goes on."""
    left.recover_seconds = 2
    left.unreadable = set(left.files)
    async with open_world(left) as world:
        refusals: list[Any] = []

        async def offer() -> None:
            refusals.append(await world.offer(make_arrival(2)))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(offer)
        assert [refusal.reason for refusal in refusals] == [Reason.RECOVERY_FAILED] * 3
        assert world.state() is None
        assert world.ended(Reason.RECOVERY_FAILED) == 6
        assert len(left.recoveries) == 1
        left.unreadable.clear()
        assert await world.offer(make_arrival(2)) == Admitted(2, 5 * 528)


async def test_a_reading_that_was_cut_short_starts_nobody_from_nothing(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, left: Any
) -> None:
    """When the reading fails as no spool may, nobody who waits goes on as a new session."""
    left.recover_seconds = 1

    def explode(_: str) -> Any:
        raise ZeroDivisionError

    left.recover = explode
    async with open_world(left) as world:
        outcomes: list[Any] = []

        async def offer() -> None:
            outcomes.append(await world.offer(make_arrival(2)))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(offer)
        assert [refusal.reason for refusal in outcomes] == [Reason.RECOVERY_FAILED] * 3
        assert isinstance(await world.offer(make_arrival(2), 2), Admitted)


async def test_another_principal_s_token_does_not_reach_a_session(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, left: Any
) -> None:
    """Live, resting, or in its file, and also while draining: only its owner's batch counts."""
    async with open_world(left) as world:
        for _ in range(2):
            assert isinstance(await world.offer(make_arrival(2), principal=6), WrongOwner)
            assert isinstance(await world.offer(make_arrival(2), org=6), WrongOwner)
            assert world.ledger.process.seen == 0
        assert world.state() is SessionState.RESTING
        await world.offer(make_arrival(2))
        assert isinstance(await world.offer(make_arrival(2), principal=6), WrongOwner)
        world.sessions._draining = True
        assert isinstance(await world.offer(make_arrival(2), principal=6), WrongOwner)
        assert world.ledger.process.seen == 2


async def test_a_gate_s_refusal_counts_for_its_owner_s_session_only(
    autojump_clock: MockClock,
    open_world: OpenWorld,
    make_arrival: MakeArrival,
    make_identity: MakeIdentity,
) -> None:
    """A refusal is the live session's own when the token is its owner's, else the process's."""
    async with open_world() as world:
        await world.offer(make_arrival(2))
        world.sessions.refuse(make_identity(1), Reason.RATE_SESSION, 5)
        world.sessions.refuse(make_identity(1, principal=6), Reason.RATE_SESSION, 50)
        world.sessions.refuse(make_identity(2), Reason.RATE_SESSION, 500)
        assert world.actor().tally.ended == {Reason.RATE_SESSION: 5}
        assert world.ended(Reason.RATE_SESSION) == 555
        world.check()


async def test_one_session_too_many_is_refused_and_the_live_ones_are_not(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """At max_live_sessions a further one is told so, until one rests."""
    async with open_world(live=2) as world:
        for number in (1, 2):
            await world.offer(make_arrival(1), number)
        refusal = await world.offer(make_arrival(4), 3)
        assert refusal.reason is Reason.SESSIONS_FULL
        assert (refusal.setting, refusal.limit, refusal.seen) == ("max_live_sessions", 2, 2)
        assert world.ended(Reason.SESSIONS_FULL) == 4
        assert isinstance(await world.offer(make_arrival(1), 2), Admitted)
        await trio.sleep(120)
        assert isinstance(await world.offer(make_arrival(4), 3), Admitted)


async def test_a_forgotten_session_comes_back_from_its_file(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """When too many rest the oldest is forgotten; its next batch finds everything in the file."""
    async with open_world(resting=1) as world:
        for number in (1, 2, 3):
            await world.offer(make_arrival(3), number)
            await trio.sleep(2)
            world.rest_everybody()
            await trio.sleep(2)
        states = [world.state(number) for number in (1, 2, 3)]
        assert states == [None, None, SessionState.RESTING]
        assert await world.offer(make_arrival(1, 300), 1) == Admitted(1, 4 * 528)
        assert world.sessions.statistics().recovered == 1


async def test_a_session_read_for_nobody_and_forgotten_is_read_again(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, left: Any
) -> None:
    """A reading whose waiters all left, and which was then forgotten, loses no position."""
    left.recover_seconds = 1
    async with open_world(left, resting=1) as world:
        with trio.move_on_after(0.5):
            await world.offer(make_arrival(1))
        await trio.sleep(1)
        assert world.state() is SessionState.RESTING
        await world.offer(make_arrival(1), 2)
        world.rest_everybody()
        await trio.sleep(3)
        assert world.state() is None
        assert await world.offer(make_arrival(1, 300)) == Admitted(1, 4 * 528)


async def test_many_readings_that_end_together_lose_no_position(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """With room for one resting session, twenty recovered at the same moment all go on."""
    async with open_world() as world:
        for number in range(20):
            await world.offer(make_arrival(3), number)
        await world.sessions.drain()
    spool = world.spool
    spool.next_process()
    spool.recover_seconds = 1
    async with open_world(spool, resting=1) as world, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(_expect, world, make_arrival(1), Admitted(1, 4 * 528), number)


async def test_a_checkpoint_on_its_way_to_disk_is_not_forgotten(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, left: Any
) -> None:
    """A session whose checkpoint the writer still has to write stays known, however many rest."""
    async with open_world(left, resting=1) as world:
        await world.offer(make_arrival(1), 2)
        await trio.sleep(2)
        left.torn_frames, left.append_seconds = 4, 5
        with trio.move_on_after(0.0):
            await world.offer(make_arrival(1))
        await trio.sleep(1)
        world.rest_everybody()
        await trio.sleep(1)
        assert (world.state(1), world.state(2)) == (SessionState.RESTING, None)
        assert await world.offer(make_arrival(1, 300)) == Admitted(1, 4 * 528)
        await trio.sleep(20)
        assert world.actor().tally.plain() == {"used": 4, "torn_spool": 4}


async def test_a_crash_is_one_session_s_own(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Its chunk is lost{actor_crashed}; it goes on from before it, others notice nothing."""
    async with open_world() as world:
        for number in (1, 2):
            await world.offer(make_arrival(3), number)
        await trio.sleep(2)
        await world.offer(make_arrival(3, 300), 1)
        await world.offer(make_arrival(4, 600, poisoned=True), 1)
        await world.offer(make_arrival(3, 300), 2)
        await trio.sleep(2)
        assert (world.state(1), world.state(2)) == (SessionState.FAILED, SessionState.LIVE)
        assert world.sessions.statistics().crashed == 1
        assert world.sessions.statistics().failed == 1
        world.settled_exactly()
        assert await world.offer(make_arrival(2, 1000), 1) == Admitted(2, 12 * 528)
        assert isinstance(await world.offer(make_arrival(2, 600), 2), Admitted)
        await trio.sleep(2)
        assert world.actor(1).tally.plain() == {"used": 5, "actor_crashed": 7}
        assert world.actor(1).timeline.used == 5
        assert world.actor(2).tally.plain() == {"used": 8}


async def test_after_a_crash_a_restart_goes_on_from_the_checkpoint(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """The checkpoint of a crash is in the file, so the next process does not fold those frames."""
    async with open_world() as world:
        await world.offer(make_arrival(4, poisoned=True))
        await trio.sleep(2)
        assert world.state() is SessionState.FAILED
    spool = world.spool
    spool.next_process()
    async with open_world(spool) as world:
        assert await world.offer(make_arrival(2, 1000)) == Admitted(2, 6 * 528)
        assert world.actor().tally.ended == {Reason.ACTOR_CRASHED: 4}


async def test_draining_brings_all_to_disk_and_takes_nothing_more(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, left: Any
) -> None:
    """Live, known and unknown sessions are told draining; what was accepted is on disk."""
    async with open_world(left) as world:
        world.spool.append_seconds = 3
        for number in range(2, 12):
            await world.offer(make_arrival(3), number)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.sessions.drain)
            await trio.sleep(1)
            for number in (1, 2, 99):
                refusal = await world.offer(make_arrival(1), number)
                assert isinstance(refusal, Refusal)
                assert refusal.reason is Reason.DRAINING
        assert world.ended(Reason.USED) == 30
        assert world.ended(Reason.DRAINING) == 3
        assert world.sessions.statistics().live == 0
        world.settled_exactly()
        await world.sessions.drain()  # again, with nobody left


async def test_what_the_deadline_leaves_behind_is_lost_and_counted(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Closed without draining, frames that wait are lost{shutdown}, in the chunk and the inbox."""
    async with open_world() as world:
        world.spool.append_seconds = 30
        await world.offer(make_arrival(3))
        await trio.sleep(2)
        await world.offer(make_arrival(2, 300))
        world.check()
    assert world.ended(Reason.SHUTDOWN) == 5
    world.settled_exactly()


async def _expect(world: Any, arrival: Arrival, outcome: Admitted, number: int = 1) -> None:
    assert await world.offer(arrival, number) == outcome


async def test_a_checkpoint_that_waits_to_be_written_is_not_changed_by_the_session_s_next_life(
    autojump_clock: MockClock,
    open_world: OpenWorld,
    make_arrival: MakeArrival,
    make_identity: MakeIdentity,
) -> None:
    """What goes on after a crash does not reach into the state that another thread is writing."""
    async with open_world() as world:
        await world.offer(make_arrival(4, poisoned=True))
        await trio.sleep(1.1)
        world.spool.append_seconds = 5
        await trio.sleep(1)
        assert world.state() in {SessionState.FAILED, SessionState.LIVE}
        await world.offer(make_arrival(2, 1000))
        world.sessions.refuse(make_identity(1), Reason.RATE_SESSION, 9)
        await trio.sleep(30)
        ((_, saved, *_),) = world.spool.files.values()
        assert saved.before.tally.plain() == {"actor_crashed": 4}
        assert saved.before.tally.seen == 4
