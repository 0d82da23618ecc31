"""Usage in both ledgers: one row a day, made by whoever has opted in."""

from typing import Any

import trio

from penstock.engine.ledger_port import Ledger, Verdict
from penstock.engine.usage.records import (
    OPTED_OUT,
    UsageDay,
    UsageDays,
    UsageEntry,
    UsageOptedIn,
    UsageOptEntry,
)
from penstock.engine.usage.report import DAY_MS, UsageCounters, UsageReport


def report(user: str = "ada", day: int = 20_000, at: int = 5, **counters: int) -> UsageEntry:
    return UsageEntry(user, UsageReport(day * DAY_MS, UsageCounters(**counters)), at)


async def opt(ledger: Ledger, *, into: bool, user: str = "ada") -> None:
    await ledger.commit([UsageOptEntry(user, into, 1)])


async def test_a_report_replaces_what_it_gives_and_keeps_the_rest(site: Any) -> None:
    """One row a user and day, whose value comes back whole."""
    async with site.open() as ledger:
        await opt(ledger, into=True)
        await ledger.commit([report(memory_count=1, sync_ops=2)])
        (outcome,) = await ledger.commit([report(at=9, sync_ops=7, bytes_stored=2**53 - 1)])
        whole = UsageDay("ada", 20_000 * DAY_MS, UsageCounters(1, None, 2**53 - 1, 7), 9)
        assert outcome.value == whole
        await ledger.commit([report(day=20_001), report("eve", memory_count=9)])
        days = await ledger.read(UsageDays("ada", 10))
        assert days[1:] == [whole]
        assert days[0].counters == UsageCounters()
        assert await ledger.read(UsageDays("eve", 10)) == []


async def test_nothing_is_stored_of_who_has_not_opted_in(site: Any) -> None:
    """The commit itself looks, so that an opt-out holds for every report behind it."""
    async with site.open() as ledger:
        assert not await ledger.read(UsageOptedIn("ada"))
        entries = [UsageOptEntry("ada", opted_in=True, changed_unix_ms=1), report(memory_count=1)]
        out = [UsageOptEntry("ada", opted_in=False, changed_unix_ms=2), report(memory_count=2)]
        outcomes = await ledger.commit([report(memory_count=0), *entries, *out])
        stored, conflict = Verdict.STORED, Verdict.CONFLICT
        verdicts = [outcome.verdict for outcome in outcomes]
        assert verdicts == [conflict, stored, stored, stored, conflict]
        assert outcomes[-1].detail == OPTED_OUT
        (day,) = await ledger.read(UsageDays("ada", 10))
        assert day.counters.memory_count == 1


async def test_reports_at_once_lose_no_field(site: Any) -> None:
    """Two processes that report different fields of a day make one row with all of them."""
    async with site.open() as one, site.open() as two:
        await opt(one, into=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.commit, [report(memory_count=1)])
            nursery.start_soon(two.commit, [report(device_count=2)])
        (day,) = await one.read(UsageDays("ada", 10))
        assert (day.counters.memory_count, day.counters.device_count) == (1, 2)
