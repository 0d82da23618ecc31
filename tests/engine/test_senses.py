# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
from collections.abc import Callable
from typing import Any

import trio
from trio.testing import MockClock

from penstock.engine.inbox import Arrival
from penstock.engine.senses import Senses

MakeArrival = Callable[..., Arrival]
OpenWorld = Callable[..., Any]


async def test_what_is_read_is_what_there_is(
    autojump_clock: MockClock, open_world: OpenWorld, make_arrival: MakeArrival
) -> None:
    """Memory, inboxes, the writer's age and the longest delay reach the policy as they are."""
    async with open_world(memory=1 << 20, inbox_soft_batches=4) as world:
        senses = Senses(world.plant, lambda: world.sessions.live, lambda: 0.2)
        idle = senses.readings()
        assert (idle.memory_held, idle.inbox_held, idle.inbox_room) == (0, 0, 0)
        batch = make_arrival(3)
        for number in (1, 1, 2):
            await world.offer(batch, number)
        world.spool.append_seconds = 5.0
        full = senses.readings()
        assert full.memory_held == 3 * batch.batch.held_bytes
        assert full.memory_limit == 1 << 20
        assert (full.inbox_held, full.inbox_room) == (3, 2 * 4)
        assert full.request_delay_seconds == 0.2
        await trio.sleep(3)
        assert 1.9 < senses.readings().writer_lag_seconds < 2.1


async def test_the_policy_senses_by_itself(
    autojump_clock: MockClock, open_world: OpenWorld
) -> None:
    """While `run` runs, the stress follows what is read, up and down again."""
    delays = [0.5]
    async with open_world() as world, trio.open_nursery() as nursery:
        senses = Senses(world.plant, lambda: 0, lambda: delays[0])
        nursery.start_soon(senses.run)
        await trio.sleep(2)
        assert world.plant.sluice.stress.level > 99
        delays[0] = 0.0
        await trio.sleep(3)
        assert world.plant.sluice.stress.level < 1
        nursery.cancel_scope.cancel()
