# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
"""Retention keeps to its limits, a little at a time, and says what it did."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock.engine.ledger_port import LedgerReason, LedgerUnavailableError
from penstock.engine.receipts import Committed, Lane, Receipt, Refused
from penstock.engine.records import AuditEntry
from penstock.engine.retention import (
    BlobsSwept,
    Retention,
    RetentionRules,
    RetentionRunningError,
)
from penstock.engine.retention_records import (
    PrunableAudits,
    PrunableFinals,
    PruneAudits,
    PruneFinals,
)

NOW = 1_700_000_000.0
DAY = 86400.0
SWEPT = BlobsSwept(9, 900, 2, 200)
RULES = RetentionRules(DAY, 1 << 20, 2 * DAY, 3 * DAY)


@dataclass(eq=False)
class Shelves:
    """A ledger, its writer and a blob store, as far as retention knows them; time is Trio's."""

    finals: int = 0
    audits: int = 0
    swept: BlobsSwept = SWEPT
    refusal: Refused | None = None
    pressed: bool = False
    sweeps: list[tuple[float, bool]] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)
    audited: list[AuditEntry] = field(default_factory=list)

    def monotonic(self) -> float:
        return trio.current_time()

    def unix(self) -> float:
        return NOW + trio.current_time()

    def enter_nowait(self, entry: Any, lane: Lane) -> Receipt:
        assert lane is Lane.DURABLE
        if self.refusal is not None:
            return Receipt(self.refusal)
        if isinstance(entry, AuditEntry):
            self.audited.append(entry)
            return Receipt(Committed())
        self.steps.append(entry)
        what = {PruneFinals: "finals", PruneAudits: "audits"}[type(entry)]
        removed = min(entry.limit, getattr(self, what))
        setattr(self, what, getattr(self, what) - removed)
        return Receipt(Committed(value=removed))

    async def read(self, query: Any) -> int:
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise LedgerUnavailableError(self.refusal.reason, self.refusal.detail)
        return {PrunableFinals: self.finals, PrunableAudits: self.audits}[type(query)]

    async def sweep(self, now_unix: float, dry_run: bool) -> BlobsSwept:  # noqa: FBT001 - as the port has it
        await trio.lowlevel.checkpoint()
        self.sweeps.append((now_unix, dry_run))
        return self.swept


