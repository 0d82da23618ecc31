from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import trio
from trio.testing import MockClock

from penstock.engine.platform.exclusions import Exclusion, ExclusionBook, ExclusionEdition
from penstock.engine.platform.schedule import RETRY_SECONDS
from penstock.engine.platform.syncing import ExclusionSync, SourceError, SyncStatus

WEEK = 7 * 86_400.0
LIST = [Exclusion("198.51.100.0/24", "ccpa_do_not_sell", 0)]


class Wall:
    """The mock clock's time, as the time of day."""

    def monotonic(self) -> float:
        return trio.current_time()

    def unix(self) -> float:
        return 1_770_000_000.0 + trio.current_time()


@dataclass
class Source:
    answers: list[Any] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)

    async def exclusions(self) -> Sequence[Exclusion]:
        self.asked_at.append(trio.current_time())
        answer = self.answers.pop(0) if self.answers else LIST
        if isinstance(answer, Exception):
            raise answer
        found: Sequence[Exclusion] = answer
        return found


@dataclass
class Keeper:
    kept: list[ExclusionEdition] = field(default_factory=list)
    full: bool = False

    def keep(self, edition: ExclusionEdition) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.kept.append(edition)


async def run_for(seconds: float, sync: ExclusionSync, clock: MockClock) -> None:
    """Let so much time pass, an hour at a time; threads end in between."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sync.run)
        for _ in range(int(seconds // 1800)):
            for _ in range(3):
                await trio.testing.wait_all_tasks_blocked(0.001)
                await trio.to_thread.run_sync(lambda: None)
            clock.jump(1800)
        await trio.testing.wait_all_tasks_blocked(0.001)
        nursery.cancel_scope.cancel()


async def test_it_syncs_once_a_week_by_itself(mock_clock: MockClock) -> None:
    """The first one comes at once where there was none, the others a period after the last."""
    source, keeper, book = Source(), Keeper(), ExclusionBook(ExclusionEdition(()))
    sync = ExclusionSync(source, keeper, book, Wall(), WEEK)
    await run_for(2.5 * WEEK, sync, mock_clock)
    assert len(source.asked_at) == 3
    assert source.asked_at[0] == 0
    for before, after in zip(source.asked_at, source.asked_at[1:], strict=False):
        assert WEEK <= after - before <= WEEK + 3600
    assert book.edition.covers(ip_address("198.51.100.45"))
    assert len(keeper.kept) == 3


async def test_a_restart_does_not_sync_again(mock_clock: MockClock) -> None:
    """What was synced two days ago is due in five."""
    source = Source()
    synced = int((Wall().unix() - 2 * 86_400) * 1000)
    book = ExclusionBook(ExclusionEdition(LIST, "before", synced))
    await run_for(4.9 * 86_400, ExclusionSync(source, Keeper(), book, Wall(), WEEK), mock_clock)
    assert source.asked_at == []
    assert book.edition.batch_id == "before"


async def test_a_failure_is_tried_again_later_and_costs_nothing(mock_clock: MockClock) -> None:
    """The list before stays; the next attempt comes when the other side said, no sooner."""
    source = Source([SourceError("rate_limited", "429", 3 * RETRY_SECONDS), []])
    keeper = Keeper()
    book = ExclusionBook(ExclusionEdition(LIST, "before", 1))
    sync = ExclusionSync(source, keeper, book, Wall(), WEEK)
    await run_for(2 * RETRY_SECONDS, sync, mock_clock)
    assert len(source.asked_at) == 1
    assert sync.state is not None
    assert (sync.state.status, sync.state.reason) == (SyncStatus.FAILED, "rate_limited")
    await run_for(1.5 * RETRY_SECONDS, sync, mock_clock)
    # An empty list in the place of one that is not is no list.
    assert len(source.asked_at) == 2
    assert sync.state.reason == "empty"
    assert (book.edition.batch_id, keeper.kept) == ("before", [])


async def test_what_cannot_be_kept_is_not_in_force(mock_clock: MockClock) -> None:
    """A list that is not on disk would be forgotten by the next start."""
    book = ExclusionBook(ExclusionEdition(LIST, "before", 1))
    sync = ExclusionSync(Source(), Keeper(full=True), book, Wall(), WEEK)
    await run_for(1800, sync, mock_clock)
    assert sync.state is not None
    assert (sync.state.status, sync.state.reason) == (SyncStatus.FAILED, "disk")
    assert book.edition.batch_id == "before"


async def test_without_a_period_it_waits_to_be_asked(mock_clock: MockClock) -> None:
    """Nothing is fetched by itself; what was asked for is."""
    source, book = Source(), ExclusionBook(ExclusionEdition(()))
    sync = ExclusionSync(source, Keeper(), book, Wall(), 0)
    await run_for(WEEK, sync, mock_clock)
    assert source.asked_at == []
    asked = sync.ask_nowait()
    assert sync.ask_nowait() is asked
    await run_for(1800, sync, mock_clock)
    assert sync.state is not None
    assert (sync.state.batch_id, sync.state.status) == (asked.batch_id, SyncStatus.DONE)
    assert book.edition.batch_id == asked.batch_id
