# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock.engine.blob_port import BlobReason
from penstock.engine.delivery_records import Delivery, Progress
from penstock.engine.endings import EndDelayed, Ended, EndUnstored
from penstock.engine.inbox import Arrival
from penstock.engine.ledger_port import LedgerReason
from penstock.engine.records import FinalEntry

MakeArrival = Callable[..., Arrival]
OpenWorld = Callable[..., Any]
Make = Callable[..., Any]


async def _ended(world: Any, make_arrival: MakeArrival, number: int = 1) -> Any:
    await world.offer(make_arrival(4), number)
    return await world.end(number)


def _order(world: Any, number: int = 1, revision: int = 1) -> Progress:
    progress: Progress = world.finals.orders[world.name(number), revision]
    return progress


async def test_an_end_is_committed_then_stored_then_published_then_tidied(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """No step is begun before the one on which a crash would fall back is done."""
    async with open_world() as world:
        await world.offer(make_arrival(4))
        steps: list[str] = []
        for part in (world.finals, world.blobs, world.core, world.spool):
            part.fate = steps.append
        outcome = await world.end()
        assert isinstance(outcome, Ended)
        assert outcome.progress.done
        await trio.sleep(1)
        assert [step.removeprefix("after ") for step in steps if step.startswith("after")] == [
            "append",
            "commit",
            "put",
            "publish",
            "commit",
            "remove",
        ]
        assert world.spool.files == {}
        assert _order(world) == outcome.progress


async def test_core_down_does_not_hold_up_an_end(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """The client has its 200 with the publication pending; Core is told once it is back."""
    async with open_world(max_attempts=60) as world:
        world.core.broken = True
        outcome = await _ended(world, make_arrival)
        assert isinstance(outcome, Ended)
        assert outcome.progress.replay is not None
        assert outcome.progress.published_unix_ms is None
        await trio.sleep(130)
        assert world.core.events == {}
        world.core.broken = False
        await trio.sleep(129)
        assert list(world.core.events) == [(world.name(1), 1)]
        again = await world.end()
        assert isinstance(again, Ended)
        assert again.progress.published_unix_ms is not None


async def test_a_core_that_hangs_keeps_no_replay_waiting(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """With many more ends than Core takes at a time, each is stored and answered at once."""
    async with open_world() as world:
        world.core.publish_seconds = 60.0
        for number in range(1, 61):
            await world.offer(make_arrival(2), number)
        waited = []

        async def end(number: int) -> None:
            began = trio.current_time()
            assert isinstance(await world.end(number), Ended)
            waited.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            for number in range(1, 61):
                nursery.start_soon(end, number)
        assert max(waited) <= 3.0
        assert len(world.blobs.blobs) == 60
        world.core.publish_seconds = 0.0
        await trio.sleep(130)
        assert len(world.core.events) == 60


async def test_a_failing_store_is_told_and_tried_again_at_the_clients_wish(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """The final stands, the client asks again, and that is an attempt at once."""
    async with open_world(max_attempts=60) as world:
        world.blobs.broken = BlobReason.DENIED
        outcome = await _ended(world, make_arrival)
        assert isinstance(outcome, EndUnstored)
        assert (outcome.code, outcome.retry_after) == ("blob_denied", 5.0)
        assert world.core.events == {}
        assert world.name(1) in world.spool.files
        await trio.sleep(5)
        world.blobs.broken = None
        began = trio.current_time()
        assert isinstance(await world.end(), Ended)
        assert trio.current_time() == began
        assert len(world.finals.finals) == world.blobs.puts == len(world.core.events) == 1


async def test_pauses_grow_and_are_spread(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Each pause is about twice the last, up to five minutes, and spread over its half."""
    async with open_world(max_attempts=100) as world:
        spread = iter([0.0, 1.0] * 50)
        world.deliveries._jitter = lambda: next(spread)
        world.core.broken = True
        calls: list[float] = []
        publish = world.core.publish

        async def note(event: dict[str, Any]) -> None:
            calls.append(trio.current_time())
            await publish(event)

        world.core.publish = note
        await _ended(world, make_arrival)
        await trio.sleep(330)
        pauses = [later - earlier for earlier, later in pairwise(calls)]
        # What is due is looked for once a second.
        wanted = [1, 2, 2, 8, 8, 32, 32, 128, 128, 300, 150, 300]
        for pause, due in zip(pauses, wanted, strict=False):
            assert due - 0.51 <= pause <= due + 1.51, pauses
        assert _order(world).attempts == len(calls)


async def test_what_fails_too_often_is_dead_until_somebody_asks(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """It is tried no more by itself, counted, kept with its file, and done when its client asks."""
    async with open_world(max_attempts=3) as world:
        world.blobs.broken = BlobReason.BUCKET_MISSING
        await _ended(world, make_arrival)
        await trio.sleep(10)
        assert _order(world).dead
        assert "blob_bucket_missing" in _order(world).error
        assert _order(world).attempts == 3
        statistics = world.deliveries.statistics()
        assert (statistics.died, statistics.failed_attempts) == (1, 3)
        assert statistics.outbox.dead == 1
        assert isinstance(await world.end(), EndUnstored)
        await trio.sleep(1)
        assert world.deliveries.statistics().died == 1
        world.blobs.broken = None
        assert isinstance(await world.end(), Ended)
        assert (_order(world).done, _order(world).dead) == (True, False)
        await trio.sleep(1)
        assert world.spool.files == {}


async def test_a_restart_goes_on_with_what_is_due(
    autojump_clock: MockClock,
    open_world: OpenWorld,
    make_arrival: MakeArrival,
    make_blobs: Make,
    make_core: Make,
) -> None:
    """What an earlier process left is delivered although nobody asks, more of it than at a time."""
    blobs, core = make_blobs(broken=BlobReason.UNREACHABLE), make_core()
    async with open_world(blobs=blobs, core=core) as world:
        for number in range(1, 51):
            assert isinstance(await _ended(world, make_arrival, number), EndUnstored)
        spool, finals = world.spool, world.finals
    spool.next_process()
    blobs.broken = None
    async with open_world(spool, finals, blobs=blobs, core=core) as world:
        await trio.sleep(4)
        assert len(blobs.blobs) == len(core.events) == blobs.puts == core.calls == 50
        assert spool.files == {}
        assert world.deliveries.statistics().outbox.pending == 0


async def test_a_backlog_does_not_wait_for_the_next_second(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """As long as deliveries succeed, the next ones are begun as soon as there is room."""
    async with open_world(max_attempts=60) as world:
        world.core.broken = True
        for number in range(1, 201):
            await _ended(world, make_arrival, number)
        await trio.sleep(30)
        world.core.broken = False
        world.core.publish_seconds = 0.01
        for key, progress in world.finals.orders.items():
            world.finals.orders[key] = Progress(progress.replay_due, progress.replay)
        await trio.sleep(2)
        assert len(world.core.events) == 200


async def test_progress_that_is_not_on_disk_was_not_made(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """The file stays, nothing is claimed as published, and it is done again without harm."""
    async with open_world() as world:
        await world.offer(make_arrival(4))
        put = world.blobs.put

        async def put_and_break(*given: Any, **said: Any) -> Any:
            stored = await put(*given, **said)
            world.finals.broken = LedgerReason.DISK_FULL
            return stored

        world.blobs.put = put_and_break
        outcome = await world.end()
        assert isinstance(outcome, Ended)
        assert outcome.progress.published_unix_ms is None
        await trio.sleep(10)
        assert world.name(1) in world.spool.files
        world.blobs.put = put
        world.finals.broken = None
        await trio.sleep(5)
        assert _order(world).done
        assert (world.spool.files, len(world.core.events), world.core.calls) == ({}, 1, 2)


@pytest.mark.parametrize("poisoned", ["core", "blobs"])
async def test_a_poisoned_delivery_does_not_end_the_process(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, poisoned: str
) -> None:
    """A fault of this software in one delivery is that one's failed attempt; others go on."""

    async def fail(*_: Any, **__: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    async with open_world(max_attempts=2) as world:
        part = getattr(world, poisoned)
        name = {"core": "publish", "blobs": "put"}[poisoned]
        work = getattr(part, name)
        setattr(part, name, fail)
        await _ended(world, make_arrival)
        await trio.sleep(30)
        assert _order(world).dead
        assert "ZeroDivisionError" in _order(world).error
        setattr(part, name, work)
        assert isinstance(await _ended(world, make_arrival, 2), Ended)
        assert _order(world, 2).done


async def test_a_row_that_cannot_be_read_is_not_published(
    autojump_clock: MockClock, open_world: OpenWorld, make_identity: Make
) -> None:
    """A final whose body is lost stays in the outbox with its reason; Core is told nothing."""
    async with open_world(max_attempts=2) as world:
        who = make_identity(1)
        row = FinalEntry(who.session_id, who.org_id, who.principal_id, 1, "completed", 0, {})
        world.finals.finals[who.session_id, 1] = row
        world.finals.orders[who.session_id, 1] = Progress(replay_due=False)
        await trio.sleep(30)
        assert _order(world).dead
        assert "cannot be read" in _order(world).error
        assert world.core.calls == 0


async def test_so_many_replays_wait_and_no_more(
    autojump_clock: MockClock,
    open_world: OpenWorld,
    make_arrival: MakeArrival,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a store that hangs, the ends over the bound are told at once, and are stored later."""
    async with open_world(live=400) as world:
        monkeypatch.setattr("penstock.engine.deliveries._MOST_UNDER_WAY", 200)
        world.blobs.put_seconds = 100.0
        codes: list[str] = []

        async def end(number: int) -> None:
            outcome = await world.end(number)
            assert isinstance(outcome, EndUnstored | EndDelayed)
            codes.append(outcome.code)

        for number in range(1, 301):
            await world.offer(make_arrival(1), number)
        async with trio.open_nursery() as nursery:
            for number in range(1, 301):
                nursery.start_soon(end, number)
        assert world.deliveries.statistics().under_way == 200
        assert codes.count("blob_busy") == 100
        assert codes.count("end_delayed") == 200
        world.blobs.put_seconds = 0.1
        await trio.sleep(200)
        assert len(world.core.events) == 300


async def test_nothing_is_begun_when_the_process_ends(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Who asks then does not wait for what will not come."""
    async with open_world() as world:
        await _ended(world, make_arrival)
        deliveries, row = world.deliveries, world.finals.rows[world.name(1)]
    attempt = deliveries.begin_nowait(Delivery(row, Progress(replay_due=True)))
    assert attempt.stored.is_set()
    assert attempt.finished.is_set()
    assert not attempt.progress.stored
