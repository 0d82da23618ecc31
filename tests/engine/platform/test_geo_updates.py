"""The geo database is fetched by itself when that is due, and when it is asked for."""

from dataclasses import dataclass, field

import trio
from trio.testing import MockClock

from penstock.engine.platform.geo_updates import GeoUpdates
from penstock.engine.platform.schedule import RETRY_SECONDS
from penstock.engine.platform.syncing import SourceError

WEEK = 7 * 86_400.0
START = 1_770_000_000.0


class Wall:
    """The mock clock's time, as the time of day."""

    def monotonic(self) -> float:
        return trio.current_time()

    def unix(self) -> float:
        return START + trio.current_time()


@dataclass
class Source:
    """Has a database from `fetched` on; each of `answers` is a failure in its place."""

    fetched: float | None = None
    answers: list[SourceError] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)
    held: trio.Event | None = None

    async def update(self) -> None:
        self.asked_at.append(trio.current_time())
        if self.held is not None:
            await self.held.wait()
        if self.answers:
            raise self.answers.pop(0)
        self.fetched = START + trio.current_time()

    def fetched_unix(self) -> float | None:
        return self.fetched


async def run_for(seconds: float, updates: GeoUpdates, clock: MockClock) -> None:
    """Let so much time pass, half an hour at a time."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(updates.run)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(int(seconds // 1800)):
            clock.jump(1800)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_it_is_fetched_at_once_and_then_once_a_period(mock_clock: MockClock) -> None:
    """Where there is none, without waiting to be asked."""
    source = Source()
    updates = GeoUpdates(source, Wall(), WEEK)
    await run_for(2.5 * WEEK, updates, mock_clock)
    assert len(source.asked_at) == 3
    assert source.asked_at[0] == 0
    for before, after in zip(source.asked_at, source.asked_at[1:], strict=False):
        assert WEEK <= after - before <= WEEK + 3600
    assert (updates.done, updates.failed) == (3, 0)


async def test_a_restart_does_not_fetch_again(mock_clock: MockClock) -> None:
    """What was fetched two days ago is due in five; also where its file's time is yet to come."""
    for age in (-2, 2000):
        source = Source(START + age * 86_400)
        await run_for(4.9 * 86_400, GeoUpdates(source, Wall(), WEEK), mock_clock)
        assert source.asked_at == []


async def test_a_failure_is_tried_again_later(mock_clock: MockClock) -> None:
    """After an hour, or when the other side said; asked for, it is tried at once."""
    source = Source(None, [SourceError("rate_limited", "429", 3 * RETRY_SECONDS)])
    source.answers.append(SourceError("unavailable", "503"))
    updates = GeoUpdates(source, Wall(), WEEK)
    await run_for(2 * RETRY_SECONDS, updates, mock_clock)
    assert (len(source.asked_at), updates.failed) == (1, 1)
    asked = updates.ask_nowait()
    await run_for(0, updates, mock_clock)
    assert asked.error is not None
    assert (asked.error.reason, updates.failed) == ("unavailable", 2)
    await run_for(2 * RETRY_SECONDS, updates, mock_clock)
    assert (updates.done, updates.failed) == (1, 2)


async def test_without_a_period_it_waits_to_be_asked(mock_clock: MockClock) -> None:
    """Nothing is fetched by itself; whoever asks while it is fetched gets the same."""
    source = Source(held=trio.Event())
    updates = GeoUpdates(source, Wall(), 0)
    await run_for(WEEK, updates, mock_clock)
    assert source.asked_at == []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(updates.run)
        first = updates.ask_nowait()
        await trio.testing.wait_all_tasks_blocked()
        assert updates.ask_nowait() is first
        assert source.held is not None
        source.held.set()
        await first.ended.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert len(source.asked_at) == 1
        nursery.cancel_scope.cancel()