@asynccontextmanager
async def running(shelves: Any, rules: RetentionRules = RULES) -> AsyncIterator[Retention]:
    retention = Retention(
        shelves, shelves, shelves.sweep, shelves, rules, busy=lambda: shelves.pressed
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(retention.run)
        yield retention
        nursery.cancel_scope.cancel()


async def test_each_hour_what_is_too_old_goes(autojump_clock: MockClock) -> None:
    """In small steps until there is no more, told by one audit entry and by the statistics."""
    shelves = Shelves(finals=120, audits=501)
    async with running(shelves) as retention:
        await trio.sleep(60)
        assert (shelves.finals, shelves.audits) == (0, 0)
        assert [entry.limit for entry in shelves.steps] == [50] * 3 + [500] * 2
        assert shelves.steps[0].before_unix_ms == int((NOW - 2 * DAY) * 1000)
        assert shelves.steps[-1].before_unix_ms == int((NOW - 3 * DAY) * 1000)
        (audit,) = shelves.audited
        assert (audit.actor, audit.action) == ("penstock", "retention.run")
        assert (audit.detail["finals"], audit.detail["audits"]) == (120, 501)
        assert audit.detail["blobs"]["removed"] == 2
        done = retention.statistics()
        assert (done.blobs, done.blob_bytes, done.finals, done.audits) == (2, 200, 120, 501)
        shelves.swept = BlobsSwept(7, 700, 0, 0)
        await trio.sleep(3600)
        assert len(shelves.sweeps) == 2
        assert len(shelves.audited) == 1  # the second run found nothing


async def test_without_a_limit_nothing_is_removed(autojump_clock: MockClock) -> None:
    """Not looked at either; nor does a run that somebody asks for remove anything."""
    shelves = Shelves(finals=5, audits=5)
    async with running(shelves, RetentionRules()) as retention:
        await trio.sleep(2 * 3600)
        assert retention.newest is None
        retention.begin_nowait("ada", dry_run=False)
        await trio.sleep(1)
        assert retention.newest is not None
        assert retention.newest.finished_unix is not None
        assert (shelves.sweeps, shelves.steps) == ([], [])
        assert (shelves.finals, shelves.audits) == (5, 5)


async def test_a_dry_run_counts_and_removes_nothing(autojump_clock: MockClock) -> None:
    """The same counts as the run that follows, no audit, and nothing in the statistics."""
    shelves = Shelves()
    async with running(shelves) as retention:
        await trio.sleep(1)
        shelves.finals, shelves.audits = 7, 8
        shelves.audited.clear()
        before = retention.statistics()
        begun = retention.begin_nowait("ada", dry_run=True)
        assert (begun.dry_run, begun.finished_unix) == (True, None)
        await trio.sleep(1)
        report = retention.newest
        assert report is not None
        assert report.number == begun.number
        assert (report.finals, report.audits, report.blobs) == (7, 8, shelves.swept)
        assert (shelves.finals, shelves.audits, shelves.audited) == (7, 8, [])
        assert shelves.sweeps[-1][1] is True
        after = retention.statistics()
        assert (after.blobs, after.finals, after.audits) == (
            before.blobs, before.finals, before.audits,
        )  # fmt: skip


async def test_one_run_at_a_time(autojump_clock: MockClock) -> None:
    """A second one is refused while the first is under way, and begins after it."""
    shelves = Shelves(finals=500)
    async with running(shelves) as retention:
        await trio.testing.wait_all_tasks_blocked()
        assert retention.running
        with pytest.raises(RetentionRunningError):
            retention.begin_nowait("ada", dry_run=True)
        await trio.sleep(60)
        retention.begin_nowait("ada", dry_run=False)
        await trio.sleep(1)
        # What an operator asked for is audited also where it found nothing.
        assert [entry.actor for entry in shelves.audited] == ["penstock", "ada"]


async def test_it_waits_while_the_service_is_pressed(autojump_clock: MockClock) -> None:
    """Bulk is refused, and so are its own deletions; then it goes on where it was."""
    shelves = Shelves(finals=120, pressed=True)
    async with running(shelves) as retention:
        await trio.sleep(600)
        assert shelves.steps == []
        assert retention.running
        shelves.pressed = False
        await trio.sleep(60)
        assert shelves.finals == 0


@pytest.mark.parametrize("dry_run", [False, True])
async def test_what_is_in_the_way_stops_a_run_and_not_the_next(
    autojump_clock: MockClock, *, dry_run: bool
) -> None:
    """The report says what it was; what had been removed stays counted."""
    shelves = Shelves()
    async with running(shelves) as retention:
        await trio.sleep(1)
        shelves.finals = 3
        shelves.refusal = Refused(LedgerReason.DISK_FULL, "no room", 5.0)
        retention.begin_nowait("ada", dry_run=dry_run)
        await trio.sleep(1)
        assert retention.newest is not None
        assert "ledger_disk_full" in str(retention.newest.stopped)
        assert retention.statistics().stopped_runs == 1
        shelves.refusal = None
        await trio.sleep(3600)
        assert shelves.finals == 0
        assert retention.newest.stopped is None


async def test_finals_stay_where_the_replays_could_not_be_looked_at(
    autojump_clock: MockClock,
) -> None:
    """By its final it is known whose a replay is, so it goes after it."""
    shelves = Shelves(finals=3, swept=BlobsSwept(5, 500, 1, 100, "blob_timed_out: slow"))
    async with running(shelves) as retention:
        await trio.sleep(60)
        assert (shelves.finals, shelves.steps) == (3, [])
        assert retention.newest is not None
        assert retention.newest.stopped == "blob_timed_out: slow"
        assert retention.statistics().blobs == 1


async def test_finals_do_not_wait_behind_it(autojump_clock: MockClock) -> None:
    """Between two steps the ledger is somebody else's for four times as long as a step took."""

    class SlowShelves(Shelves):
        def enter_nowait(self, entry: Any, lane: Lane) -> Receipt:
            self.times = [*getattr(self, "times", []), trio.current_time()]
            return super().enter_nowait(entry, lane)

    shelves = SlowShelves(finals=150)
    slow: Callable[[], float] = shelves.monotonic
    looks = iter(range(1000))
    shelves.monotonic = lambda: slow() + 0.1 * next(looks)  # type: ignore[method-assign]
    async with running(shelves):
        await trio.sleep(60)
        gaps = [
            after - before for before, after in zip(shelves.times, shelves.times[1:], strict=False)
        ]
        assert all(gap >= 0.39 for gap in gaps[:3]), gaps
