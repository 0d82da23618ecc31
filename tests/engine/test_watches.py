from typing import Any

import pytest
import trio
import trio.testing

from penstock.engine import wire
from penstock.engine.inbox import Arrival
from penstock.engine.motion.motion import NO_MOTION
from penstock.engine.outcomes import Tally
from penstock.engine.watches import MOST_WATCHES, Seen, TooManyWatchesError, Watches


def _arrivals(start_ms: int) -> list[Arrival]:
    points: Any = [[[0.5] * 4] * 33]
    return [Arrival(wire.decode(wire.encode(points, [start_ms])), 0)]


def _starts(seen: Seen) -> list[int]:
    return [arrival.batch.timestamps_ms[0] for arrival in seen.arrivals]


async def test_who_is_slow_misses_what_came_between() -> None:
    """A watch holds what came last, and what it gives is given once."""
    watches = Watches()
    with watches.watch("a") as watch:
        for start in (100, 200, 300):
            watches.tell_nowait("a", _arrivals(start), NO_MOTION, Tally())
        watches.tell_nowait("b", _arrivals(400), NO_MOTION, Tally())
        assert _starts(await watch.take()) == [300]
        async with trio.open_nursery() as nursery:
            taken: list[list[int]] = []

            async def take() -> None:
                taken.append(_starts(await watch.take()))

            nursery.start_soon(take)
            await trio.testing.wait_all_tasks_blocked()
            assert not taken
            watches.tell_nowait("a", _arrivals(500), NO_MOTION, Tally())
        assert taken == [[500]]


def test_counts_are_those_of_the_moment() -> None:
    """What was shown stays as it was, however the session goes on."""
    watches, tally = Watches(), Tally()
    with watches.watch("a") as watch:
        watches.tell_nowait("a", _arrivals(0), NO_MOTION, tally)
        tally.seen = 7
        newest = watch._newest
        assert newest is not None
        assert newest.tally.seen == 0


def test_only_so_many_look_on() -> None:
    """One more is refused until one goes, and nothing is left of those who went."""
    watches = Watches()
    opened = [watches.watch(f"{n % 2}") for n in range(MOST_WATCHES)]
    for one in opened:
        one.__enter__()
    assert watches.number == MOST_WATCHES
    with pytest.raises(TooManyWatchesError), watches.watch("c"):
        pass
    for one in opened:
        one.__exit__(None, None, None)
    assert not watches.watched
