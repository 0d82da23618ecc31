# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import trio
import trio.testing
from trio.testing import MockClock

from penstock.engine.blob_port import BlobReason, replay_key
from penstock.engine.endings import EndConflict, Ended
from penstock.engine.finals import ClientStatus, EndRequest, Final
from penstock.engine.inbox import Arrival
from penstock.engine.ledger_port import LedgerReason
from penstock.engine.outcomes import Reason
from penstock.engine.session import Admitted, Refusal

MakeArrival = Callable[..., Arrival]
OpenWorld = Callable[..., Any]


def _finals(world: Any, number: int = 1) -> list[Final]:
    """Give a session's finals, by revision."""
    rows = sorted(world.finals.finals.items())
    name = world.name(number)
    return [Final.from_plain(dict(row.body)) for key, row in rows if key[0] == name]


def _blob(world: Any, number: int = 1) -> bytes:
    identity = world.identity(number)
    blob: bytes = world.blobs.blobs[replay_key(identity.org_id, identity.session_id)]
    return blob


def _members(world: Any, number: int = 1) -> bytes:
    chunks = world.spool.chunks(world.name(number))
    return b"".join(arrival.member for chunk in chunks for arrival in chunk.batches)


async def test_an_idle_session_is_closed_once_and_provisionally(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Live or resting: one final, abandoned when last heard of, stored and published; file kept."""
    async with open_world(tidy=True, idle_seconds=5.0) as world:
        await world.offer(make_arrival(4))
        await world.offer(make_arrival(4), 2)
        await trio.sleep(2)
        world.rest_everybody()
        await world.offer(make_arrival(4, 1000), 2)
        await trio.sleep(60)
        for number, heard in ((1, 0), (2, 2)):
            (final,) = _finals(world, number)
            assert (final.revision, final.provisional) == (1, True)
            assert final.status is ClientStatus.ABANDONED
            assert final.ended_unix_ms // 1000 == 1_700_000_000 + heard
            assert world.state(number) is None
        assert world.abandonment.closed == len(world.blobs.blobs) == len(world.core.events) == 2
        assert set(world.spool.files) == {world.name(1), world.name(2)}
        world.settled_exactly()


async def test_a_session_that_is_heard_of_is_left_alone(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """A batch now and then keeps it open, for however long."""
    async with open_world(tidy=True, idle_seconds=5.0) as world:
        for second in range(0, 20, 4):
            await world.offer(make_arrival(2, 1000 * second))
            await trio.sleep(4)
        assert _finals(world) == []


async def test_an_expired_token_closes_a_session(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """With nothing since, and a grace for a renewal that is under way; a renewed one goes on."""
    async with open_world(tidy=True, idle_seconds=1000.0) as world:
        expires = 1_700_000_000 + 10
        await world.sessions.offer(world.identity(1), make_arrival(4), expires)
        await world.sessions.offer(world.identity(2), make_arrival(4), expires)
        await trio.sleep(35)
        assert _finals(world, 1) == _finals(world, 2) == []
        await world.sessions.offer(world.identity(2), make_arrival(4, 1000), expires + 1000)
        await trio.sleep(15)
        assert [final.provisional for final in _finals(world, 1)] == [True]
        assert _finals(world, 2) == []


async def test_the_clients_own_end_takes_the_place_of_a_provisional_one(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """The next revision, with its status and nothing lost; then it is over."""
    async with open_world(tidy=True, idle_seconds=5.0) as world:
        await world.offer(make_arrival(4))
        await trio.sleep(10)
        outcome = await world.end(frames_attempted=5)
        assert isinstance(outcome, Ended)
        final = outcome.final
        assert (final.revision, final.provisional) == (2, False)
        assert (final.frames_received, final.frames_dropped) == (4, 1)
        assert outcome.progress.done
        assert {revision for _, revision in world.core.events} == {1, 2}
        assert _blob(world) == _members(world)
        await trio.sleep(10)
        assert world.spool.files == {}
        assert isinstance(await world.end(status="cancelled"), EndConflict)
        late = await world.offer(make_arrival(2, 9000))
        assert isinstance(late, Refusal)
        assert late.reason is Reason.SESSION_FINALIZED


async def test_frames_after_a_provisional_end_are_in_the_next_revision(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """A pause costs nothing: position, figures, replay go on, and each silence is closed anew."""
    async with open_world(tidy=True, idle_seconds=5.0) as world:
        await world.offer(make_arrival(4))
        await trio.sleep(10)
        assert await world.offer(make_arrival(2, 1000)) == Admitted(2, 6 * 528)
        await trio.sleep(10)
        assert await world.offer(make_arrival(3, 2000)) == Admitted(3, 9 * 528)
        outcome = await world.end()
        assert isinstance(outcome, Ended)
        received = [(final.frames_received, final.provisional) for final in _finals(world)]
        assert received == [(4, True), (6, True), (9, False)]
        assert outcome.final.session_metrics["frames_used"] == 9
        assert _blob(world) == _members(world)
        world.settled_exactly()


async def test_a_session_that_goes_on_is_not_delivered_meanwhile(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Its file grows, so a provisional final's replay waits for the next end, which has it all."""
    async with open_world(tidy=True, idle_seconds=5.0) as world:
        world.blobs.broken = BlobReason.UNREACHABLE
        await world.offer(make_arrival(4))
        await trio.sleep(10)
        await world.offer(make_arrival(2, 1000))
        world.blobs.broken = None
        for second in range(2, 14, 3):
            await trio.sleep(3)
            await world.offer(make_arrival(2, 1000 * second))
        assert (world.blobs.puts, world.core.events) == (0, {})
        assert "goes on" in world.finals.orders[world.name(1), 1].error
        assert isinstance(await world.end(), Ended)
        assert [revision for _, revision in world.core.events] == [2]
        assert world.blobs.puts == 1
        assert _blob(world) == _members(world)
        assert world.finals.orders[world.name(1), 1].superseded


async def test_a_file_without_a_final_is_closed_after_a_restart(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Nobody has to ask; and not before it has been idle for long."""
    async with open_world() as world:
        await world.offer(make_arrival(4))
        await trio.sleep(2)
        spool = world.spool
    spool.next_process()
    async with open_world(spool, tidy=True, idle_seconds=30.0) as world:
        await trio.sleep(20)
        assert (_finals(world), spool.recoveries) == ([], [])
        await trio.sleep(25)
        assert [final.frames_received for final in _finals(world)] == [4]
        assert spool.recoveries == [world.name(1)]


async def test_a_session_that_went_on_before_a_crash_is_closed_again(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Frames that came after its provisional final are in the next one, although nobody asks."""
    async with open_world(tidy=True, idle_seconds=5.0) as world:
        await world.offer(make_arrival(4))
        await trio.sleep(10)
        await world.offer(make_arrival(2, 1000))
        await trio.sleep(2)
        spool, finals, blobs = world.spool, world.finals, world.blobs
    spool.next_process()
    async with open_world(spool, finals, blobs=blobs, tidy=True, idle_seconds=5.0) as world:
        await trio.sleep(20)
        assert [final.frames_received for final in _finals(world)] == [4, 6]
        assert _blob(world) == _members(world)


async def test_the_files_of_ended_sessions_are_removed_after_a_restart(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Stored: removed, also when its client asks first. Not stored: left for the delivery."""
    async with open_world() as world:
        world.spool.remove = lambda _: None  # dies before the file is removed
        for number in (1, 2):
            await world.offer(make_arrival(4), number)
            assert isinstance(await world.end(number), Ended)
        world.blobs.broken = BlobReason.DENIED
        await world.offer(make_arrival(4), 3)
        await world.end(3)
        spool, finals, blobs = world.spool, world.finals, world.blobs
    del spool.remove
    spool.next_process()
    async with open_world(spool, finals, blobs=blobs, tidy=True, idle_seconds=1.0) as world:
        assert isinstance(await world.end(2), Ended)
        await trio.sleep(10)
        assert set(spool.files) == {world.name(3)}
        blobs.broken = None
        await trio.sleep(130)
        assert spool.files == {}
        assert len(blobs.blobs) == 3


async def test_a_provisional_file_is_kept_for_as_long_as_a_token_might_hold(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Then it goes; its end still counts, late frames, which would replace its replay, do not."""
    async with open_world(tidy=True, idle_seconds=5.0, keep_seconds=40.0) as world:
        await world.offer(make_arrival(4))
        await trio.sleep(30)
        assert world.spool.files
        await trio.sleep(90)
        assert world.spool.files == {}
        before = _blob(world)
        late = await world.offer(make_arrival(2, 1000))
        assert isinstance(late, Refusal)
        assert late.reason is Reason.SESSION_FINALIZED
        outcome = await world.end(frames_attempted=6)
        assert isinstance(outcome, Ended)
        assert (outcome.final.revision, outcome.final.frames_received) == (2, 4)
        assert outcome.progress.done
        assert outcome.progress.replay is not None
        assert _blob(world) == before


async def test_a_file_is_not_removed_under_a_session_that_comes_back(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Whoever offers while it is looked at, or removed, finds either all of it or its end."""
    for moment in (0.0, 0.001, 0.5, 1.5):
        async with open_world(idle_seconds=5.0) as world:
            await world.offer(make_arrival(4))
            request = EndRequest(ClientStatus.ABANDONED, 1_700_000_000_000, provisional=True)
            await world.sessions.end(world.identity(1), request)
            final = await world.sessions.revive_file(world.name(1))
            assert final == _finals(world)[0]
            run_blocking = world.sessions._run_blocking

            async def slowly(*work: Any, run: Any = run_blocking) -> Any:
                await trio.sleep(1.0)
                done = await run(*work)
                await trio.sleep(1.0)
                return done

            world.sessions._run_blocking = slowly
            answers: list[Any] = []

            async def come_back(world: Any = world, into: list[Any] = answers) -> None:
                into.append(await world.offer(make_arrival(2, 1000)))

            async with trio.open_nursery() as nursery:
                if moment == 0.0:
                    nursery.start_soon(come_back)
                    await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(world.sessions.remove_file, final)
                if moment > 0.0:
                    await trio.sleep(moment)
                    nursery.start_soon(come_back)
            (answer,) = answers
            if isinstance(answer, Admitted):
                assert answer.position_bytes == 6 * 528
                await trio.sleep(2)
                assert world.spool.frames(world.name(1)) == 6
            else:
                assert answer.reason is Reason.SESSION_FINALIZED
                assert world.spool.files == {}


async def test_nothing_is_closed_while_the_ledger_is_away(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """The sessions stay as they are, are not tried without a pause, and are closed afterwards."""
    async with open_world(tidy=True, idle_seconds=5.0, end_wait_seconds=1.0) as world:
        for number in range(1, 41):
            await world.offer(make_arrival(2), number)
        world.finals.broken = LedgerReason.DISK_FULL
        await trio.sleep(20)
        assert world.abandonment.closed == 0
        assert await world.offer(make_arrival(2, 1000), 40) == Admitted(2, 4 * 528)
        world.finals.broken = None
        await trio.sleep(90)
        assert world.abandonment.closed == 40
        assert [final.frames_received for final in _finals(world, 40)] == [4]


async def test_a_final_that_cannot_be_read_does_not_stand_before_other_files(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Its file stays, and the files behind it are looked at all the same."""
    async with open_world() as world:
        for number in (1, 2):
            await world.offer(make_arrival(4), number)
        await trio.sleep(2)
        spool, finals = world.spool, world.finals
        await world.end(1)
        await trio.sleep(1)
    spool.files[world.name(1)] = spool.archive.pop(world.name(1))
    spool.next_process()
    finals.rows[world.name(1)] = replace(finals.rows[world.name(1)], body={"v": 99})
    async with open_world(spool, finals, tidy=True, idle_seconds=1.0) as world:
        await trio.sleep(30)
        assert world.name(1) in spool.files
        assert [final.frames_received for final in _finals(world, 2)] == [4]


async def test_many_left_files_are_read_a_handful_at_a_time(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """No look reads more than are closed at a time, and in the end all have their final."""
    async with open_world(live=200, resting=200) as world:
        for number in range(1, 101):
            await world.offer(make_arrival(1), number)
        await trio.sleep(2)
        spool = world.spool
    spool.next_process()
    async with open_world(spool, tidy=True, idle_seconds=1.0, resting=200) as world:
        await trio.sleep(0.5)
        assert len(spool.recoveries) <= 32
        await trio.sleep(20)
        assert len(world.finals.rows) == 100
        assert len(spool.recoveries) == 100
