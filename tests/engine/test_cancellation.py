# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
"""Cancellation at every step: a scenario is run once for each step of each of its tasks.

The scenario is run whole first, which tells how many steps there are; then it is run again and
again, cancelled after the first step, after the second, and so on.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Reason
from penstock.engine.session import Admitted, Refusal

MakeArrival = Callable[..., Arrival]
# Given a scope to be cancelled in.
Scenario = Callable[[trio.CancelScope], Awaitable[None]]


class CancelAfter(trio.abc.Instrument):
    """Cancels a scope after so many steps, of whichever task."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self.scope = scope
        self.left = steps
        self.steps = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self.steps += 1
        if self.steps == self.left:
            self.scope.cancel()


async def cancel_everywhere(scenario: Scenario, stride: int = 1) -> int:
    """Run a scenario once for each step, cancelled after it; give how often that was."""
    points = 0
    while True:
        scope = trio.CancelScope()
        counter = CancelAfter(scope, 1 + points * stride)
        trio.lowlevel.add_instrument(counter)
        try:
            await scenario(scope)
        finally:
            trio.lowlevel.remove_instrument(counter)
        if not scope.cancel_called:
            return points
        points += 1


@pytest.fixture
async def traffic(
    open_world: Callable[..., Any], make_spool: Callable[..., Any], make_arrival: MakeArrival
) -> Callable[[], Any]:
    """Give the maker of spools in which an earlier process left session 1, with a torn end."""
    before = make_spool()
    async with open_world(before) as world:
        await world.offer(make_arrival(3))
        await world.sessions.drain()

    def left() -> Any:
        spool = make_spool(
            files={name: list(chunks) for name, chunks in before.files.items()},
            torn_frames=2,
            append_seconds=0.02,
            recover_seconds=0.02,
        )
        spool.next_process()
        return spool

    return left


async def play(world: Any, make_arrival: MakeArrival) -> None:
    """Offer, flush, crash, rest, wake, forget, recover and drain: every path there is."""

    async def flush() -> None:
        await trio.sleep(1.1)

    async with trio.open_nursery() as nursery:
        for number in (1, 1, 2, 3):
            nursery.start_soon(world.offer, make_arrival(2, 300), number)
    await world.offer(make_arrival(2, poisoned=True), 3)
    await flush()
    await world.offer(make_arrival(2, 500), 2)
    world.rest_everybody()
    await trio.sleep(0.1)
    for number in (1, 2, 3):
        await world.offer(make_arrival(1, 900), number)
    await flush()
    world.spool.shed = Reason.DISK_FULL
    await world.offer(make_arrival(1, 1000), 1)
    await flush()
    world.spool.shed = None
    await world.offer(make_arrival(1, 1100), 2)
    await world.sessions.drain()


async def test_an_engine_that_is_cancelled_anywhere_keeps_the_law(
    autojump_clock: MockClock,
    open_world: Callable[..., Any],
    make_arrival: MakeArrival,
    traffic: Callable[[], Any],
) -> None:
    """Wherever the whole engine is cut off, every frame has one end, and none waits any more."""
    worlds: list[Any] = []

    async def scenario(scope: trio.CancelScope) -> None:
        with scope:
            async with open_world(traffic(), resting=1) as world:
                worlds.append(world)
                await play(world, make_arrival)
        for world in worlds[-1:]:
            world.settled_exactly()
            assert world.sessions._live == {}
        if worlds and not scope.cancel_called:
            assert worlds[-1].ended(Reason.SHUTDOWN) == 0

    points = await cancel_everywhere(scenario)
    assert points > 100
    assert any(world.ended(Reason.SHUTDOWN) for world in worlds)


async def test_a_deadline_that_falls_anywhere_in_the_drain_keeps_the_law(
    autojump_clock: MockClock,
    open_world: Callable[..., Any],
    make_arrival: MakeArrival,
    traffic: Callable[[], Any],
) -> None:
    """Whenever draining is cut short, what is not settled is lost{shutdown}; closing is clean."""

    async def scenario(scope: trio.CancelScope) -> None:
        async with open_world(traffic()) as world:
            for number in (1, 2, 3):
                await world.offer(make_arrival(2, 300), number)
            with scope:
                await world.sessions.drain()
            waiting = world.ledger.process.pending
        world.settled_exactly()
        assert world.ended(Reason.SHUTDOWN) == waiting

    assert await cancel_everywhere(scenario) > 20


async def test_an_offer_that_is_cancelled_anywhere_counts_wholly_or_not_at_all(
    autojump_clock: MockClock,
    open_world: Callable[..., Any],
    make_arrival: MakeArrival,
    traffic: Callable[[], Any],
) -> None:
    """A client may leave at any moment: its frames are on disk or were never seen."""
    seen: set[int] = set()

    async def scenario(scope: trio.CancelScope) -> None:
        outcomes: list[Any] = []
        async with open_world(traffic()) as world:

            async def leave() -> None:
                with scope:
                    outcomes.append(await world.offer(make_arrival(2, 300)))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(leave)
                await trio.sleep(0.005)
                outcome = await world.offer(make_arrival(4, 500))
            answered = 2 if outcomes else 0
            assert outcome.position_bytes in {(3 + 4) * 528, (3 + 4 + answered) * 528}
            await world.sessions.drain()
            world.settled_exactly()
            assert world.ledger.process.seen == 4 + answered
            assert world.spool.frames(world.name(1)) == 3 + 4 + answered
            assert len(world.spool.recoveries) == 1
        seen.add(answered)

    assert await cancel_everywhere(scenario) > 20
    assert seen == {0, 2}


async def test_a_writer_that_ends_anywhere_leaves_the_books_in_order(
    autojump_clock: MockClock,
    open_world: Callable[..., Any],
    make_arrival: MakeArrival,
    traffic: Callable[[], Any],
) -> None:
    """When the writer stops, what it wrote is settled as written and the rest is lost, once."""
    ends: set[tuple[int, int]] = set()

    async def scenario(scope: trio.CancelScope) -> None:
        async with open_world(traffic()) as world:

            async def end_with(other: trio.CancelScope) -> None:
                with other:
                    await trio.sleep_forever()
                world.writer_scope.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(end_with, scope)
                for start in (300, 500):
                    for number in (1, 2):
                        outcome = await world.offer(make_arrival(2, start), number)
                        assert isinstance(outcome, Admitted | Refusal)
                    await trio.sleep(1.1)
                world.check()
                nursery.cancel_scope.cancel()
            on_disk = sum(world.spool.frames(name) for name in world.spool.names()) - 3
            assert world.ended(Reason.USED) == on_disk
        world.settled_exactly()
        ends.add((on_disk, world.ended(Reason.SHUTDOWN)))
        assert on_disk + world.ended(Reason.SHUTDOWN) == 8

    assert await cancel_everywhere(scenario) > 20
    assert {(0, 8), (8, 0)} <= ends
