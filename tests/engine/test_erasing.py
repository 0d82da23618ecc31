# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
"""A session that is erased goes without a trace of frames, and nothing brings it back."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock.engine.delivery_records import Delivery, Progress
from penstock.engine.endings import Ended, SessionUnknown
from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Reason
from penstock.engine.session import Refusal

MakeArrival = Callable[..., Arrival]
OpenWorld = Callable[..., Any]


@pytest.mark.parametrize("resting", [False, True])
async def test_an_erased_session_takes_nothing_more(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival, *, resting: bool
) -> None:
    """Live or resting: its frames are settled, later ones refused, its end finds no session."""
    async with open_world() as world:
        await world.offer(make_arrival(4))
        if resting:
            world.rest_everybody()
            await trio.sleep(5)
        assert [one.session_id for one in world.sessions.of_person(world.identity(1).principal_id)]
        await world.sessions.erase(world.name(1))
        assert world.state() is None
        assert world.sessions.of_person(world.identity(1).principal_id) == []
        late = await world.offer(make_arrival(2, 1000))
        assert isinstance(late, Refusal)
        assert late.reason is Reason.SESSION_FINALIZED
        assert isinstance(await world.end(), SessionUnknown)
        assert world.finals.rows == {}
        world.settled_exactly()


async def test_an_end_under_way_comes_first(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Its client is told that it has ended; asked again after that, nobody knows of it."""
    async with open_world() as world:
        world.finals.commit_seconds = 1.0
        await world.offer(make_arrival(4))
        outcomes = []

        async def end() -> None:
            outcomes.append(await world.end())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            await trio.testing.wait_all_tasks_blocked()
            await world.sessions.erase(world.name(1))
        assert isinstance(outcomes[0], Ended)
        assert isinstance(await world.end(), SessionUnknown)
        assert isinstance(await world.offer(make_arrival(2, 1000)), Refusal)


async def test_a_session_that_nobody_knows_can_be_erased(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """It never comes to life in this process; twice is as good as once; others are untouched."""
    async with open_world() as world:
        await world.offer(make_arrival(4), 2)
        for _ in range(2):
            await world.sessions.erase(world.name(1))
        assert isinstance(await world.offer(make_arrival(2)), Refusal)
        assert isinstance(await world.end(2), Ended)


async def test_what_is_withheld_is_not_delivered(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """What is under way is waited for, and what was read of before is not begun after."""
    async with open_world() as world:
        await world.offer(make_arrival(4))
        world.blobs.put_seconds = 1.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.end)
            while not world.deliveries.statistics().under_way:  # noqa: ASYNC110 - mock time
                await trio.sleep(0.01)
            final = world.finals.rows[world.name(1)]
            await world.deliveries.withhold(world.name(1))
            assert world.deliveries.statistics().under_way == 0
            assert world.blobs.puts == 1
        stale = Delivery(final, Progress(replay_due=True))
        attempt = world.deliveries.begin_nowait(stale)
        assert attempt.finished.is_set()
        assert not attempt.progress.stored
        await trio.sleep(10)
        assert world.blobs.puts == 1
